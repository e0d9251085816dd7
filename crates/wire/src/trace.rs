//! Names of requests that other programs have given: X-Request-ID, and `traceparent` of W3C Trace Context.
//!
//! Such a name goes into logs and on to other services, so that it is taken only if nothing but a name can be in it. What
//! is not taken is no error of the request: it gets a new name. Whether the peer may give names is not decided here.

/// The longest request id that is taken: enough for what AWS, Heroku, Envoy and nginx make, and short in a line of a log.
pub const REQUEST_ID_BYTES: usize = 128;

/// `version-traceid-parentid-flags`, all in hex (Trace Context, 3.2.2).
const TRACEPARENT_BYTES: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// Whether a value can be the id of a request.
///
/// ```text
/// request-id = 1*128( ALPHA / DIGIT / "-" / "_" / "." / "~" / "+" / "/" / "=" / ":" / ";" / "@" )
/// ```
pub fn is_request_id(value: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/=:;@".contains(byte))
}

/// The trace id in a `traceparent`, 32 hex digits; None if it is not one.
///
/// ```text
/// traceparent = version "-" trace-id "-" parent-id "-" trace-flags        ; lower-case hex
/// ```
/// Of a version that comes after 00 there may be more behind another dash (3.2.4); ff is no version (3.2.2.1), and ids
/// of zeros only are none (3.2.2.3, 3.2.2.4).
pub fn trace_id(traceparent: &[u8]) -> Option<&[u8]> {
    let fields = traceparent.get(..TRACEPARENT_BYTES)?;
    let [version, trace, parent, flags] = [&fields[..2], &fields[3..35], &fields[36..52], &fields[53..]];
    let is_hex = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    let is_id = |text: &[u8]| is_hex(text) && text.iter().any(|byte| *byte != b'0');
    let fits = [fields[2], fields[35], fields[52]] == [b'-'; 3]
        && is_hex(version)
        && version != b"ff"
        && is_id(trace)
        && is_id(parent)
        && is_hex(flags);
    let rest = &traceparent[TRACEPARENT_BYTES..];
    let ends = rest.is_empty() || (version != b"00" && rest[0] == b'-');
    (fits && ends).then_some(trace)
}
