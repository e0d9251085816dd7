//! Byte classes and number reading that several grammars share. Nothing here knows a protocol's messages.

use crate::Error;

/// RFC 9110 5.6.2: tchar.
const TCHAR: u8 = 1;
/// RFC 9110 5.5 without the whitespace rules: HTAB, SP, VCHAR, obs-text.
const TEXT: u8 = 2;
/// What we take in a request target. RFC 3986 allows less; curl and old browsers send raw UTF-8, and browsers send
/// `|`, `"`, `{`, which uWSGI and nginx take too. None of them can move the end of the target.
const TARGET: u8 = 4;

const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            table[i] |= TCHAR;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            table[i] |= TEXT;
        }
        if b > b' ' && b != 0x7f && b != b'#' {
            table[i] |= TARGET;
        }
        i += 1;
    }
    table
};

#[inline]
pub(crate) fn is_tchar(b: u8) -> bool {
    CLASS[b as usize] & TCHAR != 0
}

#[inline]
pub(crate) fn is_text(b: u8) -> bool {
    CLASS[b as usize] & TEXT != 0
}

#[inline]
pub(crate) fn is_target(b: u8) -> bool {
    CLASS[b as usize] & TARGET != 0
}

#[inline]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_tchar(b))
}

/// The first byte from `from` on that can not be in a header value (TEXT), eight at a time.
#[inline]
pub(crate) fn text_end(buf: &[u8], from: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES * 0x80;
    let mut at = from;
    while let Some(eight) = buf.get(at..at + 8) {
        let word = u64::from_le_bytes([eight[0], eight[1], eight[2], eight[3], eight[4], eight[5], eight[6], eight[7]]);
        // A byte below 0x20 borrows into its high bit; obs-text has it set from the start and is masked out.
        let low = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = word ^ (ONES * 0x7f);
        let is_delete = delete.wrapping_sub(ONES) & !delete;
        let hits = (low | is_delete) & HIGHS;
        if hits != 0 {
            // Only the lowest hit is certain (a borrow may have marked a later byte), and HTAB is a hit but is TEXT.
            let hit = at + (hits.trailing_zeros() / 8) as usize;
            if buf[hit] != b'\t' {
                return hit;
            }
            at = hit + 1;
        } else {
            at += 8;
        }
    }
    while at < buf.len() && is_text(buf[at]) {
        at += 1;
    }
    at
}

/// Without SP and HTAB at both ends (RFC 9110 5.6.3: OWS), and nothing else: other "whitespace" is part of the value.
#[inline]
pub(crate) fn trim_ows(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// 1*DIGIT as a number. `bad` is for anything else (a sign, a space, `_`, `0x`, nothing), `overflow` for too many.
pub(crate) fn decimal(bytes: &[u8], bad: Error, overflow: Error) -> Result<u64, Error> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return Err(bad);
    }
    bytes.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))).ok_or(overflow)
}

#[inline]
pub(crate) fn hex_digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_end_agrees_with_the_table_at_every_offset_and_byte() {
        for len in 0..20 {
            for position in 0..len {
                for b in 0..=255_u8 {
                    for filler in [b'a', b'\t', 0xff, 0x80, b' '] {
                        let mut buf = vec![filler; len];
                        buf[position] = b;
                        let slow = buf.iter().position(|&b| !is_text(b)).unwrap_or(len);
                        assert_eq!(text_end(&buf, 0), slow, "{buf:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn text_end_is_not_fooled_by_a_borrow() {
        assert_eq!(text_end(b"\ta\x7f\x20\x20\x20\x20\x20", 0), 2);
        assert_eq!(text_end(b"\t\x20\x7e\x80\xff!\t\t\t ", 0), 10);
        assert_eq!(text_end(b"abc\r\nabcdefgh", 0), 3);
    }

    #[test]
    fn decimal_is_digits_only() {
        let read = |bytes: &[u8]| decimal(bytes, Error::BadContentLength, Error::ContentLengthOverflow);
        assert_eq!(read(b"0"), Ok(0));
        assert_eq!(read(b"0010"), Ok(10));
        assert_eq!(read(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(read(b"18446744073709551616"), Err(Error::ContentLengthOverflow));
        for bad in [&b""[..], b"+1", b"-1", b" 1", b"1 ", b"1_0", b"0x1", b"1,1", b"1.0", b"\xb2", "１".as_bytes()] {
            assert_eq!(read(bad), Err(Error::BadContentLength), "{bad:?}");
        }
    }

    #[test]
    fn only_space_and_tab_are_trimmed() {
        assert_eq!(trim_ows(b" \t a b\t "), b"a b");
        assert_eq!(trim_ows(b"\x0b\xa0a\x85"), b"\x0b\xa0a\x85");
        assert_eq!(trim_ows(b" \t"), b"");
    }
}
