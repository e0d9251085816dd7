//! Any bytes as a request that rules look at; pieces are ended by 0xff: path, query, host, cookies, authorization.

#![no_main]

#[expect(dead_code, reason = "the target uses a part of each module only")]
#[path = "../../crates/engine/src/forwarded.rs"]
mod forwarded;
#[path = "../../crates/engine/src/pattern.rs"]
mod pattern;
#[expect(dead_code, reason = "the target uses a part of each module only")]
#[path = "../../crates/engine/src/routing/mod.rs"]
mod routing;
#[expect(dead_code, unused_imports, reason = "the target uses a part of each module only")]
#[path = "../../crates/engine/src/static_files/mod.rs"]
mod static_files;
#[expect(dead_code, reason = "the target uses a part of each module only")]
#[path = "../../crates/engine/src/sys.rs"]
mod sys;

#[path = "../plan.rs"]
mod plan;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use plan::{RoutesPlan, RulePlan, StaticPlan, TemplatePlan};
use routing::{Facts, Outcome, Request, Routed, Router};

/// The pieces of a template: (kind, what).
fn template(parts: &[(&str, &str)]) -> TemplatePlan {
    parts.iter().map(|(kind, what)| ((*kind).to_owned(), (*what).to_owned())).collect()
}

fn rule(pattern: &str, action: &str, arguments: &[&[(&str, &str)]]) -> RulePlan {
    RulePlan {
        condition: "regexp".to_owned(),
        operands: vec![template(&[("var", "PATH_INFO")])],
        constant: pattern.to_owned(),
        action: action.to_owned(),
        arguments: arguments.iter().map(|parts| template(parts)).collect(),
        ..RulePlan::default()
    }
}

/// Rules in which each piece of the request comes to each place where it could do harm.
static ROUTER: LazyLock<Arc<Router>> = LazyLock::new(|| {
    let all = r"(?s)^/(.*)";
    let request = vec![
        rule(all, "set", &[&[("text", "A")], &[("cookie", "a"), ("qs", "a"), ("base64", "HTTP_HOST"), ("hex", "A")]]),
        rule(all, "addheader", &[&[("text", "X-A")], &[("group", "1"), ("var", "A")]]),
        rule(r"(?s)^/p(.*)", "rewrite", &[&[("text", "/n"), ("group", "1")]]),
        rule("^/b", "basicauth", &[&[("text", "R")], &[("text", "a:b")]]),
        rule("^/s(.*)", "static", &[&[("text", "/nowhere/"), ("group", "1")]]),
        rule(r"(?s)^/r(.*)", "redirect", &[&[("group", "1")]]),
        rule(r"(?s)^/t(.*)", "redirect", &[&[("text", "/"), ("group", "1")]]),
        rule(r"(.*)x\1y(?!z)", "return", &[&[("text", "403 Forbidden")], &[]]),
    ];
    let response = vec![rule(all, "addheader", &[&[("text", "X-B")], &[("group", "1"), ("uwsgi", "status")]])];
    let plan = RoutesPlan { request, response, last: vec![] };
    let made = Router::new(&plan, &StaticPlan::default(), Facts::default());
    Arc::new(made.expect("these rules are valid").expect("there are rules in it"))
});

struct Asked<'a>([(&'a [u8], &'a [u8]); 6]);

impl Request for Asked<'_> {
    fn var(&self, name: &[u8]) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0.iter().find(|(key, _)| *key == name).map_or(b"", |(_, value)| value))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut pieces = bytes.split(|byte| *byte == 0xff);
    let path = [b"/", pieces.next().unwrap_or_default()].concat();
    let mut piece = || pieces.next().unwrap_or_default();
    let asked = Asked([
        (b"REQUEST_METHOD", b"GET"),
        (b"PATH_INFO", &path),
        (b"QUERY_STRING", piece()),
        (b"HTTP_HOST", piece()),
        (b"HTTP_COOKIE", piece()),
        (b"HTTP_AUTHORIZATION", piece()),
    ]);
    let mut routed = Routed::default();
    match ROUTER.route(&asked, &mut routed) {
        Outcome::Answer(answer) => {
            for (name, value) in &answer.headers {
                assert!(wire::response::check_header(name.as_bytes(), value).is_ok(), "{name}");
                assert!(*name != "Location" || !value.starts_with(b"//") && !value.contains(&b'\\'));
            }
        }
        Outcome::File(found) => assert!(!matches!(found, static_files::Lookup::Found(_))),
        Outcome::Pass | Outcome::Drop => {}
    }
    for (name, value) in routed.edits.map(|mut edits| edits.of(200).added).unwrap_or_default() {
        assert!(wire::response::check_header(&name, &value).is_ok());
    }
});
