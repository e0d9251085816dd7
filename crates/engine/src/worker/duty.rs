//! What each app thread is busy with, as whoever watches over time limits has to know it.
//!
//! A call is one request with its thread, from before the app is called to its end. Its number is never used again by that
//! thread, so that nothing that is meant for one call can hit the next.
//!
//! A call ends in one of two ways, and both threads agree on which: the app thread keeps it for itself, after which its
//! response goes out whatever the clock says, or the thread that runs the event loop takes it away before.
//!
//! Invariants: the number in `call`, and `key`, are written by the app thread alone; its marks `KEPT` and `TAKEN` are set
//! only on a call without a mark, by the app thread and by the thread that runs the event loop. `settled` and `outcome`
//! are written by the latter alone. `inside` changes only while the app thread holds the interpreter's lock: who holds
//! that lock and finds a call inside can interrupt just that call.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use super::shared::lock;
use crate::exchange::Exchange;
use crate::sys::{ThreadId, ThreadWatch};

/// Marks of `Duty::call`.
const KEPT: u64 = 1 << 62;
const TAKEN: u64 = 1 << 63;
const MARKS: u64 = KEPT | TAKEN;

/// One app thread.
#[repr(align(64))]
#[derive(Default)]
pub struct Duty {
    /// Odd while a request is with the thread; with the marks of its end.
    call: AtomicU64,
    /// The connection of that request.
    key: AtomicU64,
    /// The call for which the interpreter runs the app; 0 for none.
    inside: AtomicU64,
    /// The last call whose client was answered, or cut off, without the app.
    settled: AtomicU64,
    /// What its client got of it: an `Outcome`.
    outcome: AtomicU8,
    /// The last call that was interrupted.
    interrupted: AtomicU64,
    /// When the request shall end at the app's own wish, in microseconds of the monotonic clock; 0 for no such wish.
    own_deadline_us: AtomicU64,
    /// Limit of this one request, in microseconds, where a rule gives it one; 0 for the usual, `routing::NO_LIMIT` for none.
    limit_us: AtomicU64,
    about: Mutex<About>,
    /// The request as its line in the log needs it, should its thread not come back; only where requests have limits.
    request: Mutex<Option<Box<Exchange>>>,
    /// Whether there is one; where requests have no limits the end of a call does not look further.
    has_request: AtomicBool,
    vars: AtomicU32,
    app: AtomicI32,
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

/// What became of the client of a call that was taken from its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered without it.
    Answered,
    /// It was cut off in the middle of the response.
    Cut,
    /// It had all of its response: what took too long is what the app did afterwards.
    Complete,
    /// It had left before.
    Left,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Answered, Self::Cut, Self::Complete, Self::Left];

    /// Something of the app's response was on its way.
    pub fn has_begun(self) -> bool {
        matches!(self, Self::Cut | Self::Complete)
    }

    /// What the master is told.
    pub fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Cut => "cut",
            Self::Complete => "complete",
            Self::Left => "left",
        }
    }
}

impl Duty {
    // The app thread.

    /// Says which thread this is.
    pub fn enlist(&self) {
        let _ = self.thread.set(Thread { id: ThreadId::of_this_thread(), watch: ThreadWatch::of_this_thread() });
    }

    pub fn begin(&self, key: u64) {
        self.key.store(key, Ordering::Release);
        self.call.store(self.call.load(Ordering::Relaxed) | 1, Ordering::Release);
    }

    /// The number of the call, without marks.
    fn number(&self) -> u64 {
        self.call.load(Ordering::Relaxed) & !MARKS
    }

    /// The app is done, and what is left is to send its response: from here on nobody can take the call away. False if
    /// that has happened.
    pub fn keep(&self) -> bool {
        let call = self.number();
        let kept = self.call.compare_exchange(call, call | KEPT, Ordering::AcqRel, Ordering::Acquire);
        kept.map_or_else(|seen| seen & TAKEN == 0, |_| true)
    }

    /// The call is over; tells what became of it if it was taken.
    pub fn end(&self) -> Option<Outcome> {
        let is_kept = self.keep();
        let call = self.number();
        while !is_kept && self.settled.load(Ordering::Acquire) != call {
            // Whoever took it is about to answer the client, which waits for nothing.
            std::thread::yield_now();
        }
        // It has a handle of the connection, which stays open as long as anybody has.
        if self.has_request.load(Ordering::Relaxed) {
            self.has_request.store(false, Ordering::Relaxed);
            drop(lock(&self.request).take());
        }
        self.call.store(call + 1, Ordering::Release);
        if self.own_deadline_us.load(Ordering::Relaxed) != 0 {
            self.own_deadline_us.store(0, Ordering::Relaxed);
        }
        if self.limit_us.load(Ordering::Relaxed) != 0 {
            self.limit_us.store(0, Ordering::Relaxed);
        }
        if is_kept { None } else { Some(Outcome::ALL[usize::from(self.outcome.load(Ordering::Relaxed))]) }
    }

    /// The interpreter is about to run the app, with its lock held; false if nobody waits for that any more.
    pub fn enter(&self) -> bool {
        let call = self.call.load(Ordering::Acquire);
        let is_awaited = call & TAKEN == 0;
        self.inside.store(if is_awaited { call } else { 0 }, Ordering::Relaxed);
        is_awaited
    }

    /// The app has come back, with the interpreter's lock held; true if the call was interrupted.
    pub fn leave(&self) -> bool {
        self.inside.store(0, Ordering::Relaxed);
        self.interrupted.load(Ordering::Relaxed) == self.number()
    }

    pub fn is_detached(&self) -> bool {
        self.call.load(Ordering::Acquire) & TAKEN != 0
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

    /// Keeps a copy of the request.
    pub fn remember(&self, exchange: &Exchange) {
        *lock(&self.request) = Some(Box::new(exchange.for_log()));
        self.has_request.store(true, Ordering::Relaxed);
    }

    /// How many variables the app gets, as the log counts them.
    pub fn tell_vars(&self, vars: u32) {
        self.vars.store(vars, Ordering::Relaxed);
    }

    /// Which app it is.
    pub fn tell_app(&self, app: i32) {
        self.app.store(app, Ordering::Relaxed);
    }

    // Whoever watches.

    /// Takes the copy of the request, with what was told of it since.
    pub fn take_request(&self) -> Option<Box<Exchange>> {
        let mut exchange = lock(&self.request).take()?;
        exchange.report.vars = self.vars.load(Ordering::Relaxed);
        exchange.report.app = self.app.load(Ordering::Relaxed);
        Some(exchange)
    }

    /// The call that the thread is with, unless what is left of it is to send the response.
    pub fn current(&self) -> Option<Current> {
        let call = self.call.load(Ordering::Acquire);
        (call % 2 == 1 && call & KEPT == 0).then(|| Current {
            call: call & !MARKS,
            key: self.key.load(Ordering::Acquire),
            own_deadline_us: self.own_deadline_us.load(Ordering::Relaxed),
            limit_us: self.limit_us.load(Ordering::Relaxed),
        })
    }

    /// The connection of the request that the thread is with, or had last.
    pub fn key(&self) -> u64 {
        self.key.load(Ordering::Acquire)
    }

    pub fn about(&self) -> About {
        lock(&self.about).clone()
    }

    pub fn thread(&self) -> Option<&Thread> {
        self.thread.get()
    }

    /// Takes a call away: its client is about to be answered without it. False if it has come to its end, or has been
    /// taken; otherwise whatever was read of it before is of this call, and its thread waits at its end for `settle`.
    pub fn take(&self, call: u64) -> bool {
        self.call.compare_exchange(call, call | TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Says what became of a call that was taken.
    pub fn settle(&self, call: u64, outcome: Outcome) {
        self.outcome.store(outcome as u8, Ordering::Relaxed);
        self.settled.store(call, Ordering::Release);
    }

    /// Whether the thread is still with a call that was detached.
    pub fn is_lost(&self) -> bool {
        self.call.load(Ordering::Acquire) & TAKEN != 0
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
        assert!(duty.take(first.call));
        duty.settle(first.call, Outcome::Left);
        assert!(duty.is_lost());
        assert_eq!(duty.end(), Some(Outcome::Left));
        assert!(!duty.is_lost() && duty.current().is_none());
        duty.begin(8);
        assert!(duty.enter() && !duty.is_interrupted() && !duty.is_detached());
        assert!(!duty.interrupt(first.call) && !duty.take(first.call) && !duty.leave());
        assert_eq!(duty.end(), None);
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
        assert!(duty.take(call));
        duty.settle(call, Outcome::Answered);
        assert!(!duty.enter());
        assert_eq!(duty.end(), Some(Outcome::Answered));
    }

    #[test]
    fn a_call_is_kept_or_taken_and_never_both() {
        let duty = Duty::default();
        duty.begin(1);
        let call = duty.current().expect("a call goes on").call;
        assert!(duty.keep() && duty.keep());
        assert!(!duty.take(call) && duty.current().is_none());
        assert_eq!(duty.end(), None);
        let (rounds, mut taken) = (20_000, 0);
        std::thread::scope(|scope| {
            let ends = scope.spawn(|| {
                let fates = (0..rounds).map(|key| {
                    duty.begin(key);
                    duty.end()
                });
                fates.filter(|fate| *fate == Some(Outcome::Cut)).count()
            });
            while !ends.is_finished() {
                if let Some(current) = duty.current()
                    && duty.take(current.call)
                {
                    duty.settle(current.call, Outcome::Cut);
                    taken += 1;
                }
            }
            assert_eq!(ends.join().expect("no panic"), taken);
        });
    }
}
