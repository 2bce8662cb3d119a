//! What a document may hold where it stands, said before AWS says it, and in words that help.
//!
//! An [error](Severity::Error) is what AWS refuses or what opens a role to everybody; nothing is written.
//! A [warning](Severity::Warning) is shown and does not stop anything.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::condition::{GLOBAL_KEYS, OPERATORS, base};
use super::parse::{Ordered, Problem, nearest, ordered};
use super::{Caseless, Document, Effect, Principals, Scope, Statement, is_unique_id};

/// Where a document stands, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The trust policy of a role.
    Trust,
    /// An inline or managed policy: what an identity may do.
    Identity,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used and probably does not say what its author means.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where, and what to write instead.
    pub problem: Problem,
}

impl Finding {
    /// An error about the document as a whole, such as a variable that cannot be filled in.
    pub fn error(what: impl fmt::Display) -> Self {
        Self {
            severity: Severity::Error,
            problem: Problem::new("", what.to_string()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

/// Everything to be said of a document in its place, whether it is one at all or not.
pub fn lint_value(value: &Value, place: Place) -> Vec<Finding> {
    read(value, place).1
}

/// The document, unless it is none, and everything to be said of it in its place.
pub fn read(value: &Value, place: Place) -> (Option<Document>, Vec<Finding>) {
    let document = match ordered(value) {
        Ok(document) => document,
        Err(error) => return (None, errors(error.0)),
    };
    let findings = lint_ordered(&document, place);
    let document = Document {
        canonical: document.into(),
        text: value.to_string(),
    };
    (Some(document), findings)
}

fn errors(problems: Vec<Problem>) -> Vec<Finding> {
    let error = |problem| Finding {
        severity: Severity::Error,
        problem,
    };
    problems.into_iter().map(error).collect()
}

#[derive(Default)]
struct Linter(Vec<Finding>);

impl Linter {
    fn say(&mut self, severity: Severity, at: &str, what: impl Into<String>) {
        self.0.push(Finding {
            severity,
            problem: Problem::new(at, what),
        });
    }

    fn error(&mut self, at: &str, what: impl Into<String>) {
        self.say(Severity::Error, at, what);
    }

    fn warn(&mut self, at: &str, what: impl Into<String>) {
        self.say(Severity::Warning, at, what);
    }
}

fn lint_ordered(document: &Ordered, place: Place) -> Vec<Finding> {
    let mut to = Linter::default();
    let modern = document.version.as_deref() == Some("2012-10-17");
    match document.version.as_deref() {
        None | Some("2012-10-17" | "2008-10-17") => {}
        Some(other) => to.error("Version", format!("is \"{other}\": write \"2012-10-17\"")),
    }
    match &document.statements {
        None => to.error("", "has no Statement"),
        Some(list) if list.is_empty() => to.error("Statement", "is empty: write at least one statement"),
        Some(_) => {}
    }
    let mut sids = BTreeSet::new();
    for (at, statement) in document.statements.iter().flatten() {
        if let Some(sid) = &statement.sid {
            if !sids.insert(sid) {
                to.error(
                    &format!("{at}.Sid"),
                    format!("\"{sid}\" stands there twice: give each statement its own"),
                );
            }
            if !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
                to.error(
                    &format!("{at}.Sid"),
                    format!("\"{sid}\" may hold letters and digits only"),
                );
            }
        }
        if statement.action.inner().is_empty() {
            to.error(&format!("{at}.Action"), "is empty: name at least one action");
        }
        match place {
            Place::Trust => trust(&mut to, at, statement),
            Place::Identity => identity(&mut to, at, statement),
        }
        conditions(&mut to, at, statement);
        if !modern {
            variables_need_version(&mut to, at, statement);
        }
    }
    to.0
}

fn trust(to: &mut Linter, at: &str, statement: &Statement) {
    if statement.resource.is_some() {
        to.error(
            at,
            "has a Resource, which a trust policy must not have: remove it",
        );
    }
    for action in statement.action.inner() {
        let name = action.as_str().to_ascii_lowercase();
        if name != "*" && !name.starts_with("sts:") {
            to.error(
                &format!("{at}.Action"),
                format!("holds {action}: a trust policy speaks of sts: actions only, such as sts:AssumeRole"),
            );
        }
    }
    let Some(principal) = &statement.principal else {
        to.error(at, "has no Principal: say who may assume the role");
        return;
    };
    if let Scope::AllBut(_) = principal
        && statement.effect == Effect::Allow
    {
        to.error(
            at,
            "allows all but NotPrincipal, which is nearly everybody: name who may in Principal, or use Deny",
        );
    }
    let open = match principal.inner() {
        Principals::Everybody => true,
        Principals::Named(_) => statement.aws_principals().any(|p| p == "*"),
    };
    if open && statement.effect == Effect::Allow && !narrows(statement) {
        to.error(
            at,
            "lets everybody in the world assume the role: name principals, or add a Condition such as aws:PrincipalOrgID",
        );
    }
    let web = |action: &Caseless| {
        action
            .as_str()
            .eq_ignore_ascii_case("sts:AssumeRoleWithWebIdentity")
    };
    let federated = matches!(principal.inner(), Principals::Named(kinds) if kinds.contains_key("Federated"));
    if federated
        && statement.effect == Effect::Allow
        && statement.condition.is_empty()
        && matches!(&statement.action, Scope::Only(actions) if actions.iter().any(web))
    {
        to.error(
            at,
            "lets every user of the identity provider assume the role: add a Condition on the provider's :sub and :aud",
        );
    }
    let here = format!("{at}.Principal.AWS");
    for p in statement.aws_principals() {
        if is_unique_id(p) {
            to.warn(
                &here,
                format!("holds {p}, the id of a principal that was deleted: name its successor"),
            );
        } else if p != "*" && p.contains(['*', '?']) {
            to.error(
                &here,
                format!("holds {p}: a principal knows no wildcards; trust the account and add a Condition on aws:PrincipalArn"),
            );
        } else if p != "*" && !is_account(p) && !p.starts_with("arn:") {
            to.error(
                &here,
                format!("holds {p}: write an account id of 12 digits or an ARN"),
            );
        }
    }
    if let Principals::Named(kinds) = principal.inner() {
        for service in kinds
            .get("Service")
            .into_iter()
            .flatten()
            .filter(|s| !s.contains('.'))
        {
            to.error(
                &format!("{at}.Principal.Service"),
                format!("holds {service}: write it as {service}.amazonaws.com"),
            );
        }
    }
}

/// Whether a condition picks out some callers: one that says what must be, of a key that must be there, and not of
/// everything.
fn narrows(statement: &Statement) -> bool {
    const PICKING: &[&str] = &[
        "StringEquals",
        "StringEqualsIgnoreCase",
        "StringLike",
        "ArnEquals",
        "ArnLike",
        "IpAddress",
    ];
    statement.condition.iter().any(|(operator, keys)| {
        let operator = operator.as_str();
        let plain = operator.rsplit(':').next().unwrap_or(operator);
        let optional = operator
            .get(..13)
            .is_some_and(|p| p.eq_ignore_ascii_case("ForAllValues:"));
        let picks = !optional && PICKING.iter().any(|known| known.eq_ignore_ascii_case(plain));
        let some = |values: &BTreeSet<String>| {
            !values.is_empty() && values.iter().all(|v| !v.trim_matches('*').is_empty())
        };
        picks && keys.values().any(some)
    })
}

fn identity(to: &mut Linter, at: &str, statement: &Statement) {
    if statement.principal.is_some() {
        to.error(
            at,
            "has a Principal, which belongs into a trust policy only: remove it",
        );
    }
    match &statement.resource {
        None => to.error(at, "has no Resource: write one, \"*\" for every resource"),
        Some(scope) => {
            let here = format!("{at}.Resource");
            if scope.inner().is_empty() {
                to.error(&here, "is empty: name at least one resource, \"*\" for every one");
            }
            for bad in scope.inner().iter().filter(|r| !is_resource(r)) {
                to.error(&here, format!("holds {bad}: write an ARN, or \"*\""));
            }
        }
    }
    let allows = statement.effect == Effect::Allow;
    let passes = |action: &Caseless| action.as_str().eq_ignore_ascii_case("iam:PassRole");
    let everything = matches!(&statement.resource, Some(Scope::Only(r)) if r.contains("*"));
    if allows
        && everything
        && statement.condition.is_empty()
        && matches!(&statement.action, Scope::Only(actions) if actions.iter().any(passes))
    {
        to.warn(at, "lets every role be passed to every service: name the roles in Resource, or add iam:PassedToService");
    }
    if allows && let Some(Scope::AllBut(_)) = &statement.resource {
        to.warn(
            at,
            "allows with NotResource, which takes in every resource that is not listed, also future ones",
        );
    }
}

fn conditions(to: &mut Linter, at: &str, statement: &Statement) {
    for (operator, keys) in &statement.condition {
        let here = format!("{at}.Condition.{operator}");
        let plain = base(operator.as_str());
        if !OPERATORS.iter().any(|known| known.eq_ignore_ascii_case(plain)) {
            let hint = nearest(plain, OPERATORS.iter().copied())
                .map_or_else(String::new, |near| format!(": did you mean {near}?"));
            to.error(&here, format!("is no condition operator{hint}"));
        }
        for key in keys.keys() {
            if let Some(hint) = unknown_global(key.as_str()) {
                to.warn(
                    &format!("{here}.{key}"),
                    format!("is no global condition key that we know{hint}"),
                );
            }
        }
        let for_all = operator
            .as_str()
            .get(..13)
            .is_some_and(|p| p.eq_ignore_ascii_case("ForAllValues:"));
        let null_checked = statement
            .condition
            .keys()
            .any(|o| o.as_str().eq_ignore_ascii_case("Null"));
        if for_all && statement.effect == Effect::Allow && !null_checked {
            to.warn(
                &here,
                "is true also where the key is missing: add a Null condition for the key",
            );
        }
    }
}

/// A hint, where a key of the `aws:` namespace is not in the list.
fn unknown_global(key: &str) -> Option<String> {
    if !key.get(..4)?.eq_ignore_ascii_case("aws:") {
        return None;
    }
    let is = |known: &&str| -> bool {
        if known.ends_with('/') {
            key.get(..known.len())
                .is_some_and(|k| k.eq_ignore_ascii_case(known))
        } else {
            key.eq_ignore_ascii_case(known)
        }
    };
    if GLOBAL_KEYS.iter().any(is) {
        return None;
    }
    Some(
        nearest(key, GLOBAL_KEYS.iter().copied())
            .map_or_else(String::new, |near| format!(": did you mean {near}?")),
    )
}

/// Before 2012-10-17 IAM takes `${...}` for plain text.
fn variables_need_version(to: &mut Linter, at: &str, statement: &Statement) {
    let resources = statement.resource.iter().flat_map(Scope::inner);
    let values = statement
        .condition
        .values()
        .flat_map(|keys| keys.values().flatten());
    if resources.chain(values).any(|text| text.contains("${")) {
        to.warn(
            at,
            "uses ${...}, which IAM fills in only with \"Version\": \"2012-10-17\": write that Version",
        );
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// An ARN of six parts, or a wildcard that takes the place of one.
fn is_resource(text: &str) -> bool {
    text.starts_with('*')
        || text.starts_with("${")
        || (text.starts_with("arn:") && (text.splitn(6, ':').count() == 6 || text.ends_with('*')))
}
