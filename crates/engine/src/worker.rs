//! One worker: its app threads, its standby thread, and who of them runs the event loop.
//!
//! With an idle worker, the app thread that polled a request calls the app itself: no queue, no wake-up, no context
//! switch. `lead` tells where that thread is; a call that lasts longer than a tick is noticed by the standby thread,
//! which takes the loop over, so that the others go on being served. After several slow calls it keeps the loop and
//! hands requests to the app threads through `jobs`; after several fast ones it gives the loop back.
//!
//! Invariant: whoever changed `lead` to its own value, and nobody else, locks `event_loop`.

mod duty;
mod shared;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::event_loop::{EventLoop, Next};
use crate::exchange::Exchange;
use crate::plan::WorkerPlan;
use crate::request_log::Times;
use crate::response::{Ending, Progress};
use crate::scoreboard::{Finished, WorkerState};
use crate::sys::{self, ThreadWatch};

pub use duty::{Duty, Outcome};
use shared::lock;
pub use shared::{AppThread, Shared};
use watch::Watch;
pub use watch::{Calls, Signals};

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It was told to finish its work and did.
    Drained,
    /// It was told to leave at once.
    Stopped,
    /// Its master is gone.
    Orphaned,
}

impl StopReason {
    pub fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Stopped => "stopped",
            Self::Orphaned => "orphaned",
        }
    }
}

/// What runs a request: the bridge to Python, or a fake in tests.
pub trait App: Send + Sync {
    /// Calls the app, sends its response, and leaves what came of it in `exchange.report`.
    fn serve(&self, exchange: &mut Exchange, thread: &mut AppThread, shared: &Shared);

    /// Ends the response of a thread that had its time, as far as it has given all of it; tells what has become of it, if
    /// that can be told. Never waits.
    fn conclude(&self, thread: usize) -> Option<Progress>;

    /// Describes where every thread of the app is, then interrupts these calls. May wait for as long as others keep the
    /// app from running.
    fn look(&self, calls: &Calls, shared: &Shared) -> String;
}

#[derive(Default)]
struct Jobs {
    queue: VecDeque<Box<Exchange>>,
    /// Nobody runs the event loop: the first free app thread shall.
    offer: bool,
    idle: usize,
    ended: Option<StopReason>,
}

impl Jobs {
    fn show_waiting(&self, shared: &Shared) {
        let since_us = self.queue.front().map_or(0, |exchange| exchange.started_us);
        shared.board_waiting(self.queue.len(), since_us);
    }
}

/// What a thread has given back to the loop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Nothing,
    /// An exchange whose connection goes on.
    Kept,
    /// An exchange whose client waits for the end of the connection, or shall see it.
    Ending,
}

enum Role {
    Lead,
    Job(Box<Exchange>),
    End(StopReason),
}

/// `lead` while the standby thread runs the loop.
const STANDBY_LEADS: u64 = u64::MAX;
/// How often the standby thread looks at a busy worker: a call that lasts one to two ticks is slow. Each look costs two
/// context switches, so that a worker whose calls have all been fast for a while is looked at less often.
const TICK: Duration = Duration::from_micros(500);
const CALM_TICK: Duration = Duration::from_millis(2);
const CALM_AFTER: Duration = Duration::from_secs(2);
/// A call that computes for this long is a slow one, too.
const COMPUTING: Duration = Duration::from_millis(5);
/// A call that has waited this long, for anything but a processor, counts as slow when it is decided who runs the loop.
const SLOW_US: u64 = 500;
/// Ticks without any call before the standby thread sleeps.
const IDLE_TICKS: u32 = 16;
/// A slow call adds this much to the score, a fast one takes one away; above the limit the standby thread keeps the loop.
const SLOW_WEIGHT: u32 = 4;
const SCORE_MOST: u32 = 32;
const SCORE_KEEP: u32 = 4;
/// How long threads that are still in the app may take to leave a worker that was told to stop.
const STOP_GRACE: Duration = Duration::from_millis(300);

/// How long the main thread may take to end a worker of which nothing is left but threads that do not come back. Python
/// gives up on its own after five seconds.
const EXIT_PATIENCE: Duration = Duration::from_secs(8);

pub struct Worker {
    pub shared: Shared,
    app: Box<dyn App>,
    event_loop: Mutex<EventLoop>,
    /// Even: an app thread runs the loop, or nobody. Odd: that thread is in the app, in its (lead / 2)th call.
    lead: AtomicU64,
    jobs: Mutex<Jobs>,
    job_ready: Condvar,
    slowness: AtomicU32,
    standby: OnceLock<Thread>,
    has_standby: AtomicBool,
    standby_sleeps: AtomicBool,
    /// The app thread that runs the loop, or ran it last.
    leader: Mutex<Option<Arc<ThreadWatch>>>,
    threads_running: AtomicUsize,
}

impl Worker {
    pub fn new(plan: WorkerPlan, app: Box<dyn App>, signals: Signals) -> io::Result<Self> {
        let shared = Shared::new(plan, signals)?;
        let event_loop = EventLoop::new(&shared, Arc::clone(&shared.wake))?;
        Ok(Self {
            shared,
            app,
            event_loop: Mutex::new(event_loop),
            lead: AtomicU64::new(0),
            jobs: Mutex::new(Jobs { offer: true, ..Jobs::default() }),
            job_ready: Condvar::new(),
            slowness: AtomicU32::new(0),
            standby: OnceLock::new(),
            has_standby: AtomicBool::new(false),
            standby_sleeps: AtomicBool::new(false),
            leader: Mutex::default(),
            threads_running: AtomicUsize::new(0),
        })
    }

    /// Serves as app thread `index` until the worker ends. The first one starts the standby thread.
    pub fn run(self: &Arc<Self>, index: usize) -> io::Result<StopReason> {
        self.threads_running.fetch_add(1, Ordering::AcqRel);
        let _fatal = FatalPanic(&self.shared);
        // Whoever comes first: that one may be in C code that holds the interpreter's lock before the others have begun.
        if !self.has_standby.swap(true, Ordering::AcqRel) {
            let worker = Arc::clone(self);
            let handle = std::thread::Builder::new().name("penstock-io".to_owned()).spawn(move || worker.stand_by())?;
            let _ = self.standby.set(handle.thread().clone());
        }
        let mut thread = AppThread::new(index);
        self.shared.duty(index).enlist();
        let mut done = Done::Nothing;
        let reason = loop {
            match self.next_role(std::mem::replace(&mut done, Done::Nothing)) {
                Role::Lead => done = self.lead(&mut thread),
                Role::Job(mut exchange) => {
                    let now_us = sys::now_us();
                    self.shared.board_wait(now_us.saturating_sub(exchange.started_us));
                    self.serve(&mut exchange, &mut thread, now_us);
                    done = self.hand_back(exchange);
                }
                Role::End(reason) => break reason,
            }
        };
        self.threads_running.fetch_sub(1, Ordering::AcqRel);
        if let Some(standby) = self.standby.get() {
            standby.unpark();
        }
        Ok(reason)
    }

    /// Gives an exchange that is over back to the loop.
    fn hand_back(&self, exchange: Box<Exchange>) -> Done {
        let done = if exchange.report.ending == Ending::KeepAlive { Done::Kept } else { Done::Ending };
        self.shared.push_done(exchange);
        done
    }

    fn next_role(&self, done: Done) -> Role {
        let mut jobs = lock(&self.jobs);
        // While the threads have enough to do, the loop need not hear of each connection that can go on: it could only
        // add to what waits. It hears of them when the work runs low, all at once.
        let is_enough = jobs.queue.len() > self.shared.plan.engine.threads / 2;
        if done == Done::Ending || (done == Done::Kept && !is_enough) {
            drop(jobs);
            self.shared.wake_loop();
            jobs = lock(&self.jobs);
        }
        loop {
            if let Some(reason) = jobs.ended {
                return Role::End(reason);
            }
            if let Some(exchange) = jobs.queue.pop_front() {
                jobs.show_waiting(&self.shared);
                return Role::Job(exchange);
            }
            if std::mem::take(&mut jobs.offer) {
                return Role::Lead;
            }
            jobs.idle += 1;
            jobs = self.job_ready.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            jobs.idle -= 1;
        }
    }

    /// Runs the loop and the app on this thread, until the standby thread has taken the loop over or the worker ends.
    fn lead(&self, thread: &mut AppThread) -> Done {
        *lock(&self.leader) = Some(Arc::clone(&thread.watch));
        let mut event_loop = lock(&self.event_loop);
        let mut turn = self.lead.load(Ordering::Relaxed) & !1;
        if turn == STANDBY_LEADS & !1 {
            turn = 0;
        }
        self.lead.store(turn, Ordering::Relaxed);
        loop {
            match event_loop.step(&self.shared) {
                Next::Exchange(mut exchange) => {
                    let in_app = turn + 1;
                    drop(event_loop);
                    self.lead.store(in_app, Ordering::SeqCst);
                    if self.standby_sleeps.load(Ordering::SeqCst)
                        && let Some(standby) = self.standby.get()
                    {
                        standby.unpark();
                    }
                    let begun_us = exchange.started_us;
                    self.serve(&mut exchange, thread, begun_us);
                    turn = in_app + 1;
                    if self.lead.compare_exchange(in_app, turn, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                        return self.hand_back(exchange);
                    }
                    event_loop = lock(&self.event_loop);
                    event_loop.complete(&self.shared, exchange);
                }
                Next::Wait => {
                    if let Err(error) = event_loop.wait(&self.shared, i32::MAX) {
                        self.broken(&error);
                        return Done::Nothing;
                    }
                }
                Next::Leave(reason) => {
                    drop(event_loop);
                    self.end(reason);
                    return Done::Nothing;
                }
            }
        }
    }

    /// Calls the app, keeps the books. `begun_us` is the monotonic clock's time.
    fn serve(&self, exchange: &mut Exchange, thread: &mut AppThread, begun_us: u64) {
        let board = self.shared.thread_board(thread.index);
        let duty = self.shared.duty(thread.index);
        duty.begin(exchange.key);
        if let Some(routed) = &exchange.routed
            && routed.limit_us > 0
        {
            duty.limit(routed.limit_us);
            self.shared.watch();
        }
        if self.shared.is_watched() {
            self.shared.describe(exchange, thread.index);
        }
        thread.begun_epoch_us = thread.epoch_of(begun_us);
        board.begin(begun_us, thread.begun_epoch_us, exchange.method(), exchange.uri());
        self.app.serve(exchange, thread, &self.shared);
        let outcome = duty.end();
        if let Some(outcome) = outcome {
            exchange.detach(outcome);
        }
        let ended_us = sys::now_us();
        let report = &exchange.report;
        if report.client_gone {
            board.write_errors.fetch_add(1, Ordering::Relaxed);
        }
        let done = Finished {
            tx_bytes: report.header_bytes + report.body_bytes,
            elapsed_us: ended_us.saturating_sub(begun_us),
            exception: report.app_failed,
            status: report.status,
        };
        let worker = self.shared.board.worker(self.shared.slot);
        board.end(worker, &done);
        if self.shared.plan.engine.mounting.count > 1
            && let Ok(app) = usize::try_from(report.app)
        {
            worker.count_app(app, done.exception);
        }
        self.judge(thread.has_waited(done.elapsed_us));
        self.shared.count_request();
        let since_ready_us = ended_us.saturating_sub(exchange.started_us);
        let times = Times {
            elapsed_us: since_ready_us,
            waited_us: begun_us.saturating_sub(exchange.started_us),
            app_us: done.elapsed_us,
        };
        match outcome {
            None => self.shared.log_exchange(exchange, thread.index, times, false),
            // It had its line when its client was answered.
            Some(_) => self.shared.forget_notes(thread.index),
        }
    }

    fn judge(&self, is_slow: bool) {
        let score = self.slowness.load(Ordering::Relaxed);
        let next = if is_slow { (score + SLOW_WEIGHT).min(SCORE_MOST) } else { score.saturating_sub(1) };
        if next != score {
            self.slowness.store(next, Ordering::Relaxed);
        }
    }

    // The standby thread.

    fn stand_by(self: &Arc<Self>) {
        sys::block_signals();
        let _fatal = FatalPanic(&self.shared);
        let mut watch = Watch::new(self.shared.plan.engine.threads);
        let mut last = 0;
        let mut seen = Instant::now();
        let mut idle_ticks = 0;
        let mut taken_over = Instant::now();
        loop {
            if lock(&self.jobs).ended.is_some() {
                return self.watch_the_end(&mut watch);
            }
            let now = self.lead.load(Ordering::SeqCst);
            if now == last && now % 2 == 1 {
                // Another thread could not run Python beside a call that computes, nor faster one that waits for a
                // processor; but the others' connections must not wait for ever.
                let computes = lock(&self.leader).as_ref().is_some_and(|leader| leader.is_runnable());
                if computes && seen.elapsed() < COMPUTING {
                    std::thread::park_timeout(TICK);
                    continue;
                }
                if self.lead.compare_exchange(now, STANDBY_LEADS, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    self.lead_without_app(&mut watch);
                    taken_over = Instant::now();
                }
                last = 0;
                continue;
            }
            if now == last {
                idle_ticks += 1;
            } else {
                idle_ticks = 0;
                seen = Instant::now();
            }
            last = now;
            if idle_ticks < IDLE_TICKS {
                std::thread::park_timeout(if taken_over.elapsed() < CALM_AFTER { TICK } else { CALM_TICK });
                continue;
            }
            self.standby_sleeps.store(true, Ordering::SeqCst);
            // A call that began before the flag was set is seen here; one that begins later sees the flag.
            if self.lead.load(Ordering::SeqCst) == last {
                std::thread::park();
            }
            self.standby_sleeps.store(false, Ordering::SeqCst);
            idle_ticks = 0;
        }
    }

    /// Runs the loop for the app threads, until calls are fast again.
    fn lead_without_app(self: &Arc<Self>, watch: &mut Watch) {
        let mut event_loop = lock(&self.event_loop);
        // The call that is in the app is a slow one.
        event_loop.release_held();
        loop {
            match event_loop.step(&self.shared) {
                Next::Exchange(mut exchange) => {
                    // Nobody knows when its thread comes to the next one.
                    exchange.more_follows = false;
                    let mut jobs = lock(&self.jobs);
                    jobs.queue.push_back(exchange);
                    jobs.show_waiting(&self.shared);
                    let someone_sleeps = jobs.idle > 0;
                    drop(jobs);
                    if someone_sleeps {
                        self.job_ready.notify_one();
                    }
                }
                Next::Wait => {
                    let most_ms = if self.shared.is_watched() { watch.look(self, &mut event_loop) } else { i32::MAX };
                    if event_loop.is_leaving()
                        && (watch.is_seized() || event_loop.lost() == self.shared.plan.engine.threads)
                        && self.pass_on_queue(&mut event_loop)
                    {
                        continue;
                    }
                    let calm = self.slowness.load(Ordering::Relaxed) <= SCORE_KEEP;
                    if calm && event_loop.away() == 0 && !event_loop.is_leaving() && !watch.is_busy() {
                        drop(event_loop);
                        self.lead.store(0, Ordering::Release);
                        lock(&self.jobs).offer = true;
                        self.job_ready.notify_one();
                        return;
                    }
                    if let Err(error) = event_loop.wait(&self.shared, most_ms) {
                        self.broken(&error);
                        return;
                    }
                }
                Next::Leave(reason) => {
                    drop(event_loop);
                    watch.conclude(self);
                    self.end(reason);
                    return;
                }
            }
        }
    }

    /// No thread of a worker that leaves will come to what waits: others may. False if there was nothing.
    #[cold]
    fn pass_on_queue(&self, event_loop: &mut EventLoop) -> bool {
        let waiting = std::mem::take(&mut lock(&self.jobs).queue);
        let is_any = !waiting.is_empty();
        for exchange in waiting {
            event_loop.pass_on(&self.shared, exchange);
        }
        is_any
    }

    fn broken(&self, error: &io::Error) {
        self.shared.note(&format!("the event loop of worker {} failed: {error}", self.shared.plan.worker_id));
        self.end(StopReason::Stopped);
    }

    fn end(&self, reason: StopReason) {
        self.shared.flush_log();
        lock(&self.jobs).ended = Some(reason);
        self.job_ready.notify_all();
        if let Some(standby) = self.standby.get() {
            standby.unpark();
        }
    }

    /// Threads that do not come back from the app must not keep a worker that was told to go.
    fn watch_the_end(self: &Arc<Self>, watch: &mut Watch) {
        let begun = Instant::now();
        let is_lost = |thread: &usize| self.shared.duty(*thread).is_lost();
        loop {
            let running = self.threads_running.load(Ordering::Acquire);
            if running == 0 {
                break;
            }
            let lost = (0..self.shared.plan.engine.threads).filter(is_lost).count();
            // The process ends with its main thread, which needs the interpreter's lock. What is left had its time.
            if running <= lost && (is_lost(&0) || watch.is_locked_out(self) || begun.elapsed() >= EXIT_PATIENCE) {
                watch::end_without_app(self);
            }
            if lock(&self.jobs).ended != Some(StopReason::Drained) && begun.elapsed() >= STOP_GRACE {
                self.shared.flush_log();
                sys::exit_now(0);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        self.shared.set_state(WorkerState::Free);
        self.shared.flush_log();
    }
}

/// A worker that lost a thread to a mistake of the engine's own would stand there and serve nobody: it ends instead, and
/// the master replaces it.
struct FatalPanic<'a>(&'a Shared);

impl Drop for FatalPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.note("the engine failed (see the message above): this worker ends");
            self.0.flush_log();
            sys::exit_now(70);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{
        EnginePlan, HarakiriPlan, ListenerHandle, ListenerProtocol, RequestLogPlan, ResponsePlan, RoutesPlan,
        StaticPlan,
    };
    use crate::response::Response;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
    use std::os::unix::net::UnixDatagram;
    use std::sync::mpsc;

    /// Answers with the path; `/wait` waits until the test says so.
    struct Echo {
        gate: Mutex<mpsc::Receiver<()>>,
        name: &'static str,
    }

    impl App for Echo {
        fn serve(&self, exchange: &mut Exchange, thread: &mut AppThread, shared: &Shared) {
            if exchange.path() == b"/wait" {
                lock(&self.gate).recv().expect("the test opens the gate");
            }
            let mut response = Response::new(
                Arc::clone(&exchange.socket),
                shared.policy,
                exchange.framing(ListenerProtocol::Http),
                thread.date.at(0),
                Default::default(),
            );
            let body = format!("{} {}", self.name, exchange.path().escape_ascii());
            response.start(b"200 OK", false).expect("valid");
            assert!(response.whole(&[body.as_bytes()]));
            exchange.take_report(response, false);
        }

        fn conclude(&self, _: usize) -> Option<Progress> {
            None
        }

        fn look(&self, _: &Calls, _: &Shared) -> String {
            "the stacks".to_owned()
        }
    }

    struct Running {
        worker: Arc<Worker>,
        threads: Vec<std::thread::JoinHandle<StopReason>>,
        control: UnixDatagram,
        _lifeline: std::io::PipeWriter,
        gate: mpsc::Sender<()>,
    }

    impl Running {
        fn tell(&self, command: &str) {
            self.control.send(command.as_bytes()).expect("the worker listens");
        }

        fn end(self, command: &str) -> Vec<StopReason> {
            self.tell(command);
            self.threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        }
    }

    fn plan(listener: &TcpListener, threads: usize, control: i32, lifeline: i32, handoff: (i32, i32)) -> WorkerPlan {
        WorkerPlan {
            engine: EnginePlan {
                threads,
                multiprocess: handoff.0 >= 0,
                server_name: "test".to_owned(),
                head_limit_bytes: 65536,
                header_limit_count: 100,
                underscores_in_headers: false,
                body_limit_bytes: 0,
                body_memory_bytes: 1 << 20,
                body_memory_total_bytes: 8 << 20,
                spool_dir: "/tmp".to_owned(),
                routes: RoutesPlan::default(),
                response_buffer_bytes: 1 << 20,
                response_buffer_total_bytes: 8 << 20,
                response_spool_bytes: 0,
                response_spool_total_bytes: 0,
                header_timeout_s: 10.0,
                body_timeout_s: 10.0,
                write_timeout_s: 10.0,
                keepalive_timeout_s: 60.0,
                max_requests: 0,
                min_worker_lifetime_s: 0.0,
                drain_timeout_s: 10.0,
                trusted_proxies: vec![],
                trusted_headers: vec![],
                drops_forwarded: false,
                static_files: StaticPlan::default(),
                mounting: crate::plan::MountingPlan::default(),
                response: ResponsePlan::default(),
                file_wrapper: true,
                proxy_protocol: false,
                log: RequestLogPlan::default(),
                max_requests_delta: 0,
                request_ids: false,
                trace_context: false,
                harakiri: HarakiriPlan::default(),
            },
            worker_id: 1,
            listeners: vec![ListenerHandle {
                fd: sys::duplicate(listener.as_raw_fd()).expect("a copy, which the worker closes").into_raw_fd(),
                protocol: ListenerProtocol::Http,
                name: "test".to_owned(),
                server_port: "80".to_owned(),
                is_unix: false,
                is_kept: false,
            }],
            control_fd: control,
            lifeline_fd: lifeline,
            scoreboard_fd: -1,
            scoreboard_slot: 0,
            handoff_receive_fd: handoff.0,
            handoff_send_fd: handoff.1,
            log_fd: 2,
            request_log_fd: 2,
            starts_paused: false,
        }
    }

    fn start(listener: &TcpListener, name: &'static str, threads: usize, handoff: (i32, i32)) -> Running {
        start_limited(listener, name, threads, handoff, 0)
    }

    fn start_limited(
        listener: &TcpListener,
        name: &'static str,
        threads: usize,
        handoff: (i32, i32),
        limit_s: u64,
    ) -> Running {
        let (control, theirs) = UnixDatagram::pair().expect("control pair");
        let (reader, writer) = std::io::pipe().expect("lifeline");
        let (gate, receiver) = mpsc::channel();
        let app = Echo { gate: Mutex::new(receiver), name };
        let (theirs, reader) = (OwnedFd::from(theirs).into_raw_fd(), OwnedFd::from(reader).into_raw_fd());
        let mut plan = plan(listener, threads, theirs, reader, handoff);
        plan.engine.harakiri.limit_s = limit_s;
        let worker = Arc::new(Worker::new(plan, Box::new(app), Signals::default()).expect("worker"));
        let threads = (0..threads)
            .map(|index| {
                let worker = Arc::clone(&worker);
                std::thread::spawn(move || worker.run(index).expect("run"))
            })
            .collect();
        Running { worker, threads, control, _lifeline: writer, gate }
    }

    fn listener() -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        listener.set_nonblocking(true).expect("non-blocking");
        listener
    }

    fn connect(listener: &TcpListener) -> TcpStream {
        let stream = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        stream
    }

    fn ask(stream: &mut TcpStream, path: &str) {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("write");
    }

    fn body(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a response");
            text.push(byte[0]);
        }
        let head = String::from_utf8(text).expect("ASCII");
        let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("length");
        let mut body = vec![0; length.parse().expect("digits")];
        stream.read_exact(&mut body).expect("the body");
        String::from_utf8(body).expect("ASCII")
    }

    /// Runs the loop on this thread, without a standby thread, until `is_enough` of the paths that were served, in order.
    fn serve_until(worker: &Worker, mut is_enough: impl FnMut(&[String]) -> bool) -> Vec<String> {
        let mut thread = AppThread::new(0);
        let mut event_loop = lock(&worker.event_loop);
        let mut paths = Vec::new();
        while !is_enough(&paths) {
            match event_loop.step(&worker.shared) {
                Next::Exchange(mut exchange) => {
                    paths.push(exchange.path().escape_ascii().to_string());
                    worker.app.serve(&mut exchange, &mut thread, &worker.shared);
                    event_loop.complete(&worker.shared, exchange);
                }
                Next::Wait => event_loop.wait(&worker.shared, i32::MAX).expect("a poll"),
                Next::Leave(reason) => panic!("{}", reason.name()),
            }
        }
        paths
    }

    /// A worker whose loop the test runs, with all that it needs to stay open.
    fn idle_worker(listener: &TcpListener) -> (Worker, UnixDatagram, std::io::PipeWriter) {
        let (control, theirs) = UnixDatagram::pair().expect("control pair");
        let (reader, writer) = std::io::pipe().expect("lifeline");
        let app = Echo { gate: Mutex::new(mpsc::channel().1), name: "a" };
        let (theirs, reader) = (OwnedFd::from(theirs).into_raw_fd(), OwnedFd::from(reader).into_raw_fd());
        let plan = plan(listener, 1, theirs, reader, (-1, -1));
        (Worker::new(plan, Box::new(app), Signals::default()).expect("worker"), control, writer)
    }

    #[test]
    fn a_newcomer_does_not_wait_for_the_ends_of_pipelines() {
        let listener = listener();
        let (worker, _control, _lifeline) = idle_worker(&listener);
        let mut pipelines: Vec<TcpStream> = (0..4).map(|_| connect(&listener)).collect();
        for stream in &mut pipelines {
            (0..300).for_each(|_| ask(stream, "/many"));
        }
        let mut newcomer = connect(&listener);
        ask(&mut newcomer, "/new");
        let paths = serve_until(&worker, |paths| paths.last().is_some_and(|path| path == "/new"));
        assert!(paths.len() < 700, "{} of 1200 came first", paths.len() - 1);
        assert_eq!(body(&mut newcomer), "a /new");
    }

    #[test]
    fn requests_of_one_connection_are_answered_in_order() {
        let listener = listener();
        let running = start(&listener, "a", 1, (-1, -1));
        let mut stream = connect(&listener);
        for path in ["/1", "/2", "/3"] {
            ask(&mut stream, path);
        }
        for path in ["a /1", "a /2", "a /3"] {
            assert_eq!(body(&mut stream), path);
        }
        assert_eq!(running.end("drain"), [StopReason::Drained]);
    }

    #[test]
    fn a_slow_call_delays_nobody_while_a_thread_is_free() {
        let listener = listener();
        let running = start(&listener, "a", 2, (-1, -1));
        let mut slow = connect(&listener);
        let mut fast = connect(&listener);
        ask(&mut fast, "/before");
        assert_eq!(body(&mut fast), "a /before");
        ask(&mut slow, "/wait");
        for _ in 0..20 {
            ask(&mut fast, "/meanwhile");
            assert_eq!(body(&mut fast), "a /meanwhile");
        }
        let board = running.worker.shared.board.worker(0);
        let (waited, waited_us) = (board.waited.load(Ordering::Relaxed), board.waited_us.load(Ordering::Relaxed));
        // The first of them may have been served before the slow call.
        assert!((19..=22).contains(&waited), "{waited} requests were queued");
        assert!(waited_us < 10_000_000, "{waited_us} microseconds");
        running.gate.send(()).expect("open");
        assert_eq!(body(&mut slow), "a /wait");
        assert_eq!(running.end("drain"), [StopReason::Drained, StopReason::Drained]);
    }

    #[test]
    fn a_connection_moves_from_a_busy_worker_to_an_idle_one() {
        let listener = listener();
        let (receive, send) = std::os::unix::net::UnixDatagram::pair().expect("handoff pair");
        receive.set_nonblocking(true).expect("non-blocking");
        let handoff = (receive.as_raw_fd(), send.as_raw_fd());
        let first = start(&listener, "first", 1, handoff);
        let mut kept = connect(&listener);
        ask(&mut kept, "/1");
        assert_eq!(body(&mut kept), "first /1");
        let mut slow = connect(&listener);
        ask(&mut slow, "/wait");
        // The first worker is in the app now: it took the connection, because nobody else was there.
        while first.worker.lead.load(Ordering::SeqCst) != STANDBY_LEADS {
            std::thread::yield_now();
        }
        let second = start(&listener, "second", 1, handoff);
        ask(&mut kept, "/2");
        assert_eq!(body(&mut kept), "second /2");
        first.gate.send(()).expect("open");
        assert_eq!(body(&mut slow), "first /wait");
        assert_eq!(first.end("drain"), [StopReason::Drained]);
        assert_eq!(second.end("drain"), [StopReason::Drained]);
    }

    #[test]
    fn a_retiring_worker_hands_its_idle_connections_over() {
        let listener = listener();
        let (receive, send) = std::os::unix::net::UnixDatagram::pair().expect("handoff pair");
        receive.set_nonblocking(true).expect("non-blocking");
        let handoff = (receive.as_raw_fd(), send.as_raw_fd());
        let old = start(&listener, "old", 1, handoff);
        let mut kept = connect(&listener);
        ask(&mut kept, "/1");
        assert_eq!(body(&mut kept), "old /1");
        assert_eq!(old.end("retire"), [StopReason::Drained]);
        let new = start(&listener, "new", 1, handoff);
        ask(&mut kept, "/2");
        assert_eq!(body(&mut kept), "new /2");
        assert_eq!(new.end("drain"), [StopReason::Drained]);
    }

    #[test]
    fn a_parked_worker_gives_its_idle_connections_away_and_takes_them_again() {
        let listener = listener();
        let (receive, send) = std::os::unix::net::UnixDatagram::pair().expect("handoff pair");
        receive.set_nonblocking(true).expect("non-blocking");
        let handoff = (receive.as_raw_fd(), send.as_raw_fd());
        let old = start(&listener, "old", 1, handoff);
        let mut kept = connect(&listener);
        ask(&mut kept, "/1");
        assert_eq!(body(&mut kept), "old /1");
        old.tell("park");
        let new = start(&listener, "new", 1, handoff);
        for path in ["/2", "/3"] {
            ask(&mut kept, path);
            assert_eq!(body(&mut kept), format!("new {path}"));
        }
        old.tell("resume");
        assert_eq!(new.end("retire"), [StopReason::Drained]);
        ask(&mut kept, "/4");
        assert_eq!(body(&mut kept), "old /4");
        assert_eq!(old.end("drain"), [StopReason::Drained]);
    }

    #[test]
    fn a_call_over_its_limit_is_answered_for_the_app_and_what_it_says_later_is_dropped() {
        let listener = listener();
        let running = start_limited(&listener, "a", 2, (-1, -1), 1);
        let mut slow = connect(&listener);
        let mut fast = connect(&listener);
        ask(&mut slow, "/wait");
        ask(&mut slow, "/pipelined");
        ask(&mut fast, "/1");
        assert_eq!(body(&mut fast), "a /1");
        assert_eq!(body(&mut slow), "504 Gateway Timeout\nthe request took longer than this server allows\n");
        let mut told = [0; 1000];
        let mut next = || {
            let count = running.control.recv(&mut told).expect("the worker tells its master");
            String::from_utf8_lossy(&told[..count]).into_owned()
        };
        let half = next();
        assert!(half.starts_with("stacks ") && half.contains("half of harakiri = 1") && half.ends_with("the stacks"));
        let late = next();
        let words: Vec<&str> = late.split(' ').collect();
        assert_eq!(words[0], "harakiri", "{late}");
        assert_eq!(words[5..], ["option", "answered", "127.0.0.1", "GET", "/wait"], "{late}");
        assert!(next().contains("its client got 504"));
        ask(&mut fast, "/2");
        assert_eq!(body(&mut fast), "a /2");
        running.gate.send(()).expect("open");
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).expect("an orderly end");
        assert!(rest.is_empty(), "nothing of the app, and no answer to what stood behind");
        for path in ["/3", "/4", "/5"] {
            ask(&mut fast, path);
            assert_eq!(body(&mut fast), format!("a {path}"));
        }
        assert_eq!(running.end("drain"), [StopReason::Drained, StopReason::Drained]);
    }

    #[test]
    fn the_end_of_the_master_ends_the_worker() {
        let listener = listener();
        let running = start(&listener, "a", 2, (-1, -1));
        let mut stream = connect(&listener);
        ask(&mut stream, "/1");
        assert_eq!(body(&mut stream), "a /1");
        let Running { threads, _lifeline, control, .. } = running;
        drop(_lifeline);
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), StopReason::Orphaned);
        }
        drop(control);
    }
}
