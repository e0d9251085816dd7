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

use crate::bytes::hex_digit;
use core::net::Ipv6Addr;

/// Is this a non-empty host with an optional port?
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let port = if let [b'[', rest @ ..] = bytes {
        let Some(end) = rest.iter().position(|&b| b == b']') else {
            return false;
        };
        if !std::str::from_utf8(&rest[..end]).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()) {
            return false;
        }
        &rest[end + 1..]
    } else {
        let Some(end) = reg_name_len(bytes) else {
            return false;
        };
        if end == 0 {
            return false;
        }
        &bytes[end..]
    };
    match port {
        [] => true,
        [b':', digits @ ..] => {
            digits.len() <= 5
                && digits.iter().all(u8::is_ascii_digit)
                && digits.iter().fold(0, |sum, &b| sum * 10 + u32::from(b - b'0')) <= 65535
        }
        _ => false,
    }
}

/// How much of `bytes` is a reg-name (up to a colon or the end), or `None` if a character can not be in one.
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
            assert!(is_authority(good.as_bytes()), "{good}");
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
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
