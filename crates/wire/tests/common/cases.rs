//! Reading the corpus in `tests/cases` (its formats are described in `tests/cases/http1/README.md`).

#![allow(dead_code)] // Each test that includes this file uses its own part of it.

use std::fs;
use std::path::{Path, PathBuf};
use wire::Limits;

pub struct Case {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Case {
    /// For an invalid case: the code of the error that it must give.
    pub fn code(&self) -> &str {
        let name = self.path.file_name().and_then(|name| name.to_str()).expect("case names are ASCII");
        name.split_once("--").expect("an invalid case is called CODE--description").0
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases")
}

/// The cases of a directory such as `http1/valid`, in the order of their names.
pub fn cases(directory: &str, extension: &str) -> Vec<Case> {
    let directory = root().join(directory);
    let mut cases: Vec<Case> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| Case { bytes: fs::read(&path).expect("the case can be read"), path })
        .collect();
    cases.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!cases.is_empty(), "{}: no *.{extension}", directory.display());
    cases
}

/// The limits that all cases are read with: small ones, so that small cases can break them.
pub fn limits() -> Limits {
    let text = fs::read_to_string(root().join("http1/limits.json")).expect("the limits can be read");
    let mut limits = Limits::default();
    let mut set = 0;
    for line in text.lines() {
        let Some((name, value)) = line.trim().trim_end_matches(',').split_once(": ") else {
            continue;
        };
        let value: u32 = value.parse().expect("a limit is a number");
        match name.trim_matches('"') {
            "head_bytes" => limits.head_bytes = value as usize,
            "header_count" => limits.header_count = value as usize,
            "body_bytes" => limits.body_bytes = u64::from(value),
            "chunk_extension_bytes" => limits.chunk_extension_bytes = value as usize,
            "chunk_overhead_bytes" => limits.chunk_overhead_bytes = u64::from(value),
            "trailer_bytes" => limits.trailer_bytes = value as usize,
            other => panic!("limits.json: there is no limit called {other}"),
        }
        set += 1;
    }
    assert_eq!(set, 6, "limits.json sets every limit");
    limits
}
