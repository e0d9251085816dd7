//! Where a head ends, over many arrivals, without looking at a byte twice.

use super::head::{method_len, parse_head, request_line, skip_empty_lines, too_large};
use crate::{Error, Limits, Step};
use memchr::memchr3;

/// Finds the end of a head that arrives in pieces.
///
/// Invariant: `line <= at <= buf.len()`; every byte before `at` is known to be neither bare CR, bare LF nor NUL, and
/// no empty line ends before `at`.
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// Where the next call goes on.
    at: usize,
    /// Where the line that contains `at` begins.
    line: usize,
    /// Complete lines so far: the request line and headers.
    lines: usize,
    /// The empty lines before the request line are passed.
    begun: bool,
    /// The method is complete and a token.
    method_seen: bool,
}

impl HeadScan {
    /// Look at what has arrived since the last call. `buf` is the whole buffer from the request's first byte on, each
    /// time with more at its end.
    ///
    /// `Done` means that [`super::parse_head`] will have its last word now, with the length of the head; it is not a
    /// verdict that the head is valid.
    ///
    /// # Errors
    /// What can be known before the end: a bare CR, bare LF or NUL, too many empty lines, something that can not be a
    /// method, a bad request line as soon as it is complete, too many lines, a head or request line beyond its limit.
    /// It is the error that [`parse_head`] finds: a line may be wrong before the byte that was noticed here.
    pub fn scan(&mut self, buf: &[u8], limits: &Limits) -> Result<Step<()>, Error> {
        let view = limits.view(buf);
        let step = match self.advance(view, limits) {
            Ok(Step::NeedMore) if view.len() >= limits.head_bytes => Err(too_large(view)),
            step => step,
        };
        step.map_err(|noticed| parse_head(buf, limits).err().unwrap_or(noticed))
    }

    /// Forget everything: the next request begins.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    fn advance(&mut self, view: &[u8], limits: &Limits) -> Result<Step<()>, Error> {
        if !self.begun {
            // A few bytes at most, so looking at them again does no harm.
            let Some(begin) = skip_empty_lines(view)? else {
                return Ok(Step::NeedMore);
            };
            (self.at, self.line, self.begun) = (begin, begin, true);
        }
        if !self.method_seen {
            self.method_seen = method_len(&view[self.line..])?.is_some();
        }
        while let Some(distance) = memchr3(b'\r', b'\n', 0, &view[self.at..]) {
            let found = self.at + distance;
            match (view[found], view.get(found + 1)) {
                (b'\r', Some(b'\n')) => {
                    if found == self.line {
                        return Ok(Step::Done((), found + 2));
                    }
                    if self.lines == 0 {
                        // An HTTP/0.9 or HTTP/2 client sends nothing more, and would wait for an answer.
                        request_line(view, self.line)?;
                    }
                    self.lines += 1;
                    if self.lines > limits.header_count.saturating_add(1) {
                        return Err(Error::TooManyHeaders);
                    }
                    (self.at, self.line) = (found + 2, found + 2);
                }
                (b'\r', Some(_)) => return Err(Error::BareCr),
                (b'\r', None) => {
                    self.at = found;
                    return Ok(Step::NeedMore);
                }
                (b'\n', _) => return Err(Error::BareLf),
                _ => return Err(Error::Nul),
            }
        }
        self.at = view.len();
        Ok(Step::NeedMore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_looked_at_twice() {
        let fields: String = (0..100).map(|i| format!("X-{i}: value\r\n")).collect();
        let text = format!("\r\nGET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let bytes = text.as_bytes();
        let mut scan = HeadScan::default();
        for len in 1..bytes.len() {
            assert_eq!(scan.scan(&bytes[..len], &Limits::default()), Ok(Step::NeedMore));
            if scan.begun {
                // All is passed but a CR whose LF is still to come.
                assert_eq!(scan.at, len - usize::from(bytes[len - 1] == b'\r'));
            }
        }
        assert_eq!(scan.scan(bytes, &Limits::default()), Ok(Step::Done((), bytes.len())));
    }

    #[test]
    fn what_can_be_known_early_is() {
        for (beginning, expected) in [
            ("\x16\x03\x01", Error::BadMethod),
            ("\0", Error::BadMethod),
            ("\n", Error::BareLf),
            ("\rG", Error::BareCr),
            ("GET /\n", Error::BareLf),
            ("GET /\r\n", Error::MissingVersion),
            ("PRI * HTTP/2.0\r\n", Error::UnsupportedVersion),
            ("GET / HTTP/1.1\r\nA: b\rc", Error::BareCr),
            ("GET / HTTP/1.1\r\nA: b\n", Error::BareLf),
            ("GET / HTTP/1.1\r\nA: b\0", Error::Nul),
        ] {
            assert_eq!(
                HeadScan::default().scan(beginning.as_bytes(), &Limits::default()),
                Err(expected),
                "{beginning:?}"
            );
        }
    }

    #[test]
    fn reset_begins_anew() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut scan = HeadScan::default();
        for _ in 0..2 {
            assert_eq!(scan.scan(&request[..20], &Limits::default()), Ok(Step::NeedMore));
            assert_eq!(scan.scan(request, &Limits::default()), Ok(Step::Done((), request.len())));
            scan.reset();
        }
    }
}
