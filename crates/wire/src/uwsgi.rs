//! The uwsgi protocol's request packet.
//!
//! ```text
//! packet = modifier1 datasize modifier2 block        one byte, two bytes (little-endian), one byte, datasize bytes
//! block  = *( keylen key vallen value )              the lengths are two bytes, little-endian
//! ```
//! The body follows the packet, CONTENT_LENGTH bytes of it.
//!
//! The sizes come from the peer and are believed only within the block. A front end has read a correct HTTP request
//! before it made the packet, so what no such request can contain is refused; nothing in it chooses code or files.

use crate::detect::{self, Guess};
use crate::{Error, Limits, Span, Step, bytes};
use memchr::{memchr, memchr3};

/// Bytes before the block.
const HEADER_BYTES: usize = 4;

/// Room for the variables that are not headers, beside `Limits::header_count`. nginx sends 15 by default, and users add
/// some; uWSGI's limit is 128 for both kinds together.
const CGI_VARIABLES: usize = 64;

/// Python requests: 0, and 30 which is the same with SCRIPT_NAME to be cut off PATH_INFO.
const REQUEST_MODIFIERS: [u8; 2] = [0, 30];

/// These hold a percent-decoded path, in which CR and LF are as good as any byte.
const DECODED_PATHS: [&[u8]; 5] =
    [b"PATH_INFO", b"SCRIPT_NAME", b"DOCUMENT_URI", b"SCRIPT_FILENAME", b"PATH_TRANSLATED"];

/// A packet without its body. All spans point into the buffer that was parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// What kind of packet it is. `vars` is read for requests (0 and 30); other kinds (100 is a ping) have none here.
    pub modifier1: u8,
    pub modifier2: u8,
    /// Names and values in the order in which they were sent. Where a name is repeated, the last one counts.
    /// `HTTP_PROXY` is left out: it is a client's header that would configure the app's HTTP clients (httpoxy).
    pub vars: Vec<(Span, Span)>,
    /// From CONTENT_LENGTH; 0 if that is missing or empty.
    pub content_length: u64,
}

impl Packet {
    /// The value of a variable, the last one if it is repeated. `buf` is the buffer that was parsed.
    #[must_use]
    pub fn get<'b>(&self, buf: &'b [u8], key: &[u8]) -> Option<&'b [u8]> {
        self.vars.iter().rev().find(|(name, _)| name.of(buf) == key).map(|(_, value)| value.of(buf))
    }
}

/// Room that is made at once: what nginx and a browser send is less.
const USUAL_VARIABLES: usize = 36;

/// Parse the packet at the start of `buf`. `Done` tells where its body begins.
///
/// `limits.head_bytes` does not apply: a block is always taken up to the 65,535 bytes that its size can tell. Where a
/// `Packet` can be used again, [`parse_packet_into`] is cheaper.
///
/// # Errors
/// The rule that was violated; [`Error::BodyTooLarge`] if CONTENT_LENGTH announces it; [`Error::UwsgiWrongProtocol`] at
/// once for what is certainly HTTP or TLS, whose first bytes as a size would be waited for (the famous 21573 is `ET`).
pub fn parse_packet(buf: &[u8], limits: &Limits) -> Result<Step<Packet>, Error> {
    let mut packet = Packet::default();
    Ok(match parse_packet_into(buf, limits, &mut packet)? {
        Step::Done((), used) => Step::Done(packet, used),
        Step::NeedMore => Step::NeedMore,
    })
}

/// [`parse_packet`] into a `Packet` that is there already, whose room for variables is kept. `packet` means something
/// only after `Done`.
///
/// # Errors
/// As [`parse_packet`].
pub fn parse_packet_into(buf: &[u8], limits: &Limits, packet: &mut Packet) -> Result<Step<()>, Error> {
    let &[modifier1, low, high, modifier2, ..] = buf else {
        return Ok(Step::NeedMore);
    };
    let size = usize::from(u16::from_le_bytes([low, high]));
    let is_request = REQUEST_MODIFIERS.contains(&modifier1);
    if is_request && size == 0 {
        return Err(Error::UwsgiEmpty);
    }
    if !is_request && !matches!(detect::guess(buf), Guess::Unknown | Guess::Uwsgi) {
        return Err(Error::UwsgiWrongProtocol);
    }
    let end = HEADER_BYTES + size;
    let Some(bytes) = buf.get(..end) else {
        return Ok(Step::NeedMore);
    };
    (packet.modifier1, packet.modifier2) = (modifier1, modifier2);
    packet.vars.clear();
    let mut content_length = None;
    if is_request {
        packet.vars.reserve(USUAL_VARIABLES);
        read_block(bytes, limits, &mut packet.vars, &mut content_length)?;
    }
    packet.content_length = content_length.unwrap_or(0);
    if limits.body_exceeded(packet.content_length) {
        return Err(Error::BodyTooLarge);
    }
    Ok(Step::Done((), end))
}

fn read_block(
    packet: &[u8],
    limits: &Limits,
    vars: &mut Vec<(Span, Span)>,
    content_length: &mut Option<u64>,
) -> Result<(), Error> {
    let mut at = HEADER_BYTES;
    let mut room = limits.header_count.saturating_add(CGI_VARIABLES);
    while at < packet.len() {
        let key = string(packet, at)?;
        let value = string(packet, key.end as usize)?;
        at = value.end as usize;
        if room == 0 {
            return Err(Error::UwsgiTooManyVariables);
        }
        room -= 1;
        let (name, text) = (key.of(packet), value.of(packet));
        if name.is_empty() {
            return Err(Error::UwsgiEmptyKey);
        }
        // Nearly all strings are plain text, which is quicker to see than the three bytes are to search for.
        if !is_text(packet, key) && memchr3(0, b'\r', b'\n', name).is_some() {
            return Err(Error::UwsgiBadKey);
        }
        if !is_text(packet, value) {
            check_value(name, text)?;
        }
        match name {
            b"CONTENT_LENGTH" => read_content_length(text, content_length)?,
            b"REQUEST_METHOD" if !bytes::is_token(text) => return Err(Error::UwsgiBadMethod),
            b"HTTP_PROXY" => continue,
            _ => {}
        }
        vars.push((key, value));
    }
    Ok(())
}

/// Is this part of the packet TEXT? (The search may look at what stands before it, which a search in a short string
/// could not.)
#[inline(always)]
fn is_text(packet: &[u8], part: Span) -> bool {
    let until = &packet[..part.end as usize];
    bytes::text_len(until, &until[part.start as usize..]) == part.len()
}

/// The string whose length stands at `at`, which must lie within the packet.
#[inline]
fn string(packet: &[u8], at: usize) -> Result<Span, Error> {
    let Some(&[low, high]) = packet.get(at..at + 2) else {
        return Err(Error::UwsgiTruncated);
    };
    let start = at + 2;
    let end = start + usize::from(u16::from_le_bytes([low, high]));
    if end > packet.len() {
        return Err(Error::UwsgiTruncated);
    }
    Ok(Span::new(start, end))
}

#[cold]
fn check_value(key: &[u8], value: &[u8]) -> Result<(), Error> {
    let allowed = if DECODED_PATHS.contains(&key) {
        memchr(0, value).is_none()
    } else {
        memchr3(0, b'\r', b'\n', value).is_none()
    };
    if allowed { Ok(()) } else { Err(Error::UwsgiBadValue) }
}

/// nginx sends CONTENT_LENGTH always, and empty where the client sent none.
fn read_content_length(value: &[u8], known: &mut Option<u64>) -> Result<(), Error> {
    let length = match value {
        b"" => 0,
        digits => bytes::decimal(digits, Error::UwsgiBadContentLength, Error::UwsgiBadContentLength)?,
    };
    match known.replace(length) {
        Some(before) if before != length => Err(Error::UwsgiDuplicateContentLength),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(modifier1: u8, vars: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut block = Vec::new();
        for text in vars.iter().flat_map(|(key, value)| [key, value]) {
            block.extend_from_slice(&u16::try_from(text.len()).expect("short").to_le_bytes());
            block.extend_from_slice(text);
        }
        let [low, high] = u16::try_from(block.len()).expect("short").to_le_bytes();
        [&[modifier1, low, high, 0][..], &block].concat()
    }

    fn parse(bytes: &[u8]) -> Result<Packet, Error> {
        for len in 0..bytes.len() {
            assert_eq!(parse_packet(&bytes[..len], &Limits::default()), Ok(Step::NeedMore), "{len} bytes");
        }
        match parse_packet(bytes, &Limits::default())? {
            Step::Done(packet, used) => {
                assert_eq!(used, bytes.len());
                assert_eq!(
                    parse_packet(&[bytes, b"body"].concat(), &Limits::default()),
                    Ok(Step::Done(packet.clone(), used)),
                    "the body is no part of it"
                );
                Ok(packet)
            }
            Step::NeedMore => panic!("the packet is complete"),
        }
    }

    #[test]
    fn variables_in_their_order_and_the_last_one_counts() {
        let bytes = packet(0, &[(b"REQUEST_METHOD", b"GET"), (b"HTTP_X", b"1"), (b"HTTP_X", b"2"), (b"EMPTY", b"")]);
        let packet = parse(&bytes).expect("valid");
        assert_eq!(packet.vars.len(), 4);
        assert_eq!(packet.get(&bytes, b"HTTP_X"), Some(&b"2"[..]));
        assert_eq!(packet.get(&bytes, b"EMPTY"), Some(&b""[..]));
        assert_eq!(packet.get(&bytes, b"HTTP_Y"), None);
        assert_eq!((packet.modifier1, packet.modifier2, packet.content_length), (0, 0, 0));
    }

    #[test]
    fn other_modifiers_are_not_read_as_variables() {
        assert!(parse(&[100, 0, 0, 0]).expect("a ping").vars.is_empty());
        assert!(parse(&[17, 3, 0, 9, 0xff, 0xff, 0xff]).expect("whatever it is").vars.is_empty());
    }

    #[test]
    fn another_protocol_is_not_waited_for() {
        for beginning in [&b"GET "[..], b"POST /x HTTP/1.1\r\n", b"PROPFIND / HTTP/1.1\r\n", b"\x16\x03\x01\x02\0\x01"]
        {
            assert_eq!(parse_packet(beginning, &Limits::default()), Err(Error::UwsgiWrongProtocol), "{beginning:?}");
        }
        assert_eq!(parse_packet(b"PROP", &Limits::default()), Ok(Step::NeedMore));
    }

    #[test]
    fn content_length() {
        let length = |values: &[&[u8]]| {
            let vars: Vec<(&[u8], &[u8])> = values.iter().map(|value| (&b"CONTENT_LENGTH"[..], *value)).collect();
            parse_packet(&packet(0, &vars), &Limits { body_bytes: 100, ..Limits::default() }).map(|step| match step {
                Step::Done(packet, _) => packet.content_length,
                Step::NeedMore => panic!("the packet is complete"),
            })
        };
        assert_eq!(length(&[b""]), Ok(0));
        assert_eq!(length(&[b"7"]), Ok(7));
        assert_eq!(length(&[b"7", b"07"]), Ok(7));
        assert_eq!(length(&[b"7", b"8"]), Err(Error::UwsgiDuplicateContentLength));
        assert_eq!(length(&[b"-3"]), Err(Error::UwsgiBadContentLength));
        assert_eq!(length(&[b"101"]), Err(Error::BodyTooLarge));
    }

    #[test]
    fn sizes_are_believed_only_within_the_block() {
        let bytes = [&[0, 4, 0, 0][..], &[1, 0, b'A', 9, 9], &[b'x'; 4000]].concat();
        assert_eq!(parse_packet(&bytes, &Limits::default()), Err(Error::UwsgiTruncated));
        let bytes = [&[0, 5, 0, 0][..], &[1, 0, b'A', 0xff, 0xff], &[b'x'; 70000]].concat();
        assert_eq!(parse_packet(&bytes, &Limits::default()), Err(Error::UwsgiTruncated));
    }

    #[test]
    fn line_ends_pass_only_in_decoded_paths() {
        assert!(parse(&packet(0, &[(b"PATH_INFO", b"/a\r\nb")])).is_ok());
        let parse_one = |key: &[u8], value: &[u8]| parse_packet(&packet(0, &[(key, value)]), &Limits::default()).err();
        assert_eq!(parse_one(b"HTTP_X", b"a\r\nb"), Some(Error::UwsgiBadValue));
        assert_eq!(parse_one(b"PATH_INFO", b"/a\nb\0"), Some(Error::UwsgiBadValue));
        assert_eq!(parse_one(b"PATH_INFO\0", b"/"), Some(Error::UwsgiBadKey));
        assert_eq!(parse_one(b"", b"/"), Some(Error::UwsgiEmptyKey));
    }

    #[test]
    fn a_packet_that_is_used_again_keeps_its_room_and_nothing_else() {
        let long = packet(0, &[(b"REQUEST_METHOD", b"POST"), (b"CONTENT_LENGTH", b"5"), (b"A", b"b")]);
        let short = packet(30, &[(b"A", b"b")]);
        let mut packet = Packet::default();
        for bytes in [&long, &short, &long] {
            let step = parse_packet_into(bytes, &Limits::default(), &mut packet);
            assert_eq!(step, Ok(Step::Done((), bytes.len())));
            assert_eq!(Ok(Step::Done(packet.clone(), bytes.len())), parse_packet(bytes, &Limits::default()));
            assert!(packet.vars.capacity() >= USUAL_VARIABLES);
        }
    }
}
