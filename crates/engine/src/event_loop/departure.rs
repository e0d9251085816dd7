//! What the master says, and how a worker leaves: at once, when its work is done, or because the master is gone.

use std::time::Duration;

use super::{EventLoop, FRESH_GRACE_MS, LAST_LINGER_MS, Leaving, ORPHAN_MS};
use crate::connection::{Connection, State};
use crate::plan::ListenerProtocol;
use crate::poller::Poller;
use crate::scoreboard::WorkerState;
use crate::sys;
use crate::worker::{Shared, StopReason};

/// How long handshakes that have begun are waited for when the instance ends: what a local network needs.
const LAST_HANDSHAKES: Duration = Duration::from_millis(5);

/// How long a web server before this one may take to send the request that it has just connected for. It never connects
/// in advance, as browsers do, but it may have to wait for a processor.
const PROXY_GRACE_MS: u64 = 2000;

impl EventLoop {
    /// An idle connection of a worker that leaves.
    pub(super) fn part_from(&mut self, shared: &Shared, mut connection: Box<Connection>, leaving: Leaving) {
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
        let listener = &self.listeners[connection.listener];
        let is_of_a_proxy = listener.is_unix || listener.protocol == ListenerProtocol::Uwsgi;
        let grace_ends = now + if is_of_a_proxy { PROXY_GRACE_MS } else { FRESH_GRACE_MS };
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

    pub(super) fn commands(&mut self, shared: &Shared) {
        let mut text = [0_u8; 256];
        loop {
            match sys::receive_descriptor(self.control, &mut text) {
                Ok((0, _)) => {
                    self.poller.remove(self.control);
                    self.orphaned(shared);
                    return;
                }
                Ok((length, Some(fd))) => shared.logs.move_to(&shared.plan, &text[..length], fd),
                Ok((length, None)) if text[..length].ends_with(b"log") => {
                    shared.note("this worker goes on in its old log file: no descriptor is free for the new one");
                }
                Ok((length, None)) => self.command(shared, &text[..length]),
                Err(_) => return,
            }
        }
    }

    pub(super) fn command(&mut self, shared: &Shared, command: &[u8]) {
        match command {
            b"drain" => {
                self.refuse_newcomers(shared);
                self.leave(shared, StopReason::Drained, false);
            }
            b"retire" => self.leave(shared, StopReason::Drained, true),
            // Nobody else is there now, but somebody will be: who connects meanwhile waits in the kernel's queue.
            b"rest" => self.leave(shared, StopReason::Drained, false),
            b"stop" => self.leave(shared, StopReason::Stopped, false),
            b"farewell" => {
                // No connection goes on after its next answer, and those say so.
                self.keepalive_timeout_ms = 0;
                self.close_after_answers();
            }
            b"pause" if !self.paused => {
                self.paused = true;
                shared.set_state(WorkerState::Paused);
            }
            b"park" => {
                self.paused = true;
                self.parked = true;
                shared.set_state(WorkerState::Paused);
                self.adjust_listening(shared);
                self.look_at_idle();
            }
            b"resume" if self.paused => {
                self.paused = false;
                shared.set_state(WorkerState::Accepting);
                if std::mem::take(&mut self.parked) {
                    self.look_at_idle();
                }
            }
            b"pause" | b"resume" => {}
            other => shared.note(&format!("unknown command of the master: {}", String::from_utf8_lossy(other))),
        }
    }

    /// Takes who has connected already, and lets the listeners refuse: the whole instance ends.
    fn refuse_newcomers(&mut self, shared: &Shared) {
        if self.leaving.is_some() {
            return;
        }
        // Clients that have been told that they are connected are served by nobody else; everybody who shares these
        // sockets leaves. One that is kept for the next instance goes on to hold them.
        let (tcp, others): (Vec<usize>, Vec<usize>) = (0..self.listeners.len())
            .partition(|&index| !self.listeners[index].is_unix && !self.listeners[index].is_kept);
        for &index in &others {
            // A unix socket that was shut down refuses, and still gives out who had come before.
            if !self.listeners[index].is_kept {
                sys::shutdown_listener(self.listeners[index].fd);
            }
            self.accept_up_to(shared, index, usize::from(u16::MAX));
        }
        // One of TCP would reset them.
        for &index in &tcp {
            sys::overlook_newcomers(self.listeners[index].fd);
            self.accept_up_to(shared, index, usize::from(u16::MAX));
        }
        if !tcp.is_empty() {
            std::thread::sleep(LAST_HANDSHAKES);
        }
        for &index in &tcp {
            self.accept_up_to(shared, index, usize::from(u16::MAX));
            sys::shutdown_listener(self.listeners[index].fd);
        }
    }

    pub(super) fn orphaned(&mut self, shared: &Shared) {
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

    /// Answers that are still to begin say that they are the last ones; otherwise the client would send its next request
    /// into a closed connection.
    fn close_after_answers(&self) {
        for connection in self.slots.iter().filter_map(|slot| slot.connection.as_deref()) {
            connection.socket.close_after_this();
        }
    }

    pub(super) fn leave(&mut self, shared: &Shared, reason: StopReason, hand_over: bool) {
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
        self.leaving = Some(Leaving { reason, hand_over, deadline_ms: sys::now_ms() + patience_ms });
        shared.leave();
        self.paused = false;
        self.parked = false;
        self.adjust_listening(shared);
        for listener in &mut self.listeners {
            // A successor can bind the address at once, whatever this worker still has to finish.
            sys::close(std::mem::replace(&mut listener.fd, -1));
        }
        if reason == StopReason::Drained && !hand_over && self.handoff_receive >= 0 {
            // Connections on their way between workers: nobody else will look for them. The listeners' descriptors are
            // free for them now.
            while self.receive_handoff(shared) {}
        }
        if !hand_over {
            self.close_after_answers();
            let last = sys::now_ms() + LAST_LINGER_MS;
            for connection in self.slots.iter_mut().filter_map(|slot| slot.connection.as_deref_mut()) {
                if matches!(connection.state, State::Lingering) {
                    connection.deadline_ms = connection.deadline_ms.min(last);
                }
            }
        }
        self.next_sweep_ms = 0;
        self.look_at_idle();
    }

    /// Has every connection without a request looked at once more: what becomes of it has changed.
    fn look_at_idle(&mut self) {
        let idle: Vec<u64> = self
            .slots
            .iter()
            .filter_map(|slot| slot.connection.as_deref())
            .filter(|connection| matches!(connection.state, State::Idle))
            .map(|connection| connection.key)
            .collect();
        for key in idle {
            self.look_again(key);
        }
        for key in std::mem::take(&mut self.waiting) {
            if let Some(connection) = self.connection(key) {
                connection.queued = false;
            }
            self.look_again(key);
        }
    }
}
