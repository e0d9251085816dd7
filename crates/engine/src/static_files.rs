//! `static-map`: files that are served without asking the app.
//!
//! Here: which file a path means, whether it may be served, and the response to a conditional or partial request
//! (RFC 9110, sections 13 and 14). Not here: sending, and decoding of paths.
//!
//! A file is served only if it is a regular one and lies beneath the mapped directory or a `static-safe` one. Either the
//! kernel opens it without leaving the directory (openat2(2), RESOLVE_BENEATH), or, where it does not (a symbolic link
//! that is absolute or leads out, an old kernel, a sandbox), the real path of the *opened* file is compared
//! (/proc/self/fd, proc(5)). Both judge the descriptor that is sent, so that renaming files or swapping links in between
//! gains nothing.
//!
//! Where no symbolic link is on the way, which is almost always, one call opens the whole path with
//! RESOLVE_NO_SYMLINKS: without links and without `..` a path can not leave the directory that it begins with. Nothing
//! is remembered between requests, neither descriptors nor sizes: opening anew costs about a microsecond, and a cache
//! would serve yesterday's file for as long as it lives.
//!
//! What is not found is no answer: the app is asked, as in uWSGI. So is it for a directory and for every method other
//! than GET and HEAD.

use std::cmp::Ordering;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::plan::StaticPlan;
use crate::sys;

/// Whether a request with this method may be answered from a file.
pub fn serves(method: &[u8]) -> bool {
    method == b"GET" || method == b"HEAD"
}

/// The mapped directories and files.
#[derive(Debug, Default)]
pub struct StaticMap {
    mounts: Vec<Mount>,
    /// Directories beside their own root that files may resolve into.
    safe: Vec<PathBuf>,
    types: Types,
}

#[derive(Debug)]
struct Mount {
    /// Without trailing slashes; empty for every path.
    prefix: Vec<u8>,
    target: PathBuf,
    /// No symbolic link was on the way to the target when the worker started: a link-free open is worth a try.
    is_direct: bool,
}

/// Content types by extension: lines of `extension type`, sorted by extension, in lower case. It is searched where it
/// lies: as a hash map it would cost every worker ten times the memory, and a search has a dozen steps.
#[derive(Debug, Default)]
struct Types(Box<str>);

/// What a path means.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// Nothing here: ask the app.
    Missing,
    Found(Found<'a>),
    /// There is something that must not or can not be served: log the sentence, then ask the app.
    Refused(String),
    /// It can not be opened now, because the system has no descriptor or memory for it.
    Unavailable(String),
}

/// Why a file is not served, in a sentence.
enum NotServed {
    Never(String),
    Now(String),
}

/// A regular file that may be served.
#[derive(Debug)]
pub struct Found<'a> {
    file: OwnedFd,
    size: u64,
    /// Whole seconds since 1970, and the nanoseconds after them.
    modified_s: i64,
    modified_ns: i64,
    content_type: Option<&'a str>,
}

impl StaticMap {
    /// What `StaticPlan` says; maps are tried in order. The directories need not exist yet.
    pub fn new(plan: &StaticPlan) -> StaticMap {
        let mount = |(prefix, target): &(String, String)| {
            let target = PathBuf::from(target);
            Mount {
                prefix: prefix.trim_end_matches('/').as_bytes().to_vec(),
                is_direct: target.canonicalize().map_or(true, |real| real == target),
                target,
            }
        };
        StaticMap {
            mounts: plan.maps.iter().map(mount).collect(),
            safe: plan.safe.iter().map(PathBuf::from).collect(),
            types: Types(plan.mime_types.as_str().into()),
        }
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.mounts.is_empty()
    }

    /// Find the file for `path`, the decoded path of a request that `serves` allows.
    ///
    /// A prefix matches whole segments: `/static` means `/static` and `/static/x`, not `/staticx`. Of several maps that
    /// match, the first that has the file serves it.
    pub fn lookup(&self, path: &[u8]) -> Lookup<'_> {
        for mount in &self.mounts {
            let Some(rest) = mount.rest_of(path) else {
                continue;
            };
            if let Some(why) = forbidden(rest) {
                return Lookup::Refused(format!("security error: {} has {why}", path.escape_ascii()));
            }
            match self.open(mount, rest) {
                Ok(None) => {}
                Ok(Some(found)) => return Lookup::Found(found),
                Err(NotServed::Never(why)) => return Lookup::Refused(why),
                Err(NotServed::Now(why)) => return Lookup::Unavailable(why),
            }
        }
        Lookup::Missing
    }

    /// The file at `rest` beneath the mount, None if there is none, or why it is not served.
    fn open(&self, mount: &Mount, rest: &[u8]) -> Result<Option<Found<'_>>, NotServed> {
        let relative = without_leading_slashes(rest);
        let failed = |error: io::Error| {
            let name = mount.target.as_os_str().as_bytes().escape_ascii();
            let what = format!("{name}{} can not be served: {error}", rest.escape_ascii());
            match sys::shortage_cure(&error) {
                Some(cure) => NotServed::Now(format!("{what}; {cure}")),
                None => NotServed::Never(what),
            }
        };
        let opened = if rest.is_empty() {
            // The mapped name itself: it was named by the user, wherever it leads.
            open_at(None, mount.target.as_os_str().as_bytes(), READ).map(|file| (file, None))
        } else if relative.is_empty() {
            // `/robots.txt/` or `/static/`: a directory if anything.
            return Ok(None);
        } else {
            mount.open_beneath(relative)
        };
        let (file, unchecked_root) = match opened {
            Ok(opened) => opened,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let Some(status) = regular(file.as_fd()).map_err(failed)? else {
            return Ok(None);
        };
        if let Some(root) = unchecked_root {
            self.check_place(root.as_fd(), file.as_fd()).map_err(NotServed::Never)?;
        }
        let name = if rest.is_empty() { mount.target.as_os_str().as_bytes() } else { relative };
        Ok(Some(Found {
            file,
            // Neither is negative or cut on a system with 64-bit offsets; elsewhere a file of that size does not open.
            size: u64::try_from(status.st_size).unwrap_or(0),
            modified_s: status.st_mtime,
            modified_ns: status.st_mtime_nsec,
            content_type: self.types.of(name),
        }))
    }

    /// Whether the opened file really lies beneath the opened root or a safe directory.
    fn check_place(&self, root: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<(), String> {
        let real = |fd| {
            real_path(fd).map_err(|error| {
                format!("static files can not be served: their real paths are unknown: /proc/self/fd: {error}")
            })
        };
        let (root, file) = (real(root)?, real(file)?);
        let is_safe =
            |directory: &PathBuf| directory.canonicalize().is_ok_and(|directory| is_beneath(&file, &directory));
        if is_beneath(&file, &root) || self.safe.iter().any(is_safe) {
            return Ok(());
        }
        Err(format!("security error: {} is not under {} or a safe path", escaped(&file), escaped(&root)))
    }
}

impl Mount {
    /// What follows the prefix, if `path` is the prefix or continues it with a slash.
    fn rest_of<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = path.strip_prefix(self.prefix.as_slice())?;
        (rest.is_empty() || rest[0] == b'/').then_some(rest)
    }

    /// Open the file at `path`, which has no `..` segment, beneath the target. If the kernel does not vouch for the
    /// place, the opened target comes with the file and the caller must check.
    fn open_beneath(&self, path: &[u8]) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        if self.is_direct {
            let whole = CString::new([self.target.as_os_str().as_bytes(), b"/", path].concat())?;
            match open_resolving(libc::AT_FDCWD, &whole, libc::RESOLVE_NO_SYMLINKS) {
                Err(error) if is_undecided(&error) => {}
                decided => return Ok((decided?, None)),
            }
        }
        let root = open_at(None, self.target.as_os_str().as_bytes(), libc::O_PATH | libc::O_DIRECTORY)?;
        match open_resolving(
            root.as_raw_fd(),
            &CString::new(path)?,
            libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS,
        ) {
            Err(error) if is_undecided(&error) => Ok((open_at(Some(root.as_fd()), path, READ)?, Some(root))),
            decided => Ok((decided?, None)),
        }
    }
}

impl Types {
    /// The content type of a file by its name's extension. One that could not stand in a header is none.
    fn of(&self, name: &[u8]) -> Option<&str> {
        let name = name.rsplit(|&byte| byte == b'/').next()?;
        let dot = name.iter().rposition(|&byte| byte == b'.')?;
        let given = &name[dot + 1..];
        let mut lowered = [0; EXTENSION_LIMIT_BYTES];
        let extension = lowered.get_mut(..given.len())?;
        extension.copy_from_slice(given);
        extension.make_ascii_lowercase();
        self.find(extension)
    }

    fn find(&self, extension: &[u8]) -> Option<&str> {
        let text = self.0.as_bytes();
        let (mut low, mut high) = (0, text.len());
        // Invariant: the line, if there is one, begins at or after `low` and before `high`; both are beginnings of lines.
        while low < high {
            let middle = low + (high - low) / 2;
            let start = memchr::memrchr(b'\n', &text[low..middle]).map_or(low, |end| low + end + 1);
            let end = memchr::memchr(b'\n', &text[middle..high]).map_or(high, |end| middle + end);
            let line = &text[start..end];
            let space = memchr::memchr(b' ', line)?;
            match line[..space].cmp(extension) {
                Ordering::Less => low = (end + 1).min(high),
                Ordering::Greater => high = start,
                Ordering::Equal => {
                    let kind = self.0.get(start + space + 1..end)?;
                    return (!kind.is_empty() && kind.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
                        .then_some(kind);
                }
            }
        }
        None
    }
}

/// Longer ones have no type.
const EXTENSION_LIMIT_BYTES: usize = 32;

/// What no path may contain, so that it means one file and that one is beneath the root by name.
fn forbidden(path: &[u8]) -> Option<&'static str> {
    if path.contains(&0) {
        Some("a NUL byte")
    } else if path.split(|&byte| byte == b'/').any(|segment| segment == b"..") {
        Some("a `..` segment")
    } else {
        None
    }
}

/// A path with a leading slash would not be looked up beneath the root.
fn without_leading_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    &path[start..]
}

/// O_NONBLOCK, because opening a FIFO would wait for a writer. It has no effect on regular files.
const READ: libc::c_int = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;

fn open_at(directory: Option<BorrowedFd<'_>>, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
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

fn open_resolving(directory: RawFd, path: &CStr, resolve: u64) -> io::Result<OwnedFd> {
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
fn is_undecided(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EXDEV | libc::ELOOP | libc::EAGAIN | libc::ENOSYS | libc::EPERM | libc::EINVAL | libc::E2BIG)
    )
}

/// The state of an open file, None if it is not a regular one.
fn regular(file: BorrowedFd<'_>) -> io::Result<Option<libc::stat>> {
    // SAFETY: all-zero is a valid stat: every field is an integer.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open as long as it is borrowed, and status is writable.
    if unsafe { libc::fstat(file.as_raw_fd(), &raw mut status) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((status.st_mode & libc::S_IFMT == libc::S_IFREG).then_some(status))
}

/// Whether there is no such file, as opposed to one that can not be opened. ENXIO: a socket.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), None | Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ENXIO))
}

/// The absolute path of an open file, without symbolic links.
fn real_path(fd: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// By whole components: `/srv/static-private` is not beneath `/srv/static`. What the kernel can not name from here, such
/// as `(unreachable)/x`, is beneath nothing.
fn is_beneath(file: &Path, directory: &Path) -> bool {
    directory.is_absolute() && file.is_absolute() && file.starts_with(directory)
}

fn escaped(path: &Path) -> impl std::fmt::Display + '_ {
    path.as_os_str().as_bytes().escape_ascii()
}

/// The parts of a request that decide between a file, a part of it, and neither; each the header's value.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    pub method: &'a [u8],
    pub if_match: Option<&'a [u8]>,
    pub if_none_match: Option<&'a [u8]>,
    pub if_modified_since: Option<&'a [u8]>,
    pub if_unmodified_since: Option<&'a [u8]>,
    pub range: Option<&'a [u8]>,
    pub if_range: Option<&'a [u8]>,
}

/// A response, except for what every response has (Date, Connection).
#[derive(Debug)]
pub struct StaticResponse {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    /// None for HEAD, for an empty file, and where the status has no body.
    pub body: Option<FileBody>,
}

/// A part of a file. If the file has become shorter than `offset + length` the response can not be completed.
#[derive(Debug)]
pub struct FileBody {
    pub file: OwnedFd,
    pub offset: u64,
    pub length: u64,
}

impl FileBody {
    /// The whole part, if it fits into `buffer` and can be read now: one that has become shorter can not.
    pub fn read_small<'a>(&self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let part = buffer.get_mut(..usize::try_from(self.length).ok()?)?;
        let offset = libc::off_t::try_from(self.offset).ok()?;
        // SAFETY: the pointer and length describe `part`, and the descriptor is ours.
        let count = unsafe { libc::pread(self.file.as_raw_fd(), part.as_mut_ptr().cast(), part.len(), offset) };
        (usize::try_from(count) == Ok(part.len())).then_some(part)
    }
}

impl Found<'_> {
    /// The response to a request of this file at the time `now`; None if the method is neither GET nor HEAD.
    ///
    /// Preconditions are evaluated in the order of RFC 9110, section 13.2.2. Of `Range`, one range is honoured; for
    /// several the whole file is sent, which section 14.2 leaves to the server. The entity tag is a strong one, made of
    /// modification time and size, so that machines with the same files agree on it.
    pub fn respond(self, request: &Conditions<'_>, now: SystemTime) -> Option<StaticResponse> {
        if !serves(request.method) {
            return None;
        }
        let validators = Validators::of(&self, now);
        Some(match validators.evaluate(request) {
            Verdict::PreconditionFailed => {
                let mut headers = validators.headers();
                headers.push(("Content-Length", "0".to_owned()));
                StaticResponse { status: 412, headers, body: None }
            }
            Verdict::NotModified => StaticResponse { status: 304, headers: validators.headers(), body: None },
            Verdict::Send => {
                let is_head = request.method == b"HEAD";
                // Range is defined for GET only (RFC 9110, section 14.2).
                let range = request.range.filter(|_| !is_head && validators.allow_range(request));
                self.send(is_head, &validators, range)
            }
        })
    }

    fn send(self, is_head: bool, validators: &Validators, range: Option<&[u8]>) -> StaticResponse {
        let mut headers = validators.headers();
        headers.push(("Accept-Ranges", "bytes".to_owned()));
        let (status, offset, length) = match range.map_or(Range::Whole, |range| Range::parse(range, self.size)) {
            Range::Whole => (200, 0, self.size),
            Range::Part { first, last } => {
                headers.push(("Content-Range", format!("bytes {first}-{last}/{}", self.size)));
                (206, first, last - first + 1)
            }
            Range::Unsatisfiable => {
                headers.push(("Content-Range", format!("bytes */{}", self.size)));
                (416, 0, 0)
            }
        };
        headers.push(("Content-Length", length.to_string()));
        if let Some(content_type) = self.content_type.filter(|_| status != 416) {
            headers.push(("Content-Type", content_type.to_string()));
        }
        let body = (!is_head && length > 0).then_some(FileBody { file: self.file, offset, length });
        StaticResponse { status, headers, body }
    }
}

enum Verdict {
    Send,
    NotModified,
    PreconditionFailed,
}

/// What tells one version of a file from another.
struct Validators {
    /// With its quotes.
    etag: String,
    /// None for a time before 1970, which the header can not carry.
    last_modified: Option<SystemTime>,
    /// Whether the file was not changed within the last second, so that its date means one version
    /// (RFC 9110, section 8.8.2.2).
    is_date_strong: bool,
}

impl Validators {
    fn of(found: &Found<'_>, now: SystemTime) -> Validators {
        let modified = u64::try_from(found.modified_s)
            .ok()
            .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        Validators {
            etag: format!("\"{:x}.{:x}-{:x}\"", found.modified_s, found.modified_ns, found.size),
            // A time in the future is replaced by now (RFC 9110, section 8.8.2.1).
            last_modified: modified.map(|modified| modified.min(now)),
            is_date_strong: modified
                .is_some_and(|modified| now.duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(2))),
        }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(6);
        headers.push(("ETag", self.etag.clone()));
        if let Some(time) = self.last_modified {
            headers.push(("Last-Modified", httpdate::fmt_http_date(time)));
        }
        headers
    }

    /// RFC 9110, section 13.2.2.
    fn evaluate(&self, request: &Conditions<'_>) -> Verdict {
        if let Some(tags) = request.if_match {
            if !self.is_listed(tags, Comparison::Strong) {
                return Verdict::PreconditionFailed;
            }
        } else if request.if_unmodified_since.is_some_and(|date| self.is_modified_since(date) == Some(true)) {
            return Verdict::PreconditionFailed;
        }
        if let Some(tags) = request.if_none_match {
            if self.is_listed(tags, Comparison::Weak) {
                return Verdict::NotModified;
            }
        } else if request.if_modified_since.is_some_and(|date| self.is_modified_since(date) == Some(false)) {
            return Verdict::NotModified;
        }
        Verdict::Send
    }

    /// Whether If-Range, if present, names this very version (RFC 9110, section 13.1.5).
    fn allow_range(&self, request: &Conditions<'_>) -> bool {
        let Some(validator) = request.if_range.map(trim) else {
            return true;
        };
        if validator.starts_with(b"\"") || validator.starts_with(b"W/") {
            return validator == self.etag.as_bytes();
        }
        self.is_date_strong && seconds_of(validator).is_some_and(|seconds| Some(seconds) == self.modified_seconds())
    }

    fn modified_seconds(&self) -> Option<u64> {
        Some(self.last_modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
    }

    /// None if the date is not one, or the file has none: the condition is ignored then.
    fn is_modified_since(&self, date: &[u8]) -> Option<bool> {
        Some(self.modified_seconds()? > seconds_of(trim(date))?)
    }

    /// Whether `*` or a list of entity tags contains this file's.
    fn is_listed(&self, mut tags: &[u8], comparison: Comparison) -> bool {
        if trim(tags) == b"*" {
            return true;
        }
        // entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE; an etagc may be a comma, so the list can not be split at commas.
        loop {
            let start = tags.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','));
            let Some(start) = start else { return false };
            tags = &tags[start..];
            let (is_weak, quoted) = match tags.strip_prefix(b"W/") {
                Some(quoted) => (true, quoted),
                None => (false, tags),
            };
            let Some(inner) = quoted.strip_prefix(b"\"") else {
                return false;
            };
            let Some(close) = memchr::memchr(b'"', inner) else {
                return false;
            };
            let may_match = !is_weak || comparison == Comparison::Weak;
            if may_match && quoted[..close + 2] == *self.etag.as_bytes() {
                return true;
            }
            tags = &inner[close + 1..];
        }
    }
}

/// RFC 9110, section 8.8.3.2. This server's own tags are always strong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn seconds_of(date: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(date).ok()?).ok()?;
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// What is asked for of a file.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// No range, or one that is ignored.
    Whole,
    /// `first <= last < size`.
    Part {
        first: u64,
        last: u64,
    },
    Unsatisfiable,
}

impl Range {
    /// Read `Range` for a file of `size` bytes.
    ///
    /// ```text
    /// ranges-specifier = range-unit "=" range-set        (RFC 9110, section 14.1.1)
    /// range-set        = 1#( int-range / suffix-range )
    /// int-range        = first-pos "-" [ last-pos ]
    /// suffix-range     = "-" suffix-length
    /// ```
    /// What does not follow the grammar is ignored, as are several ranges, and any range of an empty file.
    fn parse(value: &[u8], size: u64) -> Range {
        let set = match trim(value).split_at_checked(5) {
            Some((unit, rest)) if unit.eq_ignore_ascii_case(b"bytes") => rest.strip_prefix(b"="),
            _ => None,
        };
        let Some(set) = set else { return Range::Whole };
        let mut ranges = set.split(|&byte| byte == b',').map(trim).filter(|range| !range.is_empty());
        let (Some(range), None) = (ranges.next(), ranges.next()) else {
            return Range::Whole;
        };
        Range::parse_one(range, size).unwrap_or(Range::Whole)
    }

    fn parse_one(range: &[u8], size: u64) -> Option<Range> {
        let dash = memchr::memchr(b'-', range)?;
        let (first, last) = (&range[..dash], &range[dash + 1..]);
        if first.is_empty() {
            let suffix = decimal(last)?;
            return Some(match (suffix, size) {
                (_, 0) => Range::Whole,
                (0, _) => Range::Unsatisfiable,
                (suffix, size) => Range::Part { first: size.saturating_sub(suffix), last: size - 1 },
            });
        }
        let first = decimal(first)?;
        let last = if last.is_empty() { u64::MAX } else { decimal(last)? };
        if last < first || size == 0 {
            return None;
        }
        if first >= size {
            return Some(Range::Unsatisfiable);
        }
        Some(Range::Part { first, last: last.min(size - 1) })
    }
}

/// 1*DIGIT; a number too large for any file is the largest there is.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &byte| {
        let digit = u64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::{FileExt, symlink};
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// A directory of a test with `static/` in it, removed at its end.
    struct Tree(PathBuf);

    impl Tree {
        fn new() -> Tree {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("static-files-{}-{number}", std::process::id()));
            std::fs::create_dir_all(path.join("static/sub")).unwrap();
            let tree = Tree(path.canonicalize().unwrap());
            tree.write("static/a.css", "body {}");
            tree.write("static/sub/b.JS", "1");
            tree.write("static/noext", "plain");
            tree.write("secret.txt", "secret");
            tree
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn text(&self, name: &str) -> String {
            self.path(name).into_os_string().into_string().unwrap()
        }

        fn write(&self, name: &str, contents: &str) {
            std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
            std::fs::write(self.path(name), contents).unwrap();
        }

        fn map_with(&self, maps: &[(&str, &str)], safe: &[&str]) -> StaticMap {
            StaticMap::new(&StaticPlan {
                maps: maps.iter().map(|(prefix, name)| ((*prefix).to_owned(), self.text(name))).collect(),
                safe: safe.iter().map(|name| self.text(name)).collect(),
                mime_types: "css text/css\nevil a\x1bb\njs text/javascript\ntxt text/plain\n".to_owned(),
            })
        }

        fn map(&self) -> StaticMap {
            self.map_with(&[("/static", "static")], &[])
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    fn found<'a>(map: &'a StaticMap, path: &str) -> Found<'a> {
        match map.lookup(path.as_bytes()) {
            Lookup::Found(found) => found,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn contents(map: &StaticMap, path: &str) -> String {
        let mut text = String::new();
        File::from(found(map, path).file).read_to_string(&mut text).unwrap();
        text
    }

    fn is_missing(map: &StaticMap, path: &str) -> bool {
        matches!(map.lookup(path.as_bytes()), Lookup::Missing)
    }

    fn refusal(map: &StaticMap, path: &[u8]) -> String {
        match map.lookup(path) {
            Lookup::Refused(why) => why,
            other => panic!("{}: {other:?}", path.escape_ascii()),
        }
    }

    // Lookup.

    #[test]
    fn files_beneath_the_prefix_are_found() {
        let tree = Tree::new();
        let map = tree.map();
        assert!(!map.is_empty() && StaticMap::default().is_empty());
        for path in ["/static/a.css", "/static//a.css", "/static/./a.css"] {
            assert_eq!(contents(&map, path), "body {}");
        }
        assert_eq!(contents(&map, "/static/sub/b.JS"), "1");
    }

    #[test]
    fn a_prefix_matches_whole_segments() {
        let tree = Tree::new();
        tree.write("staticx/a.css", "other");
        for prefix in ["/static", "/static/", "/static//"] {
            let map = tree.map_with(&[(prefix, "static")], &[]);
            assert_eq!(contents(&map, "/static/a.css"), "body {}");
            for path in [
                "/staticx/a.css",
                "/statica.css",
                "/stati",
                "/",
                "",
                "static/a.css",
                "/Static/a.css",
                "/x/static/a.css",
            ] {
                assert!(is_missing(&map, path), "{path}");
            }
        }
    }

    #[test]
    fn directories_and_missing_files_are_for_the_app() {
        let tree = Tree::new();
        let map = tree.map_with(&[("/static", "static"), ("/none", "nonexistent"), ("/file", "secret.txt")], &[]);
        for path in [
            "/static",
            "/static/",
            "/static/sub",
            "/static/sub/",
            "/static/.",
            "/static/nope",
            "/static/a.css/",
            "/static/a.css/x",
            "/none",
            "/none/x",
            "/file/",
            "/file/x",
            "/file//",
        ] {
            assert!(is_missing(&map, path), "{path}");
        }
        assert!(is_missing(&map, &format!("/static/{}", "x".repeat(300))));
        assert!(is_missing(&map, &format!("/static/{}", "x/".repeat(5_000))));
    }

    #[test]
    fn one_file_can_be_mapped() {
        let tree = Tree::new();
        let map = tree.map_with(&[("/robots", "secret.txt")], &[]);
        assert_eq!(contents(&map, "/robots"), "secret");
        assert_eq!(found(&map, "/robots").content_type, Some("text/plain"));
        // Even through a link: it was named by the user.
        symlink(tree.path("secret.txt"), tree.path("link.txt")).unwrap();
        assert_eq!(contents(&tree.map_with(&[("/r", "link.txt")], &[]), "/r"), "secret");
    }

    #[test]
    fn the_first_map_that_has_the_file_serves_it() {
        let tree = Tree::new();
        tree.write("other/a.css", "other");
        tree.write("other/only.css", "only");
        let map = tree.map_with(&[("/static", "static"), ("/static", "other")], &[]);
        assert_eq!(contents(&map, "/static/a.css"), "body {}");
        assert_eq!(contents(&map, "/static/only.css"), "only");
    }

    #[test]
    fn the_root_can_be_mapped() {
        let tree = Tree::new();
        for prefix in ["/", ""] {
            let map = tree.map_with(&[(prefix, "static")], &[]);
            assert_eq!(contents(&map, "/a.css"), "body {}");
            assert!(is_missing(&map, "/") && is_missing(&map, "a.css") && is_missing(&map, ""));
            assert_eq!(contents(&map, "//a.css"), "body {}");
            assert!(is_missing(&map, "//etc/passwd") && is_missing(&map, "///etc/passwd"));
        }
        let map =
            StaticMap::new(&StaticPlan { maps: vec![("/all".to_owned(), "/".to_owned())], ..StaticPlan::default() });
        assert!(matches!(map.lookup(b"/all/etc/passwd"), Lookup::Found(_)));
    }

    #[test]
    fn types_come_from_the_table_by_extension_in_any_case() {
        let tree = Tree::new();
        for name in ["x.tar.css", ".css", "x.", "x.evil", "x.unknown", "sub.css/plain"] {
            tree.write(&format!("static/{name}"), "");
        }
        let map = tree.map();
        for (path, content_type) in [
            ("/static/a.css", Some("text/css")),
            ("/static/sub/b.JS", Some("text/javascript")),
            ("/static/noext", None),
            ("/static/x.tar.css", Some("text/css")),
            ("/static/.css", Some("text/css")),
            ("/static/x.", None),
            ("/static/x.evil", None),
            ("/static/x.unknown", None),
            ("/static/sub.css/plain", None),
        ] {
            assert_eq!(found(&map, path).content_type, content_type, "{path}");
        }
    }

    #[test]
    fn every_line_of_the_table_is_found_and_nothing_between() {
        let text: String = (0..500).map(|number| format!("e{number:03} type/{number}\n")).collect();
        let types = Types(text.into());
        for number in 0..500 {
            assert_eq!(types.find(format!("e{number:03}").as_bytes()), Some(format!("type/{number}").as_str()));
            assert_eq!(types.find(format!("e{number:03}x").as_bytes()), None);
        }
        for extension in [&b""[..], b"a", b"e", b"e0", b"f", b"type/7", b"e001 type/1", b"\n"] {
            assert_eq!(types.find(extension), None, "{}", extension.escape_ascii());
        }
        assert_eq!(types.of(&[b"x.e", &b"0".repeat(100)[..]].concat()), None);
        for damaged in ["", "\n", "nospace", "css \n", "css text\u{7f}\n", " text/css\n"] {
            assert_eq!(Types(damaged.into()).find(b"css"), None, "{damaged:?}");
        }
        assert_eq!(Types("css text/css".into()).find(b"css"), Some("text/css"));
    }

    #[test]
    fn parent_segments_and_nul_are_refused() {
        let tree = Tree::new();
        let map = tree.map();
        for path in [
            &b"/static/../secret.txt"[..],
            b"/static/..",
            b"/static/sub/../../secret.txt",
            b"/static/sub/..",
            b"/static//../secret.txt",
            b"/static/./../secret.txt",
        ] {
            assert!(refusal(&map, path).contains("a `..` segment"));
        }
        assert!(
            refusal(&map, b"/static/a.css\0.txt").ends_with(r"security error: /static/a.css\x00.txt has a NUL byte")
        );
        // Three dots, and dots in names, are names.
        tree.write("static/...", "dots");
        tree.write("static/a..b", "dots");
        assert_eq!(contents(&map, "/static/..."), "dots");
        assert_eq!(contents(&map, "/static/a..b"), "dots");
        // Not beneath the prefix at all: not ours to judge.
        assert!(is_missing(&map, "/../static/a.css"));
    }

    #[test]
    fn encoded_traversal_is_a_name_after_decoding_once() {
        let tree = Tree::new();
        let map = tree.map();
        for path in ["/static/%2e%2e/secret.txt", "/static/..%2fsecret.txt", "/static/..\\secret.txt", "/static/%00"] {
            assert!(is_missing(&map, path), "{path}");
        }
    }

    #[test]
    fn a_link_that_leads_outside_is_refused_and_reported() {
        let tree = Tree::new();
        symlink(tree.path("secret.txt"), tree.path("static/leak.css")).unwrap();
        symlink("../secret.txt", tree.path("static/relative.css")).unwrap();
        symlink("/", tree.path("static/all")).unwrap();
        let map = tree.map();
        let expected =
            format!("security error: {} is not under {} or a safe path", tree.text("secret.txt"), tree.text("static"));
        assert_eq!(refusal(&map, b"/static/leak.css"), expected);
        assert_eq!(refusal(&map, b"/static/relative.css"), expected);
        assert!(refusal(&map, b"/static/all/etc/passwd").starts_with("security error: /etc/passwd is not under "));
    }

    #[test]
    fn a_sibling_with_the_same_beginning_is_outside() {
        let tree = Tree::new();
        tree.write("static-private/key.txt", "key");
        symlink(tree.path("static-private/key.txt"), tree.path("static/key.txt")).unwrap();
        assert!(refusal(&tree.map(), b"/static/key.txt").contains("static-private/key.txt is not under"));
    }

    #[test]
    fn links_within_the_root_and_a_linked_root_are_served() {
        let tree = Tree::new();
        symlink("a.css", tree.path("static/alias.css")).unwrap();
        symlink(tree.path("static/sub"), tree.path("static/linked")).unwrap();
        symlink("static", tree.path("current")).unwrap();
        for map in [tree.map(), tree.map_with(&[("/static", "current")], &[])] {
            assert_eq!(contents(&map, "/static/alias.css"), "body {}");
            assert_eq!(contents(&map, "/static/linked/b.JS"), "1");
        }
    }

    #[test]
    fn a_root_that_is_switched_to_a_new_release_is_followed() {
        let tree = Tree::new();
        tree.write("r1/x", "one");
        tree.write("r2/x", "two");
        symlink("r1", tree.path("current")).unwrap();
        let map = tree.map_with(&[("/s", "current")], &[]);
        assert_eq!(contents(&map, "/s/x"), "one");
        symlink("r2", tree.path("next")).unwrap();
        std::fs::rename(tree.path("next"), tree.path("current")).unwrap();
        assert_eq!(contents(&map, "/s/x"), "two");
    }

    #[test]
    fn a_plain_root_that_becomes_a_link_is_followed_and_still_confines() {
        let tree = Tree::new();
        symlink(tree.path("secret.txt"), tree.path("static/leak.css")).unwrap();
        let map = tree.map();
        assert!(map.mounts[0].is_direct);
        std::fs::rename(tree.path("static"), tree.path("r1")).unwrap();
        symlink("r1", tree.path("static")).unwrap();
        assert_eq!(contents(&map, "/static/a.css"), "body {}");
        assert!(refusal(&map, b"/static/leak.css").contains("secret.txt is not under"));
        assert!(!tree.map().mounts[0].is_direct);
    }

    #[test]
    fn safe_directories_may_be_linked_to() {
        let tree = Tree::new();
        tree.write("shared/logo.css", "logo");
        tree.write("shared-not/x", "x");
        symlink("shared", tree.path("shared-link")).unwrap();
        symlink(tree.path("shared/logo.css"), tree.path("static/logo.css")).unwrap();
        symlink(tree.path("shared-not/x"), tree.path("static/x")).unwrap();
        for safe in ["shared", "shared/", "shared-link"] {
            let map = tree.map_with(&[("/static", "static")], &["nonexistent", safe]);
            assert_eq!(contents(&map, "/static/logo.css"), "logo");
            assert!(refusal(&map, b"/static/x").contains("shared-not"));
        }
    }

    // Hostile files.

    #[test]
    fn fifos_sockets_and_devices_are_not_served_and_not_waited_for() {
        let tree = Tree::new();
        let fifo = CString::new(tree.text("static/fifo")).unwrap();
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o644) }, 0);
        let _listener = std::os::unix::net::UnixListener::bind(tree.path("static/socket")).unwrap();
        symlink("/dev/zero", tree.path("static/zero")).unwrap();
        let map = tree.map_with(&[("/static", "static"), ("/fifo", "static/fifo")], &[]);
        for path in ["/static/fifo", "/static/socket", "/static/zero", "/fifo"] {
            assert!(is_missing(&map, path), "{path}");
        }
    }

    #[test]
    fn links_into_proc_are_refused() {
        let tree = Tree::new();
        let outside = File::open(tree.path("secret.txt")).unwrap();
        for (name, target) in [
            ("environ", "/proc/self/environ".to_owned()),
            ("cwd", "/proc/self/cwd".to_owned()),
            ("root", "/proc/self/root".to_owned()),
            ("descriptor", format!("/proc/self/fd/{}", outside.as_raw_fd())),
        ] {
            symlink(target, tree.path(&format!("static/{name}"))).unwrap();
        }
        let map = tree.map();
        assert!(refusal(&map, b"/static/environ").starts_with("security error: /proc/"));
        assert!(refusal(&map, b"/static/root/etc/passwd").starts_with("security error: /etc/passwd"));
        assert!(refusal(&map, b"/static/descriptor").contains("secret.txt is not under"));
        assert!(matches!(map.lookup(b"/static/cwd/Cargo.toml"), Lookup::Missing | Lookup::Refused(_)));
    }

    #[test]
    fn a_loop_of_links_is_reported() {
        let tree = Tree::new();
        symlink("loop", tree.path("static/loop")).unwrap();
        let why = refusal(&tree.map(), b"/static/loop");
        assert!(why.contains("static/loop can not be served: Too many levels"), "{why}");
    }

    #[test]
    fn names_in_reports_can_not_forge_log_lines() {
        let tree = Tree::new();
        tree.write("out\n[pid: 1]\x1b", "x");
        symlink(tree.path("out\n[pid: 1]\x1b"), tree.path("static/x")).unwrap();
        for why in [refusal(&tree.map(), b"/static/x"), refusal(&tree.map(), b"/static/\n\x1b/..")] {
            assert!(!why.contains(['\n', '\x1b']), "{why:?}");
        }
    }

    #[test]
    fn swapping_links_in_a_loop_never_serves_what_is_outside() {
        let tree = Tree::new();
        tree.write("outside/f", "secret");
        tree.write("static/inside/f", "public");
        symlink("inside", tree.path("static/swap")).unwrap();
        let over = AtomicBool::new(false);
        let map = tree.map();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..4_000 {
                    let target = if round % 2 == 0 { tree.path("outside") } else { PathBuf::from("inside") };
                    symlink(target, tree.path("static/next")).unwrap();
                    std::fs::rename(tree.path("static/next"), tree.path("static/swap")).unwrap();
                }
                over.store(true, Ordering::Relaxed);
            });
            let (mut served, mut refused) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                match map.lookup(b"/static/swap/f") {
                    Lookup::Found(found) => {
                        let mut text = String::new();
                        File::from(found.file).read_to_string(&mut text).unwrap();
                        assert_eq!(text, "public");
                        served += 1;
                    }
                    Lookup::Refused(_) => refused += 1,
                    Lookup::Missing => panic!("rename replaces in one step"),
                    Lookup::Unavailable(why) => panic!("{why}"),
                }
            }
            assert!(served + refused > 0);
        });
    }

    #[test]
    fn swapping_a_file_with_a_link_never_serves_what_is_outside() {
        let tree = Tree::new();
        let over = AtomicBool::new(false);
        let map = tree.map();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..4_000 {
                    if round % 2 == 0 {
                        symlink(tree.path("secret.txt"), tree.path("static/next")).unwrap();
                    } else {
                        tree.write("static/next", "public");
                    }
                    std::fs::rename(tree.path("static/next"), tree.path("static/swap")).unwrap();
                }
                over.store(true, Ordering::Relaxed);
            });
            while !over.load(Ordering::Relaxed) {
                if let Lookup::Found(found) = map.lookup(b"/static/swap") {
                    let mut text = String::new();
                    File::from(found.file).read_to_string(&mut text).unwrap();
                    assert_eq!(text, "public");
                }
            }
        });
    }

    #[test]
    fn a_part_is_read_whole_or_not_at_all() {
        let tree = Tree::new();
        let map = tree.map();
        let body = |offset, length| FileBody { file: found(&map, "/static/a.css").file, offset, length };
        let mut buffer = [0; 7];
        assert_eq!(body(0, 7).read_small(&mut buffer), Some(&b"body {}"[..]));
        assert_eq!(body(5, 2).read_small(&mut buffer), Some(&b"{}"[..]));
        assert_eq!(body(0, 8).read_small(&mut buffer), None);
        assert_eq!(body(5, 3).read_small(&mut buffer), None);
        assert_eq!(body(u64::MAX, 1).read_small(&mut buffer), None);
    }

    #[test]
    fn a_file_removed_after_opening_is_still_served() {
        let tree = Tree::new();
        let map = tree.map();
        let found = found(&map, "/static/a.css");
        std::fs::remove_file(tree.path("static/a.css")).unwrap();
        let response = found.respond(&get(), later()).unwrap();
        assert_eq!(body_of(&response), b"body {}");
    }

    #[test]
    fn without_openat2_the_real_paths_decide() {
        let tree = Tree::new();
        let open = |path: &str| open_at(None, tree.text(path).as_bytes(), READ).unwrap();
        let map = tree.map_with(&[("/static", "static")], &["static/sub"]);
        let root = open("static");
        assert!(map.check_place(root.as_fd(), open("static/a.css").as_fd()).is_ok());
        assert!(map.check_place(root.as_fd(), open("secret.txt").as_fd()).is_err());
        let other_root = open("secret.txt");
        assert!(map.check_place(other_root.as_fd(), open("static/sub/b.JS").as_fd()).is_ok());
        assert!(map.check_place(other_root.as_fd(), open("static/a.css").as_fd()).is_err());
    }

    #[test]
    fn lookups_leave_no_descriptor_open() {
        let tree = Tree::new();
        symlink(tree.path("secret.txt"), tree.path("static/leak.css")).unwrap();
        symlink(tree.path("static/a.css"), tree.path("static/absolute.css")).unwrap();
        let map = tree.map();
        let highest = || File::open("/dev/null").unwrap().as_raw_fd();
        let before = highest();
        for _ in 0..2_000 {
            for path in ["/static/a.css", "/static/absolute.css", "/static/leak.css", "/static/sub", "/static/no"] {
                map.lookup(path.as_bytes());
            }
        }
        // Other tests open files at the same time, but not thousands.
        assert!(highest() < before + 1_000);
    }

    #[test]
    fn what_is_beneath() {
        for (file, directory, expected) in [
            ("/a/b", "/a", true),
            ("/a/b", "/a/", true),
            ("/a/b", "/", true),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
            ("(unreachable)/a/b", "/a", false),
            ("a/b", "a", false),
            ("/a/b (deleted)", "/a", true),
        ] {
            assert_eq!(is_beneath(Path::new(file), Path::new(directory)), expected, "{file} {directory}");
        }
    }

    // Responses.

    const MODIFIED: u64 = 1_700_000_000;
    const MODIFIED_TEXT: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

    fn later() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED + 100_000_000)
    }

    fn get() -> Conditions<'static> {
        Conditions { method: b"GET", ..Conditions::default() }
    }

    fn with_range(range: &'static str) -> Conditions<'static> {
        Conditions { range: Some(range.as_bytes()), ..get() }
    }

    /// `0123456789`, modified at MODIFIED, with a type.
    fn ten_bytes(tree: &Tree) -> Found<'static> {
        let mut found = sized_file(tree, "0123456789");
        found.content_type = Some("text/plain");
        found
    }

    fn sized_file(tree: &Tree, text: &str) -> Found<'static> {
        tree.write("static/ten", text);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED);
        let file = File::options().write(true).open(tree.path("static/ten")).unwrap();
        file.set_modified(time).unwrap();
        let map = tree.map();
        let Found { file, size, modified_s, modified_ns, .. } = found(&map, "/static/ten");
        Found { file, size, modified_s, modified_ns, content_type: None }
    }

    fn answer(request: &Conditions<'_>) -> StaticResponse {
        ten_bytes(&Tree::new()).respond(request, later()).unwrap()
    }

    fn body_of(response: &StaticResponse) -> Vec<u8> {
        let Some(body) = &response.body else {
            return Vec::new();
        };
        let mut bytes = vec![0; usize::try_from(body.length).unwrap()];
        File::from(body.file.try_clone().unwrap()).read_exact_at(&mut bytes, body.offset).unwrap();
        bytes
    }

    fn header<'a>(response: &'a StaticResponse, name: &str) -> Option<&'a str> {
        let mut values = response.headers.iter().filter(|(given, _)| *given == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice");
        value
    }

    fn etag() -> String {
        header(&answer(&get()), "ETag").unwrap().to_owned()
    }

    #[test]
    fn a_whole_file() {
        let response = answer(&get());
        assert_eq!(response.status, 200);
        assert_eq!(header(&response, "Content-Length"), Some("10"));
        assert_eq!(header(&response, "Content-Type"), Some("text/plain"));
        assert_eq!(header(&response, "Last-Modified"), Some(MODIFIED_TEXT));
        assert_eq!(header(&response, "Accept-Ranges"), Some("bytes"));
        assert_eq!(header(&response, "Content-Range"), None);
        let etag = header(&response, "ETag").unwrap();
        assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        assert_eq!(body_of(&response), b"0123456789");
    }

    #[test]
    fn head_is_the_same_without_the_body() {
        let whole = answer(&get());
        let response = answer(&Conditions { method: b"HEAD", range: Some(b"bytes=0-1"), ..get() });
        assert_eq!(response.status, 200);
        assert_eq!(response.headers, whole.headers);
        assert!(response.body.is_none());
    }

    #[test]
    fn other_methods_are_for_the_app() {
        for method in [&b"POST"[..], b"get", b"OPTIONS", b"", b"GETX", b"DELETE"] {
            assert!(!serves(method));
            assert!(ten_bytes(&Tree::new()).respond(&Conditions { method, ..get() }, later()).is_none());
        }
        assert!(serves(b"GET") && serves(b"HEAD"));
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        let tree = Tree::new();
        for range in [None, Some(&b"bytes=0-0"[..]), Some(b"bytes=5-"), Some(b"bytes=-5"), Some(b"bytes=-0")] {
            let response = sized_file(&tree, "").respond(&Conditions { range, ..get() }, later()).unwrap();
            assert_eq!(response.status, 200);
            assert_eq!(header(&response, "Content-Length"), Some("0"));
            assert!(response.body.is_none());
        }
    }

    #[test]
    fn one_range() {
        for (range, expected) in [
            ("bytes=0-0", (0, 0)),
            ("bytes=2-5", (2, 5)),
            ("bytes=2-", (2, 9)),
            ("bytes=9-9", (9, 9)),
            ("bytes=9-", (9, 9)),
            ("bytes=0-9", (0, 9)),
            ("bytes=0-10", (0, 9)),
            ("bytes=3-99999999999999999999999999999", (3, 9)),
            ("bytes=3-18446744073709551615", (3, 9)),
            ("bytes=-1", (9, 9)),
            ("bytes=-10", (0, 9)),
            ("bytes=-11", (0, 9)),
            ("bytes=-99999999999999999999999999999", (0, 9)),
            ("BYTES=1-2", (1, 2)),
            (" bytes= 1-2 ", (1, 2)),
            ("bytes=,1-2, ,", (1, 2)),
            ("bytes=000000000000000000000000000001-2", (1, 2)),
        ] {
            let (first, last) = expected;
            let response = answer(&with_range(range));
            assert_eq!(response.status, 206, "{range}");
            assert_eq!(
                header(&response, "Content-Range"),
                Some(format!("bytes {first}-{last}/10").as_str()),
                "{range}"
            );
            assert_eq!(header(&response, "Content-Length"), Some((last - first + 1).to_string().as_str()));
            assert_eq!(header(&response, "Content-Type"), Some("text/plain"));
            assert!(header(&response, "ETag").is_some() && header(&response, "Last-Modified").is_some());
            assert_eq!(body_of(&response), b"0123456789"[first..=last], "{range}");
        }
    }

    #[test]
    fn ranges_beyond_the_file_are_416() {
        for range in [
            "bytes=10-",
            "bytes=10-10",
            "bytes=10-20",
            "bytes=18446744073709551615-",
            "bytes=-0",
            "bytes=99999999999999999999999999-99999999999999999999999999",
            "bytes=18446744073709551615-18446744073709551615",
        ] {
            let response = answer(&with_range(range));
            assert_eq!(response.status, 416, "{range}");
            assert_eq!(header(&response, "Content-Range"), Some("bytes */10"));
            assert_eq!(header(&response, "Content-Length"), Some("0"));
            assert_eq!(header(&response, "Content-Type"), None);
            assert!(response.body.is_none());
        }
    }

    #[test]
    fn what_is_no_range_or_several_is_the_whole_file() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=1",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=1-2x",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=--2",
            "bytes=1--2",
            "bytes=1 - 2",
            "bytes =1-2",
            "bits=1-2",
            "items=1-2",
            "bytes:1-2",
            "bytes=0x1-2",
            "bytes=1-2,4-5",
            "bytes=0-0,-1",
            "bytes=0-,0-,0-",
            "bytes=1_0-20",
            "1-2",
            "=1-2",
        ] {
            let response = answer(&with_range(range));
            assert_eq!((response.status, body_of(&response).len()), (200, 10), "{range}");
        }
        let flood = format!("bytes={}", "0-,".repeat(100_000));
        let response = answer(&Conditions { range: Some(flood.as_bytes()), ..get() });
        assert_eq!(response.status, 200);
    }

    #[test]
    fn ranges_of_the_largest_file_do_not_overflow() {
        let whole = Range::Part { first: 0, last: u64::MAX - 1 };
        assert_eq!(Range::parse(b"bytes=0-", u64::MAX), whole);
        assert_eq!(Range::parse(b"bytes=-18446744073709551615", u64::MAX), whole);
        assert_eq!(Range::parse(b"bytes=18446744073709551615-", u64::MAX), Range::Unsatisfiable);
        assert_eq!(Range::parse(b"bytes=-0", u64::MAX), Range::Unsatisfiable);
    }

    #[test]
    fn if_none_match() {
        let tag = etag();
        for value in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            format!("\"a,b\" ,W/\"c\",,{tag}, \"d\""),
            "*".to_owned(),
            " * ".to_owned(),
        ] {
            let response = answer(&Conditions { if_none_match: Some(value.as_bytes()), ..get() });
            assert_eq!(response.status, 304, "{value}");
            assert_eq!(header(&response, "ETag"), Some(tag.as_str()));
            assert_eq!(header(&response, "Last-Modified"), Some(MODIFIED_TEXT));
            assert_eq!(header(&response, "Content-Length"), None);
            assert_eq!(header(&response, "Content-Type"), None);
            assert!(response.body.is_none());
        }
        let bare = tag.trim_matches('"').to_owned();
        for value in [
            String::new(),
            "\"x\"".to_owned(),
            bare.clone(),
            format!("\"{bare}"),
            format!("w/{tag}"),
            format!("\"x,{tag}"),
            "**".to_owned(),
            format!("x {tag}"),
        ] {
            assert_eq!(answer(&Conditions { if_none_match: Some(value.as_bytes()), ..get() }).status, 200, "{value}");
        }
        assert_eq!(answer(&Conditions { method: b"HEAD", if_none_match: Some(b"*"), ..get() }).status, 304);
    }

    #[test]
    fn if_modified_since() {
        for (date, status) in [
            (MODIFIED_TEXT, 304),
            ("Tue, 14 Nov 2023 22:13:21 GMT", 304),
            ("Tue, 14 Nov 2023 22:13:19 GMT", 200),
            ("Tuesday, 14-Nov-23 22:13:20 GMT", 304),
            ("Tue Nov 14 22:13:20 2023", 304),
            ("yesterday", 200),
            ("", 200),
            ("Tue, 14 Nov 2023 22:13:20 CET", 200),
            ("Tue, 99 Nov 2023 22:13:20 GMT", 200),
        ] {
            let response = answer(&Conditions { if_modified_since: Some(date.as_bytes()), ..get() });
            assert_eq!(response.status, status, "{date}");
        }
        assert_eq!(answer(&Conditions { if_modified_since: Some(b"\xff\xfe"), ..get() }).status, 200);
    }

    #[test]
    fn if_none_match_wins_over_if_modified_since() {
        let date = Some(MODIFIED_TEXT.as_bytes());
        let request = Conditions { if_none_match: Some(b"\"other\""), if_modified_since: date, ..get() };
        assert_eq!(answer(&request).status, 200);
        let tag = etag();
        let old = Some(&b"Tue, 14 Nov 2000 22:13:20 GMT"[..]);
        let request = Conditions { if_none_match: Some(tag.as_bytes()), if_modified_since: old, ..get() };
        assert_eq!(answer(&request).status, 304);
    }

    #[test]
    fn if_match_and_if_unmodified_since() {
        let tag = etag();
        let weak = format!("W/{tag}");
        let old = Some(&b"Tue, 14 Nov 2000 22:13:20 GMT"[..]);
        for (request, status) in [
            (Conditions { if_match: Some(tag.as_bytes()), ..get() }, 200),
            (Conditions { if_match: Some(b"*"), ..get() }, 200),
            (Conditions { if_match: Some(b"\"other\""), ..get() }, 412),
            (Conditions { if_match: Some(weak.as_bytes()), ..get() }, 412),
            (Conditions { if_unmodified_since: old, ..get() }, 412),
            (Conditions { if_unmodified_since: Some(MODIFIED_TEXT.as_bytes()), ..get() }, 200),
            (Conditions { if_unmodified_since: Some(b"nonsense"), ..get() }, 200),
            (Conditions { if_match: Some(tag.as_bytes()), if_unmodified_since: old, ..get() }, 200),
            (Conditions { if_match: Some(tag.as_bytes()), if_none_match: Some(tag.as_bytes()), ..get() }, 304),
            (Conditions { if_match: Some(b"\"x\""), if_none_match: Some(tag.as_bytes()), ..get() }, 412),
        ] {
            let response = answer(&request);
            assert_eq!(response.status, status, "{request:?}");
            assert_eq!(status == 412, header(&response, "Content-Length") == Some("0"));
        }
    }

    #[test]
    fn a_304_wins_over_a_range() {
        let request = Conditions { if_none_match: Some(b"*"), range: Some(b"bytes=99-"), ..get() };
        assert_eq!(answer(&request).status, 304);
    }

    #[test]
    fn if_range() {
        let tag = etag();
        let weak = format!("W/{tag}");
        for (validator, status) in [
            (tag.as_str(), 206),
            (weak.as_str(), 200),
            ("\"other\"", 200),
            (MODIFIED_TEXT, 206),
            ("Tue, 14 Nov 2023 22:13:21 GMT", 200),
            ("Tue, 14 Nov 2023 22:13:19 GMT", 200),
            ("", 200),
            ("*", 200),
        ] {
            let response = answer(&Conditions { if_range: Some(validator.as_bytes()), ..with_range("bytes=1-2") });
            assert_eq!(response.status, status, "{validator}");
            // Not this version: the range is ignored even if it could not be satisfied.
            let response = answer(&Conditions { if_range: Some(validator.as_bytes()), ..with_range("bytes=99-") });
            assert_eq!(response.status, if status == 206 { 416 } else { 200 }, "{validator}");
        }
        // Without Range it means nothing.
        assert_eq!(answer(&Conditions { if_range: Some(b"\"other\""), ..get() }).status, 200);
    }

    #[test]
    fn the_date_of_a_file_changed_just_now_is_no_strong_validator() {
        let request = Conditions { if_range: Some(MODIFIED_TEXT.as_bytes()), ..with_range("bytes=1-2") };
        for (age_s, status) in [(0, 200), (1, 200), (2, 206)] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED + age_s);
            assert_eq!(ten_bytes(&Tree::new()).respond(&request, now).unwrap().status, status, "{age_s}");
        }
    }

    #[test]
    fn a_changed_file_has_another_tag() {
        let tree = Tree::new();
        let tag = |found: Found| header(&found.respond(&get(), later()).unwrap(), "ETag").unwrap().to_owned();
        let first = tag(ten_bytes(&tree));
        assert_eq!(first, tag(ten_bytes(&tree)));
        assert_ne!(first, tag(sized_file(&tree, "01234567890")));
        let mut touched = ten_bytes(&tree);
        touched.modified_ns += 1;
        assert_ne!(first, tag(touched));
    }

    #[test]
    fn strange_times_are_no_problem() {
        for (modified_s, last_modified) in [
            (i64::MIN, None),
            (-1, None),
            (0, Some("Thu, 01 Jan 1970 00:00:00 GMT")),
            (i64::MAX, Some("Fri, 15 Jan 2027 08:00:00 GMT")),
            (400_000_000_000, Some("Fri, 15 Jan 2027 08:00:00 GMT")),
        ] {
            let mut found = ten_bytes(&Tree::new());
            found.modified_s = modified_s;
            let request = Conditions { if_unmodified_since: Some(MODIFIED_TEXT.as_bytes()), ..get() };
            let response = found.respond(&request, later()).unwrap();
            assert_eq!(header(&response, "Last-Modified"), last_modified, "{modified_s}");
            assert_eq!(response.status, if modified_s > 1_700_000_000 { 412 } else { 200 });
        }
    }
}
