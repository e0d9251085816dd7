//! What parsing costs, in nanoseconds a request: `cargo run --release -p wire --example speed`.
//!
//! The best of several rounds is printed, because everything else on the machine can only make a round slower.
//! The aim: below 150 ns for what wrk sends, below 600 ns for what a browser sends.

use std::hint::black_box;
use std::time::Instant;
use wire::{Limits, Step, http1, uwsgi};

const WRK: &[u8] = b"GET /plain/ HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nConnection: keep-alive\r\n\r\n";

const BROWSER: &[u8] = b"GET /blog/2026/11/a-longer-title/?page=2&sort=date HTTP/1.1\r\n\
Host: www.example.org\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: de,en-US;q=0.7,en;q=0.3\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://www.example.org/blog/\r\n\
Connection: keep-alive\r\n\
Cookie: csrftoken=Wf6Lh0cFQxqSm4T7G1kq9y2Jz8rXv3bN; sessionid=4k1r2m0z9x8c7v6b5n4m3a2s1d0f9g8h; theme=dark\r\n\
Upgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-User: ?1\r\n\
Priority: u=0, i\r\n\
\r\n";

fn main() {
    let limits = Limits::default();
    let packet = packet(&[
        ("QUERY_STRING", "page=2&sort=date"),
        ("REQUEST_METHOD", "GET"),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("REQUEST_URI", "/blog/2026/11/a-longer-title/?page=2&sort=date"),
        ("PATH_INFO", "/blog/2026/11/a-longer-title/"),
        ("DOCUMENT_ROOT", "/usr/share/nginx/html"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("REMOTE_PORT", "51514"),
        ("SERVER_PORT", "80"),
        ("SERVER_NAME", "www.example.org"),
        ("HTTP_HOST", "www.example.org"),
        ("HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("HTTP_ACCEPT_LANGUAGE", "de,en-US;q=0.7,en;q=0.3"),
        ("HTTP_ACCEPT_ENCODING", "gzip, deflate, br, zstd"),
        ("HTTP_COOKIE", "csrftoken=Wf6Lh0cFQxqSm4T7G1kq9y2Jz8rXv3bN; sessionid=4k1r2m0z9x8c7v6b5n4m3a2s1d0f9g8h"),
    ]);
    let head = |bytes: &[u8]| matches!(http1::parse_head(bytes, &limits), Ok(Step::Done(..)));
    measure("head, as wrk sends it", WRK, head);
    measure("head, as a browser sends it", BROWSER, head);
    measure("packet, as nginx sends it", &packet, |bytes| {
        matches!(uwsgi::parse_packet(bytes, &limits), Ok(Step::Done(..)))
    });
    measure("target with escapes", b"/blog/a%20longer%20title/%E4%BD%A0?page=2", |bytes| {
        http1::parse_target(b"GET", bytes).is_ok()
    });
    let body: Vec<u8> =
        [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat().repeat(16).into_iter().chain(*b"0\r\n\r\n").collect();
    let mut out = Vec::with_capacity(1 << 17);
    measure("chunked body, 16 x 4 KiB", &body, |bytes| {
        out.clear();
        matches!(http1::Chunked::default().decode(bytes, &mut out, &limits), Ok(Step::Done(..)))
    });
}

fn packet(vars: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in vars.iter().flat_map(|(key, value)| [key, value]) {
        block.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    let [low, high] = u16::try_from(block.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&[0, low, high, 0][..], &block].concat()
}

fn measure(name: &str, input: &[u8], mut parse: impl FnMut(&[u8]) -> bool) {
    const ROUNDS: usize = 20;
    const CALLS: u32 = 20_000;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..CALLS {
            assert!(black_box(parse(black_box(input))), "{name}: the example must parse");
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    println!("{name:<30} {:>6} bytes {best:>8.0} ns", input.len());
}
