//! Which protocol a peer seems to speak, to name the mistake when it is not the listener's.
//!
//! Only for logs and refusals: never a way to choose a parser. A listener asks after its own parser has refused the
//! bytes (the uwsgi parser asks itself, for packets that are no requests), so a guess need not tell apart what both
//! protocols allow; it must only be right where it names one.

use crate::bytes::is_tchar;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// An HTTP/1 (or 0.9) request line.
    Http,
    /// A uwsgi request packet.
    Uwsgi,
    /// A TLS ClientHello: https to a plain port.
    Tls,
    /// HTTP/2 with prior knowledge (RFC 9113 3.4).
    Http2Preface,
    /// PROXY protocol, text form.
    ProxyV1,
    /// PROXY protocol, binary form.
    ProxyV2,
    Unknown,
}

impl Guess {
    /// For the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Uwsgi => "uwsgi",
            Self::Tls => "TLS",
            Self::Http2Preface => "HTTP/2",
            Self::ProxyV1 => "PROXY protocol v1",
            Self::ProxyV2 => "PROXY protocol v2",
            Self::Unknown => "unknown",
        }
    }
}

/// RFC 9113 3.4, up to where an HTTP/1 parser stops.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Four bytes are what a uwsgi listener reads before it can judge a packet's size, and enough to know these.
const METHOD_BEGINNINGS: [&[u8; 4]; 9] =
    [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"PATC", b"TRAC", b"CONN"];

/// What the first bytes of a connection look like. More bytes give a better guess; 16 are enough for every one.
#[must_use]
pub fn guess(first_bytes: &[u8]) -> Guess {
    let begins = |with: &[u8]| first_bytes.starts_with(with);
    if begins(PROXY_V2) {
        Guess::ProxyV2
    } else if begins(b"PROXY TCP") || begins(b"PROXY UNKNOWN") {
        Guess::ProxyV1
    } else if begins(HTTP2_PREFACE) {
        Guess::Http2Preface
    } else if is_client_hello(first_bytes) {
        Guess::Tls
    } else if is_request_line(first_bytes) {
        Guess::Http
    } else if is_packet(first_bytes) {
        Guess::Uwsgi
    } else {
        Guess::Unknown
    }
}

/// RFC 8446 5.1 and 4: a handshake record (22) of version 3.x whose message is ClientHello (1). The fourth and fifth
/// bytes are the record's length, at most 2^14.
fn is_client_hello(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [22, 3, 0..=4, 0..=0x40, _, 1, ..] | [22, 3, 0..=4] | [22, 3, 0..=4, 0..=0x40] | [22, 3, 0..=4, 0..=0x40, _]
    )
}

/// A token, a space, and what a target begins with; or the beginning of a well-known method.
fn is_request_line(bytes: &[u8]) -> bool {
    if bytes.get(..4).is_some_and(|four| METHOD_BEGINNINGS.iter().any(|method| method[..] == *four)) {
        return true;
    }
    let len = bytes.iter().take_while(|&&b| is_tchar(b)).count();
    len > 0 && matches!(bytes[len..], [b' ', b'/' | b'*' | b'h' | b'H', ..])
}

/// A packet header whose first variable fits into it and has a name as CGI variables have.
fn is_packet(bytes: &[u8]) -> bool {
    let [_modifier1, size_low, size_high, _modifier2, key_low, key_high, key @ ..] = bytes else {
        return false;
    };
    let size = usize::from(u16::from_le_bytes([*size_low, *size_high]));
    let key_len = usize::from(u16::from_le_bytes([*key_low, *key_high]));
    (1..=255).contains(&key_len)
        && key_len + 4 <= size
        && !key.is_empty()
        && key.iter().take(key_len).all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_named() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Guess::Http),
            (b"GET ", Guess::Http),
            (b"POST", Guess::Http),
            (b"PROPFIND /x HTTP/1.1\r\n", Guess::Http),
            (b"GET http://a/ HTTP/1.0\r\n", Guess::Http),
            (b"OPTIONS * HTTP/1.1\r\n", Guess::Http),
            (b"PROXY / HTTP/1.1\r\n", Guess::Http),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Guess::ProxyV1),
            (b"PROXY UNKNOWN\r\n", Guess::ProxyV1),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Guess::ProxyV2),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Guess::Http2Preface),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Guess::Tls),
            (b"\x16\x03\x03", Guess::Tls),
            (b"\0\x20\0\0\x0e\0REQUEST_METHOD\x03\0GET", Guess::Uwsgi),
            (b"\0\x20\0\0\x0e\0REQU", Guess::Uwsgi),
            (b"", Guess::Unknown),
            (b"G", Guess::Unknown),
            (b"\0\0\0\0", Guess::Unknown),
            (b"\0\x05\0\0\x0e\0REQUEST", Guess::Unknown),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Guess::Unknown),
            (b"hello", Guess::Unknown),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Guess::Unknown),
        ] {
            assert_eq!(guess(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_request_packet_is_never_taken_for_something_else() {
        // Modifier 0 or 30 with any size and a name that begins with a capital letter.
        for modifier1 in [0, 30] {
            for size in 0..=u16::MAX {
                let [low, high] = size.to_le_bytes();
                let packet = [modifier1, low, high, 0, 4, 0, b'H', b'O', b'S', b'T', 1, 0, b'x'];
                assert!(matches!(guess(&packet), Guess::Uwsgi | Guess::Unknown), "{size}");
            }
        }
    }
}
