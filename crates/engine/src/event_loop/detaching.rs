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
use crate::worker::Shared;

/// A request of this size, with what stands behind it, can be passed on to another worker in one datagram.
const PASSED_BYTES: usize = 60_000;

impl EventLoop {
    /// Takes the connection of an exchange from the app; tells whether the response had begun. One that `is_complete` is
    /// all that its client waits for. For an exchange whose thread can not bring it back before this is done.
    pub fn detach(&mut self, shared: &Shared, key: u64, refusal: &Refusal, is_head: bool, is_complete: bool) -> bool {
        let Some(connection) = self.take(key) else { return false };
        debug_assert!(matches!(connection.state, State::Away), "an exchange is with its thread");
        self.detached.push(key);
        self.detached_until_ms = sys::now_ms() + self.detached_grace_ms;
        self.count_room(shared);
        self.answer_for_app(shared, connection, refusal, is_head, is_complete)
    }

    fn answer_for_app(
        &mut self,
        shared: &Shared,
        mut connection: Box<Connection>,
        refusal: &Refusal,
        is_head: bool,
        is_complete: bool,
    ) -> bool {
        connection.is_detached = true;
        let has_begun = connection.socket.take_over();
        if has_begun && is_complete {
            self.last_response_written(shared, connection);
        } else if has_begun {
            sys::cut(connection.socket.fd(), connection.socket.is_tcp);
            self.discard(shared, connection);
        } else {
            let (mut head, body) = self.refusal_text(shared, refusal);
            if !is_head {
                head.extend_from_slice(&body);
            }
            connection.socket.write_own(&head);
            self.last_response_written(shared, connection);
        }
        has_begun
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

    /// Answers everybody who still waits for the app: this worker is about to be gone.
    pub fn refuse_all(&mut self, shared: &Shared) {
        let is_away = |connection: &&Connection| matches!(connection.state, State::Away);
        let all = self.slots.iter().filter_map(|slot| slot.connection.as_deref());
        let keys: Vec<u64> = all.filter(is_away).map(|connection| connection.key).collect();
        let refusal = Refusal::late(503, "worker-lost", "the server could not finish this request");
        for key in keys {
            if let Some(connection) = self.take(key) {
                shared.log_lost(key, refusal.status);
                self.answer_for_app(shared, connection, &refusal, false, false);
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
            self.refuse(shared, connection, &refusal);
        }
    }
}
