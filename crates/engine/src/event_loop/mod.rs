//! The event loop of one worker: accepts, reads, writes, keeps time. Whoever runs it holds it exclusively.
//!
//! It never calls the app. `step` does what can be done without waiting and hands out complete requests; `wait` polls.
//! Strategy: a connection is registered once, edge-triggered, and read until the kernel has no more; a request that is
//! answered at once costs one `recv` and one `send`. A connection taken from the slab is put back or closed by the
//! function that took it.

mod answers;
mod arrivals;
mod departure;
mod detaching;
mod routes;
mod slab;
mod turns;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::budget::Budget;
use crate::connection::{Connection, Intake, Refusal, State, Verdict};
use crate::exchange::{Exchange, Spares};
use crate::plan::ListenerProtocol;
use crate::poller::{Epoll, Event, Interest, Poller};
use crate::response::{DateLine, Ending};
use crate::scoreboard::Source;
use crate::socket::{Flushed, WritePolicy};
use crate::static_files::{self, Lookup};
use crate::sys::{self, EventFd};
use crate::worker::{Shared, StopReason};
use turns::Turn;

/// What `step` came to.
pub enum Next {
    /// A complete request for the app.
    Exchange(Box<Exchange>),
    /// The worker has nothing left to do and shall end.
    Leave(StopReason),
    /// Nothing can be done without waiting.
    Wait,
}

/// Keys below `FIRST_LISTENER` and those of listeners have no generation, a connection's has one in its upper half.
const WAKE: u64 = 0;
const CONTROL: u64 = 1;
const LIFELINE: u64 = 2;
const HANDOFF: u64 = 3;
const FIRST_LISTENER: u64 = 16;
const GENERATION_SHIFT: u32 = 32;

/// One read takes at most this much; a connection that has more is read again after the others.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Reads of one connection before others have their turn.
const READS_A_TURN: usize = 16;
/// Pipelined requests of one client that are answered together, before others have their turn.
const HELD_MOST: usize = 32;
/// How old the first of them may be, in microseconds, when one more is begun before it is sent.
const HELD_US: u64 = 200;
/// How long after a poll answers are still held back, in microseconds: then each of its events is good for one request.
const BATCH_US: u64 = 3000;
/// Exchanges that may end without a look at new connections, while kept ones fill the threads.
const UNHEARD_MOST: usize = 2;
/// Descriptors that the kernel makes room for at the start. Where threads share the table, each doubling of it waits for
/// all processors, for 5 to 15 ms in which no connection is accepted: the first hundreds would cost everybody that.
const DESCRIPTORS: u64 = 8192;
/// How often deadlines are looked at. They are whole seconds to people, so that a second's delay is no matter.
const SWEEP_MS: u64 = 500;
/// How long a client may go on sending after its last response; the second is for when the instance ends.
const LINGER_MS: u64 = 5000;
const LAST_LINGER_MS: u64 = 400;
/// How long requests in flight may take when the master is gone.
const ORPHAN_MS: u64 = 1500;
/// How long a client that connected just before the end may take to send its request.
const FRESH_GRACE_MS: u64 = 400;
/// How long to leave new connections alone when the process has no descriptor for them.
const ACCEPT_PAUSE_MS: u64 = 100;
/// The longest wait while something is due soon.
const SHORT_WAIT_MS: i32 = 50;
/// How long a worker that has nothing else to do waits for a thread whose call was interrupted.
const DETACHED_GRACE_MS: u64 = 1000;
/// Refusals of clients that are logged in one second; the rest are counted.
const NOTES_A_SECOND: u32 = 10;

struct Listener {
    fd: RawFd,
    protocol: ListenerProtocol,
    name: String,
    is_unix: bool,
    /// It outlives the instance.
    is_kept: bool,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

pub struct EventLoop {
    poller: Epoll,
    wake: Arc<EventFd>,
    control: RawFd,
    lifeline: RawFd,
    handoff_receive: RawFd,
    handoff_send: RawFd,
    listeners: Vec<Listener>,
    listening: bool,
    slots: Vec<Slot>,
    free: Vec<u32>,
    open: usize,
    /// Connections that were just accepted and not looked at yet.
    newcomers: VecDeque<u64>,
    /// When no more of them are accepted before the next poll; 0 before the first.
    newcomers_until_us: u64,
    /// Connections to look at without a new event; each of them once (`Connection::has_turn`).
    again: VecDeque<u64>,
    /// When no more of them are looked at before the next poll; 0 before the first.
    again_until_us: u64,
    /// Connections with unread bytes that wait for a free app thread.
    waiting: VecDeque<u64>,
    /// The connection whose last response is held back until its next request, which is looked at first, is answered.
    held: Option<u64>,
    /// Responses that were held back one after another.
    held_run: usize,
    held_since_us: u64,
    /// When events were last asked for.
    polled_us: u64,
    /// Exchanges that ended since new connections were last looked at.
    unheard: usize,
    batch: usize,
    cursor: usize,
    scratch: Vec<u8>,
    /// Working buffers of a file's response.
    file_scratch: (Vec<u8>, Vec<u8>),
    intake: Intake,
    spares: Spares,
    policy: WritePolicy,
    header_timeout_ms: u64,
    body_timeout_ms: u64,
    keepalive_timeout_ms: u64,
    /// Exchanges that are with app threads or in their queue.
    away: usize,
    threads: usize,
    /// How many may be away. A worker with siblings takes no more than it has threads, so that the rest can go to them; a
    /// worker alone has as many again, of connections that it has already, ready for the thread that comes back first.
    capacity: usize,
    /// Connections whose exchanges an app thread has still, and which were answered without it.
    detached: Vec<u64>,
    /// How long a worker that leaves waits for such threads.
    detached_grace_ms: u64,
    detached_until_ms: u64,
    /// A call of C code keeps every thread from running Python.
    is_seized: bool,
    /// A listener that may have more connections than were taken from it.
    backlog: Option<usize>,
    paused: bool,
    /// Paused for a while in which others go on: connections without a request are theirs.
    parked: bool,
    leaving: Option<Leaving>,
    next_sweep_ms: u64,
    /// No new connections before this time; 0 for no such pause.
    accept_after_ms: u64,
    /// Something that connections need has run out, and the log says so already.
    is_starved: bool,
    /// Keeps a descriptor's place: one that comes from another worker while there is none would be lost.
    reserve: Option<OwnedFd>,
    date: DateLine,
    notes: NoteLimit,
}

#[derive(Clone, Copy)]
struct Leaving {
    reason: StopReason,
    /// Connections without a request go to other workers instead of being closed.
    hand_over: bool,
    deadline_ms: u64,
}

/// Keeps clients from filling the log.
#[derive(Default)]
struct NoteLimit {
    second: u64,
    count: u32,
    suppressed: u64,
}

impl EventLoop {
    pub fn new(shared: &Shared, wake: Arc<EventFd>) -> io::Result<Self> {
        let plan = &shared.plan;
        let engine = &plan.engine;
        let poller = Epoll::new()?;
        sys::reserve_descriptors(poller.handle(), DESCRIPTORS);
        poller.add(wake.as_raw_fd(), WAKE, Interest::Level)?;
        poller.add(plan.control_fd, CONTROL, Interest::Level)?;
        poller.add(plan.lifeline_fd, LIFELINE, Interest::Level)?;
        let listeners = plan
            .listeners
            .iter()
            .map(|handle| {
                sys::set_nonblocking(handle.fd);
                if !handle.is_unix {
                    sys::set_no_delay(handle.fd);
                }
                Listener {
                    fd: handle.fd,
                    protocol: handle.protocol,
                    name: handle.name.clone(),
                    is_unix: handle.is_unix,
                    is_kept: handle.is_kept,
                }
            })
            .collect();
        let ms = |seconds: f64| (seconds * 1000.0) as u64;
        Ok(Self {
            poller,
            wake,
            control: plan.control_fd,
            lifeline: plan.lifeline_fd,
            handoff_receive: plan.handoff_receive_fd,
            handoff_send: plan.handoff_send_fd,
            listeners,
            listening: false,
            slots: Vec::new(),
            free: Vec::new(),
            open: 0,
            newcomers: VecDeque::new(),
            newcomers_until_us: 0,
            again: VecDeque::new(),
            again_until_us: 0,
            waiting: VecDeque::new(),
            held: None,
            held_run: 0,
            held_since_us: 0,
            polled_us: 0,
            unheard: 0,
            batch: 0,
            cursor: 0,
            scratch: vec![0; SCRATCH_BYTES],
            file_scratch: Default::default(),
            intake: Intake {
                limits: wire::Limits {
                    head_bytes: engine.head_limit_bytes,
                    header_count: engine.header_limit_count,
                    body_bytes: engine.body_limit_bytes,
                    ..wire::Limits::default()
                },
                body_memory_bytes: engine.body_memory_bytes,
                body_memory: Budget::new(engine.body_memory_total_bytes),
                spool_dir: std::path::Path::new(&engine.spool_dir).into(),
                proxies: shared.proxies.clone(),
            },
            spares: Spares::default(),
            policy: shared.policy,
            header_timeout_ms: ms(engine.header_timeout_s),
            body_timeout_ms: ms(engine.body_timeout_s),
            keepalive_timeout_ms: ms(engine.keepalive_timeout_s),
            away: 0,
            threads: engine.threads,
            backlog: None,
            capacity: if engine.multiprocess { engine.threads } else { 2 * engine.threads },
            detached: Vec::new(),
            detached_grace_ms: ms(engine.harakiri.graceful_s).max(DETACHED_GRACE_MS),
            detached_until_ms: 0,
            is_seized: false,
            paused: plan.starts_paused,
            parked: false,
            leaving: None,
            next_sweep_ms: 0,
            accept_after_ms: 0,
            is_starved: false,
            reserve: if plan.handoff_receive_fd >= 0 { Some(sys::duplicate(plan.handoff_receive_fd)?) } else { None },
            date: DateLine::default(),
            notes: NoteLimit::default(),
        })
    }

    /// Exchanges that the app has not finished.
    pub fn away(&self) -> usize {
        self.away
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Does what can be done without waiting, until a request is complete.
    pub fn step(&mut self, shared: &Shared) -> Next {
        loop {
            for exchange in shared.take_done() {
                self.complete(shared, exchange);
            }
            if let Some(leaving) = self.leaving
                && (self.open == 0 || leaving.reason == StopReason::Stopped || sys::now_ms() >= leaving.deadline_ms)
            {
                if self.is_all_lost() || leaving.reason == StopReason::Stopped {
                    self.release_held();
                    return Next::Leave(leaving.reason);
                }
                if leaving.reason == StopReason::Orphaned {
                    // Nobody is left to kill a worker whose app does not come back.
                    shared.flush_log();
                    sys::exit_now(0);
                }
            }
            let ready = match self.next_turn() {
                Some(Turn::Held(key)) => {
                    let next = self.advance(shared, key);
                    if next.is_none() {
                        self.release_held();
                    }
                    next
                }
                Some(Turn::Connection(key)) => self.advance(shared, key),
                Some(Turn::Event(event)) => self.handle(shared, event),
                Some(Turn::Accept(index)) => {
                    self.accept(shared, index);
                    None
                }
                None => return Next::Wait,
            };
            if let Some(exchange) = ready {
                return Next::Exchange(exchange);
            }
        }
    }

    /// Polls, for `most_ms` milliseconds at most. Call it when `step` has nothing left.
    pub fn wait(&mut self, shared: &Shared, most_ms: i32) -> io::Result<()> {
        self.adjust_listening(shared);
        shared.flush_log();
        let mut timeout_ms = if self.open > 0 || self.leaving.is_some() { SWEEP_MS as i32 } else { -1 };
        if self.leaving.is_some() || self.accept_after_ms != 0 {
            timeout_ms = SHORT_WAIT_MS;
        }
        if most_ms < i32::MAX && (timeout_ms < 0 || most_ms < timeout_ms) {
            timeout_ms = most_ms;
        }
        if shared.begin_polling() || !self.again.is_empty() {
            timeout_ms = 0;
        }
        let result = self.poller.wait(timeout_ms);
        shared.end_polling();
        self.batch = result?;
        self.polled_us = sys::now_us();
        self.cursor = 0;
        self.begin_round();
        let now = sys::now_ms();
        if now >= self.next_sweep_ms {
            // A worker that leaves does not keep others waiting for half a second more.
            self.next_sweep_ms = now + if self.leaving.is_some() { SHORT_WAIT_MS as u64 } else { SWEEP_MS };
            self.sweep(shared, now);
        }
        Ok(())
    }

    /// Sends the responses that were held back for the next one, which does not come, or not soon.
    pub fn release_held(&mut self) {
        let Some(key) = self.held.take() else { return };
        let Some(connection) = self.connection(key) else { return };
        connection.socket.release_held();
        if matches!(connection.state, State::Idle) && connection.untried {
            self.look_again(key);
        }
    }

    fn handle(&mut self, shared: &Shared, event: Event) -> Option<Box<Exchange>> {
        match event.key {
            WAKE => self.wake.clear(),
            CONTROL => self.commands(shared),
            LIFELINE => self.orphaned(shared),
            HANDOFF => {
                self.receive_handoff(shared);
            }
            key if key >> GENERATION_SHIFT == 0 => self.accept(shared, (key - FIRST_LISTENER) as usize),
            key => return self.connection_event(shared, key, event),
        }
        None
    }

    fn connection_event(&mut self, shared: &Shared, key: u64, event: Event) -> Option<Box<Exchange>> {
        let connection = self.connection(key)?;
        if event.readable || event.hung_up {
            connection.readable = true;
        }
        connection.finished |= event.hung_up;
        let has_turn = connection.has_turn;
        if event.writable {
            self.flush(shared, key);
        }
        if (event.readable || event.hung_up) && !has_turn { self.advance(shared, key) } else { None }
    }

    /// Sends what the connection still has to send.
    fn flush(&mut self, shared: &Shared, key: u64) {
        let Some(connection) = self.connection(key) else { return };
        match connection.socket.flush() {
            Flushed::Empty => self.flushed(shared, key),
            Flushed::Yielded => self.look_again(key),
            Flushed::Full => {}
            // The app's thread learns it from its next write.
            Flushed::Broken(_) if matches!(connection.state, State::Away) => {}
            Flushed::Broken(gone) => {
                if gone.is_of_client() {
                    self.lost_response(shared, key);
                }
                self.close(shared, key);
            }
        }
    }

    /// Reads a connection and does what its bytes ask for; returns a request for the app if there is one.
    fn advance(&mut self, shared: &Shared, key: u64) -> Option<Box<Exchange>> {
        let mut connection = self.take(key)?;
        match connection.state {
            State::Away | State::Flushing { .. } => {
                self.put_back(connection);
                self.flush(shared, key);
                return None;
            }
            State::Lingering => {
                self.linger(shared, connection);
                return None;
            }
            State::Idle if self.parked && !connection.untried => {
                if self.hand_over(&connection) {
                    self.release(shared, connection);
                } else {
                    // The others take no more at the moment; the next sweep tries again.
                    self.put_back(connection);
                }
                return None;
            }
            // What a parked worker has read already nobody else can serve.
            State::Idle if self.away >= self.capacity || (self.paused && !self.parked) => {
                // Nobody is free here; the bytes stay in the kernel, and with them the right to go elsewhere.
                if !self.paused
                    && self.leaving.is_none_or(|leaving| leaving.hand_over)
                    && shared.plan.engine.multiprocess
                    && !connection.untried
                    && self.hand_over(&connection)
                {
                    self.release(shared, connection);
                } else {
                    connection.readable = true;
                    connection.deadline_ms = 0;
                    if !std::mem::replace(&mut connection.queued, true) {
                        self.waiting.push_back(key);
                    }
                    self.put_back(connection);
                }
                return None;
            }
            State::Idle | State::Head | State::Body(_) => {}
        }
        for _ in 0..READS_A_TURN {
            let protocol = self.listeners[connection.listener].protocol;
            let was_idle = matches!(connection.state, State::Idle);
            let verdict = if connection.untried {
                connection.ingest_buffered(protocol, &self.intake, &mut self.spares)
            } else {
                let (received, in_place) = match connection.receive_body() {
                    Some(received) => (received, true),
                    None => {
                        let limit = connection.read_limit(self.scratch.len());
                        let received = sys::recv(connection.socket.fd(), &mut self.scratch[..limit]);
                        (received.map(|count| (count, count == limit)), false)
                    }
                };
                match received {
                    Ok((0, _)) => {
                        self.ended(shared, connection);
                        return None;
                    }
                    Ok((count, is_full)) => {
                        connection.readable = is_full || connection.finished;
                        let data = if in_place { &[] } else { &self.scratch[..count] };
                        connection.ingest_fresh(data, protocol, &self.intake, &mut self.spares)
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        connection.readable = false;
                        self.rest(shared, connection);
                        return None;
                    }
                    Err(_) => {
                        self.discard(shared, connection);
                        return None;
                    }
                }
            };
            match verdict {
                Verdict::More => {
                    let now = sys::now_ms();
                    match connection.state {
                        State::Body(_) => connection.deadline_ms = now + self.body_timeout_ms,
                        // The head as a whole has this long, so that a byte now and then does not buy more time.
                        State::Head if was_idle => connection.deadline_ms = now + self.header_timeout_ms,
                        _ => {}
                    }
                    if !connection.readable && connection.socket.is_registered() {
                        self.put_back(connection);
                        return None;
                    }
                }
                Verdict::Ready(mut exchange) => {
                    connection.deadline_ms = 0;
                    exchange.more_follows = connection.untried;
                    self.put_back(connection);
                    return self.ready(shared, exchange);
                }
                Verdict::Ping => {
                    let _ = connection.socket.write(&[&[100, 0, 0, 1]], self.own_policy());
                    shared.note("PING");
                    self.last_response_written(shared, connection);
                    return None;
                }
                Verdict::Refuse(refusal) => {
                    self.refuse(shared, connection, &refusal);
                    return None;
                }
            }
        }
        self.put_back(connection);
        self.look_again(key);
        None
    }

    /// The kernel has no more bytes for this connection now.
    fn rest(&mut self, shared: &Shared, mut connection: Box<Connection>) {
        if matches!(connection.state, State::Idle) {
            if let Some(leaving) = self.leaving {
                self.part_from(shared, connection, leaving);
                return;
            }
            if self.parked && self.hand_over(&connection) {
                self.release(shared, connection);
                return;
            }
            let patience = if connection.served > 0 { self.keepalive_timeout_ms } else { self.header_timeout_ms };
            connection.deadline_ms = sys::now_ms() + patience;
        }
        if !connection.socket.is_registered()
            && let Err(error) = connection.socket.register(connection.key)
        {
            self.note(shared, &format!("a connection could not be watched: {error}"));
            self.discard(shared, connection);
            return;
        }
        self.put_back(connection);
    }

    /// The client closed its side.
    fn ended(&mut self, shared: &Shared, connection: Box<Connection>) {
        if matches!(connection.state, State::Body(_)) {
            shared.count_lost_request();
            self.note(shared, "499 - the client left in the middle of a request body; the app was not called");
        }
        // It may have closed its sending side only, and still read what it has asked for.
        connection.socket.release_held();
        if connection.socket.is_flushed() {
            self.discard(shared, connection);
        } else {
            self.last_response_written(shared, connection);
        }
    }

    // Requests.

    /// A request is complete: a static file answers it here, or the app shall.
    fn ready(&mut self, shared: &Shared, mut exchange: Box<Exchange>) -> Option<Box<Exchange>> {
        if self.keepalive_timeout_ms == 0 || self.leaving.is_some_and(|leaving| !leaving.hand_over) {
            exchange.keep_alive = false;
        }
        exchange.started_us = sys::now_us();
        if self.held_run == 0 {
            self.held_since_us = exchange.started_us;
        }
        exchange.more_follows &= self.held_run < HELD_MOST
            && exchange.started_us.saturating_sub(self.held_since_us) < HELD_US
            && exchange.started_us.saturating_sub(self.polled_us) < BATCH_US;
        self.away += 1;
        if let Some(forwarding) = &shared.forwarding
            && forwarding.apply(&mut exchange, &shared.proxies)
        {
            shared.notice_stranger(&exchange);
        }
        if let Some(ids) = &shared.request_ids {
            ids.name(&mut exchange);
        }
        if let Some(router) = &shared.router {
            exchange = self.route(shared, router, exchange)?;
        }
        if !shared.static_map.is_empty() && static_files::serves(exchange.method()) {
            match answers::look_up(shared, &exchange) {
                Lookup::Missing => {}
                Lookup::Refused(text) => self.note(shared, &text),
                Lookup::Unavailable(text) => {
                    self.away -= 1;
                    if let Some(connection) = self.take(exchange.key) {
                        self.refuse(shared, connection, &Refusal::unavailable(text).answering(exchange.method()));
                    }
                    return None;
                }
                Lookup::Found(found) => {
                    self.serve_file(shared, &mut exchange, found, Source::File);
                    self.complete(shared, exchange);
                    return None;
                }
            }
        }
        Some(exchange)
    }

    /// An exchange is over: its connection goes on, or ends.
    pub fn complete(&mut self, shared: &Shared, exchange: Box<Exchange>) {
        self.away -= 1;
        if self.detached.is_empty() || !self.was_detached(shared, exchange.key) {
            self.go_on(shared, &exchange);
        }
        self.spares.keep(exchange.into_parts());
    }

    fn go_on(&mut self, shared: &Shared, exchange: &Exchange) {
        if !self.listening && self.leaving.is_none() && !self.paused && self.accept_after_ms == 0 {
            self.unheard += 1;
            if self.unheard >= UNHEARD_MOST {
                self.unheard = 0;
                for index in 0..self.listeners.len() {
                    self.accept_up_to(shared, index, 1);
                }
            }
        }
        if self.held == Some(exchange.key) {
            // What was held has left with this response, or is held again with it.
            self.held = None;
        }
        let Some(mut connection) = self.take(exchange.key) else { return };
        let flushed = connection.socket.end_response();
        match exchange.report.ending {
            _ if connection.socket.is_broken() => self.discard(shared, connection),
            Ending::Reset => {
                sys::reset_on_close(connection.socket.fd());
                self.release(shared, connection);
            }
            Ending::KeepAlive if flushed && exchange.more_follows => {
                connection.state = State::Idle;
                let key = connection.key;
                self.put_back(connection);
                self.release_held();
                self.held = Some(key);
                self.held_run += 1;
            }
            Ending::KeepAlive if flushed => {
                self.held_run = 0;
                connection.state = State::Idle;
                self.idle(shared, connection);
            }
            Ending::Close | Ending::Cut if flushed => {
                if connection.untried || connection.readable || exchange.expects_more() {
                    self.begin_linger(shared, connection);
                } else {
                    self.discard(shared, connection);
                }
            }
            ending => {
                connection.state = State::Flushing { keep_alive: ending == Ending::KeepAlive };
                self.put_back(connection);
            }
        }
    }

    /// The response has left; the next request may be there already.
    fn idle(&mut self, shared: &Shared, connection: Box<Connection>) {
        let key = connection.key;
        if connection.untried || connection.readable {
            self.put_back(connection);
            self.look_again(key);
        } else {
            self.rest(shared, connection);
        }
    }

    /// Everything that was kept for this connection has been sent.
    fn flushed(&mut self, shared: &Shared, key: u64) {
        let Some(mut connection) = self.take(key) else { return };
        match connection.state {
            State::Flushing { keep_alive: true } => {
                connection.state = State::Idle;
                self.idle(shared, connection);
            }
            State::Flushing { keep_alive: false } => self.begin_linger(shared, connection),
            _ => self.put_back(connection),
        }
    }

    // Time.

    fn sweep(&mut self, shared: &Shared, now: u64) {
        let write_timeout_ms = u64::try_from(self.policy.timeout.as_millis()).unwrap_or(u64::MAX);
        for index in 0..self.slots.len() {
            let Some(connection) = self.slots[index].connection.as_deref() else { continue };
            let key = connection.key;
            let overdue = connection.deadline_ms != 0 && now >= connection.deadline_ms;
            match connection.state {
                State::Away => {}
                State::Flushing { .. } => {
                    let stalled = connection
                        .socket
                        .waiting_since_ms()
                        .is_some_and(|since| now.saturating_sub(since) >= write_timeout_ms);
                    if stalled {
                        self.note(shared, "a client took nothing of its response for too long; the connection was cut");
                        shared.count_lost_response();
                        self.close(shared, key);
                    }
                }
                State::Idle if self.leaving.is_some() || self.parked => self.look_again(key),
                State::Idle | State::Lingering if overdue => self.close(shared, key),
                State::Head | State::Body(_) if overdue => {
                    if let Some(connection) = self.take(key) {
                        let refusal = connection.overdue();
                        self.refuse(shared, connection, &refusal);
                    }
                }
                _ => {}
            }
        }
        for text in shared.store.take_notes() {
            shared.note(&text);
        }
        self.flush_note_limit(shared, now / 1000);
    }

    /// Logs a line that a client caused, within limits.
    fn note(&mut self, shared: &Shared, text: &str) {
        let second = sys::now_ms() / 1000;
        self.flush_note_limit(shared, second);
        if self.notes.count < NOTES_A_SECOND {
            self.notes.count += 1;
            shared.note(text);
        } else {
            self.notes.suppressed += 1;
        }
    }

    fn flush_note_limit(&mut self, shared: &Shared, second: u64) {
        if second == self.notes.second {
            return;
        }
        if self.notes.suppressed > 0 {
            shared.note(&format!("{} more lines of this kind were left out", self.notes.suppressed));
        }
        self.notes = NoteLimit { second, ..NoteLimit::default() };
    }
}
