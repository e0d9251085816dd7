//! The response to a request for a file: whole, a part of it, or neither (RFC 9110, sections 13 and 14).

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, SystemTime};

use super::range::Range;
use super::{Found, serves};
use crate::sys;

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
        let count = sys::pread(self.file.as_raw_fd(), part, self.offset).ok()?;
        (count == part.len()).then_some(part)
    }
}

impl Found<'_> {
    /// The response to a request of this file at the time `now`; None if the method is neither GET nor HEAD.
    ///
    /// Preconditions are evaluated in the order of RFC 9110, section 13.2.2. Of `Range`, one range is honoured; for
    /// several the whole file is sent, which section 14.2 leaves to the server. The entity tag is a strong one, made of
    /// modification time, size and coding, so that machines with the same files agree on it. A compressed form is a
    /// representation of its own: validators and ranges are its own too.
    pub fn respond(self, request: &Conditions<'_>, now: SystemTime) -> Option<StaticResponse> {
        if !serves(request.method) {
            return None;
        }
        if let Some(handed_on) = &self.hand_on {
            return Some(self.hand_on_to(handed_on.clone(), now));
        }
        let validators = Validators::of(&self, now);
        Some(match validators.evaluate(request) {
            Verdict::PreconditionFailed => {
                let mut headers = self.common_headers(&validators);
                headers.push(("Content-Length", "0".to_owned()));
                StaticResponse { status: 412, headers, body: None }
            }
            Verdict::NotModified => {
                let mut headers = self.common_headers(&validators);
                headers.extend(self.freshness(now));
                StaticResponse { status: 304, headers, body: None }
            }
            Verdict::Send => {
                let is_head = request.method == b"HEAD";
                // Range is defined for GET only (RFC 9110, section 14.2).
                let range = request.range.filter(|_| !is_head && validators.allow_range(request));
                let headers = self.common_headers(&validators);
                self.send(is_head, headers, range, now)
            }
        })
    }

    /// What every answer has, a 304 included (RFC 9110, section 15.4.5).
    fn common_headers(&self, validators: &Validators) -> Vec<(&'static str, String)> {
        let mut headers = validators.headers();
        if self.varies {
            headers.push(("Vary", "Accept-Encoding".to_owned()));
        }
        headers
    }

    /// How long the file may be used without asking again. Not for a 412 or 416: a cache would take them for the file's
    /// answer for as long (RFC 9111, section 3).
    fn freshness(&self, now: SystemTime) -> impl Iterator<Item = (&'static str, String)> + use<> {
        self.lifetime.map(|lifetime| lifetime.headers(self.modified_s, now)).into_iter().flatten()
    }

    /// The front end sends the file, and answers conditions and ranges itself.
    fn hand_on_to(&self, header: (&'static str, String), now: SystemTime) -> StaticResponse {
        let mut headers = vec![header, ("Content-Length", "0".to_owned())];
        if let Some(content_type) = self.content_type {
            headers.push(("Content-Type", content_type.to_owned()));
        }
        headers.extend(self.freshness(now));
        StaticResponse { status: 200, headers, body: None }
    }

    fn send(
        self,
        is_head: bool,
        mut headers: Vec<(&'static str, String)>,
        range: Option<&[u8]>,
        now: SystemTime,
    ) -> StaticResponse {
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
        if status != 416 {
            headers.extend(self.freshness(now));
            headers.extend(self.content_type.map(|content_type| ("Content-Type", content_type.to_owned())));
            headers.extend(self.coding.map(|coding| ("Content-Encoding", coding.name().to_owned())));
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
            etag: format!(
                "\"{:x}.{:x}-{:x}{}\"",
                found.modified_s,
                found.modified_ns,
                found.size,
                found.coding.map_or("", |coding| coding.suffix()),
            ),
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

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::testing::{MODIFIED, MODIFIED_TEXT, Tree, body_of, found, get, later};
    use super::*;

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
        let found = found(&map, "/static/ten");
        Found { content_type: None, note: None, ..found }
    }

    fn answer(request: &Conditions<'_>) -> StaticResponse {
        ten_bytes(&Tree::new()).respond(request, later()).unwrap()
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
