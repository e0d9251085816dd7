//! `static-map` and its kin: files that are served without asking the app.
//!
//! Here: which file a path means, whether it may be served, in which form (`encodings`) and for how long (`expiry`), and
//! the response to a conditional or partial request (`conditional`, `range`). Not here: sending, and decoding of paths.
//!
//! A file is served only if it is a regular one and lies beneath the mapped directory or a `static-safe` one. Either the
//! kernel opens it without leaving the directory (openat2(2), RESOLVE_BENEATH), or, where it does not (a symbolic link
//! that is absolute or leads out, an old kernel, a sandbox), the real path of the *opened* file is compared
//! (/proc/self/fd, proc(5)). Both judge the descriptor that is sent, so that renaming files or swapping links in between
//! gains nothing.
//!
//! Where no symbolic link is on the way, which is almost always, one call opens the whole path with
//! RESOLVE_NO_SYMLINKS: without links and without `..` a path can not leave the directory that it begins with. Nothing
//! is remembered between requests, neither descriptors nor sizes: opening anew costs about a microsecond, and a cache
//! would serve yesterday's file for as long as it lives.
//!
//! What is not found is no answer: the app is asked, as in uWSGI. So is it for a directory without an index file and for
//! every method other than GET and HEAD.

mod conditional;
mod encodings;
mod expiry;
mod open;
mod range;
mod types;

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub use conditional::Conditions;

use crate::pattern::Pattern;
use crate::plan::{MapPlan, StaticPlan};
use crate::sys;
use encodings::{Coding, Compressed};
use expiry::{Expiry, Lifetime, Subject};
use open::{READ, escaped, is_absence, is_beneath, is_kind, is_undecided, open_at, open_resolving, real_path};
use types::Types;

/// Whether a request with this method may be answered from a file.
pub fn serves(method: &[u8]) -> bool {
    method == b"GET" || method == b"HEAD"
}

/// What of a request decides which file answers it. Only the path is asked for in any case.
pub trait Request {
    /// The decoded path.
    fn path(&self) -> &[u8];
    /// The target as it was sent, with its query.
    fn uri(&self) -> &[u8];
    /// `DOCUMENT_ROOT` of a front end that is believed.
    fn document_root(&self) -> Option<&[u8]>;
    fn accept_encoding(&self) -> Option<&[u8]>;
}

/// The mapped directories and files, and how their files are answered with.
#[derive(Debug, Default)]
pub struct StaticMap {
    mounts: Vec<Mount>,
    /// Files under the front end's DOCUMENT_ROOT are served too.
    docroot: bool,
    /// Directories beside their own root that files may resolve into.
    safe: Vec<PathBuf>,
    /// What a directory is answered with, the first that it has.
    index: Vec<Vec<u8>>,
    /// Ends of names that are never served, in lower case.
    skipped: Vec<Vec<u8>>,
    compressed: Compressed,
    expiry: Expiry,
    /// The header by which the front end is told to send the file itself.
    hand_on: Option<&'static str>,
    types: Types,
}

#[derive(Debug)]
struct Mount {
    /// Without trailing slashes; empty for every path.
    prefix: Vec<u8>,
    target: PathBuf,
    /// What is looked up beneath the target is the whole path, its prefix included.
    keeps_prefix: bool,
    /// No symbolic link was on the way to the target when the worker started: a link-free open is worth a try.
    is_direct: bool,
}

/// What a path means.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// Nothing here: ask the app.
    Missing,
    Found(Found<'a>),
    /// There is something that must not or can not be served: log the sentence, then ask the app.
    Refused(String),
    /// It can not be opened now, because the system has no descriptor or memory for it.
    Unavailable(String),
}

/// Why a file is not served, in a sentence.
enum NotServed {
    Never(String),
    Now(String),
}

/// A regular file that may be served.
#[derive(Debug)]
pub struct Found<'a> {
    file: OwnedFd,
    size: u64,
    /// Whole seconds since 1970, and the nanoseconds after them.
    modified_s: i64,
    modified_ns: i64,
    content_type: Option<&'a str>,
    /// The file is the compressed form of the one that was asked for.
    coding: Option<Coding>,
    /// Whether the answer depends on Accept-Encoding.
    varies: bool,
    lifetime: Option<Lifetime>,
    /// A header, by whose value the front end finds the file and sends it.
    hand_on: Option<(&'static str, String)>,
    /// Something to log beside serving it.
    pub note: Option<String>,
}

/// The whole path of a file, for options that match it.
#[derive(Debug)]
struct Names {
    /// By the name that was mapped.
    mapped: Vec<u8>,
    /// Without symbolic links, if there were any.
    real: Option<Vec<u8>>,
}

impl Names {
    fn any(&self, test: impl Fn(&[u8]) -> bool) -> bool {
        test(&self.mapped) || self.real.as_deref().is_some_and(test)
    }
}

/// What is known of the place of a file that was opened.
enum Place {
    /// Beneath its root by every name: no symbolic link was on the way.
    ByName,
    /// Beneath its root.
    Beneath,
    /// To be compared with the opened root.
    Unchecked(OwnedFd),
}

struct Opened {
    file: OwnedFd,
    status: libc::stat,
    place: Place,
}

impl StaticMap {
    /// What `StaticPlan` says; maps are tried in order. The directories need not exist yet.
    ///
    /// The error says which pattern is wrong, and how; the plan has been checked for that before.
    pub fn new(plan: &StaticPlan) -> Result<StaticMap, String> {
        let bytes = |texts: &[String]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        let pattern = |text: &String| Pattern::new(text).map_err(|error| format!("static-gzip = {text}: {error}"));
        Ok(StaticMap {
            mounts: plan.maps.iter().map(Mount::new).collect(),
            docroot: plan.docroot,
            safe: plan.safe.iter().map(PathBuf::from).collect(),
            index: bytes(&plan.index),
            skipped: plan.skipped_suffixes.iter().map(|text| text.to_ascii_lowercase().into_bytes()).collect(),
            compressed: Compressed {
                all: plan.compressed_all,
                patterns: plan.compressed_patterns.iter().map(pattern).collect::<Result<_, _>>()?,
                prefixes: bytes(&plan.compressed_prefixes),
                suffixes: bytes(&plan.compressed_suffixes),
            },
            expiry: Expiry::new(&plan.expires).map_err(|error| format!("static-expires: {error}"))?,
            hand_on: match plan.serve_mode.as_str() {
                "x-accel-redirect" => Some("X-Accel-Redirect"),
                "x-sendfile" => Some("X-Sendfile"),
                _ => None,
            },
            types: Types(plan.mime_types.as_str().into()),
        })
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.mounts.is_empty() && !self.docroot
    }

    /// Find the file for a request whose method `serves` allows.
    ///
    /// A prefix matches whole segments: `/static` means `/static` and `/static/x`, not `/staticx`. Of several maps that
    /// match, the first that has the file serves it.
    pub fn lookup(&self, request: &dyn Request) -> Lookup<'_> {
        let path = request.path();
        for mount in &self.mounts {
            if let Some(decided) = self.look_in(mount, path, request) {
                return decided;
            }
        }
        if self.docroot
            && let Some(root) = request.document_root().filter(|root| root.starts_with(b"/"))
        {
            let target = PathBuf::from(OsStr::from_bytes(root));
            let mount = Mount { prefix: Vec::new(), target, keeps_prefix: true, is_direct: false };
            if let Some(decided) = self.look_in(&mount, path, request) {
                return decided;
            }
        }
        Lookup::Missing
    }

    fn look_in<'a>(&'a self, mount: &Mount, path: &[u8], request: &dyn Request) -> Option<Lookup<'a>> {
        let rest = mount.rest_of(path)?;
        if self.is_skipped(path) {
            return None;
        }
        if let Some(why) = forbidden(rest) {
            return Some(Lookup::Refused(format!("security error: {} has {why}", path.escape_ascii())));
        }
        match self.open(mount, rest, request) {
            Ok(None) => None,
            Ok(Some(found)) => Some(Lookup::Found(found)),
            Err(NotServed::Never(why)) => Some(Lookup::Refused(why)),
            Err(NotServed::Now(why)) => Some(Lookup::Unavailable(why)),
        }
    }

    fn is_skipped(&self, name: &[u8]) -> bool {
        let ends = |suffix: &Vec<u8>| {
            name.len().checked_sub(suffix.len()).is_some_and(|start| name[start..].eq_ignore_ascii_case(suffix))
        };
        self.skipped.iter().any(ends)
    }

    /// The file at `rest` beneath the mount, None if there is none, or why it is not served.
    fn open(&self, mount: &Mount, rest: &[u8], request: &dyn Request) -> Result<Option<Found<'_>>, NotServed> {
        let relative = without_leading_slashes(rest);
        let opened = if rest.is_empty() {
            // The mapped name itself: it was named by the user, wherever it leads.
            open_at(None, mount.target.as_os_str().as_bytes(), READ).map(|file| (file, Place::Beneath))
        } else if relative.is_empty() {
            // `/robots.txt/` or `/static/`: a directory if anything.
            return self.open_index(mount, relative, request);
        } else {
            mount.open_beneath(relative)
        };
        let Some(opened) = self.examine(mount, rest, opened)? else {
            return Ok(None);
        };
        if is_kind(&opened.status, libc::S_IFDIR) {
            return self.open_index(mount, relative, request);
        }
        Ok(self.found(mount, relative, opened, request))
    }

    /// The first index file that the directory at `relative` has.
    fn open_index(
        &self,
        mount: &Mount,
        relative: &[u8],
        request: &dyn Request,
    ) -> Result<Option<Found<'_>>, NotServed> {
        let directory = without_trailing_slashes(relative);
        for index in &self.index {
            let name = if directory.is_empty() { index.clone() } else { [directory, b"/", index].concat() };
            if self.is_skipped(&name) {
                continue;
            }
            let Some(opened) = self.examine(mount, &name, mount.open_beneath(&name))? else { continue };
            if let Some(found) = self.found(mount, &name, opened, request) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What was opened, if it is there and may be served; `name` is what the log calls it.
    fn examine(
        &self,
        mount: &Mount,
        name: &[u8],
        opened: io::Result<(OwnedFd, Place)>,
    ) -> Result<Option<Opened>, NotServed> {
        let failed = |error: io::Error| {
            let target = mount.target.as_os_str().as_bytes().escape_ascii();
            let slash = if name.is_empty() || name.starts_with(b"/") { "" } else { "/" };
            let what = format!("{target}{slash}{} can not be served: {error}", name.escape_ascii());
            match sys::shortage_cure(&error) {
                Some(cure) => NotServed::Now(format!("{what}; {cure}")),
                None => NotServed::Never(what),
            }
        };
        let (file, place) = match opened {
            Ok(opened) => opened,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let status = open::status_of(file.as_fd()).map_err(failed)?;
        if !is_kind(&status, libc::S_IFREG) && !is_kind(&status, libc::S_IFDIR) {
            return Ok(None);
        }
        if let (Place::Unchecked(root), true) = (&place, is_kind(&status, libc::S_IFREG)) {
            self.check_place(root.as_fd(), file.as_fd()).map_err(NotServed::Never)?;
        }
        Ok(Some(Opened { file, status, place }))
    }

    /// The answer that a file makes, with what the options say of it; None if it is no regular one.
    fn found(&self, mount: &Mount, relative: &[u8], opened: Opened, request: &dyn Request) -> Option<Found<'_>> {
        let Opened { file, status, place } = opened;
        if !is_kind(&status, libc::S_IFREG) {
            return None;
        }
        let mut found = Found {
            file,
            size: 0,
            modified_s: 0,
            modified_ns: 0,
            content_type: None,
            coding: None,
            varies: false,
            lifetime: None,
            hand_on: None,
            note: None,
        };
        found.take_status(&status);
        let target = mount.target.as_os_str().as_bytes();
        found.content_type = self.types.of(if relative.is_empty() { target } else { relative });
        if self.compressed.is_empty() && self.expiry.is_empty() && self.hand_on.is_none() {
            return Some(found);
        }
        let mapped = if relative.is_empty() { target.to_vec() } else { [target, b"/", relative].concat() };
        let real = match place {
            Place::ByName if self.hand_on.is_none() => None,
            _ => real_path(found.file.as_fd()).ok().map(|path| path.into_os_string().into_encoded_bytes()),
        };
        let names = Names { mapped, real };
        if !self.expiry.is_empty() {
            found.lifetime = self.expiry.of(&Subject {
                names: &names,
                path_info: request.path(),
                uri: request.uri(),
                content_type: found.content_type,
            });
        }
        if let Some(header) = self.hand_on {
            found.hand_on = Some((header, percent_encoded(names.real.as_ref().unwrap_or(&names.mapped))));
        } else if names.any(|name| self.compressed.includes(name)) {
            found.varies = true;
            if let Some(accept) = request.accept_encoding() {
                self.compress(&mut found, mount, relative, accept);
            }
        }
        Some(found)
    }

    /// Puts a compressed form in the place of the file, if there is one that the client prefers.
    fn compress(&self, found: &mut Found<'_>, mount: &Mount, relative: &[u8], accept: &[u8]) {
        for coding in encodings::preferred(accept).into_iter().flatten() {
            let opened = if relative.is_empty() {
                // The mapped name itself has no root to stay in: the file beside it must be a plain one.
                let target = mount.target.as_os_str().as_bytes();
                CString::new([target, coding.suffix().as_bytes()].concat())
                    .map_err(io::Error::from)
                    .and_then(|name| open_resolving(libc::AT_FDCWD, &name, libc::RESOLVE_NO_SYMLINKS))
                    .map(|file| (file, Place::ByName))
            } else {
                mount.open_beneath(&[relative, coding.suffix().as_bytes()].concat())
            };
            match self.examine(mount, relative, opened) {
                Ok(Some(opened)) if is_kind(&opened.status, libc::S_IFREG) => {
                    found.take_status(&opened.status);
                    found.file = opened.file;
                    found.coding = Some(coding);
                    return;
                }
                Ok(_) => {}
                // The plain file is an answer all the same.
                Err(NotServed::Never(why) | NotServed::Now(why)) => found.note = Some(why),
            }
        }
    }

    /// Whether the opened file really lies beneath the opened root or a safe directory.
    fn check_place(&self, root: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<(), String> {
        let real = |fd| {
            real_path(fd).map_err(|error| {
                format!("static files can not be served: their real paths are unknown: /proc/self/fd: {error}")
            })
        };
        let (root, file) = (real(root)?, real(file)?);
        let is_safe =
            |directory: &PathBuf| directory.canonicalize().is_ok_and(|directory| is_beneath(&file, &directory));
        if is_beneath(&file, &root) || self.safe.iter().any(is_safe) {
            return Ok(());
        }
        Err(format!("security error: {} is not under {} or a safe path", escaped(&file), escaped(&root)))
    }
}

impl Found<'_> {
    fn take_status(&mut self, status: &libc::stat) {
        // Neither is negative or cut on a system with 64-bit offsets; elsewhere a file of that size does not open.
        self.size = u64::try_from(status.st_size).unwrap_or(0);
        self.modified_s = status.st_mtime;
        self.modified_ns = status.st_mtime_nsec;
    }
}

impl Mount {
    fn new(plan: &MapPlan) -> Mount {
        let target = PathBuf::from(&plan.path);
        Mount {
            prefix: plan.prefix.trim_end_matches('/').as_bytes().to_vec(),
            is_direct: target.canonicalize().map_or(true, |real| real == target),
            target,
            keeps_prefix: plan.keeps_prefix,
        }
    }

    /// What is looked up beneath the target, if `path` is the prefix or continues it with a slash.
    fn rest_of<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let rest = path.strip_prefix(self.prefix.as_slice())?;
        (rest.is_empty() || rest[0] == b'/').then_some(if self.keeps_prefix { path } else { rest })
    }

    /// Open the file at `path`, which has no `..` segment, beneath the target. If the kernel does not vouch for the
    /// place, the caller must check it.
    fn open_beneath(&self, path: &[u8]) -> io::Result<(OwnedFd, Place)> {
        if self.is_direct {
            let whole = CString::new([self.target.as_os_str().as_bytes(), b"/", path].concat())?;
            match open_resolving(libc::AT_FDCWD, &whole, libc::RESOLVE_NO_SYMLINKS) {
                Err(error) if is_undecided(&error) => {}
                decided => return Ok((decided?, Place::ByName)),
            }
        }
        let root = open_at(None, self.target.as_os_str().as_bytes(), libc::O_PATH | libc::O_DIRECTORY)?;
        match open_resolving(
            root.as_raw_fd(),
            &CString::new(path)?,
            libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS,
        ) {
            Err(error) if is_undecided(&error) => {
                Ok((open_at(Some(root.as_fd()), path, READ)?, Place::Unchecked(root)))
            }
            decided => Ok((decided?, Place::Beneath)),
        }
    }
}

/// What no path may contain, so that it means one file and that one is beneath the root by name.
fn forbidden(path: &[u8]) -> Option<&'static str> {
    if path.contains(&0) {
        Some("a NUL byte")
    } else if path.split(|&byte| byte == b'/').any(|segment| segment == b"..") {
        Some("a `..` segment")
    } else {
        None
    }
}

/// A path with a leading slash would not be looked up beneath the root.
fn without_leading_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    &path[start..]
}

fn without_trailing_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

/// A path as nginx and Apache read it in a header: every byte but letters, digits, slashes and a few marks is escaped, so
/// that no name can end the header.
fn percent_encoded(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// What the tests of these modules share: a directory with files, and requests.
#[cfg(test)]
mod testing {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, SystemTime};

    use super::conditional::StaticResponse;
    use super::{Conditions, Found, Lookup, Request, StaticMap};
    use crate::plan::{MapPlan, StaticPlan};

    /// A directory of a test with `static/` in it, removed at its end.
    pub struct Tree(PathBuf);

    impl Tree {
        pub fn new() -> Tree {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("static-files-{}-{number}", std::process::id()));
            std::fs::create_dir_all(path.join("static/sub")).unwrap();
            let tree = Tree(path.canonicalize().unwrap());
            tree.write("static/a.css", "body {}");
            tree.write("static/sub/b.JS", "1");
            tree.write("static/noext", "plain");
            tree.write("secret.txt", "secret");
            tree
        }

        pub fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        pub fn text(&self, name: &str) -> String {
            self.path(name).into_os_string().into_string().unwrap()
        }

        pub fn write(&self, name: &str, contents: &str) {
            std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
            std::fs::write(self.path(name), contents).unwrap();
        }

        pub fn plan(&self, maps: &[(&str, &str)]) -> StaticPlan {
            let map = |(prefix, name): &(&str, &str)| MapPlan {
                prefix: (*prefix).to_owned(),
                path: self.text(name),
                keeps_prefix: false,
            };
            StaticPlan {
                maps: maps.iter().map(map).collect(),
                mime_types: "css text/css\nevil a\x1bb\njs text/javascript\ntxt text/plain\n".to_owned(),
                ..StaticPlan::default()
            }
        }

        pub fn map_with(&self, maps: &[(&str, &str)], safe: &[&str]) -> StaticMap {
            let safe = safe.iter().map(|name| self.text(name)).collect();
            StaticMap::new(&StaticPlan { safe, ..self.plan(maps) }).unwrap()
        }

        pub fn map(&self) -> StaticMap {
            self.map_with(&[("/static", "static")], &[])
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    /// A request of nothing but a path, unless a test says more.
    #[derive(Clone, Copy, Default)]
    pub struct Asked<'a> {
        pub path: &'a [u8],
        pub document_root: Option<&'a [u8]>,
        pub accept_encoding: Option<&'a [u8]>,
    }

    impl<'a> Asked<'a> {
        pub fn path(path: &'a [u8]) -> Self {
            Self { path, ..Self::default() }
        }
    }

    impl Request for Asked<'_> {
        fn path(&self) -> &[u8] {
            self.path
        }

        fn uri(&self) -> &[u8] {
            self.path
        }

        fn document_root(&self) -> Option<&[u8]> {
            self.document_root
        }

        fn accept_encoding(&self) -> Option<&[u8]> {
            self.accept_encoding
        }
    }

    pub fn found<'a>(map: &'a StaticMap, path: &str) -> Found<'a> {
        match map.lookup(&Asked::path(path.as_bytes())) {
            Lookup::Found(found) => found,
            other => panic!("{path}: {other:?}"),
        }
    }

    pub fn contents(map: &StaticMap, path: &str) -> String {
        let mut text = String::new();
        File::from(found(map, path).file).read_to_string(&mut text).unwrap();
        text
    }

    pub const MODIFIED: u64 = 1_700_000_000;
    pub const MODIFIED_TEXT: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

    pub fn later() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED + 100_000_000)
    }

    pub fn get() -> Conditions<'static> {
        Conditions { method: b"GET", ..Conditions::default() }
    }

    pub fn body_of(response: &StaticResponse) -> Vec<u8> {
        let Some(body) = &response.body else {
            return Vec::new();
        };
        let mut bytes = vec![0; usize::try_from(body.length).unwrap()];
        File::from(body.file.try_clone().unwrap()).read_exact_at(&mut bytes, body.offset).unwrap();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::conditional::FileBody;
    use super::testing::{Asked, Tree, body_of, contents, found, get, later};
    use super::*;

    fn is_missing(map: &StaticMap, path: &str) -> bool {
        matches!(map.lookup(&Asked::path(path.as_bytes())), Lookup::Missing)
    }

    fn refusal(map: &StaticMap, path: &[u8]) -> String {
        match map.lookup(&Asked::path(path)) {
            Lookup::Refused(why) => why,
            other => panic!("{}: {other:?}", path.escape_ascii()),
        }
    }

    // Lookup.

    #[test]
    fn files_beneath_the_prefix_are_found() {
        let tree = Tree::new();
        let map = tree.map();
        assert!(!map.is_empty() && StaticMap::default().is_empty());
        for path in ["/static/a.css", "/static//a.css", "/static/./a.css"] {
            assert_eq!(contents(&map, path), "body {}");
        }
        assert_eq!(contents(&map, "/static/sub/b.JS"), "1");
    }

    #[test]
    fn a_prefix_matches_whole_segments() {
        let tree = Tree::new();
        tree.write("staticx/a.css", "other");
        for prefix in ["/static", "/static/", "/static//"] {
            let map = tree.map_with(&[(prefix, "static")], &[]);
            assert_eq!(contents(&map, "/static/a.css"), "body {}");
            for path in [
                "/staticx/a.css",
                "/statica.css",
                "/stati",
                "/",
                "",
                "static/a.css",
                "/Static/a.css",
                "/x/static/a.css",
            ] {
                assert!(is_missing(&map, path), "{path}");
            }
        }
    }

    #[test]
    fn directories_and_missing_files_are_for_the_app() {
        let tree = Tree::new();
        let map = tree.map_with(&[("/static", "static"), ("/none", "nonexistent"), ("/file", "secret.txt")], &[]);
        for path in [
            "/static",
            "/static/",
            "/static/sub",
            "/static/sub/",
            "/static/.",
            "/static/nope",
            "/static/a.css/",
            "/static/a.css/x",
            "/none",
            "/none/x",
            "/file/",
            "/file/x",
            "/file//",
        ] {
            assert!(is_missing(&map, path), "{path}");
        }
        assert!(is_missing(&map, &format!("/static/{}", "x".repeat(300))));
        assert!(is_missing(&map, &format!("/static/{}", "x/".repeat(5_000))));
    }

    #[test]
    fn one_file_can_be_mapped() {
        let tree = Tree::new();
        let map = tree.map_with(&[("/robots", "secret.txt")], &[]);
        assert_eq!(contents(&map, "/robots"), "secret");
        assert_eq!(found(&map, "/robots").content_type, Some("text/plain"));
        // Even through a link: it was named by the user.
        symlink(tree.path("secret.txt"), tree.path("link.txt")).unwrap();
        assert_eq!(contents(&tree.map_with(&[("/r", "link.txt")], &[]), "/r"), "secret");
    }

    #[test]
    fn the_first_map_that_has_the_file_serves_it() {
        let tree = Tree::new();
        tree.write("other/a.css", "other");
        tree.write("other/only.css", "only");
        let map = tree.map_with(&[("/static", "static"), ("/static", "other")], &[]);
        assert_eq!(contents(&map, "/static/a.css"), "body {}");
        assert_eq!(contents(&map, "/static/only.css"), "only");
    }

    #[test]
    fn the_root_can_be_mapped() {
        let tree = Tree::new();
        for prefix in ["/", ""] {
            let map = tree.map_with(&[(prefix, "static")], &[]);
            assert_eq!(contents(&map, "/a.css"), "body {}");
            assert!(is_missing(&map, "/") && is_missing(&map, "a.css") && is_missing(&map, ""));
            assert_eq!(contents(&map, "//a.css"), "body {}");
            assert!(is_missing(&map, "//etc/passwd") && is_missing(&map, "///etc/passwd"));
        }
        let map = MapPlan { prefix: "/all".to_owned(), path: "/".to_owned(), keeps_prefix: false };
        let map = StaticMap::new(&StaticPlan { maps: vec![map], ..StaticPlan::default() }).unwrap();
        assert!(matches!(map.lookup(&Asked::path(b"/all/etc/passwd")), Lookup::Found(_)));
    }

    #[test]
    fn types_come_from_the_table_by_extension_in_any_case() {
        let tree = Tree::new();
        for name in ["x.tar.css", ".css", "x.", "x.evil", "x.unknown", "sub.css/plain"] {
            tree.write(&format!("static/{name}"), "");
        }
        let map = tree.map();
        for (path, content_type) in [
            ("/static/a.css", Some("text/css")),
            ("/static/sub/b.JS", Some("text/javascript")),
            ("/static/noext", None),
            ("/static/x.tar.css", Some("text/css")),
            ("/static/.css", Some("text/css")),
            ("/static/x.", None),
            ("/static/x.evil", None),
            ("/static/x.unknown", None),
            ("/static/sub.css/plain", None),
        ] {
            assert_eq!(found(&map, path).content_type, content_type, "{path}");
        }
    }

    #[test]
    fn parent_segments_and_nul_are_refused() {
        let tree = Tree::new();
        let map = tree.map();
        for path in [
            &b"/static/../secret.txt"[..],
            b"/static/..",
            b"/static/sub/../../secret.txt",
            b"/static/sub/..",
            b"/static//../secret.txt",
            b"/static/./../secret.txt",
        ] {
            assert!(refusal(&map, path).contains("a `..` segment"));
        }
        assert!(
            refusal(&map, b"/static/a.css\0.txt").ends_with(r"security error: /static/a.css\x00.txt has a NUL byte")
        );
        // Three dots, and dots in names, are names.
        tree.write("static/...", "dots");
        tree.write("static/a..b", "dots");
        assert_eq!(contents(&map, "/static/..."), "dots");
        assert_eq!(contents(&map, "/static/a..b"), "dots");
        // Not beneath the prefix at all: not ours to judge.
        assert!(is_missing(&map, "/../static/a.css"));
    }

    #[test]
    fn encoded_traversal_is_a_name_after_decoding_once() {
        let tree = Tree::new();
        let map = tree.map();
        for path in ["/static/%2e%2e/secret.txt", "/static/..%2fsecret.txt", "/static/..\\secret.txt", "/static/%00"] {
            assert!(is_missing(&map, path), "{path}");
        }
    }

    #[test]
    fn a_link_that_leads_outside_is_refused_and_reported() {
        let tree = Tree::new();
        symlink(tree.path("secret.txt"), tree.path("static/leak.css")).unwrap();
        symlink("../secret.txt", tree.path("static/relative.css")).unwrap();
        symlink("/", tree.path("static/all")).unwrap();
        let map = tree.map();
        let expected =
            format!("security error: {} is not under {} or a safe path", tree.text("secret.txt"), tree.text("static"));
        assert_eq!(refusal(&map, b"/static/leak.css"), expected);
        assert_eq!(refusal(&map, b"/static/relative.css"), expected);
        assert!(refusal(&map, b"/static/all/etc/passwd").starts_with("security error: /etc/passwd is not under "));
    }

    #[test]
    fn a_sibling_with_the_same_beginning_is_outside() {
        let tree = Tree::new();
        tree.write("static-private/key.txt", "key");
        symlink(tree.path("static-private/key.txt"), tree.path("static/key.txt")).unwrap();
        assert!(refusal(&tree.map(), b"/static/key.txt").contains("static-private/key.txt is not under"));
    }

    #[test]
    fn links_within_the_root_and_a_linked_root_are_served() {
        let tree = Tree::new();
        symlink("a.css", tree.path("static/alias.css")).unwrap();
        symlink(tree.path("static/sub"), tree.path("static/linked")).unwrap();
        symlink("static", tree.path("current")).unwrap();
        for map in [tree.map(), tree.map_with(&[("/static", "current")], &[])] {
            assert_eq!(contents(&map, "/static/alias.css"), "body {}");
            assert_eq!(contents(&map, "/static/linked/b.JS"), "1");
        }
    }

    #[test]
    fn a_root_that_is_switched_to_a_new_release_is_followed() {
        let tree = Tree::new();
        tree.write("r1/x", "one");
        tree.write("r2/x", "two");
        symlink("r1", tree.path("current")).unwrap();
        let map = tree.map_with(&[("/s", "current")], &[]);
        assert_eq!(contents(&map, "/s/x"), "one");
        symlink("r2", tree.path("next")).unwrap();
        std::fs::rename(tree.path("next"), tree.path("current")).unwrap();
        assert_eq!(contents(&map, "/s/x"), "two");
    }

    #[test]
    fn a_plain_root_that_becomes_a_link_is_followed_and_still_confines() {
        let tree = Tree::new();
        symlink(tree.path("secret.txt"), tree.path("static/leak.css")).unwrap();
        let map = tree.map();
        assert!(map.mounts[0].is_direct);
        std::fs::rename(tree.path("static"), tree.path("r1")).unwrap();
        symlink("r1", tree.path("static")).unwrap();
        assert_eq!(contents(&map, "/static/a.css"), "body {}");
        assert!(refusal(&map, b"/static/leak.css").contains("secret.txt is not under"));
        assert!(!tree.map().mounts[0].is_direct);
    }

    #[test]
    fn safe_directories_may_be_linked_to() {
        let tree = Tree::new();
        tree.write("shared/logo.css", "logo");
        tree.write("shared-not/x", "x");
        symlink("shared", tree.path("shared-link")).unwrap();
        symlink(tree.path("shared/logo.css"), tree.path("static/logo.css")).unwrap();
        symlink(tree.path("shared-not/x"), tree.path("static/x")).unwrap();
        for safe in ["shared", "shared/", "shared-link"] {
            let map = tree.map_with(&[("/static", "static")], &["nonexistent", safe]);
            assert_eq!(contents(&map, "/static/logo.css"), "logo");
            assert!(refusal(&map, b"/static/x").contains("shared-not"));
        }
    }

    // Hostile files.

    #[test]
    fn fifos_sockets_and_devices_are_not_served_and_not_waited_for() {
        let tree = Tree::new();
        let fifo = CString::new(tree.text("static/fifo")).unwrap();
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o644) }, 0);
        let _listener = std::os::unix::net::UnixListener::bind(tree.path("static/socket")).unwrap();
        symlink("/dev/zero", tree.path("static/zero")).unwrap();
        let map = tree.map_with(&[("/static", "static"), ("/fifo", "static/fifo")], &[]);
        for path in ["/static/fifo", "/static/socket", "/static/zero", "/fifo"] {
            assert!(is_missing(&map, path), "{path}");
        }
    }

    #[test]
    fn links_into_proc_are_refused() {
        let tree = Tree::new();
        let outside = File::open(tree.path("secret.txt")).unwrap();
        for (name, target) in [
            ("environ", "/proc/self/environ".to_owned()),
            ("cwd", "/proc/self/cwd".to_owned()),
            ("root", "/proc/self/root".to_owned()),
            ("descriptor", format!("/proc/self/fd/{}", outside.as_raw_fd())),
        ] {
            symlink(target, tree.path(&format!("static/{name}"))).unwrap();
        }
        let map = tree.map();
        assert!(refusal(&map, b"/static/environ").starts_with("security error: /proc/"));
        assert!(refusal(&map, b"/static/root/etc/passwd").starts_with("security error: /etc/passwd"));
        assert!(refusal(&map, b"/static/descriptor").contains("secret.txt is not under"));
        assert!(matches!(map.lookup(&Asked::path(b"/static/cwd/Cargo.toml")), Lookup::Missing | Lookup::Refused(_)));
    }

    #[test]
    fn a_loop_of_links_is_reported() {
        let tree = Tree::new();
        symlink("loop", tree.path("static/loop")).unwrap();
        let why = refusal(&tree.map(), b"/static/loop");
        assert!(why.contains("static/loop can not be served: Too many levels"), "{why}");
    }

    #[test]
    fn names_in_reports_can_not_forge_log_lines() {
        let tree = Tree::new();
        tree.write("out\n[pid: 1]\x1b", "x");
        symlink(tree.path("out\n[pid: 1]\x1b"), tree.path("static/x")).unwrap();
        for why in [refusal(&tree.map(), b"/static/x"), refusal(&tree.map(), b"/static/\n\x1b/..")] {
            assert!(!why.contains(['\n', '\x1b']), "{why:?}");
        }
    }

    #[test]
    fn swapping_links_in_a_loop_never_serves_what_is_outside() {
        let tree = Tree::new();
        tree.write("outside/f", "secret");
        tree.write("static/inside/f", "public");
        symlink("inside", tree.path("static/swap")).unwrap();
        let over = AtomicBool::new(false);
        let map = tree.map();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..4_000 {
                    let target = if round % 2 == 0 { tree.path("outside") } else { PathBuf::from("inside") };
                    symlink(target, tree.path("static/next")).unwrap();
                    std::fs::rename(tree.path("static/next"), tree.path("static/swap")).unwrap();
                }
                over.store(true, Ordering::Relaxed);
            });
            let (mut served, mut refused) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                match map.lookup(&Asked::path(b"/static/swap/f")) {
                    Lookup::Found(found) => {
                        let mut text = String::new();
                        File::from(found.file).read_to_string(&mut text).unwrap();
                        assert_eq!(text, "public");
                        served += 1;
                    }
                    Lookup::Refused(_) => refused += 1,
                    Lookup::Missing => panic!("rename replaces in one step"),
                    Lookup::Unavailable(why) => panic!("{why}"),
                }
            }
            assert!(served + refused > 0);
        });
    }

    #[test]
    fn swapping_a_file_with_a_link_never_serves_what_is_outside() {
        let tree = Tree::new();
        let over = AtomicBool::new(false);
        let map = tree.map();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..4_000 {
                    if round % 2 == 0 {
                        symlink(tree.path("secret.txt"), tree.path("static/next")).unwrap();
                    } else {
                        tree.write("static/next", "public");
                    }
                    std::fs::rename(tree.path("static/next"), tree.path("static/swap")).unwrap();
                }
                over.store(true, Ordering::Relaxed);
            });
            while !over.load(Ordering::Relaxed) {
                if let Lookup::Found(found) = map.lookup(&Asked::path(b"/static/swap")) {
                    let mut text = String::new();
                    File::from(found.file).read_to_string(&mut text).unwrap();
                    assert_eq!(text, "public");
                }
            }
        });
    }

    #[test]
    fn a_part_is_read_whole_or_not_at_all() {
        let tree = Tree::new();
        let map = tree.map();
        let body = |offset, length| FileBody { file: found(&map, "/static/a.css").file, offset, length };
        let mut buffer = [0; 7];
        assert_eq!(body(0, 7).read_small(&mut buffer), Some(&b"body {}"[..]));
        assert_eq!(body(5, 2).read_small(&mut buffer), Some(&b"{}"[..]));
        assert_eq!(body(0, 8).read_small(&mut buffer), None);
        assert_eq!(body(5, 3).read_small(&mut buffer), None);
        assert_eq!(body(u64::MAX, 1).read_small(&mut buffer), None);
    }

    #[test]
    fn a_file_removed_after_opening_is_still_served() {
        let tree = Tree::new();
        let map = tree.map();
        let found = found(&map, "/static/a.css");
        std::fs::remove_file(tree.path("static/a.css")).unwrap();
        let response = found.respond(&get(), later()).unwrap();
        assert_eq!(body_of(&response), b"body {}");
    }

    #[test]
    fn without_openat2_the_real_paths_decide() {
        let tree = Tree::new();
        let open = |path: &str| open_at(None, tree.text(path).as_bytes(), READ).unwrap();
        let map = tree.map_with(&[("/static", "static")], &["static/sub"]);
        let root = open("static");
        assert!(map.check_place(root.as_fd(), open("static/a.css").as_fd()).is_ok());
        assert!(map.check_place(root.as_fd(), open("secret.txt").as_fd()).is_err());
        let other_root = open("secret.txt");
        assert!(map.check_place(other_root.as_fd(), open("static/sub/b.JS").as_fd()).is_ok());
        assert!(map.check_place(other_root.as_fd(), open("static/a.css").as_fd()).is_err());
    }

    #[test]
    fn lookups_leave_no_descriptor_open() {
        let tree = Tree::new();
        symlink(tree.path("secret.txt"), tree.path("static/leak.css")).unwrap();
        symlink(tree.path("static/a.css"), tree.path("static/absolute.css")).unwrap();
        let map = tree.map();
        let highest = || File::open("/dev/null").unwrap().as_raw_fd();
        let before = highest();
        for _ in 0..2_000 {
            for path in ["/static/a.css", "/static/absolute.css", "/static/leak.css", "/static/sub", "/static/no"] {
                map.lookup(&Asked::path(path.as_bytes()));
            }
        }
        // Other tests open files at the same time, but not thousands.
        assert!(highest() < before + 1_000);
    }

    #[test]
    fn what_is_beneath() {
        for (file, directory, expected) in [
            ("/a/b", "/a", true),
            ("/a/b", "/a/", true),
            ("/a/b", "/", true),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
            ("(unreachable)/a/b", "/a", false),
            ("a/b", "a", false),
            ("/a/b (deleted)", "/a", true),
        ] {
            assert_eq!(is_beneath(Path::new(file), Path::new(directory)), expected, "{file} {directory}");
        }
    }
}
