//! Regular expressions of options: what a configuration may write, and how a request's bytes are compared with it.
//!
//! The syntax is that of Perl as far as users of uWSGI (PCRE) use it, with look-around and back references. Subjects are
//! bytes: `.` is one byte, classes know ASCII only, and a pattern that is written with other characters means their UTF-8.
//! A pattern without look-around and back references is matched in linear time; one with them gives up after a bounded
//! number of steps, so that no path of a client's choice can hold the loop.

use fancy_regex::{BytesMode, Regex, RegexBuilder};

/// Longer ones are refused: what they compile to is bounded, how long that takes should be too.
const LONGEST_BYTES: usize = 4096;
/// Steps back that one comparison may take: a few milliseconds at worst.
const BACKTRACKS_MOST: usize = 100_000;
/// What a part without look-around may take in memory when compiled, and when it runs.
const COMPILED_BYTES: usize = 1 << 20;
/// Instructions of the rest.
const PROGRAM_MOST: usize = 20_000;

/// A compiled regular expression.
#[derive(Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// The error says what is wrong with `text`, in a clause.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_BYTES {
            return Err(format!("it has {} bytes, and {LONGEST_BYTES} are allowed", text.len()));
        }
        let built = RegexBuilder::new(text)
            .bytes_mode(BytesMode::Ascii)
            .backtrack_limit(BACKTRACKS_MOST)
            .delegate_size_limit(COMPILED_BYTES)
            .delegate_dfa_size_limit(COMPILED_BYTES)
            .max_prog_size(PROGRAM_MOST)
            .build();
        // An error of the inner parser has several lines, the last of which says what is wrong.
        built.map(Self).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            line.trim().trim_start_matches("error: ").trim_end_matches('.').to_owned()
        })
    }

    /// Whether the pattern is found somewhere in `subject`. A comparison that is given up finds nothing.
    pub fn matches(&self, subject: &[u8]) -> bool {
        self.0.is_match(subject).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn matches(pattern: &str, subject: &[u8]) -> bool {
        Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")).matches(subject)
    }

    #[test]
    fn patterns_as_pcre_has_them() {
        for (pattern, subject, expected) in [
            (r"\.css$", &b"/static/a.css"[..], true),
            (r"\.css$", b"/static/a.cssx", false),
            (r"^/static/.*\.(?:js|css)$", b"/static/x/y.js", true),
            (r"(?i)\.PNG$", b"/a.png", true),
            (r"^/(?!admin)", b"/admin/x", false),
            (r"^/(?!admin)", b"/blog/x", true),
            (r"(?<=/v)\d+", b"/v12", true),
            (r"^(.)\1$", b"aa", true),
            (r"^(.)\1$", b"ab", false),
            (r"^(?P<a>x)(?<b>y)$", b"xy", true),
            (r"^a++b$", b"aab", true),
            (r"[[:alpha:]]", b"1", false),
            (r"", b"", true),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern}");
        }
    }

    #[test]
    fn subjects_are_bytes() {
        for (pattern, subject, expected) in [
            (r"^/.$", &b"/\xff"[..], true),
            (r"^/..$", "/é".as_bytes(), true),
            (r"^/\w", "/é".as_bytes(), false),
            (r"^/é$", "/é".as_bytes(), true),
            (r"^/\xff$", b"/\xff", true),
            (r"^/[^/]+$", b"/\x00\xc3(\xfe", true),
            (r"b$", b"\xff\xfeb", true),
            (r"(?!x)b$", b"\xff\xfeb", true),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern}");
        }
    }

    #[test]
    fn a_wrong_pattern_says_what_is_wrong_in_one_line() {
        for pattern in ["(", ")", "[a", r"\Qa\E", "*", r"\", "(?<=a", "(?P<", r"\1", "[é]", "[z-a]"] {
            let error = Pattern::new(pattern).expect_err(pattern);
            assert!(!error.is_empty() && !error.contains('\n') && !error.ends_with('.'), "{pattern}: {error:?}");
        }
        assert!(Pattern::new(&"a".repeat(LONGEST_BYTES)).is_ok());
        assert!(Pattern::new(&"a".repeat(LONGEST_BYTES + 1)).is_err());
    }

    #[test]
    fn neither_compiling_nor_matching_takes_long() {
        let begun = Instant::now();
        for pattern in ["(((a{200}){200}){200})", r"(?:a(?=b)){9999}", r"(\w{1,50}){1,50}(?!x)", "(?<a>x\\g<a>?){50}"] {
            let _ = Pattern::new(pattern);
        }
        assert!(Pattern::new(&"(".repeat(4000)).is_err());
        let subject = "a".repeat(8000) + "!";
        for pattern in [r"^(a+)+$", r"^(a|aa)+(?!x)$", r"(a*)*\1b", r"(?=(a+))*b", r"^(?:a?){50}a{50}(?!b)$"] {
            if let Ok(pattern) = Pattern::new(pattern) {
                pattern.matches(subject.as_bytes());
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
