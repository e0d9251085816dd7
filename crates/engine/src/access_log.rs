//! Request lines: their text, which is uWSGI's default line, and the way to the log.
//!
//! Here: formatting, escaping, batching, and what happens when the log can not be written. Not here: which requests are
//! logged, and the log of the server and the app, which is file descriptor 2.
//!
//! A line is built from what strangers sent, so nothing of it may look like another line or another field: control
//! characters, spaces, quotes and everything outside ASCII become `\xNN` (in the user's name, spaces stay and parentheses
//! go). A line stays below 4096 bytes, which is what pipes keep in one piece (PIPE_BUF, pipe(7)).
//!
//! Logging never holds up a request: nothing here waits. What the log does not take is kept for the next flush up to a
//! limit, and counted past it.

use std::borrow::Cow;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::log_format::{Memory, MemoryFile, Program, Record, push_strftime};
use crate::plan::RequestLogPlan;
use crate::sys;

/// Longest line, with its newline; also the largest piece that a pipe takes whole.
pub const LINE_LIMIT_BYTES: usize = 4096;

/// Longest request target that is shown, after escaping. With every other part at its longest, the line is shorter than
/// `LINE_LIMIT_BYTES` (a test has such a line).
const URI_LIMIT_BYTES: usize = 3072;
const ADDRESS_LIMIT_BYTES: usize = 64;
const FORWARDED_LIMIT_BYTES: usize = 128;
const USER_LIMIT_BYTES: usize = 128;
const METHOD_LIMIT_BYTES: usize = 32;
const PROTOCOL_LIMIT_BYTES: usize = 32;

/// Stands where a text was too long.
const CUT_MARK: &[u8] = b"...";

/// A batch of this size is written without being asked for.
const BATCH_BYTES: usize = 16 * 1024;

/// What is kept while the log can not be written.
const KEEP_BYTES: usize = 128 * 1024;

/// How the body left, the ` via ...` of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Via {
    #[default]
    Plain,
    Sendfile,
}

/// One request and its response, as the log tells of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line<'a> {
    pub pid: u32,
    /// -1 if no app was asked.
    pub app_id: i32,
    /// Requests of that app in this worker; -1 if no app was asked.
    pub app_requests: i64,
    pub total_requests: u64,
    pub address: &'a [u8],
    /// REMOTE_USER.
    pub user: &'a [u8],
    /// Twice the number of variables, because uWSGI counts keys and values.
    pub vars: u64,
    /// Size of the block of variables, or of the head over HTTP.
    pub packet_bytes: u64,
    /// When the request began, in microseconds since 1970.
    pub started_us: u64,
    pub method: &'a [u8],
    pub uri: &'a [u8],
    pub body_bytes: u64,
    pub elapsed_us: u64,
    pub via: Via,
    pub protocol: &'a [u8],
    pub status: u16,
    pub header_count: u64,
    pub header_bytes: u64,
    pub switches: u64,
    pub core: u64,
    /// The address is what a proxy says, which may be a list (`log-x-forwarded-for`).
    pub is_forwarded: bool,
    /// Tell microseconds instead of milliseconds (`log-micros`).
    pub in_micros: bool,
    /// What the process takes, if the line tells (`memory-report`).
    pub memory: Option<Memory>,
}

impl Line<'_> {
    /// Append the line and its newline.
    pub fn format_into(&self, out: &mut Vec<u8>, clock: &mut LocalClock) {
        if let Some(memory) = &self.memory {
            push_memory(out, memory);
        }
        out.extend_from_slice(b"[pid: ");
        push_decimal(out, self.pid.into());
        out.extend_from_slice(b"|app: ");
        push_signed(out, self.app_id.into());
        out.extend_from_slice(b"|req: ");
        push_signed(out, self.app_requests);
        out.push(b'/');
        push_decimal(out, self.total_requests);
        out.extend_from_slice(b"] ");
        if self.is_forwarded {
            push_escaped(out, self.address, FORWARDED_LIMIT_BYTES, is_plain_in_user);
        } else {
            push_escaped(out, self.address, ADDRESS_LIMIT_BYTES, is_plain);
        }
        out.extend_from_slice(b" (");
        push_escaped(out, self.user, USER_LIMIT_BYTES, is_plain_in_user);
        out.extend_from_slice(b") {");
        push_decimal(out, self.vars);
        out.extend_from_slice(b" vars in ");
        push_decimal(out, self.packet_bytes);
        out.extend_from_slice(b" bytes} [");
        out.extend_from_slice(clock.text(i64::try_from(self.started_us / 1_000_000).unwrap_or(i64::MAX)));
        out.extend_from_slice(b"] ");
        push_escaped(out, self.method, METHOD_LIMIT_BYTES, is_plain);
        out.push(b' ');
        push_escaped(out, self.uri, URI_LIMIT_BYTES, is_plain);
        out.extend_from_slice(b" => generated ");
        push_decimal(out, self.body_bytes);
        out.extend_from_slice(b" bytes in ");
        if self.in_micros {
            push_decimal(out, self.elapsed_us);
            out.extend_from_slice(b" micros");
        } else {
            push_decimal(out, self.elapsed_us / 1000);
            out.extend_from_slice(b" msecs");
        }
        out.extend_from_slice(match self.via {
            Via::Plain => b" (",
            Via::Sendfile => b" via sendfile() (",
        });
        push_escaped(out, self.protocol, PROTOCOL_LIMIT_BYTES, is_plain);
        out.push(b' ');
        push_decimal(out, self.status.into());
        out.extend_from_slice(b") ");
        push_decimal(out, self.header_count);
        out.extend_from_slice(b" headers in ");
        push_decimal(out, self.header_bytes);
        out.extend_from_slice(b" bytes (");
        push_decimal(out, self.switches);
        out.extend_from_slice(b" switches on core ");
        push_decimal(out, self.core);
        out.extend_from_slice(b")\n");
    }
}

fn push_memory(out: &mut Vec<u8>, memory: &Memory) {
    for (name, bytes) in [("address space", memory.address_space_bytes), ("rss", memory.resident_bytes)] {
        out.push(b'{');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b" usage: ");
        push_decimal(out, bytes);
        out.extend_from_slice(b" bytes/");
        push_decimal(out, bytes >> 20);
        out.extend_from_slice(b"MB} ");
    }
}

/// Printable ASCII without space, `"` and the backslash that starts an escape.
pub fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

fn is_c1(character: char) -> bool {
    ('\u{80}'..='\u{9f}').contains(&character)
}

/// Names of users contain spaces; they stand in parentheses.
fn is_plain_in_user(byte: u8) -> bool {
    byte == b' ' || is_plain(byte) && byte != b'(' && byte != b')'
}

/// Append `text`, at most `limit` bytes of it after escaping, with a mark if it was cut.
pub fn push_escaped(out: &mut Vec<u8>, text: &[u8], limit: usize, is_plain: impl Fn(u8) -> bool) {
    if text.len() <= limit && text.iter().all(|&byte| is_plain(byte)) {
        out.extend_from_slice(text);
        return;
    }
    let width = |byte: u8| if is_plain(byte) { 1 } else { 4 };
    let is_cut = text.iter().map(|&byte| width(byte)).sum::<usize>() > limit;
    let end = out.len() + limit - if is_cut { CUT_MARK.len() } else { 0 };
    for &byte in text {
        if out.len() + width(byte) > end {
            out.extend_from_slice(CUT_MARK);
            return;
        }
        if is_plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'\\', b'x', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
    }
}

fn hex_digit(nibble: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(nibble & 15)]
}

fn push_signed(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    push_decimal(out, number.unsigned_abs());
}

/// The general formatter costs more than the rest of the line together.
pub fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Append a number with zeros before it, at least `width` digits (20 at most).
pub fn push_padded(out: &mut Vec<u8>, number: u64, width: usize) {
    let digits = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    out.extend_from_slice(&b"00000000000000000000"[..width.saturating_sub(digits)]);
    push_decimal(out, number);
}

/// Year, month and day of a day since 1970 in the Gregorian calendar, in UTC. (gmtime_r would do the same behind a lock.)
pub fn calendar(day: u64) -> (u64, u64, u64) {
    // Counted from March of the year 0, so that a leap day is the last of its year; 400 years have 146,097 days.
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// Local time as ctime(3) writes it, without its newline; the text of a second is kept.
#[derive(Debug, Clone)]
pub struct LocalClock {
    second: Option<i64>,
    text: Vec<u8>,
}

impl LocalClock {
    pub fn new() -> LocalClock {
        unsafe extern "C" {
            fn tzset();
        }
        // localtime_r need not read TZ by itself (POSIX), so it is read here.
        // SAFETY: tzset has no arguments and takes the C library's own lock.
        unsafe { tzset() };
        LocalClock { second: None, text: Vec::with_capacity(24) }
    }

    /// For example `Sun Nov 22 05:37:40 2026`. A time that has no date here (an absurd year) is 24 question marks.
    pub fn text(&mut self, epoch_s: i64) -> &[u8] {
        if self.second != Some(epoch_s) {
            self.second = Some(epoch_s);
            self.text.clear();
            match local_time(epoch_s) {
                Some(time) => write_ctime(&mut self.text, &time),
                None => self.text.extend_from_slice(&[b'?'; 24]),
            }
        }
        &self.text
    }
}

impl Default for LocalClock {
    fn default() -> LocalClock {
        LocalClock::new()
    }
}

pub fn local_time(epoch_s: i64) -> Option<libc::tm> {
    let mut time = MaybeUninit::<libc::tm>::zeroed();
    let epoch_s = libc::time_t::from(epoch_s);
    // SAFETY: both pointers are valid for the call; localtime_r keeps neither.
    let result = unsafe { libc::localtime_r(&raw const epoch_s, time.as_mut_ptr()) };
    if result.is_null() {
        return None;
    }
    // SAFETY: an all-zero tm is valid, and localtime_r filled it.
    let time = unsafe { time.assume_init() };
    (-1900..=9999 - 1900).contains(&time.tm_year).then_some(time)
}

/// The short English name of a time's month, whatever the locale.
pub fn month(time: &libc::tm) -> &'static str {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    usize::try_from(time.tm_mon).ok().and_then(|index| MONTHS.get(index).copied()).unwrap_or("???")
}

fn write_ctime(out: &mut Vec<u8>, time: &libc::tm) {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    // Writing to a Vec does not fail.
    let _ = write!(
        out,
        "{} {} {:2} {:02}:{:02}:{:02} {:04}",
        usize::try_from(time.tm_wday).ok().and_then(|index| DAYS.get(index)).unwrap_or(&"???"),
        month(time),
        time.tm_mday,
        time.tm_hour,
        time.tm_min,
        time.tm_sec,
        time.tm_year + 1900
    );
}

/// What is behind the log's descriptor, which decides how it can be written without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A file: a write is whole (O_APPEND) and waits for nobody.
    File,
    /// A socket, as systemd's journal gives: one message, never waiting.
    Socket,
    /// A pipe or terminal: asked first, and written in pieces that a pipe takes whole. The descriptor is shared with the
    /// app and the master, so that it must not be made non-blocking.
    Stream,
}

/// Where request lines go, in batches.
#[derive(Debug)]
pub struct LogSink {
    log: File,
    target: Target,
    clock: LocalClock,
    /// `log-format`; None for the default line.
    program: Option<Program>,
    /// Asked for each default line with `memory-report`.
    memory: Option<MemoryFile>,
    /// What stands before each note, for strftime (`log-date`).
    prefix: Option<CString>,
    /// Whole lines that are not written yet; only the first may have lost its beginning to a partial write.
    batch: Vec<u8>,
    last_error: Option<io::Error>,
    /// Lines that were given up since the last success, and why the first of them was.
    lost_lines: u64,
    lost_reason: String,
}

impl LogSink {
    /// Write to `log`, which the caller has opened for appending.
    pub fn new(log: OwnedFd) -> LogSink {
        let log = File::from(log);
        let target = target_of(&log);
        LogSink {
            log,
            target,
            clock: LocalClock::new(),
            program: None,
            memory: None,
            prefix: None,
            batch: Vec::with_capacity(BATCH_BYTES + LINE_LIMIT_BYTES),
            last_error: None,
            lost_lines: 0,
            lost_reason: String::new(),
        }
    }

    /// Write lines as the plan wants them.
    pub fn styled(mut self, plan: &RequestLogPlan) -> LogSink {
        self.program = (!plan.format.is_empty()).then(|| Program::compile(&plan.format, plan.is_json, &plan.strftime));
        self.memory = plan.memory.then(MemoryFile::open);
        self.prefix = CString::new(&plan.prefix[..]).ok().filter(|prefix| !prefix.is_empty());
        self
    }

    /// Go on in another file; what is pending still belongs to this one.
    pub fn move_to(&mut self, log: OwnedFd) {
        self.flush();
        self.log = File::from(log);
        self.target = target_of(&self.log);
    }

    /// Whether lines are made by a format, which asks more than the default line does.
    pub fn has_format(&self) -> bool {
        self.program.is_some()
    }

    /// Add a request line in the default form; writes the batch if it is large.
    pub fn push(&mut self, line: &Line<'_>) {
        if !self.has_room() {
            return;
        }
        match &self.memory {
            None => line.format_into(&mut self.batch, &mut self.clock),
            Some(file) => Line { memory: Some(file.read()), ..*line }.format_into(&mut self.batch, &mut self.clock),
        }
        self.flush_if_large();
    }

    /// Add a request line as the format has it, if there is one.
    pub fn push_formatted(&mut self, record: &Record<'_>) {
        if !self.has_room() {
            return;
        }
        if let Some(program) = &mut self.program {
            program.write(&mut self.batch, record);
        }
        self.flush_if_large();
    }

    /// Add a line of plain text; control characters are escaped, and it is cut to the length of a request line.
    pub fn note(&mut self, text: &str) {
        if !self.has_room() {
            return;
        }
        let start = self.batch.len();
        if let Some(prefix) = &self.prefix
            && let Some(time) = local_time(i64::try_from(sys::epoch_s()).unwrap_or(i64::MAX))
        {
            push_strftime(&mut self.batch, &time, prefix);
        }
        let room = LINE_LIMIT_BYTES - 1 - (self.batch.len() - start);
        // Terminals obey the controls of ISO 6429 in UTF-8 too.
        let text = if text.contains(is_c1) { Cow::Owned(text.replace(is_c1, "?")) } else { Cow::Borrowed(text) };
        push_escaped(&mut self.batch, text.as_bytes(), room, |byte| byte >= b' ' && byte != 0x7f);
        self.batch.push(b'\n');
        self.flush_if_large();
    }

    #[cfg(test)]
    /// Bytes that wait for the next flush.
    pub fn pending_bytes(&self) -> usize {
        self.batch.len()
    }

    /// Write what there is, as far as the log takes it now.
    pub fn flush(&mut self) {
        let mut written = 0;
        let error = loop {
            if written == self.batch.len() {
                break None;
            }
            match self.write_piece(written) {
                Ok(0) => break Some(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        self.batch.drain(..written);
        self.last_error = error;
        if self.last_error.is_none() {
            self.report_losses();
        }
    }

    /// Whether one more line is taken; if not, it is counted as lost.
    fn has_room(&mut self) -> bool {
        if self.batch.len() + LINE_LIMIT_BYTES > KEEP_BYTES {
            // The log may have recovered since: without this a full batch would never be tried again by a busy worker.
            self.flush();
        }
        let has_room = self.batch.len() + LINE_LIMIT_BYTES <= KEEP_BYTES;
        if !has_room {
            if self.lost_lines == 0 {
                self.lost_reason = self.last_error.as_ref().map(ToString::to_string).unwrap_or_default();
            }
            self.lost_lines += 1;
        }
        has_room
    }

    fn flush_if_large(&mut self) {
        if self.batch.len() > BATCH_BYTES {
            self.flush();
        }
    }

    /// Everything pending was written: tell what was not.
    fn report_losses(&mut self) {
        if self.lost_lines > 0 {
            let text = format!(
                "{} request lines were lost: the log could not be written: {}",
                self.lost_lines, self.lost_reason
            );
            self.lost_lines = 0;
            self.note(&text);
            self.flush();
        }
    }

    fn write_piece(&self, start: usize) -> io::Result<usize> {
        let rest = &self.batch[start..];
        match self.target {
            Target::File => (&self.log).write(rest),
            Target::Socket => send_without_waiting(&self.log, whole_lines(rest)),
            Target::Stream => {
                if !takes_bytes_now(&self.log)? {
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, "its reader does not keep up"));
                }
                (&self.log).write(whole_lines(rest))
            }
        }
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        self.flush();
    }
}

/// As many whole lines from the front as a pipe takes in one piece, at least one.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    if bytes.len() <= LINE_LIMIT_BYTES {
        return bytes;
    }
    let end = memchr::memrchr(b'\n', &bytes[..LINE_LIMIT_BYTES]).map_or(LINE_LIMIT_BYTES, |newline| newline + 1);
    &bytes[..end]
}

fn target_of(log: &File) -> Target {
    use std::os::unix::fs::FileTypeExt as _;
    match log.metadata().map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_file() => Target::File,
        Ok(kind) if kind.is_socket() => Target::Socket,
        _ => Target::Stream,
    }
}

fn takes_bytes_now(log: &File) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: log.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd; a timeout of 0 returns at once.
    let count = unsafe { libc::poll(&raw mut poll, 1, 0) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    // With POLLERR or POLLHUP the write returns at once too, with the reason.
    Ok(count > 0)
}

fn send_without_waiting(log: &File, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a live slice, and the descriptor is open as long as `log`.
    let count = unsafe {
        libc::send(log.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    fn example() -> Line<'static> {
        Line {
            pid: 77,
            app_id: 0,
            app_requests: 3,
            total_requests: 9,
            address: b"127.0.0.1",
            user: b"",
            vars: 28,
            packet_bytes: 331,
            started_us: 1_795_325_860_123_456,
            method: b"GET",
            uri: b"/a?b=%20c",
            body_bytes: 5,
            elapsed_us: 12_999,
            via: Via::Plain,
            protocol: b"HTTP/1.1",
            status: 200,
            header_count: 2,
            header_bytes: 71,
            switches: 1,
            core: 0,
            ..Line::default()
        }
    }

    fn text_of(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        line.format_into(&mut out, &mut LocalClock::new());
        String::from_utf8(out).unwrap()
    }

    fn c_library_says(epoch_s: i64) -> String {
        let time = local_time(epoch_s).unwrap();
        let mut buffer = [0_u8; 64];
        // SAFETY: asctime_r needs 26 bytes and a valid tm.
        unsafe { asctime_r(&raw const time, buffer.as_mut_ptr().cast()) };
        std::ffi::CStr::from_bytes_until_nul(&buffer).unwrap().to_str().unwrap().trim_end().to_owned()
    }

    unsafe extern "C" {
        fn asctime_r(time: *const libc::tm, buffer: *mut libc::c_char) -> *mut libc::c_char;
    }

    fn pipe() -> (File, OwnedFd) {
        let mut fds = [0; 2];
        // SAFETY: room for two descriptors, which are new and owned from here on.
        unsafe {
            assert_eq!(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC), 0);
            use std::os::fd::FromRawFd;
            (File::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
        }
    }

    /// Make reads of the test's own end return at once.
    fn read_available(mut reader: &File) -> Vec<u8> {
        // SAFETY: the descriptor is open; O_NONBLOCK on the reading end does not concern the writer.
        unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let mut bytes = Vec::new();
        match reader.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        bytes
    }

    fn lines(bytes: &[u8]) -> Vec<&str> {
        std::str::from_utf8(bytes).unwrap().lines().collect()
    }

    #[test]
    fn the_line_is_uwsgis() {
        let line = example();
        let expected = format!(
            "[pid: 77|app: 0|req: 3/9] 127.0.0.1 () {{28 vars in 331 bytes}} [{}] GET /a?b=%20c => generated 5 bytes in \
             12 msecs (HTTP/1.1 200) 2 headers in 71 bytes (1 switches on core 0)\n",
            c_library_says(1_795_325_860)
        );
        assert_eq!(text_of(&line), expected);
    }

    #[test]
    fn a_static_file_has_no_app_and_says_sendfile() {
        let line = Line { app_id: -1, app_requests: -1, user: b"ann", via: Via::Sendfile, ..example() };
        let text = text_of(&line);
        assert!(text.starts_with("[pid: 77|app: -1|req: -1/9] 127.0.0.1 (ann) {"), "{text}");
        assert!(text.contains(" in 12 msecs via sendfile() (HTTP/1.1 200) "), "{text}");
    }

    #[test]
    fn nothing_in_a_line_can_look_like_another_line_or_field() {
        let line = Line {
            method: b"G\nT",
            uri: b"/\r\n[pid: 1|app\" \\x\x1b[2J\x00\x7f\xc3\xa9",
            user: b"eve) {0 vars\n",
            protocol: b"HTTP/1.1 200) x",
            address: b"1.2.3.4 (root)",
            ..example()
        };
        let text = text_of(&line);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.contains(r"G\x0AT /\x0D\x0A[pid:\x201|app\x22\x20\x5Cx\x1B[2J\x00\x7F\xC3\xA9 => "), "{text}");
        assert!(text.contains(r"(eve\x29 {0 vars\x0A)"), "{text}");
        assert!(text.contains(r"(HTTP/1.1\x20200)\x20x 200)"), "{text}");
        assert!(text.contains(r"] 1.2.3.4\x20(root) ("), "{text}");
    }

    #[test]
    fn the_longest_line_is_shorter_than_a_pipe_takes_whole() {
        for filler in [b'a', b'\n'] {
            let long = vec![filler; 70_000];
            let line = Line {
                pid: u32::MAX,
                app_id: i32::MIN,
                app_requests: i64::MIN,
                total_requests: u64::MAX,
                address: &long,
                user: &long,
                vars: u64::MAX,
                packet_bytes: u64::MAX,
                started_us: u64::MAX,
                method: &long,
                uri: &long,
                body_bytes: u64::MAX,
                elapsed_us: u64::MAX,
                via: Via::Sendfile,
                protocol: &long,
                status: u16::MAX,
                header_count: u64::MAX,
                header_bytes: u64::MAX,
                switches: u64::MAX,
                core: u64::MAX,
                is_forwarded: true,
                in_micros: true,
                memory: Some(Memory { address_space_bytes: u64::MAX, resident_bytes: u64::MAX }),
            };
            let text = text_of(&line);
            assert!(text.len() < LINE_LIMIT_BYTES, "{}", text.len());
            assert_eq!(text.matches("... ").count(), 4, "{text}");
        }
    }

    #[test]
    fn a_text_of_exactly_the_limit_is_not_cut() {
        for (text, limit, expected) in [
            (&b"abcdefgh"[..], 8, "abcdefgh"),
            (b"abcdefghi", 8, "abcde..."),
            (b"abcd\n", 8, r"abcd\x0A"),
            (b"abcde\n", 8, "abcde..."),
            (b"\nabcd", 8, r"\x0Aabcd"),
            (b"\n\n", 8, r"\x0A\x0A"),
            (b"\n\n\n", 8, r"\x0A..."),
            (b"", 8, ""),
        ] {
            let mut out = b"before".to_vec();
            push_escaped(&mut out, text, limit, is_plain);
            assert_eq!(out, format!("before{expected}").as_bytes());
        }
    }

    #[test]
    fn numbers() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
        for number in [i64::MIN, -1, 0, i64::MAX] {
            let mut out = Vec::new();
            push_signed(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn times_are_as_ctime_writes_them() {
        let mut clock = LocalClock::new();
        for second in [0, 1_795_325_860, 1_795_325_861, 1_793_491_200, 951_782_400, -1, 4_102_444_799, 1_795_325_860] {
            assert_eq!(std::str::from_utf8(clock.text(second)).unwrap(), c_library_says(second), "{second}");
            assert_eq!(clock.text(second).len(), 24);
        }
        for absurd in [i64::MAX, i64::MIN, 400_000_000_000] {
            assert_eq!(clock.text(absurd), [b'?'; 24]);
        }
    }

    #[test]
    fn lines_are_written_in_batches() {
        let (reader, writer) = pipe();
        let mut sink = LogSink::new(writer);
        sink.push(&example());
        assert!(sink.pending_bytes() > 0);
        assert!(read_available(&reader).is_empty());
        sink.flush();
        assert_eq!(sink.pending_bytes(), 0);
        assert_eq!(read_available(&reader), text_of(&example()).as_bytes());
        let mut pushed = 0;
        while sink.pending_bytes() < BATCH_BYTES - 200 {
            sink.push(&example());
            pushed += 1;
        }
        for _ in 0..4 {
            sink.push(&example());
            pushed += 1;
        }
        assert!(sink.pending_bytes() < 1_000);
        drop(sink);
        assert_eq!(lines(&read_available(&reader)).len(), pushed);
    }

    #[test]
    fn a_file_is_appended_to() {
        let path = std::env::temp_dir().join(format!("access-log-{}", std::process::id()));
        std::fs::write(&path, "before\n").unwrap();
        let open = || std::fs::OpenOptions::new().append(true).open(&path).unwrap().into();
        let (mut one, mut two) = (LogSink::new(open()), LogSink::new(open()));
        for number in 0..1_000 {
            one.push(&Line { pid: 1, total_requests: number, ..example() });
            two.push(&Line { pid: 2, total_requests: number, ..example() });
        }
        drop((one, two));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.lines().count(), 2_001);
        assert!(text.lines().skip(1).all(|line| line.starts_with("[pid: ") && line.ends_with("core 0)")));
    }

    #[test]
    fn a_pipe_gets_whole_lines_in_pieces_it_takes_whole() {
        let line = [b'x'; 999].iter().chain(b"\n").copied().collect::<Vec<_>>();
        assert_eq!(whole_lines(&line.repeat(3)).len(), 3_000);
        assert_eq!(whole_lines(&line.repeat(9)).len(), 4_000);
        assert_eq!(whole_lines(&[b'x'; 5_000]).len(), LINE_LIMIT_BYTES);
        assert_eq!(whole_lines(b"").len(), 0);
    }

    #[test]
    fn a_full_pipe_holds_nobody_up_and_losses_are_told() {
        let (reader, writer) = pipe();
        let mut sink = LogSink::new(writer);
        let mut pushed = 0_usize;
        while sink.lost_lines < 10 {
            sink.push(&example());
            pushed += 1;
        }
        assert!(sink.pending_bytes() <= KEEP_BYTES);
        let mut bytes = Vec::new();
        while sink.pending_bytes() > 0 {
            bytes.extend(read_available(&reader));
            sink.flush();
        }
        bytes.extend(read_available(&reader));
        let lines = lines(&bytes);
        let told = "10 request lines were lost: the log could not be written: its reader does not keep up";
        assert_eq!(*lines.last().unwrap(), told);
        assert_eq!(lines.len(), pushed - 10 + 1);
        assert!(lines[..lines.len() - 1].iter().all(|line| format!("{line}\n") == text_of(&example())));
        assert_eq!(sink.lost_lines, 0);
    }

    #[test]
    fn a_full_socket_holds_nobody_up_and_losses_are_told() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let mut sink = LogSink::new(writer.into());
        assert_eq!(sink.target, Target::Socket);
        let mut pushed = 0_usize;
        while sink.lost_lines < 3 {
            sink.push(&example());
            pushed += 1;
        }
        let reader = File::from(OwnedFd::from(reader));
        let mut bytes = Vec::new();
        while sink.pending_bytes() > 0 {
            bytes.extend(read_available(&reader));
            sink.flush();
        }
        bytes.extend(read_available(&reader));
        let lines = lines(&bytes);
        assert!(lines.last().unwrap().starts_with("3 request lines were lost: the log could not be written: "));
        assert_eq!(lines.len(), pushed - 3 + 1);
    }

    #[test]
    fn a_log_whose_reader_is_gone_is_no_problem() {
        let (reader, writer) = pipe();
        drop(reader);
        let mut sink = LogSink::new(writer);
        for _ in 0..10_000 {
            sink.push(&example());
        }
        assert!(sink.lost_lines > 0 && sink.pending_bytes() <= KEEP_BYTES);
        let (reader, writer) = pipe();
        sink.log = File::from(writer);
        sink.flush();
        let mut bytes = read_available(&reader);
        while sink.pending_bytes() > 0 {
            sink.flush();
            bytes.extend(read_available(&reader));
        }
        assert!(lines(&bytes).last().unwrap().contains("Broken pipe"), "{:?}", lines(&bytes).last());
    }

    #[test]
    fn a_full_disk_is_no_problem() {
        let full = std::fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
        let mut sink = LogSink::new(full.into());
        for _ in 0..10_000 {
            sink.push(&example());
        }
        assert!(sink.lost_reason.contains("No space left"), "{}", sink.lost_reason);
        assert!(sink.pending_bytes() <= KEEP_BYTES);
    }

    #[test]
    fn a_log_that_can_not_be_written_to_is_no_problem() {
        let mut sink = LogSink::new(File::open("/dev/null").unwrap().into());
        sink.push(&example());
        sink.flush();
        sink.note("hello");
        assert_eq!(sink.last_error.as_ref().unwrap().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn a_note_is_one_line() {
        let (reader, writer) = pipe();
        let mut sink = LogSink::new(writer);
        sink.note("an HTTP request (\"GET /\") came\nto the uwsgi \u{9b}socket é");
        sink.note(&"y".repeat(10_000));
        sink.flush();
        let bytes = read_available(&reader);
        let lines = lines(&bytes);
        assert_eq!(lines[0], "an HTTP request (\"GET /\") came\\x0Ato the uwsgi ?socket é");
        assert_eq!(lines[1].len(), LINE_LIMIT_BYTES - 1);
        assert_eq!(lines.len(), 2);
    }
}
