//! One rule, compiled from its plan: when it is meant, and what it does.

use super::NO_LIMIT;
use super::template::Template;
use crate::forwarded::TrustedProxies;
use crate::pattern::Pattern;
use crate::plan::{MapPlan, RulePlan};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    StartsWith,
    EndsWith,
    Contains,
    Higher,
    HigherOrEqual,
    Lower,
    LowerOrEqual,
}

impl Comparison {
    pub fn holds(self, left: &[u8], right: &[u8]) -> bool {
        match self {
            Self::Equal => left == right,
            Self::StartsWith => left.starts_with(right),
            Self::EndsWith => left.ends_with(right),
            Self::Contains => right.is_empty() || memchr::memmem::find(left, right).is_some(),
            Self::Higher => number(left) > number(right),
            Self::HigherOrEqual => number(left) >= number(right),
            Self::Lower => number(left) < number(right),
            Self::LowerOrEqual => number(left) <= number(right),
        }
    }
}

/// The digits at the beginning, 0 if there are none, as uWSGI reads numbers.
fn number(text: &[u8]) -> u64 {
    text.iter()
        .map_while(|byte| char::from(*byte).to_digit(10))
        .fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Any,
    Regular,
    Directory,
    Link,
    Executable,
}

#[derive(Debug)]
pub enum Condition {
    Always,
    Found(Template, Pattern),
    Compared(Comparison, Template, Template),
    Empty(Template),
    /// An address in a range, of version 6 or of version 4.
    Within(Template, TrustedProxies, bool),
    File(FileKind, Template),
}

#[derive(Debug)]
pub enum Action {
    Nothing,
    Set(Box<[u8]>, Template),
    /// True: and no further rule.
    Rewrite(Template, bool),
    StripScriptName,
    AddHeader(Box<[u8]>, Template),
    DropHeader(Box<[u8]>),
    Line(Template),
    Unlogged,
    /// Longest time in the app, in microseconds; `NO_LIMIT` for none.
    Limit(u64),
    Jump(usize),
    End,
    Drop,
    Respond {
        status: Box<[u8]>,
        body: Box<[u8]>,
        closes: bool,
    },
    Redirect {
        is_permanent: bool,
        location: Template,
        names_no_host: bool,
    },
    File {
        mount: Box<[u8]>,
        rest: Template,
    },
    Authenticate {
        realm: Vec<u8>,
        credentials: Box<[u8]>,
    },
}

/// The directories that files are served from, each under a prefix of its own.
#[derive(Debug, Default)]
pub struct Files(pub Vec<MapPlan>);

impl Files {
    /// A place for everything beneath the directory that the template begins with, or for its one file. What follows can
    /// not lead out of it: that is what a static map sees to.
    fn action(&mut self, template: Template, place: &str) -> Result<Action, String> {
        // Different from every other, and of use where the log shows it.
        let mount = format!("rule {} ({place})", self.0.len() + 1);
        let invalid = || "static needs a directory to begin with".to_owned();
        let (place, rest) = match template.constant() {
            Some(path) => (std::str::from_utf8(path).map_err(|_| invalid())?.to_owned(), Template::default()),
            None => {
                let beginning = std::str::from_utf8(template.beginning()).map_err(|_| invalid())?;
                let slash = beginning.rfind('/').filter(|slash| *slash > 0).ok_or_else(invalid)?;
                (beginning[..slash].to_owned(), template.without_first(slash))
            }
        };
        if !place.starts_with('/') {
            return Err(invalid());
        }
        self.0.push(MapPlan { prefix: mount.clone(), path: place, keeps_prefix: false });
        Ok(Action::File { mount: mount.into_bytes().into(), rest })
    }
}

#[derive(Debug)]
pub struct Rule {
    /// Where it was written, for the log.
    pub place: String,
    pub condition: Condition,
    pub is_negated: bool,
    pub action: Action,
    /// The action has a text with `$1`.
    pub needs_groups: bool,
}

impl Rule {
    pub fn new(plan: &RulePlan, files: &mut Files) -> Result<Self, String> {
        let invalid = |what: String| format!("{}: {what}", plan.place);
        let arguments: Vec<Template> =
            plan.arguments.iter().map(Template::new).collect::<Result<_, _>>().map_err(invalid)?;
        let needs_groups = arguments.iter().any(Template::has_groups);
        Ok(Self {
            place: plan.place.clone(),
            condition: condition(plan).map_err(invalid)?,
            is_negated: plan.is_negated,
            action: action(plan, arguments, files).map_err(invalid)?,
            needs_groups,
        })
    }

    /// Every variable of the request that it looks at.
    pub fn vars(&self) -> impl Iterator<Item = &[u8]> {
        let (first, second) = match &self.condition {
            Condition::Always => (None, None),
            Condition::Compared(_, left, right) => (Some(left), Some(right)),
            Condition::Found(text, _)
            | Condition::Empty(text)
            | Condition::Within(text, _, _)
            | Condition::File(_, text) => (Some(text), None),
        };
        let third = match &self.action {
            Action::AddHeader(_, text) | Action::Line(text) | Action::Set(_, text) => Some(text),
            _ => None,
        };
        [first, second, third].into_iter().flatten().flat_map(Template::vars)
    }
}

fn condition(plan: &RulePlan) -> Result<Condition, String> {
    let mut operands = plan.operands.iter().map(Template::new);
    let mut operand = || operands.next().unwrap_or_else(|| Err("an operand is missing".to_owned()));
    let comparison = match plan.condition.as_str() {
        "" => return Ok(Condition::Always),
        "regexp" => return Ok(Condition::Found(operand()?, Pattern::new(&plan.constant)?)),
        "empty" => return Ok(Condition::Empty(operand()?)),
        "ipv4in" | "ipv6in" => {
            let network = TrustedProxies::parse(std::slice::from_ref(&plan.constant))?;
            return Ok(Condition::Within(operand()?, network, plan.condition == "ipv6in"));
        }
        "exists" => return Ok(Condition::File(FileKind::Any, operand()?)),
        "isfile" => return Ok(Condition::File(FileKind::Regular, operand()?)),
        "isdir" => return Ok(Condition::File(FileKind::Directory, operand()?)),
        "islink" => return Ok(Condition::File(FileKind::Link, operand()?)),
        "isexec" => return Ok(Condition::File(FileKind::Executable, operand()?)),
        "equal" => Comparison::Equal,
        "startswith" => Comparison::StartsWith,
        "endswith" => Comparison::EndsWith,
        "contains" => Comparison::Contains,
        "ishigher" => Comparison::Higher,
        "ishigherequal" => Comparison::HigherOrEqual,
        "islower" => Comparison::Lower,
        "islowerequal" => Comparison::LowerOrEqual,
        other => return Err(format!("there is no condition {other}")),
    };
    Ok(Condition::Compared(comparison, operand()?, operand()?))
}

fn action(plan: &RulePlan, arguments: Vec<Template>, files: &mut Files) -> Result<Action, String> {
    let mut arguments = arguments.into_iter();
    let mut argument = || arguments.next().ok_or_else(|| "an argument is missing".to_owned());
    let constant = |template: Template| -> Result<Box<[u8]>, String> {
        template.constant().map(Into::into).ok_or_else(|| "this must be the same for every request".to_owned())
    };
    Ok(match plan.action.as_str() {
        "nothing" => Action::Nothing,
        "set" => Action::Set(constant(argument()?)?, argument()?),
        "rewrite" => Action::Rewrite(argument()?, false),
        "rewrite-last" => Action::Rewrite(argument()?, true),
        "fixpathinfo" => Action::StripScriptName,
        "addheader" => Action::AddHeader(constant(argument()?)?, argument()?),
        "delheader" => Action::DropHeader(constant(argument()?)?),
        "log" => Action::Line(argument()?),
        "donotlog" => Action::Unlogged,
        "harakiri" => match number(&constant(argument()?)?) {
            0 => Action::Limit(NO_LIMIT),
            seconds => Action::Limit(seconds.saturating_mul(1_000_000)),
        },
        "goto" => Action::Jump(plan.target),
        "end" => Action::End,
        "drop" => Action::Drop,
        name @ ("return" | "break") => {
            Action::Respond { status: constant(argument()?)?, body: constant(argument()?)?, closes: name == "break" }
        }
        name @ ("redirect" | "redirect-permanent") => {
            let location = argument()?;
            let names_no_host = !location.beginning().starts_with(b"//");
            Action::Redirect { is_permanent: name == "redirect-permanent", location, names_no_host }
        }
        "static" => files.action(argument()?, &plan.place)?,
        "basicauth" => {
            let realm = constant(argument()?)?;
            Action::Authenticate {
                realm: [b"Basic realm=\"", &*realm, b"\", charset=\"UTF-8\""].concat(),
                credentials: constant(argument()?)?,
            }
        }
        other => return Err(format!("there is no action {other}")),
    })
}
