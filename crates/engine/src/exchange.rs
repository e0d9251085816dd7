//! One request and what became of it. An exchange leaves its connection while the app works on it, and comes back.

use std::sync::Arc;

use wire::Span;
use wire::http1::{Head, Header, Version};
use wire::uwsgi::Packet;

use crate::client::Client;
use crate::log_format::Variable;
use crate::mounts;
use crate::plan::ListenerProtocol;
use crate::response::{Ending, Framing, Progress, Response};
use crate::routing::Routed;
use crate::socket::{Gone, Socket};
use crate::spool::SpooledBody;
use crate::sys::Peer;
use crate::worker::Outcome;

/// The request as it was parsed; the spans point into `Exchange::bytes`.
#[derive(Clone)]
pub enum Parsed {
    Http(Head),
    Uwsgi(Packet),
}

/// What holds a request, to be used for the next one: the room for headers and bytes is there already.
#[derive(Default)]
pub struct Parts {
    pub parsed: Parsed,
    pub bytes: Vec<u8>,
}

impl Default for Parsed {
    fn default() -> Self {
        Self::Http(Head::default())
    }
}

impl Parts {
    /// The head to parse into.
    pub fn head(&mut self) -> &mut Head {
        if !matches!(self.parsed, Parsed::Http(_)) {
            self.parsed = Parsed::default();
        }
        match &mut self.parsed {
            Parsed::Http(head) => head,
            Parsed::Uwsgi(_) => unreachable!("it has just been made an HTTP head"),
        }
    }

    /// The packet to parse into.
    pub fn packet(&mut self) -> &mut Packet {
        if !matches!(self.parsed, Parsed::Uwsgi(_)) {
            self.parsed = Parsed::Uwsgi(Packet::default());
        }
        match &mut self.parsed {
            Parsed::Uwsgi(packet) => packet,
            Parsed::Http(_) => unreachable!("it has just been made a uwsgi packet"),
        }
    }
}

/// Parts of exchanges that are over.
#[derive(Default)]
pub struct Spares(Vec<Parts>);

/// How many parts are kept, and up to which size of their bytes.
const SPARES_KEPT: usize = 4;
const SPARE_BYTES: usize = 16 * 1024;

impl Spares {
    pub fn take(&mut self) -> Parts {
        self.0.pop().unwrap_or_default()
    }

    pub fn keep(&mut self, parts: Parts) {
        if self.0.len() < SPARES_KEPT && parts.bytes.capacity() <= SPARE_BYTES {
            self.0.push(parts);
        }
    }
}

/// What the log says of a response that its client did not wait for, as nginx does.
pub const CLIENT_GONE: u16 = 499;

/// And of one that the server answered in the app's place, because it took too long.
pub const OVERDUE: u16 = 504;

/// What the log and the statistics say of a finished exchange.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub ending: Ending,
    pub status: u16,
    pub header_count: u32,
    pub header_bytes: u64,
    pub body_bytes: u64,
    pub via_sendfile: bool,
    /// The app raised an exception.
    pub app_failed: bool,
    /// The client did not take the whole response.
    pub client_gone: bool,
    /// Variables in the environ, as uWSGI counts them: twice their number.
    pub vars: u32,
    /// Id of the app that answered, where there are several; -1 for none of them.
    pub app: i32,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            ending: Ending::Cut,
            status: 0,
            header_count: 0,
            header_bytes: 0,
            body_bytes: 0,
            via_sendfile: false,
            app_failed: false,
            client_gone: false,
            vars: 0,
            app: 0,
        }
    }
}

/// A target that was validated and taken apart when the head came in.
#[derive(Clone, Debug, Default)]
pub struct TargetParts {
    /// The decoded path; None if the path has nothing to decode and stands at `path_span`.
    pub decoded_path: Option<Vec<u8>>,
    pub path_span: Span,
    pub query: Span,
    /// The host of an absolute-form target, which replaces the Host header (RFC 9112 3.2.2).
    pub authority: Option<Span>,
}

impl TargetParts {
    /// `bytes` is the head, `target` a part of it.
    pub fn parse(method: &[u8], target: &[u8], bytes: &[u8]) -> Result<Self, wire::Error> {
        let parsed = wire::http1::parse_target(method, target)?;
        let (decoded_path, path_span) = match parsed.path {
            std::borrow::Cow::Borrowed(path) if is_within(bytes, path) => (None, span_within(bytes, path)),
            path => (Some(path.into_owned()), Span::default()),
        };
        Ok(Self {
            decoded_path,
            path_span,
            query: span_within(bytes, parsed.query),
            authority: parsed.authority.map(|authority| span_within(bytes, authority)),
        })
    }
}

fn is_within(outer: &[u8], inner: &[u8]) -> bool {
    outer.as_ptr_range().start <= inner.as_ptr_range().start && inner.as_ptr_range().end <= outer.as_ptr_range().end
}

/// The place of `inner` in `outer`; an empty span if it is not a part of it.
fn span_within(outer: &[u8], inner: &[u8]) -> Span {
    if inner.is_empty() || !is_within(outer, inner) {
        return Span::default();
    }
    let start = inner.as_ptr() as usize - outer.as_ptr() as usize;
    Span { start: start as u32, end: (start + inner.len()) as u32 }
}

pub struct Exchange {
    /// The connection's key in the event loop.
    pub key: u64,
    pub socket: Arc<Socket>,
    /// Index of the listener that the connection came by.
    pub listener: usize,
    pub peer: Peer,
    /// The peer may speak for the client it forwards (X-Forwarded-*).
    pub trusted: bool,
    /// What proxies said of the client, where `trusted-headers` says how to read that.
    pub client: Option<Box<Client>>,
    pub parsed: Parsed,
    /// The head, or the uwsgi block with its four bytes before it.
    pub bytes: Vec<u8>,
    /// Where an HTTP target's parts are; empty for uwsgi, whose front end took them apart.
    pub target: TargetParts,
    pub body: SpooledBody,
    /// What the request wants; `report.ending` tells what came of it.
    pub keep_alive: bool,
    /// The client's next request has begun to arrive.
    pub more_follows: bool,
    pub started_us: u64,
    /// What was changed of the request by its names and by rules, and what these want of its response.
    pub routed: Option<Box<Routed>>,
    pub report: Report,
}

impl Exchange {
    /// What is left of an exchange that is over.
    pub fn into_parts(self) -> Parts {
        Parts { parsed: self.parsed, bytes: self.bytes }
    }

    /// The first value of a uwsgi variable's last occurrence; empty if there is none, or the request came over HTTP.
    pub fn var(&self, name: &[u8]) -> &[u8] {
        match &self.parsed {
            Parsed::Uwsgi(packet) => packet
                .vars
                .iter()
                .rev()
                .find(|(key, _)| key.of(&self.bytes) == name)
                .map_or(b"", |(_, value)| value.of(&self.bytes)),
            Parsed::Http(_) => b"",
        }
    }

    /// The path without the SCRIPT_NAME that it begins with, where the front end wants that (modifier 30).
    pub fn cut_path(&self) -> Option<&[u8]> {
        match &self.parsed {
            Parsed::Uwsgi(packet) if packet.modifier1 == 30 => {
                let (script, path) = (self.var(b"SCRIPT_NAME"), self.var(b"PATH_INFO"));
                let script = script.strip_suffix(b"/").unwrap_or(script);
                // A location of nginx fits /shopping too where it is written /shop.
                (!script.is_empty() && mounts::begins(path, script)).then(|| &path[script.len()..])
            }
            _ => None,
        }
    }

    /// What a rule has set a variable to.
    pub fn changed(&self, name: &[u8]) -> Option<&[u8]> {
        self.routed.as_ref()?.var(name)
    }

    /// Lets the app, rules and logs see another value than the request has.
    pub fn set_variable(&mut self, name: &[u8], value: Vec<u8>) {
        self.routed.get_or_insert_default().set(name, value);
    }

    /// The HTTP headers of this name, in any case, in their order.
    fn headers<'a, 'n>(&'a self, name: &'n [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a, 'n> {
        let headers = match &self.parsed {
            Parsed::Http(head) => &head.headers[..],
            Parsed::Uwsgi(_) => &[],
        };
        let is_meant = move |header: &&Header| header.name.of(&self.bytes).eq_ignore_ascii_case(name);
        headers.iter().filter(is_meant).map(|header| header.value.of(&self.bytes))
    }

    /// The first HTTP header of this name, in any case.
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers(name).next()
    }

    /// The last one: where a proxy has added a line to those that the client wrote, that is its own word.
    pub fn last_header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers(name).next_back()
    }

    /// What a proxy that may speak for its client has said of it, word for word. Who speaks uwsgi may say everything.
    pub fn forwarded_for(&self) -> Option<&[u8]> {
        let said = match &self.parsed {
            Parsed::Http(_) if !self.trusted => None,
            Parsed::Http(_) => self.header(b"x-forwarded-for"),
            Parsed::Uwsgi(_) => Some(self.var(b"HTTP_X_FORWARDED_FOR")),
        };
        said.filter(|text| !text.is_empty())
    }

    /// A variable of the environ as far as the request itself has it, or what it was set to since.
    pub fn variable(&self, variable: &Variable) -> Option<&[u8]> {
        if let Some(value) = self.changed(&variable.name) {
            return Some(value).filter(|text| !text.is_empty());
        }
        let value = match (&self.parsed, &variable.header, &variable.name[..]) {
            (Parsed::Uwsgi(_), _, name) => Some(self.var(name)),
            (Parsed::Http(_), Some(header), _) => self.header(header),
            (Parsed::Http(_), None, b"REQUEST_METHOD") => Some(self.method()),
            (Parsed::Http(_), None, b"REQUEST_URI") => Some(self.uri()),
            (Parsed::Http(_), None, b"PATH_INFO") => Some(self.path()),
            (Parsed::Http(_), None, b"QUERY_STRING") => Some(self.target.query.of(&self.bytes)),
            (Parsed::Http(_), None, b"SERVER_PROTOCOL") => Some(self.protocol()),
            (Parsed::Http(_), None, _) => None,
        };
        value.filter(|text| !text.is_empty())
    }

    pub fn method(&self) -> &[u8] {
        match &self.parsed {
            Parsed::Http(head) => head.method.of(&self.bytes),
            Parsed::Uwsgi(_) => self.var(b"REQUEST_METHOD"),
        }
    }

    /// What the request asks of its response.
    pub fn framing(&self, protocol: ListenerProtocol) -> Framing {
        Framing {
            uwsgi: protocol == ListenerProtocol::Uwsgi,
            http11: match &self.parsed {
                Parsed::Http(head) => head.version == Version::Http11,
                Parsed::Uwsgi(_) => false,
            },
            head_only: self.method() == b"HEAD",
            keep_alive: self.keep_alive,
            more_follows: self.more_follows,
        }
    }

    /// What rules want of the headers goes with the response.
    pub fn hand_edits_to(&mut self, response: &mut Response) {
        if let Some(routed) = &mut self.routed
            && let Some(edits) = routed.edits.take()
        {
            response.edit(edits);
        }
    }

    /// Ends the response and keeps what the log and the connection need to know; returns the working buffers.
    pub fn take_report(&mut self, mut response: Response, app_failed: bool) -> (Vec<u8>, Vec<u8>) {
        let ending = response.finish(app_failed);
        let client_gone = response.gone().is_some_and(Gone::is_of_client);
        self.report = Report {
            ending,
            status: if client_gone { CLIENT_GONE } else { response.status() },
            header_count: response.header_count(),
            header_bytes: response.header_bytes(),
            body_bytes: response.body_bytes(),
            via_sendfile: response.via_sendfile(),
            // What an app does when its client leaves is no failure.
            app_failed: app_failed && !client_gone,
            client_gone,
            vars: self.report.vars,
            app: self.report.app,
        };
        if let Some(routed) = &mut self.routed
            && let Some(edits) = response.take_edits()
        {
            routed.lines.extend(edits.lines);
            routed.complaints.extend(edits.complaints);
            routed.is_unlogged |= edits.is_unlogged;
        }
        response.into_scratch()
    }

    /// A copy with everything that a line in the log is made of.
    pub fn for_log(&self) -> Self {
        Self {
            key: self.key,
            socket: Arc::clone(&self.socket),
            listener: self.listener,
            peer: self.peer,
            trusted: self.trusted,
            client: self.client.clone(),
            parsed: self.parsed.clone(),
            bytes: self.bytes.clone(),
            target: self.target.clone(),
            body: SpooledBody::Memory(Vec::new(), None),
            keep_alive: self.keep_alive,
            more_follows: self.more_follows,
            started_us: self.started_us,
            routed: self.routed.as_deref().map(|routed| Box::new(routed.for_log())),
            report: Report::default(),
        }
    }

    /// What the log says of a request whose client does not wait for the app any more: the status of the server's own
    /// answer, or what had become of the app's.
    pub fn report_without_app(&mut self, status: u16, progress: Option<Progress>) {
        self.report.status = status;
        self.report.client_gone = status == CLIENT_GONE;
        if let Some(progress) = progress {
            self.report.status = progress.status;
            self.report.header_count = progress.header_count;
            self.report.header_bytes = progress.header_bytes;
            self.report.body_bytes = progress.body_bytes;
        }
    }

    /// The client was answered, or cut off, without the app, or had left before that.
    pub fn detach(&mut self, outcome: Outcome) {
        self.report.ending = Ending::Cut;
        self.report.app_failed = false;
        self.report.status = match outcome {
            Outcome::Cut | Outcome::Complete => return,
            Outcome::Answered => OVERDUE,
            Outcome::Left => CLIENT_GONE,
        };
        self.report.client_gone |= outcome == Outcome::Left;
        (self.report.header_count, self.report.header_bytes, self.report.body_bytes) = (0, 0, 0);
    }

    /// Whether the client may be sending another request behind this one.
    pub fn expects_more(&self) -> bool {
        matches!(&self.parsed, Parsed::Http(head) if head.keep_alive)
    }

    /// The decoded path.
    pub fn path(&self) -> &[u8] {
        match (&self.parsed, &self.target.decoded_path) {
            (Parsed::Uwsgi(_), _) => self.var(b"PATH_INFO"),
            (_, Some(path)) => path,
            (_, None) => self.target.path_span.of(&self.bytes),
        }
    }

    /// The target as the client sent it.
    pub fn uri(&self) -> &[u8] {
        match &self.parsed {
            Parsed::Http(head) => head.target.of(&self.bytes),
            Parsed::Uwsgi(_) => {
                let uri = self.var(b"REQUEST_URI");
                if uri.is_empty() { self.var(b"PATH_INFO") } else { uri }
            }
        }
    }

    pub fn protocol(&self) -> &[u8] {
        match &self.parsed {
            Parsed::Http(head) => match head.version {
                Version::Http10 => b"HTTP/1.0",
                Version::Http11 => b"HTTP/1.1",
            },
            Parsed::Uwsgi(_) => self.var(b"SERVER_PROTOCOL"),
        }
    }
}
