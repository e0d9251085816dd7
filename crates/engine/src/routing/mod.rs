//! Rules that decide about requests before the app is asked: `route` and its kin.
//!
//! A pure machine: a request is looked at through [`Request`], and what comes of it is a value, an [`Outcome`] and what
//! stands in [`Routed`]. No socket, no log, no Python. The rules were parsed and checked where the plan was made
//! (`penstock/plan/routes.py`); here they are compiled, once for each worker.
//!
//! What bounds the time of a request: rules are tried once each, because a jump leads forward only; a comparison with a
//! pattern is given up after a number of steps; texts that are put together have a longest length. Where a comparison was
//! given up it is not known what the rule would have done, and it may have been there to refuse: the request is answered
//! with 500.
//!
//! What a client sent is never read as a rule: `${...}` and `$1` are found in the configuration, not in what they stand
//! for.

mod credentials;
mod edits;
mod rule;
mod template;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

pub use edits::Edits;

use crate::pattern::{GivenUp, Groups};
use crate::plan::{RoutesPlan, StaticPlan};
use crate::static_files::{self, Lookup, StaticMap};
use rule::{Action, Condition, Files, Rule};
use template::{Captured, TooLong};

/// Longest text that is put together out of a template. What a client sends is shorter, but may be repeated.
const TEXT_BYTES: usize = 64 * 1024;

/// A limit of a request that may take as long as it likes, in microseconds.
pub const NO_LIMIT: u64 = u64::MAX;

/// A request as rules see it: variables as the app would find them in its environ.
pub trait Request {
    /// The value, empty if there is none.
    fn var(&self, name: &[u8]) -> Cow<'_, [u8]>;
}

/// What `${uwsgi[...]}` stands for beside the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    pub worker_id: u32,
    pub pid: u32,
}

/// What rules did to a request that goes on.
#[derive(Debug, Default)]
pub struct Routed {
    /// Variables that the app gets in place of the request's own, or beside them; a later one wins.
    pub vars: Vec<(Box<[u8]>, Vec<u8>)>,
    pub edits: Option<Box<Edits>>,
    /// Lines for the log that a rule asked for.
    pub lines: Vec<Vec<u8>>,
    /// Complaints, which a client may cause as often as it likes.
    pub complaints: Vec<String>,
    /// No request line for this one.
    pub is_unlogged: bool,
    /// Longest time in the app, in microseconds; 0 for the usual one.
    pub limit_us: u64,
}

impl Routed {
    /// A copy of what lines in the log are made of.
    pub fn for_log(&self) -> Self {
        Self { vars: self.vars.clone(), lines: self.lines.clone(), is_unlogged: self.is_unlogged, ..Self::default() }
    }

    /// What a rule has set a variable to.
    pub fn var(&self, name: &[u8]) -> Option<&[u8]> {
        self.vars.iter().rev().find(|(key, _)| **key == *name).map(|(_, value)| value.as_slice())
    }

    pub fn set(&mut self, name: &[u8], value: Vec<u8>) {
        match self.vars.iter_mut().find(|(key, _)| **key == *name) {
            Some((_, old)) => *old = value,
            None => self.vars.push((name.into(), value)),
        }
    }

    /// Whether nothing of it matters to what follows.
    pub fn is_empty(&self) -> bool {
        self.vars.is_empty() && self.edits.is_none() && !self.is_unlogged && self.limit_us == 0
    }
}

/// A response that a rule gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Such as `404 Not Found`.
    pub status: Vec<u8>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub body: Vec<u8>,
    /// The connection ends with it.
    pub closes: bool,
}

impl Answer {
    pub fn not_found() -> Self {
        Self::text(b"404 Not Found", b"Not Found")
    }

    fn text(status: &[u8], body: &[u8]) -> Self {
        Self {
            status: status.to_vec(),
            headers: vec![("Content-Type", b"text/plain".to_vec())],
            body: body.to_vec(),
            closes: false,
        }
    }
}

/// What the rules come to.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The app is asked.
    Pass,
    Answer(Answer),
    /// A file is the answer, if there is one.
    File(Lookup<'a>),
    /// The connection ends without an answer.
    Drop,
}

/// The rules of a worker.
#[derive(Debug)]
pub struct Router {
    request: Vec<Rule>,
    response: Vec<Rule>,
    last: Vec<Rule>,
    /// Variables that the rules about responses look at.
    response_vars: Vec<Box<[u8]>>,
    files: StaticMap,
    facts: Facts,
}

/// What the rules about a response may look at, kept until its head is complete.
#[derive(Debug)]
struct Snapshot(Vec<(Box<[u8]>, Vec<u8>)>);

impl Request for Snapshot {
    fn var(&self, name: &[u8]) -> Cow<'_, [u8]> {
        let found = self.0.iter().find(|(key, _)| **key == *name);
        Cow::Borrowed(found.map_or(b"", |(_, value)| value.as_slice()))
    }
}

/// What a rule is evaluated with.
struct View<'a> {
    request: &'a dyn Request,
    vars: &'a Routed,
    status: u16,
    facts: Facts,
}

impl<'a> View<'a> {
    fn var(&self, name: &[u8]) -> Cow<'a, [u8]> {
        match self.vars.var(name) {
            Some(value) => Cow::Borrowed(value),
            None => self.request.var(name),
        }
    }
}

/// A file that a rule names.
struct Wanted<'a> {
    /// Where it is, by the prefix of its rule.
    path: Vec<u8>,
    uri: Cow<'a, [u8]>,
    accept_encoding: Cow<'a, [u8]>,
}

impl static_files::Request for Wanted<'_> {
    fn path(&self) -> &[u8] {
        &self.path
    }

    fn uri(&self) -> &[u8] {
        &self.uri
    }

    fn document_root(&self) -> Option<&[u8]> {
        None
    }

    fn accept_encoding(&self) -> Option<&[u8]> {
        Some(&*self.accept_encoding).filter(|value| !value.is_empty())
    }
}

/// Why no decision was reached.
enum Undecided {
    Pattern,
    Length,
}

impl From<GivenUp> for Undecided {
    fn from(_: GivenUp) -> Self {
        Self::Pattern
    }
}

impl From<TooLong> for Undecided {
    fn from(_: TooLong) -> Self {
        Self::Length
    }
}

/// How the rules go on after one of them.
enum Flow<'a> {
    Next,
    Jump(usize),
    End(Outcome<'a>),
}

/// What one rule does, worked out before anything is changed.
enum Deed<'a> {
    Nothing,
    Set(&'a [u8], Vec<u8>),
    Rewrite { path: Vec<u8>, query: Vec<u8>, ends: bool },
    AddHeader(&'a [u8], Vec<u8>),
    DropHeader(&'a [u8]),
    Line(Vec<u8>),
    Unlogged,
    Limit(u64),
    Jump(usize),
    End(Outcome<'a>),
}

impl Router {
    /// None where there are no rules. The error is a rule that can not be compiled, which the plan should have refused.
    pub fn new(plan: &RoutesPlan, files: &StaticPlan, facts: Facts) -> Result<Option<Self>, String> {
        if plan.request.is_empty() && plan.response.is_empty() && plan.last.is_empty() {
            return Ok(None);
        }
        let mut roots = Files::default();
        let mut compiled = |rules: &[_]| rules.iter().map(|rule| Rule::new(rule, &mut roots)).collect::<Result<_, _>>();
        let request = compiled(&plan.request)?;
        let response: Vec<Rule> = compiled(&plan.response)?;
        let last = compiled(&plan.last)?;
        let mut response_vars: Vec<Box<[u8]>> = Vec::new();
        for name in response.iter().flat_map(Rule::vars) {
            if !response_vars.iter().any(|known| **known == *name) {
                response_vars.push(name.into());
            }
        }
        // What is said about files counts, but for where they are and which are none of the public's: rules say that.
        let said = StaticPlan { maps: roots.0, docroot: false, skipped_suffixes: vec![], ..files.clone() };
        let files = StaticMap::new(&said)?;
        Ok(Some(Self { request, response, last, response_vars, files, facts }))
    }

    /// Applies the rules to a request that is complete.
    pub fn route<'a>(self: &'a Arc<Self>, request: &dyn Request, routed: &mut Routed) -> Outcome<'a> {
        let outcome = self.apply(&self.request, request, 0, routed);
        if !self.response.is_empty() {
            let view = View { request, vars: routed, status: 0, facts: self.facts };
            let kept = self.response_vars.iter().map(|name| (name.clone(), view.var(name).into_owned())).collect();
            let edits = routed.edits.get_or_insert_default();
            edits.later = Some((Arc::clone(self), Snapshot(kept)));
        }
        outcome
    }

    /// Applies the rules about finished requests.
    pub fn conclude(&self, request: &dyn Request, status: u16, routed: &mut Routed) {
        if !self.last.is_empty() {
            self.apply(&self.last, request, status, routed);
        }
    }

    pub fn has_last(&self) -> bool {
        !self.last.is_empty()
    }

    fn apply<'a>(&'a self, rules: &'a [Rule], request: &dyn Request, status: u16, routed: &mut Routed) -> Outcome<'a> {
        let mut place = 0;
        while let Some(rule) = rules.get(place) {
            place += 1;
            let view = View { request, vars: routed, status, facts: self.facts };
            let deed = match self.deed(rule, &view) {
                Ok(None) => continue,
                Ok(Some(deed)) => deed,
                Err(undecided) => {
                    let what = match undecided {
                        Undecided::Pattern => "comparing its pattern took too long",
                        Undecided::Length => "it makes a text that is too long",
                    };
                    // Without a status there is no response yet.
                    let result =
                        if status == 0 { "the request was answered with 500" } else { "no rule after it was tried" };
                    routed.complaints.push(format!("{}: {what}; {result}", rule.place));
                    return Outcome::Answer(Answer {
                        closes: true,
                        ..Answer::text(b"500 Internal Server Error", b"Internal Server Error")
                    });
                }
            };
            match routed.carry_out(rule, deed) {
                Flow::Next => {}
                Flow::Jump(target) => place = place.max(target),
                Flow::End(outcome) => return outcome,
            }
        }
        Outcome::Pass
    }

    /// What the rule does with this request; None if it is not meant.
    fn deed<'a>(&'a self, rule: &'a Rule, view: &View<'_>) -> Result<Option<Deed<'a>>, Undecided> {
        let mut groups = None;
        if rule.holds(view, &mut groups)? == rule.is_negated {
            return Ok(None);
        }
        let captured = groups.as_ref().map(|(text, groups): &(Vec<u8>, Groups)| Captured { text, groups });
        let fill = |template: &template::Template| template.fill(view, captured.as_ref()).map(Cow::into_owned);
        Ok(Some(match &rule.action {
            Action::Nothing => Deed::Nothing,
            Action::Set(name, value) => Deed::Set(name, fill(value)?),
            Action::Rewrite(template, ends) => {
                let target = fill(template)?;
                let (path, query) = match memchr::memchr(b'?', &target) {
                    Some(mark) => (&target[..mark], &target[mark + 1..]),
                    None => (&target[..], &b""[..]),
                };
                let mut query = query.to_vec();
                let before = view.var(b"QUERY_STRING");
                if !query.is_empty() && !before.is_empty() {
                    query.push(b'&');
                }
                query.extend_from_slice(&before);
                Deed::Rewrite { path: percent_decoded(path), query, ends: *ends }
            }
            Action::StripScriptName => {
                let (path, script) = (view.var(b"PATH_INFO"), view.var(b"SCRIPT_NAME"));
                match path.strip_prefix(&*script).filter(|_| !script.is_empty()) {
                    Some(rest) => Deed::Set(b"PATH_INFO", rest.to_vec()),
                    None => Deed::Nothing,
                }
            }
            Action::AddHeader(name, value) => Deed::AddHeader(name, fill(value)?),
            Action::DropHeader(name) => Deed::DropHeader(name),
            Action::Line(template) => Deed::Line(fill(template)?),
            Action::Unlogged => Deed::Unlogged,
            Action::Limit(limit_us) => Deed::Limit(*limit_us),
            Action::Jump(target) => Deed::Jump(*target),
            Action::End => Deed::End(Outcome::Pass),
            Action::Drop => Deed::End(Outcome::Drop),
            Action::Respond { status, body, closes } => {
                let answer = Answer { closes: *closes, ..Answer::text(status, body) };
                Deed::End(Outcome::Answer(answer))
            }
            Action::Redirect { is_permanent, location, names_no_host } => {
                let target = location_of(&fill(location)?, *names_no_host);
                let (status, body): (&[u8], &[u8]) = if *is_permanent {
                    (b"301 Moved Permanently", b"Moved Permanently")
                } else {
                    (b"302 Found", b"Moved")
                };
                let mut answer = Answer::text(status, body);
                answer.headers.push(("Location", target));
                Deed::End(Outcome::Answer(answer))
            }
            Action::File { mount, rest } => {
                let wanted = Wanted {
                    path: [&**mount, &fill(rest)?].concat(),
                    uri: view.var(b"REQUEST_URI"),
                    accept_encoding: view.var(b"HTTP_ACCEPT_ENCODING"),
                };
                Deed::End(self.file(&wanted, &view.var(b"REQUEST_METHOD")))
            }
            Action::Authenticate { realm, credentials } => {
                match credentials::user_of(&view.var(b"HTTP_AUTHORIZATION"), credentials) {
                    Some(user) => Deed::Set(b"REMOTE_USER", user),
                    None => {
                        let mut answer = Answer::text(b"401 Unauthorized", b"Unauthorized");
                        answer.headers.push(("WWW-Authenticate", realm.clone()));
                        Deed::End(Outcome::Answer(answer))
                    }
                }
            }
        }))
    }

    fn file(&self, wanted: &Wanted<'_>, method: &[u8]) -> Outcome<'_> {
        if !static_files::serves(method) {
            let mut answer = Answer::text(b"405 Method Not Allowed", b"Method Not Allowed");
            answer.headers.push(("Allow", b"GET, HEAD".to_vec()));
            return Outcome::Answer(answer);
        }
        Outcome::File(self.files.lookup(wanted))
    }
}

impl Routed {
    fn carry_out<'a>(&mut self, rule: &Rule, deed: Deed<'a>) -> Flow<'a> {
        match deed {
            Deed::Nothing => {}
            Deed::Set(name, value) => self.set(name, value),
            Deed::Rewrite { path, query, ends } => {
                self.set(b"PATH_INFO", path);
                self.set(b"QUERY_STRING", query);
                if ends {
                    return Flow::End(Outcome::Pass);
                }
            }
            Deed::AddHeader(name, value) => {
                // Blanks around a value are none of it, and configurations are written with them.
                let value = value.trim_ascii();
                if wire::response::check_header(name, value).is_err() {
                    let name = name.escape_ascii();
                    self.complaints.push(format!(
                        "{}: the header {name} was left out: what it would be has a line end or NUL in it",
                        rule.place
                    ));
                } else {
                    self.edits.get_or_insert_default().add(name, value);
                }
            }
            Deed::DropHeader(name) => self.edits.get_or_insert_default().leave_out(name),
            Deed::Line(line) => self.lines.push(line),
            Deed::Unlogged => self.is_unlogged = true,
            Deed::Limit(limit_us) => self.limit_us = limit_us,
            Deed::Jump(target) => return Flow::Jump(target),
            Deed::End(outcome) => return Flow::End(outcome),
        }
        Flow::Next
    }
}

/// A `Location` that can be sent: what may not stand in a URI (RFC 3986 2) becomes `%XX`, line ends among it.
///
/// `names_no_host`: the rule does not itself begin with `//`, so that what a client sent must not make it another site's
/// name.
fn location_of(text: &[u8], names_no_host: bool) -> Vec<u8> {
    let mut text = text;
    while names_no_host && text.starts_with(b"//") {
        text = &text[1..];
    }
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        let is_plain = byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        if is_plain {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// What is no valid escape stays as it is.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Whether a condition about a file holds.
fn file_is(kind: rule::FileKind, path: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    if kind == rule::FileKind::Link {
        return path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    }
    let Ok(found) = path.metadata() else { return false };
    match kind {
        rule::FileKind::Any => true,
        rule::FileKind::Regular => found.is_file(),
        rule::FileKind::Directory => found.is_dir(),
        rule::FileKind::Executable => found.permissions().mode() & 0o111 != 0,
        rule::FileKind::Link => false,
    }
}

impl Rule {
    /// Whether the condition holds; where a pattern was found, with its groups if the action needs them.
    fn holds(&self, view: &View<'_>, groups: &mut Option<(Vec<u8>, Groups)>) -> Result<bool, Undecided> {
        Ok(match &self.condition {
            Condition::Always => true,
            Condition::Found(subject, pattern) => {
                let subject = subject.fill(view, None)?;
                if !self.needs_groups {
                    return Ok(pattern.decide(&subject)?);
                }
                let Some(found) = pattern.groups(&subject)? else { return Ok(false) };
                *groups = Some((subject.into_owned(), found));
                true
            }
            Condition::Compared(comparison, left, right) => {
                let (left, right) = (left.fill(view, None)?, right.fill(view, None)?);
                comparison.holds(&left, &right)
            }
            Condition::Empty(text) => text.fill(view, None)?.is_empty(),
            Condition::Within(text, network, is_v6) => {
                let text = text.fill(view, None)?;
                let address = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<std::net::IpAddr>().ok());
                address.is_some_and(|address| {
                    address.is_ipv6() == *is_v6 && network.trusts(crate::forwarded::Peer::Ip(address))
                })
            }
            Condition::File(kind, path) => file_is(*kind, &path.fill(view, None)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{RulePlan, TemplatePlan};

    /// A request with a path, and nothing else unless a test says more.
    struct Asked<'a>(Vec<(&'a [u8], &'a [u8])>);

    impl Request for Asked<'_> {
        fn var(&self, name: &[u8]) -> Cow<'_, [u8]> {
            Cow::Borrowed(self.0.iter().find(|(key, _)| *key == name).map_or(b"", |(_, value)| value))
        }
    }

    fn path(path: &[u8]) -> Asked<'_> {
        Asked(vec![(b"PATH_INFO", path), (b"REQUEST_METHOD", b"GET")])
    }

    /// A template in shorthand: `$1` and `${NAME}` as in configurations, without functions.
    fn template(text: &str) -> TemplatePlan {
        let mut parts: TemplatePlan = Vec::new();
        for (number, piece) in text.split('$').enumerate() {
            let (part, rest) = match piece.strip_prefix('{').and_then(|piece| piece.split_once('}')) {
                Some((name, rest)) => (Some(("var", name)), rest),
                None if number > 0 => (Some(("group", &piece[..1])), &piece[1..]),
                None => (None, piece),
            };
            parts.extend(part.map(|(kind, what)| (kind.to_owned(), what.to_owned())));
            if !rest.is_empty() {
                parts.push(("text".to_owned(), rest.to_owned()));
            }
        }
        parts
    }

    fn rule(pattern: &str, action: &str, arguments: &[&str]) -> RulePlan {
        RulePlan {
            place: "site.ini:1: route".to_owned(),
            condition: "regexp".to_owned(),
            operands: vec![template("${PATH_INFO}")],
            constant: pattern.to_owned(),
            action: action.to_owned(),
            arguments: arguments.iter().map(|text| template(text)).collect(),
            ..RulePlan::default()
        }
    }

    fn router(request: Vec<RulePlan>) -> Arc<Router> {
        let plan = RoutesPlan { request, ..RoutesPlan::default() };
        let made = Router::new(&plan, &StaticPlan::default(), Facts { worker_id: 3, pid: 4 });
        Arc::new(made.expect("valid rules").expect("there are rules"))
    }

    fn passes(router: &Arc<Router>, request: &Asked<'_>) -> Routed {
        let mut routed = Routed::default();
        let outcome = router.route(request, &mut routed);
        assert!(matches!(outcome, Outcome::Pass), "{outcome:?}");
        routed
    }

    fn answer(router: &Arc<Router>, request: &Asked<'_>) -> Answer {
        match router.route(request, &mut Routed::default()) {
            Outcome::Answer(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_rules_there_is_no_router() {
        let made = Router::new(&RoutesPlan::default(), &StaticPlan::default(), Facts::default());
        assert!(made.expect("nothing is wrong").is_none());
    }

    #[test]
    fn what_the_plan_should_have_refused_is_an_error() {
        for wrong in [
            rule("(", "end", &[]),
            rule("a", "nothing like this", &[]),
            rule("a", "addheader", &["X"]),
            rule("a", "static", &["$1"]),
            rule("a", "static", &["/$1"]),
            rule("a", "return", &["$1", ""]),
            RulePlan { condition: "nothing like this".to_owned(), ..rule("a", "end", &[]) },
            RulePlan { operands: vec![], ..rule("a", "end", &[]) },
            RulePlan { condition: "ipv4in".to_owned(), ..rule("nonsense", "end", &[]) },
        ] {
            let plan = RoutesPlan { request: vec![wrong.clone()], ..RoutesPlan::default() };
            assert!(Router::new(&plan, &StaticPlan::default(), Facts::default()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rules_see_what_rules_before_them_did() {
        let router = router(vec![
            rule("^/old/(.*)", "set", &["PATH_INFO", "/new/$1"]),
            rule("^/new/(.)", "set", &["SEEN", "$1-${PATH_INFO}"]),
            rule("^/new", "set", &["SEEN", "${SEEN}!"]),
        ]);
        let routed = passes(&router, &path(b"/old/\xff"));
        assert_eq!(routed.var(b"PATH_INFO"), Some(&b"/new/\xff"[..]));
        assert_eq!(routed.var(b"SEEN"), Some(&b"\xff-/new/\xff!"[..]));
        assert!(passes(&router, &path(b"/else")).is_empty());
    }

    #[test]
    fn jumps_skip_and_ends_end() {
        let to = |target| RulePlan { target, ..rule("^/j", "goto", &[]) };
        let router = router(vec![
            to(2),
            rule(".", "log", &["1"]),
            rule(".", "log", &["2"]),
            rule("^/e", "end", &[]),
            rule(".", "log", &["3"]),
        ]);
        let said = |text: &[u8]| passes(&router, &path(text)).lines.concat();
        assert_eq!(said(b"/"), b"123");
        assert_eq!(said(b"/j"), b"23");
        assert_eq!(said(b"/e"), b"12");
    }

    #[test]
    fn a_jump_backwards_goes_on_instead() {
        let back = RulePlan { target: 0, ..rule(".", "goto", &[]) };
        let router = router(vec![back.clone(), back, rule(".", "log", &["end"])]);
        assert_eq!(passes(&router, &path(b"/")).lines, [b"end"]);
    }

    #[test]
    fn a_location_is_a_uri_of_this_site() {
        let router = router(vec![
            rule("(?s)^/a(.*)", "redirect", &["/$1"]),
            rule("(?s)^/b(.*)", "redirect-permanent", &["$1"]),
            rule("^/c(.*)", "redirect", &["//cdn.example$1"]),
        ]);
        for (asked, location) in [
            ("/a/x", "/x"),
            ("/a///evil.example", "/evil.example"),
            ("/b//evil.example", "/evil.example"),
            ("/a\\evil", "/%5Cevil"),
            ("/a\r\nX: y", "/%0D%0AX:%20y"),
            ("/aé\"<>`{|}^%41", "/%C3%A9%22%3C%3E%60%7B%7C%7D%5E%41"),
            ("/c/x", "//cdn.example/x"),
        ] {
            let answer = answer(&router, &path(asked.as_bytes()));
            let found = answer.headers.iter().find(|(name, _)| *name == "Location").expect("a Location");
            assert_eq!(String::from_utf8_lossy(&found.1), location, "{asked:?}");
        }
        assert_eq!(answer(&router, &path(b"/b/")).status, b"301 Moved Permanently");
    }

    #[test]
    fn a_header_that_can_not_be_sent_is_left_out() {
        let router = router(vec![rule("(?s)(.*)", "addheader", &["X-Path", " $1 "])]);
        for wrong in [&b"/a\r\nb"[..], b"/a\rb", b"/a\nb", b"/a\0b"] {
            let routed = passes(&router, &path(wrong));
            assert!(routed.edits.is_none() && routed.complaints.len() == 1, "{routed:?}");
        }
        let mut edits = passes(&router, &path(b"/\xff")).edits.expect("a header");
        assert_eq!(edits.of(200).added, [(b"X-Path"[..].into(), b"/\xff".to_vec())]);
    }

    #[test]
    fn what_is_not_known_is_no_permission() {
        let router = router(vec![rule(r"^/(?:a|aa)+(?<=a)!", "return", &["403 Forbidden", ""])]);
        assert_eq!(answer(&router, &path(b"/a!")).status, b"403 Forbidden");
        assert!(passes(&router, &path(b"/b")).is_empty());
        let mut routed = Routed::default();
        let asked = [&b"/"[..], &[b'a'; 300]].concat();
        match router.route(&path(&asked), &mut routed) {
            Outcome::Answer(answer) => {
                assert_eq!((answer.status, answer.closes), (b"500 Internal Server Error".to_vec(), true))
            }
            other => panic!("{other:?}"),
        }
        assert!(routed.complaints[0].starts_with("site.ini:1: route: comparing its pattern took too long"));
    }

    #[test]
    fn texts_do_not_grow_without_end() {
        let rules = (0..40).map(|_| rule(".", "set", &["X", "${X}${X}${PATH_INFO}"])).collect();
        match router(rules).route(&path(&[b'a'; 100]), &mut Routed::default()) {
            Outcome::Answer(answer) => assert_eq!(answer.status, b"500 Internal Server Error"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rewritten_path_is_decoded_and_takes_the_query_along() {
        let router = router(vec![rule("^/r(.*)", "rewrite", &["/n$1?a=1"])]);
        let asked = Asked(vec![(b"PATH_INFO", b"/r%41%zz%4"), (b"QUERY_STRING", b"b=2")]);
        let routed = passes(&router, &asked);
        assert_eq!(routed.var(b"PATH_INFO"), Some(&b"/nA%zz%4"[..]));
        assert_eq!(routed.var(b"QUERY_STRING"), Some(&b"a=1&b=2"[..]));
    }

    #[test]
    fn rules_about_responses_see_the_status_and_the_request() {
        let later = RulePlan {
            condition: "equal".to_owned(),
            operands: vec![vec![("uwsgi".to_owned(), "status".to_owned())], template("503")],
            ..rule("", "addheader", &["X-Path", "${PATH_INFO}"])
        };
        let plan = RoutesPlan {
            request: vec![rule("^/o(.*)", "set", &["PATH_INFO", "/n$1"])],
            response: vec![later, rule("^/n", "delheader", &["X-App"]), rule("^/n", "log", &["seen"])],
            ..RoutesPlan::default()
        };
        let router = Router::new(&plan, &StaticPlan::default(), Facts::default()).expect("valid").expect("rules");
        let mut edits = passes(&Arc::new(router), &path(b"/ox")).edits.expect("rules about the response");
        assert!(edits.of(200).added.is_empty());
        let changes = edits.of(503);
        assert_eq!(changes.added, [(b"X-Path"[..].into(), b"/nx".to_vec())]);
        assert_eq!(changes.dropped, [b"X-App"[..].into()]);
        // Asked twice, for a response that took the place of another: nothing is there twice.
        assert_eq!(edits.lines, [b"seen"]);
    }

    #[test]
    fn conditions() {
        let holds = |condition: &str, operands: &[&str], constant: &str| {
            let rule = RulePlan {
                condition: condition.to_owned(),
                operands: operands.iter().map(|text| template(text)).collect(),
                ..rule(constant, "donotlog", &[])
            };
            passes(&router(vec![rule]), &path(b"/a1")).is_unlogged
        };
        for (condition, operands, expected) in [
            ("equal", ["${PATH_INFO}", "/a1"], true),
            ("equal", ["${PATH_INFO}", "/a"], false),
            ("equal", ["${NONE}", ""], true),
            ("startswith", ["${PATH_INFO}", "/a"], true),
            ("endswith", ["${PATH_INFO}", "1"], true),
            ("endswith", ["${PATH_INFO}", "/a1/a1"], false),
            ("contains", ["${PATH_INFO}", "a"], true),
            ("contains", ["${PATH_INFO}", ""], true),
            ("contains", ["${NONE}", "a"], false),
            ("ishigher", ["10", "9"], true),
            ("ishigher", ["99999999999999999999999", "1"], true),
            ("ishigherequal", ["abc", "0"], true),
            ("islower", ["-5", "1"], true),
            ("islowerequal", ["12x", "12"], true),
        ] {
            assert_eq!(holds(condition, &operands, ""), expected, "{condition} {operands:?}");
        }
        assert!(holds("empty", &["${NONE}"], "") && !holds("empty", &["${PATH_INFO}"], ""));
        assert!(holds("exists", &["/"], "") && holds("isdir", &["/"], "") && !holds("isfile", &["/"], ""));
        assert!(!holds("exists", &["/nowhere${PATH_INFO}"], "") && !holds("islink", &["/"], ""));
        assert!(holds("ipv4in", &["10.1.2.3"], "10.0.0.0/8") && !holds("ipv4in", &["11.1.2.3"], "10.0.0.0/8"));
        assert!(!holds("ipv4in", &["::1"], "10.0.0.0/8") && !holds("ipv4in", &["nonsense"], "0.0.0.0/0"));
        assert!(holds("ipv6in", &["2001:db8::1"], "2001:db8::/32") && !holds("ipv6in", &["10.1.2.3"], "::/0"));
    }
}
