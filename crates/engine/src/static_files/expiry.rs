//! `static-expires*`: how long a client may use a file without asking again.

use std::time::{Duration, SystemTime};

use crate::pattern::Pattern;
use crate::plan::ExpiryPlan;

use super::Names;

/// The latest time that an HTTP date can say: the end of the year 9999.
const LATEST_S: u64 = 253_402_300_799;

/// The rules, in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Expiry(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    test: Test,
    lifetime: Lifetime,
}

#[derive(Debug)]
enum Test {
    Name(Pattern),
    PathInfo(Pattern),
    Uri(Pattern),
    Type(String),
}

/// How long a file stays fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub seconds: u64,
    /// Counted from the file's last change, not from the request.
    pub from_change: bool,
}

/// What the rules look at.
pub struct Subject<'a> {
    pub names: &'a Names,
    pub path_info: &'a [u8],
    pub uri: &'a [u8],
    pub content_type: Option<&'a str>,
}

impl Expiry {
    /// The error says which rule is wrong, and how.
    pub fn new(plans: &[ExpiryPlan]) -> Result<Self, String> {
        let rule = |plan: &ExpiryPlan| {
            let pattern = || Pattern::new(&plan.pattern).map_err(|error| format!("{}: {error}", plan.pattern));
            let test = match plan.subject.as_str() {
                "name" => Test::Name(pattern()?),
                "path-info" => Test::PathInfo(pattern()?),
                "uri" => Test::Uri(pattern()?),
                "type" => Test::Type(plan.pattern.clone()),
                other => return Err(format!("{other} is nothing that an expiry can depend on")),
            };
            Ok(Rule { test, lifetime: Lifetime { seconds: plan.seconds, from_change: plan.from_change } })
        };
        plans.iter().map(rule).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the first rule says that fits.
    pub fn of(&self, subject: &Subject<'_>) -> Option<Lifetime> {
        let fits = |rule: &&Rule| match &rule.test {
            Test::Name(pattern) => subject.names.any(|name| pattern.matches(name)),
            Test::PathInfo(pattern) => pattern.matches(subject.path_info),
            Test::Uri(pattern) => pattern.matches(subject.uri),
            Test::Type(name) => subject.content_type.is_some_and(|kind| kind.eq_ignore_ascii_case(name)),
        };
        self.0.iter().find(fits).map(|rule| rule.lifetime)
    }
}

impl Lifetime {
    /// `Expires` and `Cache-Control` for a file that was last changed at `modified_s`. Both, because `max-age` does not
    /// depend on the client's clock; it is what is left until the other.
    pub fn headers(self, modified_s: i64, now: SystemTime) -> [(&'static str, String); 2] {
        let now_s = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let begin_s = if self.from_change { u64::try_from(modified_s).unwrap_or(0) } else { now_s };
        let end_s = begin_s.saturating_add(self.seconds).min(LATEST_S);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(end_s);
        [
            ("Expires", httpdate::fmt_http_date(end)),
            ("Cache-Control", format!("max-age={}", end_s.saturating_sub(now_s))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(subject: &str, pattern: &str, seconds: u64) -> ExpiryPlan {
        ExpiryPlan { subject: subject.to_owned(), pattern: pattern.to_owned(), seconds, from_change: false }
    }

    fn seconds(plans: &[ExpiryPlan], subject: &Subject<'_>) -> Option<u64> {
        Expiry::new(plans).unwrap().of(subject).map(|lifetime| lifetime.seconds)
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let subject = Subject {
            names: &Names { mapped: b"/srv/current/a.css".to_vec(), real: Some(b"/srv/r7/a.css".to_vec()) },
            path_info: b"/static/a.css",
            uri: b"/static/a.css?v=1",
            content_type: Some("text/css"),
        };
        for (plans, expected) in [
            (vec![], None),
            (vec![plan("name", r"^/srv/current/.*\.css$", 1)], Some(1)),
            (vec![plan("name", "^/srv/r7/", 2)], Some(2)),
            (vec![plan("name", r"\.js$", 3), plan("name", "", 4)], Some(4)),
            (vec![plan("path-info", r"\.css$", 5)], Some(5)),
            (vec![plan("uri", r"\.css$", 6)], None),
            (vec![plan("uri", r"v=1$", 7)], Some(7)),
            (vec![plan("type", "Text/CSS", 8)], Some(8)),
            (vec![plan("type", "text/", 9)], None),
        ] {
            assert_eq!(seconds(&plans, &subject), expected, "{plans:?}");
        }
        let untyped = Subject { content_type: None, ..subject };
        assert_eq!(seconds(&[plan("type", "", 1)], &untyped), None);
        assert!(Expiry::new(&[plan("name", "(", 1)]).is_err() && Expiry::new(&[plan("moon", "", 1)]).is_err());
    }

    #[test]
    fn headers_say_the_same_in_two_ways() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (seconds, from_change, modified_s, expires, cache) in [
            (3600, false, 0, "Mon, 12 Jan 1970 14:46:40 GMT", "max-age=3600"),
            (0, false, 0, "Mon, 12 Jan 1970 13:46:40 GMT", "max-age=0"),
            (3600, true, 999_000, "Mon, 12 Jan 1970 14:30:00 GMT", "max-age=2600"),
            (10, true, 5, "Thu, 01 Jan 1970 00:00:15 GMT", "max-age=0"),
            (10, true, -5, "Thu, 01 Jan 1970 00:00:10 GMT", "max-age=0"),
            (u64::MAX, true, i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT", "max-age=253401300799"),
        ] {
            let [(_, said), (_, control)] = Lifetime { seconds, from_change }.headers(modified_s, now);
            assert_eq!((said.as_str(), control.as_str()), (expires, cache));
        }
    }
}
