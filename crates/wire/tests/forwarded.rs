//! Lines of Forwarded in `tests/cases/forwarded`: what stands in them, and which are not read.

#![allow(clippy::expect_used)] // A case that can not be read is a failed test.

#[path = "common/cases.rs"]
mod cases;

use std::borrow::Cow;

use cases::root;
use wire::forwarded::{self, Element};

fn shown(elements: &[Element<'_>]) -> String {
    let text = |value: &Option<Cow<'_, [u8]>>| {
        value.as_ref().map_or_else(|| "-".to_owned(), |value| String::from_utf8_lossy(value).replace(' ', "\\x20"))
    };
    let one = |e: &Element<'_>| format!("{}|{}|{}", text(&e.client), text(&e.host), text(&e.scheme));
    elements.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn lines_of_forwarded() {
    let text = std::fs::read_to_string(root().join("forwarded/forwarded.tsv")).expect("the cases can be read");
    let mut count = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (value, expected) = line.rsplit_once('\t').expect("a value, a tab and its elements");
        let found = forwarded::parse(value.as_bytes()).map_or_else(|| "invalid".to_owned(), |found| shown(&found));
        assert_eq!(found, expected, "{value:?}");
        count += 1;
    }
    assert!(count > 40);
}

#[test]
fn control_characters_and_bytes_beyond_ascii() {
    for byte in (0..b' ').chain([0x7f]) {
        assert!(
            forwarded::parse(&[b"for=\"a".as_slice(), &[byte], b"\""].concat()).is_none() || byte == b'\t',
            "{byte}"
        );
        assert!(
            forwarded::parse(&[b"for=\"\\".as_slice(), &[byte], b"\""].concat()).is_none() || byte == b'\t',
            "{byte}"
        );
    }
    let found = forwarded::parse(b"for=\"\xff\"").expect("text may have any byte beyond ASCII");
    assert_eq!(found[0].client.as_deref(), Some(&b"\xff"[..]));
    assert_eq!(forwarded::parse(b"for=\xff"), None);
}

#[test]
fn a_long_line_is_read_in_linear_time() {
    assert_eq!(forwarded::parse(&b"for=1.2.3.4,".repeat(100_000)).map(|found| found.len()), Some(100_000));
    assert_eq!(forwarded::parse(&b";".repeat(1_000_000)), Some(vec![]));
    assert_eq!(forwarded::parse(&b"\"".repeat(1_000_000)), None);
    let escapes = [b"for=\"".as_slice(), &b"\\\"".repeat(500_000), b"\""].concat();
    assert_eq!(
        forwarded::parse(&escapes).expect("it is well-formed")[0].client.as_ref().map(|text| text.len()),
        Some(500_000)
    );
}
