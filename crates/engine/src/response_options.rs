//! Options about every response: headers that are added and removed, how large a head may be, pages for errors.
//!
//! A worker without any of them has no `ResponseOptions` at all, so that a response costs one look at a None.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::plan::ResponsePlan;
use crate::response::BadHead;

/// A page is read whole when it is needed; what is beyond this of a larger file is not sent.
const PAGE_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub struct ResponseOptions {
    /// Complete lines, ready to stand in a head.
    added: Vec<u8>,
    added_count: u32,
    removed: Vec<Vec<u8>>,
    /// The most that the app's headers may take, their status line included.
    head_limit_bytes: usize,
    pages: Vec<(u16, PathBuf)>,
}

impl ResponseOptions {
    /// None if the plan has nothing to say. That names and values can stand in a head was seen when they were read;
    /// what can not is left out.
    pub fn new(plan: &ResponsePlan) -> Option<Arc<Self>> {
        let mut options = Self {
            added: Vec::new(),
            added_count: 0,
            removed: plan.removed_headers.iter().map(|name| name.as_bytes().to_vec()).collect(),
            head_limit_bytes: if plan.head_limit_bytes == 0 { usize::MAX } else { plan.head_limit_bytes },
            pages: plan.error_pages.iter().map(|(status, path)| (*status, PathBuf::from(path))).collect(),
        };
        for (name, value) in &plan.added_headers {
            if wire::response::check_header(name.as_bytes(), value.as_bytes()).is_ok() {
                for part in [name, ": ", value, "\r\n"] {
                    options.added.extend_from_slice(part.as_bytes());
                }
                options.added_count += 1;
            }
        }
        let says_nothing = options.added.is_empty()
            && options.removed.is_empty()
            && options.head_limit_bytes == usize::MAX
            && options.pages.is_empty();
        (!says_nothing).then(|| Arc::new(options))
    }

    /// The lines of the headers that every response has, and their number.
    pub fn added(&self) -> (&[u8], u32) {
        (&self.added, self.added_count)
    }

    pub fn removes(&self, name: &[u8]) -> bool {
        self.removed.iter().any(|removed| removed.eq_ignore_ascii_case(name))
    }

    /// Whether a head may grow to this size.
    pub fn allow(&self, head_bytes: usize) -> Result<(), BadHead> {
        if head_bytes <= self.head_limit_bytes {
            return Ok(());
        }
        Err(BadHead::Header(format!(
            "the headers take more than response-headers-limit ({} bytes)",
            self.head_limit_bytes
        )))
    }

    /// The page for an error of the server's own, if there is one that can be read now: of several the first.
    pub fn page(&self, status: u16) -> Option<Vec<u8>> {
        self.pages.iter().filter(|(of, _)| *of == status).find_map(|(_, path)| {
            // O_NONBLOCK, because opening a FIFO would wait for a writer. It has no effect on regular files.
            let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
            if !file.metadata().is_ok_and(|data| data.is_file()) {
                return None;
            }
            let mut page = Vec::new();
            file.take(PAGE_BYTES).read_to_end(&mut page).ok()?;
            Some(page)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn nothing_said_is_nothing_kept() {
        assert!(ResponseOptions::new(&ResponsePlan::default()).is_none());
    }

    #[test]
    fn headers_are_added_and_removed() {
        let plan = ResponsePlan {
            added_headers: pairs(&[("X-A", "b"), ("X-B", ""), ("bad name", "x"), ("X-C", "a\r\nX: y")]),
            removed_headers: vec!["Server".to_owned()],
            ..ResponsePlan::default()
        };
        let options = ResponseOptions::new(&plan).unwrap();
        assert_eq!(options.added(), (&b"X-A: b\r\nX-B: \r\n"[..], 2));
        assert!(options.removes(b"server") && !options.removes(b"servers"));
        assert!(options.allow(usize::MAX).is_ok());
    }

    #[test]
    fn the_size_of_a_head_is_limited() {
        let options = ResponseOptions::new(&ResponsePlan { head_limit_bytes: 10, ..ResponsePlan::default() }).unwrap();
        assert!(options.allow(10).is_ok());
        assert!(options.allow(11).unwrap_err().message().contains("response-headers-limit (10 bytes)"));
    }

    #[test]
    fn the_first_page_that_can_be_read_is_taken() {
        let path = std::env::temp_dir().join(format!("error-page-{}", std::process::id()));
        std::fs::write(&path, "sorry").unwrap();
        let page = |status, path: &str| (status, path.to_owned());
        let plan = ResponsePlan {
            error_pages: vec![page(500, "/nonexistent"), page(500, "/tmp"), page(500, path.to_str().unwrap())],
            ..ResponsePlan::default()
        };
        let options = ResponseOptions::new(&plan).unwrap();
        assert_eq!(options.page(500).as_deref(), Some(&b"sorry"[..]));
        assert_eq!(options.page(404), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(options.page(500), None);
    }
}
