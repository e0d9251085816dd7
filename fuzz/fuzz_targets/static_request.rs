//! Any bytes as the path and the conditional headers of a request for a static file; pieces are ended by 0xff.

#![no_main]

#[expect(dead_code, reason = "the target uses look-up and answer only")]
#[path = "../../crates/engine/src/static_files.rs"]
mod static_files;

use std::sync::LazyLock;
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use static_files::{Conditions, Lookup, StaticMap};

const CONTENT: &[u8] = b"0123456789";

/// A directory with one file, and one file beside it that must never be served.
static MAP: LazyLock<StaticMap> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("penstock-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(root.join("public")).expect("a writable temporary directory");
    std::fs::write(root.join("public/file.txt"), CONTENT).expect("a writable temporary directory");
    std::fs::write(root.join("secret.txt"), b"secret").expect("a writable temporary directory");
    StaticMap::new(vec![("/s".to_owned(), root.join("public").display().to_string())], vec![], vec![])
});

fuzz_target!(|bytes: &[u8]| {
    let mut pieces = bytes.split(|byte| *byte == 0xff);
    let path = [b"/s/", pieces.next().unwrap_or_default()].concat();
    let mut piece = || pieces.next().filter(|piece| !piece.is_empty());
    let conditions = Conditions {
        method: b"GET",
        if_match: piece(),
        if_none_match: piece(),
        if_modified_since: piece(),
        if_unmodified_since: piece(),
        range: piece(),
        if_range: piece(),
    };
    // The path of the fuzzer's choice finds the one public file or nothing; the known one always answers correctly.
    for path in [&path[..], b"/s/file.txt"] {
        let Lookup::Found(found) = MAP.lookup(path) else { continue };
        let answer = found.respond(&conditions, SystemTime::now()).expect("GET is answered");
        assert!(matches!(answer.status, 200 | 206 | 304 | 412 | 416), "{}", answer.status);
        if let Some(body) = answer.body {
            assert!(body.offset + body.length <= CONTENT.len() as u64);
        }
    }
});
