//! Where responses wait for slow clients: the caps that all connections of a worker share, and the file of one of them.
//!
//! The file has no name and is a ring: what the client took makes room for what the app gives next, so that it never
//! grows beyond `response-spool`, however long the response is. Only the writer of a response appends; the event loop
//! sends. A disk that fails is no failure of a response: its writer waits for its client instead, and the trouble is
//! told once, until spooling works again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::budget::Budget;
use crate::plan::EnginePlan;
use crate::spool;
use crate::sys;

/// One append moves at most this much, so that what is spooled can be sent while more is spooled.
const APPEND_BYTES: u64 = 1 << 20;
/// After a failure the disk is left alone for this long.
const PAUSE_MS: u64 = 1000;

pub struct Store {
    /// `response-buffer-total`.
    pub memory: Arc<Budget>,
    /// `response-spool-total`.
    pub disk: Arc<Budget>,
    /// `response-spool`; 0 for none.
    ring_bytes: u64,
    /// `disable-sendfile`: files are read and sent, not sent by the kernel.
    pub files_are_read: bool,
    directory: PathBuf,
    trouble: Mutex<Trouble>,
}

/// Invariant: `retry_ms` is not 0 exactly from the note of a failure to the note of its end.
#[derive(Default)]
struct Trouble {
    retry_ms: u64,
    notes: Vec<String>,
}

/// The file of one connection, as its writer sees it.
#[derive(Clone)]
pub struct Ring {
    pub file: Arc<File>,
    /// Where the next byte goes.
    end: u64,
}

/// What was appended to a ring.
pub struct Appended {
    pub ring: Ring,
    pub offset: u64,
    pub length: u64,
}

impl Store {
    pub fn new(engine: &EnginePlan) -> Arc<Self> {
        let store = Self::made(
            engine.response_buffer_total_bytes,
            engine.response_spool_bytes,
            engine.response_spool_total_bytes,
            Path::new(&engine.spool_dir),
        );
        Arc::new(Self { files_are_read: engine.response.files_are_read, ..store })
    }

    fn made(memory_bytes: u64, ring_bytes: u64, disk_bytes: u64, directory: &Path) -> Self {
        Self {
            memory: Budget::new(memory_bytes),
            disk: Budget::new(disk_bytes),
            ring_bytes,
            files_are_read: false,
            directory: directory.to_owned(),
            trouble: Mutex::default(),
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        // What a panicking thread left behind is a time and texts, which are still true.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of `wanted` can be spooled by a connection that has `unsent` bytes in its ring.
    pub fn room(&self, ring: Option<&Ring>, unsent: u64, wanted: u64) -> u64 {
        if self.ring_bytes == 0 {
            return 0;
        }
        let to_the_edge = self.ring_bytes - ring.map_or(0, |ring| ring.end);
        wanted.min(APPEND_BYTES).min(self.ring_bytes.saturating_sub(unsent)).min(to_the_edge)
    }

    /// Writes the beginning of `bytes`, which `room` allowed, to the ring. None if the disk does not take it now.
    pub fn append(&self, ring: Option<Ring>, bytes: &[u8]) -> Option<Appended> {
        let retry_ms = self.trouble().retry_ms;
        if retry_ms != 0 && sys::now_ms() < retry_ms {
            return None;
        }
        match self.try_append(ring, bytes) {
            Ok(appended) => {
                if retry_ms != 0 {
                    self.recovered();
                }
                Some(appended)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn try_append(&self, ring: Option<Ring>, bytes: &[u8]) -> io::Result<Appended> {
        let ring = match ring {
            Some(ring) => ring,
            None => Ring { file: Arc::new(spool::unnamed_file(&self.directory)?), end: 0 },
        };
        let count = loop {
            match ring.file.write_at(bytes, ring.end) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(count) => break count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        let offset = ring.end;
        let end = if offset + count == self.ring_bytes { 0 } else { offset + count };
        Ok(Appended { ring: Ring { file: ring.file, end }, offset, length: count })
    }

    fn failed(&self, error: &io::Error) {
        let mut trouble = self.trouble();
        if trouble.retry_ms == 0 {
            let text = format!(
                "a response for a slow client could not be spooled in {}: {error}; until it can, the app waits for such \
                 clients. Make room there, or name another directory with spool-dir",
                self.directory.display()
            );
            trouble.notes.push(text);
        }
        trouble.retry_ms = sys::now_ms() + PAUSE_MS;
    }

    fn recovered(&self) {
        let mut trouble = self.trouble();
        if std::mem::take(&mut trouble.retry_ms) != 0 {
            trouble.notes.push(format!("responses can be spooled in {} again", self.directory.display()));
        }
    }

    /// What the log shall say.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.trouble().notes)
    }
}

#[cfg(test)]
impl Store {
    pub fn with(memory_bytes: u64, ring_bytes: u64, disk_bytes: u64, directory: &Path) -> Arc<Self> {
        Arc::new(Self::made(memory_bytes, ring_bytes, disk_bytes, directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(ring_bytes: u64) -> Arc<Store> {
        Store::with(100, ring_bytes, 100, &std::env::temp_dir())
    }

    #[test]
    fn a_ring_goes_round() {
        let store = store(10);
        assert_eq!(store.room(None, 0, 12), 10);
        let first = store.append(None, b"0123456").expect("spooled");
        assert_eq!((first.offset, first.length), (0, 7));
        assert_eq!(store.room(Some(&first.ring), 7, 12), 3);
        // Four bytes are sent, but the edge is three away.
        assert_eq!(store.room(Some(&first.ring), 3, 12), 3);
        let second = store.append(Some(first.ring), b"789").expect("spooled");
        assert_eq!((second.offset, second.length), (7, 3));
        assert_eq!(store.room(Some(&second.ring), 6, 12), 4);
        let third = store.append(Some(second.ring), b"abcd").expect("spooled");
        assert_eq!((third.offset, third.length), (0, 4));
        assert_eq!(store.room(Some(&third.ring), 10, 1), 0);
        let mut contents = [0; 10];
        third.ring.file.read_exact_at(&mut contents, 0).expect("all of it");
        assert_eq!(&contents, b"abcd456789");
    }

    #[test]
    fn without_a_size_nothing_is_spooled() {
        assert_eq!(store(0).room(None, 0, 1), 0);
    }

    #[test]
    fn trouble_is_told_once_and_its_end_too() {
        let bad = Store::with(100, 10, 100, Path::new("/nonexistent/spool"));
        assert!(bad.append(None, b"x").is_none());
        bad.trouble().retry_ms = 1;
        assert!(bad.append(None, b"x").is_none());
        let notes = bad.take_notes();
        assert!(
            notes.len() == 1 && notes[0].contains("/nonexistent/spool") && notes[0].contains("spool-dir"),
            "{notes:?}"
        );
        assert!(bad.append(None, b"x").is_none(), "the disk is left alone for a while");
        let good = store(10);
        good.failed(&io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(good.take_notes().len(), 1);
        good.trouble().retry_ms = 1;
        assert!(good.append(None, b"x").is_some());
        assert!(good.take_notes()[0].contains("again"));
    }
}
