//! HTTP/1.1 and 1.0 requests by RFC 9112, strictly: what two recipients could read differently is refused.
//!
//! How to call it: [`parse_head`] on the first bytes of a request, which is nearly always enough. If it needs more,
//! [`HeadScan::scan`] after each arrival until it is done (it never looks at a byte twice), then [`parse_head`] again.
//! [`parse_target`] splits and decodes the target; [`Chunked`] decodes a body whose framing is [`Framing::Chunked`].

mod cgi;
mod chunked;
mod field;
mod head;
mod host;
mod scan;
mod target;

pub use cgi::{Underscores, cgi_name};
pub use chunked::Chunked;
pub use head::{parse_head, parse_head_into};
pub use scan::HeadScan;
pub use target::{Target, parse_target};

/// Whether a value can be that of a Host header: a host, and perhaps a port (RFC 9110 7.2).
#[must_use]
pub fn is_host(value: &[u8]) -> bool {
    host::is_authority(value, 0..value.len())
}

use crate::Span;

/// Empty lines that are skipped before a request line (RFC 9112 2.2: clients that add CRLF after a body).
const MAX_EMPTY_LINES: usize = 4;

/// The longest method that IANA has registered is UPDATEREDIRECTREF with 17 characters.
const MAX_METHOD_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    Http10,
    /// 1.1 and, by RFC 9110 2.5, any higher minor version.
    Http11,
}

impl Version {
    /// As in a status line and in `SERVER_PROTOCOL`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// How the body is delimited (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body: neither Content-Length nor Transfer-Encoding was given.
    #[default]
    None,
    Length(u64),
    Chunked,
}

/// One header line: a token, and a value without the whitespace around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub name: Span,
    pub value: Span,
}

/// A request's head. All spans point into the buffer that was parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub method: Span,
    /// As it was sent: see [`parse_target`].
    pub target: Span,
    pub version: Version,
    /// Every header line in its order, the ones that are interpreted below among them.
    pub headers: Vec<Header>,
    pub framing: Framing,
    /// May the connection serve another request after this one? (version, and all Connection headers' tokens)
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body that `framing` announces.
    pub expect_continue: bool,
    /// Whom the request is for: the authority of an absolute target if there is one (RFC 9112 3.2.2: it replaces
    /// Host), else the Host header, which may be empty. Always present in HTTP/1.1. Use this for `HTTP_HOST`.
    pub host: Option<Span>,
    /// `Connection: upgrade` and an Upgrade header are there. An origin server is free to ignore it.
    pub upgrade: bool,
}
