//! Content types by the extension of a file's name.

use std::cmp::Ordering;

/// Content types by extension: lines of `extension type`, sorted by extension, in lower case. It is searched where it
/// lies: as a hash map it would cost every worker ten times the memory, and a search has a dozen steps.
#[derive(Debug, Default)]
pub struct Types(pub Box<str>);

impl Types {
    /// The content type of a file by its name's extension. One that could not stand in a header is none.
    pub fn of(&self, name: &[u8]) -> Option<&str> {
        let name = name.rsplit(|&byte| byte == b'/').next()?;
        let dot = name.iter().rposition(|&byte| byte == b'.')?;
        let given = &name[dot + 1..];
        let mut lowered = [0; EXTENSION_LIMIT_BYTES];
        let extension = lowered.get_mut(..given.len())?;
        extension.copy_from_slice(given);
        extension.make_ascii_lowercase();
        self.find(extension)
    }

    fn find(&self, extension: &[u8]) -> Option<&str> {
        let text = self.0.as_bytes();
        let (mut low, mut high) = (0, text.len());
        // Invariant: the line, if there is one, begins at or after `low` and before `high`; both are beginnings of lines.
        while low < high {
            let middle = low + (high - low) / 2;
            let start = memchr::memrchr(b'\n', &text[low..middle]).map_or(low, |end| low + end + 1);
            let end = memchr::memchr(b'\n', &text[middle..high]).map_or(high, |end| middle + end);
            let line = &text[start..end];
            let space = memchr::memchr(b' ', line)?;
            match line[..space].cmp(extension) {
                Ordering::Less => low = (end + 1).min(high),
                Ordering::Greater => high = start,
                Ordering::Equal => {
                    let kind = self.0.get(start + space + 1..end)?;
                    return (!kind.is_empty() && kind.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
                        .then_some(kind);
                }
            }
        }
        None
    }
}

/// Longer ones have no type.
const EXTENSION_LIMIT_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_found_and_nothing_between() {
        let text: String = (0..500).map(|number| format!("e{number:03} type/{number}\n")).collect();
        let types = Types(text.into());
        for number in 0..500 {
            assert_eq!(types.find(format!("e{number:03}").as_bytes()), Some(format!("type/{number}").as_str()));
            assert_eq!(types.find(format!("e{number:03}x").as_bytes()), None);
        }
        for extension in [&b""[..], b"a", b"e", b"e0", b"f", b"type/7", b"e001 type/1", b"\n"] {
            assert_eq!(types.find(extension), None, "{}", extension.escape_ascii());
        }
        assert_eq!(types.of(&[b"x.e", &b"0".repeat(100)[..]].concat()), None);
        for damaged in ["", "\n", "nospace", "css \n", "css text\u{7f}\n", " text/css\n"] {
            assert_eq!(Types(damaged.into()).find(b"css"), None, "{damaged:?}");
        }
        assert_eq!(Types("css text/css".into()).find(b"css"), Some("text/css"));
    }
}
