//! A request body on its way to the app: in memory while it is small, then in an unlinked file.
//!
//! Here: one body, written from the front and handed over whole, within what the worker allows all bodies in memory.
//! Not here: limits on its length, reading by the app.
//! A body that could not be stored in full is never handed over: after an error every further call fails too.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::budget::{Budget, Charge};
use crate::sys;

/// A body that is announced to be large gets its file when more than this has come: whoever announces and sends next to
/// nothing shall not cost the making of a file, which takes longer than all else about a request.
const FIRST_BYTES: u64 = 8 << 10;

/// Collects one request body.
#[derive(Debug)]
pub struct Spool {
    /// Empty once there is a file.
    memory: Vec<u8>,
    memory_limit_bytes: usize,
    budget: Arc<Budget>,
    /// What the capacity of `memory` takes of the budget.
    charge: Option<Charge>,
    directory: Arc<Path>,
    file: Option<File>,
    length: u64,
    /// Content-Length, if the client told it.
    expected: Option<u64>,
    is_broken: bool,
}

/// A whole request body, to be read from its beginning.
#[derive(Debug)]
pub enum SpooledBody {
    Memory(Vec<u8>, Option<Charge>),
    /// The file has no name, and its position is 0. The number is its length.
    File(File, u64),
}

impl SpooledBody {
    pub fn length(&self) -> u64 {
        match self {
            Self::Memory(data, _) => data.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

impl Default for SpooledBody {
    fn default() -> Self {
        Self::Memory(Vec::new(), None)
    }
}

impl Spool {
    /// A body of up to `memory_limit_bytes` stays in memory while `budget` has room for it; others go to a file in
    /// `directory`.
    pub fn new(memory_limit_bytes: usize, budget: &Arc<Budget>, directory: &Arc<Path>) -> Spool {
        Spool {
            memory: Vec::new(),
            memory_limit_bytes,
            budget: Arc::clone(budget),
            charge: None,
            directory: Arc::clone(directory),
            file: None,
            length: 0,
            expected: None,
            is_broken: false,
        }
    }

    /// Tell how long the body will be, so that a large one goes to a file early and a small one is never moved. A hint:
    /// nothing is taken from the system before the bytes come, and more or fewer may come.
    pub fn expect(&mut self, bytes: u64) {
        self.expected = Some(bytes);
    }

    /// Append a piece. An error is a sentence that names the directory; the body is lost then.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("an earlier piece of this request body could not be stored"));
        }
        let result = self.store(piece);
        self.is_broken = result.is_err();
        result
    }

    /// How much `fill` takes at once: the rest of a body of known length that has a place in memory.
    pub fn room(&self) -> usize {
        let is_held = self.charge.is_some() && self.file.is_none() && !self.is_broken;
        if self.expected.is_some() && is_held { self.memory.capacity() - self.memory.len() } else { 0 }
    }

    /// Appends what `read` puts behind the body so far; it is told how much at most, which is not 0.
    pub fn fill(&mut self, read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>) -> io::Result<usize> {
        let room = self.room();
        let count = read(&mut self.memory, room)?;
        self.length += count as u64;
        Ok(count)
    }

    #[cfg(test)]
    /// Bytes that were written.
    pub fn len(&self) -> u64 {
        self.length
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Hand the body over. Fails if a piece was lost.
    pub fn finish(self) -> io::Result<SpooledBody> {
        if self.is_broken {
            return Err(io::Error::other("a piece of this request body could not be stored"));
        }
        match self.file {
            None => Ok(SpooledBody::Memory(self.memory, self.charge)),
            Some(mut file) => {
                file.rewind()?;
                Ok(SpooledBody::File(file, self.length))
            }
        }
    }

    fn store(&mut self, piece: &[u8]) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        if self.file.is_none() && self.fits_in_memory(piece.len()) && self.reserve(piece.len())? {
            self.memory.extend_from_slice(piece);
        } else {
            self.write_to_file(piece).map_err(|error| self.explain(&error))?;
        }
        self.length += piece.len() as u64;
        Ok(())
    }

    fn fits_in_memory(&self, more: usize) -> bool {
        let whole = self.memory_limit_bytes as u64;
        let limit = if self.is_expected_in_memory() { whole } else { whole.min(FIRST_BYTES) };
        self.length + more as u64 <= limit
    }

    fn is_expected_in_memory(&self) -> bool {
        self.expected.is_none_or(|expected| expected <= self.memory_limit_bytes as u64)
    }

    /// Makes room for more in memory; false if the worker's bodies take all that they may.
    fn reserve(&mut self, more: usize) -> io::Result<bool> {
        let (length, capacity) = (self.memory.len(), self.memory.capacity());
        if capacity - length >= more {
            return Ok(true);
        }
        let wanted = if capacity == 0 {
            let expected = self.expected.filter(|_| self.is_expected_in_memory());
            expected.and_then(|expected| usize::try_from(expected).ok()).unwrap_or(0).max(more)
        } else {
            (length + more).max(2 * capacity)
        };
        let growth = (wanted - capacity) as u64;
        let has_room = match &mut self.charge {
            Some(charge) => charge.grow(growth),
            None => {
                self.charge = self.budget.take(growth);
                self.charge.is_some()
            }
        };
        if has_room {
            self.memory.try_reserve_exact(wanted - length)?;
        }
        Ok(has_room)
    }

    fn write_to_file(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = unnamed_file(&self.directory)?;
                file.write_all(&self.memory)?;
                self.memory = Vec::new();
                self.charge = None;
                file
            }
        };
        file.write_all(piece)?;
        self.file = Some(file);
        Ok(())
    }

    fn explain(&self, error: &io::Error) -> io::Error {
        let text = format!(
            "a request body could not be spooled in {} after {} bytes: {error}; spool-dir names the directory",
            self.directory.display(),
            self.length
        );
        match sys::shortage_cure(error) {
            Some(cure) => io::Error::new(io::ErrorKind::ResourceBusy, format!("{text}; {cure}")),
            None => io::Error::new(error.kind(), text),
        }
    }
}

/// Whether the error means that there was no descriptor or memory for a file (503 Service Unavailable).
pub fn is_starved(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// Whether the error means that there is no room (507 Insufficient Storage, RFC 4918) rather than that something is
/// wrong with the directory (500).
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::OutOfMemory
    )
}

/// A new file without a name, which only this process can read, and which is gone with its last descriptor.
pub fn unnamed_file(directory: &Path) -> io::Result<File> {
    let result = OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_TMPFILE | libc::O_EXCL)
        .open(directory);
    match result {
        // File systems without O_TMPFILE (EOPNOTSUPP; overlayfs and NFS of some kernels) or kernels without (EISDIR).
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {
            unlinked_file(directory)
        }
        result => result,
    }
}

/// The same with a name for a moment.
fn unlinked_file(directory: &Path) -> io::Result<File> {
    let mut template = directory.as_os_str().as_bytes().to_vec();
    template.extend_from_slice(b"/.penstock-body-");
    // What mkstemp replaces, and the end of the string.
    template.extend_from_slice(&[b'X'; 6]);
    template.push(0);
    // SAFETY: the template ends with NUL, as checked by construction, and mkostemp writes only within it.
    let fd = unsafe { libc::mkostemp(template.as_mut_ptr().cast(), libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and belongs to nobody else.
    let file = unsafe { File::from_raw_fd(fd) };
    // SAFETY: the template is still a C string.
    if unsafe { libc::unlink(template.as_ptr().cast()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory of a test, removed at its end.
    struct Directory(Arc<Path>);

    impl Directory {
        fn new() -> Directory {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path: PathBuf = std::env::temp_dir().join(format!("spool-{}-{number}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Directory(path.into())
        }

        fn is_empty(&self) -> bool {
            std::fs::read_dir(&self.0).unwrap().next().is_none()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    fn contents(body: SpooledBody) -> Vec<u8> {
        match body {
            SpooledBody::Memory(bytes, _) => bytes,
            SpooledBody::File(mut file, length) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len() as u64, length);
                bytes
            }
        }
    }

    fn spool_in(memory_limit_bytes: usize, directory: &Arc<Path>) -> Spool {
        Spool::new(memory_limit_bytes, &Budget::new(64 << 20), directory)
    }

    fn is_file(body: &SpooledBody) -> bool {
        matches!(body, SpooledBody::File(..))
    }

    #[test]
    fn a_small_body_stays_in_memory() {
        let directory = Arc::from(Path::new("/nonexistent"));
        let mut spool = spool_in(10, &directory);
        assert!(spool.is_empty());
        spool.write(b"hello").unwrap();
        spool.write(b"").unwrap();
        spool.write(b"world").unwrap();
        assert_eq!(spool.len(), 10);
        let body = spool.finish().unwrap();
        assert!(!is_file(&body));
        assert_eq!(contents(body), b"helloworld");
    }

    #[test]
    fn an_empty_body_is_memory() {
        let spool = spool_in(0, &Arc::from(Path::new("/nonexistent")));
        assert_eq!(contents(spool.finish().unwrap()), b"");
    }

    #[test]
    fn one_byte_more_than_the_limit_moves_the_body_to_a_file() {
        let directory = Directory::new();
        let mut spool = spool_in(10, &directory.0);
        spool.write(b"0123456789").unwrap();
        assert!(spool.file.is_none());
        spool.write(b"a").unwrap();
        assert_eq!(spool.memory.capacity(), 0);
        spool.write(b"bc").unwrap();
        assert_eq!(spool.len(), 13);
        let body = spool.finish().unwrap();
        assert!(is_file(&body));
        assert_eq!(contents(body), b"0123456789abc");
    }

    #[test]
    fn beyond_what_all_bodies_may_take_a_small_one_goes_to_a_file_too() {
        let directory = Directory::new();
        let budget = Budget::new(10);
        let spool = |expected, piece| {
            let mut spool = Spool::new(8, &budget, &directory.0);
            spool.expect(expected);
            spool.write(piece).unwrap();
            spool
        };
        let first = spool(7, b"1");
        assert_eq!(budget.taken(), 7);
        let mut second = spool(4, b"ab");
        assert!(second.file.is_some());
        second.write(b"cd").unwrap();
        assert_eq!(contents(second.finish().unwrap()), b"abcd");
        drop(first);
        let third = spool(4, b"ab").finish().unwrap();
        assert!(!is_file(&third));
        assert_eq!(budget.taken(), 4, "for as long as the body is there");
        drop(third);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn a_body_of_known_length_is_filled_in_place() {
        let mut spool = spool_in(10, &Arc::from(Path::new("/nonexistent")));
        assert_eq!(spool.room(), 0);
        spool.expect(5);
        assert_eq!(spool.room(), 0, "nothing is taken before the bytes come");
        spool.write(b"ab").unwrap();
        assert_eq!(spool.room(), 3);
        let read = |memory: &mut Vec<u8>, most: usize| {
            memory.extend_from_slice(&b"cdefgh"[..most]);
            Ok(most)
        };
        assert_eq!(spool.fill(read).unwrap(), 3);
        assert_eq!((spool.room(), spool.len()), (0, 5));
        assert_eq!(contents(spool.finish().unwrap()), b"abcde");
    }

    #[test]
    fn an_expected_large_body_goes_to_a_file_once_it_really_comes() {
        let directory = Directory::new();
        let mut spool = spool_in(1 << 20, &directory.0);
        spool.expect(1 << 30);
        spool.write(b"1").unwrap();
        assert!(spool.file.is_none());
        let piece = vec![b'2'; usize::try_from(FIRST_BYTES).unwrap() - 1];
        spool.write(&piece).unwrap();
        assert!(spool.file.is_none() && spool.memory.capacity() <= 2 * piece.len());
        spool.write(b"3").unwrap();
        assert!(spool.file.is_some() && spool.memory.capacity() == 0);
        assert_eq!(contents(spool.finish().unwrap()), [b"1".as_slice(), &piece, b"3"].concat());
    }

    #[test]
    fn an_expectation_costs_nothing_and_may_be_wrong() {
        let directory = Directory::new();
        let mut spool = spool_in(1 << 20, &directory.0);
        spool.expect(1 << 20);
        assert_eq!(spool.memory.capacity(), 0);
        spool.write(b"x").unwrap();
        assert_eq!(spool.memory.capacity(), 1 << 20);
        let mut spool = spool_in(4, &directory.0);
        spool.expect(2);
        spool.write(b"abc").unwrap();
        assert!(spool.file.is_none());
        spool.write(b"de").unwrap();
        assert_eq!(contents(spool.finish().unwrap()), b"abcde");
        let mut spool = spool_in(4, &directory.0);
        spool.expect(u64::MAX);
        spool.write(b"abc").unwrap();
        assert_eq!(contents(spool.finish().unwrap()), b"abc");
    }

    #[test]
    fn a_large_body_of_many_pieces() {
        let directory = Directory::new();
        let mut spool = spool_in(64 * 1024, &directory.0);
        let piece: Vec<u8> = (0..=255).cycle().take(10_007).collect();
        let mut whole = Vec::new();
        for _ in 0..500 {
            spool.write(&piece).unwrap();
            whole.extend_from_slice(&piece);
        }
        assert_eq!(contents(spool.finish().unwrap()), whole);
    }

    #[test]
    fn the_file_has_no_name_and_is_private() {
        let directory = Directory::new();
        for file in [unnamed_file(&directory.0).unwrap(), unlinked_file(&directory.0).unwrap()] {
            let metadata = file.metadata().unwrap();
            assert_eq!(metadata.nlink(), 0);
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            // SAFETY: the descriptor is open.
            let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
            assert!(directory.is_empty());
        }
    }

    #[test]
    fn without_a_directory_the_error_names_it() {
        for missing in ["/nonexistent/spool", "/etc/passwd"] {
            let mut spool = spool_in(2, &Arc::from(Path::new(missing)));
            spool.write(b"ab").unwrap();
            let error = spool.write(b"cd").unwrap_err();
            assert!(error.to_string().contains(missing), "{error}");
            assert!(error.to_string().contains("after 2 bytes"), "{error}");
            assert!(error.to_string().contains("spool-dir"), "{error}");
            assert!(!is_full(&error));
        }
        assert!(unlinked_file(Path::new("/nonexistent/spool")).is_err());
    }

    #[test]
    fn a_body_with_a_hole_is_never_handed_over() {
        let mut spool = spool_in(2, &Arc::from(Path::new("/nonexistent")));
        spool.write(b"ab").unwrap();
        assert!(spool.write(b"cd").is_err());
        assert!(spool.write(b"e").is_err());
        assert!(spool.write(b"").is_err());
        assert_eq!(spool.len(), 2);
        assert!(spool.finish().is_err());
    }

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let directory = Directory::new();
        let mut spool = spool_in(0, &directory.0);
        spool.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let error = spool.write(b"x").unwrap_err();
        assert!(is_full(&error));
        assert!(error.to_string().contains("No space left on device"), "{error}");
        assert!(error.to_string().contains(&directory.0.display().to_string()), "{error}");
        assert!(spool.finish().is_err());
        assert!(!is_full(&io::Error::from(io::ErrorKind::PermissionDenied)));
    }
}
