//! The request target (RFC 9112 3.2) and the decoding of its path (RFC 3986 2.1).
//!
//! ```text
//! request-target = origin-form / absolute-form / authority-form / asterisk-form
//! ```
//!
//! Dot segments are left as they are: to resolve them is the client's work (RFC 3986 5.2.4), and doing it on one side
//! of the decoding or the other is how uWSGI and its front ends came to disagree. `%2F` becomes `/`, as CGI has it.

use super::host::is_authority;
use crate::bytes::hex_digit;
use crate::{Error, bytes};
use memchr::{memchr, memchr2};
use std::borrow::Cow;
use std::ops::Range;

/// A request target, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'b> {
    /// Percent-decoded, for `PATH_INFO`: begins with `/`, or is `*`. May hold any byte but NUL.
    pub path: Cow<'b, [u8]>,
    /// As it was sent, for `REQUEST_URI` and the log.
    pub raw: &'b [u8],
    /// What follows the first `?`, as it was sent; empty if there is none.
    pub query: &'b [u8],
    /// Of an absolute target: host and port, which replace Host.
    pub authority: Option<&'b [u8]>,
}

/// The target's parts as ranges, before decoding.
pub(super) struct Parts {
    pub(super) authority: Option<Range<usize>>,
    path: Range<usize>,
    query: Range<usize>,
}

/// Take apart a target whose characters [`super::parse_head`] has accepted.
///
/// # Errors
/// [`Error::ConnectRefused`], [`Error::AsteriskNotOptions`], [`Error::BadTargetForm`], [`Error::BadAuthority`] (all of
/// which `parse_head` has reported already), [`Error::BadEscape`], [`Error::NulInPath`].
pub fn parse_target<'b>(method: &[u8], target: &'b [u8]) -> Result<Target<'b>, Error> {
    let plain = bytes::plain_path_len(target);
    if target.first() == Some(&b'/') && target.get(plain) != Some(&b'%') && method != b"CONNECT" {
        // Nearly every target is in origin form, without escapes in its path.
        let query = target.get(plain + 1..).unwrap_or_default();
        return Ok(Target { path: Cow::Borrowed(&target[..plain]), raw: target, query, authority: None });
    }
    let parts = split(method, target)?;
    let path = match &target[parts.path] {
        b"" => Cow::Borrowed(&b"/"[..]),
        path => decode(path)?,
    };
    Ok(Target {
        path,
        raw: target,
        query: &target[parts.query],
        authority: parts.authority.map(|range| &target[range]),
    })
}

pub(super) fn split(method: &[u8], target: &[u8]) -> Result<Parts, Error> {
    if method == b"CONNECT" {
        return Err(Error::ConnectRefused);
    }
    let mut authority = None;
    let mut start = 0;
    if target.first() != Some(&b'/') {
        if target == b"*" {
            return match method {
                b"OPTIONS" => Ok(Parts { authority: None, path: 0..1, query: 1..1 }),
                _ => Err(Error::AsteriskNotOptions),
            };
        }
        let scheme = [&b"http://"[..], b"https://"]
            .into_iter()
            .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)))
            .ok_or(Error::BadTargetForm)?;
        let rest = &target[scheme.len()..];
        start = scheme.len() + memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        if !is_authority(target, scheme.len()..start) {
            return Err(Error::BadAuthority);
        }
        authority = Some(scheme.len()..start);
    }
    let (path, query) = match memchr(b'?', &target[start..]) {
        Some(len) => (start..start + len, start + len + 1..target.len()),
        None => (start..target.len(), target.len()..target.len()),
    };
    Ok(Parts { authority, path, query })
}

fn decode(path: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let Some(mut percent) = memchr(b'%', path) else {
        return Ok(Cow::Borrowed(path));
    };
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    loop {
        decoded.extend_from_slice(&rest[..percent]);
        let byte = match rest.get(percent + 1..percent + 3) {
            Some(&[high, low]) => match (hex_digit(high), hex_digit(low)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(Error::BadEscape),
            },
            _ => return Err(Error::BadEscape),
        };
        if byte == 0 {
            return Err(Error::NulInPath);
        }
        decoded.push(byte);
        rest = &rest[percent + 3..];
        match memchr(b'%', rest) {
            Some(next) => percent = next,
            None => break,
        }
    }
    decoded.extend_from_slice(rest);
    Ok(Cow::Owned(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str) -> Result<Target<'_>, Error> {
        parse_target(b"GET", target.as_bytes())
    }

    #[test]
    fn origin_form() {
        let target = get("/a/b%20c%2fd?x=%20&y=?z").expect("valid");
        assert_eq!(target.path.as_ref(), b"/a/b c/d");
        assert_eq!(target.query, b"x=%20&y=?z");
        assert_eq!(target.raw, b"/a/b%20c%2fd?x=%20&y=?z");
        assert_eq!(target.authority, None);
        assert_eq!(get("/?").expect("valid").query, b"");
        assert_eq!(get("//evil.example/a").expect("valid").path.as_ref(), b"//evil.example/a");
        assert_eq!(get("/a/../b/./%2e%2e").expect("valid").path.as_ref(), b"/a/../b/./..");
        assert_eq!(get("/a+b").expect("valid").path.as_ref(), b"/a+b");
        assert_eq!(get("/%e4%BD%a0").expect("valid").path.as_ref(), "/你".as_bytes());
    }

    #[test]
    fn a_path_without_escapes_is_not_copied() {
        assert!(matches!(get("/plain?q=%20").expect("valid").path, Cow::Borrowed(b"/plain")));
    }

    #[test]
    fn absolute_form() {
        let target = get("http://example.org:81/a%41?q").expect("valid");
        assert_eq!((target.path.as_ref(), target.query), (&b"/aA"[..], &b"q"[..]));
        assert_eq!(target.authority, Some(&b"example.org:81"[..]));
        let target = get("HTTPS://example.org").expect("valid");
        assert_eq!((target.path.as_ref(), target.query), (&b"/"[..], &b""[..]));
        let target = get("http://[::1]?q").expect("valid");
        assert_eq!((target.path.as_ref(), target.query, target.authority), (&b"/"[..], &b"q"[..], Some(&b"[::1]"[..])));
    }

    #[test]
    fn forms_that_are_refused() {
        for bad in ["ftp://example.org/", "example.org:443", "a/b", "http:/x", "http:", "", "?q", "**"] {
            assert_eq!(get(bad), Err(Error::BadTargetForm), "{bad}");
        }
        for bad in ["http:///a", "http://", "http://user@host/", "http://host:port/", "http://a\\b/"] {
            assert_eq!(get(bad), Err(Error::BadAuthority), "{bad}");
        }
        assert_eq!(get("*"), Err(Error::AsteriskNotOptions));
        assert_eq!(parse_target(b"OPTIONS", b"*").expect("valid").path.as_ref(), b"*");
        assert_eq!(parse_target(b"CONNECT", b"example.org:443"), Err(Error::ConnectRefused));
        assert_eq!(parse_target(b"CONNECT", b"/"), Err(Error::ConnectRefused));
    }

    #[test]
    fn escapes_that_are_refused() {
        for bad in ["/%", "/%4", "/%zz", "/%4g", "/%%41", "/%u0041", "/% 41", "/%+1"] {
            assert_eq!(get(bad), Err(Error::BadEscape), "{bad}");
        }
        assert_eq!(get("/a%00b"), Err(Error::NulInPath));
        // The query is the app's to decode.
        assert_eq!(get("/?%00%zz").expect("valid").query, b"%00%zz");
    }
}
