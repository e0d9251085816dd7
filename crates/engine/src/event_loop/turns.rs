//! Whose turn is next. No client's requests wait for long behind those of another, however many that one sends.
//!
//! Between two polls come the events, in the kernel's order; then new connections, which were not heard at all so far; then
//! those that had a turn and have more to do, one after the other. The last two have a time each, not a number, so that
//! the next events are asked for soon whatever a turn costs, and each of the three gets on in every round. A turn is
//! short as well: it ends with a request, or, where answers leave together, with `HELD_US`.
//!
//! A connection that waits for its next turn gets none earlier because more of its bytes have come: a pipeline that is
//! filled all the time would be served whenever it is filled.

use super::EventLoop;
use crate::poller::{Event, Poller};
use crate::sys;

/// How long newcomers are accepted and heard after the events of one poll, in microseconds.
const NEWCOMERS_US: u64 = 200;
/// How long those with more to do have turns between two polls, in microseconds: the last of them begins before its end.
const AGAIN_US: u64 = 300;

/// What is to be done next.
pub(super) enum Turn {
    /// The next request of the connection whose last response is held back.
    Held(u64),
    Connection(u64),
    Event(Event),
    /// New connections of this listener.
    Accept(usize),
}

impl EventLoop {
    /// None if events have to be asked for first.
    pub(super) fn next_turn(&mut self) -> Option<Turn> {
        if let Some(key) = self.held {
            return Some(Turn::Held(key));
        }
        if self.away < self.capacity
            && !self.paused
            && let Some(key) = self.waiting.pop_front()
        {
            if let Some(connection) = self.connection(key) {
                connection.queued = false;
            }
            return Some(Turn::Connection(key));
        }
        if self.cursor < self.batch {
            let event = self.poller.event(self.cursor);
            self.cursor += 1;
            return Some(Turn::Event(event));
        }
        if let Some(key) = self.newcomers.pop_front() {
            return Some(Turn::Connection(key));
        }
        if self.listening
            && self.backlog.is_some()
            && self.away < self.threads
            && !self.paused
            && self.leaving.is_none()
            && is_before(&mut self.newcomers_until_us, NEWCOMERS_US)
        {
            return self.backlog.take().map(Turn::Accept);
        }
        if !self.again.is_empty()
            && is_before(&mut self.again_until_us, AGAIN_US)
            && let Some(key) = self.again.pop_front()
        {
            if let Some(connection) = self.connection(key) {
                connection.has_turn = false;
            }
            return Some(Turn::Connection(key));
        }
        None
    }

    /// The connection is looked at without a new event, when those before it have been.
    pub(super) fn look_again(&mut self, key: u64) {
        if let Some(connection) = self.connection(key)
            && !std::mem::replace(&mut connection.has_turn, true)
        {
            self.again.push_back(key);
        }
    }

    /// What was heard of begins to be dealt with.
    pub(super) fn begin_round(&mut self) {
        self.newcomers_until_us = 0;
        self.again_until_us = 0;
    }
}

/// Whether it is before `until_us`, which is set now if it is 0.
fn is_before(until_us: &mut u64, for_us: u64) -> bool {
    let now_us = sys::now_us();
    if *until_us == 0 {
        *until_us = now_us + for_us;
    }
    now_us < *until_us
}
