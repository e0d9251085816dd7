//! What an app returned, checked before it goes out (PEP 3333, RFC 9112 4 and 5).
//!
//! An app's mistake must never become bytes that a client reads as another response: nothing is escaped or repaired
//! here, it is refused.

use crate::http1::Version;
use crate::{Error, bytes};

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Append the status line for `status` ("404 Not Found") and return its number.
///
/// "404" alone, which uWSGI takes though PEP 3333 does not have it, gets its reason from [`reason`].
///
/// # Errors
/// [`Error::ResponseBadStatus`], [`Error::ResponseInformational`], [`Error::ResponseBadReason`]; `out` is unchanged
/// then.
pub fn status_line(out: &mut Vec<u8>, version: Version, status: &[u8]) -> Result<u16, Error> {
    let (number, phrase) = match *status {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref rest @ ..] => {
            (u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'), rest)
        }
        _ => return Err(Error::ResponseBadStatus),
    };
    let phrase = match (number, phrase) {
        (100..=199, _) => return Err(Error::ResponseInformational),
        (..=99 | 600.., _) => return Err(Error::ResponseBadStatus),
        (_, []) => reason(number).as_bytes(),
        (_, [b' ', phrase @ ..]) => phrase,
        _ => return Err(Error::ResponseBadStatus),
    };
    if !bytes::is_all_text(phrase) {
        return Err(Error::ResponseBadReason);
    }
    out.extend_from_slice(version.name().as_bytes());
    out.push(b' ');
    out.extend_from_slice(&status[..3]);
    out.push(b' ');
    out.extend_from_slice(phrase);
    out.extend_from_slice(b"\r\n");
    Ok(number)
}

/// May this header go out as `name: value`?
///
/// # Errors
/// [`Error::ResponseBadHeaderName`], [`Error::ResponseBadHeaderValue`].
#[inline]
pub fn check_header(name: &[u8], value: &[u8]) -> Result<(), Error> {
    if !bytes::is_token(name) {
        Err(Error::ResponseBadHeaderName)
    } else if !bytes::is_all_text(value) {
        Err(Error::ResponseBadHeaderValue)
    } else {
        Ok(())
    }
}

/// The reason phrase of a status, by the IANA registry (2026-10), or "Unknown".
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "Unknown",
    }
}

/// Headers that belong to the connection and so to the server: PEP 3333 forbids them to apps (RFC 9110 7.6.1).
#[must_use]
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    let candidates: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        7 => &[b"trailer", b"upgrade"],
        8 => &[b"trailers"],
        10 => &[b"connection", b"keep-alive"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        18 => &[b"proxy-authenticate"],
        19 => &[b"proxy-authorization"],
        _ => return false,
    };
    candidates.iter().any(|candidate| name.eq_ignore_ascii_case(candidate))
}

/// Append the size line of a chunk of `len` bytes; CRLF must follow the data. Nothing is appended for 0, which would
/// end the body: use [`LAST_CHUNK`] for that.
pub fn chunk_header(out: &mut Vec<u8>, len: usize) {
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[len >> (digit * 4) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(status: &[u8]) -> Result<(u16, String), Error> {
        let mut out = Vec::new();
        let number = status_line(&mut out, Version::Http11, status);
        assert!(number.is_ok() || out.is_empty());
        Ok((number?, String::from_utf8_lossy(&out).into_owned()))
    }

    #[test]
    fn status_lines() {
        assert_eq!(line(b"200 OK"), Ok((200, "HTTP/1.1 200 OK\r\n".into())));
        assert_eq!(line(b"404"), Ok((404, "HTTP/1.1 404 Not Found\r\n".into())));
        assert_eq!(line(b"299"), Ok((299, "HTTP/1.1 299 Unknown\r\n".into())));
        assert_eq!(line(b"200 "), Ok((200, "HTTP/1.1 200 \r\n".into())));
        assert_eq!(line(b"599 What\tever you like"), Ok((599, "HTTP/1.1 599 What\tever you like\r\n".into())));
        let mut out = Vec::new();
        assert_eq!(status_line(&mut out, Version::Http10, b"200 OK"), Ok(200));
        assert_eq!(out, b"HTTP/1.0 200 OK\r\n");
    }

    #[test]
    fn statuses_that_are_refused() {
        for bad in [
            &b""[..],
            b"20",
            b"099",
            b"099 X",
            b"2000",
            b"200OK",
            b"200\tOK",
            b" 200 OK",
            b"-20 X",
            b"600 X",
            b"999 X",
            b"OK",
            b"2O0 OK",
            b"000 Zero",
        ] {
            assert_eq!(line(bad), Err(Error::ResponseBadStatus), "{bad:?}");
        }
        for bad in [&b"100 Continue"[..], b"101 Switching Protocols", b"103", b"199 X"] {
            assert_eq!(line(bad), Err(Error::ResponseInformational), "{bad:?}");
        }
        for bad in [&b"200 OK\r\nX: y"[..], b"200 O\nK", b"200 O\rK", b"200 O\0K", b"200 O\x7fK"] {
            assert_eq!(line(bad), Err(Error::ResponseBadReason), "{bad:?}");
        }
    }

    #[test]
    fn headers() {
        assert_eq!(check_header(b"Content-Type", b"text/html; charset=utf-8"), Ok(()));
        assert_eq!(check_header(b"X", b""), Ok(()));
        assert_eq!(check_header(b"X", b"tab\tand obs-text \xe9 are fine"), Ok(()));
        for name in [&b""[..], b"a b", b"a:", b"a\r\n", b"a\0", b"\xe9", b" a", b"a\n"] {
            assert_eq!(check_header(name, b"v"), Err(Error::ResponseBadHeaderName), "{name:?}");
        }
        for value in
            [&b"a\r\nSet-Cookie: x"[..], b"a\n", b"\ra", b"a\0b", b"\x01", b"\x7f", b"long enough for a word\n"]
        {
            assert_eq!(check_header(b"X", value), Err(Error::ResponseBadHeaderValue), "{value:?}");
        }
    }

    #[test]
    fn every_status_of_an_error_has_a_reason() {
        for error in Error::ALL {
            assert_ne!(reason(error.status()), "Unknown", "{error}");
        }
    }

    #[test]
    fn hop_by_hop() {
        for name in [
            "Connection",
            "KEEP-ALIVE",
            "te",
            "Trailer",
            "trailers",
            "Transfer-Encoding",
            "upgrade",
            "Proxy-Authenticate",
            "proxy-authorization",
        ] {
            assert!(is_hop_by_hop(name.as_bytes()), "{name}");
        }
        for name in ["Content-Length", "Content-Type", "Tea", "Set-Cookie", "Date", ""] {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn chunk_headers() {
        for (len, expected) in
            [(0, ""), (1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (255, "ff\r\n"), (0x12345, "12345\r\n")]
        {
            let mut out = Vec::new();
            chunk_header(&mut out, len);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        let mut out = Vec::new();
        chunk_header(&mut out, usize::MAX);
        assert_eq!(out, [&[b'f'; (usize::BITS / 4) as usize][..], b"\r\n"].concat());
    }
}
