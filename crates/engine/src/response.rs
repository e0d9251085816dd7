//! One response on its way out: what the app says becomes a head and a correctly framed body.
//!
//! Framing is decided here and nowhere else (RFC 9112 6): a known length is sent as such, an unknown one is chunked for
//! HTTP/1.1 and delimited by the end of the connection for HTTP/1.0 and uwsgi. A body that does not fit its announced
//! length is cut to it, or the connection is cut, so that the next response is never misread.

use std::os::fd::RawFd;
use std::sync::Arc;

use wire::http1::Version;

use crate::access_log::push_decimal;
use crate::response_options::ResponseOptions;
use crate::routing::Edits;
use crate::socket::{Gone, SharedBytes, Socket, WritePolicy};

/// What the request asks of its response's framing.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// The front end speaks uwsgi: no chunks, no keep-alive, and the front end adds `Date` itself.
    pub uwsgi: bool,
    pub http11: bool,
    /// A HEAD request: everything but the body.
    pub head_only: bool,
    pub keep_alive: bool,
    /// The client's next request is there already, so that a complete response may leave with the next one.
    pub more_follows: bool,
}

/// How the connection goes on after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    KeepAlive,
    Close,
    /// The response is incomplete; its framing lets the client see that.
    Cut,
    /// The response is incomplete, and only a reset shows it, because its end is the connection's end.
    Reset,
}

/// Why the app's head was not accepted; the text is for the app's author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadHead {
    AlreadyStarted,
    AlreadySent,
    Status(String),
    Header(String),
}

impl BadHead {
    pub fn message(&self) -> String {
        match self {
            Self::AlreadyStarted => {
                "start_response was called twice: pass exc_info to replace the first response (PEP 3333)".to_owned()
            }
            Self::AlreadySent => "the response has begun: its status and headers can not be changed".to_owned(),
            Self::Status(text) | Self::Header(text) => text.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No status yet.
    Open,
    /// Status and headers are known, nothing is sent.
    Headed,
    /// The head is sent, or stands in `pending`.
    Streaming,
}

/// What had become of a response when the app had had its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub status: u16,
    pub header_count: u32,
    pub header_bytes: u64,
    pub body_bytes: u64,
    /// The client has all of it, or will have.
    pub is_complete: bool,
}

pub struct Response {
    socket: Arc<Socket>,
    policy: WritePolicy,
    framing: Framing,
    date: [u8; 29],
    phase: Phase,
    head: Vec<u8>,
    status: u16,
    header_count: u32,
    length: Option<u64>,
    has_date: bool,
    chunked: bool,
    /// Ready bytes that leave with the next write.
    pending: Vec<u8>,
    sent_anything: bool,
    body_bytes: u64,
    header_bytes: u64,
    via_sendfile: bool,
    /// Bytes that the app gave beyond its Content-Length.
    surplus_bytes: u64,
    gone: Option<Gone>,
    /// The app has given all of its body.
    is_exhausted: bool,
    options: Option<Arc<ResponseOptions>>,
    /// What rules want of the headers.
    edits: Option<Box<Edits>>,
}

/// A body up to this size is copied behind its head and sent without the interpreter's lock; a larger one is sent from
/// where it lies.
pub const COPY_LIMIT: usize = 32 * 1024;

impl Response {
    /// `scratch` is an empty buffer to work in; `finish` gives it back.
    pub fn new(
        socket: Arc<Socket>,
        policy: WritePolicy,
        framing: Framing,
        date: [u8; 29],
        scratch: (Vec<u8>, Vec<u8>),
    ) -> Self {
        Self {
            socket,
            policy,
            framing,
            date,
            phase: Phase::Open,
            head: scratch.0,
            status: 0,
            header_count: 0,
            length: None,
            has_date: false,
            chunked: false,
            pending: scratch.1,
            sent_anything: false,
            body_bytes: 0,
            header_bytes: 0,
            via_sendfile: false,
            surplus_bytes: 0,
            gone: None,
            is_exhausted: false,
            options: None,
            edits: None,
        }
    }

    /// Follows what the options say about every response.
    pub fn under(mut self, options: &Option<Arc<ResponseOptions>>) -> Self {
        self.options.clone_from(options);
        self
    }

    /// Changes the headers by what rules want, whoever gives them.
    pub fn edit(&mut self, edits: Box<Edits>) {
        self.edits = Some(edits);
    }

    /// Gives back what the rules had to say.
    pub fn take_edits(&mut self) -> Option<Box<Edits>> {
        self.edits.take()
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn header_count(&self) -> u32 {
        self.header_count
    }

    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    pub fn header_bytes(&self) -> u64 {
        self.header_bytes
    }

    pub fn via_sendfile(&self) -> bool {
        self.via_sendfile
    }

    /// Whether the app has named a status.
    pub fn is_headed(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Whether something has left, so that the status can not be changed any more.
    pub fn is_sent(&self) -> bool {
        self.sent_anything
    }

    /// The descriptor of its connection.
    pub fn connection_fd(&self) -> RawFd {
        self.socket.fd()
    }

    /// Whether the client is gone, so that more output is of no use.
    pub fn gone(&self) -> Option<Gone> {
        self.gone
    }

    /// The app has given all of its body; what it does from here on is no part of the response.
    pub fn exhaust(&mut self) {
        self.is_exhausted = true;
    }

    /// What has become of it so far, for a client that does not wait for the app any more: where all of it has been given,
    /// its end is sent. For the thread that runs the event loop; it never waits.
    pub fn conclude(&mut self) -> Progress {
        let is_given = if self.wants_body() {
            self.length.map_or(self.is_exhausted, |length| length == self.body_bytes)
        } else {
            true
        };
        let is_complete = is_given && self.sent_anything && self.pending.is_empty() && self.gone.is_none();
        if is_complete && self.chunked && self.wants_body() {
            self.socket.write_own(b"0\r\n\r\n");
        }
        self.gone.get_or_insert(Gone::Detached);
        Progress {
            status: self.status,
            header_count: self.header_count,
            header_bytes: self.header_bytes,
            body_bytes: self.body_bytes,
            is_complete,
        }
    }

    pub fn wants_body(&self) -> bool {
        !self.framing.head_only && !bodiless(self.status)
    }

    /// Takes the status line's text, such as `200 OK`. `replace` forgets an earlier status that was not sent.
    pub fn start(&mut self, status: &[u8], replace: bool) -> Result<(), BadHead> {
        match self.phase {
            Phase::Open => {}
            Phase::Headed if replace => {}
            Phase::Headed => return Err(BadHead::AlreadyStarted),
            Phase::Streaming if replace && !self.sent_anything => {
                self.pending.clear();
                self.body_bytes = 0;
            }
            Phase::Streaming => return Err(BadHead::AlreadySent),
        }
        self.phase = Phase::Open;
        self.head.clear();
        self.header_count = 0;
        self.length = None;
        self.has_date = false;
        self.chunked = false;
        match wire::response::status_line(&mut self.head, Version::Http11, status) {
            Ok(code) => {
                self.status = code;
                self.phase = Phase::Headed;
                Ok(())
            }
            Err(_) => Err(BadHead::Status(format!(
                "invalid status {:?}: expected three digits from 200 to 599, a space and a reason, such as \"200 OK\"",
                String::from_utf8_lossy(status)
            ))),
        }
    }

    /// Takes one header of the app.
    pub fn header(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadHead> {
        if wire::response::check_header(name, value).is_err() {
            return Err(BadHead::Header(format!(
                "invalid header {:?}: {:?}: a name is made of letters, digits and -, a value has no line ends or NUL",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value)
            )));
        }
        if let Some(options) = &self.options {
            if options.removes(name) {
                return Ok(());
            }
            options.allow(self.head.len() + name.len() + value.len() + b": \r\n".len())?;
        }
        self.put_header(name, value)
    }

    fn put_header(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadHead> {
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = decimal(value).ok_or_else(|| {
                    BadHead::Header(format!("invalid Content-Length {:?}", String::from_utf8_lossy(value)))
                })?;
                if self.length.is_some_and(|other| other != length) {
                    return Err(BadHead::Header("two different Content-Length headers".to_owned()));
                }
                self.length = Some(length);
                self.header_count += 1;
                return Ok(());
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let closes = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"close");
                self.framing.keep_alive &= !value.split(|byte| *byte == b',').any(closes);
                return Ok(());
            }
            10 if name.eq_ignore_ascii_case(b"keep-alive") => return Ok(()),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                return Err(BadHead::Header(
                    "Transfer-Encoding is the server's to set (PEP 3333, hop-by-hop headers): leave it out, and the body \
                     is sent in chunks where that is needed"
                        .to_owned(),
                ));
            }
            4 if name.eq_ignore_ascii_case(b"date") => self.has_date = true,
            _ => {}
        }
        self.header_count += 1;
        self.head.extend_from_slice(name);
        self.head.extend_from_slice(b": ");
        self.head.extend_from_slice(value);
        self.head.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Takes back a status whose headers turned out to be wrong.
    pub fn reopen(&mut self) {
        if self.phase == Phase::Headed {
            self.phase = Phase::Open;
            self.head.clear();
            self.header_count = 0;
            self.length = None;
        }
    }

    /// Completes the head with what the server owes, and puts it into `pending`.
    fn seal(&mut self) {
        if self.edits.is_some() {
            self.carry_edits_out();
        }
        self.phase = Phase::Streaming;
        self.framing.keep_alive &= !self.socket.closes_after_this();
        let bodiless = bodiless(self.status);
        match self.length {
            Some(length) if !bodiless || self.status == 304 => {
                self.head.extend_from_slice(b"Content-Length: ");
                push_decimal(&mut self.head, length);
                self.head.extend_from_slice(b"\r\n");
            }
            None if !bodiless => {
                if self.framing.http11 && !self.framing.uwsgi {
                    self.chunked = true;
                    self.head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                } else {
                    self.framing.keep_alive = self.framing.keep_alive && self.framing.head_only;
                }
            }
            _ => {}
        }
        if let Some(options) = &self.options {
            let (lines, count) = options.added();
            self.head.extend_from_slice(lines);
            self.header_count += count;
        }
        if !self.framing.uwsgi {
            if !self.framing.keep_alive {
                self.head.extend_from_slice(b"Connection: close\r\n");
            } else if !self.framing.http11 {
                self.head.extend_from_slice(b"Connection: keep-alive\r\n");
            }
            if !self.has_date {
                self.head.extend_from_slice(b"Date: ");
                self.head.extend_from_slice(&self.date);
                self.head.extend_from_slice(b"\r\n");
            }
        }
        self.head.extend_from_slice(b"\r\n");
        self.header_bytes = self.head.len() as u64;
        self.pending.append(&mut self.head);
    }

    /// Leaves headers out and adds some. Framing is not theirs to change: the plan refuses such rules.
    #[cold]
    fn carry_edits_out(&mut self) {
        let Some(mut edits) = self.edits.take() else { return };
        let changes = edits.of(self.status);
        for name in &changes.dropped {
            self.drop_header(name);
        }
        for (name, value) in &changes.added {
            // It was checked when it was made, and is none of those that `del-header` is about.
            let _ = self.put_header(name, value);
        }
        self.edits = Some(edits);
    }

    /// Takes every header of this name out of the rendered head; its first line is the status.
    fn drop_header(&mut self, name: &[u8]) {
        let is_named = |line: &[u8]| {
            line.split_at_checked(name.len())
                .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(name) && rest.starts_with(b": "))
        };
        let mut kept = Vec::with_capacity(self.head.len());
        for (number, line) in self.head.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if number > 0 && is_named(line) {
                self.header_count -= 1;
            } else {
                kept.extend_from_slice(line);
            }
        }
        self.head = kept;
        self.has_date &= !name.eq_ignore_ascii_case(b"date");
    }

    /// The part of `piece` that may be sent under the announced length.
    fn admit<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let Some(length) = self.length else { return piece };
        let left = usize::try_from(length - self.body_bytes).unwrap_or(usize::MAX);
        let (fits, surplus) = piece.split_at(piece.len().min(left));
        self.surplus_bytes += surplus.len() as u64;
        fits
    }

    fn send(&mut self, pieces: &[&[u8]], owner: Option<&SharedBytes>) -> Result<(), Gone> {
        self.sent_anything = true;
        self.socket.write_sharing(pieces, owner, self.policy).inspect_err(|gone| self.gone = Some(*gone))
    }

    /// Sends one piece of the body at once, with the head before the first one.
    pub fn piece(&mut self, piece: &[u8]) -> Result<(), Gone> {
        self.piece_of(piece, None)
    }

    /// As `piece`; what the socket does not take of it is kept instead of copied.
    pub fn shared_piece(&mut self, piece: &SharedBytes) -> Result<(), Gone> {
        self.piece_of(piece.as_ref().as_ref(), Some(piece))
    }

    /// As `piece`, if that waits for nobody: for a caller that holds the interpreter's lock, which a small piece is not
    /// worth giving back. None if it might wait; then nothing was done.
    pub fn quick_piece(&mut self, piece: &[u8]) -> Option<Result<(), Gone>> {
        if piece.len() > COPY_LIMIT || !self.socket.takes_now(piece.len(), self.policy) {
            return None;
        }
        // What another connection took of the worker's cap in between is no reason to wait either.
        let policy = self.policy;
        self.policy.buffer_bytes = usize::MAX;
        let result = self.piece(piece);
        self.policy = policy;
        Some(result)
    }

    fn piece_of(&mut self, piece: &[u8], owner: Option<&SharedBytes>) -> Result<(), Gone> {
        if let Some(gone) = self.gone {
            return Err(gone);
        }
        if self.phase == Phase::Headed {
            self.seal();
        }
        let piece = if self.wants_body() { self.admit(piece) } else { b"" };
        self.body_bytes += piece.len() as u64;
        let mut pending = std::mem::take(&mut self.pending);
        let result = if piece.is_empty() {
            if pending.is_empty() { Ok(()) } else { self.send(&[&pending], None) }
        } else if self.chunked {
            wire::response::chunk_header(&mut pending, piece.len());
            self.send(&[&pending, piece, b"\r\n"], owner)
        } else if pending.is_empty() {
            self.send(&[piece], owner)
        } else {
            self.send(&[&pending, piece], owner)
        };
        self.pending = pending;
        self.pending.clear();
        result
    }

    /// Takes the whole body, whose length is then known. A small one waits for `finish`; returns false if it is too
    /// large for that, and the caller then sends it by `piece`.
    pub fn whole(&mut self, pieces: &[&[u8]]) -> bool {
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.phase != Phase::Headed {
            return false;
        }
        if self.length.is_none() && !bodiless(self.status) {
            self.length = Some(total as u64);
        }
        if total > COPY_LIMIT && self.wants_body() {
            return false;
        }
        self.seal();
        if self.wants_body() {
            for piece in pieces {
                let piece = self.admit(piece);
                self.body_bytes += piece.len() as u64;
                self.pending.extend_from_slice(piece);
            }
        }
        true
    }

    /// Takes the whole body, however large it is.
    pub fn complete_with(&mut self, body: &[u8]) {
        if !self.whole(&[body]) {
            // A client that is gone does not need it.
            let _ = self.piece(body);
        }
    }

    /// Sends `length` bytes of a file from `offset` as the body, without copying them.
    pub fn file(&mut self, file: std::os::fd::OwnedFd, offset: u64, length: u64) -> Result<(), Gone> {
        let length = match self.length {
            Some(announced) => {
                self.surplus_bytes += length.saturating_sub(announced);
                length.min(announced)
            }
            None => length,
        };
        if self.phase == Phase::Headed {
            if self.length.is_none() {
                self.length = Some(length);
            }
            self.seal();
        }
        if !self.wants_body() || length == 0 {
            return self.piece(b"");
        }
        if let Some(gone) = self.gone {
            return Err(gone);
        }
        self.via_sendfile = true;
        self.sent_anything = true;
        self.body_bytes += length;
        let result = self.socket.write_file(&self.pending, file, offset, length);
        self.pending.clear();
        result.inspect_err(|gone| self.gone = Some(*gone))
    }

    /// Whether a file can be sent as it lies: only where its bytes need no chunks around them.
    pub fn can_send_file(&self) -> bool {
        self.phase == Phase::Headed
    }

    /// Sends what is left and tells how the connection goes on. `failed`: the app broke off.
    pub fn finish(&mut self, failed: bool) -> Ending {
        if self.phase == Phase::Headed {
            if self.length.is_none() && !failed && !self.framing.head_only && !bodiless(self.status) {
                self.length = Some(0);
            }
            self.seal();
        }
        let complete = !failed
            && self.gone.is_none()
            && (!self.wants_body() || self.length.is_none_or(|length| length == self.body_bytes));
        if complete && self.chunked && self.wants_body() {
            self.pending.extend_from_slice(b"0\r\n\r\n");
        }
        if !self.pending.is_empty() && self.gone.is_none() {
            let pending = std::mem::take(&mut self.pending);
            let _ = if complete && self.framing.more_follows && self.framing.keep_alive {
                self.sent_anything = true;
                self.socket.hold(&pending, self.policy).inspect_err(|gone| self.gone = Some(*gone))
            } else {
                self.send(&[&pending], None)
            };
            self.pending = pending;
        }
        match (complete && self.gone.is_none(), self.framing.keep_alive) {
            (false, _) if self.gone.is_none() && self.length.is_none() && !self.chunked && self.wants_body() => {
                Ending::Reset
            }
            (false, _) => Ending::Cut,
            (true, true) => Ending::KeepAlive,
            (true, false) => Ending::Close,
        }
    }

    /// What was wrong with the body's length, if anything: for the log.
    pub fn length_fault(&self) -> Option<String> {
        let length = self.length?;
        if self.surplus_bytes > 0 {
            return Some(format!(
                "the app gave {} bytes more than its Content-Length of {length}; they were not sent",
                self.surplus_bytes
            ));
        }
        (self.wants_body() && self.gone.is_none() && self.body_bytes < length).then(|| {
            format!(
                "the app gave {} bytes, fewer than its Content-Length of {length}; the connection was cut",
                self.body_bytes
            )
        })
    }

    /// Gives the working buffers back for the next response.
    pub fn into_scratch(mut self) -> (Vec<u8>, Vec<u8>) {
        self.head.clear();
        self.pending.clear();
        self.pending.shrink_to(4 * COPY_LIMIT);
        (self.head, self.pending)
    }

    /// The page for an error of the server's own, if there is one.
    pub fn page(&self, status: u16) -> Option<Vec<u8>> {
        self.options.as_ref().and_then(|options| options.page(status))
    }

    /// Puts another response in place of one that has not been sent: the server's own answer to a failed app.
    /// `text` takes the place of the usual body.
    pub fn replace_with_error(&mut self, text: Option<&str>) {
        let page = if text.is_none() { self.page(500) } else { None };
        let (kind, body) = match (&page, text) {
            (Some(page), _) => (&b"text/html"[..], page.as_slice()),
            (None, Some(text)) => (&b"text/plain; charset=utf-8"[..], text.as_bytes()),
            (None, None) => (&b"text/plain"[..], &b"Internal Server Error"[..]),
        };
        self.framing.keep_alive = false;
        self.surplus_bytes = 0;
        self.own(b"500 Internal Server Error", kind, body);
    }

    /// The server's own answer where no app is there for the path.
    pub fn not_found(&mut self) {
        match self.page(404) {
            Some(page) => self.own(b"404 Not Found", b"text/html", &page),
            None => self.own(b"404 Not Found", b"text/plain", b"Not Found\n"),
        }
    }

    fn own(&mut self, status: &[u8], kind: &[u8], body: &[u8]) {
        let fine = self.start(status, true).is_ok() && self.put_header(b"Content-Type", kind).is_ok();
        debug_assert!(fine || self.options.is_some(), "a constant head is valid");
        self.complete_with(body);
    }
}

/// A response without a body by its status (RFC 9110 6.4.1).
fn bodiless(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

/// Strict: digits only, no sign, no overflow.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// The `Date` line's value, made once a second (RFC 9110 6.6.1).
pub struct DateLine {
    second: u64,
    text: [u8; 29],
}

impl Default for DateLine {
    fn default() -> Self {
        Self { second: 0, text: *b"Thu, 01 Jan 1970 00:00:00 GMT" }
    }
}

impl DateLine {
    pub fn at(&mut self, second: u64) -> [u8; 29] {
        if second != self.second {
            let text = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(second));
            if let Ok(text) = <[u8; 29]>::try_from(text.as_bytes()) {
                self.text = text;
                self.second = second;
            }
        }
        self.text
    }
}
