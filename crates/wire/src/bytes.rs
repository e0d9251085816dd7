//! Byte classes and number reading that several grammars share. Nothing here knows a protocol's messages.

use crate::Error;
use wide::u8x16;

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
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_tchar(b))
}

/// How many bytes of `rest` stand before the first hit in it (all, if there is none); sixteen at a time.
///
/// `rest` is the end of `buf`: where fewer than sixteen bytes are left, the last sixteen of `buf` are looked at. `sixteen`
/// marks the hits among sixteen bytes with 0xff, `one` tells the same of one byte.
#[inline(always)]
fn before(buf: &[u8], rest: &[u8], sixteen: impl Fn(u8x16) -> u8x16, one: impl Fn(u8) -> bool) -> usize {
    debug_assert!(buf.as_ptr_range().end == rest.as_ptr_range().end);
    let marks = |bytes: &[u8; 16]| sixteen(u8x16::new(*bytes)).move_mask() as u32;
    let mut left = rest;
    while let Some((bytes, behind)) = left.split_first_chunk() {
        let hits = marks(bytes);
        if hits != 0 {
            return rest.len() - left.len() + hits.trailing_zeros() as usize;
        }
        left = behind;
    }
    let hits = match buf.last_chunk() {
        Some(bytes) => marks(bytes) >> (16 - left.len()),
        None => return rest.iter().position(|&b| one(b)).unwrap_or(rest.len()),
    };
    if hits == 0 { rest.len() } else { rest.len() - left.len() + hits.trailing_zeros() as usize }
}

/// Marks the bytes from `low` to `high`, both included.
#[inline(always)]
fn within(bytes: u8x16, low: u8, high: u8) -> u8x16 {
    let distance = bytes - u8x16::splat(low);
    distance.min(u8x16::splat(high - low)).cmp_eq(distance)
}

#[inline(always)]
fn equal(bytes: u8x16, b: u8) -> u8x16 {
    bytes.cmp_eq(u8x16::splat(b))
}

/// How many bytes of `rest`, the end of `buf`, can be in a header value (TEXT).
#[inline(always)]
pub(crate) fn text_len(buf: &[u8], rest: &[u8]) -> usize {
    let mut left = rest;
    loop {
        // HTAB is marked too, because it is rare and leaving it out would cost every other byte.
        let len = before(buf, left, |bytes| within(bytes, 0, 0x1f) | equal(bytes, 0x7f), |b| b < b' ' || b == 0x7f);
        match left.get(len..) {
            Some([b'\t', behind @ ..]) => left = behind,
            _ => return rest.len() - left.len() + len,
        }
    }
}

#[inline]
pub(crate) fn is_all_text(bytes: &[u8]) -> bool {
    text_len(bytes, bytes) == bytes.len()
}

/// How many bytes of `rest`, the end of `buf`, can be in a request target.
#[inline(always)]
pub(crate) fn target_len(buf: &[u8], rest: &[u8]) -> usize {
    before(
        buf,
        rest,
        |bytes| within(bytes, 0, b' ') | equal(bytes, 0x7f) | equal(bytes, b'#'),
        |b| CLASS[b as usize] & TARGET == 0,
    )
}

/// How many bytes of `rest`, the end of `buf`, are letters, digits, `-` or `.`: what the names of nearly all headers and
/// hosts are made of.
#[inline(always)]
pub(crate) fn word_len(buf: &[u8], rest: &[u8]) -> usize {
    before(
        buf,
        rest,
        |bytes| {
            let letters = within(bytes | u8x16::splat(0x20), b'a', b'z');
            // `-`, `.`, `/` and the digits stand in a row.
            let others = within(bytes, b'-', b'9');
            ((letters | others) ^ u8x16::splat(0xff)) | equal(bytes, b'/')
        },
        |b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')),
    )
}

/// How many bytes of `path` stand before the first `?` or `%`.
#[inline(always)]
pub(crate) fn plain_path_len(path: &[u8]) -> usize {
    before(path, path, |bytes| equal(bytes, b'?') | equal(bytes, b'%'), |b| matches!(b, b'?' | b'%'))
}

/// Is this `lower` in any case? `lower` is made of lower-case letters and `-`, `bytes` of TEXT (in which only a letter
/// becomes that letter, and nothing but `-` a `-`, by setting the bit that lower case has).
#[inline(always)]
pub(crate) fn is_word<const LEN: usize>(bytes: &[u8; LEN], lower: &[u8; LEN]) -> bool {
    let mut difference = 0;
    for (b, lower) in bytes.iter().zip(lower) {
        difference |= (b | 0x20) ^ lower;
    }
    difference == 0
}

/// [`is_word`] of bytes of any length.
#[inline]
pub(crate) fn equals_word<const LEN: usize>(bytes: &[u8], lower: &[u8; LEN]) -> bool {
    <&[u8; LEN]>::try_from(bytes).is_ok_and(|bytes| is_word(bytes, lower))
}

/// Without SP and HTAB at both ends (RFC 9110 5.6.3: OWS), and nothing else: other "whitespace" is part of the value.
#[inline]
pub(crate) fn trim_ows(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    trim_ows_end(bytes)
}

/// Without SP and HTAB at the end.
#[inline]
pub(crate) fn trim_ows_end(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
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

    /// Every byte at every place of buffers with and without room for sixteen, searched from every place.
    fn agrees(search: fn(&[u8], &[u8]) -> usize, hit: impl Fn(u8) -> bool, fillers: &[u8]) {
        for (len, &filler) in (0..40).flat_map(|len| fillers.iter().map(move |filler| (len, filler))) {
            for place in 0..len {
                for b in 0..=255 {
                    let mut buf = vec![filler; len];
                    buf[place] = b;
                    for from in [0, place / 2, place, place + 1] {
                        let rest = &buf[from..];
                        let slow = rest.iter().position(|&b| hit(b)).unwrap_or(rest.len());
                        assert_eq!(search(&buf, rest), slow, "from {from} in {buf:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn searches_agree_with_the_table() {
        agrees(text_len, |b| !is_text(b), b"a\t\xff\x80 ");
        agrees(target_len, |b| CLASS[b as usize] & TARGET == 0, b"a/\xff");
        agrees(word_len, |b| !(b.is_ascii_alphanumeric() || b"-.".contains(&b)), b"zA9-");
        agrees(|_, path| plain_path_len(path), |b| b"?%".contains(&b), b"/");
    }

    #[test]
    fn words_in_any_case_and_nothing_else() {
        for b in 0..=255_u8 {
            for place in 0..10 {
                let mut name = *b"Keep-aLIVE";
                name[place] = b;
                if is_text(b) {
                    assert_eq!(is_word(&name, b"keep-alive"), name.eq_ignore_ascii_case(b"keep-alive"), "{name:?}");
                }
            }
        }
        assert!(!equals_word(b"keep-aliv", b"keep-alive") && !equals_word(b"keep-alives", b"keep-alive"));
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
