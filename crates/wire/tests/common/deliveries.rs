//! One message, many deliveries: a parser's answer must not depend on how the network cuts the bytes.
//!
//! Used by the unit tests, the corpus, the mutation test and the fuzzers. The functions here read a message as the
//! engine does, so they are also the shortest example of how to call the crate.

#![allow(dead_code)] // Each test that includes this file uses its own part of it.

use wire::http1::{Chunked, Head, HeadScan, parse_head};
use wire::{Error, Limits, Step};

/// Every delivery of `bytes` worth trying, each as the buffer's length after every arrival: whole, in two pieces cut at
/// every byte, and byte by byte.
pub fn deliveries(bytes: &[u8]) -> impl Iterator<Item = Vec<usize>> {
    let len = bytes.len();
    let whole = std::iter::once(vec![len]);
    let in_two = (1..len).map(move |cut| vec![cut, len]);
    whole.chain(in_two).chain(std::iter::once((1..=len).collect()))
}

/// Read a head that arrives like this: once directly, then by the scan until it is complete.
pub fn read_head(bytes: &[u8], arrivals: &[usize], limits: &Limits) -> Result<Step<Head>, Error> {
    let mut scan = HeadScan::default();
    for (nth, &len) in arrivals.iter().enumerate() {
        let buf = &bytes[..len];
        if nth == 0 {
            match parse_head(buf, limits)? {
                Step::NeedMore => {}
                done @ Step::Done(..) => return Ok(done),
            }
        }
        match scan.scan(buf, limits)? {
            Step::NeedMore => {}
            Step::Done((), end) => {
                let head = parse_head(buf, limits)?;
                match head {
                    Step::Done(_, used) => assert_eq!(used, end, "scan and parser disagree about the end"),
                    Step::NeedMore => panic!("the scan found an end that the parser does not see"),
                }
                return Ok(head);
            }
        }
    }
    Ok(Step::NeedMore)
}

/// What a chunked body came to: the data, and how many bytes it used if it ended.
pub type Decoded = Result<(Vec<u8>, Option<usize>), Error>;

/// Decode a chunked body that arrives like this.
pub fn read_chunked(bytes: &[u8], arrivals: &[usize], limits: &Limits) -> Decoded {
    let mut decoder = Chunked::default();
    let mut out = Vec::new();
    let mut start = 0;
    for &end in arrivals {
        if let Step::Done((), used) = decoder.decode(&bytes[start..end], &mut out, limits)? {
            assert!(decoder.is_done());
            return Ok((out, Some(start + used)));
        }
        start = end;
    }
    Ok((out, None))
}
