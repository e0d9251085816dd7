//! Any bytes as the path and the conditional headers of a request for a static file; pieces are ended by 0xff.

#![no_main]

#[expect(dead_code, reason = "the target uses a part of each module only")]
#[path = "../../crates/engine/src/pattern.rs"]
mod pattern;
#[expect(dead_code, reason = "the target uses a part of each module only")]
#[path = "../../crates/engine/src/static_files/mod.rs"]
mod static_files;
#[expect(dead_code, reason = "the target uses a part of each module only")]
#[path = "../../crates/engine/src/sys.rs"]
mod sys;

#[expect(dead_code, reason = "the target uses a part of each module only")]
#[path = "../plan.rs"]
mod plan;

use std::sync::LazyLock;
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use plan::{ExpiryPlan, MapPlan, StaticPlan};
use static_files::{Conditions, Lookup, StaticMap};

const CONTENT: &[u8] = b"0123456789";

/// A directory with one file in two forms, and one file beside it that must never be served.
static MAP: LazyLock<StaticMap> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("penstock-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(root.join("public/folder")).expect("a writable temporary directory");
    for name in ["public/file.txt", "public/file.txt.gz", "public/folder/index.html"] {
        std::fs::write(root.join(name), CONTENT).expect("a writable temporary directory");
    }
    std::fs::write(root.join("secret.txt"), b"this is longer than any public file")
        .expect("a writable temporary directory");
    let path = root.join("public").display().to_string();
    StaticMap::new(&StaticPlan {
        maps: vec![
            MapPlan { prefix: "/s".to_owned(), path: path.clone(), keeps_prefix: false },
            MapPlan { prefix: "/folder".to_owned(), path, keeps_prefix: true },
        ],
        index: vec!["index.html".to_owned()],
        skipped_suffixes: vec![".py".to_owned()],
        compressed_all: true,
        expires: vec![ExpiryPlan {
            subject: "uri".to_owned(),
            pattern: "x(?=y)|z".to_owned(),
            ..ExpiryPlan::default()
        }],
        mime_types: "txt text/plain\n".to_owned(),
        ..StaticPlan::default()
    })
    .expect("a constant plan is valid")
});

struct Request<'a> {
    path: &'a [u8],
    accept_encoding: Option<&'a [u8]>,
}

impl static_files::Request for Request<'_> {
    fn path(&self) -> &[u8] {
        self.path
    }

    fn uri(&self) -> &[u8] {
        self.path
    }

    fn document_root(&self) -> Option<&[u8]> {
        None
    }

    fn accept_encoding(&self) -> Option<&[u8]> {
        self.accept_encoding
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut pieces = bytes.split(|byte| *byte == 0xff);
    let path = [b"/", pieces.next().unwrap_or_default()].concat();
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
    let accept_encoding = piece();
    // The path of the fuzzer's choice finds a public file or nothing; the known one always answers correctly.
    for path in [&path[..], b"/s/file.txt"] {
        let Lookup::Found(found) = MAP.lookup(&Request { path, accept_encoding }) else { continue };
        let answer = found.respond(&conditions, SystemTime::now()).expect("GET is answered");
        assert!(matches!(answer.status, 200 | 206 | 304 | 412 | 416), "{}", answer.status);
        if let Some(body) = answer.body {
            assert!(body.offset + body.length <= CONTENT.len() as u64);
        }
    }
});
