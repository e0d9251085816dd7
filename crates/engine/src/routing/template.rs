//! Texts that are put together for each request: `https://${HTTP_HOST}/new/$1`.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{TEXT_BYTES, View};
use crate::pattern::Groups;
use crate::plan::TemplatePlan;

/// The text would be longer than any is allowed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// What a pattern has found.
pub struct Captured<'a> {
    pub text: &'a [u8],
    pub groups: &'a Groups,
}

impl Captured<'_> {
    fn group(&self, number: usize) -> &[u8] {
        self.groups.get(number).copied().flatten().map_or(b"", |(start, end)| &self.text[start..end])
    }
}

#[derive(Debug)]
enum Part {
    Text(Box<[u8]>),
    Group(usize),
    Var(Box<[u8]>),
    Cookie(Box<[u8]>),
    Query(Box<[u8]>),
    Base64(Box<[u8]>),
    Hex(Box<[u8]>),
    UnixTime,
    UnixMicroseconds,
    /// A date of HTTP, so many seconds from now.
    HttpTime(u64),
    Worker,
    Pid,
    Status,
    Uuid,
}

impl Part {
    fn new(kind: &str, what: &str) -> Option<Self> {
        let bytes = || what.as_bytes().into();
        Some(match (kind, what) {
            ("text", _) => Self::Text(bytes()),
            ("group", _) => Self::Group(what.parse().ok()?),
            ("var", _) => Self::Var(bytes()),
            ("cookie", _) => Self::Cookie(bytes()),
            ("qs", _) => Self::Query(bytes()),
            ("base64", _) => Self::Base64(bytes()),
            ("hex", _) => Self::Hex(bytes()),
            ("time", "unix") => Self::UnixTime,
            ("time", "micros") => Self::UnixMicroseconds,
            ("httptime", "") => Self::HttpTime(0),
            ("httptime", _) => Self::HttpTime(what.parse().ok()?),
            ("uwsgi", "wid") => Self::Worker,
            ("uwsgi", "pid") => Self::Pid,
            ("uwsgi", "status") => Self::Status,
            ("uwsgi", "uuid") => Self::Uuid,
            _ => return None,
        })
    }

    fn value<'a>(&'a self, view: &View<'a>, captured: Option<&'a Captured<'_>>) -> Cow<'a, [u8]> {
        let owned = |text: String| Cow::Owned(text.into_bytes());
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Group(number) => Cow::Borrowed(captured.map_or(b"", |captured| captured.group(*number))),
            Self::Var(name) => view.var(name),
            Self::Cookie(name) => Cow::Owned(named(&view.var(b"HTTP_COOKIE"), b';', name)),
            Self::Query(name) => Cow::Owned(named(&view.var(b"QUERY_STRING"), b'&', name)),
            Self::Base64(name) => owned(super::credentials::base64(&view.var(name))),
            Self::Hex(name) => owned(view.var(name).iter().map(|byte| format!("{byte:02X}")).collect()),
            Self::UnixTime => owned(since_epoch().as_secs().to_string()),
            Self::UnixMicroseconds => owned(since_epoch().as_micros().to_string()),
            Self::HttpTime(seconds) => {
                let time = SystemTime::now().checked_add(Duration::from_secs(*seconds)).unwrap_or(UNIX_EPOCH);
                owned(httpdate::fmt_http_date(time))
            }
            Self::Worker => owned(view.facts.worker_id.to_string()),
            Self::Pid => owned(view.facts.pid.to_string()),
            Self::Status => owned(view.status.to_string()),
            Self::Uuid => owned(uuid()),
        }
    }
}

/// A text with variables in it.
#[derive(Debug, Default)]
pub struct Template(Vec<Part>);

impl Template {
    pub fn new(plan: &TemplatePlan) -> Result<Self, String> {
        let part = |(kind, what): &(String, String)| {
            Part::new(kind, what).ok_or_else(|| format!("{kind} {what:?} is no part of a text"))
        };
        Ok(Self(plan.iter().map(part).collect::<Result<_, _>>()?))
    }

    /// The text, if it is the same for every request.
    pub fn constant(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What stands before everything that depends on the request.
    pub fn beginning(&self) -> &[u8] {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => b"",
        }
    }

    /// The template without the first bytes of its beginning.
    pub fn without_first(mut self, count: usize) -> Self {
        if let Some(Part::Text(text)) = self.0.first_mut() {
            *text = text[count.min(text.len())..].into();
        }
        self
    }

    pub fn has_groups(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Group(_)))
    }

    /// The variables that it looks at.
    pub fn vars(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter_map(|part| match part {
            Part::Var(name) | Part::Base64(name) | Part::Hex(name) => Some(&**name),
            Part::Cookie(_) => Some(&b"HTTP_COOKIE"[..]),
            Part::Query(_) => Some(&b"QUERY_STRING"[..]),
            _ => None,
        })
    }

    pub fn fill<'a>(&'a self, view: &View<'a>, captured: Option<&'a Captured<'_>>) -> Result<Cow<'a, [u8]>, TooLong> {
        if let [only] = self.0.as_slice() {
            let value = only.value(view, captured);
            return if value.len() > TEXT_BYTES { Err(TooLong) } else { Ok(value) };
        }
        let mut text = Vec::new();
        for part in &self.0 {
            text.extend_from_slice(&part.value(view, captured));
            if text.len() > TEXT_BYTES {
                return Err(TooLong);
            }
        }
        Ok(Cow::Owned(text))
    }
}

/// The first value of a name in `a=1; b=2`, as it stands there.
fn named(text: &[u8], between: u8, name: &[u8]) -> Vec<u8> {
    text.split(|byte| *byte == between)
        .map(<[u8]>::trim_ascii)
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
        .unwrap_or_default()
        .to_vec()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A random UUID (RFC 9562 5.4).
fn uuid() -> String {
    let mut bytes = [0_u8; 16];
    // SAFETY: the pointer and length describe `bytes`. Sixteen bytes come whole, or none where the kernel has no such call.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
