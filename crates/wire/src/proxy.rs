//! The PROXY protocol, versions 1 and 2: how a balancer that passes bytes on names the client (HAProxy's
//! `proxy-protocol.txt`).
//!
//! It stands before the first request of a connection. Whether the peer may be believed is not decided here; whoever asks
//! must have decided it before, because the header itself proves nothing.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{Error, Step};

/// What stands at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// No header: the request begins at once.
    Absent,
    /// A header that names no client: the balancer speaks for itself, or does not know, or the client has no IP address.
    Unknown,
    Client(SocketAddr),
}

const V1_START: &[u8] = b"PROXY ";
/// The longest line that version 1 allows, its CRLF included.
const V1_BYTES: usize = 107;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;
/// Addresses take 216 bytes at most; the rest is for extensions (certificates' names and the like), which are skipped.
const V2_REST_BYTES: usize = 4096;

/// Read the header, if there is one; `Absent` uses no bytes.
pub fn parse(input: &[u8]) -> Result<Step<Header>, Error> {
    let begins = |start: &[u8]| input.len().min(start.len()) > 0 && start.iter().zip(input).all(|(a, b)| a == b);
    if begins(V1_START) {
        return if input.len() < V1_START.len() { Ok(Step::NeedMore) } else { version_1(input) };
    }
    if begins(V2_SIGNATURE) {
        return if input.len() < V2_HEAD_BYTES { Ok(Step::NeedMore) } else { version_2(input) };
    }
    Ok(if input.is_empty() { Step::NeedMore } else { Step::Done(Header::Absent, 0) })
}

/// ```text
/// "PROXY" SP ( "TCP4" / "TCP6" ) SP source SP destination SP source-port SP destination-port CRLF
/// "PROXY" SP "UNKNOWN" [ anything ] CRLF
/// ```
fn version_1(input: &[u8]) -> Result<Step<Header>, Error> {
    let shown = &input[..input.len().min(V1_BYTES)];
    let Some(end) = shown.windows(2).position(|pair| pair == b"\r\n") else {
        return if shown.len() < V1_BYTES { Ok(Step::NeedMore) } else { Err(Error::ProxyBadLine) };
    };
    let line = core::str::from_utf8(&shown[V1_START.len()..end]).map_err(|_| Error::ProxyBadLine)?;
    let used = end + 2;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(Step::Done(Header::Unknown, used));
    }
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(Error::ProxyBadLine);
    let family = word()?;
    let (source, destination) = (address(family, word()?)?, address(family, word()?)?);
    let (port, _) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() || source.is_ipv4() != destination.is_ipv4() {
        return Err(Error::ProxyBadLine);
    }
    Ok(Step::Done(Header::Client(SocketAddr::new(source, port)), used))
}

fn address(family: &str, text: &str) -> Result<IpAddr, Error> {
    let parsed = match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::V6),
        _ => return Err(Error::ProxyBadLine),
    };
    parsed.map_err(|_| Error::ProxyBadLine)
}

/// 1*5DIGIT, without sign or leading zero.
fn port(text: &str) -> Result<u16, Error> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(Error::ProxyBadLine)
}

/// Signature, version and command, family and transport, the length of the rest in two bytes; then the rest: source and
/// destination address, their ports, extensions.
fn version_2(input: &[u8]) -> Result<Step<Header>, Error> {
    let (command, family) = (input[12], input[13]);
    let length = usize::from(u16::from_be_bytes([input[14], input[15]]));
    if length > V2_REST_BYTES {
        return Err(Error::ProxyTooLong);
    }
    if !matches!(command, 0x20 | 0x21) {
        return Err(Error::ProxyBadHeader);
    }
    let used = V2_HEAD_BYTES + length;
    let Some(rest) = input.get(V2_HEAD_BYTES..used) else { return Ok(Step::NeedMore) };
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    let client = match (command, family) {
        // The balancer's own connection, such as a health check: what follows means nothing.
        (0x20, _) => None,
        (_, 0x11) if length >= 12 => {
            let octets: [u8; 4] = [rest[0], rest[1], rest[2], rest[3]];
            Some(SocketAddr::new(IpAddr::from(octets), port(8)))
        }
        (_, 0x21) if length >= 36 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&rest[..16]);
            Some(SocketAddr::new(IpAddr::from(octets), port(32)))
        }
        // No address, or one of a unix socket.
        (_, 0x00) => None,
        (_, 0x31) if length >= 216 => None,
        _ => return Err(Error::ProxyBadHeader),
    };
    Ok(Step::Done(client.map_or(Header::Unknown, Header::Client), used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_not_a_header() {
        for request in [&b"GET / HTTP/1.1\r\n"[..], b"POST /", b"PUT", b"\r\nGET", b"PROXX ", b"PRI ", b"\xff"] {
            assert_eq!(parse(request), Ok(Step::Done(Header::Absent, 0)), "{}", request.escape_ascii());
        }
        for start in [&b""[..], b"P", b"PROXY", b"\r\n", b"\r\n\r\n\0\r\nQUIT\n!\x11"] {
            assert_eq!(parse(start), Ok(Step::NeedMore), "{}", start.escape_ascii());
        }
    }
}
