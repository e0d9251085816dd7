//! The event loop of one worker: accepts, reads, writes, keeps time. Whoever runs it holds it exclusively.
//!
//! It never calls the app. `step` does what can be done without waiting and hands out complete requests; `wait` polls.
//! Strategy: a connection is registered once, edge-triggered, and read until the kernel has no more; a request that is
//! answered at once costs one `recv` and one `send`. A connection taken from the slab is put back or closed by the
//! function that took it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::SystemTime;

use crate::connection::{Connection, Intake, Refusal, State, Verdict};
use crate::exchange::Exchange;
use crate::plan::ListenerProtocol;
use crate::poller::{Epoll, Event, Interest, Poller};
use crate::response::{DateLine, Ending, Response};
use crate::scoreboard::{Finished, WorkerState};
use crate::socket::{Flushed, Gone, Socket, WritePolicy};
use crate::static_files::{self, Conditions, Lookup};
use crate::sys::{self, EventFd, Peer};
use crate::worker::{Shared, StopReason};

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
/// Connections that have more to do and are looked at between two polls, so that a pipeline can not keep the loop from
/// hearing of others.
const TURNS_A_POLL: usize = 32;
/// Exchanges that may end without a look at new connections, while kept ones fill the threads.
const UNHEARD_MOST: usize = 2;
/// How often deadlines are looked at. They are whole seconds to people, so that a second's delay is no matter.
const SWEEP_MS: u64 = 500;
/// How long a client may go on sending after its last response.
const LINGER_MS: u64 = 5000;
/// How long requests in flight may take when the master is gone.
const ORPHAN_MS: u64 = 1500;
/// How long a client that connected just before the end may take to send its request.
const FRESH_GRACE_MS: u64 = 1000;
/// How long to leave new connections alone when the process has no descriptor for them.
const ACCEPT_PAUSE_MS: u64 = 100;
/// The longest wait while something is due soon.
const SHORT_WAIT_MS: i32 = 50;
/// Refusals of clients that are logged in one second; the rest are counted.
const NOTES_A_SECOND: u32 = 10;

struct Listener {
    fd: RawFd,
    protocol: ListenerProtocol,
    name: String,
    is_unix: bool,
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
    /// Connections to look at without a new event.
    again: VecDeque<u64>,
    /// Connections with unread bytes that wait for a free app thread.
    waiting: VecDeque<u64>,
    /// Entries of `again` that may still be looked at before the next poll.
    turns: usize,
    /// Exchanges that ended since new connections were last looked at.
    unheard: usize,
    batch: usize,
    cursor: usize,
    scratch: Vec<u8>,
    intake: Intake,
    policy: WritePolicy,
    header_timeout_ms: u64,
    body_timeout_ms: u64,
    keepalive_timeout_ms: u64,
    /// Exchanges that are with app threads or in their queue.
    away: usize,
    threads: usize,
    paused: bool,
    leaving: Option<Leaving>,
    next_sweep_ms: u64,
    /// No new connections before this time; 0 for no such pause.
    accept_after_ms: u64,
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
            again: VecDeque::new(),
            waiting: VecDeque::new(),
            turns: TURNS_A_POLL,
            unheard: 0,
            batch: 0,
            cursor: 0,
            scratch: vec![0; SCRATCH_BYTES],
            intake: Intake {
                limits: wire::Limits {
                    head_bytes: engine.head_limit_bytes,
                    header_count: engine.header_limit_count,
                    body_bytes: engine.body_limit_bytes,
                    ..wire::Limits::default()
                },
                body_memory_bytes: engine.body_memory_bytes,
                spool_dir: std::path::Path::new(&engine.spool_dir).into(),
            },
            policy: shared.write_policy(),
            header_timeout_ms: ms(engine.header_timeout_s),
            body_timeout_ms: ms(engine.body_timeout_s),
            keepalive_timeout_ms: ms(engine.keepalive_timeout_s),
            away: 0,
            threads: engine.threads,
            paused: false,
            leaving: None,
            next_sweep_ms: 0,
            accept_after_ms: 0,
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
                if self.away == 0 || leaving.reason == StopReason::Stopped {
                    return Next::Leave(leaving.reason);
                }
                if leaving.reason == StopReason::Orphaned {
                    // Nobody is left to kill a worker whose app does not come back.
                    shared.flush_log();
                    sys::exit_now(0);
                }
            }
            let ready = if self.away < self.threads
                && !self.paused
                && let Some(key) = self.waiting.pop_front()
            {
                if let Some(connection) = self.connection(key) {
                    connection.queued = false;
                }
                self.advance(shared, key)
            } else if self.cursor < self.batch {
                let event = self.poller.event(self.cursor);
                self.cursor += 1;
                self.handle(shared, event)
            } else if self.turns > 0
                && let Some(key) = self.again.pop_front()
            {
                self.turns -= 1;
                self.advance(shared, key)
            } else {
                return Next::Wait;
            };
            if let Some(exchange) = ready {
                return Next::Exchange(exchange);
            }
        }
    }

    /// Polls. Call it when `step` has nothing left.
    pub fn wait(&mut self, shared: &Shared) -> io::Result<()> {
        self.adjust_listening(shared);
        shared.flush_log();
        let mut timeout_ms = if self.open > 0 || self.leaving.is_some() { SWEEP_MS as i32 } else { -1 };
        if self.leaving.is_some() || self.accept_after_ms != 0 {
            timeout_ms = SHORT_WAIT_MS;
        }
        if shared.begin_polling() || !self.again.is_empty() {
            timeout_ms = 0;
        }
        self.turns = TURNS_A_POLL;
        let result = self.poller.wait(timeout_ms);
        shared.end_polling();
        self.batch = result?;
        self.cursor = 0;
        let now = sys::now_ms();
        if now >= self.next_sweep_ms {
            self.next_sweep_ms = now + SWEEP_MS;
            self.sweep(shared, now);
        }
        Ok(())
    }

    /// Takes new connections only while there is a thread to serve them: what stays in the kernel's queue can be taken
    /// by another worker.
    fn adjust_listening(&mut self, shared: &Shared) {
        let wanted = self.away < self.threads
            && !self.paused
            && self.leaving.is_none()
            && (self.accept_after_ms == 0 || sys::now_ms() >= self.accept_after_ms);
        if wanted {
            self.accept_after_ms = 0;
        }
        if wanted == self.listening {
            return;
        }
        self.listening = wanted;
        for (index, listener) in self.listeners.iter().enumerate() {
            if wanted {
                if let Err(error) = self.poller.add(listener.fd, FIRST_LISTENER + index as u64, Interest::Shared) {
                    shared.note(&format!("can not listen on {}: {error}", listener.name));
                }
            } else {
                self.poller.remove(listener.fd);
            }
        }
        if self.handoff_receive >= 0 {
            if wanted {
                let _ = self.poller.add(self.handoff_receive, HANDOFF, Interest::Shared);
            } else {
                self.poller.remove(self.handoff_receive);
            }
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
        if event.writable {
            self.flush(shared, key);
        }
        if event.readable || event.hung_up { self.advance(shared, key) } else { None }
    }

    /// Sends what the connection still has to send.
    fn flush(&mut self, shared: &Shared, key: u64) {
        let Some(connection) = self.connection(key) else { return };
        match connection.socket.flush() {
            Flushed::Empty => self.flushed(shared, key),
            Flushed::Yielded => self.again.push_back(key),
            Flushed::Full => {}
            // The app's thread learns it from its next write.
            Flushed::Broken(_) if matches!(connection.state, State::Away) => {}
            Flushed::Broken(_) => self.close(shared, key),
        }
    }

    // Slab.

    fn insert(&mut self, shared: &Shared, make: impl FnOnce(u64) -> Connection) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1).max(1);
        let key = u64::from(slot.generation) << GENERATION_SHIFT | u64::from(index);
        let connection = Box::new(make(key));
        connection.socket.set_key(key);
        slot.connection = Some(connection);
        self.open += 1;
        shared.board_connections(self.open);
        key
    }

    fn slot(&mut self, key: u64) -> Option<&mut Slot> {
        let slot = self.slots.get_mut((key & 0xffff_ffff) as usize)?;
        (u64::from(slot.generation) == key >> GENERATION_SHIFT).then_some(slot)
    }

    fn connection(&mut self, key: u64) -> Option<&mut Connection> {
        self.slot(key)?.connection.as_deref_mut()
    }

    fn take(&mut self, key: u64) -> Option<Box<Connection>> {
        self.slot(key)?.connection.take()
    }

    fn put_back(&mut self, connection: Box<Connection>) {
        if let Some(slot) = self.slot(connection.key) {
            slot.connection = Some(connection);
        }
    }

    /// Ends a connection that is in the slab.
    fn close(&mut self, shared: &Shared, key: u64) {
        if let Some(connection) = self.take(key) {
            self.discard(shared, connection);
        }
    }

    /// Ends a connection that was taken from the slab.
    fn discard(&mut self, shared: &Shared, connection: Box<Connection>) {
        if shared.has_children() {
            // They may have inherited the descriptor: then closing ours would not end the connection.
            sys::shutdown_write(connection.socket.fd());
        }
        self.release(shared, connection);
    }

    /// Forgets a connection that was taken from the slab; it may live on elsewhere.
    #[expect(clippy::boxed_local, reason = "the slab's box is what ends here")]
    fn release(&mut self, shared: &Shared, connection: Box<Connection>) {
        connection.socket.abandon(Gone::Disconnected);
        self.free.push((connection.key & 0xffff_ffff) as u32);
        if let Some(slot) = self.slot(connection.key) {
            slot.generation = slot.generation.wrapping_add(1).max(1);
        }
        self.open -= 1;
        shared.board_connections(self.open);
    }

    // Coming in.

    fn accept(&mut self, shared: &Shared, index: usize) {
        let free = self.threads.saturating_sub(self.away);
        self.accept_up_to(shared, index, free + 1);
    }

    fn accept_up_to(&mut self, shared: &Shared, index: usize, most: usize) {
        let Some(listener) = self.listeners.get(index).filter(|listener| listener.fd >= 0) else { return };
        let (fd, is_tcp) = (listener.fd, !listener.is_unix);
        for _ in 0..most {
            match sys::accept(fd) {
                Ok((connection, peer)) => {
                    let trusted = shared.trusts(peer);
                    let socket = Arc::new(Socket::new(connection, is_tcp, self.poller.handle()));
                    let key = self.insert(shared, |key| Connection::new(key, socket, index, peer, trusted));
                    self.again.push_back(key);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    // It does not listen any more: the instance ends, and this worker is about to be told so.
                    self.poller.remove(fd);
                    return;
                }
                Err(error) => {
                    // Out of descriptors or memory: the connection stays in the kernel's queue for a moment, because
                    // trying again at once would only burn the processor.
                    self.accept_after_ms = sys::now_ms() + ACCEPT_PAUSE_MS;
                    self.note(shared, &format!("accept() on {} failed: {error}", self.listeners[index].name));
                    return;
                }
            }
        }
    }

    /// Takes one connection from the queue that all workers share; false if there was none.
    fn receive_handoff(&mut self, shared: &Shared) -> bool {
        let mut text = [0_u8; 512];
        let (length, fd) = match sys::receive_descriptor(self.handoff_receive, &mut text) {
            Ok((length, Some(fd))) => (length, fd),
            Ok(_) => return true,
            Err(_) => return false,
        };
        let (protocol, name) = match text[..length].split_first() {
            Some((b'h', name)) => (ListenerProtocol::Http, name),
            Some((b'u', name)) => (ListenerProtocol::Uwsgi, name),
            _ => return true,
        };
        let listener = self
            .listeners
            .iter()
            .position(|listener| listener.protocol == protocol && listener.name.as_bytes() == name)
            .or_else(|| self.listeners.iter().position(|listener| listener.protocol == protocol));
        let (Some(listener), Ok(peer)) = (listener, sys::peer_name(fd.as_raw_fd())) else { return true };
        let trusted = shared.trusts(peer);
        let socket = Arc::new(Socket::new(fd, !self.listeners[listener].is_unix, self.poller.handle()));
        let key = self.insert(shared, |key| {
            let mut connection = Connection::new(key, socket, listener, peer, trusted);
            // It has been served before: its patience is that of a kept connection.
            connection.served = 1;
            connection
        });
        self.again.push_back(key);
        true
    }

    /// Gives an idle connection to whichever worker takes it first. False if that is not possible now.
    fn hand_over(&mut self, connection: &Connection) -> bool {
        if self.handoff_send < 0 || !connection.buffer.is_empty() || !connection.socket.is_flushed() {
            return false;
        }
        let listener = &self.listeners[connection.listener];
        let mut text = vec![if listener.protocol == ListenerProtocol::Http { b'h' } else { b'u' }];
        text.extend_from_slice(listener.name.as_bytes());
        if sys::send_descriptor(self.handoff_send, &text, connection.socket.fd()).is_err() {
            return false;
        }
        if connection.socket.is_registered() {
            self.poller.remove(connection.socket.fd());
            connection.socket.forget();
        }
        true
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
            State::Idle if self.away >= self.threads || self.paused => {
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
                connection.untried = false;
                let buffered = std::mem::take(&mut connection.buffer);
                connection.ingest(&buffered, protocol, &self.intake)
            } else {
                let limit = connection.read_limit(self.scratch.len());
                match sys::recv(connection.socket.fd(), &mut self.scratch[..limit]) {
                    Ok(0) => {
                        self.ended(shared, connection);
                        return None;
                    }
                    Ok(count) => {
                        connection.readable = count == limit || connection.finished;
                        connection.ingest(&self.scratch[..count], protocol, &self.intake)
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
                Verdict::Ready(exchange) => {
                    connection.deadline_ms = 0;
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
        self.again.push_back(key);
        None
    }

    /// The kernel has no more bytes for this connection now.
    fn rest(&mut self, shared: &Shared, mut connection: Box<Connection>) {
        if matches!(connection.state, State::Idle) {
            if let Some(leaving) = self.leaving {
                self.part_from(shared, connection, leaving);
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

    /// An idle connection of a worker that leaves.
    fn part_from(&mut self, shared: &Shared, mut connection: Box<Connection>, leaving: Leaving) {
        if leaving.hand_over {
            if self.hand_over(&connection) {
                self.release(shared, connection);
            } else {
                // The others take no more at the moment; the next sweep tries again.
                self.put_back(connection);
            }
            return;
        }
        // A client that has just connected is about to send its request.
        let now = sys::now_ms();
        let grace_ends = now + FRESH_GRACE_MS;
        if connection.served == 0 && (connection.deadline_ms == 0 || now < connection.deadline_ms) {
            connection.deadline_ms =
                if connection.deadline_ms == 0 { grace_ends } else { connection.deadline_ms.min(grace_ends) };
            if connection.socket.register(connection.key).is_ok() {
                self.put_back(connection);
                return;
            }
        }
        self.discard(shared, connection);
    }

    /// The client closed its side.
    fn ended(&mut self, shared: &Shared, connection: Box<Connection>) {
        if matches!(connection.state, State::Body(_)) {
            self.note(shared, "the client left in the middle of a request body; the app was not called");
        }
        self.discard(shared, connection);
    }

    // Answers of the engine itself.

    /// The loop never waits for a client: what of its own short answers does not fit into the socket is kept.
    fn own_policy(&self) -> WritePolicy {
        WritePolicy { buffer_bytes: usize::MAX, ..self.policy }
    }

    fn refuse(&mut self, shared: &Shared, connection: Box<Connection>, refusal: &Refusal) {
        shared.count_refusal();
        let client = match connection.peer {
            Peer::Inet(address) => address.ip().to_string(),
            Peer::Unix => self.listeners[connection.listener].name.clone(),
        };
        self.note(
            shared,
            &format!("refused a request of {client}: {} {} - {}", refusal.status, refusal.code, refusal.explanation),
        );
        if refusal.status == 0 {
            self.discard(shared, connection);
            return;
        }
        let reason = wire::response::reason(refusal.status);
        let body = format!("{} {reason}\n{}\n", refusal.status, refusal.explanation);
        let date = self.date.at(sys::epoch_s());
        let answer = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\nDate: {}\r\n\r\n{body}",
            refusal.status,
            body.len(),
            String::from_utf8_lossy(&date),
        );
        let _ = connection.socket.write(&[answer.as_bytes()], self.own_policy());
        self.last_response_written(shared, connection);
    }

    /// The connection ends when what was written has left and the client has stopped sending.
    fn last_response_written(&mut self, shared: &Shared, mut connection: Box<Connection>) {
        if connection.socket.is_flushed() {
            self.begin_linger(shared, connection);
        } else {
            connection.state = State::Flushing { keep_alive: false };
            connection.readable = true;
            self.put_back(connection);
        }
    }

    fn begin_linger(&mut self, shared: &Shared, mut connection: Box<Connection>) {
        sys::shutdown_write(connection.socket.fd());
        connection.state = State::Lingering;
        connection.buffer = Vec::new();
        connection.untried = false;
        connection.deadline_ms = sys::now_ms() + LINGER_MS;
        self.linger(shared, connection);
    }

    fn linger(&mut self, shared: &Shared, connection: Box<Connection>) {
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
        self.again.push_back(key);
    }

    // Requests.

    /// A request is complete: a static file answers it here, or the app shall.
    fn ready(&mut self, shared: &Shared, mut exchange: Box<Exchange>) -> Option<Box<Exchange>> {
        if self.keepalive_timeout_ms == 0 || self.leaving.is_some_and(|leaving| !leaving.hand_over) {
            exchange.keep_alive = false;
        }
        exchange.started_us = sys::now_us();
        self.away += 1;
        if !shared.static_map.is_empty() && static_files::serves(exchange.method()) {
            match shared.static_map.lookup(exchange.path()) {
                Lookup::Missing => {}
                Lookup::Refused(text) => self.note(shared, &text),
                Lookup::Found(found) => {
                    self.serve_file(shared, &mut exchange, found);
                    self.complete(shared, exchange);
                    return None;
                }
            }
        }
        Some(exchange)
    }

    fn serve_file(&mut self, shared: &Shared, exchange: &mut Exchange, found: static_files::Found) {
        let date = self.date.at(sys::epoch_s());
        let header = |name: &[u8], var: &[u8]| {
            exchange.header(name).or_else(|| Some(exchange.var(var)).filter(|value| !value.is_empty()))
        };
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
            (Vec::new(), Vec::new()),
        );
        let reason = wire::response::reason(answer.status);
        let mut fine = response.start(format!("{} {reason}", answer.status).as_bytes(), false).is_ok();
        for (name, value) in &answer.headers {
            fine = fine && response.header(name.as_bytes(), value.as_bytes()).is_ok();
        }
        if !fine {
            response.replace_with_error();
        } else if let Some(body) = answer.body {
            let _ = response.file(body.file.into(), body.offset, body.length);
        }
        exchange.take_report(response, false, 0);
        let done = Finished {
            tx_bytes: exchange.report.header_bytes + exchange.report.body_bytes,
            elapsed_us: sys::now_us().saturating_sub(exchange.started_us),
            exception: false,
        };
        shared.board_static(&done);
        shared.log_exchange(exchange, 0, done.elapsed_us, true);
    }

    /// An exchange is over: its connection goes on, or ends.
    pub fn complete(&mut self, shared: &Shared, exchange: Box<Exchange>) {
        self.away -= 1;
        if !self.listening && self.leaving.is_none() && !self.paused && self.accept_after_ms == 0 {
            self.unheard += 1;
            if self.unheard >= UNHEARD_MOST {
                self.unheard = 0;
                for index in 0..self.listeners.len() {
                    self.accept_up_to(shared, index, 1);
                }
            }
        }
        let Some(mut connection) = self.take(exchange.key) else { return };
        let flushed = connection.socket.is_flushed();
        match exchange.report.ending {
            _ if connection.socket.is_broken() => self.discard(shared, connection),
            Ending::Reset => {
                sys::reset_on_close(connection.socket.fd());
                self.release(shared, connection);
            }
            Ending::KeepAlive if flushed => {
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
            self.again.push_back(key);
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
                        self.close(shared, key);
                    }
                }
                State::Idle if self.leaving.is_some() => self.again.push_back(key),
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

    // The master.

    fn commands(&mut self, shared: &Shared) {
        let mut text = [0_u8; 256];
        loop {
            match sys::recv(self.control, &mut text) {
                Ok(0) => {
                    self.poller.remove(self.control);
                    self.orphaned(shared);
                    return;
                }
                Ok(length) => self.command(shared, &text[..length]),
                Err(_) => return,
            }
        }
    }

    fn command(&mut self, shared: &Shared, command: &[u8]) {
        match command {
            b"drain" | b"retire" => self.leave(shared, StopReason::Drained, command == b"retire"),
            b"stop" => self.leave(shared, StopReason::Stopped, false),
            b"pause" if !self.paused => {
                self.paused = true;
                shared.set_state(WorkerState::Paused);
            }
            b"resume" if self.paused => {
                self.paused = false;
                shared.set_state(WorkerState::Accepting);
            }
            b"pause" | b"resume" => {}
            other => shared.note(&format!("unknown command of the master: {}", String::from_utf8_lossy(other))),
        }
    }

    fn orphaned(&mut self, shared: &Shared) {
        self.poller.remove(self.lifeline);
        if self.leaving.is_some_and(|leaving| leaving.reason == StopReason::Orphaned) {
            return;
        }
        shared.note(&format!(
            "worker {} error: the master is gone. Finishing what is in flight, then leaving.",
            shared.plan.worker_id
        ));
        self.leave(shared, StopReason::Orphaned, false);
    }

    fn leave(&mut self, shared: &Shared, reason: StopReason, hand_over: bool) {
        // A hurried end may overtake a patient one, and an end of all the end of one worker; not the other way round.
        if let Some(leaving) = self.leaving {
            let overtakes = reason != StopReason::Drained || (leaving.hand_over && !hand_over);
            if leaving.reason != StopReason::Drained || !overtakes {
                return;
            }
        }
        let patience_ms = match reason {
            StopReason::Drained => (shared.plan.engine.drain_timeout_s * 1000.0) as u64,
            StopReason::Stopped => 0,
            StopReason::Orphaned => ORPHAN_MS,
        };
        if reason == StopReason::Drained && !hand_over {
            // These clients have been told that they are connected, and nobody else will serve them. After them the
            // socket refuses: everybody who shares it leaves.
            for index in 0..self.listeners.len() {
                self.accept_up_to(shared, index, usize::from(u16::MAX));
                sys::shutdown_listener(self.listeners[index].fd);
            }
        }
        if reason == StopReason::Drained && !hand_over && self.handoff_receive >= 0 {
            // Connections on their way between workers: nobody else will look for them.
            while self.receive_handoff(shared) {}
        }
        self.leaving = Some(Leaving { reason, hand_over, deadline_ms: sys::now_ms() + patience_ms });
        shared.leave();
        self.paused = false;
        self.adjust_listening(shared);
        for listener in &mut self.listeners {
            // A successor can bind the address at once, whatever this worker still has to finish.
            sys::close(std::mem::replace(&mut listener.fd, -1));
        }
        if !hand_over {
            // Answers that are still to begin say so; otherwise the client would send its next request into a closed
            // connection.
            for connection in self.slots.iter().filter_map(|slot| slot.connection.as_deref()) {
                connection.socket.close_after_this();
            }
        }
        let idle: Vec<u64> = self
            .slots
            .iter()
            .filter_map(|slot| slot.connection.as_deref())
            .filter(|connection| matches!(connection.state, State::Idle))
            .map(|connection| connection.key)
            .collect();
        self.again.extend(idle);
        self.again.extend(self.waiting.drain(..));
    }
}
