//! Header names as CGI variables (RFC 3875 4.1.18).

/// What becomes of a header whose name has an underscore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// The app does not see it, as behind nginx.
    #[default]
    Drop,
    /// It becomes the same variable as a header with a dash there. Who uses this decides which of the two counts: never
    /// the one with the underscore where there is another.
    Keep,
}

/// Append the environ key of header `name`: `Accept-Encoding` becomes `HTTP_ACCEPT_ENCODING`.
///
/// False, and nothing appended, for what must not reach the app this way:
/// - a name with an underscore (unless it is kept), which could not be told from one with a dash, and so could override
///   what a front proxy has set;
/// - `Proxy`, because `HTTP_PROXY` is a configuration variable of many HTTP clients (httpoxy, CVE-2016-5385);
/// - `Content-Length` and `Content-Type`, whose keys have no prefix;
/// - `Content_Length`, `Content_Type` and `Transfer_Encoding`, kept or not: they look like framing and are none.
pub fn cgi_name(name: &[u8], underscores: Underscores, out: &mut Vec<u8>) -> bool {
    let begin = out.len();
    out.extend_from_slice(b"HTTP_");
    out.extend(name.iter().map(|&b| if b == b'-' { b'_' } else { b.to_ascii_uppercase() }));
    let refused = match &out[begin..] {
        b"HTTP_" | b"HTTP_PROXY" | b"HTTP_CONTENT_TYPE" | b"HTTP_CONTENT_LENGTH" => true,
        key => name.contains(&b'_') && (underscores == Underscores::Drop || key == b"HTTP_TRANSFER_ENCODING"),
    };
    if refused {
        out.truncate(begin);
    }
    !refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(header: &str) -> Option<String> {
        name_with(header, Underscores::Drop)
    }

    fn name_with(header: &str, underscores: Underscores) -> Option<String> {
        let mut out = b"kept ".to_vec();
        let passed = cgi_name(header.as_bytes(), underscores, &mut out);
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

    #[test]
    fn underscores_are_kept_only_where_that_is_wanted_and_harmless() {
        let kept = |header| name_with(header, Underscores::Keep);
        assert_eq!(kept("X_Token").as_deref(), Some("HTTP_X_TOKEN"));
        assert_eq!(kept("_").as_deref(), Some("HTTP__"));
        for refused in ["", "Proxy", "Content_Length", "content_type", "Transfer_Encoding", "transfer_ENCODING"] {
            assert_eq!(kept(refused), None, "{refused}");
        }
        assert_eq!(kept("Transfer-Encoding").as_deref(), Some("HTTP_TRANSFER_ENCODING"));
    }
}
