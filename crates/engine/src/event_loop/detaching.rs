//! Exchanges that the app keeps for too long: their clients are answered without it, and what it makes of them later is
//! dropped.
//!
//! The connection stays the loop's, and ends like any other; the exchange, and with it the descriptor, stays with its app
//! thread until that comes back. Nothing of the app can reach the client any more from the moment of `take_over`.

use super::EventLoop;
use crate::connection::{Connection, Refusal, State};
use crate::exchange::{Exchange, Parsed};
use crate::spool::SpooledBody;
use crate::sys;
use crate::worker::{Outcome, Shared};

/// A request of this size, with what stands behind it, can be passed on to another worker in one datagram.
const PASSED_BYTES: usize = 60_000;

impl EventLoop {
    /// Takes the connection of an exchange from the app; tells what its client got. One that `is_complete` is all that the
    /// client waits for. For an exchange whose thread can not bring it back before this is done.
    pub fn detach(&mut self, shared: &Shared, key: u64, refusal: &Refusal, is_complete: bool) -> Outcome {
        let Some(connection) = self.take(key) else { return Outcome::Left };
        debug_assert!(matches!(connection.state, State::Away), "an exchange is with its thread");
        self.detached.push(key);
        self.detached_until_ms = sys::now_ms() + self.detached_grace_ms;
        self.count_room(shared);
        self.answer_for_app(shared, connection, refusal, is_complete)
    }

    fn answer_for_app(
        &mut self,
        shared: &Shared,
        mut connection: Box<Connection>,
        refusal: &Refusal,
        is_complete: bool,
    ) -> Outcome {
        connection.is_detached = true;
        let has_begun = connection.socket.take_over();
        if has_begun && is_complete {
            self.last_response_written(shared, connection);
            return Outcome::Complete;
        }
        if has_begun {
            sys::cut(connection.socket.fd(), connection.socket.is_tcp);
            self.discard(shared, connection);
            return Outcome::Cut;
        }
        let (mut text, body) = self.refusal_text(shared, refusal);
        text.extend_from_slice(&body);
        connection.socket.write_own(&text);
        // A client that had closed its end has answered the bytes with a reset by now, if it is not far away.
        let has_left = connection.socket.is_broken() || sys::is_broken_off(connection.socket.fd());
        self.last_response_written(shared, connection);
        if has_left { Outcome::Left } else { Outcome::Answered }
    }

    /// How many exchanges are with app threads that nobody waits for any more.
    pub fn lost(&self) -> usize {
        self.detached.len()
    }

    /// Whether everything that is left is with such threads, and they had their time.
    pub(super) fn is_all_lost(&self) -> bool {
        self.away <= self.detached.len() && (self.away == 0 || sys::now_ms() >= self.detached_until_ms)
    }

    /// An exchange has come back; true if its connection is none of its business any more.
    #[cold]
    pub(super) fn was_detached(&mut self, shared: &Shared, key: u64) -> bool {
        let Some(place) = self.detached.iter().position(|detached| *detached == key) else { return false };
        self.detached.swap_remove(place);
        self.count_room(shared);
        true
    }

    /// Nobody can run Python here, or somebody can again: what comes is left to others meanwhile.
    pub fn seize(&mut self, shared: &Shared, is_seized: bool) {
        self.is_seized = is_seized;
        self.count_room(shared);
    }

    /// How much may be with the app at once, after something of that has changed.
    fn count_room(&mut self, shared: &Shared) {
        let engine = &shared.plan.engine;
        self.threads = if self.is_seized { 0 } else { engine.threads };
        self.capacity = match (self.is_seized, engine.multiprocess) {
            (true, _) => 0,
            (false, true) => engine.threads,
            // No request is kept ready for a thread that may never come back.
            (false, false) => 2 * engine.threads - self.detached.len(),
        };
    }

    /// Answers everybody who still waits for the app, as `is_head` says of a connection: this worker is about to be gone.
    pub fn refuse_all(&mut self, shared: &Shared, is_head: impl Fn(u64) -> bool) {
        let is_away = |connection: &&Connection| matches!(connection.state, State::Away);
        let all = self.slots.iter().filter_map(|slot| slot.connection.as_deref());
        let keys: Vec<u64> = all.filter(is_away).map(|connection| connection.key).collect();
        for key in keys {
            if let Some(connection) = self.take(key) {
                let refusal = Refusal::late(503, "worker-lost", "the server could not finish this request");
                let refusal = Refusal { omits_body: is_head(key), ..refusal };
                shared.log_lost(key, refusal.status);
                self.answer_for_app(shared, connection, &refusal, false);
            }
        }
    }

    /// Passes a request that no thread here will come to on to another worker, as it came in. One that is too large for
    /// that is refused.
    pub fn pass_on(&mut self, shared: &Shared, mut exchange: Box<Exchange>) {
        self.away -= 1;
        let Some(mut connection) = self.take(exchange.key) else { return };
        let is_chunked = match &exchange.parsed {
            Parsed::Http(head) => head.framing == wire::http1::Framing::Chunked,
            Parsed::Uwsgi(_) => false,
        };
        let mut bytes = std::mem::take(&mut exchange.bytes);
        let fits = match &exchange.body {
            SpooledBody::Memory(body, _) if !is_chunked => {
                bytes.extend_from_slice(body);
                bytes.extend_from_slice(&connection.buffer[connection.start..]);
                bytes.len() <= PASSED_BYTES
            }
            _ => false,
        };
        connection.buffer = Vec::new();
        if fits && self.hand_over_with(&connection, &bytes) {
            self.release(shared, connection);
        } else {
            let refusal = Refusal::late(503, "worker-lost", "the server could not come to this request");
            let refusal = refusal.answering(exchange.method());
            self.refuse(shared, connection, &refusal);
        }
    }
}
