//! Any bytes as the head of an HTTP/1 request.

#![no_main]

#[path = "../../crates/wire/tests/common/deliveries.rs"]
mod deliveries;
#[path = "../../crates/wire/tests/common/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;
use wire::Limits;

// Small limits, as in the corpus, so that small inputs reach them. A sum of the input decides where it is cut.
fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        head_bytes: 2048,
        header_count: 20,
        body_bytes: 1_000_000,
        chunk_extension_bytes: 64,
        chunk_overhead_bytes: 256,
        trailer_bytes: 256,
    };
    let seed = bytes.iter().fold(bytes.len(), |sum, &b| sum.wrapping_mul(31).wrapping_add(usize::from(b)));
    invariants::http1_head(bytes, seed, &limits);
});
