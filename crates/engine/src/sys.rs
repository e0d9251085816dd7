//! Thin, safe wrappers of the system calls that the standard library does not offer in the form needed here.
//!
//! Every function maps to one system call and returns `io::Result`; nothing is decided, retried (except on `EINTR`)
//! or logged here. All `unsafe` around libc lives in this file and in `scoreboard.rs`.

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Turns the `-1` of a system call into the error that `errno` names, and repeats an interrupted call.
fn retry(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        let result = call();
        if let Ok(count) = usize::try_from(result) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// What to do about an error that says that something of the system has run out; None for other errors.
pub fn shortage_cure(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE => {
            Some("this process may open no more files: raise its limit (LimitNOFILE= of systemd, ulimit -n)")
        }
        libc::ENFILE => Some("the system has no more open files to give: raise fs.file-max with sysctl"),
        libc::ENOMEM | libc::ENOBUFS => Some("the system has no memory left: give it more, or run fewer workers"),
        _ => None,
    }
}

/// Receives what is there without waiting; `Ok(0)` is the end of the stream.
pub fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length describe `buffer`, which is borrowed for the whole call.
    retry(|| unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) })
}

/// Receives behind what `buffer` holds, into capacity that it has already and `most` bytes at most.
pub fn recv_behind(fd: RawFd, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let spare = buffer.spare_capacity_mut();
    let room = spare.len().min(most);
    // SAFETY: the pointer and length describe spare capacity of `buffer`, which is borrowed for the whole call.
    let count = retry(|| unsafe { libc::recv(fd, spare.as_mut_ptr().cast(), room, libc::MSG_DONTWAIT) })?;
    // SAFETY: the kernel has written `count` bytes behind the old length, no more than the capacity had room for.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

/// Sends what the socket takes without waiting; a peer that is gone gives an error, never a signal.
pub fn send(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length describe `data`, which is borrowed for the whole call.
    retry(|| unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) })
}

/// As `send`; with `more`, the kernel may keep the data for a moment to send it together with what follows at once.
pub fn send_before(fd: RawFd, data: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: the pointer and length describe `data`, which is borrowed for the whole call.
    retry(|| unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), flags) })
}

/// Waits until a socket takes more, or is broken; false if that did not happen in time.
pub fn wait_for_room(fd: RawFd, timeout: std::time::Duration) -> bool {
    let mut wanted = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `wanted` is one valid `pollfd`. An interrupted wait counts as one without success.
    unsafe { libc::poll(&raw mut wanted, 1, timeout_ms) > 0 }
}

/// Whether nothing can be received or sent any more; a peer that closed its sending side only may still read.
pub fn is_broken_off(fd: RawFd) -> bool {
    let mut wanted = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: `wanted` is one valid `pollfd`, and this waits for nothing.
    unsafe { libc::poll(&raw mut wanted, 1, 0) > 0 && wanted.revents & (libc::POLLERR | libc::POLLHUP) != 0 }
}

/// Bytes that were sent and that the peer has not acknowledged (a unix socket's: not read); 0 if that can not be known.
pub fn unacknowledged(fd: RawFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ, which is SIOCOUTQ for a socket, writes one int.
    let known = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut count) } == 0;
    if known { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// Sends several pieces in one call, as `send` does for one.
pub fn send_pieces(fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: an all-zero `msghdr` is a valid empty message.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = pieces.len();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `IoSlice` has the layout of `iovec` by its documentation; the pieces outlive the call.
    retry(|| unsafe { libc::sendmsg(fd, &raw const message, flags) })
}

/// Reads from a place in a file; its own position is not touched.
pub fn pread(file: RawFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let position = libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the pointer and length describe `buffer`, which is borrowed for the whole call.
    retry(|| unsafe { libc::pread(file, buffer.as_mut_ptr().cast(), buffer.len(), position) })
}

/// Sends up to `count` bytes of a file from `offset`, which is moved on; the file's own position is not touched.
pub fn sendfile(socket: RawFd, file: RawFd, offset: &mut u64, count: usize) -> io::Result<usize> {
    let mut position = libc::off_t::try_from(*offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `position` is a valid, exclusively borrowed `off_t`.
    let sent = retry(|| unsafe { libc::sendfile(socket, file, &raw mut position, count) })?;
    *offset += sent as u64;
    Ok(sent)
}

/// Who is at the other end of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Inet(SocketAddr),
    Unix,
}

/// Accepts one connection, non-blocking and closed on exec.
pub fn accept(listener: RawFd) -> io::Result<(OwnedFd, Peer)> {
    // SAFETY: an all-zero `sockaddr_storage` is a valid value.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut length = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let fd = loop {
        // SAFETY: `storage` and `length` are valid for writing and describe each other.
        let fd = unsafe {
            libc::accept4(
                listener,
                (&raw mut storage).cast(),
                &raw mut length,
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        };
        if fd >= 0 {
            break fd;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    // SAFETY: `accept4` returned this descriptor just now and nothing else owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((owned, peer_of(&storage)))
}

/// The peer of a connected socket; a connection that came from another worker is asked anew.
pub fn peer_name(fd: RawFd) -> io::Result<Peer> {
    // SAFETY: an all-zero `sockaddr_storage` is a valid value.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut length = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `storage` and `length` are valid for writing and describe each other.
    if unsafe { libc::getpeername(fd, (&raw mut storage).cast(), &raw mut length) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(peer_of(&storage))
}

fn peer_of(storage: &libc::sockaddr_storage) -> Peer {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a `sockaddr_in`, which is smaller than the storage.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Peer::Inet(SocketAddr::new(IpAddr::V4(ip), u16::from_be(address.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the kernel wrote a `sockaddr_in6`, which is smaller than the storage.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr).to_canonical();
            Peer::Inet(SocketAddr::new(ip, u16::from_be(address.sin6_port)))
        }
        _ => Peer::Unix,
    }
}

/// Stops one or both directions of a connection; errors do not matter, the peer may be gone.
pub fn shutdown_write(fd: RawFd) {
    // SAFETY: no memory is passed.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Makes a listening TCP socket overlook who begins to connect, while those whose handshake is under way come through;
/// for every process that shares it. Without it nobody knows a moment at which the queue is empty and stays so.
///
/// Where the kernel does not do it, closing the socket resets whoever has connected a moment before.
pub fn overlook_newcomers(fd: RawFd) {
    // Classic BPF (bpf(4) of the BSDs; linux/filter.h): the flags of the TCP header are its byte 13, and 2 of them is SYN,
    // which a segment to a listener has only if it opens a connection (RFC 9293, 3.5).
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        instruction((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, 0, 0, 13),
        instruction((libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16, 0, 1, 0x02),
        instruction((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0),
        instruction((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `filter` and the program that it points to live until the kernel has copied both.
    unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        );
    }
}

/// Stops both directions of a connection, whoever still has a descriptor of it.
pub fn shutdown(fd: RawFd) {
    // SAFETY: no memory is passed.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Ends a connection so that its peer sees that something is missing, whoever still has a descriptor of it: TCP sends a
/// reset, a unix socket knows only an end.
pub fn cut(fd: RawFd, is_tcp: bool) {
    if is_tcp {
        // SAFETY: an all-zero `sockaddr` is a valid value, and its family is AF_UNSPEC.
        let nobody: libc::sockaddr = unsafe { mem::zeroed() };
        // SAFETY: the pointer and size describe `nobody`. connect(2): it dissolves the association, which is a reset.
        unsafe { libc::connect(fd, &raw const nobody, mem::size_of::<libc::sockaddr>() as libc::socklen_t) };
    }
    shutdown(fd);
}

/// Makes a listening socket refuse new connections, for every process that shares it.
pub fn shutdown_listener(fd: RawFd) {
    // SAFETY: no memory is passed.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Gives up a descriptor that Python handed over for good.
pub fn close(fd: RawFd) {
    if fd >= 0 {
        // SAFETY: no memory is passed. The plan's listeners belong to the engine, which uses each number only until here.
        unsafe { libc::close(fd) };
    }
}

/// Makes the coming close of a TCP connection a reset, so that the peer sees that something is missing.
pub fn reset_on_close(fd: RawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// Makes calls on a descriptor return instead of waiting: an accept loop relies on it.
pub fn set_nonblocking(fd: RawFd) {
    // SAFETY: no memory is passed; a descriptor that is none fails at its first use, with words.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK);
    }
}

/// Sends each write of a TCP socket at once; accepted sockets inherit it from their listener.
pub fn set_no_delay(fd: RawFd) {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1_i32);
}

fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) {
    // SAFETY: the pointer and size describe `value`. A failure leaves the default, which is only slower.
    unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), mem::size_of::<T>() as libc::socklen_t) };
}

/// A second descriptor of the same open file, closed on exec.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fcntl` made this descriptor just now and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Has the kernel make its table of this process's descriptors large enough for `most` of them, as far as the process may
/// open so many. `fd` is any open descriptor.
pub fn reserve_descriptors(fd: RawFd, most: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return;
    }
    let last = limit.rlim_cur.min(most).saturating_sub(1) as libc::c_long;
    // The table grows to hold the number of a copy, and never shrinks.
    // SAFETY: no memory is passed.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, last) };
    if copy >= 0 {
        close(copy);
    }
}

/// Makes descriptor `number` one of `source`'s open file, in one step: nothing that writes to it meanwhile is lost.
pub fn replace(source: RawFd, number: RawFd, closes_on_exec: bool) {
    let flags = if closes_on_exec { libc::O_CLOEXEC } else { 0 };
    // SAFETY: no memory is passed. What can fail leaves the old file in place.
    unsafe { libc::dup3(source, number, flags) };
}

/// Whether both descriptors are open and of one file.
pub fn is_same_file(one: RawFd, other: RawFd) -> bool {
    let identity = |fd| {
        // SAFETY: an all-zero `stat` is a valid value.
        let mut status: libc::stat = unsafe { mem::zeroed() };
        // SAFETY: `status` is valid for writing.
        (unsafe { libc::fstat(fd, &raw mut status) } == 0).then_some((status.st_dev, status.st_ino))
    };
    identity(one).is_some_and(|found| Some(found) == identity(other))
}

/// Size and position of a regular file that lies somewhere; `None` if `fd` is something else, or a file whose contents
/// are made while they are read: those of /proc have size 0, those of /sys a page, and both no blocks.
pub fn regular_file(fd: RawFd) -> Option<(u64, u64)> {
    // SAFETY: an all-zero `stat` is a valid value.
    let mut status: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: `status` is valid for writing.
    if unsafe { libc::fstat(fd, &raw mut status) } < 0 || status.st_mode & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    if status.st_blocks == 0 {
        return None;
    }
    // SAFETY: no memory is passed.
    let position = unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) };
    Some((u64::try_from(status.st_size).ok()?, u64::try_from(position).ok()?))
}

/// A counter that wakes a poll from another thread.
pub struct EventFd(OwnedFd);

impl EventFd {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `eventfd` made this descriptor just now and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn signal(&self) {
        let one = 1_u64;
        // SAFETY: eight bytes of `one` are read. A full counter means that the reader is already awake.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub fn clear(&self) {
        let mut count = 0_u64;
        // SAFETY: eight bytes of `count` are written. An empty counter gives EAGAIN, which is no matter.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn clock(id: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; these clocks always exist on Linux.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time
}

/// What is of interest in a file of a thread is not longer.
const MOST_OF_A_WATCH: usize = 1024;

/// A thread of this process as another one sees it, through /proc. Without a /proc nothing is known. The files are opened
/// for each look: looks are rare, and descriptors that are kept would be two for each thread.
pub struct ThreadWatch {
    thread: libc::pid_t,
}

/// A thread of this process as signals and the interpreter know it.
#[derive(Clone, Copy, Debug)]
pub struct ThreadId(libc::pthread_t);

impl ThreadId {
    pub fn of_this_thread() -> Self {
        // SAFETY: no memory is passed.
        Self(unsafe { libc::pthread_self() })
    }

    /// As `threading.get_ident` has it.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Sends a signal to a thread that has not ended: app threads live as long as their worker.
    pub fn signal(self, number: i32) {
        // SAFETY: no memory is passed, and the thread exists as the caller promises.
        unsafe { libc::pthread_kill(self.0, number) };
    }
}

/// Sends a signal to this process: a thread that takes it handles it.
pub fn signal_process(number: i32) {
    // SAFETY: no memory is passed.
    unsafe { libc::kill(libc::getpid(), number) };
}

/// Takes the text out of a file in memory, up to `most` bytes, so that the next writer begins at its start.
pub fn take_contents(fd: RawFd, most: usize) -> String {
    let mut text = vec![0; most];
    let mut length = 0;
    while length < most {
        match pread(fd, &mut text[length..], length as u64) {
            Ok(count) if count > 0 => length += count,
            _ => break,
        }
    }
    // SAFETY: no memory is passed.
    unsafe {
        libc::ftruncate(fd, 0);
        libc::lseek(fd, 0, libc::SEEK_SET);
    }
    String::from_utf8_lossy(&text[..length]).into_owned()
}

impl ThreadWatch {
    pub fn of_this_thread() -> Self {
        // SAFETY: no memory is passed.
        Self { thread: unsafe { libc::gettid() } }
    }

    /// A file of /proc about it; None if it has ended, or is not shown.
    pub fn read(&self, name: &str) -> Option<String> {
        let file = File::open(format!("/proc/self/task/{}/{name}", self.thread)).ok()?;
        // The kernel makes the whole text for the first read: asking for its size and its end would be three calls more.
        let mut text = [0; MOST_OF_A_WATCH];
        let count = (&file).read(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..count]).into_owned())
    }

    /// How long it has run, or could have run had there been a processor for it, in microseconds.
    pub fn busy_us(&self) -> Option<u64> {
        let text = self.read("schedstat")?;
        // Processor time and time in the queue for a processor, in nanoseconds.
        let mut numbers = text.split_ascii_whitespace();
        let ran: u64 = numbers.next()?.parse().ok()?;
        let queued: u64 = numbers.next()?.parse().ok()?;
        Some((ran + queued) / 1000)
    }

    /// Whether it runs, or would if there were a processor for it; false if that can not be known.
    pub fn is_runnable(&self) -> bool {
        // proc_pid_stat(5): the name before the state is in parentheses, and may have parentheses itself.
        self.read("stat").is_some_and(|text| text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('R')))
    }
}

/// Milliseconds of the monotonic clock, a few milliseconds coarse: for timeouts.
pub fn now_ms() -> u64 {
    let time = clock(libc::CLOCK_MONOTONIC_COARSE);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// Microseconds of the monotonic clock: for durations.
pub fn now_us() -> u64 {
    let time = clock(libc::CLOCK_MONOTONIC);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// 32 bytes that nobody can guess; where the kernel gives none, bytes that are at least this process's own.
pub fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    // SAFETY: the pointer and length are those of `key`, which outlives the call.
    let count = unsafe { libc::getrandom(key.as_mut_ptr().cast(), key.len(), 0) };
    if count != key.len() as isize {
        key[..8].copy_from_slice(&epoch_us().to_le_bytes());
        key[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    }
    key
}

/// Microseconds since 1970: for what people read.
pub fn epoch_us() -> u64 {
    let time = clock(libc::CLOCK_REALTIME);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// Seconds since 1970, coarse: for the `Date` line.
pub fn epoch_s() -> u64 {
    clock(libc::CLOCK_REALTIME_COARSE).tv_sec as u64
}

/// Ends the process at once, without any clean-up of Rust, C or Python.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` does not return and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// Blocks every signal for the calling thread, so that signals go to the threads that expect them.
pub fn block_signals() {
    // SAFETY: the set is initialised by `sigfillset` before it is used.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
}

/// Sends `data` and one descriptor over a unix socket, without waiting.
pub fn send_descriptor(socket: RawFd, data: &[u8], fd: RawFd) -> io::Result<()> {
    let piece = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    let mut control = ControlBuffer([0; 64]);
    // SAFETY: an all-zero `msghdr` is a valid empty message.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = (&raw const piece).cast_mut();
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE only computes.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(FD_BYTES) } as _;
    // SAFETY: the control buffer is aligned for `cmsghdr` and large enough for one descriptor.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(FD_BYTES) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd);
    }
    // SAFETY: every pointer of `message` stays valid for the call.
    retry(|| unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) })?;
    Ok(())
}

/// Receives a datagram and the descriptor that came with it, without waiting.
pub fn receive_descriptor(socket: RawFd, data: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let piece = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    let mut control = ControlBuffer([0; 64]);
    // SAFETY: an all-zero `msghdr` is a valid empty message.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = (&raw const piece).cast_mut();
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer of `message` stays valid for the call.
    let count =
        retry(|| unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) })?;
    // SAFETY: the kernel filled the control buffer and its length; the header is checked before its data is read.
    let fd = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_RIGHTS
            && (*header).cmsg_len as usize >= libc::CMSG_LEN(FD_BYTES) as usize
        {
            Some(OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()))
        } else {
            None
        }
    };
    Ok((count, fd))
}

const FD_BYTES: u32 = mem::size_of::<RawFd>() as u32;

/// Room for one descriptor's control message, aligned as `cmsghdr` wants it.
#[repr(align(8))]
struct ControlBuffer([u8; 64]);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, OnceLock, mpsc};

    #[test]
    fn a_thread_that_waits_is_told_from_one_that_computes() {
        let watch: Arc<OnceLock<ThreadWatch>> = Arc::default();
        let (wait, waiting) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        let theirs = Arc::clone(&watch);
        let thread = std::thread::spawn(move || {
            assert!(theirs.set(ThreadWatch::of_this_thread()).is_ok());
            let begun = std::time::Instant::now();
            while begun.elapsed() < std::time::Duration::from_millis(20) {
                std::hint::spin_loop();
            }
            started.send(()).expect("somebody listens");
            let _ = waiting.recv();
        });
        start.recv().expect("it starts");
        let watch = watch.get().expect("it has set it");
        while watch.is_runnable() {
            std::thread::yield_now();
        }
        assert!(watch.busy_us().is_some_and(|busy_us| busy_us >= 15_000), "it has computed for 20 ms");
        assert!(ThreadWatch::of_this_thread().is_runnable(), "who asks about itself runs");
        drop(wait);
        thread.join().expect("it ends");
    }
}
