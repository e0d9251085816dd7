//! Regular expressions of options: what a configuration may write, and how a request's bytes are compared with it.
//!
//! The syntax is that of Perl as far as users of uWSGI (PCRE) use it, with look-around and back references. Subjects are
//! bytes: `.` is one byte, classes know ASCII only, and a pattern that is written with other characters means their UTF-8.
//! A pattern without look-around and back references is matched in linear time; one with them gives up after a bounded
//! number of steps, so that no path of a client's choice can hold the loop.
//!
//! What Perl and the crate write alike and mean differently is translated: `$` and `\Z` also stand before one newline at
//! the end (a rule that forbids `^/admin$` must not miss `/admin%0A`, which an app whose own patterns end alike takes for
//! the same page), `\h` is a blank, and a class knows no operators.

use std::borrow::Cow;

use fancy_regex::{BytesMode, Regex, RegexBuilder};

/// Longer ones are refused: what they compile to is bounded, how long that takes should be too.
const LONGEST_BYTES: usize = 4096;
/// Steps back that one comparison may take.
const BACKTRACKS_MOST: usize = 20_000;
/// What a part without look-around may take in memory when compiled, and when it runs.
const COMPILED_BYTES: usize = 1 << 20;
/// Instructions of the rest.
const PROGRAM_MOST: usize = 20_000;

/// Each step back may look at the whole subject: a longer one is not compared with a pattern that needs them. As much as
/// uWSGI takes of a request where nobody raises its `buffer-size`. With the steps it comes to a tenth of a second for the
/// worst pattern.
const BACKTRACKED_BYTES: usize = 4096;

/// A compiled regular expression.
#[derive(Debug)]
pub struct Pattern {
    regex: Regex,
    may_backtrack: bool,
}

/// A comparison that was given up: whether the pattern is found is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenUp;

/// Where the groups of a pattern were found; the first is the whole.
pub type Groups = Vec<Option<(usize, usize)>>;

impl Pattern {
    /// The error says what is wrong with `text`, in a clause.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_BYTES {
            return Err(format!("it has {} bytes, and {LONGEST_BYTES} are allowed", text.len()));
        }
        let text = translated(text);
        let built = RegexBuilder::new(&text)
            .bytes_mode(BytesMode::Ascii)
            .backtrack_limit(BACKTRACKS_MOST)
            .delegate_size_limit(COMPILED_BYTES)
            .delegate_dfa_size_limit(COMPILED_BYTES)
            .max_prog_size(PROGRAM_MOST)
            .build();
        // An error of the inner parser has several lines, the last of which says what is wrong.
        let may_backtrack = may_backtrack(&text);
        built.map(|regex| Self { regex, may_backtrack }).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            line.trim().trim_start_matches("error: ").trim_end_matches('.').to_owned()
        })
    }

    /// Whether the pattern is found somewhere in `subject`. A comparison that is given up finds nothing.
    pub fn matches(&self, subject: &[u8]) -> bool {
        self.decide(subject).unwrap_or(false)
    }

    /// As `matches`, for a caller who must not take one that was given up for a no.
    pub fn decide(&self, subject: &[u8]) -> Result<bool, GivenUp> {
        self.bounded(subject)?;
        self.regex.is_match(subject).map_err(|_| GivenUp)
    }

    /// The groups of the first place where the pattern is found.
    pub fn groups(&self, subject: &[u8]) -> Result<Option<Groups>, GivenUp> {
        self.bounded(subject)?;
        let found = self.regex.captures(subject).map_err(|_| GivenUp)?;
        Ok(found.map(|captures| captures.iter().map(|group| group.map(|one| (one.start(), one.end()))).collect()))
    }

    fn bounded(&self, subject: &[u8]) -> Result<(), GivenUp> {
        if self.may_backtrack && subject.len() > BACKTRACKED_BYTES { Err(GivenUp) } else { Ok(()) }
    }
}

/// Whether a pattern has anything that can not be matched in linear time; in doubt it has.
fn may_backtrack(text: &str) -> bool {
    const SIGNS: [&str; 21] = [
        "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?(", "(?P=", "(?P>", "(?~", "(?&", "(*", "++", "*+", "?+", "}+", "\\k",
        "\\g", "\\K", "\\G", "\\R", "\\X",
    ];
    let refers_back = text.as_bytes().windows(2).any(|pair| pair[0] == b'\\' && pair[1].is_ascii_digit());
    refers_back || SIGNS.iter().any(|sign| text.contains(sign))
}

/// Perl's meaning in the crate's words. What is wrong stays as it is, for the crate to say so.
fn translated(text: &str) -> Cow<'_, str> {
    const END: &str = r"(?:\n?\z)";
    if !text.contains(['$', '[', '\\']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text.char_indices();
    let mut is_class = false;
    // For each open parenthesis, whether it looks behind, where `$` has to stay what it is: it must have no width.
    let mut open: Vec<bool> = Vec::new();
    let has_lines = has_line_flag(text);
    while let Some((at, one)) = rest.next() {
        let after = &text[at + one.len_utf8()..];
        match one {
            '\\' => {
                let Some((_, escaped)) = rest.next() else {
                    out.push('\\');
                    break;
                };
                match escaped {
                    'h' if is_class => out.push_str(r" \t"),
                    'h' => out.push_str(r"[ \t]"),
                    'H' if !is_class => out.push_str(r"[^ \t]"),
                    'Z' if !is_class => out.push_str(END),
                    _ => out.extend(['\\', escaped]),
                }
            }
            '[' if is_class && !after.starts_with(':') => out.push_str(r"\["),
            '[' if is_class => {
                // The name of a class ends at its own bracket.
                let name = &after[..after.find(":]").map_or(0, |end| end + 2)];
                out.push('[');
                out.push_str(name);
                for _ in name.chars() {
                    rest.next();
                }
            }
            '&' | '~' if is_class => out.extend(['\\', one]),
            ']' if is_class => {
                is_class = false;
                out.push(']');
            }
            '[' => {
                is_class = true;
                out.push('[');
                if after.starts_with('^') {
                    out.push('^');
                    rest.next();
                }
                if after.trim_start_matches('^').starts_with(']') && !after.starts_with("^^") {
                    out.push_str(r"\]");
                    rest.next();
                }
            }
            '(' if !is_class => {
                open.push(after.starts_with("?<=") || after.starts_with("?<!"));
                out.push('(');
            }
            ')' if !is_class => {
                open.pop();
                out.push(')');
            }
            '$' if !is_class && !has_lines && !open.contains(&true) => out.push_str(END),
            _ => out.push(one),
        }
    }
    Cow::Owned(out)
}

/// Whether `(?m)` is switched on anywhere: there `$` is the end of a line.
fn has_line_flag(text: &str) -> bool {
    text.split("(?").skip(1).any(|flags| {
        let length = flags.find(|one: char| !one.is_ascii_alphabetic()).unwrap_or(flags.len());
        flags[..length].contains('m')
    })
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
    fn what_perl_means_by_it() {
        for (pattern, subject, expected) in [
            (r"^/admin$", &b"/admin\n"[..], true),
            (r"^/admin$", b"/admin\n\n", false),
            (r"^/admin$", b"/admin\nx", false),
            (r"^/admin\Z", b"/admin\n", true),
            (r"^/admin\z", b"/admin\n", false),
            (r"(?m)a$", b"a\nb", true),
            (r"a$|b", b"cb", true),
            (r"^a\$b[$]$", b"a$b$", true),
            (r"(?<!x)$", b"y", true),
            (r"^a\hb$", b"a b", true),
            (r"^a\hb$", b"aab", false),
            (r"^a[\h-]b$", b"a-b", true),
            (r"^\H$", b" ", false),
            (r"^[a&&b]$", b"&", true),
            (r"^[[]$", b"[", true),
            (r"^[]a]$", b"]", true),
            (r"^[^]a]$", b"]", false),
            (r"^[^^]$", b"^", false),
            (r"^[[:digit:]x]+$", b"1x", true),
            (r"^[a~~b]$", b"~", true),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern}");
        }
    }

    #[test]
    fn groups_are_places_in_the_subject() {
        let groups = |pattern: &str, subject: &[u8]| Pattern::new(pattern).expect(pattern).groups(subject);
        assert_eq!(groups(r"^/(a)|(b)", b"xb"), Ok(Some(vec![Some((1, 2)), None, Some((1, 2))])));
        assert_eq!(groups(r"/(\xff.)", b"a/\xff\xfe"), Ok(Some(vec![Some((1, 4)), Some((2, 4))])));
        assert_eq!(groups("a", b"b"), Ok(None));
    }

    #[test]
    fn what_was_given_up_is_no_answer() {
        let pattern = Pattern::new(r"^(?:a|aa)+(?<=a)b").expect("a pattern");
        assert_eq!(pattern.decide(&[&[b'a'; 300][..], b"b"].concat()), Ok(true));
        assert_eq!(pattern.decide(&[b'a'; 300]), Err(GivenUp));
        assert_eq!(pattern.groups(&[b'a'; 300]), Err(GivenUp));
        assert_eq!(Pattern::new("(?=.*x)y").expect("a pattern").decide(&[b'a'; BACKTRACKED_BYTES + 1]), Err(GivenUp));
        assert_eq!(Pattern::new("^(a+)+$").expect("a pattern").decide(&[b'a'; 60_000]), Ok(true));
    }

    #[test]
    fn the_longest_subject_takes_no_second() {
        for text in [
            "(?=.*x)y",
            "(?!.*a$)b",
            r"(.*)x\1y",
            "(?:.*,){8}(?!x)z",
            "(?:(?=[a-z]*X|).)*Y",
            "(?>(?:(?![a-z]*X).)*)Y",
            "(?=(.*))(?=(.*))(?=(.*))(?=(.*))Y",
        ] {
            let pattern = Pattern::new(text).expect("a pattern");
            let begun = Instant::now();
            let _ = pattern.decide(&[b'a'; BACKTRACKED_BYTES]);
            assert!(begun.elapsed() < Duration::from_secs(5), "{text}: {:?}", begun.elapsed());
        }
    }

    /// Whether the crate matches a pattern with steps back, as it shows itself for debugging.
    struct Shown<'a>(&'a Pattern);

    impl std::fmt::Display for Shown<'_> {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.regex.debug_print(formatter)
        }
    }

    #[test]
    fn every_pattern_that_may_step_back_is_known_for_it() {
        let mut count = 0;
        for text in [
            "(?=a)b",
            "(?!a)b",
            "(?<=a)b",
            "(?<!a)b",
            "(?>a*)b",
            r"(a)\1",
            r"(?P<n>a)(?P=n)",
            r"(?<n>a)\k<n>",
            r"(?'n'a)\k'n'",
            r"(?<n>a)\g<n>",
            r"(a)\g{1}",
            r"(a)\g1",
            r"(?P<n>a|b(?P>n))",
            "(?R)?a",
            "(?0)?a",
            "(a)(?1)",
            "(?<n>a)(?&n)",
            "(a)(?(1)b|c)",
            "a++b",
            "a*+b",
            "a?+b",
            "a{1,2}+b",
            r"a\Kb",
            r"\Ga",
            "(?~abc)d",
            "(*FAIL)a",
            "(*F)",
            "a(*ACCEPT)b",
            "(?|(a)|(b))c",
            r"\Ra",
            r"\Xa",
            r"a\Rb",
            "(?i)a(?-i:b)",
            r"\b{start}a",
            r"\<a",
            r"a\>",
            "(?x) ( ?= a)",
            "(?#(?=a)b",
            "^a$",
            r"\Aa\z",
            r"\ba\B",
            "(?m)^a$",
            "(?s).a",
            "(?U)a*b",
            "a{2,3}?b",
        ] {
            let Ok(pattern) = Pattern::new(text) else { continue };
            let is_wrapped = Shown(&pattern).to_string().starts_with("wrapped Regex");
            assert!(is_wrapped || pattern.may_backtrack, "{text}");
            count += usize::from(!is_wrapped);
        }
        assert!(count > 15, "the crate shows itself in another way: {count}");
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
