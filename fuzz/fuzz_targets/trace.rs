//! Any bytes as X-Request-ID and as traceparent.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::trace;

fuzz_target!(|bytes: &[u8]| {
    if trace::is_request_id(bytes) {
        assert!(bytes.len() <= trace::REQUEST_ID_BYTES && bytes.iter().all(u8::is_ascii_graphic));
    }
    if let Some(id) = trace::trace_id(bytes) {
        assert_eq!(id.len(), 32);
        assert!(id.iter().all(u8::is_ascii_hexdigit) && id.iter().any(|digit| *digit != b'0'));
        assert_eq!(trace::trace_id(&bytes[..55]).is_some(), &bytes[..2] == b"00" || bytes.len() >= 55);
    }
});
