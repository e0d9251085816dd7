//! The chunked transfer coding (RFC 9112 7.1), decoded as it arrives.
//!
//! ```text
//! chunked-body   = *chunk last-chunk trailer-section CRLF
//! chunk          = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
//! chunk-size     = 1*HEXDIG
//! last-chunk     = 1*"0" [ chunk-ext ] CRLF
//! trailer-section = *( field-line CRLF )
//! ```
//!
//! Stricter than the grammar in one thing: no whitespace between size and `;` (BWS, which only attacks send).
//! Extensions and trailers are checked and dropped: nobody asks for them, and a trailer that became a header would be
//! spoofing.

use super::field;
use crate::bytes::{hex_digit, is_tchar, is_text};
use crate::{Error, Limits, Step};

/// The framing that is not held against a body, for each byte of its data: more than the five of a one-byte chunk.
const FRAMING_FOR_A_BYTE: u64 = 8;

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    /// After the CR of a size line.
    SizeLf,
    Data,
    /// After the data of a chunk.
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    /// After a CR in the name of a trailer.
    TrailerNameLf,
    TrailerValue,
    TrailerValueLf,
    /// After the CR of the last, empty line.
    EndLf,
    Done,
}

/// Decodes one chunked body.
///
/// Invariants: `remaining` is the rest of the current chunk in `Data` and its size so far in `Size`; `overhead` is what
/// `Limits::chunk_overhead_bytes` limits, so never more than that, and never below 0 by much data.
#[derive(Clone, Debug, Default)]
pub struct Chunked {
    state: State,
    remaining: u64,
    /// Digits of the current size.
    digits: u8,
    /// Bytes of all extensions.
    extension_bytes: usize,
    data: u64,
    overhead: u64,
    trailer_bytes: usize,
    trailer_lines: usize,
}

impl Chunked {
    /// Take `input`, append what it decodes to onto `out`.
    ///
    /// `Done` when the body is complete, with the number of bytes of `input` that belonged to it; the next request
    /// begins there. `NeedMore` when all of `input` was taken. Only `Done` means that the body is whole.
    ///
    /// # Errors
    /// The rule that was violated; [`Error::BodyTooLarge`] as soon as a chunk's size announces it. `out` may have
    /// grown.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, limits: &Limits) -> Result<Step<()>, Error> {
        let mut at = 0;
        while self.state != State::Done {
            if self.state == State::Data {
                let rest = &input[at..];
                let take = usize::try_from(self.remaining).map_or(rest.len(), |remaining| remaining.min(rest.len()));
                out.extend_from_slice(&rest[..take]);
                at += take;
                self.remaining -= take as u64;
                self.data = self.data.saturating_add(take as u64);
                self.overhead = self.overhead.saturating_sub((take as u64).saturating_mul(FRAMING_FOR_A_BYTE));
                if self.remaining > 0 {
                    return Ok(Step::NeedMore);
                }
                self.state = State::DataCr;
            }
            let Some(&b) = input.get(at) else {
                return Ok(Step::NeedMore);
            };
            self.state = self.framing_byte(b, limits)?;
            at += 1;
        }
        Ok(Step::Done((), at))
    }

    /// Has the whole body been decoded?
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Count a byte and decide what it means; the state that follows.
    fn framing_byte(&mut self, b: u8, limits: &Limits) -> Result<State, Error> {
        match self.state {
            State::Size | State::Extension | State::SizeLf | State::DataCr | State::DataLf => {
                if self.overhead >= limits.chunk_overhead_bytes {
                    return Err(Error::ChunkOverhead);
                }
                self.overhead += 1;
            }
            _ => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > limits.trailer_bytes {
                    return Err(Error::TrailerTooLarge);
                }
            }
        }
        match self.state {
            State::Size => self.size_byte(b),
            State::Extension => match b {
                b'\r' => Ok(State::SizeLf),
                b'\n' => Err(Error::BareLf),
                _ if !is_text(b) => Err(Error::BadChunkExtension),
                _ if self.extension_bytes >= limits.chunk_extension_bytes => Err(Error::ChunkExtensionTooLong),
                _ => {
                    self.extension_bytes += 1;
                    Ok(State::Extension)
                }
            },
            State::SizeLf if b == b'\n' => {
                if self.remaining == 0 {
                    Ok(State::TrailerStart)
                } else if limits.body_exceeded(self.data.saturating_add(self.remaining)) {
                    Err(Error::BodyTooLarge)
                } else {
                    Ok(State::Data)
                }
            }
            State::DataCr if b == b'\r' => Ok(State::DataLf),
            State::DataLf if b == b'\n' => Ok(State::Size),
            State::DataCr | State::DataLf => Err(Error::BadChunkEnd),
            State::TrailerStart => match b {
                b'\r' => Ok(State::EndLf),
                _ if !is_tchar(b) => Err(field::bad_name_byte(b, true)),
                _ if self.trailer_lines >= limits.header_count => Err(Error::TooManyHeaders),
                _ => {
                    self.trailer_lines += 1;
                    Ok(State::TrailerName)
                }
            },
            State::TrailerName => match b {
                b':' => Ok(State::TrailerValue),
                b'\r' => Ok(State::TrailerNameLf),
                _ if !is_tchar(b) => Err(field::bad_name_byte(b, false)),
                _ => Ok(State::TrailerName),
            },
            State::TrailerNameLf if b == b'\n' => Err(Error::HeaderWithoutColon),
            State::TrailerValue => match b {
                b'\r' => Ok(State::TrailerValueLf),
                _ if !is_text(b) => Err(field::bad_value_byte(b)),
                _ => Ok(State::TrailerValue),
            },
            State::TrailerValueLf if b == b'\n' => Ok(State::TrailerStart),
            State::EndLf if b == b'\n' => Ok(State::Done),
            State::SizeLf | State::TrailerNameLf | State::TrailerValueLf | State::EndLf => Err(Error::BareCr),
            State::Data | State::Done => unreachable!("decode() takes no framing byte in these states"),
        }
    }

    fn size_byte(&mut self, b: u8) -> Result<State, Error> {
        if let Some(digit) = hex_digit(b) {
            // 16 digits are 64 bits, and no more than 16 are taken, leading zeros among them.
            if self.digits == 16 {
                return Err(Error::ChunkSizeOverflow);
            }
            self.digits += 1;
            self.remaining = self.remaining << 4 | u64::from(digit);
            return Ok(State::Size);
        }
        let digits = std::mem::take(&mut self.digits);
        match b {
            b'\n' => Err(Error::BareLf),
            _ if digits == 0 => Err(Error::BadChunkSize),
            b'\r' => Ok(State::SizeLf),
            b';' => Ok(State::Extension),
            _ => Err(Error::BadChunkSize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliveries::{Decoded, deliveries, read_chunked};

    fn decode_with(text: &str, limits: &Limits) -> Decoded {
        let whole = read_chunked(text.as_bytes(), &[text.len()], limits);
        for arrivals in deliveries(text.as_bytes()) {
            assert_eq!(read_chunked(text.as_bytes(), &arrivals, limits), whole, "{text:?} in {arrivals:?}");
        }
        whole
    }

    fn decode(text: &str) -> Decoded {
        decode_with(text, &Limits::default())
    }

    #[test]
    fn chunks_extensions_and_trailers() {
        let body = "5\r\nhello\r\n6;a=\"b\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n";
        assert_eq!(decode(body), Ok((b"hello world".to_vec(), Some(body.len()))));
        assert_eq!(decode(&format!("{body}GET / HTTP/1.1\r\n")), Ok((b"hello world".to_vec(), Some(body.len()))));
    }

    #[test]
    fn a_body_that_was_cut_never_looks_complete() {
        let body = "5\r\nhello\r\n0\r\nX: y\r\n\r\n";
        for len in 0..body.len() {
            assert!(matches!(decode(&body[..len]), Ok((_, None))), "{len}");
        }
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let mut decoder = Chunked::default();
        let mut out = Vec::new();
        assert_eq!(decoder.decode(b"0\r\n\r\nmore", &mut out, &Limits::default()), Ok(Step::Done((), 5)));
        assert_eq!(decoder.decode(b"more", &mut out, &Limits::default()), Ok(Step::Done((), 0)));
        assert!(out.is_empty() && decoder.is_done());
    }

    #[test]
    fn sizes_of_64_bits_and_no_more() {
        assert_eq!(decode("ffffffffffffffff\r\nabc"), Ok((b"abc".to_vec(), None)));
        assert_eq!(decode("ffffffffffffffff0\r\n"), Err(Error::ChunkSizeOverflow));
        assert_eq!(decode("00000000000000001\r\n"), Err(Error::ChunkSizeOverflow));
    }

    #[test]
    fn the_body_limit_holds_over_all_chunks() {
        let limits = Limits { body_bytes: 4, ..Limits::default() };
        assert!(decode_with("3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", &limits).is_ok());
        assert_eq!(decode_with("3\r\nabc\r\n2\r\n", &limits), Err(Error::BodyTooLarge));
    }

    #[test]
    fn one_byte_chunks_pass_and_padding_does_not() {
        let limits = Limits { chunk_overhead_bytes: 32, ..Limits::default() };
        let honest = format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(200));
        assert!(decode_with(&honest, &limits).is_ok());
        let padded = format!("{}0\r\n\r\n", "0000000001\r\na\r\n".repeat(200));
        assert_eq!(decode_with(&padded, &limits), Err(Error::ChunkOverhead));
        let after_much_data = format!("1000\r\n{}\r\n{padded}", "x".repeat(0x1000));
        assert_eq!(
            read_chunked(after_much_data.as_bytes(), &[after_much_data.len()], &limits),
            Err(Error::ChunkOverhead)
        );
    }

    #[test]
    fn the_extensions_of_all_chunks_are_limited_together() {
        let limits = Limits { chunk_extension_bytes: 16, ..Limits::default() };
        let body = |chunks: usize| format!("{}0\r\n\r\n", "5;abcd\r\nhello\r\n".repeat(chunks));
        assert!(decode_with(&body(4), &limits).is_ok());
        assert_eq!(decode_with(&body(5), &limits), Err(Error::ChunkExtensionTooLong));
    }
}
