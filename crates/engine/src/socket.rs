//! One connection's socket with what still has to be sent over it.
//!
//! A piece is written at once if the socket takes it; what it does not take waits here and is sent by the event loop
//! as room comes, whoever runs the loop. The app's thread waits only when more than the response buffer is unsent.
//! Invariant: `unsent_bytes` is the sum of the memory segments' unsent bytes; the loop watches for room exactly while
//! `segments` is not empty.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::poller::{self, Interest};
use crate::sys;

/// Why nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The client closed or reset the connection.
    Disconnected,
    /// The client took nothing for longer than the write timeout.
    Stalled,
    /// A file became shorter while it was sent.
    Truncated,
}

/// What a flush left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    Empty,
    /// The socket is full; the poller tells when there is room.
    Full,
    /// There is room, but others shall have their turn first.
    Yielded,
    Broken(Gone),
}

/// How long and how much a writer may lag behind.
#[derive(Clone, Copy, Debug)]
pub struct WritePolicy {
    pub buffer_bytes: usize,
    /// Longest wait without any progress.
    pub timeout: Duration,
}

enum Segment {
    Bytes { data: Vec<u8>, sent: usize },
    File { file: OwnedFd, offset: u64, left: u64 },
}

#[derive(Default)]
struct Outbox {
    segments: VecDeque<Segment>,
    unsent_bytes: usize,
    broken: Option<Gone>,
    /// When the last byte left, in milliseconds of the monotonic clock.
    progress_ms: u64,
}

pub struct Socket {
    fd: OwnedFd,
    /// Whether a cut connection can be made visible by a reset.
    pub is_tcp: bool,
    epoll: RawFd,
    key: AtomicU64,
    registered: AtomicBool,
    closes: AtomicBool,
    outbox: Mutex<Outbox>,
    room: Condvar,
}

/// One call of `sendfile` moves at most this much, and one flush at most eight times this.
const FILE_STEP: usize = 1 << 20;
const FLUSH_STEPS: usize = 8;
/// Kept pieces are joined up to this size.
const JOIN_BYTES: usize = 128 * 1024;

impl Socket {
    pub fn new(fd: OwnedFd, is_tcp: bool, epoll: RawFd) -> Self {
        Self {
            fd,
            is_tcp,
            epoll,
            key: AtomicU64::new(0),
            registered: AtomicBool::new(false),
            closes: AtomicBool::new(false),
            outbox: Mutex::default(),
            room: Condvar::new(),
        }
    }

    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // A poisoned outbox belongs to a writer that panicked; its segments are still whole.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to watch the socket, if nobody did so yet. Readiness that is there already is reported too.
    pub fn register(&self, key: u64) -> io::Result<()> {
        let outbox = self.outbox();
        if self.registered.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.key.store(key, Ordering::Relaxed);
        let interest = if outbox.segments.is_empty() { Interest::Arrival } else { Interest::ArrivalAndRoom };
        poller::add_interest(self.epoll, self.fd(), key, interest)?;
        self.registered.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Relaxed)
    }

    /// Tells the socket its key before it is registered, so that a short write can register it.
    pub fn set_key(&self, key: u64) {
        self.key.store(key, Ordering::Relaxed);
    }

    /// The response in progress, if its head has not left, is the last one of this connection.
    pub fn close_after_this(&self) {
        self.closes.store(true, Ordering::Relaxed);
    }

    pub fn closes_after_this(&self) -> bool {
        self.closes.load(Ordering::Relaxed)
    }

    /// Stops to watch the socket, because it goes to another worker.
    pub fn forget(&self) {
        self.registered.store(false, Ordering::Relaxed);
    }

    fn watch_room(&self) {
        let key = self.key.load(Ordering::Relaxed);
        if self.registered.load(Ordering::Relaxed) {
            let _ = poller::change_interest(self.epoll, self.fd(), key, Interest::ArrivalAndRoom);
        } else if poller::add_interest(self.epoll, self.fd(), key, Interest::ArrivalAndRoom).is_ok() {
            self.registered.store(true, Ordering::Relaxed);
        }
    }

    fn unwatch_room(&self) {
        if self.registered.load(Ordering::Relaxed) {
            let key = self.key.load(Ordering::Relaxed);
            let _ = poller::change_interest(self.epoll, self.fd(), key, Interest::Arrival);
        }
    }

    /// Sends the pieces in order; what the socket does not take is kept, up to the policy's buffer, then this waits.
    pub fn write(&self, pieces: &[&[u8]], policy: WritePolicy) -> Result<(), Gone> {
        let mut outbox = self.outbox();
        if let Some(gone) = outbox.broken {
            return Err(gone);
        }
        let mut sent = 0;
        if outbox.segments.is_empty() {
            sent = self.send_now(&mut outbox, pieces)?;
            if sent == pieces.iter().map(|piece| piece.len()).sum::<usize>() {
                return Ok(());
            }
        }
        for piece in pieces {
            let skip = sent.min(piece.len());
            sent -= skip;
            let mut rest = &piece[skip..];
            while !rest.is_empty() {
                while outbox.unsent_bytes >= policy.buffer_bytes {
                    outbox = self.wait_for_room(outbox, policy.timeout)?;
                }
                let (now, later) = rest.split_at(rest.len().min(policy.buffer_bytes - outbox.unsent_bytes));
                self.keep_bytes(&mut outbox, now);
                rest = later;
            }
        }
        Ok(())
    }

    /// Sends `head` and part of a file, in order behind what is unsent; the rest is sent by the event loop.
    pub fn write_file(&self, head: &[u8], file: OwnedFd, mut offset: u64, length: u64) -> Result<(), Gone> {
        let mut outbox = self.outbox();
        if let Some(gone) = outbox.broken {
            return Err(gone);
        }
        let mut sent = 0;
        let mut left = length;
        if outbox.segments.is_empty() {
            // The head waits in the socket for the file's first bytes, so that they share a packet.
            sent = match sys::send_before_more(self.fd(), head) {
                Err(error) => self.unless_broken(&mut outbox, &error)?,
                Ok(count) => count,
            };
            // What the socket takes at once needs no watch for room.
            while sent == head.len() && left > 0 {
                match sys::sendfile(self.fd(), file.as_raw_fd(), &mut offset, left.min(FILE_STEP as u64) as usize) {
                    Ok(0) => {
                        outbox.fail(Gone::Truncated);
                        return Err(Gone::Truncated);
                    }
                    Ok(count) => left -= count as u64,
                    Err(error) => {
                        self.unless_broken(&mut outbox, &error)?;
                        break;
                    }
                }
                if length - left >= FLUSH_STEPS as u64 * FILE_STEP as u64 {
                    break;
                }
            }
        }
        if sent < head.len() {
            self.keep_bytes(&mut outbox, &head[sent..]);
        }
        if left > 0 {
            self.keep(&mut outbox, Segment::File { file, offset, left });
        }
        Ok(())
    }

    /// Nothing was sent: because there is no room, or for good.
    fn unless_broken(&self, outbox: &mut Outbox, error: &io::Error) -> Result<usize, Gone> {
        if error.kind() == io::ErrorKind::WouldBlock {
            return Ok(0);
        }
        outbox.fail(Gone::Disconnected);
        Err(Gone::Disconnected)
    }

    /// Sends what is unsent, as far as there is room. Called by the event loop.
    pub fn flush(&self) -> Flushed {
        let mut outbox = self.outbox();
        if outbox.segments.is_empty() {
            return outbox.broken.map_or(Flushed::Empty, Flushed::Broken);
        }
        let flushed = self.flush_locked(&mut outbox);
        drop(outbox);
        self.room.notify_one();
        flushed
    }

    /// Whether everything that was written has left.
    pub fn is_flushed(&self) -> bool {
        self.outbox().segments.is_empty()
    }

    /// Whether something that was written can not be sent any more.
    pub fn is_broken(&self) -> bool {
        self.outbox().broken.is_some()
    }

    /// When something last left, in milliseconds of the monotonic clock, if something is still waiting.
    pub fn waiting_since_ms(&self) -> Option<u64> {
        let outbox = self.outbox();
        (!outbox.segments.is_empty()).then_some(outbox.progress_ms)
    }

    /// Gives up on the connection: whoever writes or waits is told so.
    pub fn abandon(&self, gone: Gone) {
        self.outbox().fail(gone);
        self.room.notify_all();
    }

    fn send_now(&self, outbox: &mut Outbox, pieces: &[&[u8]]) -> Result<usize, Gone> {
        let result = if let [piece] = pieces {
            sys::send(self.fd(), piece)
        } else {
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            sys::send_pieces(self.fd(), &slices)
        };
        result.or_else(|error| self.unless_broken(outbox, &error))
    }

    fn keep_bytes(&self, outbox: &mut Outbox, bytes: &[u8]) {
        outbox.unsent_bytes += bytes.len();
        match outbox.segments.back_mut() {
            // Small pieces and chunk sizes join the segment before them, so that they leave in one call.
            Some(Segment::Bytes { data, .. }) if data.len() + bytes.len() <= JOIN_BYTES => {
                data.extend_from_slice(bytes)
            }
            _ => self.keep(outbox, Segment::Bytes { data: bytes.to_vec(), sent: 0 }),
        }
    }

    fn keep(&self, outbox: &mut Outbox, segment: Segment) {
        outbox.segments.push_back(segment);
        if outbox.segments.len() == 1 {
            outbox.progress_ms = sys::now_ms();
            self.watch_room();
        }
    }

    fn wait_for_room<'a>(
        &self,
        mut outbox: MutexGuard<'a, Outbox>,
        timeout: Duration,
    ) -> Result<MutexGuard<'a, Outbox>, Gone> {
        let idle = Duration::from_millis(sys::now_ms().saturating_sub(outbox.progress_ms));
        let left = timeout.saturating_sub(idle);
        if left.is_zero() {
            outbox.fail(Gone::Stalled);
            return Err(Gone::Stalled);
        }
        let (outbox, _) = self.room.wait_timeout(outbox, left).unwrap_or_else(PoisonError::into_inner);
        match outbox.broken {
            Some(gone) => Err(gone),
            None => Ok(outbox),
        }
    }

    fn flush_locked(&self, outbox: &mut Outbox) -> Flushed {
        for _ in 0..FLUSH_STEPS {
            let Some(segment) = outbox.segments.front_mut() else { break };
            let (result, done) = match segment {
                Segment::Bytes { data, sent } => {
                    let result = sys::send(self.fd(), &data[*sent..]);
                    if let Ok(count) = result {
                        *sent += count;
                        outbox.unsent_bytes -= count;
                    }
                    (result, *sent == data.len())
                }
                Segment::File { file, offset, left } => {
                    let step = usize::try_from(*left).unwrap_or(FILE_STEP).min(FILE_STEP);
                    let result = sys::sendfile(self.fd(), file.as_raw_fd(), offset, step);
                    match result {
                        Ok(0) => {
                            outbox.fail(Gone::Truncated);
                            return Flushed::Broken(Gone::Truncated);
                        }
                        Ok(count) => *left -= count as u64,
                        Err(_) => {}
                    }
                    (result, *left == 0)
                }
            };
            match result {
                Ok(_) => outbox.progress_ms = sys::now_ms(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Full,
                Err(_) => {
                    outbox.fail(Gone::Disconnected);
                    return Flushed::Broken(Gone::Disconnected);
                }
            }
            if done {
                outbox.segments.pop_front();
            }
        }
        if outbox.segments.is_empty() {
            self.unwatch_room();
            Flushed::Empty
        } else {
            Flushed::Yielded
        }
    }
}

impl Outbox {
    fn fail(&mut self, gone: Gone) {
        self.broken.get_or_insert(gone);
        self.segments.clear();
        self.unsent_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::{Epoll, Poller};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn pair() -> (Epoll, Socket, UnixStream) {
        let epoll = Epoll::new().expect("epoll");
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.set_nonblocking(true).expect("non-blocking");
        let socket = Socket::new(OwnedFd::from(ours), false, epoll.handle());
        (epoll, socket, theirs)
    }

    fn policy(buffer_bytes: usize, timeout_ms: u64) -> WritePolicy {
        WritePolicy { buffer_bytes, timeout: Duration::from_millis(timeout_ms) }
    }

    #[test]
    fn what_fits_leaves_at_once_and_in_order() {
        let (_epoll, socket, mut peer) = pair();
        socket.write(&[b"head ", b"body"], policy(10, 100)).expect("sent");
        assert!(socket.is_flushed());
        let mut got = [0; 9];
        peer.read_exact(&mut got).expect("read");
        assert_eq!(&got, b"head body");
    }

    #[test]
    fn what_does_not_fit_is_kept_and_watched() {
        let (mut epoll, socket, mut peer) = pair();
        socket.register(7).expect("register");
        let big = vec![b'x'; 4 << 20];
        socket.write(&[&big], policy(8 << 20, 100)).expect("kept");
        assert!(!socket.is_flushed());
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; 4 << 20];
            peer.read_exact(&mut got).expect("read");
            got
        });
        loop {
            let count = epoll.wait(2000).expect("wait");
            assert!(count > 0, "the poller tells when there is room");
            assert_eq!(epoll.event(0).key, 7);
            if socket.flush() == Flushed::Empty {
                break;
            }
        }
        assert_eq!(reader.join().expect("reader"), big);
    }

    #[test]
    fn a_client_that_takes_nothing_stalls_the_writer_only_for_the_timeout() {
        let (_epoll, socket, _peer) = pair();
        let big = vec![b'x'; 4 << 20];
        assert_eq!(socket.write(&[&big], policy(1024, 30)), Err(Gone::Stalled));
        assert_eq!(socket.write(&[b"more"], policy(1024, 30)), Err(Gone::Stalled));
    }

    #[test]
    fn a_client_that_left_is_an_error_and_no_signal() {
        let (_epoll, socket, peer) = pair();
        drop(peer);
        assert_eq!(socket.write(&[b"x"], policy(1024, 30)), Err(Gone::Disconnected));
    }

    #[test]
    fn a_file_that_shrinks_is_noticed() {
        let (_epoll, socket, _peer) = pair();
        let path = std::env::temp_dir().join(format!("penstock-shrink-{}", std::process::id()));
        let mut file = std::fs::File::options().create_new(true).write(true).read(true).open(&path).expect("file");
        file.write_all(b"short").expect("write");
        std::fs::remove_file(&path).expect("unlink");
        assert_eq!(socket.write_file(b"", OwnedFd::from(file), 0, 100), Err(Gone::Truncated));
    }
}
