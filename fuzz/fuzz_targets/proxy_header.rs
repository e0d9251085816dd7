//! Any bytes as a header of the PROXY protocol.

#![no_main]

#[path = "../../crates/wire/tests/common/deliveries.rs"]
mod deliveries;
#[path = "../../crates/wire/tests/common/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;

// A sum of the input decides where it is cut.
fuzz_target!(|bytes: &[u8]| {
    let seed = bytes.iter().fold(bytes.len(), |sum, &b| sum.wrapping_mul(31).wrapping_add(usize::from(b)));
    invariants::proxy_header(bytes, seed);
});
