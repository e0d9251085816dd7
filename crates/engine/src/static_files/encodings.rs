//! `static-gzip*`: files that lie compressed beside the plain ones, and which of them a client gets.

use crate::pattern::Pattern;

/// How a file beside the plain one is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    /// What the name of the plain file is followed by.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }

    /// As `Content-Encoding` names it (RFC 9110, section 8.4.1; RFC 7932, section 13).
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// Which files are looked for in compressed form.
#[derive(Debug, Default)]
pub struct Compressed {
    pub all: bool,
    pub patterns: Vec<Pattern>,
    pub prefixes: Vec<Vec<u8>>,
    pub suffixes: Vec<Vec<u8>>,
}

impl Compressed {
    pub fn is_empty(&self) -> bool {
        !self.all && self.patterns.is_empty() && self.prefixes.is_empty() && self.suffixes.is_empty()
    }

    /// Whether the file of this name, a whole path, is one of them.
    pub fn includes(&self, name: &[u8]) -> bool {
        self.all
            || self.prefixes.iter().any(|prefix| name.starts_with(prefix))
            || self.suffixes.iter().any(|suffix| name.ends_with(suffix))
            || self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

/// The codings that `Accept-Encoding` prefers to the plain file, the best first.
///
/// ```text
/// Accept-Encoding = [ ( codings [ weight ] ) *( OWS "," OWS ( codings [ weight ] ) ) ]   (RFC 9110, section 12.5.3)
/// weight          = OWS ";" OWS "q=" qvalue
/// ```
/// Of equally good ones the smaller is taken: brotli, gzip, plain. An element that does not follow the grammar is as
/// good as not there.
pub fn preferred(accept: &[u8]) -> [Option<Coding>; 2] {
    let (mut brotli, mut gzip, mut plain, mut others) = (None, None, None, None);
    for element in accept.split(|&byte| byte == b',') {
        let (token, weight) = match memchr::memchr(b';', element) {
            Some(at) => (element[..at].trim_ascii(), weight(&element[at + 1..])),
            None => (element.trim_ascii(), Some(1000)),
        };
        let Some(weight) = weight else { continue };
        let known = if token.eq_ignore_ascii_case(b"gzip") || token.eq_ignore_ascii_case(b"x-gzip") {
            &mut gzip
        } else if token.eq_ignore_ascii_case(b"br") {
            &mut brotli
        } else if token.eq_ignore_ascii_case(b"identity") {
            &mut plain
        } else if token == b"*" {
            &mut others
        } else {
            continue;
        };
        // The first of several counts.
        known.get_or_insert(weight);
    }
    let others = others.unwrap_or(0);
    let (brotli, gzip, plain) = (brotli.unwrap_or(others), gzip.unwrap_or(others), plain.unwrap_or(0));
    let is_wanted = |weight: u16| weight > 0 && weight >= plain;
    let brotli_first = brotli >= gzip;
    let brotli = is_wanted(brotli).then_some(Coding::Brotli);
    let gzip = is_wanted(gzip).then_some(Coding::Gzip);
    if brotli_first { [brotli, gzip] } else { [gzip, brotli] }
}

/// What follows the semicolon, in thousandths; None if it is no weight.
fn weight(text: &[u8]) -> Option<u16> {
    let (name, value) = text.trim_ascii().split_at_checked(2)?;
    if !name.eq_ignore_ascii_case(b"q=") {
        return None;
    }
    // qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
    let (whole, fraction) = match value {
        [whole @ (b'0' | b'1')] => (*whole, &b""[..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = *fraction.get(place).unwrap_or(&b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths = thousandths * 10 + u16::from(digit - b'0');
    }
    match (whole, thousandths) {
        (b'1', 0) => Some(1000),
        (b'1', _) => None,
        _ => Some(thousandths),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_prefers() {
        const BR: Option<Coding> = Some(Coding::Brotli);
        const GZ: Option<Coding> = Some(Coding::Gzip);
        for (accept, expected) in [
            ("", [None, None]),
            ("gzip", [GZ, None]),
            ("br", [BR, None]),
            ("gzip, deflate, br, zstd", [BR, GZ]),
            ("GZIP ,\tBr", [BR, GZ]),
            ("x-gzip", [GZ, None]),
            ("*", [BR, GZ]),
            ("*;q=0", [None, None]),
            ("*;q=0, gzip", [GZ, None]),
            ("gzip, *;q=0", [GZ, None]),
            ("br;q=0, *", [GZ, None]),
            ("gzip;q=0", [None, None]),
            ("gzip;q=0.000", [None, None]),
            ("gzip;q=0.001", [GZ, None]),
            ("gzip; Q=1.000 , br;q=0.5", [GZ, BR]),
            ("gzip;q=0.8, br;q=0.8", [BR, GZ]),
            ("identity, gzip;q=0.5", [None, None]),
            ("identity;q=0.5, gzip;q=0.5", [GZ, None]),
            ("identity;q=0", [None, None]),
            ("identity;q=0, *;q=0.5", [BR, GZ]),
            ("gzip;q=1.001", [None, None]),
            ("gzip;q=2", [None, None]),
            ("gzip;q=-1", [None, None]),
            ("gzip;q=", [None, None]),
            ("gzip;q=0.1234", [None, None]),
            ("gzip;level=9", [None, None]),
            ("gzip;", [None, None]),
            ("gzipped, xgzip, brr, b", [None, None]),
            (",,, ;;,gzip,,", [GZ, None]),
            ("gzip;q=0, gzip", [None, None]),
        ] {
            let found: Vec<_> = preferred(accept.as_bytes()).into_iter().flatten().collect();
            let expected: Vec<_> = expected.into_iter().flatten().collect();
            assert_eq!(found, expected, "{accept}");
        }
        assert_eq!(preferred(b"\xff\xfe,gzip\x00"), [None, None]);
    }

    #[test]
    fn which_files_have_compressed_forms() {
        let none = Compressed::default();
        assert!(none.is_empty() && !none.includes(b"/a.css"));
        assert!(Compressed { all: true, ..Compressed::default() }.includes(b"/a.css"));
        let some = Compressed {
            all: false,
            patterns: vec![Pattern::new(r"\.svg$").unwrap()],
            prefixes: vec![b"/srv/js".to_vec()],
            suffixes: vec![b".css".to_vec()],
        };
        assert!(!some.is_empty());
        for (name, expected) in
            [("/x/a.svg", true), ("/srv/js/a", true), ("/x/a.css", true), ("/x/srv/js/a.png", false)]
        {
            assert_eq!(some.includes(name.as_bytes()), expected, "{name}");
        }
    }
}
