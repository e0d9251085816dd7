//! Header names as CGI variables (RFC 3875 4.1.18).

/// Append the environ key of header `name`: `Accept-Encoding` becomes `HTTP_ACCEPT_ENCODING`.
///
/// False, and nothing appended, for what must not reach the app this way:
/// - a name with an underscore, which could not be told from one with a dash, and so could override what a front
///   proxy has set (nginx drops such headers too);
/// - `Proxy`, because `HTTP_PROXY` is a configuration variable of many HTTP clients (httpoxy, CVE-2016-5385);
/// - `Content-Length` and `Content-Type`, whose keys have no prefix.
pub fn cgi_name(name: &[u8], out: &mut Vec<u8>) -> bool {
    match name.len() {
        0 => return false,
        5 if name.eq_ignore_ascii_case(b"proxy") => return false,
        12 if name.eq_ignore_ascii_case(b"content-type") => return false,
        14 if name.eq_ignore_ascii_case(b"content-length") => return false,
        _ => {}
    }
    let begin = out.len();
    out.extend_from_slice(b"HTTP_");
    for &b in name {
        match b {
            b'_' => {
                out.truncate(begin);
                return false;
            }
            b'-' => out.push(b'_'),
            _ => out.push(b.to_ascii_uppercase()),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(header: &str) -> Option<String> {
        let mut out = b"kept ".to_vec();
        let passed = cgi_name(header.as_bytes(), &mut out);
        let text = String::from_utf8(out).expect("header names of this test are ASCII");
        let key = text.strip_prefix("kept ").expect("what was there is left alone");
        assert_eq!(passed, !key.is_empty());
        passed.then(|| key.to_owned())
    }

    #[test]
    fn dashes_and_case() {
        assert_eq!(name("Accept-Encoding").as_deref(), Some("HTTP_ACCEPT_ENCODING"));
        assert_eq!(name("x").as_deref(), Some("HTTP_X"));
        assert_eq!(name("x.y~z").as_deref(), Some("HTTP_X.Y~Z"));
    }

    #[test]
    fn names_that_would_alias_or_configure_something() {
        for refused in
            ["", "X_Forwarded-For", "_", "Proxy", "PROXY", "proxy", "Content-Type", "content-length", "Content_Length"]
        {
            assert_eq!(name(refused), None, "{refused}");
        }
        assert_eq!(name("Proxy-Authorization").as_deref(), Some("HTTP_PROXY_AUTHORIZATION"));
    }
}
