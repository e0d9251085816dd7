//! The logs of one worker: the server's lines and the requests' lines, in one file or in two.
//!
//! Here: which requests are logged, what the app says about one for its line, and a change of the files. Not here: the
//! lines' text and batches (`access_log`, `log_format`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::access_log::{Line, LogSink};
use crate::exchange::{Exchange, Parsed, Report};
use crate::log_format::{Notes, Record, Variable};
use crate::plan::{RequestLogPlan, WorkerPlan};
use crate::sys;

/// How long a request took, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From the complete request to the end of its response.
    pub elapsed_us: u64,
    /// Of this, before a thread was free for it.
    pub waited_us: u64,
    /// And in the app.
    pub app_us: u64,
}

impl Times {
    /// A file waits for no thread and no app.
    pub fn of_file(elapsed_us: u64) -> Times {
        Times { elapsed_us, waited_us: 0, app_us: 0 }
    }
}

impl RequestLogPlan {
    /// Whether a request is one of those that are logged although requests are not (`log-4xx` and its like).
    pub fn asks_for(&self, report: &Report, elapsed_us: u64) -> bool {
        self.client_errors && (400..500).contains(&report.status)
            || self.server_errors && (500..600).contains(&report.status)
            || self.empty && report.body_bytes == 0
            || self.sendfile && report.via_sendfile
            || self.io_errors && report.client_gone
            || self.slow_ms > 0 && elapsed_us / 1000 >= self.slow_ms
            || self.big_bytes > 0 && report.body_bytes >= self.big_bytes
    }
}

struct Sinks {
    requests: LogSink,
    /// None where the server's lines go to the same place.
    server: Option<LogSink>,
}

impl Sinks {
    fn server(&mut self) -> &mut LogSink {
        self.server.as_mut().unwrap_or(&mut self.requests)
    }
}

/// Both logs, and what the app threads have to say for them.
pub struct Logs {
    sinks: Mutex<Sinks>,
    is_dirty: AtomicBool,
    /// By app thread; nobody looks at them before the app has said something for the first time.
    notes: Vec<Mutex<Notes>>,
    has_notes: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks are plain values, which stay true when a thread panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logs {
    pub fn new(plan: &WorkerPlan) -> io::Result<Logs> {
        let log = &plan.engine.log;
        let open = |fd: RawFd| -> io::Result<LogSink> { Ok(LogSink::new(sys::duplicate(fd)?).styled(log)) };
        let server = if plan.request_log_fd == plan.log_fd { None } else { Some(open(plan.log_fd)?) };
        Ok(Logs {
            sinks: Mutex::new(Sinks { requests: open(plan.request_log_fd)?, server }),
            is_dirty: AtomicBool::new(false),
            notes: std::iter::repeat_with(Mutex::default).take(plan.engine.threads).collect(),
            has_notes: AtomicBool::new(false),
        })
    }

    /// Writes one line to the server's log, soon.
    pub fn note(&self, text: &str) {
        lock(&self.sinks).server().note(text);
        self.is_dirty.store(true, Ordering::Relaxed);
    }

    pub fn flush(&self) {
        if self.is_dirty.swap(false, Ordering::Relaxed) {
            let mut sinks = lock(&self.sinks);
            sinks.requests.flush();
            if let Some(server) = &mut sinks.server {
                server.flush();
            }
        }
    }

    pub fn push(&self, line: &Line<'_>, exchange: &Exchange, times: Times, notes: Option<&Notes>, plan: &WorkerPlan) {
        let mut sinks = lock(&self.sinks);
        if sinks.requests.has_format() {
            let variable = |wanted: &Variable| {
                exchange.variable(wanted).or_else(|| match &wanted.name[..] {
                    b"REMOTE_ADDR" => Some(line.address),
                    b"SERVER_NAME" => Some(plan.engine.server_name.as_bytes()),
                    b"SERVER_PORT" => Some(plan.listeners[exchange.listener].server_port.as_bytes()),
                    _ => None,
                })
            };
            let modifiers = match &exchange.parsed {
                Parsed::Http(_) => (0, 0),
                Parsed::Uwsgi(packet) => (packet.modifier1, packet.modifier2),
            };
            sinks.requests.push_formatted(&Record {
                line: *line,
                worker_id: plan.worker_id,
                modifiers,
                // A request that could not be read has no line.
                read_errors: 0,
                write_errors: exchange.report.client_gone.into(),
                waited_us: times.waited_us,
                app_us: times.app_us,
                variable: &variable,
                notes,
            });
        } else {
            sinks.requests.push(line);
        }
        drop(sinks);
        self.is_dirty.store(true, Ordering::Relaxed);
    }

    /// What the app says about the request that thread `thread` is busy with; None if there is no such thread.
    pub fn with_notes<T>(&self, thread: usize, act: impl FnOnce(&mut Notes) -> T) -> Option<T> {
        let notes = self.notes.get(thread)?;
        self.has_notes.store(true, Ordering::Relaxed);
        Some(act(&mut lock(notes)))
    }

    /// What the app has said about a request that is over.
    pub fn take_notes(&self, thread: usize) -> Option<Notes> {
        if !self.has_notes.load(Ordering::Relaxed) {
            return None;
        }
        self.notes.get(thread).map(|notes| std::mem::take(&mut *lock(notes)))
    }

    /// The master has opened a log anew: everything of this process that wrote to the old file goes on in the new one.
    /// What was written before is in the old file, and each write goes to one of the two as a whole.
    pub fn move_to(&self, plan: &WorkerPlan, which: &[u8], log: OwnedFd) {
        let mut sinks = lock(&self.sinks);
        match which {
            b"log" => {
                let Ok(copy) = sys::duplicate(log.as_raw_fd()) else { return };
                sinks.server().move_to(copy);
                for fd in [1, 2] {
                    // An app may have put something else there.
                    if sys::is_same_file(fd, plan.log_fd) {
                        sys::replace(log.as_raw_fd(), fd, false);
                    }
                }
                sys::replace(log.as_raw_fd(), plan.log_fd, true);
            }
            b"request-log" => {
                sys::replace(log.as_raw_fd(), plan.request_log_fd, true);
                sinks.requests.move_to(log);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_asks_for_its_own_requests_only() {
        let plain = Report { status: 200, body_bytes: 10, ..Report::default() };
        let none = RequestLogPlan::default();
        for status in [200, 404, 500] {
            assert!(!none.asks_for(&Report { status, ..Report::default() }, 10_000_000));
        }
        let not_found = RequestLogPlan { client_errors: true, ..none.clone() };
        for (status, expected) in [(200, false), (399, false), (400, true), (499, true), (500, false)] {
            assert_eq!(not_found.asks_for(&Report { status, ..plain }, 0), expected, "{status}");
        }
        let failed = RequestLogPlan { server_errors: true, ..none.clone() };
        for (status, expected) in [(200, false), (499, false), (500, true), (599, true)] {
            assert_eq!(failed.asks_for(&Report { status, ..plain }, 0), expected, "{status}");
        }
        let empty = RequestLogPlan { empty: true, ..none.clone() };
        assert!(empty.asks_for(&Report { body_bytes: 0, ..plain }, 0) && !empty.asks_for(&plain, 0));
        let sendfile = RequestLogPlan { sendfile: true, ..none.clone() };
        assert!(sendfile.asks_for(&Report { via_sendfile: true, ..plain }, 0) && !sendfile.asks_for(&plain, 0));
        let broken = RequestLogPlan { io_errors: true, ..none.clone() };
        assert!(broken.asks_for(&Report { client_gone: true, ..plain }, 0) && !broken.asks_for(&plain, 0));
        let slow = RequestLogPlan { slow_ms: 5, ..none.clone() };
        assert!(slow.asks_for(&plain, 5_000) && !slow.asks_for(&plain, 4_999));
        let big = RequestLogPlan { big_bytes: 10, ..none };
        assert!(big.asks_for(&plain, 0) && !big.asks_for(&Report { body_bytes: 9, ..plain }, 0));
    }
}
