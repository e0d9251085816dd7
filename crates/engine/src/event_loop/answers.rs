//! What the engine answers itself: refusals and static files; and how a connection ends without losing its last
//! response.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::{EventLoop, LAST_LINGER_MS, LINGER_MS, READS_A_TURN};
use crate::connection::{Connection, Refusal, State};
use crate::exchange::Exchange;
use crate::request_log::Times;
use crate::response::Response;
use crate::scoreboard::{Finished, Source};
use crate::socket::WritePolicy;
use crate::static_files::{self, Conditions, Lookup};
use crate::sys::{self, Peer};
use crate::worker::Shared;

/// A file up to this size is read and leaves with its head in one call; a larger one costs less by sendfile, which copies
/// nothing but needs a call of its own.
const SMALL_FILE_BYTES: usize = 16 * 1024;

impl EventLoop {
    /// The loop never waits for a client: what of its own short answers does not fit into the socket is kept.
    pub(super) fn own_policy(&self) -> WritePolicy {
        WritePolicy { buffer_bytes: usize::MAX, ..self.policy }
    }

    fn client_of(&self, connection: &Connection) -> String {
        match connection.peer {
            Peer::Inet(address) => address.ip().to_string(),
            Peer::Unix => self.listeners[connection.listener].name.clone(),
        }
    }

    /// A client left whose app had finished: its request has its line already, with the status that the app gave.
    pub(super) fn lost_response(&mut self, shared: &Shared, key: u64) {
        shared.count_lost_response();
        let Some(connection) = self.take(key) else { return };
        let client = self.client_of(&connection);
        self.put_back(connection);
        self.note(shared, &format!("499 - {client} left before it had taken all of its response"));
    }

    pub(super) fn refuse(&mut self, shared: &Shared, connection: Box<Connection>, refusal: &Refusal) {
        shared.count_refusal();
        let client = self.client_of(&connection);
        self.note(
            shared,
            &format!(
                "refused a request of {client}: {} {} - {}{}{}",
                refusal.status,
                refusal.code,
                refusal.explanation,
                if refusal.detail.is_empty() { "" } else { ": " },
                refusal.detail
            ),
        );
        if refusal.status == 0 {
            self.discard(shared, connection);
            return;
        }
        let (head, body) = self.refusal_text(shared, refusal);
        let _ = connection.socket.write(&[&head, &body], self.own_policy());
        self.last_response_written(shared, connection);
    }

    /// Head and body of the server's own answer, after which the connection ends.
    pub(super) fn refusal_text(&mut self, shared: &Shared, refusal: &Refusal) -> (Vec<u8>, Vec<u8>) {
        let reason = wire::response::reason(refusal.status);
        let options = shared.response_options.as_deref();
        let (kind, mut body) = match options.and_then(|options| options.page(refusal.status)) {
            Some(page) => ("text/html", page),
            None => ("text/plain", format!("{} {reason}\n{}\n", refusal.status, refusal.explanation).into_bytes()),
        };
        let date = self.date.at(sys::epoch_s());
        let mut head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\nDate: {}\r\n",
            refusal.status,
            body.len(),
            String::from_utf8_lossy(&date),
        )
        .into_bytes();
        head.extend_from_slice(options.map_or(&b""[..], |options| options.added().0));
        head.extend_from_slice(b"\r\n");
        if refusal.omits_body {
            body.clear();
        }
        (head, body)
    }

    /// The connection ends when what was written has left and the client has stopped sending.
    pub(super) fn last_response_written(&mut self, shared: &Shared, mut connection: Box<Connection>) {
        if connection.socket.is_flushed() {
            self.begin_linger(shared, connection);
        } else {
            connection.state = State::Flushing { keep_alive: false };
            connection.readable = true;
            self.put_back(connection);
        }
    }

    pub(super) fn begin_linger(&mut self, shared: &Shared, mut connection: Box<Connection>) {
        sys::shutdown_write(connection.socket.fd());
        connection.state = State::Lingering;
        connection.buffer = Vec::new();
        connection.start = 0;
        connection.untried = false;
        let is_last = self.leaving.is_some_and(|leaving| !leaving.hand_over);
        connection.deadline_ms = sys::now_ms() + if is_last { LAST_LINGER_MS } else { LINGER_MS };
        self.linger(shared, connection);
    }

    pub(super) fn linger(&mut self, shared: &Shared, connection: Box<Connection>) {
        for _ in 0..READS_A_TURN {
            match sys::recv(connection.socket.fd(), &mut self.scratch) {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if connection.socket.register(connection.key).is_err() {
                        self.discard(shared, connection);
                    } else {
                        self.put_back(connection);
                    }
                    return;
                }
                Ok(_) | Err(_) => {
                    self.discard(shared, connection);
                    return;
                }
            }
        }
        let key = connection.key;
        self.put_back(connection);
        self.look_again(key);
    }

    pub(super) fn serve_file(
        &mut self,
        shared: &Shared,
        exchange: &mut Exchange,
        mut found: static_files::Found<'_>,
        source: Source,
    ) {
        if let Some(text) = found.note.take() {
            self.note(shared, &text);
        }
        let date = self.date.at(sys::epoch_s());
        let header = |name: &[u8], var: &[u8]| header_or_var(exchange, name, var);
        let conditions = Conditions {
            method: exchange.method(),
            if_match: header(b"if-match", b"HTTP_IF_MATCH"),
            if_none_match: header(b"if-none-match", b"HTTP_IF_NONE_MATCH"),
            if_modified_since: header(b"if-modified-since", b"HTTP_IF_MODIFIED_SINCE"),
            if_unmodified_since: header(b"if-unmodified-since", b"HTTP_IF_UNMODIFIED_SINCE"),
            range: header(b"range", b"HTTP_RANGE"),
            if_range: header(b"if-range", b"HTTP_IF_RANGE"),
        };
        let Some(answer) = found.respond(&conditions, SystemTime::now()) else { return };
        let mut response = Response::new(
            Arc::clone(&exchange.socket),
            self.own_policy(),
            exchange.framing(self.listeners[exchange.listener].protocol),
            date,
            std::mem::take(&mut self.file_scratch),
        )
        .under(&shared.response_options);
        exchange.hand_edits_to(&mut response);
        let reason = wire::response::reason(answer.status);
        let mut fine = response.start(format!("{} {reason}", answer.status).as_bytes(), false).is_ok();
        for (name, value) in &answer.headers {
            fine = fine && response.header(name.as_bytes(), value.as_bytes()).is_ok();
        }
        if !fine {
            response.replace_with_error(None);
        } else if let Some(body) = answer.body {
            match body.read_small(&mut self.scratch[..SMALL_FILE_BYTES]) {
                Some(contents) => _ = response.whole(&[contents]),
                None => _ = response.file(body.file, body.offset, body.length),
            }
        }
        self.file_scratch = exchange.take_report(response, false);
        self.account(shared, exchange, source);
    }

    /// Keeps the books of an exchange that was answered here.
    pub(super) fn account(&mut self, shared: &Shared, exchange: &mut Exchange, source: Source) {
        let done = Finished {
            tx_bytes: exchange.report.header_bytes + exchange.report.body_bytes,
            elapsed_us: sys::now_us().saturating_sub(exchange.started_us),
            exception: false,
            status: exchange.report.status,
        };
        shared.board_own(&done, source);
        shared.log_exchange(exchange, 0, Times::of_file(done.elapsed_us), true);
    }
}

/// A header of a request over HTTP, or the variable that a front end made of it.
fn header_or_var<'a>(exchange: &'a Exchange, name: &[u8], var: &[u8]) -> Option<&'a [u8]> {
    exchange.header(name).or_else(|| Some(exchange.var(var)).filter(|value| !value.is_empty()))
}

/// The file that a request is for. Under a mountpoint the rest of the path counts, as for the application there; then
/// the whole of it.
pub fn look_up<'a>(shared: &'a Shared, exchange: &Exchange) -> Lookup<'a> {
    let cut = shared.mounts.cut(exchange.path());
    if cut > 0 {
        let found = shared.static_map.lookup(&Mounted { exchange, cut });
        if !matches!(found, Lookup::Missing) {
            return found;
        }
    }
    shared.static_map.lookup(exchange)
}

/// A request as the application at its mountpoint sees it.
struct Mounted<'a> {
    exchange: &'a Exchange,
    cut: usize,
}

impl static_files::Request for Mounted<'_> {
    fn path(&self) -> &[u8] {
        &self.exchange.path()[self.cut..]
    }

    fn uri(&self) -> &[u8] {
        self.exchange.uri()
    }

    fn document_root(&self) -> Option<&[u8]> {
        static_files::Request::document_root(self.exchange)
    }

    fn accept_encoding(&self) -> Option<&[u8]> {
        static_files::Request::accept_encoding(self.exchange)
    }
}

impl static_files::Request for Exchange {
    fn path(&self) -> &[u8] {
        Exchange::path(self)
    }

    fn uri(&self) -> &[u8] {
        Exchange::uri(self)
    }

    fn document_root(&self) -> Option<&[u8]> {
        // Whoever may name the directory may read every file of this machine that the worker can.
        Some(self.var(b"DOCUMENT_ROOT")).filter(|root| self.trusted && !root.is_empty())
    }

    fn accept_encoding(&self) -> Option<&[u8]> {
        header_or_var(self, b"accept-encoding", b"HTTP_ACCEPT_ENCODING")
    }
}
