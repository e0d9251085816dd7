//! A short fuzz of every parser that needs no tool: the corpus, mutated by a generator with a fixed seed.
//!
//! It finds what a fuzzer finds in its first seconds, on every test run. `PENSTOCK_MUTATIONS=20000000` runs it longer,
//! `PENSTOCK_SEED` elsewhere; the fuzzers in `fuzz/` check the same invariants with coverage to guide them.

#![allow(clippy::expect_used)] // A case that can not be read is a failed test.

#[path = "common/cases.rs"]
mod cases;
#[path = "common/deliveries.rs"]
mod deliveries;
#[path = "common/invariants.rs"]
mod invariants;

use cases::{cases, limits};
use std::panic::{RefUnwindSafe, catch_unwind};
use wire::Limits;

const DEFAULT_MUTATIONS: u64 = 1_000_000;

/// What tends to be on the border of a grammar.
const FRAGMENTS: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"%00",
    b"%",
    b"\x7f",
    b"\xff",
    b"\xff\xff",
    b"\r\n\r\n",
    b"\r\n ",
    b"0\r\n\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / HTTP/1.1\r\n",
    b"Host: a\r\n",
    b"Content-Length: 1\r\n",
    b"Content-Length: 0, 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: x, chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"chunked",
    b"18446744073709551616",
    b"ffffffffffffffff",
    b"http://",
    b"[::1]",
    b"\x0e\0CONTENT_LENGTH",
];

/// xorshift64*: repeatable, and good enough to choose bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit.max(1)
    }
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            2 => bytes.insert(at, random.below(256) as u8),
            3 => {
                let end = (at + 1 + random.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let fragment = FRAGMENTS[random.below(FRAGMENTS.len())];
                bytes.splice(at..at, fragment.iter().copied());
            }
            5 => {
                let end = (at + random.below(24)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            6 => {
                let from = random.below(other.len() + 1);
                let end = (from + random.below(48)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
            _ => bytes.truncate(at.max(bytes.len() / 2)),
        }
    }
}

fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Mutate the cases of these directories and check each result.
fn run(directories: &[(&str, &str)], share: u64, check: impl Fn(&[u8], usize, &Limits) + RefUnwindSafe) {
    // The largest cases only make it slow: their bytes are all alike.
    let seeds: Vec<Vec<u8>> = directories
        .iter()
        .flat_map(|(directory, extension)| cases(directory, extension))
        .map(|case| case.bytes)
        .filter(|bytes| bytes.len() < 4096)
        .collect();
    run_on(&seeds, share, check);
}

/// Mutate these seeds and check each result.
fn run_on(seeds: &[Vec<u8>], share: u64, check: impl Fn(&[u8], usize, &Limits) + RefUnwindSafe) {
    let limits = limits();
    let mut random = Random(number_from_environment("PENSTOCK_SEED", 20_261_123).max(1));
    for _ in 0..number_from_environment("PENSTOCK_MUTATIONS", DEFAULT_MUTATIONS) / share {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        let other = &seeds[random.below(seeds.len())];
        mutate(&mut random, &mut bytes, other);
        let cut = random.below(1 << 30);
        let outcome = catch_unwind(|| check(&bytes, cut, &limits));
        assert!(outcome.is_ok(), "an invariant is broken by b\"{}\", cut {cut}", bytes.escape_ascii());
    }
}

#[test]
fn http1_heads() {
    run(&[("http1/valid", "http"), ("http1/invalid", "http")], 2, invariants::http1_head);
}

#[test]
fn chunked_bodies() {
    run(&[("chunked/valid", "bin"), ("chunked/invalid", "bin")], 4, invariants::http1_chunked);
}

#[test]
fn proxy_headers() {
    run(&[("proxy/valid", "bin"), ("proxy/invalid", "bin")], 13, |bytes, seed, _| {
        invariants::proxy_header(bytes, seed)
    });
}

#[test]
fn lines_of_forwarded() {
    let text = std::fs::read(cases::root().join("forwarded/forwarded.tsv")).expect("the cases can be read");
    let seeds: Vec<Vec<u8>> = text
        .split(|&byte| byte == b'\n')
        .map(|line| line.split(|&byte| byte == b'\t').next().unwrap_or(line).to_vec())
        .collect();
    run_on(&seeds, 8, |bytes, _, _| invariants::forwarded_line(bytes));
}

#[test]
fn uwsgi_packets() {
    run(&[("uwsgi/valid", "bin"), ("uwsgi/invalid", "bin")], 8, invariants::uwsgi_packet);
}

#[test]
fn responses() {
    // The separators of this target are 0xff bytes; the text cases have none, so every second space becomes one.
    run(&[("response/valid", "txt"), ("response/invalid", "txt")], 8, |bytes, cut, _| {
        let separated: Vec<u8> = bytes
            .iter()
            .enumerate()
            .map(|(at, &b)| if b == b'\n' || (b == b' ' && (at ^ cut) & 1 == 0) { 0xff } else { b })
            .collect();
        invariants::response_head(&separated);
        invariants::response_head(bytes);
    });
}
