//! The scoreboard: what every worker and app thread of a generation is doing, in memory shared with the master.
//!
//! Here: the layout (declared once, described by [`layout`] for Python, so that the reader can not disagree with the
//! writer), the mapping, and the few writes that a request costs. Not here: clocks, decisions, anything that reads
//! another worker's numbers; the master does that.
//!
//! Memory: one header, then for each slot one worker block followed by its thread blocks. Every cell is an atomic and
//! every write is relaxed: readers see each counter whole, and want no order between two of them. The one value of
//! several cells, the request line, is guarded by a sequence number that is odd while the line is being written. A
//! thread block has one writer at a time (its app thread); a worker block has many, which only add.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// The first eight bytes of a scoreboard.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PENSTOCK");

/// Changes with every change of a field's place or meaning.
pub const VERSION: u32 = 6;

/// Longest request line that is kept, in bytes.
pub const LINE_BYTES: usize = 200;

const LINE_WORDS: usize = LINE_BYTES / size_of::<u64>();
const _: () = assert!(LINE_WORDS * size_of::<u64>() == LINE_BYTES);

/// One field of a block, as Python reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    /// Bytes from the start of the block.
    pub offset: usize,
    /// `u32`, `u64` (both in native byte order) or `bytesN`.
    pub kind: &'static str,
}

/// Where everything is: what `catalogue()["scoreboard"]` tells.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub magic: u64,
    pub version: u32,
    pub header_bytes: usize,
    pub worker_bytes: usize,
    pub thread_bytes: usize,
    pub header_fields: &'static [Field],
    pub worker_fields: &'static [Field],
    pub thread_fields: &'static [Field],
}

/// Describe the memory. Slot `n` starts at `header_bytes + n * (worker_bytes + threads * thread_bytes)`.
pub const fn layout() -> Layout {
    Layout {
        magic: MAGIC,
        version: VERSION,
        header_bytes: size_of::<Header>(),
        worker_bytes: size_of::<WorkerBoard>(),
        thread_bytes: size_of::<ThreadBoard>(),
        header_fields: Header::FIELDS,
        worker_fields: WorkerBoard::FIELDS,
        thread_fields: ThreadBoard::FIELDS,
    }
}

/// A type that may stand in shared memory: all bit patterns are valid and all access is atomic.
trait Cell {
    const KIND: &'static str;
    fn clear(&self);
}

impl Cell for AtomicU64 {
    const KIND: &'static str = "u64";
    fn clear(&self) {
        self.store(0, Ordering::Relaxed);
    }
}

impl Cell for AtomicU32 {
    const KIND: &'static str = "u32";
    fn clear(&self) {
        self.store(0, Ordering::Relaxed);
    }
}

/// The bytes of a request line, in words so that they can be written atomically.
#[repr(transparent)]
pub struct LineText([AtomicU64; LINE_WORDS]);

impl Cell for LineText {
    const KIND: &'static str = "bytes200";
    fn clear(&self) {
        for word in &self.0 {
            word.store(0, Ordering::Relaxed);
        }
    }
}

/// One counter for each of several apps, by their ids; those that are counted here no more share the last.
#[repr(transparent)]
pub struct AppCounts([AtomicU64; APPS_COUNTED]);

const APPS_COUNTED: usize = 16;

impl Cell for AppCounts {
    const KIND: &'static str = "u64x16";
    fn clear(&self) {
        for count in &self.0 {
            count.store(0, Ordering::Relaxed);
        }
    }
}

impl AppCounts {
    fn add(&self, app: usize) {
        self.0[app.min(APPS_COUNTED - 1)].fetch_add(1, Ordering::Relaxed);
    }
}

/// A part of the shared memory that consists of cells only.
trait Block {
    const FIELDS: &'static [Field];
    /// Set every cell to 0.
    fn clear(&self);
}

/// Declares a block and its description together. Blocks are whole cache lines, so that two writers never share one.
macro_rules! block {
    ($(#[$meta:meta])* $name:ident { $( $(#[$doc:meta])* $field:ident: $type:ty, )* }) => {
        $(#[$meta])*
        #[repr(C, align(64))]
        pub struct $name { $( $(#[$doc])* pub $field: $type, )* }

        impl Block for $name {
            const FIELDS: &'static [Field] = &[
                $( Field {
                    name: stringify!($field),
                    offset: offset_of!($name, $field),
                    kind: <$type as Cell>::KIND,
                }, )*
            ];

            fn clear(&self) {
                $( self.$field.clear(); )*
            }
        }
    };
}

block! {
    /// Written by the master: once, before the first worker exists, but for `waiting`.
    Header {
        magic: AtomicU64,
        version: AtomicU32,
        slots: AtomicU32,
        /// App threads of each worker.
        threads: AtomicU32,
        /// Connections that wait, as the master sees it; only where `harakiri-queue-threshold` asks.
        waiting: AtomicU64,
    }
}

block! {
    /// One worker. Counters start at 0 with the process.
    WorkerBoard {
        pid: AtomicU64,
        /// 1 for the first worker.
        worker_id: AtomicU64,
        /// A [`WorkerState`].
        state: AtomicU64,
        /// Microseconds since 1970.
        started_at_us: AtomicU64,
        /// Requests that were answered, by the app or from a file.
        requests: AtomicU64,
        /// Exceptions that the app let out.
        exceptions: AtomicU64,
        /// Answered with a status of 500 or more, or cut by an exception.
        server_errors: AtomicU64,
        /// Bytes of heads and bodies that were sent.
        tx_bytes: AtomicU64,
        /// Time spent in requests, summed over the threads.
        running_time_us: AtomicU64,
        /// (old + new) / 2 at the end of each request, as uWSGI's `avg_rt`.
        average_response_us: AtomicU64,
        /// Open connections.
        connections: AtomicU64,
        /// Requests that the engine itself answered with a 4xx or 5xx.
        refused: AtomicU64,
        /// uwsgi signals that were handled.
        signals: AtomicU64,
        /// Connections that were taken from a listener.
        accepted: AtomicU64,
        /// Complete requests that wait for an app thread, and since when the first of them does: CLOCK_MONOTONIC,
        /// microseconds.
        waiting: AtomicU64,
        waiting_since_us: AtomicU64,
        /// Requests that had to wait for an app thread and have got one, and how long all of them together waited. Those
        /// that the thread of the event loop serves at once are not among them.
        waited: AtomicU64,
        waited_us: AtomicU64,
        /// Requests and exceptions of each app, where there are several.
        app_requests: AppCounts,
        app_exceptions: AppCounts,
    }
}

block! {
    /// One app thread of a worker.
    ThreadBoard {
        /// 0 idle, 1 in the app, 2 in the app with a request whose client was answered without it.
        state: AtomicU64,
        /// When the current or last request entered the app: CLOCK_MONOTONIC, microseconds.
        since_us: AtomicU64,
        /// The same moment in microseconds since 1970.
        since_epoch_us: AtomicU64,
        requests: AtomicU64,
        /// Answered with a file, by `static-map` and its kin or by a rule.
        static_requests: AtomicU64,
        /// Ended by a rule, with a file or without.
        routed_requests: AtomicU64,
        read_errors: AtomicU64,
        write_errors: AtomicU64,
        exceptions: AtomicU64,
        /// Odd while the line is being written; a reader that sees it odd or changed has no line.
        line_sequence: AtomicU64,
        line_length: AtomicU64,
        /// `METHOD URI` of the current or last request; control characters stand as `?`.
        line: LineText,
    }
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum WorkerState {
    Free = 0,
    Starting = 1,
    Accepting = 2,
    Paused = 3,
    Draining = 4,
}

/// What ended a request that the app never saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    File,
    Rule,
    FileOfRule,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Finished {
    /// Head and body bytes that were sent.
    pub tx_bytes: u64,
    pub elapsed_us: u64,
    /// The app let an exception out.
    pub exception: bool,
    /// The status; 0 if the client got none.
    pub status: u16,
}

impl WorkerBoard {
    /// Counts a request of one of several apps.
    pub fn count_app(&self, app: usize, failed: bool) {
        self.app_requests.add(app);
        if failed {
            self.app_exceptions.add(app);
        }
    }

    /// Shows how many requests wait for a thread, and since when the first of them does.
    pub fn show_waiting(&self, count: usize, since_us: u64) {
        self.waiting_since_us.store(since_us, Ordering::Relaxed);
        self.waiting.store(count as u64, Ordering::Relaxed);
    }

    /// A request that waited for a thread has got one.
    pub fn count_wait(&self, wait_us: u64) {
        self.waited.fetch_add(1, Ordering::Relaxed);
        self.waited_us.fetch_add(wait_us, Ordering::Relaxed);
    }

    pub fn set_state(&self, state: WorkerState) {
        self.state.store(state as u64, Ordering::Relaxed);
    }

    fn count(&self, done: &Finished) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.tx_bytes.fetch_add(done.tx_bytes, Ordering::Relaxed);
        self.running_time_us.fetch_add(done.elapsed_us, Ordering::Relaxed);
        // Two threads that end at once may lose one of the two samples: it is an impression, not a sum.
        let average = self.average_response_us.load(Ordering::Relaxed).midpoint(done.elapsed_us);
        self.average_response_us.store(average, Ordering::Relaxed);
        if done.exception {
            self.exceptions.fetch_add(1, Ordering::Relaxed);
        }
        if done.exception || done.status >= 500 {
            self.server_errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl ThreadBoard {
    /// A request enters the app on this thread.
    pub fn begin(&self, now_mono_us: u64, now_epoch_us: u64, method: &[u8], uri: &[u8]) {
        self.since_us.store(now_mono_us, Ordering::Relaxed);
        self.since_epoch_us.store(now_epoch_us, Ordering::Relaxed);
        self.write_line(method, uri);
        // Release: who sees the thread busy sees since when (harakiri depends on it).
        self.state.store(1, Ordering::Release);
    }

    /// The request of `begin` is over.
    pub fn end(&self, worker: &WorkerBoard, done: &Finished) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if done.exception {
            self.exceptions.fetch_add(1, Ordering::Relaxed);
        }
        worker.count(done);
        self.state.store(0, Ordering::Release);
    }

    /// A request is over that the app never saw.
    pub fn own_request(&self, worker: &WorkerBoard, done: &Finished, source: Source) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if source != Source::Rule {
            self.static_requests.fetch_add(1, Ordering::Relaxed);
        }
        if source != Source::File {
            self.routed_requests.fetch_add(1, Ordering::Relaxed);
        }
        worker.count(done);
    }

    /// The client of the current request is answered without the app.
    pub fn detach(&self) {
        // Not if the request has just ended.
        let _ = self.state.compare_exchange(1, 2, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The line as a reader sees it, or None if it was being written.
    pub fn line(&self) -> Option<Vec<u8>> {
        let before = self.line_sequence.load(Ordering::Acquire);
        let length = self.line_length.load(Ordering::Relaxed);
        let mut bytes: Vec<u8> =
            self.line.0.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        fence(Ordering::Acquire);
        let after = self.line_sequence.load(Ordering::Relaxed);
        if before % 2 == 1 || before != after {
            return None;
        }
        bytes.truncate(usize::try_from(length).unwrap_or(LINE_BYTES));
        Some(bytes)
    }

    fn write_line(&self, method: &[u8], uri: &[u8]) {
        let mut text = [0_u8; LINE_BYTES];
        let mut length = 0;
        for piece in [method, b" ", uri] {
            let piece = &piece[..piece.len().min(LINE_BYTES - length)];
            text[length..length + piece.len()].copy_from_slice(piece);
            length += piece.len();
        }
        for byte in &mut text[..length] {
            if byte.is_ascii_control() {
                *byte = b'?';
            }
        }
        let sequence = self.line_sequence.load(Ordering::Relaxed);
        // `| 1` also mends the number that a writer which was killed in mid-line left odd.
        self.line_sequence.store(sequence | 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, bytes) in self.line.0.iter().zip(text[..length.next_multiple_of(8)].chunks_exact(8)) {
            let mut copy = [0; 8];
            copy.copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(copy), Ordering::Relaxed);
        }
        self.line_length.store(length as u64, Ordering::Relaxed);
        self.line_sequence.store((sequence | 1).wrapping_add(1), Ordering::Release);
    }
}

/// A mapped scoreboard.
pub struct Board {
    base: NonNull<u8>,
    size_bytes: usize,
    slots: usize,
    threads: usize,
}

// SAFETY: the mapping stays where it is until Drop, and all access to it is through atomics.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    /// Map the scoreboard that the master made, for a worker in `slot` with `threads` app threads.
    ///
    /// Fails if the file is not a scoreboard of this version, is too short, or has no room for this worker.
    pub fn map(fd: BorrowedFd<'_>, slot: usize, threads: usize) -> io::Result<Board> {
        let size_bytes = file_size(fd)?;
        if size_bytes < size_of::<Header>() {
            return Err(refuse(format!("it has {size_bytes} bytes, less than its header of {}", size_of::<Header>())));
        }
        let base = map_memory(Some(fd), size_bytes)?;
        // From here on Drop unmaps.
        let mut board = Board { base, size_bytes, slots: 0, threads: 0 };
        let header = board.header();
        let magic = header.magic.load(Ordering::Relaxed);
        if magic != MAGIC {
            return Err(refuse(format!("it starts with {magic:#018x} instead of {MAGIC:#018x}")));
        }
        let version = header.version.load(Ordering::Relaxed);
        if version != VERSION {
            return Err(refuse(format!("its layout is version {version}, this engine writes version {VERSION}")));
        }
        let slots = header.slots.load(Ordering::Relaxed) as usize;
        let its_threads = header.threads.load(Ordering::Relaxed) as usize;
        if size_for(slots, its_threads).is_none_or(|needed| needed > size_bytes) {
            return Err(refuse(format!("{size_bytes} bytes do not hold {slots} slots of {its_threads} threads")));
        }
        if slot >= slots || threads > its_threads {
            return Err(refuse(format!(
                "it has {slots} slots of {its_threads} threads, which leaves no room for slot {slot} with {threads} threads"
            )));
        }
        board.slots = slots;
        board.threads = its_threads;
        Ok(board)
    }

    /// A scoreboard of one slot that nobody else sees.
    pub fn private(threads: usize) -> io::Result<Board> {
        let size_bytes = size_for(1, threads).ok_or_else(|| refuse(format!("{threads} threads are too many")))?;
        let threads_cell = u32::try_from(threads).map_err(|_| refuse(format!("{threads} threads are too many")))?;
        let base = map_memory(None, size_bytes)?;
        let board = Board { base, size_bytes, slots: 1, threads };
        let header = board.header();
        header.magic.store(MAGIC, Ordering::Relaxed);
        header.version.store(VERSION, Ordering::Relaxed);
        header.slots.store(1, Ordering::Relaxed);
        header.threads.store(threads_cell, Ordering::Relaxed);
        Ok(board)
    }

    /// Take `slot` for this process: everything that an earlier worker counted there is cleared.
    pub fn start(&self, slot: usize, pid: u32, now_epoch_us: u64) {
        let worker = self.worker(slot);
        worker.clear();
        for thread in 0..self.threads {
            self.thread(slot, thread).clear();
        }
        worker.pid.store(u64::from(pid), Ordering::Relaxed);
        worker.started_at_us.store(now_epoch_us, Ordering::Relaxed);
        worker.set_state(WorkerState::Starting);
    }

    /// The block of the worker in `slot`. Panics if there is no such slot; `map` has checked the worker's own.
    pub fn worker(&self, slot: usize) -> &WorkerBoard {
        self.block(self.slot_offset(slot))
    }

    /// The block of one app thread. Panics if there is no such slot or thread; `map` has checked the worker's own.
    pub fn thread(&self, slot: usize, thread: usize) -> &ThreadBoard {
        assert!(thread < self.threads, "thread {thread} of a scoreboard with {} threads", self.threads);
        self.block(self.slot_offset(slot) + size_of::<WorkerBoard>() + thread * size_of::<ThreadBoard>())
    }

    fn header(&self) -> &Header {
        self.block(0)
    }

    /// Connections that wait, as the master saw it last.
    pub fn waiting(&self) -> u64 {
        self.header().waiting.load(Ordering::Relaxed)
    }

    fn slot_offset(&self, slot: usize) -> usize {
        assert!(slot < self.slots, "slot {slot} of a scoreboard with {} slots", self.slots);
        size_of::<Header>() + slot * slot_size(self.threads)
    }

    fn block<T: Block>(&self, offset: usize) -> &T {
        assert!(offset + size_of::<T>() <= self.size_bytes, "a block ends at or before the end of the scoreboard");
        // SAFETY: the range lies in the mapping (asserted), which lives as long as self. Blocks consist of atomics, for
        // which every bit pattern is valid, and other processes change them only atomically. The mapping starts at a
        // page and every block's size is a multiple of its alignment, so that the address is aligned.
        unsafe { self.base.add(offset).cast::<T>().as_ref() }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: base and size_bytes are what mmap gave, and no reference into the mapping outlives self.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size_bytes) };
    }
}

const fn slot_size(threads: usize) -> usize {
    size_of::<WorkerBoard>() + threads * size_of::<ThreadBoard>()
}

/// Bytes of a scoreboard, or None if that is more than can be addressed.
fn size_for(slots: usize, threads: usize) -> Option<usize> {
    threads
        .checked_mul(size_of::<ThreadBoard>())?
        .checked_add(size_of::<WorkerBoard>())?
        .checked_mul(slots)?
        .checked_add(size_of::<Header>())
}

fn refuse(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the scoreboard can not be used: {why}"))
}

fn file_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: all-zero is a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: fd is open for the borrow's lifetime and stat is writable.
    if unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    usize::try_from(stat.st_size).map_err(|_| refuse(format!("its size is {}", stat.st_size)))
}

fn map_memory(fd: Option<BorrowedFd<'_>>, size_bytes: usize) -> io::Result<NonNull<u8>> {
    let (flags, fd) = match fd {
        Some(fd) => (libc::MAP_SHARED, fd.as_raw_fd()),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
    let base =
        unsafe { libc::mmap(std::ptr::null_mut(), size_bytes, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
    if base == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(
            error.kind(),
            format!("the scoreboard ({size_bytes} bytes) can not be mapped: {error}"),
        ));
    }
    NonNull::new(base.cast()).ok_or_else(|| refuse("it was mapped at address 0".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::os::fd::{AsFd, FromRawFd};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    fn memfd(size_bytes: usize) -> File {
        // SAFETY: the name is a C string; the descriptor is new and belongs to the File.
        let file = unsafe {
            let fd = libc::memfd_create(c"scoreboard-test".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0);
            File::from_raw_fd(fd)
        };
        file.set_len(size_bytes as u64).unwrap();
        file
    }

    /// What the master does, with nothing but the description.
    fn master_makes(slots: u32, threads: u32) -> File {
        let layout = layout();
        let stride = layout.worker_bytes + threads as usize * layout.thread_bytes;
        let mut file = memfd(layout.header_bytes + slots as usize * stride);
        put(&mut file, offset(layout.header_fields, "magic"), &layout.magic.to_ne_bytes());
        put(&mut file, offset(layout.header_fields, "version"), &layout.version.to_ne_bytes());
        put(&mut file, offset(layout.header_fields, "slots"), &slots.to_ne_bytes());
        put(&mut file, offset(layout.header_fields, "threads"), &threads.to_ne_bytes());
        file
    }

    fn put(file: &mut File, offset: usize, bytes: &[u8]) {
        file.seek(SeekFrom::Start(offset as u64)).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn offset(fields: &[Field], name: &str) -> usize {
        fields.iter().find(|field| field.name == name).unwrap().offset
    }

    fn read_u64(file: &mut File, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        file.seek(SeekFrom::Start(offset as u64)).unwrap();
        file.read_exact(&mut bytes).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn refusal(file: &File, slot: usize, threads: usize) -> String {
        Board::map(file.as_fd(), slot, threads).err().unwrap().to_string()
    }

    #[test]
    fn layout_has_no_overlap_and_ends_within_its_blocks() {
        let layout = layout();
        for (fields, size) in [
            (layout.header_fields, layout.header_bytes),
            (layout.worker_fields, layout.worker_bytes),
            (layout.thread_fields, layout.thread_bytes),
        ] {
            let mut end = 0;
            for field in fields {
                assert!(field.offset >= end, "{field:?}");
                end = field.offset
                    + match field.kind {
                        "u32" => 4,
                        "u64" => 8,
                        kind => match kind.strip_prefix("u64x") {
                            Some(count) => 8 * count.parse::<usize>().unwrap(),
                            None => kind.strip_prefix("bytes").unwrap().parse().unwrap(),
                        },
                    };
            }
            assert!(end <= size);
            assert_eq!(size % 64, 0);
        }
        assert_eq!(LineText::KIND, format!("bytes{LINE_BYTES}"));
        assert_eq!(AppCounts::KIND, format!("u64x{APPS_COUNTED}"));
    }

    #[test]
    fn apps_without_a_counter_of_their_own_share_the_last() {
        let board = Board::private(1).unwrap();
        let worker = board.worker(0);
        for (app, failed) in [(0, false), (1, true), (15, false), (16, true), (4711, false)] {
            worker.count_app(app, failed);
        }
        let counts = |counts: &AppCounts| [0, 1, 2, 15].map(|app| counts.0[app].load(Ordering::Relaxed));
        assert_eq!(counts(&worker.app_requests), [1, 1, 0, 3]);
        assert_eq!(counts(&worker.app_exceptions), [0, 1, 0, 1]);
    }

    #[test]
    fn layout_names_what_the_master_reads() {
        let layout = layout();
        let names = |fields: &[Field]| fields.iter().map(|field| field.name).collect::<Vec<_>>();
        assert_eq!(names(layout.header_fields), ["magic", "version", "slots", "threads", "waiting"]);
        for name in [
            "pid",
            "state",
            "started_at_us",
            "requests",
            "exceptions",
            "tx_bytes",
            "running_time_us",
            "average_response_us",
            "connections",
            "refused",
            "signals",
        ] {
            assert!(names(layout.worker_fields).contains(&name), "{name}");
        }
        for name in [
            "state",
            "since_us",
            "requests",
            "static_requests",
            "routed_requests",
            "read_errors",
            "write_errors",
            "exceptions",
            "line_sequence",
            "line_length",
            "line",
            "since_epoch_us",
        ] {
            assert!(names(layout.thread_fields).contains(&name), "{name}");
        }
    }

    #[test]
    fn the_master_reads_what_a_worker_wrote() {
        let mut file = master_makes(3, 2);
        let board = Board::map(file.as_fd(), 2, 2).unwrap();
        board.start(2, 4711, 99);
        let thread = board.thread(2, 1);
        thread.begin(1_000, 2_000, b"GET", b"/admin/?q=1");
        let described = layout();
        let worker_at = described.header_bytes + 2 * (described.worker_bytes + 2 * described.thread_bytes);
        let thread_at = worker_at + described.worker_bytes + described.thread_bytes;
        assert_eq!(read_u64(&mut file, worker_at + offset(described.worker_fields, "pid")), 4711);
        assert_eq!(read_u64(&mut file, worker_at + offset(described.worker_fields, "state")), 1);
        assert_eq!(read_u64(&mut file, worker_at + offset(described.worker_fields, "started_at_us")), 99);
        assert_eq!(read_u64(&mut file, thread_at + offset(described.thread_fields, "state")), 1);
        assert_eq!(read_u64(&mut file, thread_at + offset(described.thread_fields, "since_us")), 1_000);
        assert_eq!(read_u64(&mut file, thread_at + offset(described.thread_fields, "since_epoch_us")), 2_000);
        let length = read_u64(&mut file, thread_at + offset(described.thread_fields, "line_length"));
        let mut line = vec![0; usize::try_from(length).unwrap()];
        file.seek(SeekFrom::Start((thread_at + offset(described.thread_fields, "line")) as u64)).unwrap();
        file.read_exact(&mut line).unwrap();
        assert_eq!(line, b"GET /admin/?q=1");
    }

    #[test]
    fn a_request_is_counted_once_in_thread_and_worker() {
        let board = Board::private(2).unwrap();
        let (worker, thread) = (board.worker(0), board.thread(0, 1));
        thread.begin(1, 2, b"GET", b"/");
        thread.end(worker, &Finished { tx_bytes: 300, elapsed_us: 1_000, exception: false, status: 200 });
        thread.begin(5, 6, b"GET", b"/");
        thread.end(worker, &Finished { tx_bytes: 100, elapsed_us: 2_000, exception: true, status: 500 });
        let sources = [Source::File, Source::Rule, Source::FileOfRule];
        for (source, tx_bytes) in sources.into_iter().zip([50, 0, 0]) {
            thread.own_request(worker, &Finished { tx_bytes, elapsed_us: 0, exception: false, status: 200 }, source);
        }
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        assert_eq!(read(&worker.requests), 5);
        assert_eq!(read(&worker.exceptions), 1);
        assert_eq!(read(&worker.tx_bytes), 450);
        assert_eq!(read(&worker.running_time_us), 3_000);
        assert_eq!(read(&worker.average_response_us), u64::midpoint(500, 2_000) / 8);
        assert_eq!(read(&thread.requests), 5);
        assert_eq!(read(&thread.static_requests), 2);
        assert_eq!(read(&thread.routed_requests), 2);
        assert_eq!(read(&thread.exceptions), 1);
        assert_eq!(read(&thread.state), 0);
        assert_eq!(read(&board.thread(0, 0).requests), 0);
    }

    #[test]
    fn waits_are_summed_up() {
        let board = Board::private(1).unwrap();
        board.worker(0).count_wait(0);
        board.worker(0).count_wait(1_500);
        assert_eq!(board.worker(0).waited.load(Ordering::Relaxed), 2);
        assert_eq!(board.worker(0).waited_us.load(Ordering::Relaxed), 1_500);
    }

    #[test]
    fn the_average_does_not_overflow() {
        let board = Board::private(1).unwrap();
        board.worker(0).average_response_us.store(u64::MAX, Ordering::Relaxed);
        board.thread(0, 0).end(board.worker(0), &Finished { elapsed_us: u64::MAX, ..Finished::default() });
        assert_eq!(board.worker(0).average_response_us.load(Ordering::Relaxed), u64::MAX);
    }

    #[test]
    fn a_long_line_is_cut_and_control_characters_are_replaced() {
        let board = Board::private(1).unwrap();
        let thread = board.thread(0, 0);
        thread.begin(0, 0, b"GET", &[b'a'; 5_000]);
        assert_eq!(thread.line().unwrap().len(), LINE_BYTES);
        thread.begin(0, 0, b"PO\nST", b"/\x1b[2J\0\x7f\xc3\xa9");
        assert_eq!(thread.line().unwrap(), b"PO?ST /?[2J??\xc3\xa9");
        thread.begin(0, 0, &[b'm'; 300], b"/");
        assert_eq!(thread.line().unwrap(), [b'm'; LINE_BYTES]);
        thread.begin(0, 0, b"", b"");
        assert_eq!(thread.line().unwrap(), b" ");
    }

    #[test]
    fn a_line_left_half_written_is_not_shown_and_mends_itself() {
        let board = Board::private(1).unwrap();
        let thread = board.thread(0, 0);
        thread.line_sequence.store(7, Ordering::Relaxed);
        assert_eq!(thread.line(), None);
        thread.begin(0, 0, b"GET", b"/");
        assert_eq!(thread.line_sequence.load(Ordering::Relaxed), 8);
        assert_eq!(thread.line().unwrap(), b"GET /");
    }

    #[test]
    fn a_reader_never_sees_two_lines_mixed() {
        let board = Arc::new(Board::private(1).unwrap());
        let over = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (board, over) = (Arc::clone(&board), Arc::clone(&over));
            move || {
                for round in 0..200_000_u32 {
                    let letter = b'a' + u8::try_from(round % 26).unwrap();
                    board.thread(0, 0).begin(0, 0, &[letter; 60], &[letter; 100]);
                }
                over.store(true, Ordering::Relaxed);
            }
        });
        while !over.load(Ordering::Relaxed) {
            if let Some(line) = board.thread(0, 0).line().filter(|line| !line.is_empty()) {
                assert_eq!(line.len(), 161);
                assert!(line.iter().all(|byte| *byte == line[0] || *byte == b' '), "{}", line.escape_ascii());
            }
        }
        writer.join().unwrap();
    }

    #[test]
    fn starting_in_a_used_slot_clears_it_and_only_it() {
        let file = master_makes(2, 1);
        let board = Board::map(file.as_fd(), 0, 1).unwrap();
        for slot in 0..2 {
            board.start(slot, 1, 1);
            board.thread(slot, 0).begin(1, 1, b"GET", b"/old");
            board
                .thread(slot, 0)
                .end(board.worker(slot), &Finished { tx_bytes: 9, elapsed_us: 9, exception: true, status: 500 });
        }
        board.start(0, 2, 5);
        assert_eq!(board.worker(0).requests.load(Ordering::Relaxed), 0);
        assert_eq!(board.worker(0).pid.load(Ordering::Relaxed), 2);
        assert_eq!(board.thread(0, 0).exceptions.load(Ordering::Relaxed), 0);
        assert_eq!(board.thread(0, 0).line().unwrap(), b"");
        assert_eq!(board.worker(1).requests.load(Ordering::Relaxed), 1);
        assert_eq!(board.thread(1, 0).line().unwrap(), b"GET /old");
    }

    #[test]
    fn two_mappings_are_one_memory() {
        let file = master_makes(1, 1);
        let (one, two) = (Board::map(file.as_fd(), 0, 1).unwrap(), Board::map(file.as_fd(), 0, 1).unwrap());
        one.worker(0).set_state(WorkerState::Draining);
        assert_eq!(two.worker(0).state.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn what_is_no_scoreboard_is_refused_in_words() {
        assert!(refusal(&memfd(0), 0, 1).contains("it has 0 bytes"));
        assert!(refusal(&memfd(4096), 0, 1).contains("it starts with 0x0000000000000000"));
        let mut file = master_makes(1, 1);
        put(&mut file, offset(Header::FIELDS, "version"), &77_u32.to_ne_bytes());
        assert!(refusal(&file, 0, 1).contains("its layout is version 77"));
        let file = master_makes(2, 3);
        assert!(refusal(&file, 2, 3).contains("no room for slot 2 with 3 threads"));
        assert!(refusal(&file, 0, 4).contains("no room for slot 0 with 4 threads"));
        assert!(Board::map(file.as_fd(), 1, 2).is_ok());
    }

    #[test]
    fn a_header_that_lies_about_its_size_is_refused() {
        for (slots, threads) in [(2, 1), (u32::MAX, u32::MAX), (u32::MAX, 1), (1, u32::MAX)] {
            let mut file = master_makes(1, 1);
            put(&mut file, offset(Header::FIELDS, "slots"), &slots.to_ne_bytes());
            put(&mut file, offset(Header::FIELDS, "threads"), &threads.to_ne_bytes());
            assert!(refusal(&file, 0, 1).contains("bytes do not hold"), "{slots} {threads}");
        }
    }

    #[test]
    fn a_descriptor_that_can_not_be_mapped_is_an_error() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Board::map(one.as_fd(), 0, 1).is_err());
        let mut path = std::env::temp_dir();
        path.push(format!("scoreboard-{}", std::process::id()));
        std::fs::write(&path, [1; 4096]).unwrap();
        let read_only = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(Board::map(read_only.as_fd(), 0, 1).err().unwrap().to_string().contains("can not be mapped"));
    }
}
