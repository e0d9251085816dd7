//! One connection's socket with what still has to be sent over it.
//!
//! A piece is written at once if the socket takes it; what it does not take waits here and is sent by the event loop
//! as room comes, whoever runs the loop: in memory up to `response-buffer`, then in a file (`store.rs`). A large bytes
//! object is not copied but kept. The app's thread waits only past both.
//!
//! Invariants: `unsent_bytes` is the sum of the memory segments' unsent bytes, `spooled_bytes` that of the spooled ones.
//! The outbox gets its first segment only under the lock under which a send has just come up short, or is flushed under
//! it: then the kernel owes the event loop an event, and nothing is left lying.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::budget::Charge;
use crate::poller::{self, Interest};
use crate::store::{Ring, Store};
use crate::sys;

/// Bytes that somebody else made and that can be kept alive, so that they need not be copied. The last holder may drop
/// them on any thread.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Why nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The client closed or reset the connection.
    Disconnected,
    /// The client took nothing for longer than the write timeout.
    Stalled,
    /// A file became shorter, or unreadable, while it was sent.
    Truncated,
    /// The request took too long: its client was answered without the app.
    Detached,
}

impl Gone {
    /// Whether the client broke off, and not the server.
    pub fn is_of_client(self) -> bool {
        matches!(self, Self::Disconnected | Self::Stalled)
    }
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
    /// `usize::MAX` for a writer that never waits: everything is kept in memory.
    pub buffer_bytes: usize,
    /// Longest wait without any progress.
    pub timeout: Duration,
}

enum Segment {
    Bytes {
        data: Vec<u8>,
        sent: usize,
        charge: Charge,
    },
    /// `data[sent..end]`.
    Shared {
        data: SharedBytes,
        sent: usize,
        end: usize,
        _charge: Charge,
    },
    File {
        file: OwnedFd,
        offset: u64,
        left: u64,
    },
    Spooled {
        file: Arc<File>,
        offset: u64,
        left: u64,
        charge: Charge,
    },
}

#[derive(Default)]
struct Outbox {
    segments: VecDeque<Segment>,
    unsent_bytes: usize,
    spooled_bytes: u64,
    /// Complete responses that leave with the next one, because the next request is there already. Never longer than
    /// `HELD_BYTES`, and empty while there are segments.
    held: Vec<u8>,
    /// The file behind `Spooled` segments; none while there are none.
    ring: Option<Ring>,
    broken: Option<Gone>,
    /// Why nothing more of the response is taken: what has broken, or that the loop answers in the app's place.
    refused: Option<Gone>,
    /// Something of the response in progress was taken.
    has_begun: bool,
    /// When the last byte left, in milliseconds of the monotonic clock.
    progress_ms: u64,
    /// Bytes in the kernel that the client had not acknowledged when somebody last looked.
    unacknowledged: usize,
    /// The poller reports room.
    watches_room: bool,
    /// A writer waits at `room`.
    is_awaited: bool,
}

pub struct Socket {
    fd: OwnedFd,
    /// Whether a cut connection can be made visible by a reset.
    pub is_tcp: bool,
    epoll: RawFd,
    key: AtomicU64,
    registered: AtomicBool,
    closes: AtomicBool,
    store: Arc<Store>,
    outbox: Mutex<Outbox>,
    room: Condvar,
}

/// One flush moves at most about this much of a file before others have their turn. A socket rarely takes more at once.
const FLUSH_FILE_BYTES: u64 = 4 << 20;
const FLUSH_STEPS: usize = 8;
/// Responses to pipelined requests are sent together up to this size.
const HELD_BYTES: usize = 64 * 1024;
const SPOOL_STEP_BYTES: usize = 128 * 1024;
/// Kept pieces are joined up to this size.
const JOIN_BYTES: usize = 128 * 1024;
/// Bytes objects from this size on are kept instead of copied.
pub const SHARE_BYTES: usize = 32 * 1024;
/// Pieces of one write.
pub const MOST_PIECES: usize = 3;
/// A client that takes a large piece as fast as it comes is waited for this long before the disk is used: each time, and
/// in all.
const PATIENCE_BYTES: usize = 256 * 1024;
const PATIENCE_EACH: Duration = Duration::from_millis(2);
const PATIENCE_IN_ALL: Duration = Duration::from_millis(20);
/// Longest wait between two looks at the client, and at whether somebody gave the socket up.
const LOOK: Duration = Duration::from_secs(1);

impl Socket {
    pub fn new(fd: OwnedFd, is_tcp: bool, epoll: RawFd, store: &Arc<Store>) -> Self {
        Self {
            fd,
            is_tcp,
            epoll,
            key: AtomicU64::new(0),
            registered: AtomicBool::new(false),
            closes: AtomicBool::new(false),
            store: Arc::clone(store),
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
        let mut outbox = self.outbox();
        if self.registered.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.key.store(key, Ordering::Relaxed);
        outbox.watches_room = !outbox.segments.is_empty();
        let interest = if outbox.watches_room { Interest::ArrivalAndRoom } else { Interest::Arrival };
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
        self.outbox().watches_room = false;
    }

    /// Has room reported from now on; with `anew`, also room that is there already.
    fn watch_room(&self, outbox: &mut Outbox, anew: bool) {
        let key = self.key.load(Ordering::Relaxed);
        let result = if !self.registered.load(Ordering::Relaxed) {
            poller::add_interest(self.epoll, self.fd(), key, Interest::ArrivalAndRoom)
        } else if anew || !outbox.watches_room {
            poller::change_interest(self.epoll, self.fd(), key, Interest::ArrivalAndRoom)
        } else {
            Ok(())
        };
        match result {
            Ok(()) => {
                outbox.watches_room = true;
                self.registered.store(true, Ordering::Relaxed);
            }
            // Nobody would ever send the rest (the kernel has no memory for one more watch).
            Err(_) => outbox.fail(Gone::Disconnected),
        }
    }

    /// A unix socket reports room whenever its peer has read something, which is with each response. TCP does so only
    /// after a send that came up short, so that watching on costs nothing and saves two calls the next time.
    fn unwatch_room(&self, outbox: &mut Outbox) {
        if outbox.watches_room && !self.is_tcp && self.registered.load(Ordering::Relaxed) {
            let key = self.key.load(Ordering::Relaxed);
            outbox.watches_room = poller::change_interest(self.epoll, self.fd(), key, Interest::Arrival).is_err();
        }
    }

    /// Whether a small piece can be written without waiting for the client, the disk or another thread.
    pub fn takes_now(&self, bytes: usize, policy: WritePolicy) -> bool {
        let outbox = match self.outbox.try_lock() {
            Ok(outbox) => outbox,
            Err(TryLockError::Poisoned(outbox)) => outbox.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let fits = outbox.segments.is_empty() || outbox.unsent_bytes.saturating_add(bytes) <= policy.buffer_bytes;
        fits && self.store.memory.has_room(bytes as u64)
    }

    /// Sends the pieces in order, `MOST_PIECES` at most; what the socket does not take is kept, as far as the policy and
    /// the worker's caps allow, then this waits.
    pub fn write(&self, pieces: &[&[u8]], policy: WritePolicy) -> Result<(), Gone> {
        self.write_sharing(pieces, None, policy)
    }

    /// As `write`; the piece that lies in `owner` is kept instead of copied.
    pub fn write_sharing(
        &self,
        pieces: &[&[u8]],
        owner: Option<&SharedBytes>,
        policy: WritePolicy,
    ) -> Result<(), Gone> {
        let mut outbox = self.outbox();
        outbox.admit()?;
        let joined;
        let joined_pieces;
        let pieces = if outbox.held.is_empty() {
            pieces
        } else if pieces.iter().map(|piece| piece.len()).sum::<usize>() <= HELD_BYTES {
            let mut held = std::mem::take(&mut outbox.held);
            pieces.iter().for_each(|piece| held.extend_from_slice(piece));
            joined = held;
            joined_pieces = [joined.as_slice()];
            &joined_pieces
        } else {
            self.send_held(&mut outbox)?;
            pieces
        };
        let mut sent = 0;
        let mut tried = false;
        if outbox.segments.is_empty() {
            sent = self.send_now(&mut outbox, pieces)?;
            if sent == pieces.iter().map(|piece| piece.len()).sum::<usize>() {
                return Ok(());
            }
            outbox.progress_ms = sys::now_ms();
            tried = true;
        }
        for piece in pieces {
            let skip = sent.min(piece.len());
            sent -= skip;
            if skip < piece.len() {
                outbox = self.keep_rest(outbox, &piece[skip..], owner, policy, &mut tried)?;
            }
        }
        Ok(())
    }

    /// Takes a complete response that need not leave before the next one, which is about to be made. The event loop calls
    /// `release_held` if that takes longer, or does not happen.
    pub fn hold(&self, bytes: &[u8], policy: WritePolicy) -> Result<(), Gone> {
        let mut outbox = self.outbox();
        if outbox.refused.is_none() && outbox.segments.is_empty() && outbox.held.len() + bytes.len() <= HELD_BYTES {
            outbox.has_begun = true;
            outbox.held.extend_from_slice(bytes);
            return Ok(());
        }
        drop(outbox);
        self.write(&[bytes], policy)
    }

    /// Sends what was held back.
    pub fn release_held(&self) {
        let mut outbox = self.outbox();
        // A client that is gone is found out by whoever reads or writes next.
        let _ = self.send_held(&mut outbox);
    }

    fn send_held(&self, outbox: &mut Outbox) -> Result<(), Gone> {
        if outbox.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut outbox.held);
        let sent = self.send_now(outbox, &[&held])?;
        if sent < held.len() {
            let charge = self.store.memory.take_anyway((held.len() - sent) as u64);
            outbox.progress_ms = sys::now_ms();
            outbox.keep_bytes(&held[sent..], charge);
            self.watch_room(outbox, false);
        }
        Ok(())
    }

    /// Sends `head` and then part of a file, in order behind what is unsent; the event loop sends what is left.
    pub fn write_file(&self, head: &[u8], file: OwnedFd, offset: u64, length: u64) -> Result<(), Gone> {
        let mut outbox = self.outbox();
        outbox.admit()?;
        self.send_held(&mut outbox)?;
        let is_first = outbox.segments.is_empty();
        if !head.is_empty() {
            let charge = self.store.memory.take_anyway(head.len() as u64);
            outbox.keep_bytes(head, charge);
        }
        if length > 0 {
            outbox.segments.push_back(Segment::File { file, offset, left: length });
        }
        if is_first { self.flush_first(&mut outbox) } else { Ok(()) }
    }

    /// Sends what is unsent, as far as there is room. Called by the event loop.
    pub fn flush(&self) -> Flushed {
        let mut outbox = self.outbox();
        if outbox.segments.is_empty() {
            return outbox.broken.map_or(Flushed::Empty, Flushed::Broken);
        }
        let flushed = self.flush_locked(&mut outbox);
        if flushed == Flushed::Empty {
            self.unwatch_room(&mut outbox);
        }
        let is_awaited = outbox.is_awaited;
        drop(outbox);
        if is_awaited {
            self.room.notify_one();
        }
        flushed
    }

    /// The response is over; tells whether everything that was written has left.
    pub fn end_response(&self) -> bool {
        let mut outbox = self.outbox();
        outbox.has_begun = false;
        outbox.segments.is_empty()
    }

    /// From now on nothing more of the response in progress is taken; tells whether it has begun.
    pub fn take_over(&self) -> bool {
        let mut outbox = self.outbox();
        outbox.refused.get_or_insert(Gone::Detached);
        let has_begun = outbox.has_begun;
        drop(outbox);
        self.room.notify_all();
        has_begun
    }

    /// Sends the server's own answer after `take_over`. What the socket does not take is kept, whatever the caps say.
    pub fn write_own(&self, bytes: &[u8]) {
        let mut outbox = self.outbox();
        // A client that is gone is found out by whoever reads or flushes next.
        if outbox.broken.is_some() || self.send_held(&mut outbox).is_err() {
            return;
        }
        let is_first = outbox.segments.is_empty();
        let sent = if is_first { self.send_now(&mut outbox, &[bytes]).unwrap_or(bytes.len()) } else { 0 };
        if sent < bytes.len() {
            let charge = self.store.memory.take_anyway((bytes.len() - sent) as u64);
            outbox.progress_ms = sys::now_ms();
            outbox.keep_bytes(&bytes[sent..], charge);
            if is_first {
                self.watch_room(&mut outbox, false);
            }
        }
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
        let mut outbox = self.outbox();
        if outbox.segments.is_empty() {
            return None;
        }
        self.look_at_client(&mut outbox);
        Some(outbox.progress_ms)
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
            debug_assert!(pieces.len() <= MOST_PIECES, "one call takes {MOST_PIECES} pieces");
            let mut slices = [IoSlice::new(b""); MOST_PIECES];
            for (slice, piece) in slices.iter_mut().zip(pieces) {
                *slice = IoSlice::new(piece);
            }
            sys::send_pieces(self.fd(), &slices[..pieces.len().min(MOST_PIECES)])
        };
        match result {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(_) => {
                outbox.fail(Gone::Disconnected);
                Err(Gone::Disconnected)
            }
        }
    }

    /// Keeps what the socket did not take, or waits until it does. `tried`: a send has just come up short under this
    /// lock.
    fn keep_rest<'a>(
        &'a self,
        mut outbox: MutexGuard<'a, Outbox>,
        mut rest: &[u8],
        owner: Option<&SharedBytes>,
        policy: WritePolicy,
        tried: &mut bool,
    ) -> Result<MutexGuard<'a, Outbox>, Gone> {
        let mut patient_until = (rest.len() >= PATIENCE_BYTES).then(|| Instant::now() + PATIENCE_IN_ALL);
        loop {
            if !std::mem::replace(tried, false) && outbox.segments.is_empty() {
                let count = self.send_now(&mut outbox, &[rest])?;
                if count > 0 {
                    outbox.progress_ms = sys::now_ms();
                }
                rest = &rest[count..];
            }
            if rest.is_empty() {
                return Ok(outbox);
            }
            if self.keep_in_memory(&mut outbox, rest, owner, policy) {
                return Ok(outbox);
            }
            if let Some(end) = patient_until
                && outbox.segments.is_empty()
            {
                drop(outbox);
                let has_room = sys::wait_for_room(self.fd(), PATIENCE_EACH);
                outbox = self.outbox();
                if !has_room || Instant::now() >= end {
                    patient_until = None;
                }
                continue;
            }
            let (back, count) = self.spool(outbox, rest)?;
            outbox = back;
            rest = &rest[count..];
            if count == 0 {
                outbox = self.wait_for_room(outbox, policy.timeout)?;
            }
        }
    }

    fn keep_in_memory(
        &self,
        outbox: &mut Outbox,
        rest: &[u8],
        owner: Option<&SharedBytes>,
        policy: WritePolicy,
    ) -> bool {
        let never_waits = policy.buffer_bytes == usize::MAX;
        if outbox.unsent_bytes.saturating_add(rest.len()) > policy.buffer_bytes {
            return false;
        }
        let is_first = outbox.segments.is_empty();
        let shared = owner.filter(|_| rest.len() >= SHARE_BYTES).and_then(|owner| {
            let whole = owner.as_ref().as_ref();
            let place = place_in(whole, rest)?;
            // All of the object stays in memory, however little of it is unsent.
            if whole.len() > policy.buffer_bytes.max(2 * rest.len()) {
                return None;
            }
            Some((owner, place, self.store.memory.take(whole.len() as u64)?))
        });
        if let Some((owner, place, charge)) = shared {
            let (data, end) = (Arc::clone(owner), place + rest.len());
            outbox.unsent_bytes += rest.len();
            outbox.segments.push_back(Segment::Shared { data, sent: place, end, _charge: charge });
        } else {
            let bytes = rest.len() as u64;
            let memory = &self.store.memory;
            let Some(charge) = (if never_waits { Some(memory.take_anyway(bytes)) } else { memory.take(bytes) }) else {
                return false;
            };
            outbox.keep_bytes(rest, charge);
        }
        if is_first {
            self.watch_room(outbox, false);
        }
        true
    }

    /// Moves the beginning of `rest` to the disk, if it may go there; tells how much.
    fn spool<'a>(
        &'a self,
        outbox: MutexGuard<'a, Outbox>,
        rest: &[u8],
    ) -> Result<(MutexGuard<'a, Outbox>, usize), Gone> {
        let room = self.store.room(outbox.ring.as_ref(), outbox.spooled_bytes, rest.len() as u64);
        let charge = if room > 0 { self.store.disk.take(room) } else { None };
        let Some(mut charge) = charge else { return Ok((outbox, 0)) };
        let ring = outbox.ring.clone();
        // The event loop must not wait for the disk.
        drop(outbox);
        let appended = self.store.append(ring, &rest[..room as usize]);
        let mut outbox = self.outbox();
        outbox.admit()?;
        let Some(appended) = appended else { return Ok((outbox, 0)) };
        charge.shrink(room - appended.length);
        outbox.spooled_bytes += appended.length;
        let is_first = outbox.segments.is_empty();
        match outbox.segments.back_mut() {
            Some(Segment::Spooled { file, offset, left, charge: before })
                if Arc::ptr_eq(file, &appended.ring.file) && *offset + *left == appended.offset =>
            {
                *left += appended.length;
                before.absorb(charge);
            }
            _ => {
                let file = Arc::clone(&appended.ring.file);
                outbox.segments.push_back(Segment::Spooled {
                    file,
                    offset: appended.offset,
                    left: appended.length,
                    charge,
                });
            }
        }
        outbox.ring = Some(appended.ring);
        if is_first {
            self.flush_first(&mut outbox)?;
        }
        Ok((outbox, appended.length as usize))
    }

    /// Sends segments that were put into an empty outbox without a send before.
    fn flush_first(&self, outbox: &mut Outbox) -> Result<(), Gone> {
        outbox.progress_ms = sys::now_ms();
        match self.flush_locked(outbox) {
            Flushed::Broken(gone) => return Err(gone),
            Flushed::Empty => {}
            Flushed::Full => self.watch_room(outbox, false),
            Flushed::Yielded => self.watch_room(outbox, true),
        }
        Ok(())
    }

    /// Sends a part of a ring. Not by `sendfile`: that sends pages as they lie, and only later, when the writer may have
    /// put something else there.
    fn send_spooled(&self, file: &File, offset: u64, left: u64) -> io::Result<usize> {
        let mut block = vec![0; usize::try_from(left).unwrap_or(SPOOL_STEP_BYTES).min(SPOOL_STEP_BYTES)];
        match file.read_at(&mut block, offset)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            count => sys::send(self.fd(), &block[..count]),
        }
    }

    /// What the client acknowledges is progress, too: the kernel keeps megabytes, and tells of room only when a good
    /// part of them has left, which takes a slow client longer than the timeout.
    fn look_at_client(&self, outbox: &mut Outbox) {
        let unacknowledged = sys::unacknowledged(self.fd());
        if unacknowledged < outbox.unacknowledged {
            outbox.progress_ms = sys::now_ms();
        }
        outbox.unacknowledged = unacknowledged;
    }

    fn wait_for_room<'a>(
        &'a self,
        mut outbox: MutexGuard<'a, Outbox>,
        timeout: Duration,
    ) -> Result<MutexGuard<'a, Outbox>, Gone> {
        self.look_at_client(&mut outbox);
        let idle = Duration::from_millis(sys::now_ms().saturating_sub(outbox.progress_ms));
        let left = timeout.saturating_sub(idle);
        // Several looks before patience ends, because one alone shows no progress.
        let look = left.min(LOOK).min(timeout / 4);
        if left.is_zero() {
            outbox.fail(Gone::Stalled);
            return Err(Gone::Stalled);
        }
        if outbox.segments.is_empty() {
            // Nothing may be kept (the worker's caps are reached): the piece goes out from where it lies.
            drop(outbox);
            sys::wait_for_room(self.fd(), look);
            outbox = self.outbox();
        } else {
            outbox.is_awaited = true;
            outbox = self.room.wait_timeout(outbox, look).unwrap_or_else(PoisonError::into_inner).0;
            outbox.is_awaited = false;
        }
        outbox.admit()?;
        Ok(outbox)
    }

    fn flush_locked(&self, outbox: &mut Outbox) -> Flushed {
        let mut file_bytes = FLUSH_FILE_BYTES;
        for _ in 0..FLUSH_STEPS {
            let before_file = self.is_tcp && matches!(outbox.segments.get(1), Some(Segment::File { .. }));
            let Some(segment) = outbox.segments.front_mut() else { break };
            let (result, done) = match segment {
                Segment::Bytes { data, sent, charge } => {
                    let result = sys::send_before(self.fd(), &data[*sent..], before_file);
                    if let Ok(count) = result {
                        *sent += count;
                        outbox.unsent_bytes -= count;
                        // Its memory is given back as a whole.
                        if *sent == data.len() {
                            charge.shrink(data.len() as u64);
                        }
                    }
                    (result, *sent == data.len())
                }
                Segment::Shared { data, sent, end, .. } => {
                    let result = sys::send(self.fd(), &data.as_ref().as_ref()[*sent..*end]);
                    if let Ok(count) = result {
                        *sent += count;
                        outbox.unsent_bytes -= count;
                    }
                    (result, sent == end)
                }
                Segment::File { file, offset, left } => {
                    let send = if self.store.files_are_read { read_file_part } else { send_file_part };
                    let result = send(self.fd(), file.as_raw_fd(), offset, left, &mut file_bytes);
                    (result, *left == 0)
                }
                Segment::Spooled { file, offset, left, charge } => {
                    let result = self.send_spooled(file, *offset, *left);
                    if let Ok(count) = result {
                        *offset += count as u64;
                        *left -= count as u64;
                        outbox.spooled_bytes -= count as u64;
                        charge.shrink(count as u64);
                    }
                    (result, *left == 0)
                }
            };
            match result {
                Ok(_) => outbox.progress_ms = sys::now_ms(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Full,
                Err(error) => {
                    let gone = if is_of_file(&error) { Gone::Truncated } else { Gone::Disconnected };
                    outbox.fail(gone);
                    return Flushed::Broken(gone);
                }
            }
            if done {
                outbox.segments.pop_front();
                if outbox.spooled_bytes == 0 {
                    outbox.ring = None;
                }
            } else if file_bytes == 0 {
                break;
            }
        }
        if outbox.segments.is_empty() { Flushed::Empty } else { Flushed::Yielded }
    }
}

/// Sends of a file what fits, `most` at most; a file without the bytes that it shall have is an error.
fn send_file_part(socket: RawFd, file: RawFd, offset: &mut u64, left: &mut u64, most: &mut u64) -> io::Result<usize> {
    let step = (*left).min(*most);
    let count = sys::sendfile(socket, file, offset, usize::try_from(step).unwrap_or(usize::MAX))?;
    if count == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    *left -= count as u64;
    *most -= count as u64;
    Ok(count)
}

/// As `send_file_part`, by way of memory: where sendfile(2) sends what is not in the file (some shared folders do so).
fn read_file_part(socket: RawFd, file: RawFd, offset: &mut u64, left: &mut u64, most: &mut u64) -> io::Result<usize> {
    let step = (*left).min(*most).min(SPOOL_STEP_BYTES as u64);
    let mut block = vec![0; usize::try_from(step).unwrap_or(SPOOL_STEP_BYTES)];
    let read = sys::pread(file, &mut block, *offset)?;
    if read == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    let count = sys::send(socket, &block[..read])?;
    *offset += count as u64;
    *left -= count as u64;
    *most -= count as u64;
    Ok(count)
}

/// Whether an error of a send is the fault of what was sent, and not of the connection.
fn is_of_file(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
        || matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EOVERFLOW | libc::EBADF | libc::EFAULT))
}

/// Where `part` begins in `whole`, if it lies in it.
fn place_in(whole: &[u8], part: &[u8]) -> Option<usize> {
    let (outer, inner) = (whole.as_ptr_range(), part.as_ptr_range());
    (outer.start <= inner.start && inner.end <= outer.end).then(|| inner.start as usize - outer.start as usize)
}

impl Outbox {
    /// Whether the response in progress may go on; from here on it has begun.
    fn admit(&mut self) -> Result<(), Gone> {
        self.has_begun = true;
        self.refused.map_or(Ok(()), Err)
    }

    fn fail(&mut self, gone: Gone) {
        self.broken.get_or_insert(gone);
        self.refused.get_or_insert(gone);
        self.segments.clear();
        self.unsent_bytes = 0;
        self.spooled_bytes = 0;
        self.ring = None;
    }

    fn keep_bytes(&mut self, bytes: &[u8], charge: Charge) {
        self.unsent_bytes += bytes.len();
        match self.segments.back_mut() {
            // Small pieces and chunk sizes join the segment before them, so that they leave in one call.
            Some(Segment::Bytes { data, charge: before, .. }) if data.len() + bytes.len() <= JOIN_BYTES => {
                data.extend_from_slice(bytes);
                before.absorb(charge);
            }
            _ => self.segments.push_back(Segment::Bytes { data: bytes.to_vec(), sent: 0, charge }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::{Epoll, Poller};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn store() -> Arc<Store> {
        Store::with(64 << 20, 0, 0, &std::env::temp_dir())
    }

    fn pair() -> (Epoll, Socket, UnixStream) {
        let epoll = Epoll::new().expect("epoll");
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.set_nonblocking(true).expect("non-blocking");
        let socket = Socket::new(OwnedFd::from(ours), false, epoll.handle(), &store());
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
    fn what_is_held_leaves_with_the_next_write_and_before_it() {
        let (_epoll, socket, mut peer) = pair();
        peer.set_nonblocking(true).expect("non-blocking");
        let mut got = [0; 64];
        socket.hold(b"first ", policy(10, 100)).expect("held");
        socket.hold(b"second ", policy(10, 100)).expect("held");
        assert!(peer.read(&mut got).is_err(), "nothing has left");
        socket.write(&[b"thi", b"rd"], policy(10, 100)).expect("sent");
        let count = peer.read(&mut got).expect("all of it");
        assert_eq!(&got[..count], b"first second third");
        socket.hold(b"fourth", policy(10, 100)).expect("held");
        socket.release_held();
        let count = peer.read(&mut got).expect("released");
        assert_eq!(&got[..count], b"fourth");
        socket.hold(b"fifth ", policy(10, 100)).expect("held");
        let big = vec![b'x'; HELD_BYTES + 1];
        socket.write(&[&big], policy(1 << 20, 100)).expect("sent");
        let count = peer.read(&mut got).expect("before the large one");
        assert_eq!(&got[..6], b"fifth ", "{count}");
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

    /// Reads to the end of what `socket` keeps, as its event loop.
    fn drain(socket: &Socket, peer: &mut UnixStream, count: usize) -> Vec<u8> {
        let mut got = vec![0; count];
        let mut at = 0;
        while at < count {
            socket.flush();
            at += peer.read(&mut got[at..]).expect("more");
        }
        got
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at / 7 % 251) as u8).collect()
    }

    #[test]
    fn a_large_object_is_kept_and_not_copied_and_dropped_when_it_is_sent() {
        let (_epoll, socket, mut peer) = pair();
        let owner: SharedBytes = Arc::new(pattern(1 << 20));
        let whole = owner.as_ref().as_ref();
        socket.write_sharing(&[b"head", whole], Some(&owner), policy(1 << 20, 100)).expect("kept");
        assert_eq!(Arc::strong_count(&owner), 2);
        assert_eq!(socket.store.memory.taken(), 1 << 20);
        let got = drain(&socket, &mut peer, whole.len() + 4);
        assert!(&got[..4] == b"head" && got[4..] == *whole);
        assert_eq!((Arc::strong_count(&owner), socket.store.memory.taken()), (1, 0));
    }

    #[test]
    fn an_object_of_which_little_is_left_is_copied() {
        let (_epoll, socket, _peer) = pair();
        let owner: SharedBytes = Arc::new(pattern(1 << 20));
        let part = &owner.as_ref().as_ref()[900_000..];
        socket.write(&[&vec![0; 400_000]], policy(1 << 20, 100)).expect("the socket is full now");
        let before = socket.store.memory.taken();
        socket.write_sharing(&[part], Some(&owner), policy(600_000, 100)).expect("kept");
        assert_eq!(Arc::strong_count(&owner), 1);
        assert_eq!(socket.store.memory.taken() - before, part.len() as u64);
    }

    fn pair_with(store: &Arc<Store>) -> (Epoll, Socket, UnixStream) {
        let epoll = Epoll::new().expect("epoll");
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.set_nonblocking(true).expect("non-blocking");
        let socket = Socket::new(OwnedFd::from(ours), false, epoll.handle(), store);
        (epoll, socket, theirs)
    }

    #[test]
    fn what_does_not_fit_into_memory_is_spooled_in_order() {
        let store = Store::with(64 << 20, 8 << 20, 8 << 20, &std::env::temp_dir());
        let (_epoll, socket, mut peer) = pair_with(&store);
        let body = pattern(5_000_000);
        for piece in body.chunks(300_001) {
            socket.write(&[piece], policy(1 << 20, 100)).expect("kept");
        }
        assert!(store.memory.taken() <= 1 << 20);
        assert!(store.disk.taken() > 1 << 20);
        assert!(drain(&socket, &mut peer, body.len()) == body);
        assert_eq!((store.memory.taken(), store.disk.taken()), (0, 0));
        assert!(socket.outbox().ring.is_none(), "the file is gone with its last byte");
    }

    #[test]
    fn a_connection_that_ends_gives_back_what_it_kept() {
        let store = Store::with(1 << 20, 8 << 20, 8 << 20, &std::env::temp_dir());
        let (_epoll, socket, _peer) = pair_with(&store);
        socket.write(&[&pattern(700_000)], policy(1 << 20, 100)).expect("in memory");
        socket.write(&[&pattern(700_000)], policy(1 << 20, 100)).expect("on disk");
        assert!(store.memory.taken() > 0 && store.disk.taken() > 0);
        socket.abandon(Gone::Disconnected);
        assert_eq!((store.memory.taken(), store.disk.taken()), (0, 0));
    }

    #[test]
    fn without_any_room_the_writer_sends_from_where_the_piece_lies() {
        let store = Store::with(0, 0, 0, &std::env::temp_dir());
        let (_epoll, socket, mut peer) = pair_with(&store);
        let body = pattern(3_000_000);
        let expected = body.clone();
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; expected.len()];
            peer.read_exact(&mut got).expect("all of it");
            got == expected
        });
        socket.write(&[&body], policy(1 << 20, 10_000)).expect("sent");
        assert!(socket.is_flushed());
        assert!(reader.join().expect("no panic"));
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
    fn a_response_that_was_taken_over_adds_nothing_more() {
        let (_epoll, socket, mut peer) = pair();
        assert!(!socket.take_over(), "nothing has begun");
        assert_eq!(socket.write(&[b"late"], policy(1024, 30)), Err(Gone::Detached));
        assert_eq!(socket.hold(b"late", policy(1024, 30)), Err(Gone::Detached));
        let file = File::open("/proc/self/exe").expect("a file");
        assert_eq!(socket.write_file(b"late", OwnedFd::from(file), 0, 10), Err(Gone::Detached));
        socket.write_own(b"own answer");
        sys::shutdown(socket.fd());
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("read");
        assert_eq!(got, b"own answer");
    }

    #[test]
    fn a_response_has_begun_when_its_first_byte_was_taken_and_until_its_end() {
        let (_epoll, socket, _peer) = pair();
        socket.hold(b"first", policy(1024, 30)).expect("held");
        assert!(socket.end_response(), "what is held counts as sent");
        socket.write(&[b"second"], policy(1024, 30)).expect("sent");
        assert!(socket.take_over());
    }

    #[test]
    fn a_writer_that_waits_for_its_client_is_told_when_its_response_is_taken_over() {
        let (_epoll, socket, _peer) = pair();
        let big = vec![b'x'; 4 << 20];
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| socket.write(&[&big], policy(1024, 60_000)));
            while !socket.outbox().has_begun {
                std::thread::yield_now();
            }
            assert!(socket.take_over());
            assert_eq!(writer.join().expect("no panic"), Err(Gone::Detached));
        });
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
