//! What each app thread is busy with, as whoever watches over time limits has to know it.
//!
//! A call is one request with its thread, from before the app is called to its end. Its number is never used again by that
//! thread, so that nothing that is meant for one call can hit the next.
//!
//! Invariants: `call` and `key` are written by the app thread alone, `detached` and `has_begun` by the thread that runs
//! the event loop alone. `inside` changes only while the app thread holds the interpreter's lock: who holds that lock and
//! finds a call inside can interrupt just that call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use super::shared::lock;
use crate::sys::{ThreadId, ThreadWatch};

/// A limit of a request that may take as long as it likes.
pub const NO_LIMIT: u64 = u64::MAX;

/// One app thread.
#[repr(align(64))]
#[derive(Default)]
pub struct Duty {
    /// Odd while a request is with the thread.
    call: AtomicU64,
    /// The connection of that request.
    key: AtomicU64,
    /// The call for which the interpreter runs the app; 0 for none.
    inside: AtomicU64,
    /// The last call whose client was answered, or cut off, without the app.
    detached: AtomicU64,
    /// Something of the response of that call had left.
    has_begun: AtomicBool,
    /// The last call that was interrupted.
    interrupted: AtomicU64,
    /// When the request shall end at the app's own wish, in microseconds of the monotonic clock; 0 for no such wish.
    own_deadline_us: AtomicU64,
    /// Limit of this one request, in microseconds, where a rule gives it one; 0 for the usual, `NO_LIMIT` for none.
    limit_us: AtomicU64,
    about: Mutex<About>,
    thread: OnceLock<Thread>,
}

/// The thread itself.
pub struct Thread {
    pub id: ThreadId,
    pub watch: ThreadWatch,
}

/// What the log says of a request beside its line; only where requests have limits.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub client: String,
    /// Which request of this worker it is, counted from 1.
    pub number: u64,
}

/// A call that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    pub call: u64,
    pub key: u64,
    pub own_deadline_us: u64,
    pub limit_us: u64,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    /// Its client was answered without it.
    Answered,
    /// Its client was cut off in the middle of the response.
    Cut,
}

impl Duty {
    // The app thread.

    /// Says which thread this is.
    pub fn enlist(&self) {
        let _ = self.thread.set(Thread { id: ThreadId::of_this_thread(), watch: ThreadWatch::of_this_thread() });
    }

    pub fn begin(&self, key: u64) {
        self.key.store(key, Ordering::Relaxed);
        self.call.store(self.call.load(Ordering::Relaxed) | 1, Ordering::Release);
    }

    /// The call is over; tells what became of it.
    pub fn end(&self) -> Fate {
        let call = self.call.load(Ordering::Relaxed);
        self.call.store(call + 1, Ordering::Release);
        if self.own_deadline_us.load(Ordering::Relaxed) != 0 {
            self.own_deadline_us.store(0, Ordering::Relaxed);
        }
        if self.limit_us.load(Ordering::Relaxed) != 0 {
            self.limit_us.store(0, Ordering::Relaxed);
        }
        match self.detached.load(Ordering::Acquire) == call {
            false => Fate::Kept,
            true if self.has_begun.load(Ordering::Relaxed) => Fate::Cut,
            true => Fate::Answered,
        }
    }

    /// The interpreter is about to run the app, with its lock held; false if nobody waits for that any more.
    pub fn enter(&self) -> bool {
        let call = self.call.load(Ordering::Relaxed);
        let is_awaited = self.detached.load(Ordering::Acquire) != call;
        self.inside.store(if is_awaited { call } else { 0 }, Ordering::Relaxed);
        is_awaited
    }

    /// The app has come back, with the interpreter's lock held; true if the call was interrupted.
    pub fn leave(&self) -> bool {
        self.inside.store(0, Ordering::Relaxed);
        self.interrupted.load(Ordering::Relaxed) == self.call.load(Ordering::Relaxed)
    }

    pub fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Acquire) == self.call.load(Ordering::Relaxed)
    }

    /// The request's own limit, which a rule gave it.
    pub fn limit(&self, limit_us: u64) {
        self.limit_us.store(limit_us, Ordering::Relaxed);
    }

    /// What the app wants; 0 takes it back. Without a request nothing happens.
    pub fn wish(&self, deadline_us: u64) {
        if self.call.load(Ordering::Relaxed) % 2 == 1 {
            self.own_deadline_us.store(deadline_us, Ordering::Relaxed);
        }
    }

    pub fn describe(&self, client: &[u8], number: u64) {
        let mut about = lock(&self.about);
        about.client.clear();
        about.client.push_str(&String::from_utf8_lossy(client));
        about.number = number;
    }

    // Whoever watches.

    pub fn current(&self) -> Option<Current> {
        let call = self.call.load(Ordering::Acquire);
        (call % 2 == 1).then(|| Current {
            call,
            key: self.key.load(Ordering::Relaxed),
            own_deadline_us: self.own_deadline_us.load(Ordering::Relaxed),
            limit_us: self.limit_us.load(Ordering::Relaxed),
        })
    }

    pub fn about(&self) -> About {
        lock(&self.about).clone()
    }

    pub fn thread(&self) -> Option<&Thread> {
        self.thread.get()
    }

    /// The client of this call is answered without it.
    pub fn detach(&self, call: u64, has_begun: bool) {
        self.has_begun.store(has_begun, Ordering::Relaxed);
        self.detached.store(call, Ordering::Release);
    }

    /// Whether the thread is still with a call that was detached.
    pub fn is_lost(&self) -> bool {
        let call = self.call.load(Ordering::Acquire);
        call % 2 == 1 && self.detached.load(Ordering::Relaxed) == call
    }

    /// Marks a call as interrupted. For a caller who holds the interpreter's lock: false if the app is not in that call.
    pub fn interrupt(&self, call: u64) -> bool {
        let is_inside = self.inside.load(Ordering::Relaxed) == call;
        if is_inside {
            self.interrupted.store(call, Ordering::Relaxed);
        }
        is_inside
    }

    /// Marks a call as one that a signal is about to interrupt, whose handler asks `is_interrupted`; false if it has been.
    pub fn announce_interruption(&self, call: u64) -> bool {
        self.interrupted.swap(call, Ordering::AcqRel) != call
    }

    /// Whether the app is in a call that shall be interrupted. For its own thread, with the interpreter's lock held.
    pub fn is_interrupted(&self) -> bool {
        let inside = self.inside.load(Ordering::Relaxed);
        inside != 0 && self.interrupted.load(Ordering::Acquire) == inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_for_one_call_does_not_hit_the_next() {
        let duty = Duty::default();
        duty.begin(7);
        let first = duty.current().expect("a call goes on");
        assert_eq!(first.key, 7);
        assert!(duty.enter());
        assert!(duty.interrupt(first.call));
        assert!(duty.is_interrupted() && duty.leave());
        assert!(!duty.interrupt(first.call), "it has left");
        duty.detach(first.call, false);
        assert!(duty.is_lost());
        assert_eq!(duty.end(), Fate::Answered);
        assert!(!duty.is_lost() && duty.current().is_none());
        duty.begin(8);
        assert!(duty.enter() && !duty.is_interrupted() && !duty.is_detached());
        assert!(!duty.interrupt(first.call) && !duty.leave());
        assert_eq!(duty.end(), Fate::Kept);
    }

    #[test]
    fn a_wish_ends_with_its_call() {
        let duty = Duty::default();
        duty.wish(5);
        duty.begin(1);
        assert_eq!(duty.current().map(|current| current.own_deadline_us), Some(0), "there was no request");
        duty.wish(5);
        assert_eq!(duty.current().map(|current| current.own_deadline_us), Some(5));
        duty.end();
        duty.begin(1);
        assert_eq!(duty.current().map(|current| current.own_deadline_us), Some(0));
    }

    #[test]
    fn a_call_that_was_answered_before_it_entered_is_not_run() {
        let duty = Duty::default();
        duty.begin(1);
        let call = duty.current().expect("a call goes on").call;
        duty.detach(call, true);
        assert!(!duty.enter());
        assert_eq!(duty.end(), Fate::Cut);
    }
}
