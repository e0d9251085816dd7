//! The head of a request in one pass.
//!
//! ```text
//! HTTP-message   = start-line CRLF *( field-line CRLF ) CRLF [ message-body ]      RFC 9112 2.1
//! request-line   = method SP request-target SP HTTP-version                        RFC 9112 3
//! field-line     = field-name ":" OWS field-value OWS                              RFC 9112 5
//! ```
//!
//! Nothing is skipped by count: every byte is compared before it is passed. Fields that decide about framing,
//! connection or host are read on the way; what they mean together is decided at the end.

use super::{Framing, Head, Header, MAX_EMPTY_LINES, MAX_METHOD_BYTES, Version, field, host, target};
use crate::{Error, Limits, Span, Step, bytes};
use memchr::{memchr, memchr3};

/// Room that is made at once: what browsers and proxies send is less.
const USUAL_HEADERS: usize = 24;

/// Parse a request's head at the start of `buf`, a few empty lines before it included.
///
/// `Done` tells how many bytes it used; the body begins there. Each call begins at the beginning: when it needs more,
/// use [`super::HeadScan`] to learn when it is worth calling again. Where a `Head` can be used again,
/// [`parse_head_into`] is cheaper.
///
/// # Errors
/// The first rule that is violated; all of RFC 9112's, and the limits. [`Error::BodyTooLarge`] too, when a
/// Content-Length beyond the limit announces it. More bytes never change an error.
pub fn parse_head(buf: &[u8], limits: &Limits) -> Result<Step<Head>, Error> {
    let mut head = Head::default();
    Ok(match parse_head_into(buf, limits, &mut head)? {
        Step::Done((), used) => Step::Done(head, used),
        Step::NeedMore => Step::NeedMore,
    })
}

/// [`parse_head`] into a `Head` that is there already: nothing is moved, and room for many headers is kept from one
/// request to the next. `head` means something only after `Done`.
///
/// # Errors
/// As [`parse_head`].
pub fn parse_head_into(buf: &[u8], limits: &Limits, head: &mut Head) -> Result<Step<()>, Error> {
    let view = limits.view(buf);
    match parse(view, limits, head)? {
        Step::NeedMore if view.len() >= limits.head_bytes => Err(too_large(view)),
        step => Ok(step),
    }
}

/// Which limit it was, for a head that does not end within `view`.
#[cold]
pub(super) fn too_large(view: &[u8]) -> Error {
    match skip_empty_lines(view) {
        Ok(Some(begin)) if memchr(b'\n', &view[begin..]).is_none() => Error::RequestLineTooLong,
        _ => Error::HeadTooLarge,
    }
}

/// Where the request line begins, or `None` if that is not known yet.
pub(super) fn skip_empty_lines(view: &[u8]) -> Result<Option<usize>, Error> {
    for line in 0..=MAX_EMPTY_LINES {
        let at = line * 2;
        match (view.get(at), view.get(at + 1)) {
            (Some(b'\r'), Some(b'\n')) => {}
            (Some(b'\r'), Some(_)) => return Err(Error::BareCr),
            (Some(b'\n'), _) => return Err(Error::BareLf),
            (None, _) | (Some(b'\r'), None) => return Ok(None),
            (Some(_), _) => return Ok(Some(at)),
        }
    }
    Err(Error::TooManyEmptyLines)
}

/// The length of the method that `line` begins with, or `None` if its end is not there yet.
#[inline]
pub(super) fn method_len(line: &[u8]) -> Result<Option<usize>, Error> {
    for (len, &b) in line.iter().enumerate() {
        if bytes::is_tchar(b) {
            if len == MAX_METHOD_BYTES {
                return Err(Error::MethodTooLong);
            }
            continue;
        }
        return match b {
            b' ' if len > 0 => Ok(Some(len)),
            b'\r' | b'\n' => Err(Error::BadRequestLine),
            _ => Err(Error::BadMethod),
        };
    }
    Ok(None)
}

/// A line end at `at`: the CR there must be followed by LF. `None`: not known yet.
#[inline]
fn crlf(view: &[u8], at: usize) -> Result<Option<()>, Error> {
    match view.get(at + 1) {
        Some(b'\n') => Ok(Some(())),
        Some(_) => Err(Error::BareCr),
        None => Ok(None),
    }
}

/// Unwraps an `Option`, or says that more bytes are needed.
macro_rules! need {
    ($option:expr) => {
        match $option {
            Some(value) => value,
            None => return Ok(Step::NeedMore),
        }
    };
}

/// The first line of a request, and where the next line begins.
pub(super) struct RequestLine {
    method: Span,
    target: Span,
    version: Version,
    end: usize,
}

/// The request line that begins at `begin`, or `None` if it is not complete.
#[inline(always)]
pub(super) fn request_line(view: &[u8], begin: usize) -> Result<Option<RequestLine>, Error> {
    let line = &view[begin..];
    let method_len = match line.first_chunk::<4>() {
        Some(b"GET ") => 3,
        _ => match method_len(line)? {
            Some(len) => len,
            None => return Ok(None),
        },
    };
    let start = begin + method_len + 1;
    let rest = &line[method_len + 1..];
    let len = bytes::target_len(view, rest);
    let at = start + len;
    let Some((&stop, behind)) = rest.get(len..).and_then(<[u8]>::split_first) else {
        return Ok(None);
    };
    if stop != b' ' || len == 0 {
        return bad_target(view, start, at, stop);
    }
    let (version, end) = if behind.starts_with(b"HTTP/1.1\r\n") {
        (Version::Http11, at + 11)
    } else {
        match version(view, at + 1)? {
            Some(found) => found,
            None => return Ok(None),
        }
    };
    let method = Span::new(begin, begin + method_len);
    Ok(Some(RequestLine { method, target: Span::new(start, at), version, end }))
}

/// Why the target that begins at `start` can not stop at `at` with the byte `stop`, or `None` if that is not known yet.
#[cold]
fn bad_target(view: &[u8], start: usize, at: usize, stop: u8) -> Result<Option<RequestLine>, Error> {
    match stop {
        b'\r' if crlf(view, at)?.is_none() => Ok(None),
        b'\r' if at > start => Err(Error::MissingVersion),
        b'\r' | b' ' => Err(Error::BadRequestLine),
        b'\n' => Err(Error::BareLf),
        0 => Err(Error::Nul),
        _ => Err(Error::BadTargetCharacter),
    }
}

fn parse(view: &[u8], limits: &Limits, head: &mut Head) -> Result<Step<()>, Error> {
    let begin = match view.first() {
        Some(b'\r' | b'\n') | None => need!(skip_empty_lines(view)?),
        Some(_) => 0,
    };
    let RequestLine { method, target, version, end } = need!(request_line(view, begin)?);
    (head.method, head.target, head.version) = (method, target, version);
    head.headers.clear();
    head.headers.reserve(USUAL_HEADERS);
    let mut known = Known::default();
    let mut line = &view[end..];
    loop {
        let start = view.len() - line.len();
        let mut name_len = bytes::word_len(view, line);
        let mut stop = *need!(line.get(name_len));
        if stop != b':' {
            // A rare character of a token, or the end of the head.
            while bytes::is_tchar(stop) {
                name_len += 1;
                stop = *need!(line.get(name_len));
            }
        }
        if stop != b':' || name_len == 0 {
            if stop != b'\r' {
                return Err(field::bad_name_byte(stop, name_len == 0));
            }
            need!(crlf(line, name_len)?);
            if name_len > 0 {
                return Err(Error::HeaderWithoutColon);
            }
            known.decide(view, limits, head)?;
            return Ok(Step::Done((), start + 2));
        }
        if head.headers.len() >= limits.header_count {
            return Err(Error::TooManyHeaders);
        }

        let mut rest = &line[name_len + 1..];
        while let [b' ' | b'\t', behind @ ..] = rest {
            rest = behind;
        }
        let len = bytes::text_len(view, rest);
        match *need!(rest.get(len)) {
            b'\r' => need!(crlf(rest, len)?),
            b => return Err(field::bad_value_byte(b)),
        }
        let value_start = view.len() - rest.len();
        let value = Span::new(value_start, value_start + bytes::trim_ows_end(&rest[..len]).len());
        head.headers.push(Header { name: Span::new(start, start + name_len), value });
        known.read(line, name_len, value, view)?;
        line = &rest[len + 2..];
    }
}

/// The version and where its line ends, for all but the usual one, or `None` if the line is not complete.
#[cold]
fn version(view: &[u8], start: usize) -> Result<Option<(Version, usize)>, Error> {
    let Some(end) = memchr3(b'\r', b'\n', 0, &view[start..]).map(|len| start + len) else {
        return Ok(None);
    };
    match view[end] {
        b'\n' => return Err(Error::BareLf),
        0 => return Err(Error::Nul),
        _ => {}
    }
    if crlf(view, end)?.is_none() {
        return Ok(None);
    }
    let version = match view[start..end] {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] => {
            if minor == b'0' {
                Version::Http10
            } else {
                Version::Http11
            }
        }
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Error::UnsupportedVersion),
        // More spaces than two, or text behind the version.
        ref text if memchr(b' ', text).is_some() => return Err(Error::BadRequestLine),
        _ => return Err(Error::BadVersion),
    };
    Ok(Some((version, end + 2)))
}

/// Is this how `line` begins, in any case? `lower` is as long as the line's name.
#[inline(always)]
fn begins_with<const LEN: usize>(line: &[u8], lower: &[u8; LEN]) -> bool {
    line.first_chunk().is_some_and(|name| bytes::is_word(name, lower))
}

/// What the fields said that the server itself must understand.
#[derive(Default)]
struct Known {
    host: Option<Span>,
    content_length: Option<u64>,
    transfer_encoding: bool,
    chunked: u32,
    other_coding: bool,
    close: bool,
    keep_alive: bool,
    connection_upgrade: bool,
    upgrade: bool,
    expect_continue: bool,
}

impl Known {
    /// Take note of one field, if it is one of ours: the first `len` bytes of `line` are its name.
    #[inline(always)]
    fn read(&mut self, line: &[u8], len: usize, value: Span, view: &[u8]) -> Result<(), Error> {
        match len {
            4 if begins_with(line, b"host") => {
                if self.host.replace(value).is_some() {
                    return Err(Error::DuplicateHost);
                }
                let part = value.start as usize..value.end as usize;
                if !part.is_empty() && !host::is_authority(view, part) {
                    return Err(Error::BadHost);
                }
            }
            6 if begins_with(line, b"expect") => self.read_expect(value.of(view))?,
            7 if begins_with(line, b"upgrade") => self.upgrade = true,
            10 if begins_with(line, b"connection") => self.read_connection(value.of(view)),
            14 if begins_with(line, b"content-length") => self.read_content_length(value.of(view))?,
            17 if begins_with(line, b"transfer-encoding") => self.read_transfer_encoding(value.of(view))?,
            _ => {}
        }
        Ok(())
    }

    /// RFC 9110 8.6: Content-Length = 1*DIGIT, and once.
    fn read_content_length(&mut self, value: &[u8]) -> Result<(), Error> {
        if memchr(b',', value).is_some_and(|comma| comma > 0) {
            return Err(Error::DuplicateContentLength);
        }
        let length = bytes::decimal(value, Error::BadContentLength, Error::ContentLengthOverflow)?;
        match self.content_length.replace(length) {
            Some(_) => Err(Error::DuplicateContentLength),
            None => Ok(()),
        }
    }

    /// RFC 9110 7.6.1: Connection = #connection-option, over all its lines.
    fn read_connection(&mut self, value: &[u8]) {
        if bytes::equals_word(value, b"keep-alive") {
            self.keep_alive = true;
            return;
        }
        for option in value.split(|&b| b == b',').map(bytes::trim_ows) {
            self.close |= bytes::equals_word(option, b"close");
            self.connection_upgrade |= bytes::equals_word(option, b"upgrade");
            self.keep_alive |= bytes::equals_word(option, b"keep-alive");
        }
    }

    /// RFC 9110 10.1.1: Expect = #expectation, of which only one was ever defined.
    fn read_expect(&mut self, value: &[u8]) -> Result<(), Error> {
        for expectation in value.split(|&b| b == b',').map(bytes::trim_ows) {
            if expectation.eq_ignore_ascii_case(b"100-continue") {
                self.expect_continue = true;
            } else if !expectation.is_empty() {
                return Err(Error::UnsupportedExpectation);
            }
        }
        Ok(())
    }

    /// RFC 9112 6.1: Transfer-Encoding = #transfer-coding. Parameters exist for no coding that we take, and empty list
    /// elements only in attacks.
    fn read_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Error> {
        self.transfer_encoding = true;
        for coding in value.split(|&b| b == b',').map(bytes::trim_ows) {
            if !bytes::is_token(coding) {
                return Err(Error::BadTransferEncoding);
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                self.chunked += 1;
            } else {
                self.other_coding = true;
            }
        }
        Ok(())
    }

    /// RFC 9112 6.3, in the order of its list.
    fn framing(&self, version: Version, limits: &Limits) -> Result<Framing, Error> {
        if self.transfer_encoding {
            return if version == Version::Http10 {
                Err(Error::TransferEncodingInHttp10)
            } else if self.content_length.is_some() {
                Err(Error::LengthAndTransferEncoding)
            } else if self.chunked > 1 {
                Err(Error::ChunkedTwice)
            } else if self.other_coding {
                Err(Error::UnsupportedTransferCoding)
            } else {
                Ok(Framing::Chunked)
            };
        }
        match self.content_length {
            None => Ok(Framing::None),
            Some(length) if limits.body_exceeded(length) => Err(Error::BodyTooLarge),
            Some(length) => Ok(Framing::Length(length)),
        }
    }

    /// What all the fields mean together.
    #[inline(always)]
    fn decide(self, view: &[u8], limits: &Limits, head: &mut Head) -> Result<(), Error> {
        let http11 = head.version == Version::Http11;
        if http11 && self.host.is_none() {
            return Err(Error::MissingHost);
        }
        head.host = self.host;
        let method = head.method.of(view);
        if view[head.target.start as usize] != b'/' {
            // Refuses CONNECT and the forms that are none; an absolute URI brings its own host.
            if let Some(authority) = target::split(method, head.target.of(view))?.authority {
                let start = head.target.start as usize + authority.start;
                head.host = Some(Span::new(start, start + authority.len()));
            }
        } else if method == b"CONNECT" {
            return Err(Error::ConnectRefused);
        }
        let framing = self.framing(head.version, limits)?;
        head.framing = framing;
        head.keep_alive = !self.close && (http11 || self.keep_alive);
        // RFC 9110 10.1.1: ignored in HTTP/1.0; nothing to wait for without a body.
        head.expect_continue = http11 && self.expect_continue && !matches!(framing, Framing::None | Framing::Length(0));
        head.upgrade = http11 && self.connection_upgrade && self.upgrade;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliveries::{deliveries, read_head};

    const NEXT: &str = "GET /next HTTP/1.1\r\nHost: b\r\n\r\n";

    /// The one answer of all deliveries, alone and with the next request behind.
    fn parse_in_all_deliveries(text: &str, limits: &Limits) -> Result<Step<Head>, Error> {
        let whole = parse_head(text.as_bytes(), limits);
        for bytes in [text.to_owned(), format!("{text}{NEXT}")] {
            for arrivals in deliveries(bytes.as_bytes()) {
                assert_eq!(read_head(bytes.as_bytes(), &arrivals, limits), whole, "{bytes:?} in {arrivals:?}");
            }
        }
        whole
    }

    fn head(text: &str) -> Head {
        match parse_in_all_deliveries(text, &Limits::default()) {
            Ok(Step::Done(head, used)) => {
                assert_eq!(used, text.len());
                head
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn error(text: &str) -> Error {
        parse_in_all_deliveries(text, &Limits::default()).expect_err("this head is refused")
    }

    fn post(fields: &str) -> String {
        format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
    }

    #[test]
    fn spans_point_at_what_was_sent() {
        let text = "\r\nGET /a?b HTTP/1.1\r\nHost: example.org \r\nX-Empty:\t\r\n\r\n";
        let head = head(text);
        let of = |span: Span| std::str::from_utf8(span.of(text.as_bytes())).expect("the request is ASCII");
        assert_eq!((of(head.method), of(head.target), head.version), ("GET", "/a?b", Version::Http11));
        let fields: Vec<_> = head.headers.iter().map(|field| (of(field.name), of(field.value))).collect();
        assert_eq!(fields, [("Host", "example.org"), ("X-Empty", "")]);
        assert_eq!(head.host.map(of), Some("example.org"));
    }

    #[test]
    fn framing_is_never_ambiguous() {
        assert_eq!(head(&post("Content-Length: 5")).framing, Framing::Length(5));
        assert_eq!(head(&post("Transfer-Encoding: Chunked")).framing, Framing::Chunked);
        assert_eq!(head(&post("X: y")).framing, Framing::None);
        for (fields, expected) in [
            ("Content-Length: 5\r\nContent-Length: 5", Error::DuplicateContentLength),
            ("Content-Length: 5, 5", Error::DuplicateContentLength),
            ("Content-Length: +5", Error::BadContentLength),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", Error::LengthAndTransferEncoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 0", Error::LengthAndTransferEncoding),
            ("Transfer-Encoding: gzip, chunked", Error::UnsupportedTransferCoding),
            ("Transfer-Encoding: chunked\r\ntransfer-encoding: chunked", Error::ChunkedTwice),
            ("Transfer-Encoding: chunked,", Error::BadTransferEncoding),
            ("Transfer-Encoding : chunked", Error::SpaceInHeaderName),
            ("Transfer-Encoding: \x0bchunked", Error::ControlInHeader),
            ("X: y\r\n Transfer-Encoding: chunked", Error::ObsFold),
        ] {
            assert_eq!(error(&post(fields)), expected, "{fields}");
        }
    }

    #[test]
    fn connection_options_are_read_over_all_lines() {
        for (version, fields, expected) in [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
            ("1.1", "Connection: closer\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
            assert_eq!(head(&text).keep_alive, expected, "{text:?}");
        }
    }

    #[test]
    fn limits_hold_to_the_byte_in_every_delivery() {
        let text = "GET /abc HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 2\r\n\r\n";
        let line = "GET /abc HTTP/1.1\r\n".len();
        let limited = |head_bytes, header_count| {
            parse_in_all_deliveries(text, &Limits { head_bytes, header_count, ..Limits::default() })
        };
        assert!(matches!(limited(text.len(), 3), Ok(Step::Done(..))));
        assert_eq!(limited(text.len() - 1, 3), Err(Error::HeadTooLarge));
        assert_eq!(limited(line, 3), Err(Error::HeadTooLarge));
        assert_eq!(limited(line - 1, 3), Err(Error::RequestLineTooLong));
        assert_eq!(limited(1, 3), Err(Error::RequestLineTooLong));
        assert_eq!(limited(text.len(), 2), Err(Error::TooManyHeaders));
    }

    #[test]
    fn a_body_beyond_the_limit_is_refused_with_the_head() {
        let limits = Limits { body_bytes: 10, ..Limits::default() };
        assert!(parse_in_all_deliveries(&post("Content-Length: 10"), &limits).is_ok());
        assert_eq!(parse_in_all_deliveries(&post("Content-Length: 11"), &limits), Err(Error::BodyTooLarge));
    }

    #[test]
    fn an_absolute_target_replaces_host() {
        let text = "GET http://b:81/ HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(head(text).host.map(|host| host.of(text.as_bytes())), Some(&b"b:81"[..]));
    }

    #[test]
    fn a_head_that_is_used_again_keeps_its_room_and_nothing_else() {
        let fields: String = (0..USUAL_HEADERS - 1).map(|i| format!("X-{i}: {i}\r\n")).collect();
        let long =
            format!("POST http://b/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n{fields}\r\n");
        let short = "GET / HTTP/1.0\r\n\r\n";
        let mut head = Head::default();
        for text in [&long, short, &long, short] {
            let step = parse_head_into(text.as_bytes(), &Limits::default(), &mut head);
            assert_eq!(step, Ok(Step::Done((), text.len())));
            assert_eq!(Ok(Step::Done(head.clone(), text.len())), parse_head(text.as_bytes(), &Limits::default()));
            assert!(head.headers.capacity() >= USUAL_HEADERS);
        }
    }
}
