//! Which descriptors are ready. One trait, so that another kernel's mechanism can stand in; epoll is the one there is.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// What the kernel reports of one descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub key: u64,
    pub readable: bool,
    pub writable: bool,
    /// The peer closed its sending side, or the connection broke.
    pub hung_up: bool,
}

/// How a descriptor is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Reported again and again while it is readable: pipes, control sockets.
    Level,
    /// A socket shared with other processes: one of the waiting pollers is woken, not all.
    Shared,
    /// A connection: each arrival is reported once, and the poller is never re-armed.
    Arrival,
    /// As `Arrival`, and each time that there is room to send again.
    ArrivalAndRoom,
}

pub trait Poller {
    fn add(&self, fd: RawFd, key: u64, interest: Interest) -> io::Result<()>;
    fn remove(&self, fd: RawFd);
    /// Waits at most `timeout_ms` (negative: without limit); returns how many events `event` gives.
    fn wait(&mut self, timeout_ms: i32) -> io::Result<usize>;
    fn event(&self, index: usize) -> Event;
}

/// The events of one call; more come with the next one.
const BATCH: usize = 128;

pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `epoll_create1` made this descriptor just now and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH] })
    }

    /// The descriptor itself: watching for room may be asked for by a thread that does not own the poller.
    pub fn handle(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Changes how `fd` is watched by the epoll behind `epoll`; the kernel serialises this with waits.
pub fn change_interest(epoll: RawFd, fd: RawFd, key: u64, interest: Interest) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_MOD, fd, key, interest)
}

/// Starts to watch `fd` with the epoll behind `epoll`.
pub fn add_interest(epoll: RawFd, fd: RawFd, key: u64, interest: Interest) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_ADD, fd, key, interest)
}

fn control(epoll: RawFd, operation: i32, fd: RawFd, key: u64, interest: Interest) -> io::Result<()> {
    let flags = match interest {
        Interest::Level => libc::EPOLLIN,
        Interest::Shared => libc::EPOLLIN | libc::EPOLLEXCLUSIVE,
        Interest::Arrival => libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET,
        Interest::ArrivalAndRoom => libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET,
    };
    let mut event = libc::epoll_event { events: flags as u32, u64: key };
    // SAFETY: `event` is valid for the call.
    if unsafe { libc::epoll_ctl(epoll, operation, fd, &raw mut event) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Poller for Epoll {
    fn add(&self, fd: RawFd, key: u64, interest: Interest) -> io::Result<()> {
        control(self.handle(), libc::EPOLL_CTL_ADD, fd, key, interest)
    }

    fn remove(&self, fd: RawFd) {
        // SAFETY: no event is passed for a removal. A descriptor that is not there any more is no matter.
        unsafe { libc::epoll_ctl(self.handle(), libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) };
    }

    fn wait(&mut self, timeout_ms: i32) -> io::Result<usize> {
        // SAFETY: the pointer and count describe `events`.
        let count =
            unsafe { libc::epoll_wait(self.handle(), self.events.as_mut_ptr(), self.events.len() as i32, timeout_ms) };
        match usize::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                error => Err(error),
            },
        }
    }

    fn event(&self, index: usize) -> Event {
        let event = self.events[index];
        let flags = event.events as i32;
        Event {
            key: event.u64,
            readable: flags & libc::EPOLLIN != 0,
            writable: flags & libc::EPOLLOUT != 0,
            hung_up: flags & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0,
        }
    }
}
