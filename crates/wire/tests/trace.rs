//! The names of requests in `tests/cases/trace`: what is taken, and what is not.

#![allow(clippy::expect_used)] // A case that can not be read is a failed test.

#[path = "common/cases.rs"]
mod cases;

use cases::root;
use wire::trace;

/// (verdict, value) of each line.
fn lines(name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("trace").join(name)).expect("the cases can be read");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let found: Vec<_> = lines
        .map(|line| line.split_once('\t').expect("a verdict, a tab and a value"))
        .map(|(verdict, value)| (verdict.to_owned(), value.to_owned()))
        .collect();
    assert!(found.len() > 10);
    found
}

#[test]
fn traceparents() {
    for (verdict, value) in lines("traceparent.tsv") {
        let found = trace::trace_id(value.as_bytes());
        let expected = (verdict != "invalid").then_some(verdict.as_bytes());
        assert_eq!(found, expected, "{value:?}");
        // Nothing that is cut off is taken, but for what a later version may have behind it.
        for end in 0..value.len().min(55) {
            assert_eq!(trace::trace_id(&value.as_bytes()[..end]), None, "{value:?}, {end} bytes");
        }
    }
}

#[test]
fn request_ids() {
    for (verdict, value) in lines("request-id.tsv") {
        assert_eq!(trace::is_request_id(value.as_bytes()), verdict == "valid", "{value:?}");
    }
    assert!(trace::is_request_id(&[b'a'; trace::REQUEST_ID_BYTES]));
    assert!(!trace::is_request_id(&[b'a'; trace::REQUEST_ID_BYTES + 1]));
    for byte in 0..=u8::MAX {
        let taken = trace::is_request_id(&[byte]);
        assert!(!taken || byte.is_ascii_graphic() && !b"\"\\%{}<>'`$&|,".contains(&byte), "{byte}");
    }
}
