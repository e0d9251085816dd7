//! `log-format`: a text with `%(name)` variables, compiled once by a worker and run for each request that is logged.
//!
//! Here: what the variables are, and how their values are escaped. Not here: the default line, batches and descriptors
//! (`access_log`), and which requests are logged (`worker`).
//!
//! What strangers send can end neither a line nor a quoted field: control characters, `"`, the backslash and everything
//! outside ASCII become `\xNN`; in the parts of a request line and in addresses, spaces do too. In a format that is JSON
//! they become what JSON has for them, and text in UTF-8 stays text. No line is longer than `LINE_LIMIT_BYTES`: the room
//! that the format's own text leaves is shared out among its variables when it is compiled, so that JSON stays whole.

use std::ffi::CString;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::access_log::{
    LINE_LIMIT_BYTES, Line, LocalClock, calendar, is_plain, local_time, month, push_decimal, push_escaped, push_padded,
};

/// What stands for a value that is not there.
const ABSENT: &[u8] = b"-";
/// The longest number, and the longest time of the fixed forms.
const NUMBER_BYTES: usize = 20;
const TIME_BYTES: usize = 40;
const STRFTIME_BYTES: usize = 256;
/// A value gets at least this much of a line, whatever the others are.
const LEAST_BYTES: usize = 16;

/// A variable of the request's environ, looked for under both names that it has on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// As in the environ: `HTTP_X_REQUEST_ID`.
    pub name: Vec<u8>,
    /// The HTTP header that it is made of, in lower case, if it is made of one: `x-request-id`.
    pub header: Option<Vec<u8>>,
}

impl Variable {
    pub fn new(name: &str) -> Variable {
        let header = match name {
            "CONTENT_TYPE" | "CONTENT_LENGTH" => Some(name),
            _ => name.strip_prefix("HTTP_"),
        };
        let header = header.map(|text| text.to_ascii_lowercase().replace('_', "-").into_bytes());
        Variable { name: name.as_bytes().to_vec(), header }
    }
}

/// Memory of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    pub address_space_bytes: u64,
    pub resident_bytes: u64,
}

/// Where the kernel tells it; opened once, because a read of it is all that a line should cost.
#[derive(Debug)]
pub struct MemoryFile(Option<File>);

impl MemoryFile {
    pub fn open() -> MemoryFile {
        MemoryFile(File::open("/proc/self/statm").ok())
    }

    /// Zeroes where it can not be read.
    pub fn read(&self) -> Memory {
        let mut text = [0; 128];
        let count = self.0.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
        // SAFETY: sysconf only looks a number up.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let mut pages = text[..count].split(|byte| *byte == b' ').map(|field| {
            field.iter().take_while(|byte| byte.is_ascii_digit()).fold(0_u64, |sum, d| sum * 10 + u64::from(d - b'0'))
        });
        let mut next = || pages.next().unwrap_or(0).saturating_mul(page);
        Memory { address_space_bytes: next(), resident_bytes: next() }
    }
}

/// What the app has said about a request for the log.
#[derive(Debug, Default)]
pub struct Notes {
    /// `uwsgi.set_logvar`.
    pub variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// `uwsgi.log_this_request`.
    pub is_wanted: bool,
}

impl Notes {
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.variables.push((name.to_vec(), value.to_vec())),
        }
    }

    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }
}

/// Everything that a format can ask about one request.
pub struct Record<'a> {
    pub line: Line<'a>,
    pub worker_id: u32,
    pub modifiers: (u8, u8),
    pub read_errors: u64,
    pub write_errors: u64,
    /// From the complete request to its thread, in microseconds.
    pub waited_us: u64,
    pub app_us: u64,
    pub variable: &'a dyn Fn(&Variable) -> Option<&'a [u8]>,
    pub notes: Option<&'a Notes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    AppMicros,
    BodyBytes,
    ContentLength,
    Core,
    Epoch,
    HeaderBytes,
    Headers,
    IoErrors,
    Micros,
    Modifier1,
    Modifier2,
    Msecs,
    PacketBytes,
    Pid,
    QueueMicros,
    ReadErrors,
    Rss,
    RssM,
    Started,
    StartedMicros,
    StartedMsecs,
    Status,
    Switches,
    TotalBytes,
    Vars,
    Vsz,
    VszM,
    Worker,
    WriteErrors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Address,
    Method,
    Protocol,
    Uri,
    User,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// `22/Nov/2026:05:50:48 +0000`, as Apache and nginx write it.
    Common,
    Ctime,
    /// RFC 3339 in UTC, with microseconds.
    Iso,
}

#[derive(Debug, Clone)]
enum Source {
    Number(Number),
    /// Seconds with six decimals.
    Seconds,
    Text(Text),
    Time(Time),
    /// The text of `log-date`, if `log-format-strftime` asks for it.
    Strftime,
    Variable(Variable),
    /// `HTTP_HOST`, or `SERVER_NAME` where there is none.
    Host(Variable, Variable),
    Note(Vec<u8>),
    /// The trace of a `traceparent`.
    Trace(Variable),
}

/// Every name that is not one of the app's own, with what it stands for; `penstock.options.log_variables` tells people.
fn sources() -> Vec<(&'static str, Source)> {
    use Number as N;
    let variable = |name| Source::Variable(Variable::new(name));
    vec![
        ("addr", Source::Text(Text::Address)),
        ("appmicros", Source::Number(N::AppMicros)),
        ("cl", Source::Number(N::ContentLength)),
        ("core", Source::Number(N::Core)),
        ("ctime", Source::Time(Time::Ctime)),
        ("epoch", Source::Number(N::Epoch)),
        ("ftime", Source::Strftime),
        ("headers", Source::Number(N::Headers)),
        ("host", Source::Host(Variable::new("HTTP_HOST"), Variable::new("SERVER_NAME"))),
        ("hsize", Source::Number(N::HeaderBytes)),
        ("ioerr", Source::Number(N::IoErrors)),
        ("isotime", Source::Time(Time::Iso)),
        ("ltime", Source::Time(Time::Common)),
        ("method", Source::Text(Text::Method)),
        ("micros", Source::Number(N::Micros)),
        ("modifier1", Source::Number(N::Modifier1)),
        ("modifier2", Source::Number(N::Modifier2)),
        ("msecs", Source::Number(N::Msecs)),
        ("pid", Source::Number(N::Pid)),
        ("pktsize", Source::Number(N::PacketBytes)),
        ("proto", Source::Text(Text::Protocol)),
        ("qmicros", Source::Number(N::QueueMicros)),
        ("referer", variable("HTTP_REFERER")),
        ("reqid", variable("HTTP_X_REQUEST_ID")),
        ("rerr", Source::Number(N::ReadErrors)),
        ("rsize", Source::Number(N::BodyBytes)),
        ("rss", Source::Number(N::Rss)),
        ("rssM", Source::Number(N::RssM)),
        ("secs", Source::Seconds),
        ("size", Source::Number(N::TotalBytes)),
        ("status", Source::Number(N::Status)),
        ("switches", Source::Number(N::Switches)),
        ("time", Source::Number(N::Started)),
        ("tmicros", Source::Number(N::StartedMicros)),
        ("tmsecs", Source::Number(N::StartedMsecs)),
        ("traceid", Source::Trace(Variable::new("HTTP_TRACEPARENT"))),
        ("uagent", variable("HTTP_USER_AGENT")),
        ("uri", Source::Text(Text::Uri)),
        ("user", Source::Text(Text::User)),
        ("vars", Source::Number(N::Vars)),
        ("vsz", Source::Number(N::Vsz)),
        ("vszM", Source::Number(N::VszM)),
        ("werr", Source::Number(N::WriteErrors)),
        ("wid", Source::Number(N::Worker)),
    ]
}

/// The names of `sources`, for the catalogue.
pub fn names() -> Vec<&'static str> {
    sources().into_iter().map(|(name, _)| name).collect()
}

#[derive(Debug)]
enum Step {
    Literal(Vec<u8>),
    /// The limit is of the escaped text.
    Value(Source, usize),
}

/// A text that changes once a second.
#[derive(Debug, Default)]
struct OfSecond {
    second: Option<i64>,
    text: Vec<u8>,
}

/// A compiled format.
#[derive(Debug)]
pub struct Program {
    steps: Vec<Step>,
    is_json: bool,
    strftime: Option<CString>,
    memory: Option<MemoryFile>,
    queue_start: Variable,
    content_length: Variable,
    clock: LocalClock,
    common: OfSecond,
    formatted: OfSecond,
}

impl Program {
    /// `strftime` is what `ftime` follows; empty for the common form.
    pub fn compile(format: &str, is_json: bool, strftime: &str) -> Program {
        let known = sources();
        let mut steps = Vec::new();
        let mut rest = format;
        while let Some(start) = rest.find("%(") {
            // Without an end, and with nothing between, it is text.
            let Some(length) = rest[start + 2..].find(')').filter(|length| *length > 0) else {
                let end = start + 2;
                push_literal(&mut steps, &rest[..end]);
                rest = &rest[end..];
                continue;
            };
            let name = &rest[start + 2..start + 2 + length];
            push_literal(&mut steps, &rest[..start]);
            steps.push(Step::Value(source_of(&known, name), 0));
            rest = &rest[start + length + 3..];
        }
        push_literal(&mut steps, rest);
        share_room(&mut steps);
        let asks_memory = |step: &Step| {
            matches!(step, Step::Value(Source::Number(Number::Rss | Number::RssM | Number::Vsz | Number::VszM), _))
        };
        Program {
            memory: steps.iter().any(asks_memory).then(MemoryFile::open),
            steps,
            is_json,
            // A zero byte can not come out of a configuration.
            strftime: CString::new(strftime).ok().filter(|format| !format.is_empty()),
            queue_start: Variable::new("HTTP_X_REQUEST_START"),
            content_length: Variable::new("CONTENT_LENGTH"),
            clock: LocalClock::new(),
            common: OfSecond::default(),
            formatted: OfSecond::default(),
        }
    }

    /// Append the line of a request and its newline.
    pub fn write(&mut self, out: &mut Vec<u8>, record: &Record<'_>) {
        let start = out.len();
        let memory = self.memory.as_ref().map(MemoryFile::read).unwrap_or_default();
        let steps = std::mem::take(&mut self.steps);
        for step in &steps {
            match step {
                Step::Literal(text) => out.extend_from_slice(text),
                Step::Value(source, limit) => self.push_value(out, source, *limit, record, memory),
            }
        }
        self.steps = steps;
        if out.len() - start > LINE_LIMIT_BYTES - 1 {
            // Only a format whose own text fills a line comes here.
            out.truncate(start + LINE_LIMIT_BYTES - 1);
        }
        out.push(b'\n');
    }

    fn push_value(&mut self, out: &mut Vec<u8>, source: &Source, limit: usize, record: &Record<'_>, memory: Memory) {
        let line = &record.line;
        let epoch_s = i64::try_from(line.started_us / 1_000_000).unwrap_or(i64::MAX);
        match source {
            Source::Number(number) => push_decimal(out, self.number(*number, record, memory)),
            Source::Seconds => {
                push_decimal(out, line.elapsed_us / 1_000_000);
                out.push(b'.');
                push_padded(out, line.elapsed_us % 1_000_000, 6);
            }
            Source::Time(Time::Ctime) => out.extend_from_slice(self.clock.text(epoch_s)),
            Source::Time(Time::Common) => out.extend_from_slice(self.common.text(epoch_s, push_common)),
            Source::Time(Time::Iso) => push_iso(out, line.started_us),
            Source::Strftime => {
                let text = match &self.strftime {
                    Some(format) => self.formatted.text(epoch_s, |out, time| push_strftime(out, time, format)),
                    None => self.common.text(epoch_s, push_common),
                };
                push_text(out, text, limit, self.is_json, is_plain_with_spaces);
            }
            Source::Text(text) => {
                let (value, keep): (_, fn(u8) -> bool) = match text {
                    Text::Address if line.is_forwarded => (line.address, is_plain_with_spaces),
                    Text::Address => (line.address, is_plain),
                    Text::Method => (line.method, is_plain),
                    Text::Protocol => (line.protocol, is_plain),
                    Text::Uri => (line.uri, is_plain),
                    Text::User => (line.user, is_plain_with_spaces),
                };
                self.push(out, Some(value), limit, keep);
            }
            Source::Variable(name) => self.push(out, (record.variable)(name), limit, is_plain_with_spaces),
            Source::Trace(name) => {
                let trace = (record.variable)(name).and_then(wire::trace::trace_id);
                self.push(out, trace, limit, is_plain);
            }
            Source::Host(host, name) => {
                let value = (record.variable)(host).filter(|value| !value.is_empty());
                self.push(out, value.or_else(|| (record.variable)(name)), limit, is_plain);
            }
            Source::Note(name) => {
                self.push(out, record.notes.and_then(|notes| notes.get(name)), limit, is_plain_with_spaces);
            }
        }
    }

    fn push(&self, out: &mut Vec<u8>, value: Option<&[u8]>, limit: usize, keep: fn(u8) -> bool) {
        match value {
            None | Some(b"") => out.extend_from_slice(ABSENT),
            Some(text) => push_text(out, text, limit, self.is_json, keep),
        }
    }

    fn number(&self, number: Number, record: &Record<'_>, memory: Memory) -> u64 {
        let line = &record.line;
        match number {
            Number::AppMicros => record.app_us,
            Number::BodyBytes => line.body_bytes,
            Number::ContentLength => (record.variable)(&self.content_length).and_then(leading_number).unwrap_or(0),
            Number::Core => line.core,
            Number::Epoch => line.started_us.saturating_add(line.elapsed_us) / 1_000_000,
            Number::HeaderBytes => line.header_bytes,
            Number::Headers => line.header_count,
            Number::IoErrors => record.read_errors + record.write_errors,
            Number::Micros => line.elapsed_us,
            Number::Modifier1 => record.modifiers.0.into(),
            Number::Modifier2 => record.modifiers.1.into(),
            Number::Msecs => line.elapsed_us / 1000,
            Number::PacketBytes => line.packet_bytes,
            Number::Pid => line.pid.into(),
            Number::QueueMicros => {
                let called_us = line.started_us.saturating_add(record.waited_us);
                let sent_us = (record.variable)(&self.queue_start).and_then(request_start_us);
                sent_us.and_then(|sent_us| called_us.checked_sub(sent_us)).unwrap_or(record.waited_us)
            }
            Number::ReadErrors => record.read_errors,
            Number::Rss => memory.resident_bytes,
            Number::RssM => memory.resident_bytes >> 20,
            Number::Started => line.started_us / 1_000_000,
            Number::StartedMicros => line.started_us,
            Number::StartedMsecs => line.started_us / 1000,
            Number::Status => line.status.into(),
            Number::Switches => line.switches,
            Number::TotalBytes => line.header_bytes.saturating_add(line.body_bytes),
            Number::Vars => line.vars,
            Number::Vsz => memory.address_space_bytes,
            Number::VszM => memory.address_space_bytes >> 20,
            Number::Worker => record.worker_id.into(),
            Number::WriteErrors => record.write_errors,
        }
    }
}

fn source_of(known: &[(&'static str, Source)], name: &str) -> Source {
    if let Some((_, source)) = known.iter().find(|(word, _)| *word == name) {
        return source.clone();
    }
    match name.strip_prefix("var.") {
        Some(variable) => Source::Variable(Variable::new(variable)),
        None => Source::Note(name.as_bytes().to_vec()),
    }
}

fn push_literal(steps: &mut Vec<Step>, text: &str) {
    match steps.last_mut() {
        _ if text.is_empty() => {}
        Some(Step::Literal(before)) => before.extend_from_slice(text.as_bytes()),
        _ => steps.push(Step::Literal(text.as_bytes().to_vec())),
    }
}

/// What a value wants of the room in a line: its longest length, and its share of what the fixed ones leave.
fn wish(source: &Source) -> (usize, usize) {
    match source {
        Source::Number(_) | Source::Seconds => (NUMBER_BYTES + 7, 0),
        Source::Time(_) | Source::Trace(_) => (TIME_BYTES, 0),
        Source::Strftime => (STRFTIME_BYTES, 1),
        Source::Text(Text::Uri) => (3200, 6),
        Source::Text(Text::Method | Text::Protocol) => (64, 1),
        Source::Text(Text::Address) => (128, 1),
        Source::Text(Text::User) | Source::Host(..) => (256, 1),
        Source::Variable(_) | Source::Note(_) => (1024, 2),
    }
}

fn share_room(steps: &mut [Step]) {
    let mut room = LINE_LIMIT_BYTES - 1;
    let mut shares = 0;
    for step in steps.iter() {
        match step {
            Step::Literal(text) => room = room.saturating_sub(text.len()),
            Step::Value(source, _) => match wish(source) {
                (fixed, 0) => room = room.saturating_sub(fixed),
                (_, share) => shares += share,
            },
        }
    }
    for step in steps.iter_mut() {
        if let Step::Value(source, limit) = step {
            let (most, share) = wish(source);
            *limit = if share == 0 { most } else { most.min(room * share / shares).max(LEAST_BYTES) };
        }
    }
}

fn is_plain_with_spaces(byte: u8) -> bool {
    byte == b' ' || is_plain(byte)
}

fn push_text(out: &mut Vec<u8>, text: &[u8], limit: usize, is_json: bool, keep: fn(u8) -> bool) {
    if is_json {
        push_json(out, text, limit);
    } else {
        push_escaped(out, text, limit, keep);
    }
}

/// Append the inside of a JSON string (RFC 8259 section 7), at most `limit` bytes with a mark if it was cut. Bytes that
/// are no UTF-8 become the characters of the same number.
fn push_json(out: &mut Vec<u8>, text: &[u8], limit: usize) {
    const MARK: &[u8] = b"...";
    if text.len() <= limit && text.iter().all(|&byte| is_plain_with_spaces(byte)) {
        out.extend_from_slice(text);
        return;
    }
    let start = out.len();
    // Where a mark would fit behind what is there so far.
    let mut last_fit = start;
    let mut push = |out: &mut Vec<u8>, piece: &[u8]| {
        if out.len() - start + piece.len() > limit {
            out.truncate(last_fit);
            out.extend_from_slice(MARK);
            return false;
        }
        out.extend_from_slice(piece);
        if out.len() - start + MARK.len() <= limit {
            last_fit = out.len();
        }
        true
    };
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut raw = [0; 4];
            let whole = match character {
                '"' => push(out, b"\\\""),
                '\\' => push(out, b"\\\\"),
                // With those of ISO 6429, which some terminals obey in UTF-8 too.
                '\0'..='\x1f' | '\x7f'..='\u{9f}' => push(out, &unicode_escape(character as u8)),
                _ => push(out, character.encode_utf8(&mut raw).as_bytes()),
            };
            if !whole {
                return;
            }
        }
        for byte in chunk.invalid() {
            if !push(out, &unicode_escape(*byte)) {
                return;
            }
        }
    }
}

fn unicode_escape(byte: u8) -> [u8; 6] {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 15)];
    [b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]
}

impl OfSecond {
    fn text(&mut self, epoch_s: i64, write: impl FnOnce(&mut Vec<u8>, &libc::tm)) -> &[u8] {
        if self.second != Some(epoch_s) {
            self.second = Some(epoch_s);
            self.text.clear();
            match local_time(epoch_s) {
                Some(time) => write(&mut self.text, &time),
                None => self.text.push(b'?'),
            }
        }
        &self.text
    }
}

fn push_common(out: &mut Vec<u8>, time: &libc::tm) {
    let number = |value: i32| u64::try_from(value).unwrap_or(0);
    push_padded(out, number(time.tm_mday), 2);
    out.push(b'/');
    out.extend_from_slice(month(time).as_bytes());
    out.push(b'/');
    push_padded(out, number(time.tm_year + 1900), 4);
    for part in [time.tm_hour, time.tm_min, time.tm_sec] {
        out.push(b':');
        push_padded(out, number(part), 2);
    }
    let minutes = time.tm_gmtoff / 60;
    out.extend_from_slice(if minutes < 0 { b" -" } else { b" +" });
    push_padded(out, minutes.unsigned_abs() / 60, 2);
    push_padded(out, minutes.unsigned_abs() % 60, 2);
}

fn push_iso(out: &mut Vec<u8>, epoch_us: u64) {
    let (seconds, micros) = (epoch_us / 1_000_000, epoch_us % 1_000_000);
    let (year, month, day) = calendar(seconds / 86_400);
    push_padded(out, year, 4);
    for (mark, part) in [(b'-', month), (b'-', day), (b'T', seconds / 3600 % 24), (b':', seconds / 60 % 60)] {
        out.push(mark);
        push_padded(out, part, 2);
    }
    out.push(b':');
    push_padded(out, seconds % 60, 2);
    out.push(b'.');
    push_padded(out, micros, 6);
    out.push(b'Z');
}

/// Append a time as strftime(3) writes it; nothing if it does not fit.
pub fn push_strftime(out: &mut Vec<u8>, time: &libc::tm, format: &CString) {
    let mut buffer = [0_u8; STRFTIME_BYTES];
    // SAFETY: the buffer's length is told, the format ends in a zero, and the time was made by the C library.
    let count = unsafe { libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), format.as_ptr(), time) };
    out.extend_from_slice(&buffer[..count]);
}

fn leading_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// When a front end says that it began with a request, in microseconds since 1970: `X-Request-Start: t=SECONDS.FRACTION`,
/// as nginx's `t=${msec}` gives it, or whole milliseconds or microseconds, with or without the `t=`.
fn request_start_us(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let number: f64 = text.strip_prefix("t=").unwrap_or(text).parse().ok()?;
    // The century tells the unit: a second of it has ten digits.
    let micros = match number {
        1e9..1e10 => number * 1e6,
        1e12..1e13 => number * 1e3,
        1e15..1e16 => number,
        _ => return None,
    };
    Some(micros as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED_US: u64 = 1_795_325_860_123_456;

    fn line() -> Line<'static> {
        Line {
            pid: 77,
            address: b"127.0.0.1",
            vars: 28,
            packet_bytes: 331,
            started_us: STARTED_US,
            method: b"GET",
            uri: b"/a?b=%20c",
            body_bytes: 5,
            elapsed_us: 1_012_999,
            protocol: b"HTTP/1.1",
            status: 200,
            header_count: 2,
            header_bytes: 71,
            switches: 1,
            core: 3,
            ..Line::default()
        }
    }

    fn render_with(program: &mut Program, line: Line<'_>, vars: &[(&str, &[u8])], notes: Option<&Notes>) -> Vec<u8> {
        let find =
            |wanted: &Variable| vars.iter().find(|(name, _)| name.as_bytes() == wanted.name).map(|(_, value)| *value);
        let record = Record {
            line,
            worker_id: 2,
            modifiers: (5, 6),
            read_errors: 0,
            write_errors: 1,
            waited_us: 250,
            app_us: 400,
            variable: &find,
            notes,
        };
        let mut out = Vec::new();
        program.write(&mut out, &record);
        out
    }

    fn render(format: &str, line: Line<'_>, vars: &[(&str, &[u8])]) -> String {
        String::from_utf8(render_with(&mut Program::compile(format, false, ""), line, vars, None)).unwrap()
    }

    #[test]
    fn each_variable_has_its_value() {
        let vars: &[(&str, &[u8])] = &[
            ("HTTP_HOST", b"example.org"),
            ("HTTP_USER_AGENT", b"curl/8 (x)"),
            ("HTTP_REFERER", b"/from"),
            ("CONTENT_LENGTH", b"12"),
            ("HTTP_X_REQUEST_ID", b"abc"),
            ("PATH_INFO", b"/a"),
        ];
        for (format, expected) in [
            ("%(uri) %(method) %(proto) %(status)", "/a?b=%20c GET HTTP/1.1 200"),
            ("%(addr)|%(user)|%(host)|%(uagent)|%(referer)", "127.0.0.1|-|example.org|curl/8 (x)|/from"),
            ("%(rsize) %(hsize) %(size) %(cl) %(pktsize)", "5 71 76 12 331"),
            ("%(micros) %(msecs) %(secs)", "1012999 1012 1.012999"),
            ("%(epoch) %(time) %(tmsecs) %(tmicros)", "1795325861 1795325860 1795325860123 1795325860123456"),
            ("%(pid) %(wid) %(core) %(switches) %(vars) %(headers)", "77 2 3 1 28 2"),
            ("%(modifier1) %(modifier2) %(werr) %(rerr) %(ioerr)", "5 6 1 0 1"),
            ("%(qmicros) %(appmicros) %(reqid)", "250 400 abc"),
            ("%(var.PATH_INFO) %(var.NONE) %(metric.x) %(unknown)", "/a - - -"),
            ("%d %% %( 100%", "%d %% %( 100%"),
            ("%() %(", "%() %("),
            ("%(isotime)", "2026-11-22T05:37:40.123456Z"),
            ("", ""),
        ] {
            assert_eq!(render(format, line(), vars), format!("{expected}\n"), "{format}");
        }
        assert_eq!(render("%(host)", line(), &[("SERVER_NAME", b"srv")]), "srv\n");
        assert_eq!(render("%(cl)", line(), &[("CONTENT_LENGTH", b"junk")]), "0\n");
    }

    #[test]
    fn every_name_of_the_list_is_compiled_to_something_of_its_own() {
        for name in names() {
            let program = Program::compile(&format!("%({name})"), false, "");
            assert!(
                matches!(&program.steps[..], [Step::Value(source, _)] if !matches!(source, Source::Note(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn times_of_the_common_form_and_of_strftime() {
        let text = render("%(ltime)|%(ftime)|%(ctime)", line(), &[]);
        let parts: Vec<&str> = text.trim_end().split('|').collect();
        assert_eq!(parts[0], parts[1]);
        assert!(parts[0].contains("/Nov/2026:") && parts[0].len() == 26, "{text}");
        assert!(parts[2].ends_with(" 2026") && parts[2].len() == 24, "{text}");
        let mut program = Program::compile("%(ftime)", false, "%Y");
        assert_eq!(render_with(&mut program, line(), &[], None), b"2026\n");
        let mut absurd = Program::compile("%(ftime) %(ltime) %(isotime)", false, "%Y");
        render_with(&mut absurd, Line { started_us: u64::MAX, ..line() }, &[], None);
    }

    #[test]
    fn memory_is_that_of_this_process() {
        let text = render("%(rss) %(rssM) %(vsz) %(vszM)", line(), &[]);
        let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        assert!(numbers[0] > 100_000 && numbers[0] >> 20 == numbers[1], "{text}");
        assert!(numbers[2] > numbers[0] && numbers[2] >> 20 == numbers[3], "{text}");
    }

    #[test]
    fn what_the_app_says_is_in_the_line() {
        let mut notes = Notes::default();
        notes.set(b"who", b"ann");
        notes.set(b"who", b"bob \n");
        assert_eq!(notes.get(b"who"), Some(&b"bob \n"[..]));
        assert_eq!(notes.get(b"what"), None);
        let mut program = Program::compile("<%(who)> <%(what)>", false, "");
        assert_eq!(render_with(&mut program, line(), &[], Some(&notes)), b"<bob \\x0A> <->\n");
    }

    #[test]
    fn nothing_from_a_client_ends_a_line_or_a_field() {
        let evil: &[u8] = b"a b\r\n\"c\\\x1b[2J\x00\xff\xc3\xa9";
        let line = Line { uri: evil, method: evil, user: evil, address: evil, protocol: evil, ..line() };
        let vars: &[(&str, &[u8])] = &[("HTTP_USER_AGENT", evil), ("HTTP_HOST", evil)];
        let text = render("\"%(uri)\" \"%(method)\" \"%(addr)\" \"%(proto)\" \"%(host)\"", line, vars);
        let inside = r"a\x20b\x0D\x0A\x22c\x5C\x1B[2J\x00\xFF\xC3\xA9";
        assert_eq!(text, format!("\"{inside}\" \"{inside}\" \"{inside}\" \"{inside}\" \"{inside}\"\n"));
        let spaced = inside.replace(r"\x20", " ");
        assert_eq!(render("\"%(uagent)\" \"%(user)\"", line, vars), format!("\"{spaced}\" \"{spaced}\"\n"));
        let mut json = Program::compile("{\"a\":\"%(uagent)\"}", true, "");
        let text = String::from_utf8(render_with(&mut json, line, vars, None)).unwrap();
        assert_eq!(text, "{\"a\":\"a b\\u000d\\u000a\\\"c\\\\\\u001b[2J\\u0000\\u00ff\u{e9}\"}\n");
    }

    #[test]
    fn no_line_is_longer_than_a_pipe_takes_whole() {
        for filler in [&b"a"[..], b"\n", b"\"", b"\xc3\xa9", b"\xff"] {
            let long = filler.repeat(40_000);
            let vars: Vec<(&str, &[u8])> =
                ["HTTP_USER_AGENT", "HTTP_REFERER", "HTTP_X_REQUEST_ID", "A", "B"].map(|name| (name, &long[..])).into();
            let line = Line { uri: &long, method: &long, user: &long, address: &long, protocol: &long, ..line() };
            let names = "%(uri) %(method) %(user) %(addr) %(proto) %(uagent) %(referer) %(reqid) %(var.A) %(var.B)";
            for format in [names.to_owned(), format!("{}{names}", "x".repeat(3000)), "%(uri)".repeat(300)] {
                for is_json in [false, true] {
                    let out = render_with(&mut Program::compile(&format, is_json, ""), line, &vars, None);
                    assert!(out.len() <= LINE_LIMIT_BYTES, "{}", out.len());
                    assert!(out.ends_with(b"\n"));
                    if format == names {
                        // What is cut says so, and no escape is cut in two.
                        assert_eq!(out.windows(3).filter(|three| three == b"...").count(), 10);
                        assert!(std::str::from_utf8(&out).is_ok());
                    }
                }
            }
        }
    }

    #[test]
    fn a_json_text_of_exactly_the_limit_is_not_cut() {
        for (text, limit, expected) in [
            (&b"abcdefgh"[..], 8, "abcdefgh"),
            (b"abcdefghi", 8, "abcde..."),
            (b"ab\n", 8, r"ab\u000a"),
            (b"a\xc2\x9b1m", 16, r"a\u009b1m"),
            (b"abc\n", 8, "abc..."),
            (b"abcdef\"", 8, r#"abcdef\""#),
            (b"abcdefg\"", 8, "abcde..."),
            (b"abcd\xc3\xa9\xc3\xa9\xc3\xa9", 8, "abcd..."),
            (b"", 8, ""),
        ] {
            let mut out = b"before".to_vec();
            push_json(&mut out, text, limit);
            assert_eq!(String::from_utf8(out).unwrap(), format!("before{expected}"));
        }
    }

    #[test]
    fn a_front_end_tells_when_it_began_in_any_unit() {
        for (text, expected) in [
            ("t=1795325860.123", Some(1_795_325_860_123_000)),
            ("1795325860123", Some(1_795_325_860_123_000)),
            ("t=1795325860123456", Some(1_795_325_860_123_456)),
            ("t=12", None),
            ("soon", None),
            ("t=-1795325860", None),
            ("t=nan", None),
            ("", None),
        ] {
            let found = request_start_us(text.as_bytes());
            assert_eq!(found.map(|us| us / 10), expected.map(|us: u64| us / 10), "{text}");
        }
        let begun = &b"t=1795325860.120"[..];
        assert_eq!(render("%(qmicros)", line(), &[("HTTP_X_REQUEST_START", begun)]), "3706\n");
        // A clock that is ahead of ours tells nothing.
        assert_eq!(render("%(qmicros)", line(), &[("HTTP_X_REQUEST_START", b"t=1795325999.0")]), "250\n");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (day, expected) in [
            (0, (1970, 1, 1)),
            (31 + 28, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_788, (2026, 12, 1)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(calendar(day), expected, "{day}");
        }
    }
}
