//! Sans-IO protocols: bytes in, values out.
//!
//! What lives here: everything that decides what a peer's bytes mean (HTTP/1, uwsgi, the PROXY protocol,
//! names of requests, who a request was forwarded for) and whether an app's answer may go out. What must not: a clock, a socket, a log, Python, or any state that outlives one message. The event loop, the
//! fuzzers, the corpora under `tests/cases` and `inspect()` all call the same functions.
//!
//! Strategy: a parser looks at borrowed bytes and gives back [`Span`]s into them, so that nothing is copied or
//! allocated for a usual request. "Not there yet" is an answer ([`Step::NeedMore`]), not an error. Every refusal is one
//! [`Error`] variant: the rule that was violated. After any error the answer is `error.status()` and a closed
//! connection: what follows a message that was not understood is never read as another one.

#![forbid(unsafe_code)]

mod bytes;
pub mod detect;
mod error;
pub mod forwarded;
pub mod http1;
pub mod proxy;
pub mod response;
pub mod trace;
pub mod uwsgi;

pub use error::{Error, Fault};

/// What a parser makes of the bytes it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// A complete value, and how many of the bytes it used.
    Done(T, usize),
    /// Nothing is wrong so far; come back with more bytes.
    NeedMore,
}

/// A piece of the buffer that was parsed, as offsets: it stays true when the buffer moves in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The offsets must fit; parsers see at most `u32::MAX` bytes (see [`Limits::view`]).
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok());
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes of this span. `buf` is the buffer that was parsed, from the same beginning.
    ///
    /// # Panics
    /// If `buf` is shorter than the buffer that was parsed.
    #[inline]
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.start as usize..self.end as usize]
    }

    #[inline]
    #[must_use]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// How much a peer may send. Everything that a peer can make longer has a limit here.
///
/// The defaults' rivals: head nginx 32 KiB (4 x 8), uWSGI 4 KiB, gunicorn 8 KiB a line, Node 16 KiB; headers Apache
/// 100, uWSGI 128 variables. Too low a limit is the complaint that users of all of them share, and a head of 64 KiB
/// costs nothing that a body would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and headers with all line ends, in bytes. (A uwsgi block is always taken up to its 65,535.)
    pub head_bytes: usize,
    /// Header lines of a request, and those of a trailer.
    pub header_count: usize,
    /// Body of a request after transfer decoding, in bytes; 0 means no limit.
    pub body_bytes: u64,
    /// The extensions of all chunks of a body together (RFC 9112 7.1.1), in bytes. hyper and Node take 16 KiB, too.
    pub chunk_extension_bytes: usize,
    /// Framing bytes of a chunked body (sizes, extensions, line ends) by which the last chunks may outweigh eight for
    /// each byte of their data. One-byte chunks cost five, and some clients stream like that, so however many there are
    /// they pass (as in Go, whose limit is 16 KiB); padded sizes do not, and large chunks before them earn no credit.
    pub chunk_overhead_bytes: u64,
    /// The trailer section of a chunked body, in bytes.
    pub trailer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            header_count: 128,
            body_bytes: 0,
            chunk_extension_bytes: 16 * 1024,
            chunk_overhead_bytes: 64 * 1024,
            trailer_bytes: 8 * 1024,
        }
    }
}

impl Limits {
    /// The part of `buf` in which a head must end. What lies beyond belongs to something else or is too much, so that
    /// the verdict does not depend on how the bytes were cut into packets.
    #[inline]
    pub(crate) fn view<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        let most = self.head_bytes.min(u32::MAX as usize);
        &buf[..buf.len().min(most)]
    }

    /// Is a body of `len` bytes too much?
    #[inline]
    pub(crate) fn body_exceeded(&self, len: u64) -> bool {
        self.body_bytes != 0 && len > self.body_bytes
    }
}

// The shared test helper names this crate as its users do.
#[cfg(test)]
extern crate self as wire;
#[cfg(test)]
#[path = "../tests/common/deliveries.rs"]
mod deliveries;
