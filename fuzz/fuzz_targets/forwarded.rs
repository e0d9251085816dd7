//! Any bytes as X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Port and Forwarded of a trusted proxy.

#![no_main]

#[expect(dead_code, reason = "the target uses the readers of headers only")]
#[path = "../../crates/engine/src/forwarded.rs"]
mod forwarded;
#[path = "../../crates/wire/tests/common/invariants.rs"]
mod invariants;
#[path = "../../crates/wire/tests/common/deliveries.rs"]
mod deliveries;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let trusted = forwarded::TrustedProxies::parse(&["unix".to_owned(), "10.0.0.0/8".to_owned(), "::1".to_owned()])
        .expect("a constant list is valid");
    if let Some(address) = trusted.client_address(bytes) {
        let parsed: std::net::IpAddr = address.as_str().parse().expect("what is believed is an address");
        assert_eq!(forwarded::IpText::from(parsed).as_bytes(), address.as_bytes(), "and stands in its usual form");
    }
    if let Some(scheme) = forwarded::scheme(bytes) {
        assert!(matches!(scheme, "http" | "https"));
    }
    if let Some(host) = forwarded::host(bytes) {
        assert!(host.iter().all(u8::is_ascii_graphic) && !host.is_empty(), "a host has no separators in it");
    }
    if let Some(port) = forwarded::port(bytes) {
        assert!(!port.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit));
    }
    let _ = trusted.forwarded([bytes].into_iter());
    invariants::forwarded_line(bytes);
});
