//! A connection's state, and what its bytes become: exchanges, refusals, or nothing yet.
//!
//! Sans-IO but for sending `100 Continue`: `ingest` is given bytes and answers with a verdict; the event loop reads,
//! writes and keeps time. A connection holds no buffer while it is idle.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wire::detect::{self, Guess};
use wire::http1::{self, Chunked, Framing, HeadScan};
use wire::proxy;
use wire::uwsgi;
use wire::{Error, Limits, Step};

use crate::budget::Budget;
use crate::exchange::{Exchange, Parts, Report, Spares, TargetParts};
use crate::forwarded::{self, TrustedProxies};
use crate::plan::ListenerProtocol;
use crate::socket::{Socket, WritePolicy};
use crate::spool::{self, Spool, SpooledBody};
use crate::sys::{self, Peer};

pub enum State {
    /// Between requests: nothing of the next one is there.
    Idle,
    /// Part of a head is in `buffer`.
    Head,
    /// The head is there, the body is coming in.
    Body(Box<Incoming>),
    /// An exchange is with the app, or on its way there.
    Away,
    /// The response is complete but not yet sent.
    Flushing { keep_alive: bool },
    /// The last response is sent; what the client still sends is thrown away for a while, because closing a socket
    /// with unread input resets it, and the client might lose the response.
    Lingering,
}

/// A head is rarely longer than this, and what comes of a body before its head is known has to be copied.
const HEAD_READ_BYTES: usize = 16 * 1024;

/// A request whose body is not complete.
pub struct Incoming {
    exchange: Box<Exchange>,
    spool: Spool,
    framing: BodyFraming,
}

enum BodyFraming {
    Length(u64),
    Chunked(Chunked),
}

/// What the PROXY protocol has to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    No,
    /// A header of it may come first.
    Awaited,
    /// A header has come, and names nobody.
    Unnamed,
    /// `peer` is what a header said.
    Named,
}

pub struct Connection {
    pub key: u64,
    pub socket: Arc<Socket>,
    pub listener: usize,
    pub peer: Peer,
    pub trusted: bool,
    pub proxied: Proxied,
    pub state: State,
    /// Bytes that belong to no exchange yet, from `start` on.
    pub buffer: Vec<u8>,
    /// Not 0 only while `untried`.
    pub start: usize,
    /// How many of the bytes that `ingest` was given last belong to no exchange, if that made one complete.
    unread: usize,
    /// `buffer` has not been looked at since it was filled.
    pub untried: bool,
    scan: HeadScan,
    /// More may be readable: an arrival was reported and not read to the end.
    pub readable: bool,
    /// The end of the client's stream was reported: reading goes on to it, because it is not reported again.
    pub finished: bool,
    /// It stands in the loop's queue of connections that wait for a free thread.
    pub queued: bool,
    /// It stands in the loop's queue of connections that are looked at without a new event.
    pub has_turn: bool,
    /// When patience ends, in milliseconds of the monotonic clock; 0 for never.
    pub deadline_ms: u64,
    pub served: u64,
    /// The app has the exchange still, and with it the descriptor; its client was answered without it.
    pub is_detached: bool,
}

/// What the parsers and the spool need to know.
pub struct Intake {
    pub limits: Limits,
    pub body_memory_bytes: usize,
    pub body_memory: Arc<Budget>,
    pub spool_dir: Arc<Path>,
    /// Who is believed, for clients that the PROXY protocol names.
    pub proxies: TrustedProxies,
}

/// Why a request is not served; `status` 0 closes without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub explanation: String,
    /// What the log says beside the explanation, and the client need not know.
    pub detail: String,
    /// The request was for the head only.
    pub omits_body: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(error.status(), error.code(), error.explanation())
    }
}

impl Refusal {
    fn new(status: u16, code: &'static str, explanation: &str) -> Self {
        Self { status, code, explanation: explanation.to_owned(), detail: String::new(), omits_body: false }
    }

    /// As an answer to a request of this method.
    pub fn answering(self, method: &[u8]) -> Self {
        Self { omits_body: method == b"HEAD", ..self }
    }

    /// The system has no descriptor or memory for it now.
    pub fn unavailable(detail: String) -> Self {
        Self { detail, ..Self::new(503, "out-of-resources", "the server is short of something that this needs") }
    }

    /// The app did not come to its end in time.
    pub fn late(status: u16, code: &'static str, explanation: &str) -> Self {
        Self::new(status, code, explanation)
    }

    fn unreadable_body(error: &std::io::Error) -> Self {
        let status = if spool::is_full(error) {
            507
        } else if spool::is_starved(error) {
            503
        } else {
            500
        };
        Self { detail: error.to_string(), ..Self::new(status, "spool-failed", "the request body could not be kept") }
    }
}

/// What a connection makes of some bytes.
pub enum Verdict {
    /// Nothing yet.
    More,
    Ready(Box<Exchange>),
    /// A uwsgi ping, which is answered with four bytes.
    Ping,
    Refuse(Refusal),
}

/// The first bytes of protocols that are often sent to the wrong kind of socket, in words.
fn wrong_protocol(guess: Guess, listener: ListenerProtocol) -> Option<Refusal> {
    let (code, explanation) = match (listener, guess) {
        (ListenerProtocol::Uwsgi, Guess::Http) => (
            "http-on-uwsgi-socket",
            "HTTP was sent to a uwsgi socket: use `http` (or `http-socket`) for this address, or uwsgi_pass instead of \
             proxy_pass in nginx",
        ),
        (ListenerProtocol::Http, Guess::Uwsgi) => (
            "uwsgi-on-http-socket",
            "uwsgi was sent to an HTTP socket: use `socket` for this address, or proxy_pass instead of uwsgi_pass in nginx",
        ),
        (ListenerProtocol::Uwsgi, Guess::Tls) => (
            "tls-on-uwsgi-socket",
            "TLS was sent to a uwsgi socket: that is for nginx's uwsgi_pass; browsers go to nginx, or to an `http` address",
        ),
        (_, Guess::Tls) => (
            "tls-on-plain-socket",
            "TLS was sent to a socket without TLS: use http:// for this address, or let nginx speak TLS in front of it",
        ),
        (ListenerProtocol::Http, Guess::Http2Preface) => {
            ("http2-on-http1-socket", "HTTP/2 was sent to a socket that speaks HTTP/1.1: use HTTP/1.1")
        }
        (_, Guess::ProxyV1 | Guess::ProxyV2) => (
            "proxy-protocol",
            "the PROXY protocol was sent to a socket that does not expect it, or by a peer that is not believed: use \
             enable-proxy-protocol and name the balancer in trusted-proxies, or turn it off in the balancer",
        ),
        _ => return None,
    };
    // A TLS or uwsgi client can not read an HTTP answer, but a person with a packet dump can.
    Some(Refusal::new(400, code, explanation))
}

impl Connection {
    pub fn new(key: u64, socket: Arc<Socket>, listener: usize, peer: Peer, trusted: bool) -> Self {
        Self {
            key,
            socket,
            listener,
            peer,
            trusted,
            proxied: Proxied::No,
            state: State::Idle,
            buffer: Vec::new(),
            start: 0,
            unread: 0,
            untried: false,
            scan: HeadScan::default(),
            readable: true,
            finished: false,
            queued: false,
            has_turn: false,
            deadline_ms: 0,
            served: 0,
            is_detached: false,
        }
    }

    /// Whether the next read may take whatever comes; in a body of known length, only what belongs to it.
    pub fn read_limit(&self, most: usize) -> usize {
        match &self.state {
            State::Body(incoming) => match incoming.framing {
                BodyFraming::Length(left) => usize::try_from(left).unwrap_or(most).min(most),
                BodyFraming::Chunked(_) => most,
            },
            _ => most.min(HEAD_READ_BYTES),
        }
    }

    /// Reads a part of the body to where it stays, if it has a place in memory; tells how much came, and whether all of
    /// the room was used. None if it has none: then its bytes come by `ingest`.
    pub fn receive_body(&mut self) -> Option<std::io::Result<(usize, bool)>> {
        let State::Body(incoming) = &mut self.state else { return None };
        let BodyFraming::Length(left) = &mut incoming.framing else { return None };
        let room = incoming.spool.room();
        if room == 0 {
            return None;
        }
        let fd = self.socket.fd();
        let received = incoming.spool.fill(|memory, most| sys::recv_behind(fd, memory, most));
        Some(received.map(|count| {
            *left -= count as u64;
            (count, count == room)
        }))
    }

    /// Takes the bytes in `buffer`, which are `untried`: more requests that came in one piece.
    pub fn ingest_buffered(&mut self, protocol: ListenerProtocol, intake: &Intake, spares: &mut Spares) -> Verdict {
        self.untried = false;
        let buffered = std::mem::take(&mut self.buffer);
        let start = std::mem::take(&mut self.start);
        let verdict = self.ingest(&buffered[start..], protocol, intake, spares);
        if self.untried {
            self.start = buffered.len() - self.unread;
            self.buffer = buffered;
        }
        verdict
    }

    /// Takes bytes that arrived, and keeps those behind a complete request.
    pub fn ingest_fresh(
        &mut self,
        data: &[u8],
        protocol: ListenerProtocol,
        intake: &Intake,
        spares: &mut Spares,
    ) -> Verdict {
        let verdict = self.ingest(data, protocol, intake, spares);
        if self.untried {
            // A head that was not complete before ends in what came now.
            self.buffer = data[data.len() - self.unread..].to_vec();
        }
        verdict
    }

    fn ingest(&mut self, data: &[u8], protocol: ListenerProtocol, intake: &Intake, spares: &mut Spares) -> Verdict {
        if matches!(self.state, State::Body(_)) {
            return self.body(data, intake);
        }
        if self.proxied == Proxied::Awaited {
            return self.proxy_header(data, protocol, intake, spares);
        }
        let fresh = self.buffer.is_empty();
        if !fresh {
            self.buffer.extend_from_slice(data);
        }
        let buffer = std::mem::take(&mut self.buffer);
        let input: &[u8] = if fresh { data } else { &buffer };
        let verdict = match protocol {
            ListenerProtocol::Http => self.http(input, fresh, intake, spares),
            ListenerProtocol::Uwsgi => self.uwsgi(input, intake, spares),
        };
        if matches!(verdict, Verdict::More) && matches!(self.state, State::Idle | State::Head) {
            self.state = State::Head;
            self.buffer = if fresh { data.to_vec() } else { buffer };
        }
        verdict
    }

    /// Takes the header of the PROXY protocol, and then what stands behind it.
    #[cold]
    fn proxy_header(
        &mut self,
        data: &[u8],
        protocol: ListenerProtocol,
        intake: &Intake,
        spares: &mut Spares,
    ) -> Verdict {
        self.buffer.extend_from_slice(data);
        let buffer = std::mem::take(&mut self.buffer);
        self.state = State::Head;
        let used = match proxy::parse(&buffer) {
            Ok(Step::NeedMore) => {
                self.buffer = buffer;
                return Verdict::More;
            }
            Ok(Step::Done(header, used)) => {
                match header {
                    proxy::Header::Absent => self.proxied = Proxied::No,
                    proxy::Header::Unknown => self.leave_client_unnamed(),
                    proxy::Header::Client(client) => self.name_client(client, intake),
                }
                used
            }
            Err(error) => return Verdict::Refuse(error.into()),
        };
        if used == buffer.len() { Verdict::More } else { self.ingest(&buffer[used..], protocol, intake, spares) }
    }

    /// The connection is this client's from here on, and trusted only if the client is.
    pub fn name_client(&mut self, client: SocketAddr, intake: &Intake) {
        self.peer = Peer::Inet(client);
        self.trusted = intake.proxies.trusts(forwarded::Peer::Ip(client.ip()));
        self.proxied = Proxied::Named;
    }

    /// What comes is from somebody whom the balancer does not name: it may not speak for others as the balancer may.
    pub fn leave_client_unnamed(&mut self) {
        self.trusted = false;
        self.proxied = Proxied::Unnamed;
    }

    fn http(&mut self, input: &[u8], fresh: bool, intake: &Intake, spares: &mut Spares) -> Verdict {
        // A request usually arrives whole: then one pass is enough. Otherwise the scan remembers how far it looked, so
        // that a head that comes byte by byte costs no more than one that comes at once.
        if !fresh {
            match self.scan.scan(input, &intake.limits) {
                Ok(Step::Done(..)) => {}
                Ok(Step::NeedMore) => return Verdict::More,
                Err(error) => return refuse(error, input, ListenerProtocol::Http),
            }
        }
        let mut parts = spares.take();
        let used = match http1::parse_head_into(input, &intake.limits, parts.head()) {
            Ok(Step::Done((), used)) => used,
            Ok(Step::NeedMore) => {
                spares.keep(parts);
                return match self.scan.scan(input, &intake.limits) {
                    Ok(_) => Verdict::More,
                    Err(error) => refuse(error, input, ListenerProtocol::Http),
                };
            }
            Err(error) => return refuse(error, input, ListenerProtocol::Http),
        };
        self.scan.reset();
        let head = parts.head();
        let framing = head.framing;
        let expect_continue = head.expect_continue;
        let keep_alive = head.keep_alive;
        let target = match TargetParts::parse(head.method.of(input), head.target.of(input), input) {
            Ok(target) => target,
            Err(error) => return Verdict::Refuse(error.into()),
        };
        let exchange = self.exchange(parts, target, &input[..used], keep_alive);
        let rest = &input[used..];
        match framing {
            Framing::None | Framing::Length(0) => self.ready(exchange, rest),
            Framing::Length(length) => {
                if intake.limits.body_bytes > 0 && length > intake.limits.body_bytes {
                    return Verdict::Refuse(too_large(intake).answering(exchange.method()));
                }
                self.begin_body(exchange, BodyFraming::Length(length), rest, expect_continue, intake)
            }
            Framing::Chunked => {
                self.begin_body(exchange, BodyFraming::Chunked(Chunked::default()), rest, expect_continue, intake)
            }
        }
    }

    fn uwsgi(&mut self, input: &[u8], intake: &Intake, spares: &mut Spares) -> Verdict {
        let mut parts = spares.take();
        let used = match uwsgi::parse_packet_into(input, &intake.limits, parts.packet()) {
            Ok(Step::Done((), used)) => used,
            // The first byte of a packet for an app is 0 or 30, never a letter.
            Ok(Step::NeedMore) if input.first().is_some_and(u8::is_ascii_uppercase) => {
                return wrong_protocol(detect::guess(input), ListenerProtocol::Uwsgi)
                    .map_or(Verdict::More, Verdict::Refuse);
            }
            Ok(Step::NeedMore) => return Verdict::More,
            Err(error) => return refuse(error, input, ListenerProtocol::Uwsgi),
        };
        let packet = parts.packet();
        match packet.modifier1 {
            0 | 30 => {}
            100 => return Verdict::Ping,
            other => {
                if let Some(refusal) = wrong_protocol(detect::guess(input), ListenerProtocol::Uwsgi) {
                    return Verdict::Refuse(refusal);
                }
                let explanation = format!("-- unavailable modifier requested: {other} --");
                return Verdict::Refuse(Refusal::new(0, "unknown-modifier", &explanation));
            }
        }
        if packet.vars.is_empty() {
            return Verdict::Refuse(Refusal::new(0, "empty-packet", "Empty python request. skip."));
        }
        if packet.get(input, b"REQUEST_METHOD").is_none_or(<[u8]>::is_empty) {
            return Verdict::Refuse(Refusal::new(
                400,
                "no-request-method",
                "the uwsgi request has no REQUEST_METHOD: `include uwsgi_params;` is missing beside uwsgi_pass in nginx",
            ));
        }
        let length = packet.content_length;
        if intake.limits.body_bytes > 0 && length > intake.limits.body_bytes {
            return Verdict::Refuse(too_large(intake));
        }
        let exchange = self.exchange(parts, TargetParts::default(), &input[..used], false);
        let rest = &input[used..];
        if length == 0 {
            self.ready(exchange, rest)
        } else {
            self.begin_body(exchange, BodyFraming::Length(length), rest, false, intake)
        }
    }

    fn exchange(&self, parts: Parts, target: TargetParts, head: &[u8], keep_alive: bool) -> Box<Exchange> {
        let Parts { parsed, mut bytes } = parts;
        bytes.clear();
        bytes.extend_from_slice(head);
        Box::new(Exchange {
            key: self.key,
            socket: Arc::clone(&self.socket),
            listener: self.listener,
            peer: self.peer,
            trusted: self.trusted,
            client: None,
            parsed,
            bytes,
            target,
            body: SpooledBody::default(),
            keep_alive,
            more_follows: false,
            started_us: 0,
            routed: None,
            report: Report::default(),
        })
    }

    fn ready(&mut self, exchange: Box<Exchange>, rest: &[u8]) -> Verdict {
        self.unread = rest.len();
        self.untried = self.unread > 0;
        self.state = State::Away;
        self.served += 1;
        Verdict::Ready(exchange)
    }

    fn begin_body(
        &mut self,
        exchange: Box<Exchange>,
        framing: BodyFraming,
        rest: &[u8],
        expect_continue: bool,
        intake: &Intake,
    ) -> Verdict {
        let mut spool = Spool::new(intake.body_memory_bytes, &intake.body_memory, &intake.spool_dir);
        if let BodyFraming::Length(length) = framing {
            spool.expect(length);
        }
        self.state = State::Body(Box::new(Incoming { exchange, spool, framing }));
        let verdict = self.body(rest, intake);
        if expect_continue && matches!(self.state, State::Body(_)) && rest.is_empty() {
            // Behind the answers to the requests before it. A client that is gone is noticed by the next read.
            let never_wait = WritePolicy { buffer_bytes: usize::MAX, timeout: Duration::MAX };
            let _ = self.socket.write(&[b"HTTP/1.1 100 Continue\r\n\r\n"], never_wait);
            // That was none of a response.
            self.socket.end_response();
        }
        verdict
    }

    fn body(&mut self, data: &[u8], intake: &Intake) -> Verdict {
        let State::Body(mut incoming) = std::mem::replace(&mut self.state, State::Head) else { return Verdict::More };
        let (complete, used) = match &mut incoming.framing {
            BodyFraming::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                if let Err(error) = incoming.spool.write(&data[..take]) {
                    return Verdict::Refuse(Refusal::unreadable_body(&error));
                }
                *left -= take as u64;
                (*left == 0, take)
            }
            BodyFraming::Chunked(decoder) => {
                let mut decoded = Vec::with_capacity(data.len());
                let step = match decoder.decode(data, &mut decoded, &intake.limits) {
                    Ok(step) => step,
                    Err(error) => return Verdict::Refuse(error.into()),
                };
                if let Err(error) = incoming.spool.write(&decoded) {
                    return Verdict::Refuse(Refusal::unreadable_body(&error));
                }
                match step {
                    Step::Done((), used) => (true, used),
                    Step::NeedMore => (false, data.len()),
                }
            }
        };
        if !complete {
            self.state = State::Body(incoming);
            return Verdict::More;
        }
        let Incoming { mut exchange, spool, .. } = *incoming;
        match spool.finish() {
            Ok(body) => {
                exchange.body = body;
                self.ready(exchange, &data[used..])
            }
            Err(error) => Verdict::Refuse(Refusal::unreadable_body(&error)),
        }
    }

    /// What to say to a client whose request did not come in time.
    pub fn overdue(&self) -> Refusal {
        let what = if matches!(self.state, State::Body(_)) { "body" } else { "head" };
        Refusal::new(408, "request-timeout", &format!("the request's {what} took too long"))
    }
}

fn refuse(error: Error, input: &[u8], protocol: ListenerProtocol) -> Verdict {
    let refusal = wrong_protocol(detect::guess(input), protocol).unwrap_or_else(|| error.into());
    // What is wrong with a head is told behind its method.
    Verdict::Refuse(refusal.answering(input.split(|byte| *byte == b' ').next().unwrap_or_default()))
}

fn too_large(intake: &Intake) -> Refusal {
    let explanation = format!("the request body is larger than limit-post ({} bytes)", intake.limits.body_bytes);
    Refusal::new(413, "body-too-large", &explanation)
}
