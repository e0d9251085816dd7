//! `Forwarded` (RFC 7239): what each proxy on the way says about the request as it came to it.
//!
//! ```text
//! Forwarded         = 1#forwarded-element
//! forwarded-element = [ forwarded-pair ] *( ";" [ forwarded-pair ] )
//! forwarded-pair    = token "=" ( token / quoted-string )
//! ```
//! One field line is read as a whole or not at all: a quote that a client left open would otherwise swallow what the
//! proxies behind it have said. Space around the semicolon is taken, because many send it. Whether a peer is believed,
//! and what an address is, is not decided here.

use std::borrow::Cow;

/// Pairs that an element may have: RFC 7239 knows four, and each is compared with those before it.
const LONGEST_ELEMENT_PAIRS: usize = 16;

/// What one proxy says. The values are without their quotes; nothing else was looked at in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'a> {
    /// `for`: who made the request to the proxy.
    pub client: Option<Cow<'a, [u8]>>,
    /// `host`: the Host header of that request.
    pub host: Option<Cow<'a, [u8]>>,
    /// `proto`: its scheme.
    pub scheme: Option<Cow<'a, [u8]>>,
}

/// The elements of one field line, in their order; None if it is malformed.
///
/// An element without any pair is no element (RFC 9110 5.6.1.2). A parameter must not stand twice in an element (RFC 7239
/// 4); those that nobody asks for (`by`, extensions) are read and forgotten.
pub fn parse(line: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut rest = Rest(line);
    let mut elements = Vec::new();
    loop {
        if let Some(element) = rest.element()? {
            elements.push(element);
        }
        match rest.0 {
            [] => return Some(elements),
            [b',', behind @ ..] => rest.0 = behind,
            _ => return None,
        }
    }
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Up to the comma or the end; the inner None stands for an element without pairs.
    fn element(&mut self) -> Option<Option<Element<'a>>> {
        let mut element = Element::default();
        let mut names: Vec<&[u8]> = Vec::new();
        loop {
            self.skip_space();
            if !matches!(self.0, [] | [b',' | b';', ..]) {
                let name = self.token();
                self.0 = self.0.strip_prefix(b"=").filter(|_| !name.is_empty())?;
                let value = self.value()?;
                if names.len() == LONGEST_ELEMENT_PAIRS || names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                    return None;
                }
                names.push(name);
                match name.to_ascii_lowercase().as_slice() {
                    b"for" => element.client = Some(value),
                    b"host" => element.host = Some(value),
                    b"proto" => element.scheme = Some(value),
                    _ => {}
                }
                self.skip_space();
            }
            match self.0 {
                [b';', behind @ ..] => self.0 = behind,
                _ => return Some((!names.is_empty()).then_some(element)),
            }
        }
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t', behind @ ..] = self.0 {
            self.0 = behind;
        }
    }

    /// RFC 9110 5.6.2.
    fn token(&mut self) -> &'a [u8] {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let (token, behind) = self.0.split_at(self.0.iter().position(|byte| !is_part(byte)).unwrap_or(self.0.len()));
        self.0 = behind;
        token
    }

    /// A token, or a quoted-string (RFC 9110 5.6.4), where a backslash takes its sense from the byte behind it.
    fn value(&mut self) -> Option<Cow<'a, [u8]>> {
        let Some(quoted) = self.0.strip_prefix(b"\"") else {
            let token = self.token();
            return (!token.is_empty()).then_some(Cow::Borrowed(token));
        };
        let mut text = Cow::Borrowed(&quoted[..0]);
        let mut at = 0;
        loop {
            match *quoted.get(at)? {
                b'"' => break,
                b'\\' => {
                    let escaped = *quoted.get(at + 1).filter(|byte| is_text(**byte))?;
                    text.to_mut().push(escaped);
                    at += 2;
                }
                byte if is_text(byte) => {
                    match &mut text {
                        Cow::Borrowed(so_far) => *so_far = &quoted[..=at],
                        Cow::Owned(so_far) => so_far.push(byte),
                    }
                    at += 1;
                }
                _ => return None,
            }
        }
        self.0 = &quoted[at + 1..];
        Some(text)
    }
}

/// What may stand between quotes: everything but control characters other than the tabulator.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
