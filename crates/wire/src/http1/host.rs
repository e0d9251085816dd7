//! Host and authority (RFC 3986 3.2, RFC 9110 7.2).
//!
//! ```text
//! Host        = uri-host [ ":" port ]
//! uri-host    = IP-literal / IPv4address / reg-name
//! reg-name    = *( unreserved / pct-encoded / sub-delims )
//! IP-literal  = "[" ( IPv6address / IPvFuture ) "]"
//! port        = *DIGIT
//! ```
//! There is no user information: RFC 9110 4.2.4 has it treated as an error. IPvFuture has never been used.

use crate::bytes::{hex_digit, word_len};
use core::net::Ipv6Addr;
use std::ops::Range;

/// Is this part of `buf` a non-empty host with an optional port? (Of `buf`, because a search runs faster where it may
/// look beyond the end.)
#[inline(always)]
pub(super) fn is_authority(buf: &[u8], part: Range<usize>) -> bool {
    let Range { start, end } = part;
    let mut at = (start + word_len(buf, &buf[start..])).min(end);
    if at < end && buf[at] != b':' {
        let len = if buf[start] == b'[' { ip_literal_len(&buf[start..end]) } else { reg_name_len(&buf[start..end]) };
        match len {
            Some(len) => at = start + len,
            None => return false,
        }
    }
    if at == start {
        return false;
    }
    at == end || (buf[at] == b':' && is_port(&buf[at + 1..end]))
}

/// RFC 3986 has any number of digits, but there are only 65,536 ports.
#[inline]
fn is_port(digits: &[u8]) -> bool {
    let mut port = 0;
    for &b in digits.iter().take(6) {
        if !b.is_ascii_digit() {
            return false;
        }
        port = port * 10 + u32::from(b - b'0');
    }
    digits.len() <= 5 && port <= 65535
}

/// How much of `bytes` is an IP-literal.
#[cold]
fn ip_literal_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|&b| b == b']')?;
    std::str::from_utf8(&bytes[1..end]).ok()?.parse::<Ipv6Addr>().ok()?;
    Some(end + 1)
}

/// How much of `bytes` is a reg-name (up to a colon or the end), or `None` if a character can not be in one.
#[cold]
fn reg_name_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => at += 1,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => at += 1,
            b'%' => match bytes.get(at + 1..at + 3) {
                Some(&[high, low]) if hex_digit(high).is_some() && hex_digit(low).is_some() => at += 3,
                _ => return None,
            },
            b':' => return Some(at),
            _ => return None,
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_exist() {
        for good in [
            "example.org",
            "example.org:80",
            "example.org:",
            "localhost:8000",
            "a_b.internal",
            "127.0.0.1",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::7]",
            "[::ffff:10.0.0.1]:1",
            "xn--bcher-kva.example",
            "a%20b",
            "UPPER.example",
        ] {
            for (before, behind) in [("", ""), ("Host: ", "\r\nX: a header behind it\r\n\r\n")] {
                let text = format!("{before}{good}{behind}");
                let part = before.len()..before.len() + good.len();
                assert!(is_authority(text.as_bytes(), part), "{good}");
            }
        }
    }

    #[test]
    fn hosts_that_are_none() {
        for bad in [
            "",
            ":80",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a@b",
            "user:pw@host",
            "host:80:80",
            "host:+80",
            "host:65536",
            "host:000080",
            "host:8o",
            "[::1",
            "[]",
            "[::1]x",
            "[::g]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "::1",
            "a%2",
            "a%zz",
            "bücher.example",
            "a\\b",
            "<script>",
            "\"a\"",
            "a\tb",
            "a, b",
        ] {
            for behind in ["", "1", ".example behind it is no part of it"] {
                let text = format!("{bad}{behind}");
                assert!(!is_authority(text.as_bytes(), 0..bad.len()), "{bad}");
            }
        }
    }
}
