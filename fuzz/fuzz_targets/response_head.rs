//! Anything an app could return as status and headers: the status, then names and values in turn, each ended by 0xff.

#![no_main]

#[path = "../../crates/wire/tests/common/deliveries.rs"]
mod deliveries;
#[path = "../../crates/wire/tests/common/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| invariants::response_head(bytes));
