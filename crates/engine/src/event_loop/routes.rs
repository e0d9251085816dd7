//! Rules about requests: what they see of an exchange, and how what they decide is carried out.

use std::borrow::Cow;
use std::sync::Arc;

use wire::http1::{Framing, Underscores};

use super::EventLoop;
use crate::connection::Refusal;
use crate::exchange::{Exchange, Parsed};
use crate::forwarded;
use crate::response::Response;
use crate::routing::{Answer, Outcome, Request, Routed, Router};
use crate::scoreboard::Source;
use crate::static_files::Lookup;
use crate::sys::{self, Peer};
use crate::worker::Shared;

/// What the log says of a connection that a rule ended without an answer, as uWSGI does.
const DROPPED: u16 = 500;

/// An exchange as rules see it: as the app would.
struct Seen<'a> {
    exchange: &'a Exchange,
    shared: &'a Shared,
}

impl Request for Seen<'_> {
    fn var(&self, name: &[u8]) -> Cow<'_, [u8]> {
        match &self.exchange.parsed {
            Parsed::Http(_) => self.http(name),
            // No header of a client but a setting of HTTP libraries, which the app does not see either.
            Parsed::Uwsgi(_) if name == b"HTTP_PROXY" => Cow::Borrowed(b""),
            Parsed::Uwsgi(_) => match name {
                b"PATH_INFO" | b"SCRIPT_NAME" if self.mountpoint_bytes() > 0 => self.mounted(name),
                b"PATH_INFO" => Cow::Borrowed(self.exchange.cut_path().unwrap_or_else(|| self.exchange.path())),
                _ => Cow::Borrowed(self.exchange.var(name)),
            },
        }
    }
}

impl Seen<'_> {
    /// How much of the path is the mountpoint of an app, which is taken off before rules look at it.
    fn mountpoint_bytes(&self) -> usize {
        self.shared.mounts.cut(self.exchange.path())
    }

    fn mounted(&self, name: &[u8]) -> Cow<'_, [u8]> {
        let (point, rest) = self.exchange.path().split_at(self.mountpoint_bytes());
        Cow::Borrowed(if name == b"PATH_INFO" { rest } else { point })
    }

    fn http(&self, name: &[u8]) -> Cow<'_, [u8]> {
        let (exchange, shared) = (self.exchange, self.shared);
        let owned = |text: String| Cow::Owned(text.into_bytes());
        match name {
            b"PATH_INFO" | b"SCRIPT_NAME" => self.mounted(name),
            b"REQUEST_URI" => Cow::Borrowed(exchange.uri()),
            b"REQUEST_METHOD" => Cow::Borrowed(exchange.method()),
            b"QUERY_STRING" => Cow::Borrowed(exchange.target.query.of(&exchange.bytes)),
            b"SERVER_PROTOCOL" => Cow::Borrowed(exchange.protocol()),
            b"REMOTE_ADDR" => Cow::Owned(shared.client_address(exchange).as_bytes().to_vec()),
            b"REMOTE_PORT" => match exchange.peer {
                Peer::Inet(address) => owned(address.port().to_string()),
                Peer::Unix => Cow::Borrowed(b""),
            },
            b"SERVER_NAME" => Cow::Borrowed(shared.plan.engine.server_name.as_bytes()),
            b"SERVER_PORT" => Cow::Borrowed(shared.plan.listeners[exchange.listener].server_port.as_bytes()),
            b"CONTENT_TYPE" => Cow::Borrowed(exchange.header(b"content-type").unwrap_or_default()),
            b"CONTENT_LENGTH" => match &exchange.parsed {
                Parsed::Http(head) => match head.framing {
                    Framing::None => Cow::Borrowed(b""),
                    Framing::Length(length) => owned(length.to_string()),
                    Framing::Chunked => owned(exchange.body.length().to_string()),
                },
                Parsed::Uwsgi(_) => Cow::Borrowed(b""),
            },
            b"HTTPS" if self.is_secure() => Cow::Borrowed(b"on"),
            b"HTTP_HOST" => match exchange.target.authority {
                Some(authority) => Cow::Borrowed(authority.of(&exchange.bytes)),
                None => self.header(name),
            },
            _ if name.starts_with(b"HTTP_") => self.header(name),
            _ => Cow::Borrowed(b""),
        }
    }

    fn is_secure(&self) -> bool {
        if let Some(client) = &self.exchange.client {
            return client.is_secure;
        }
        if !self.exchange.trusted {
            return false;
        }
        match self.exchange.last_header(b"x-forwarded-proto").and_then(forwarded::scheme) {
            Some(scheme) => scheme == "https",
            None => self.exchange.last_header(b"x-forwarded-ssl").is_some_and(forwarded::is_on),
        }
    }

    /// All values of the headers whose variable this is, put together as the app's are (RFC 9110 5.3, RFC 6265 5.4).
    fn header(&self, name: &[u8]) -> Cow<'_, [u8]> {
        let Parsed::Http(head) = &self.exchange.parsed else { return Cow::Borrowed(b"") };
        let bytes = &self.exchange.bytes;
        let between: &[u8] = if name == b"HTTP_COOKIE" { b"; " } else { b", " };
        let mut found: Cow<'_, [u8]> = Cow::Borrowed(b"");
        let mut is_found = false;
        let mut key = Vec::new();
        let mut look = |underscores: Underscores, is_wanted: &dyn Fn(&[u8]) -> bool| {
            for header in head.headers.iter().filter(|header| is_wanted(header.name.of(bytes))) {
                key.clear();
                if !wire::http1::cgi_name(header.name.of(bytes), underscores, &mut key) || key != name {
                    continue;
                }
                let value = header.value.of(bytes);
                if std::mem::replace(&mut is_found, true) {
                    let joined = found.to_mut();
                    joined.extend_from_slice(between);
                    joined.extend_from_slice(value);
                } else {
                    found = Cow::Borrowed(value);
                }
            }
            is_found
        };
        // A name with an underscore counts only where there is no other, and where such names are let in.
        if !look(Underscores::Drop, &|_| true) && self.shared.plan.engine.underscores_in_headers {
            look(Underscores::Keep, &|header| header.contains(&b'_'));
        }
        found
    }
}

impl EventLoop {
    /// Applies the rules; returns the exchange if it goes on to the app.
    pub(super) fn route(
        &mut self,
        shared: &Shared,
        router: &Arc<Router>,
        mut exchange: Box<Exchange>,
    ) -> Option<Box<Exchange>> {
        // A name that the request has got is what rules see, too.
        let mut routed = exchange.routed.take().map_or_else(Routed::default, |routed| *routed);
        let outcome = router.route(&Seen { exchange: &exchange, shared }, &mut routed);
        for line in routed.lines.drain(..) {
            shared.note(&String::from_utf8_lossy(&line));
        }
        for complaint in routed.complaints.drain(..) {
            self.note(shared, &complaint);
        }
        if !routed.is_empty() || router.has_last() {
            exchange.routed = Some(Box::new(routed));
        }
        match outcome {
            Outcome::Pass => return Some(exchange),
            Outcome::Answer(answer) => self.answer(shared, &mut exchange, &answer),
            Outcome::File(Lookup::Found(found)) => {
                self.serve_file(shared, &mut exchange, found, Source::FileOfRule);
            }
            Outcome::File(Lookup::Missing) => self.answer(shared, &mut exchange, &Answer::not_found()),
            Outcome::File(Lookup::Refused(text)) => {
                self.note(shared, &text);
                self.answer(shared, &mut exchange, &Answer::not_found());
            }
            Outcome::File(Lookup::Unavailable(text)) => {
                self.away -= 1;
                if let Some(connection) = self.take(exchange.key) {
                    self.refuse(shared, connection, &Refusal::unavailable(text).answering(exchange.method()));
                }
                return None;
            }
            Outcome::Drop => {
                self.away -= 1;
                exchange.report.status = DROPPED;
                self.account(shared, &mut exchange, Source::Rule);
                if let Some(connection) = self.take(exchange.key) {
                    // What was answered before it leaves first.
                    connection.socket.release_held();
                    self.last_response_written(shared, connection);
                }
                return None;
            }
        }
        self.complete(shared, exchange);
        None
    }

    fn answer(&mut self, shared: &Shared, exchange: &mut Exchange, answer: &Answer) {
        let date = self.date.at(sys::epoch_s());
        let mut response = Response::new(
            Arc::clone(&exchange.socket),
            self.own_policy(),
            exchange.framing(self.listeners[exchange.listener].protocol),
            date,
            std::mem::take(&mut self.file_scratch),
        )
        .under(&shared.response_options);
        exchange.hand_edits_to(&mut response);
        let mut fine = response.start(&answer.status, false).is_ok();
        let page = response.page(response.status());
        for (name, value) in &answer.headers {
            let value = if page.is_some() && *name == "Content-Type" { &b"text/html"[..] } else { value };
            fine = fine && response.header(name.as_bytes(), value).is_ok();
        }
        if answer.closes {
            fine = fine && response.header(b"Connection", b"close").is_ok();
        }
        if fine {
            response.complete_with(page.as_deref().unwrap_or(&answer.body));
        } else {
            response.replace_with_error(None);
        }
        self.file_scratch = exchange.take_report(response, false);
        self.account(shared, exchange, Source::Rule);
    }
}

impl Shared {
    /// Says what rules had to say about a response, and applies those about finished requests; tells whether the request
    /// line is wanted.
    #[cold]
    pub fn conclude_routes(&self, router: &Router, exchange: &mut Exchange) -> bool {
        let Some(mut routed) = exchange.routed.take() else { return true };
        router.conclude(&Seen { exchange, shared: self }, exchange.report.status, &mut routed);
        for line in routed.lines.drain(..) {
            self.note(&String::from_utf8_lossy(&line));
        }
        for complaint in routed.complaints.drain(..) {
            self.note(&complaint);
        }
        let is_wanted = !routed.is_unlogged;
        exchange.routed = Some(routed);
        is_wanted
    }
}
