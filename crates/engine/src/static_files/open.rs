//! Opening files so that what is opened lies where it is said to: openat2(2), and the real paths of descriptors.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// O_NONBLOCK, because opening a FIFO would wait for a writer. It has no effect on regular files.
pub const READ: libc::c_int = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;

pub fn open_at(directory: Option<BorrowedFd<'_>>, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = CString::new(path).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    let directory = directory.map_or(libc::AT_FDCWD, |directory| directory.as_raw_fd());
    // SAFETY: path is a C string, and the directory's descriptor is open as long as it is borrowed.
    let fd = unsafe { libc::openat(directory, path.as_ptr(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn open_resolving(directory: RawFd, path: &CStr, resolve: u64) -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a valid open_how: every field is an integer.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (READ | libc::O_CLOEXEC) as u64;
    how.resolve = resolve;
    // SAFETY: path is a C string and how has the size that is given; the kernel keeps neither.
    let result = unsafe {
        libc::syscall(libc::SYS_openat2, directory, path.as_ptr(), &raw const how, size_of::<libc::open_how>())
    };
    match libc::c_int::try_from(result) {
        // SAFETY: the descriptor is new and belongs to nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a failed openat2 leaves open. EXDEV: a link is absolute or leads out. ELOOP: a link where none is allowed, a link
/// of /proc, or really a loop. EAGAIN: something was renamed meanwhile. The others: this kernel or sandbox has no openat2.
pub fn is_undecided(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EXDEV | libc::ELOOP | libc::EAGAIN | libc::ENOSYS | libc::EPERM | libc::EINVAL | libc::E2BIG)
    )
}

/// The state of an open file.
pub fn status_of(file: BorrowedFd<'_>) -> io::Result<libc::stat> {
    // SAFETY: all-zero is a valid stat: every field is an integer.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open as long as it is borrowed, and status is writable.
    if unsafe { libc::fstat(file.as_raw_fd(), &raw mut status) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(status)
}

pub fn is_kind(status: &libc::stat, kind: libc::mode_t) -> bool {
    status.st_mode & libc::S_IFMT == kind
}

/// Whether there is no such file, as opposed to one that can not be opened. ENXIO: a socket.
pub fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), None | Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ENXIO))
}

/// The absolute path of an open file, without symbolic links.
pub fn real_path(fd: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// By whole components: `/srv/static-private` is not beneath `/srv/static`. What the kernel can not name from here, such
/// as `(unreachable)/x`, is beneath nothing.
pub fn is_beneath(file: &Path, directory: &Path) -> bool {
    directory.is_absolute() && file.is_absolute() && file.starts_with(directory)
}

pub fn escaped(path: &Path) -> impl std::fmt::Display + '_ {
    path.as_os_str().as_bytes().escape_ascii()
}
