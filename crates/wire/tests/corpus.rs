//! The corpus in `tests/cases`: what must be accepted and how, what must be refused and why, in every delivery.
//!
//! What a valid case means is written in the `.json` beside it. `PENSTOCK_BLESS=1 cargo test -p wire --test corpus`
//! writes those files from what the parsers make of the cases; read the difference before you keep it.

#![allow(clippy::expect_used)] // A case that can not be read is a failed test.

#[path = "common/cases.rs"]
mod cases;
#[path = "common/deliveries.rs"]
mod deliveries;

use cases::{Case, cases, limits};
use deliveries::{deliveries, read_chunked, read_head};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::{env, fs};
use wire::http1::{self, Framing, Head};
use wire::{Error, Limits, Step, proxy, response, uwsgi};

/// What follows a message on a kept-alive connection.
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next.example\r\n\r\n";

// --- expectations: JSON, one key or list element a line

struct Description {
    text: String,
}

impl Description {
    fn new() -> Self {
        Self { text: "{".to_owned() }
    }

    /// `value` is JSON already.
    fn add(&mut self, key: &str, value: impl std::fmt::Display) {
        let comma = if self.text.len() > 1 { "," } else { "" };
        write!(self.text, "{comma}\n  \"{key}\": {value}").expect("writing to a string does not fail");
    }

    fn add_pairs<'b>(&mut self, key: &str, pairs: impl Iterator<Item = (&'b [u8], &'b [u8])>) {
        let lines: Vec<String> = pairs.map(|(a, b)| format!("    [{}, {}]", json(a), json(b))).collect();
        self.add(key, if lines.is_empty() { "[]".to_owned() } else { format!("[\n{}\n  ]", lines.join(",\n")) });
    }

    fn finish(mut self) -> String {
        self.text.push_str("\n}\n");
        self.text
    }
}

/// Bytes as a JSON string of their Latin-1 characters, as WSGI shows them to Python.
fn json(bytes: &[u8]) -> String {
    let mut text = "\"".to_owned();
    for &b in bytes {
        match b {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            8 => text.push_str("\\b"),
            12 => text.push_str("\\f"),
            b' '..=b'~' => text.push(char::from(b)),
            _ => write!(text, "\\u{b:04x}").expect("writing to a string does not fail"),
        }
    }
    text.push('"');
    text
}

fn json_or_null(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "null".to_owned(), json)
}

fn expect(case: &Case, description: &str) {
    let path = case.path.with_extension("json");
    if env::var_os("PENSTOCK_BLESS").is_some() {
        fs::write(&path, description).expect("the expectation can be written");
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        description,
        expected,
        "{} is not what the parser makes of its case; if the parser is right, set PENSTOCK_BLESS=1 and run again",
        path.display()
    );
}

fn with_next(bytes: &[u8]) -> Vec<u8> {
    [bytes, NEXT].concat()
}

// --- HTTP/1 heads

fn describe_head(bytes: &[u8], head: &Head, used: usize) -> String {
    let target = http1::parse_target(head.method.of(bytes), head.target.of(bytes)).expect("the target of a valid case");
    let mut description = Description::new();
    description.add("method", json(head.method.of(bytes)));
    description.add("target", json(head.target.of(bytes)));
    description.add("version", json(head.version.name().as_bytes()));
    description.add(
        "framing",
        match head.framing {
            Framing::None => "\"none\"".to_owned(),
            Framing::Length(length) => format!("\"length:{length}\""),
            Framing::Chunked => "\"chunked\"".to_owned(),
        },
    );
    description.add("keep_alive", head.keep_alive);
    description.add("expect_continue", head.expect_continue);
    description.add("upgrade", head.upgrade);
    description.add("host", json_or_null(head.host.map(|host| host.of(bytes))));
    description.add("path", json(&target.path));
    description.add("query", json(target.query));
    description.add("authority", json_or_null(target.authority));
    description.add_pairs("headers", head.headers.iter().map(|header| (header.name.of(bytes), header.value.of(bytes))));
    let names = head.headers.iter().map(|header| {
        let mut key = Vec::new();
        let passed = http1::cgi_name(header.name.of(bytes), http1::Underscores::Drop, &mut key);
        json_or_null(passed.then_some(&key[..]))
    });
    description.add("variables", format!("[{}]", names.collect::<Vec<_>>().join(", ")));
    description.add("head_bytes", used);
    description.finish()
}

#[test]
fn valid_heads() {
    let limits = limits();
    for case in cases("http1/valid", "http") {
        let name = case.path.display();
        let Ok(Step::Done(head, used)) = http1::parse_head(&case.bytes, &limits) else {
            panic!("{name}: {:?}", http1::parse_head(&case.bytes, &limits));
        };
        expect(&case, &describe_head(&case.bytes, &head, used));
        for bytes in [case.bytes[..used].to_vec(), with_next(&case.bytes)] {
            for arrivals in deliveries(&bytes) {
                let delivered = read_head(&bytes, &arrivals, &limits);
                assert_eq!(delivered, Ok(Step::Done(head.clone(), used)), "{name} {:?}", &arrivals[..1]);
            }
        }
        for len in 0..used {
            assert_eq!(http1::parse_head(&case.bytes[..len], &limits), Ok(Step::NeedMore), "{name}, {len} bytes");
        }
    }
}

/// The error of a head, or of its target.
fn head_error(bytes: &[u8], arrivals: &[usize], limits: &Limits) -> Option<Error> {
    match read_head(bytes, arrivals, limits) {
        Err(error) => Some(error),
        Ok(Step::NeedMore) => None,
        Ok(Step::Done(head, _)) => http1::parse_target(head.method.of(bytes), head.target.of(bytes)).err(),
    }
}

#[test]
fn invalid_heads() {
    let limits = limits();
    for case in cases("http1/invalid", "http") {
        for bytes in [case.bytes.clone(), with_next(&case.bytes)] {
            for arrivals in deliveries(&bytes) {
                let code = head_error(&bytes, &arrivals, &limits).map(|error| error.code());
                assert_eq!(code, Some(case.code()), "{} {:?}", case.path.display(), &arrivals[..1]);
            }
        }
    }
}

// --- chunked bodies

#[test]
fn valid_chunked_bodies() {
    let limits = limits();
    for case in cases("chunked/valid", "bin") {
        let name = case.path.display();
        let whole = read_chunked(&case.bytes, &[case.bytes.len()], &limits);
        let Ok((data, Some(used))) = whole else {
            panic!("{name}: {whole:?}");
        };
        let mut description = Description::new();
        description.add("data", json(&data));
        description.add("used", used);
        expect(&case, &description.finish());
        for bytes in [case.bytes[..used].to_vec(), with_next(&case.bytes)] {
            for arrivals in deliveries(&bytes) {
                assert_eq!(
                    read_chunked(&bytes, &arrivals, &limits),
                    Ok((data.clone(), Some(used))),
                    "{name} {:?}",
                    &arrivals[..1]
                );
            }
        }
        for len in 0..used {
            let cut = read_chunked(&case.bytes[..len], &[len], &limits);
            assert!(matches!(cut, Ok((_, None))), "{name}: {len} bytes look complete");
        }
    }
}

#[test]
fn invalid_chunked_bodies() {
    let limits = limits();
    for case in cases("chunked/invalid", "bin") {
        for bytes in [case.bytes.clone(), with_next(&case.bytes)] {
            for arrivals in deliveries(&bytes) {
                let code = read_chunked(&bytes, &arrivals, &limits).err().map(|error| error.code());
                assert_eq!(code, Some(case.code()), "{} {:?}", case.path.display(), &arrivals[..1]);
            }
        }
    }
}

// --- uwsgi packets

#[test]
fn valid_packets() {
    let limits = limits();
    for case in cases("uwsgi/valid", "bin") {
        let name = case.path.display();
        let whole = uwsgi::parse_packet(&case.bytes, &limits);
        let Ok(Step::Done(packet, used)) = &whole else {
            panic!("{name}: {whole:?}");
        };
        let mut description = Description::new();
        description.add("modifier1", packet.modifier1);
        description.add("modifier2", packet.modifier2);
        description.add("content_length", packet.content_length);
        description
            .add_pairs("vars", packet.vars.iter().map(|(key, value)| (key.of(&case.bytes), value.of(&case.bytes))));
        description.add("used", used);
        expect(&case, &description.finish());
        assert_eq!(uwsgi::parse_packet(&with_next(&case.bytes), &limits), whole, "{name} with more behind");
        for len in 0..*used {
            assert_eq!(uwsgi::parse_packet(&case.bytes[..len], &limits), Ok(Step::NeedMore), "{name}, {len} bytes");
        }
    }
}

#[test]
fn invalid_packets() {
    let limits = limits();
    for case in cases("uwsgi/invalid", "bin") {
        let name = case.path.display();
        for bytes in [case.bytes.clone(), with_next(&case.bytes)] {
            let code = uwsgi::parse_packet(&bytes, &limits).err().map(|error| error.code());
            assert_eq!(code, Some(case.code()), "{name}");
        }
        for len in 0..case.bytes.len() {
            match uwsgi::parse_packet(&case.bytes[..len], &limits) {
                Ok(Step::NeedMore) => {}
                other => assert_eq!(other.err().map(|error| error.code()), Some(case.code()), "{name}, {len} bytes"),
            }
        }
    }
}

// --- the PROXY protocol

#[test]
fn valid_proxy_headers() {
    for case in cases("proxy/valid", "bin") {
        let name = case.path.display();
        let whole = proxy::parse(&case.bytes);
        let Ok(Step::Done(header, used)) = whole else {
            panic!("{name}: {whole:?}");
        };
        let client = match header {
            proxy::Header::Client(client) => json(client.to_string().as_bytes()),
            proxy::Header::Unknown => "null".to_owned(),
            proxy::Header::Absent => panic!("{name} has no header"),
        };
        let mut description = Description::new();
        description.add("client", client);
        description.add("used", used);
        expect(&case, &description.finish());
        assert_eq!(proxy::parse(&with_next(&case.bytes)), whole, "{name} with more behind");
        for len in 0..used {
            assert_eq!(proxy::parse(&case.bytes[..len]), Ok(Step::NeedMore), "{name}, {len} bytes");
        }
    }
}

#[test]
fn invalid_proxy_headers() {
    for case in cases("proxy/invalid", "bin") {
        let name = case.path.display();
        for bytes in [case.bytes.clone(), with_next(&case.bytes)] {
            let code = proxy::parse(&bytes).err().map(|error| error.code());
            assert_eq!(code, Some(case.code()), "{name}");
        }
        for len in 0..case.bytes.len() {
            match proxy::parse(&case.bytes[..len]) {
                Ok(Step::NeedMore) => {}
                other => assert_eq!(other.err().map(|error| error.code()), Some(case.code()), "{name}, {len} bytes"),
            }
        }
    }
}

// --- what apps return

/// The escapes of a case's text: `\r`, `\n`, `\t`, `\0`, `\xHH`.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'x') => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).expect("two hexadecimal digits follow \\x")
            }
            other => panic!("{text}: unknown escape {other:?}"),
        });
    }
    out
}

fn encode_response(case: &Case) -> Result<Vec<u8>, Error> {
    let text = String::from_utf8(case.bytes.clone()).expect("a case of this directory is text");
    let mut lines = text.lines();
    let mut out = Vec::new();
    let status = unescape(lines.next().unwrap_or_default());
    response::status_line(&mut out, http1::Version::Http11, &status)?;
    for line in lines {
        let (name, value) = line.split_once(" => ").expect("a header is NAME => VALUE");
        let (name, value) = (unescape(name), unescape(value));
        response::check_header(&name, &value)?;
        out.extend_from_slice(&[&name[..], b": ", &value, b"\r\n"].concat());
    }
    Ok(out)
}

#[test]
fn valid_responses() {
    for case in cases("response/valid", "txt") {
        let head = encode_response(&case).unwrap_or_else(|error| panic!("{}: {error}", case.path.display()));
        let mut description = Description::new();
        description.add("head", json(&head));
        expect(&case, &description.finish());
    }
}

#[test]
fn invalid_responses() {
    for case in cases("response/invalid", "txt") {
        let code = encode_response(&case).err().map(|error| error.code());
        assert_eq!(code, Some(case.code()), "{}", case.path.display());
    }
}

// --- completeness

#[test]
fn every_error_has_a_case() {
    let directories = [
        ("http1/invalid", "http"),
        ("chunked/invalid", "bin"),
        ("uwsgi/invalid", "bin"),
        ("proxy/invalid", "bin"),
        ("response/invalid", "txt"),
    ];
    let cases: Vec<Case> = directories.iter().flat_map(|(directory, extension)| cases(directory, extension)).collect();
    let covered: BTreeSet<&str> = cases.iter().map(Case::code).collect();
    let errors: BTreeSet<&str> = Error::ALL.iter().map(Error::code).collect();
    let missing: Vec<_> = errors.difference(&covered).collect();
    assert!(missing.is_empty(), "add cases under tests/cases for {missing:?}");
    let unknown: Vec<_> = covered.difference(&errors).collect();
    assert!(unknown.is_empty(), "cases name errors that do not exist: {unknown:?}");
}

#[test]
fn every_valid_case_has_an_expectation_and_the_reverse() {
    for (directory, extension) in [
        ("http1/valid", "http"),
        ("chunked/valid", "bin"),
        ("uwsgi/valid", "bin"),
        ("proxy/valid", "bin"),
        ("response/valid", "txt"),
    ] {
        for expectation in cases(directory, "json") {
            let case = expectation.path.with_extension(extension);
            assert!(case.exists(), "{} is missing", case.display());
        }
    }
}

/// The table of attacks in the corpus's README names cases that exist, and leaves no kind of attack without one.
#[test]
fn every_class_of_attack_has_cases() {
    let readme = fs::read_to_string(cases::root().join("http1/README.md")).expect("the README can be read");
    let files: Vec<String> = ["http1/invalid", "http1/valid", "chunked/invalid", "chunked/valid"]
        .into_iter()
        .chain(["uwsgi/invalid", "uwsgi/valid", "response/invalid", "response/valid"])
        .flat_map(|directory| {
            let entries = fs::read_dir(cases::root().join(directory)).expect("the directory can be read");
            entries.map(move |entry| {
                let name = entry.expect("the directory can be read").file_name();
                format!("{directory}/{}", name.to_str().expect("case names are ASCII"))
            })
        })
        .collect();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| (")).collect();
    assert_eq!(rows.len(), 15, "one row for each class");
    for row in rows {
        let patterns: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|text| text.contains("valid/")).collect();
        assert!(!patterns.is_empty() || row.contains("elsewhere"), "{row}: names no case");
        for pattern in patterns {
            let beginning = pattern.trim_end_matches('*');
            assert!(files.iter().any(|file| file.starts_with(beginning)), "no case is called {pattern}");
        }
    }
}
