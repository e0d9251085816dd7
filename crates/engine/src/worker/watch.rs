//! Time limits of requests (`harakiri`): what is done about a call that lasts too long.
//!
//! Run by the standby thread between two polls, while it runs the loop for the app threads: it does so for as long as any
//! call lasts. Nothing here waits, and nothing here holds the interpreter's lock.
//!
//! - At half of the limit, and again at the limit, the stacks of all threads go to the log and to the master.
//! - At the limit the client is answered by the loop, and the exchange is detached: what the app still makes of it is
//!   dropped (`event_loop/detaching.rs`). Then the call is interrupted, and the master is told, which replaces the worker.
//!
//! The stacks come from Python itself, on a thread of its own (the witness), which needs the interpreter's lock: then no
//! frame changes while it is read, and threads have names and lines their text. Where the witness does not get the lock, a
//! call of C code holds it; then no frame changes either, and a signal makes faulthandler write the stacks without the
//! lock. Reading the frames of threads that run, as other tools do from outside, is never needed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use super::duty::{About, Current, Outcome};
use super::{Shared, Worker};
use crate::connection::Refusal;
use crate::event_loop::EventLoop;
use crate::exchange::{CLIENT_GONE, OVERDUE};
use crate::routing::NO_LIMIT;
use crate::sys;

/// How long the witness may wait for the interpreter's lock before the stacks are had without it.
const PATIENCE_US: u64 = 500_000;
/// And how much longer for each call that goes on: those that run Python give the lock away after 5 ms each, to whoever is
/// the first to take it. Ten times as long as the witness then waits on average is by chance once in 20,000 times.
const PATIENCE_EACH_US: u64 = 50_000;
/// How long the signal's handler may take to write.
const DUMP_US: u64 = 100_000;
/// For how long the interpreter's lock may be out of reach, once a call is over its limit, before the worker counts as
/// seized.
const SEIZED_AFTER_US: u64 = 1_000_000;
/// How long the other requests of a seized worker may take when its replacement serves already.
const SEIZED_GRACE_US: u64 = 2_000_000;
/// How often an answer of the witness is looked for, which wakes the loop, too.
const LOOK_MS: i32 = 50;
/// Longest text of stacks that the master is told.
const REPORT_BYTES: usize = 40_000;

/// What Python gives the worker for this; zeros for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signals {
    /// Makes faulthandler write the stacks of all threads to `dump_fd`.
    pub dump: i32,
    pub dump_fd: i32,
    /// Makes the main thread ask whether it is to be interrupted.
    pub interrupt: i32,
}

/// Calls to be interrupted: thread and number of each.
pub type Calls = Vec<(usize, u64)>;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Calm,
    Warned,
    Detached,
}

#[derive(Clone, Copy, Default)]
struct Case {
    call: u64,
    stage: Stage,
}

/// A call whose stacks are wanted.
struct Subject {
    thread: usize,
    call: u64,
    interrupts: bool,
    heading: String,
    since_us: u64,
    is_reported: bool,
    /// The witness has it.
    is_sent: bool,
}

struct Witness {
    tasks: Sender<Calls>,
    answers: Receiver<String>,
}

pub struct Watch {
    cases: Vec<Case>,
    subjects: Vec<Subject>,
    witness: Option<Witness>,
    is_asked: bool,
    dump_asked_us: Option<u64>,
    seized_us: Option<u64>,
}

impl Watch {
    pub fn new(threads: usize) -> Self {
        Self {
            cases: vec![Case::default(); threads],
            subjects: Vec::new(),
            witness: None,
            is_asked: false,
            dump_asked_us: None,
            seized_us: None,
        }
    }

    /// Whether something is under way that has to be looked after.
    pub fn is_busy(&self) -> bool {
        self.is_asked || !self.subjects.is_empty()
    }

    pub fn is_seized(&self) -> bool {
        self.seized_us.is_some()
    }

    /// Reports what the witness is about to have seen: the worker ends.
    pub fn conclude(&mut self, worker: &Arc<Worker>) {
        self.ask(worker);
        if self.is_asked
            && self.subjects.iter().any(|subject| !subject.is_reported)
            && let Some(witness) = &self.witness
            && let Ok(text) = witness.answers.recv_timeout(Duration::from_micros(PATIENCE_US))
        {
            self.is_asked = false;
            report(worker, self.subjects.iter().filter(|subject| !subject.is_reported), &text);
            self.subjects.clear();
        }
    }

    /// Whether a call that is over its limit has kept the witness from the interpreter's lock for long, and still does.
    pub fn is_locked_out(&mut self, worker: &Arc<Worker>) -> bool {
        if let Some(witness) = &self.witness
            && let Ok(text) = witness.answers.try_recv()
        {
            report(worker, self.subjects.iter().filter(|subject| !subject.is_reported), &text);
            self.is_asked = false;
            self.subjects.clear();
        }
        self.is_asked && self.has_late_interruption(&worker.shared, sys::now_us())
    }

    fn has_late_interruption(&self, shared: &Shared, now_us: u64) -> bool {
        let late_us = SEIZED_AFTER_US + turns_us(shared);
        self.subjects.iter().any(|subject| subject.interrupts && now_us >= subject.since_us + late_us)
    }

    /// Does what is due; tells for how many milliseconds nothing will be.
    pub fn look(&mut self, worker: &Arc<Worker>, event_loop: &mut EventLoop) -> i32 {
        let now_us = sys::now_us();
        let mut next_us = u64::MAX;
        for thread in 0..self.cases.len() {
            if let Some(due_us) = self.look_at(thread, worker, event_loop, now_us) {
                next_us = next_us.min(due_us);
            }
        }
        self.hear(worker, event_loop);
        self.ask(worker);
        self.look_for_dump(worker, now_us);
        self.judge_lock(worker, event_loop, now_us);
        let most_ms = if next_us == u64::MAX {
            i32::MAX
        } else {
            i32::try_from(next_us.saturating_sub(now_us).div_ceil(1000)).unwrap_or(i32::MAX)
        };
        if self.is_busy() || self.seized_us.is_some() { most_ms.min(LOOK_MS) } else { most_ms }
    }

    /// One thread: tells when it is to be looked at again, if that is known.
    fn look_at(&mut self, thread: usize, worker: &Arc<Worker>, event_loop: &mut EventLoop, now_us: u64) -> Option<u64> {
        let shared = &worker.shared;
        let current = shared.duty(thread).current()?;
        let case = &mut self.cases[thread];
        if case.call != current.call {
            *case = Case { call: current.call, stage: Stage::Calm };
        }
        if case.stage == Stage::Detached {
            return None;
        }
        let since_us = shared.busy_since_us(thread)?;
        let limit = Limit::of(&current, since_us, shared.plan.engine.harakiri.limit_s)?;
        if now_us >= limit.deadline_us {
            if shared.is_held_back() {
                // Looked at again with the next sweep.
                return None;
            }
            case.stage = Stage::Detached;
            self.detach(thread, &current, &limit, worker, event_loop, now_us);
            return None;
        }
        if case.stage == Stage::Warned {
            return Some(limit.deadline_us);
        }
        let half_us = since_us.midpoint(limit.deadline_us);
        if now_us < half_us {
            return Some(half_us);
        }
        case.stage = Stage::Warned;
        let elapsed_us = now_us.saturating_sub(since_us);
        let About { client, number } = about(worker, thread);
        let what = format!(
            "{} of {client} (request {number}) has taken {:.1} s, half of {}",
            shared.request_line(thread),
            elapsed_us as f64 / 1e6,
            limit.words()
        );
        self.want_stacks(thread, &current, worker, &what, false, now_us);
        Some(limit.deadline_us)
    }

    fn detach(
        &mut self,
        thread: usize,
        current: &Current,
        limit: &Limit,
        worker: &Arc<Worker>,
        event_loop: &mut EventLoop,
        now_us: u64,
    ) {
        let shared = &worker.shared;
        let line = shared.request_line(thread);
        let explanation = "the request took longer than this server allows";
        let refusal = Refusal::late(504, "harakiri", explanation).answering(method_of(&line));
        let duty = shared.duty(thread);
        let About { client, number } = about(worker, thread);
        // Before the client hears of it: who enters the app later shall know.
        if !duty.take(current.call) {
            // It has come to its end just now.
            return;
        }
        shared.mark_detached(thread);
        let progress = worker.app.conclude(thread);
        let is_complete = progress.is_some_and(|progress| progress.is_complete);
        let outcome = event_loop.detach(shared, current.key, &refusal, is_complete);
        // Before the call may end: until then what is remembered is of this request.
        let request = duty.take_request();
        duty.settle(current.call, outcome);
        if let Some(request) = request {
            let progress = if outcome.has_begun() { progress } else { None };
            let status = if outcome == Outcome::Left { CLIENT_GONE } else { OVERDUE };
            shared.log_without_app(request, thread, limit.since_us, status, progress);
        }
        let elapsed_us = now_us.saturating_sub(limit.since_us);
        let since_s = sys::epoch_us().saturating_sub(elapsed_us) / 1_000_000;
        shared.tell_master(&format!(
            "harakiri {thread} {number} {since_s} {} {} {} {client} {line}",
            elapsed_us / 1000,
            limit.kind.word(),
            outcome.word(),
        ));
        let done = match outcome {
            Outcome::Answered => "its client got 504",
            Outcome::Cut => "its response is cut off",
            Outcome::Complete => "its client has had its response",
            Outcome::Left => "its client had left",
        };
        let what = format!(
            "{line} of {client} (request {number}) has taken {:.1} s of {}: {done}, and it is interrupted",
            elapsed_us as f64 / 1e6,
            limit.words()
        );
        self.want_stacks(thread, current, worker, &what, true, now_us);
        let signal = shared.plan.engine.harakiri.graceful_signal;
        if signal > 0 {
            sys::signal_process(signal);
        }
    }

    fn want_stacks(
        &mut self,
        thread: usize,
        current: &Current,
        worker: &Arc<Worker>,
        what: &str,
        interrupts: bool,
        now_us: u64,
    ) {
        let heading = format!(
            "*** worker {} (pid: {}) core {thread}: {what} ***",
            worker.shared.plan.worker_id,
            std::process::id()
        );
        let call = current.call;
        self.subjects.push(Subject {
            thread,
            call,
            interrupts,
            heading,
            since_us: now_us,
            is_reported: false,
            is_sent: false,
        });
    }

    /// Takes what the witness has seen.
    fn hear(&mut self, worker: &Arc<Worker>, event_loop: &mut EventLoop) {
        let Some(witness) = &self.witness else { return };
        let text = match witness.answers.try_recv() {
            Ok(text) => text,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                self.witness = None;
                "the stacks of the threads could not be had".to_owned()
            }
        };
        self.is_asked = false;
        let (seen, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.subjects).into_iter().partition(|subject| subject.is_sent);
        self.subjects = others;
        report(worker, seen.iter().filter(|subject| !subject.is_reported), &text);
        if self.seized_us.take().is_some() {
            worker.shared.note("the interpreter's lock is free again");
            event_loop.seize(&worker.shared, false);
        }
    }

    /// Gives the witness what waits.
    fn ask(&mut self, worker: &Arc<Worker>) {
        if self.is_asked || self.subjects.is_empty() {
            return;
        }
        if self.witness.is_none() {
            self.witness = start_witness(worker);
        }
        let Some(witness) = &self.witness else {
            // No thread can be started: the signal's way is left, and for the others nothing can be done.
            return;
        };
        let mut calls = Calls::new();
        for subject in &mut self.subjects {
            subject.is_sent = true;
            if subject.interrupts {
                calls.push((subject.thread, subject.call));
            }
        }
        self.is_asked = witness.tasks.send(calls).is_ok();
    }

    /// Has the stacks written without the interpreter's lock, where the witness waits for that in vain.
    fn look_for_dump(&mut self, worker: &Arc<Worker>, now_us: u64) {
        let shared = &worker.shared;
        if self.subjects.is_empty() {
            return;
        }
        let late_us = PATIENCE_US + turns_us(shared);
        let is_late = |subject: &Subject| !subject.is_reported && now_us >= subject.since_us + late_us;
        if !self.subjects.iter().any(is_late) {
            return;
        }
        let Some(asked_us) = self.dump_asked_us else {
            if shared.signals.dump > 0 {
                sys::signal_process(shared.signals.dump);
            }
            self.dump_asked_us = Some(now_us);
            return;
        };
        if now_us < asked_us + DUMP_US {
            return;
        }
        self.dump_asked_us = None;
        let mut text = "C code holds the interpreter's lock; the innermost call stands first:\n".to_owned();
        text.push_str(&sys::take_contents(shared.signals.dump_fd, REPORT_BYTES));
        report(worker, self.subjects.iter().filter(|subject| !subject.is_reported), &text);
        for subject in &mut self.subjects {
            subject.is_reported = true;
            if subject.interrupts && subject.thread == 0 {
                // Much of C that computes looks for signals now and then, in the main thread.
                shared.interrupt_main(subject.call);
            }
        }
        self.subjects.retain(|subject| subject.is_sent || subject.interrupts);
    }

    /// Whether anybody can run Python here.
    fn judge_lock(&mut self, worker: &Arc<Worker>, event_loop: &mut EventLoop, now_us: u64) {
        let shared = &worker.shared;
        if self.seized_us.is_none() && self.is_asked && self.has_late_interruption(shared, now_us) {
            self.seized_us = Some(now_us);
            shared.note(&format!(
                "*** worker {} (pid: {}): a call of C code keeps every thread from running Python: no more requests are \
                 taken, and the worker is killed when its replacement serves ***",
                shared.plan.worker_id,
                std::process::id(),
            ));
            event_loop.seize(shared, true);
        }
        if self.seized_us.is_some_and(|since_us| now_us >= since_us + SEIZED_GRACE_US) && event_loop.is_leaving() {
            let threads = 0..shared.plan.engine.threads;
            let heads: Vec<u64> = threads.filter_map(|thread| head_of(shared, thread)).collect();
            event_loop.refuse_all(shared, |key| heads.contains(&key));
            end_without_app(worker);
        }
    }
}

/// The connection of a thread's request, if that asks for the head of a response only.
fn head_of(shared: &Shared, thread: usize) -> Option<u64> {
    let is_head = shared.busy_since_us(thread).is_some() && method_of(&shared.request_line(thread)) == b"HEAD";
    is_head.then(|| shared.duty(thread).key())
}

fn method_of(line: &str) -> &[u8] {
    line.split(' ').next().unwrap_or_default().as_bytes()
}

/// How long the threads that are busy may take turns before one that waits has had its own.
fn turns_us(shared: &Shared) -> u64 {
    let threads = 0..shared.plan.engine.threads;
    threads.filter(|thread| shared.busy_since_us(*thread).is_some()).count() as u64 * PATIENCE_EACH_US
}

/// Which limit a call has, and when it is over.
struct Limit {
    since_us: u64,
    deadline_us: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Option,
    Rule,
    App,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Option => "option",
            Self::Rule => "rule",
            Self::App => "user",
        }
    }
}

impl Limit {
    /// The first one to be over.
    fn of(current: &Current, since_us: u64, option_s: u64) -> Option<Self> {
        let usual = match (current.limit_us, option_s) {
            (0, 0) => None,
            (0, seconds) => Some((since_us.saturating_add(seconds.saturating_mul(1_000_000)), Kind::Option)),
            (NO_LIMIT, _) => None,
            (limit_us, _) => Some((since_us.saturating_add(limit_us), Kind::Rule)),
        };
        let own = (current.own_deadline_us > 0).then_some((current.own_deadline_us, Kind::App));
        let (deadline_us, kind) = [usual, own].into_iter().flatten().min_by_key(|(deadline_us, _)| *deadline_us)?;
        Some(Self { since_us, deadline_us, kind })
    }

    fn words(&self) -> String {
        let seconds = self.deadline_us.saturating_sub(self.since_us) as f64 / 1e6;
        match self.kind {
            Kind::Option => format!("harakiri = {seconds:.0}"),
            Kind::Rule => format!("the {seconds:.0} s that a rule allows"),
            Kind::App => format!("the {seconds:.1} s that set_user_harakiri allows"),
        }
    }
}

fn about(worker: &Worker, thread: usize) -> About {
    let mut about = worker.shared.duty(thread).about();
    if about.client.is_empty() {
        about.client.push('-');
    }
    about
}

/// Writes the stacks to the log, and tells the master of them.
fn report<'a>(worker: &Worker, subjects: impl Iterator<Item = &'a Subject>, stacks: &str) {
    let shared = &worker.shared;
    let mut is_any = false;
    for subject in subjects {
        is_any = true;
        shared.note(&subject.heading);
        if shared.plan.engine.harakiri.verbose
            && let Some(thread) = shared.duty(subject.thread).thread()
        {
            for name in ["syscall", "wchan"] {
                shared.note(&format!("HARAKIRI: -- {name}> {}", thread.watch.read(name).unwrap_or_default().trim()));
            }
        }
        let end = (0..=stacks.len().min(REPORT_BYTES)).rev().find(|end| stacks.is_char_boundary(*end)).unwrap_or(0);
        shared.tell_master(&format!("stacks {} {}\n{}", subject.thread, subject.heading, &stacks[..end]));
    }
    if is_any {
        stacks.lines().for_each(|line| shared.note(line));
        shared.flush_log();
    }
}

/// Ends the process, whose threads can not.
pub fn end_without_app(worker: &Worker) -> ! {
    let shared = &worker.shared;
    shared.note(&format!(
        "worker {} (pid: {}) ends: none of its requests can go on",
        shared.plan.worker_id,
        std::process::id()
    ));
    shared.flush_log();
    sys::exit_now(0)
}

fn start_witness(worker: &Arc<Worker>) -> Option<Witness> {
    let (tasks, wanted) = channel::<Calls>();
    let (seen, answers) = channel();
    let worker = Arc::clone(worker);
    let run = move || {
        sys::block_signals();
        for calls in wanted {
            let text = worker.app.look(&calls, &worker.shared);
            if seen.send(text).is_err() {
                return;
            }
            worker.shared.wake_loop();
        }
    };
    std::thread::Builder::new().name("penstock-watch".to_owned()).spawn(run).ok()?;
    Some(Witness { tasks, answers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(own_deadline_us: u64, limit_us: u64) -> Current {
        Current { call: 1, key: 1, own_deadline_us, limit_us }
    }

    #[test]
    fn the_first_limit_to_be_over_counts() {
        let limit =
            |own, rule, option| Limit::of(&current(own, rule), 1_000_000, option).map(|limit| limit.deadline_us);
        assert_eq!(limit(0, 0, 0), None);
        assert_eq!(limit(0, 0, 5), Some(6_000_000));
        assert_eq!(limit(0, 9_000_000, 5), Some(10_000_000), "a rule takes the option's place");
        assert_eq!(limit(2_000_000, 9_000_000, 5), Some(2_000_000));
        assert_eq!(limit(20_000_000, 0, 5), Some(6_000_000));
        assert_eq!(limit(20_000_000, 0, 0), Some(20_000_000));
        assert_eq!(limit(0, NO_LIMIT, 5), None, "a rule may take the limit away");
        assert_eq!(limit(0, 0, u64::MAX), Some(u64::MAX));
    }
}
