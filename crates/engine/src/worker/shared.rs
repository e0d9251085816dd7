//! What the threads of a worker share, and what each app thread keeps for itself.
//!
//! Everything here may be looked at by any thread at any time; who runs what is decided in `worker`.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::SLOW_US;
use super::duty::{Duty, Outcome};
use super::watch::Signals;
use crate::access_log::{Line, Via};
use crate::client::Forwarding;
use crate::exchange::{Exchange, Parsed};
use crate::forwarded::{self, IpText, TrustedProxies};
use crate::mounts::Mounts;
use crate::plan::WorkerPlan;
use crate::request_ids::RequestIds;
use crate::request_log::{Logs, Times};
use crate::response::{DateLine, Progress};
use crate::response_options::ResponseOptions;
use crate::routing::{Facts, Router};
use crate::scoreboard::{Board, Finished, Source, ThreadBoard, WorkerState};
use crate::socket::WritePolicy;
use crate::static_files::StaticMap;
use crate::store::Store;
use crate::sys::{self, EventFd, Peer, ThreadWatch};

/// What one app thread keeps between requests.
pub struct AppThread {
    pub index: usize,
    pub(super) watch: Arc<ThreadWatch>,
    /// What the watch said after the last long call.
    busy_us: u64,
    pub date: DateLine,
    /// Working buffers of the response.
    pub scratch: (Vec<u8>, Vec<u8>),
    /// When the current request entered the app, in microseconds since 1970.
    pub begun_epoch_us: u64,
    /// Microseconds from the monotonic clock to the one of the calendar, and when that was looked up.
    epoch_offset_us: u64,
    offset_second: u64,
}

impl AppThread {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            watch: Arc::new(ThreadWatch::of_this_thread()),
            busy_us: 0,
            date: DateLine::default(),
            scratch: Default::default(),
            begun_epoch_us: 0,
            epoch_offset_us: 0,
            offset_second: u64::MAX,
        }
    }

    /// Whether a call of this length was a slow one. Only long calls are looked at closer, and what they are compared with
    /// is the work since the last long one: a wait between much work passes for a fast call. Then the standby thread takes
    /// the loop for that call only.
    pub(super) fn has_waited(&mut self, elapsed_us: u64) -> bool {
        if elapsed_us < SLOW_US {
            return false;
        }
        let Some(busy_us) = self.watch.busy_us() else { return true };
        let busy_in_call_us = busy_us.saturating_sub(std::mem::replace(&mut self.busy_us, busy_us));
        elapsed_us.saturating_sub(busy_in_call_us) >= SLOW_US
    }

    /// The calendar's time of a monotonic time, looked up once a second.
    pub(super) fn epoch_of(&mut self, monotonic_us: u64) -> u64 {
        let second = monotonic_us / 1_000_000;
        if second != self.offset_second {
            self.offset_second = second;
            self.epoch_offset_us = sys::epoch_us().wrapping_sub(sys::now_us());
        }
        monotonic_us.wrapping_add(self.epoch_offset_us)
    }
}

/// What every thread of a worker may look at.
pub struct Shared {
    pub plan: WorkerPlan,
    pub static_map: StaticMap,
    pub mounts: Mounts,
    /// None where no option says anything about every response.
    pub response_options: Option<Arc<ResponseOptions>>,
    /// None where nothing is said of clients but in the usual headers, and nothing is dropped.
    pub forwarding: Option<Forwarding>,
    stranger_noticed: AtomicBool,
    /// None where requests get no names.
    pub request_ids: Option<RequestIds>,
    /// None where there are no rules.
    pub router: Option<Arc<Router>>,
    pub proxies: TrustedProxies,
    pub policy: WritePolicy,
    /// Where unsent responses are kept.
    pub store: Arc<Store>,
    pub(super) board: Board,
    pub(super) slot: usize,
    pub logs: Logs,
    pid: u32,
    started: Instant,
    requests: AtomicU64,
    recycle_announced: AtomicBool,
    #[expect(clippy::vec_box, reason = "an exchange is large and moves between threads as a pointer")]
    done: Mutex<Vec<Box<Exchange>>>,
    done_waiting: AtomicBool,
    polling: AtomicBool,
    /// This process is a child that the app forked.
    forked: AtomicBool,
    /// The app has forked.
    has_children: AtomicBool,
    /// What each app thread is busy with.
    duties: Vec<Duty>,
    /// Requests have time limits.
    is_watched: AtomicBool,
    pub(super) signals: Signals,
    pub(super) wake: Arc<EventFd>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it held one of these locks left plain values behind, which stay true.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(plan: WorkerPlan, signals: Signals) -> io::Result<Self> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let engine = &plan.engine;
        let proxies = TrustedProxies::parse(&engine.trusted_proxies).map_err(invalid)?;
        let static_map = StaticMap::new(&engine.static_files).map_err(invalid)?;
        let facts = Facts { worker_id: plan.worker_id, pid: std::process::id() };
        let router = Router::new(&engine.routes, &engine.static_files, facts).map_err(invalid)?.map(Arc::new);
        let (board, slot) = if plan.scoreboard_fd >= 0 {
            // SAFETY: the plan's descriptor is open for as long as this call lasts; the master's plan promises it.
            let fd = unsafe { BorrowedFd::borrow_raw(plan.scoreboard_fd) };
            (Board::map(fd, plan.scoreboard_slot, engine.threads)?, plan.scoreboard_slot)
        } else {
            (Board::private(engine.threads)?, 0)
        };
        let pid = std::process::id();
        board.start(slot, pid, sys::epoch_us());
        board.worker(slot).worker_id.store(u64::from(plan.worker_id), Ordering::Relaxed);
        // From here on nothing can fail but the caller's next steps, and the sockets are open already.
        board.worker(slot).set_state(if plan.starts_paused { WorkerState::Paused } else { WorkerState::Accepting });
        let logs = Logs::new(&plan)?;
        let policy = WritePolicy {
            buffer_bytes: engine.response_buffer_bytes.max(1),
            timeout: Duration::try_from_secs_f64(engine.write_timeout_s).unwrap_or(Duration::MAX),
        };
        Ok(Self {
            policy,
            store: Store::new(&plan.engine),
            static_map,
            mounts: Mounts::new(&plan.engine.mounting),
            response_options: ResponseOptions::new(&plan.engine.response),
            forwarding: Forwarding::new(&plan.engine)?,
            stranger_noticed: AtomicBool::new(false),
            request_ids: RequestIds::new(&plan.engine),
            router,
            proxies,
            board,
            slot,
            logs,
            pid,
            started: Instant::now(),
            requests: AtomicU64::new(0),
            recycle_announced: AtomicBool::new(false),
            done: Mutex::default(),
            done_waiting: AtomicBool::new(false),
            polling: AtomicBool::new(false),
            forked: AtomicBool::new(false),
            has_children: AtomicBool::new(false),
            duties: std::iter::repeat_with(Duty::default).take(plan.engine.threads).collect(),
            is_watched: AtomicBool::new(plan.engine.harakiri.limit_s > 0),
            signals,
            wake: Arc::new(EventFd::new()?),
            plan,
        })
    }

    pub fn trusts(&self, peer: Peer) -> bool {
        self.proxies.trusts(match peer {
            Peer::Inet(address) => forwarded::Peer::Ip(address.ip()),
            Peer::Unix => forwarded::Peer::Unix,
        })
    }

    /// Says, once for each worker, that somebody who is not believed speaks for others: it may be a proxy that nobody has
    /// named, and its clients would all seem to be one.
    #[cold]
    pub fn notice_stranger(&self, exchange: &Exchange) {
        // Behind the PROXY protocol the peer is a client, whom nobody should be told to trust.
        if self.stranger_noticed.load(Ordering::Relaxed) || self.plan.engine.proxy_protocol {
            return;
        }
        if !self.stranger_noticed.swap(true, Ordering::Relaxed) {
            let peer = match exchange.peer {
                Peer::Inet(address) => IpText::from(address.ip()).as_str().to_owned(),
                Peer::Unix => "unix".to_owned(),
            };
            self.note(&format!(
                "{peer} sends headers of proxies (X-Forwarded-*) and is not believed; if it is a proxy of yours: \
                 trusted-proxies = {peer}"
            ));
        }
    }

    /// The client's address: the peer's, or the one that a trusted proxy names.
    pub fn client_address(&self, exchange: &Exchange) -> IpText {
        if let Some(client) = &exchange.client {
            if let Some(address) = client.address {
                return address;
            }
        } else if exchange.trusted
            && let Some(address) = self.forwarded_for(exchange)
        {
            return address;
        }
        match exchange.peer {
            Peer::Inet(address) => IpText::from(address.ip()),
            Peer::Unix => IpText::from(std::net::IpAddr::from([0, 0, 0, 0])),
        }
    }

    fn forwarded_for(&self, exchange: &Exchange) -> Option<IpText> {
        let Parsed::Http(head) = &exchange.parsed else { return None };
        let mut joined = Vec::new();
        for header in &head.headers {
            if header.name.of(&exchange.bytes).eq_ignore_ascii_case(b"x-forwarded-for") {
                if !joined.is_empty() {
                    joined.extend_from_slice(b", ");
                }
                joined.extend_from_slice(header.value.of(&exchange.bytes));
            }
        }
        if joined.is_empty() { None } else { self.proxies.client_address(&joined) }
    }

    pub(super) fn thread_board(&self, thread: usize) -> &ThreadBoard {
        self.board.thread(self.slot, thread)
    }

    /// What an app thread is busy with.
    pub fn duty(&self, thread: usize) -> &Duty {
        &self.duties[thread]
    }

    pub fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    /// From now on the thread that runs the loop looks at how long calls last.
    pub fn watch(&self) {
        self.is_watched.store(true, Ordering::Relaxed);
    }

    /// The request of an app thread shall end in so many microseconds, at the app's own wish; 0 takes that back.
    pub fn wish_end(&self, thread: usize, in_us: u64) {
        let Some(duty) = self.duties.get(thread) else { return };
        duty.wish(if in_us == 0 { 0 } else { sys::now_us().saturating_add(in_us) });
        self.watch();
        // It may be waiting for longer than that.
        self.wake_loop();
    }

    /// Remembers what the log says of a request, should it take too long.
    pub(super) fn describe(&self, exchange: &Exchange, thread: usize) {
        let number = self.requests.load(Ordering::Relaxed) + 1;
        self.duties[thread].remember(exchange);
        match &exchange.parsed {
            Parsed::Http(_) => self.duties[thread].describe(self.client_address(exchange).as_bytes(), number),
            Parsed::Uwsgi(_) => self.duties[thread].describe(exchange.var(b"REMOTE_ADDR"), number),
        }
    }

    /// When the request of an app thread entered the app; None if the thread has none.
    pub(super) fn busy_since_us(&self, thread: usize) -> Option<u64> {
        let board = self.thread_board(thread);
        (board.state.load(Ordering::Acquire) != 0).then(|| board.since_us.load(Ordering::Relaxed))
    }

    /// `METHOD URI` of an app thread's request.
    pub(super) fn request_line(&self, thread: usize) -> String {
        let line = self.thread_board(thread).line().unwrap_or_default();
        String::from_utf8_lossy(&line).into_owned()
    }

    pub(super) fn mark_detached(&self, thread: usize) {
        self.thread_board(thread).detach();
    }

    /// Whether requests may take longer now, because too few connections wait (`harakiri-queue-threshold`).
    pub(super) fn is_held_back(&self) -> bool {
        let threshold = self.plan.engine.harakiri.queue_threshold;
        threshold > 0 && self.board.waiting() < threshold
    }

    pub(super) fn tell_master(&self, text: &str) {
        // A master that does not read has other worries, or is gone.
        let _ = sys::send(self.plan.control_fd, text.as_bytes());
    }

    /// Makes the main thread raise in this call of its own.
    pub fn interrupt_main(&self, call: u64) {
        if self.signals.interrupt > 0
            && let Some(thread) = self.duties[0].thread()
            && self.duties[0].announce_interruption(call)
        {
            thread.id.signal(self.signals.interrupt);
        }
    }

    pub fn set_state(&self, state: WorkerState) {
        self.board.worker(self.slot).set_state(state);
    }

    pub fn board_accepted(&self) {
        self.board.worker(self.slot).accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows how many requests wait for a thread, and since when the first of them does.
    pub fn board_waiting(&self, count: usize, since_us: u64) {
        self.board.worker(self.slot).show_waiting(count, since_us);
    }

    /// A request that waited for a thread has got one.
    pub fn board_wait(&self, wait_us: u64) {
        self.board.worker(self.slot).count_wait(wait_us);
    }

    pub fn board_connections(&self, count: usize) {
        self.board.worker(self.slot).connections.store(count as u64, Ordering::Relaxed);
    }

    pub fn board_own(&self, done: &Finished, source: Source) {
        self.thread_board(0).own_request(self.board.worker(self.slot), done, source);
        self.count_request();
    }

    pub fn count_refusal(&self) {
        self.board.worker(self.slot).refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A client left, or stalled, before it had taken a response that the app had finished.
    pub fn count_lost_response(&self) {
        self.thread_board(0).write_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// A client left before its request was complete.
    pub fn count_lost_request(&self) {
        self.thread_board(0).read_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_request(&self) -> u64 {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let engine = &self.plan.engine;
        if engine.max_requests > 0
            && count >= engine.max_requests + u64::from(self.plan.worker_id - 1) * engine.max_requests_delta
            && self.started.elapsed().as_secs_f64() >= engine.min_worker_lifetime_s
            && !self.recycle_announced.swap(true, Ordering::Relaxed)
        {
            // The master starts a replacement first; until it says `retire`, this worker serves on.
            let text = format!("recycle max-requests {count}");
            if sys::send(self.plan.control_fd, text.as_bytes()).is_err() {
                self.recycle_announced.store(false, Ordering::Relaxed);
            }
        }
        count
    }

    /// Writes one line to the log, soon.
    pub fn note(&self, text: &str) {
        self.logs.note(text);
    }

    pub fn flush_log(&self) {
        self.logs.flush();
    }

    /// Writes the request line of one whose client was answered, or cut off, without the app. `since_us`: it entered that.
    pub(super) fn log_without_app(
        &self,
        mut request: Box<Exchange>,
        thread: usize,
        since_us: u64,
        status: u16,
        progress: Option<Progress>,
    ) {
        request.report_without_app(status, progress);
        let now_us = sys::now_us();
        let times = Times {
            elapsed_us: now_us.saturating_sub(request.started_us),
            waited_us: since_us.saturating_sub(request.started_us),
            app_us: now_us.saturating_sub(since_us),
        };
        self.log_exchange(&mut request, thread, times, false);
    }

    /// Writes the line of a request that is with some app thread, and is lost with this worker.
    pub fn log_lost(&self, key: u64, status: u16) {
        for (thread, duty) in self.duties.iter().enumerate() {
            if let Some(current) = duty.current()
                && current.key == key
                && duty.take(current.call)
            {
                let request = duty.take_request();
                duty.settle(current.call, Outcome::Answered);
                if let Some(request) = request {
                    let since_us = self.busy_since_us(thread).unwrap_or_else(sys::now_us);
                    self.log_without_app(request, thread, since_us, status, None);
                }
            }
        }
    }

    /// What was noted for the line of a request that has had one is not for the next.
    pub(super) fn forget_notes(&self, thread: usize) {
        drop(self.logs.take_notes(thread));
    }

    /// Writes the request line of a finished exchange, if it is to have one.
    pub fn log_exchange(&self, exchange: &mut Exchange, core: usize, times: Times, is_static: bool) {
        let log = &self.plan.engine.log;
        let notes = if is_static { None } else { self.logs.take_notes(core) };
        if let Some(router) = &self.router
            && !self.conclude_routes(router, exchange)
        {
            return;
        }
        if !log.enabled && !log.asks_for(&exchange.report, times.elapsed_us) {
            let is_wanted = notes.as_ref().is_some_and(|notes| notes.is_wanted);
            if !is_wanted {
                return;
            }
        }
        let report = &exchange.report;
        let client = self.client_address(exchange);
        let (mut address, user, packet_bytes) = match &exchange.parsed {
            Parsed::Http(_) => (client.as_bytes(), &b""[..], exchange.bytes.len()),
            Parsed::Uwsgi(_) => {
                (exchange.var(b"REMOTE_ADDR"), exchange.var(b"REMOTE_USER"), exchange.bytes.len().saturating_sub(4))
            }
        };
        let mut is_forwarded = false;
        if log.forwarded_for
            && let Some(text) = exchange.forwarded_for()
        {
            (address, is_forwarded) = (text, true);
        }
        let user = exchange.changed(b"REMOTE_USER").unwrap_or(user);
        let requests = self.requests.load(Ordering::Relaxed);
        let line = Line {
            pid: self.pid,
            app_id: if is_static { -1 } else { report.app },
            app_requests: if is_static { -1 } else { requests as i64 },
            total_requests: requests,
            address,
            user,
            vars: u64::from(report.vars),
            packet_bytes: packet_bytes as u64,
            started_us: sys::epoch_us().saturating_sub(times.elapsed_us),
            method: exchange.method(),
            uri: exchange.uri(),
            body_bytes: report.body_bytes,
            elapsed_us: times.elapsed_us,
            via: if report.via_sendfile { Via::Sendfile } else { Via::Plain },
            protocol: exchange.protocol(),
            status: report.status,
            header_count: u64::from(report.header_count),
            header_bytes: report.header_bytes,
            switches: 1,
            core: core as u64,
            is_forwarded,
            in_micros: log.micros,
            memory: None,
        };
        self.logs.push(&line, exchange, times, notes.as_ref(), &self.plan);
    }

    /// Exchanges that app threads finished while another thread ran the loop.
    #[expect(clippy::vec_box, reason = "as the field")]
    pub fn take_done(&self) -> Vec<Box<Exchange>> {
        if self.done_waiting.swap(false, Ordering::AcqRel) {
            std::mem::take(&mut *lock(&self.done))
        } else {
            Vec::new()
        }
    }

    pub(super) fn push_done(&self, exchange: Box<Exchange>) {
        lock(&self.done).push(exchange);
        self.done_waiting.store(true, Ordering::SeqCst);
    }

    /// Makes the loop look at what is done, if it polls. Either it saw the flag of `push_done` before, or this sees that
    /// it polls: both are sequentially consistent.
    pub(super) fn wake_loop(&self) {
        if self.polling.load(Ordering::SeqCst) {
            self.wake.signal();
        }
    }

    /// Announces a poll; true if something finished meanwhile, so that the poll must not wait.
    pub fn begin_polling(&self) -> bool {
        self.polling.store(true, Ordering::SeqCst);
        self.done_waiting.load(Ordering::SeqCst)
    }

    pub fn end_polling(&self) {
        self.polling.store(false, Ordering::Relaxed);
    }

    /// This process is a child that the app forked: it must not go on as a worker.
    pub fn disown(&self) {
        self.forked.store(true, Ordering::Relaxed);
    }

    /// The app forked a child, which may hold the descriptors of connections.
    pub fn note_child(&self) {
        self.has_children.store(true, Ordering::Relaxed);
    }

    pub fn has_children(&self) -> bool {
        self.has_children.load(Ordering::Relaxed)
    }

    pub fn is_forked(&self) -> bool {
        self.forked.load(Ordering::Relaxed)
    }

    /// The worker begins to leave.
    pub fn leave(&self) {
        self.set_state(WorkerState::Draining);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.flush_log();
    }
}
