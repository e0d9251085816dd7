//! How connections come to a worker, from its listeners and from other workers, and how they go on to others.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use super::{ACCEPT_PAUSE_MS, EventLoop, FIRST_LISTENER, HANDOFF};
use crate::connection::{Connection, Proxied};
use crate::plan::ListenerProtocol;
use crate::poller::{Interest, Poller};
use crate::socket::Socket;
use crate::sys::{self, Peer};
use crate::worker::Shared;

/// Ends the text that goes with a connection whose client the PROXY protocol leaves unnamed.
const NAMELESS: &[u8] = b"\0-";

/// What goes with a connection from worker to worker: the length of a text that says where it came from, that text, and
/// bytes that were read from it already.
fn split_datagram(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = datagram.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

impl EventLoop {
    /// Takes new connections only while there is a thread to serve them: what stays in the kernel's queue can be taken
    /// by another worker.
    pub(super) fn adjust_listening(&mut self, shared: &Shared) {
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

    pub(super) fn accept(&mut self, shared: &Shared, index: usize) {
        let free = self.threads.saturating_sub(self.away);
        // No more than one beyond what can be served at once: what is in the kernel's queue survives a worker that does
        // not. There may be more behind it, which is looked at without a poll in between.
        self.backlog = self.accept_up_to(shared, index, free + 1).then_some(index);
    }

    /// Whether it took that many, so that there may be more.
    pub(super) fn accept_up_to(&mut self, shared: &Shared, index: usize, most: usize) -> bool {
        let Some(listener) = self.listeners.get(index).filter(|listener| listener.fd >= 0) else { return false };
        let (fd, is_tcp) = (listener.fd, !listener.is_unix);
        let takes_proxy_headers = shared.plan.engine.proxy_protocol && listener.protocol == ListenerProtocol::Http;
        for _ in 0..most {
            match sys::accept(fd) {
                Ok((connection, peer)) => {
                    shared.board_accepted();
                    let trusted = shared.trusts(peer);
                    let socket = Arc::new(Socket::new(connection, is_tcp, self.poller.handle(), &shared.store));
                    let proxied = if trusted && takes_proxy_headers { Proxied::Awaited } else { Proxied::No };
                    let key = self.insert(shared, |key| {
                        let mut connection = Connection::new(key, socket, index, peer, trusted);
                        connection.proxied = proxied;
                        connection
                    });
                    self.newcomers.push_back(key);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if std::mem::take(&mut self.is_starved) {
                        shared.note("new connections are accepted again");
                    }
                    return false;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    // It does not listen any more: the instance ends, and this worker is about to be told so.
                    self.poller.remove(fd);
                    return false;
                }
                Err(error) => {
                    let what = format!("accept() on {} failed", self.listeners[index].name);
                    self.starve(shared, &what, &error);
                    return false;
                }
            }
        }
        true
    }

    /// Out of descriptors or memory: connections stay in the kernel's queues for a moment, because trying again at once
    /// would only burn the processor. Said once, until all that waited have been taken.
    fn starve(&mut self, shared: &Shared, what: &str, error: &io::Error) {
        self.accept_after_ms = sys::now_ms() + ACCEPT_PAUSE_MS;
        if !std::mem::replace(&mut self.is_starved, true) {
            let cure = sys::shortage_cure(error).unwrap_or("this is tried again ten times a second");
            shared.note(&format!("{what}: {error}; new connections wait. {cure}"));
        }
    }

    /// Takes one connection from the queue that all workers share; false if there was none, or no descriptor for it.
    pub(super) fn receive_handoff(&mut self, shared: &Shared) -> bool {
        // The kernel throws away a descriptor that the process has no number for, and the connection with it.
        if self.reserve.is_none() {
            match sys::duplicate(self.handoff_receive) {
                Ok(reserve) => self.reserve = Some(reserve),
                Err(error) => {
                    self.starve(shared, "a connection of another worker can not be taken over", &error);
                    return false;
                }
            }
        }
        let mut datagram = std::mem::take(&mut self.scratch);
        drop(self.reserve.take());
        let received = sys::receive_descriptor(self.handoff_receive, &mut datagram);
        self.reserve = sys::duplicate(self.handoff_receive).ok();
        let is_taken = match received {
            Ok((length, Some(fd))) => {
                self.take_over(shared, &datagram[..length], fd);
                true
            }
            Ok(_) => true,
            Err(_) => false,
        };
        self.scratch = datagram;
        is_taken
    }

    fn take_over(&mut self, shared: &Shared, datagram: &[u8], fd: OwnedFd) {
        let Some((text, request)) = split_datagram(datagram) else { return };
        // Behind a NUL: what the PROXY protocol said (no address: it named nobody), or nothing if it has yet to say it.
        let (text, client) = match memchr::memchr(0, text) {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        // In a capital where nothing was served on it yet.
        let (protocol, name) = match text.split_first() {
            Some((b'h' | b'H', name)) => (ListenerProtocol::Http, name),
            Some((b'u' | b'U', name)) => (ListenerProtocol::Uwsgi, name),
            _ => return,
        };
        let is_fresh = text[0].is_ascii_uppercase();
        let listener = self
            .listeners
            .iter()
            .position(|listener| listener.protocol == protocol && listener.name.as_bytes() == name)
            .or_else(|| self.listeners.iter().position(|listener| listener.protocol == protocol));
        let (Some(listener), Ok(peer)) = (listener, sys::peer_name(fd.as_raw_fd())) else { return };
        let named = client.and_then(|client| std::str::from_utf8(client).ok()?.parse().ok());
        let peer = named.map_or(peer, Peer::Inet);
        let proxied = match client {
            None => Proxied::No,
            Some(b"") => Proxied::Awaited,
            Some(_) if named.is_some() => Proxied::Named,
            Some(_) => Proxied::Unnamed,
        };
        let trusted = proxied != Proxied::Unnamed && shared.trusts(peer);
        let socket = Arc::new(Socket::new(fd, !self.listeners[listener].is_unix, self.poller.handle(), &shared.store));
        let key = self.insert(shared, |key| {
            let mut connection = Connection::new(key, socket, listener, peer, trusted);
            // One that was served before has the patience of a kept connection. One that was not is about to send its
            // first request, which is waited for at the end of an instance too.
            connection.served = u64::from(!is_fresh);
            connection.proxied = proxied;
            connection.buffer = request.to_vec();
            connection.untried = !request.is_empty();
            connection
        });
        self.newcomers.push_back(key);
    }

    /// Gives an idle connection to whichever worker takes it first. False if that is not possible now.
    pub(super) fn hand_over(&mut self, connection: &Connection) -> bool {
        self.hand_over_with(connection, b"")
    }

    /// As `hand_over`, with bytes that were read from it already.
    pub(super) fn hand_over_with(&mut self, connection: &Connection, request: &[u8]) -> bool {
        if self.handoff_send < 0 || !connection.buffer.is_empty() || !connection.socket.is_flushed() {
            return false;
        }
        let listener = &self.listeners[connection.listener];
        let mut text = vec![if listener.protocol == ListenerProtocol::Http { b'h' } else { b'u' }];
        if connection.served == 0 {
            text.make_ascii_uppercase();
        }
        text.extend_from_slice(listener.name.as_bytes());
        match (connection.proxied, connection.peer) {
            (Proxied::No, _) => {}
            (Proxied::Awaited, _) => text.push(0),
            (Proxied::Named, Peer::Inet(client)) => {
                text.push(0);
                text.extend_from_slice(client.to_string().as_bytes());
            }
            (Proxied::Unnamed | Proxied::Named, _) => text.extend_from_slice(NAMELESS),
        }
        let Ok(length) = u16::try_from(text.len()) else { return false };
        let mut datagram = length.to_le_bytes().to_vec();
        datagram.extend_from_slice(&text);
        datagram.extend_from_slice(request);
        if sys::send_descriptor(self.handoff_send, &datagram, connection.socket.fd()).is_err() {
            return false;
        }
        if connection.socket.is_registered() {
            self.poller.remove(connection.socket.fd());
            connection.socket.forget();
        }
        true
    }
}
