//! `basicauth`: who a request says it is from (RFC 7617), and base64 (RFC 4648 4).

use std::hint::black_box;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The user that `authorization` (the header's value) names, if what it says is exactly `credentials`: `user:password`.
pub fn user_of(authorization: &[u8], credentials: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let said = decoded(encoded.trim_ascii())?;
    if !is_same(&said, credentials) {
        return None;
    }
    said.iter().position(|byte| *byte == b':').map(|colon| said[..colon].to_vec())
}

/// In a time that does not tell how much of it is right.
fn is_same(said: &[u8], secret: &[u8]) -> bool {
    let mut difference = said.len() ^ secret.len();
    for (place, byte) in secret.iter().enumerate() {
        difference |= usize::from(byte ^ said.get(place).copied().unwrap_or(0));
    }
    black_box(difference) == 0
}

/// None for what is no base64; padding may be missing.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut out = Vec::with_capacity(digits.len());
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            let digit = ALPHABET.iter().position(|one| one == byte)?;
            bits = bits << 6 | u32::try_from(digit).ok()?;
        }
        bits <<= 6 * (4 - group.len());
        // Four digits are three bytes, three are two, two are one; one alone is not even that.
        let count = group.len().checked_sub(1).filter(|count| *count > 0)?;
        out.extend_from_slice(&bits.to_be_bytes()[1..=count]);
    }
    Some(out)
}

pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place > group.len() { '=' } else { char::from(digit) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_there_and_back() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("\u{ff}", "w78=")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
            assert_eq!(decoded(encoded.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(decoded(b"Zg").as_deref(), Some(&b"f"[..]));
        for wrong in [&b"!!!"[..], b"Z", b"Zg=", b"Zm9v=x", b"Zm 9v", b"===", b"\xff\xff"] {
            let is_lenient = wrong == b"Zg=";
            assert_eq!(decoded(wrong).is_some(), is_lenient, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn only_the_right_words_are_let_in() {
        let says = |text: &str| format!("Basic {}", base64(text.as_bytes()));
        let user = |header: &str| user_of(header.as_bytes(), b"joe:pw");
        assert_eq!(user(&says("joe:pw")).as_deref(), Some(&b"joe"[..]));
        assert_eq!(user(&says("joe:pw").replace("Basic", "bAsIC")).as_deref(), Some(&b"joe"[..]));
        let wrong = ["joe:p", "joe:pw:", "joe:pwx", "joe:", "joe", "", ":", ":pw", "Joe:pw", "joe:pw\0", "\0joe:pw"];
        for text in wrong {
            assert_eq!(user(&says(text)), None, "{text}");
        }
        for header in ["", "Basic", "Basic ", "Basic !!!", "Bearer am9lOnB3", "Basicam9lOnB3", "joe:pw"] {
            assert_eq!(user(header), None, "{header}");
        }
    }
}
