//! What a document may hold where it stands, said before AWS says it, and in words that help.
//!
//! An [error](Severity::Error) is what AWS refuses or what opens a role to everybody; nothing is written.
//! A [warning](Severity::Warning) is shown and does not stop anything.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::condition::{GLOBAL_KEYS, OPERATORS, base, matching, value_problem};
use super::parse::{Ordered, Problem, Source, nearest, ordered};
use super::trust::{
    TokenOwner, aws_principal_problem, federated_problem, oidc_issuer, owner_example, service_problem,
};
use super::{Caseless, Document, Effect, Principals, Scope, Statement, is_unique_id};

/// Where a document stands, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The trust policy of a role.
    Trust,
    /// An inline or managed policy: what an identity may do.
    Identity,
}

/// Most findings about one document. Whoever has more of them has written something else than a policy.
pub const MAX_FINDINGS: usize = 1000;

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

    /// Length of its text in bytes.
    pub(in crate::role) const fn len(&self) -> usize {
        self.problem.at.len() + self.problem.what.len()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

/// Everything to be said of a document in its place, whether it is one at all or not. For an account of any partition.
pub fn lint_value(value: &Value, place: Place) -> Vec<Finding> {
    read(value, place, None).1
}

/// The document that an author wrote, unless it is none, and everything to be said of it in its place. `partition` is
/// that of the account, where the account is given.
pub fn read(value: &Value, place: Place, partition: Option<&str>) -> (Option<Document>, Vec<Finding>) {
    let (document, mut findings) = read_all(value, place, partition);
    let more = findings.len().saturating_sub(MAX_FINDINGS);
    if more > 0 {
        let dropped = findings.split_off(MAX_FINDINGS);
        findings.push(Finding {
            severity: dropped
                .iter()
                .map(|f| f.severity)
                .min()
                .unwrap_or(Severity::Error),
            problem: Problem::new(
                "",
                format!(
                    "has {more} more {}",
                    if more == 1 { "problem" } else { "problems" }
                ),
            ),
        });
    }
    (document, findings)
}

fn read_all(value: &Value, place: Place, partition: Option<&str>) -> (Option<Document>, Vec<Finding>) {
    let document = match ordered(value, Source::Author) {
        Ok(document) => document,
        Err(error) => return (None, errors(error.0)),
    };
    let mut to = Linter::default();
    characters(&mut to, "", value);
    // The canonical form of a root principal has no partition any more.
    if let Some(partition) = partition {
        partitions(&mut to, "", value, partition);
    }
    empty_conditions(&mut to, value);
    lint_ordered(&mut to, &document, place);
    let findings = to.0;
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

/// Texts in a document, keys included, with their paths. Recursion is bounded, because the document was read.
fn texts(at: &str, value: &Value, visit: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(at, text),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                // Paths count statements, not the values of a list.
                let here = if at == "Statement" {
                    format!("{at}[{n}]")
                } else {
                    at.to_owned()
                };
                texts(&here, item, visit);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                visit(at, key);
                let here = match at {
                    "" => key.clone(),
                    "Statement" => format!("{at}[0].{key}"),
                    _ => format!("{at}.{key}"),
                };
                texts(&here, item, visit);
            }
        }
        _ => {}
    }
}

/// An empty Condition is not in the canonical form. IAM takes it, and its console writes it, so it stops nothing; but it
/// may be all that is left of a condition that was meant.
fn empty_conditions(to: &mut Linter, document: &Value) {
    let statements = match document.get("Statement") {
        Some(Value::Array(list)) => list.as_slice(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    for (n, statement) in statements.iter().enumerate() {
        let condition = statement.get("Condition").and_then(Value::as_object);
        if condition.is_some_and(serde_json::Map::is_empty) {
            to.warn(
                &format!("Statement[{n}].Condition"),
                "is empty and restricts nothing: write the condition that is missing, or remove the element",
            );
        }
    }
}

/// IAM takes [characters up to U+00FF](https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html) in a
/// document.
fn characters(to: &mut Linter, at: &str, value: &Value) {
    texts(at, value, &mut |at, text| {
        if let Some(bad) = text.chars().find(|c| *c > '\u{ff}') {
            to.error(
                at,
                format!(
                    "holds the character {bad} (U+{:04X}), which IAM does not take in a policy document: use Latin-1 characters only",
                    u32::from(bad)
                ),
            );
        }
    });
}

/// IAM refuses resources and principals of another partition than the account's.
fn partitions(to: &mut Linter, at: &str, value: &Value, partition: &str) {
    texts(at, value, &mut |at, text| {
        let element = at.split('.').nth(1).unwrap_or_default();
        if !["Resource", "NotResource", "Principal", "NotPrincipal"].contains(&element) {
            return;
        }
        let Some((theirs, _)) = text.strip_prefix("arn:").and_then(|rest| rest.split_once(':')) else {
            return;
        };
        if theirs != partition && !theirs.contains(['*', '?', '$']) {
            to.error(
                at,
                format!(
                    "holds {text} of the partition {theirs}, but the account is in {partition}: write arn:$(aws.partition):..."
                ),
            );
        }
    });
}

fn lint_ordered(to: &mut Linter, document: &Ordered, place: Place) {
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
            // Some published examples have spaces, which other services take. IAM does not:
            // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html
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
        actions(to, at, statement);
        match place {
            Place::Trust => trust(to, at, statement),
            Place::Identity => identity(to, at, statement),
        }
        conditions(to, at, statement);
        if !modern {
            variables_need_version(to, at, statement);
        }
    }
}

/// An action is a service's prefix, one colon and a name, in which `*` and `?` are wildcards.
fn actions(to: &mut Linter, at: &str, statement: &Statement) {
    let valid = |action: &str| {
        let all = |text: &str, more: &[u8]| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-*?".contains(&b) || more.contains(&b))
        };
        action == "*"
            || action
                .split_once(':')
                .is_some_and(|(service, name)| all(service, b".") && all(name, b"_/."))
    };
    for bad in statement.action.inner().iter().filter(|a| !valid(a.as_str())) {
        let element = statement.action.element("Action", "NotAction");
        to.error(
            &format!("{at}.{element}"),
            format!(
                "holds {:?}, which is no action: write it as service:Action",
                bad.as_str()
            ),
        );
    }
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
    if let Scope::AllBut(_) = principal {
        to.error(
            at,
            "has NotPrincipal, which IAM does not allow in a trust policy: name who may in Principal, or deny with a Condition ArnNotEquals on aws:PrincipalArn",
        );
        return;
    }
    let open = match principal.inner() {
        Principals::Everybody => true,
        Principals::Named(_) => statement.aws_principals().any(|p| p == "*"),
    };
    if open && statement.effect == Effect::Allow && !statement.narrows_everybody() {
        to.error(
            at,
            "lets everybody in the world assume the role: name principals, or add a Condition that only callers of yours meet, such as aws:PrincipalOrgID with your organization's id",
        );
    }
    principals(to, at, statement, principal.inner());
    if statement.effect == Effect::Allow {
        federation(to, at, statement);
    }
}

/// The form of each principal.
fn principals(to: &mut Linter, at: &str, statement: &Statement, principals: &Principals) {
    // A bare document is linted without an account, so the variables of a spec are still in it.
    let filled = |p: &&String| !p.contains("$(");
    let here = format!("{at}.Principal.AWS");
    for p in statement.aws_principals() {
        if is_unique_id(p) {
            to.warn(
                &here,
                format!("holds {p}, the id of a principal that was deleted: name its successor"),
            );
        } else if !p.contains("$(")
            && let Some(problem) = aws_principal_problem(p)
        {
            to.error(&here, problem);
        }
    }
    let Principals::Named(kinds) = principals else {
        return;
    };
    let of = |kind: &str| kinds.get(kind).into_iter().flatten().filter(filled);
    for problem in of("Service").filter_map(|p| service_problem(p)) {
        to.error(&format!("{at}.Principal.Service"), problem);
    }
    for problem in of("Federated").filter_map(|p| federated_problem(p)) {
        to.error(&format!("{at}.Principal.Federated"), problem);
    }
}

/// Users of identity providers: the action that fits the provider, and whose tokens are accepted.
fn federation(to: &mut Linter, at: &str, statement: &Statement) {
    for provider in statement.providers() {
        let issuer = oidc_issuer(provider);
        let (action, covered) = if issuer.is_some() {
            let action = "sts:AssumeRoleWithWebIdentity";
            (action, statement.covers("sts:assumerolewithwebidentity"))
        } else {
            let action = "sts:AssumeRoleWithSAML";
            (action, statement.covers("sts:assumerolewithsaml"))
        };
        if !covered {
            to.warn(
                at,
                format!(
                    "never matches a user of {provider}: such users call {action}, which Action does not list"
                ),
            );
            continue;
        }
        let Some(issuer) = issuer else {
            // The provider itself is the account's own, so that its users are chosen by the account.
            if statement.condition.is_empty() {
                to.warn(
                    at,
                    format!("accepts every assertion of {provider}: add a Condition such as SAML:aud"),
                );
            }
            continue;
        };
        match statement.token_owner(issuer) {
            TokenOwner::Fixed => {}
            TokenOwner::Audience => to.warn(
                at,
                format!("lets every user of one application of {issuer} assume the role: add a Condition on {}", owner_example(issuer)),
            ),
            TokenOwner::Anybody => to.error(
                at,
                format!(
                    "lets every user of the identity provider {issuer} assume the role: add a Condition that fixes the owner of a token, on {}",
                    owner_example(issuer)
                ),
            ),
        }
    }
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
            for resource in scope.inner() {
                if !is_resource(resource) {
                    to.error(&here, format!("holds {resource}: write an ARN, or \"*\""));
                } else if let Some((severity, problem)) = resource_problem(resource) {
                    to.say(severity, &here, problem);
                }
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
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_IfExists
        if plain.eq_ignore_ascii_case("Null") && ends_with(operator, "IfExists") {
            to.error(
                &here,
                "is no condition operator: Null already asks whether the key exists, so remove IfExists",
            );
        }
        for (key, values) in keys {
            let there = format!("{here}.{key}");
            if let Some(hint) = unknown_global(key.as_str()) {
                to.warn(&there, format!("is no global condition key that we know{hint}"));
            }
            for value in values {
                let Some(problem) = value_problem(operator.as_str(), value) else {
                    continue;
                };
                let what = format!("holds {value:?}: write {}", problem.expected);
                if problem.refused {
                    to.error(&there, what);
                } else if value.contains("${") {
                    to.warn(
                        &there,
                        format!(
                            "holds {value:?}: IAM fills in variables under String and Arn operators only"
                        ),
                    );
                } else {
                    to.warn(&there, format!("{what}, because this value never matches"));
                }
            }
        }
        if statement.effect == Effect::Allow && starts_with(operator, "ForAllValues:") {
            for key in keys.keys().filter(|key| !is_present(statement, key)) {
                to.warn(
                    &here,
                    format!("is true also where {key} is missing: add a Null condition for the key"),
                );
            }
        }
    }
}

/// Keys that a request always has, or that it lacks only where it asks for nothing that the list could forbid.
const SAFE_WITHOUT_VALUES: &[&str] = &[
    // A request without tags. https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html
    "aws:TagKeys",
    // https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html
    "route53:ChangeResourceRecordSetsActions",
    "route53:ChangeResourceRecordSetsNormalizedRecordNames",
    "route53:ChangeResourceRecordSetsRecordTypes",
];

/// Whether a condition on the key may be one that is true of no value: another one asks that there is a value.
fn is_present(statement: &Statement, key: &Caseless) -> bool {
    let safe = SAFE_WITHOUT_VALUES
        .iter()
        .any(|safe| safe.eq_ignore_ascii_case(key.as_str()));
    safe || statement.condition.iter().any(|(operator, keys)| {
        let Some(values) = keys.get(key) else {
            return false;
        };
        match matching(operator.as_str()) {
            Some(base) if base.eq_ignore_ascii_case("Null") => values.iter().all(|value| value == "false"),
            // A negated operator is true of a missing key.
            Some(base) => !base.to_ascii_lowercase().contains("not"),
            None => false,
        }
    })
}

fn starts_with(operator: &Caseless, prefix: &str) -> bool {
    let start = operator.as_str().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn ends_with(operator: &Caseless, suffix: &str) -> bool {
    let text = operator.as_str();
    let end = text.get(text.len().saturating_sub(suffix.len())..);
    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
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

/// An ARN of six parts, or a wildcard that takes the place of one.
fn is_resource(text: &str) -> bool {
    text.starts_with('*')
        || text.starts_with("${")
        || (text.starts_with("arn:") && (text.splitn(6, ':').count() == 6 || text.ends_with('*')))
}

/// What is wrong with an ARN that has the right number of parts.
fn resource_problem(resource: &str) -> Option<(Severity, String)> {
    let error = |what: String| Some((Severity::Error, what));
    if resource.contains(|c: char| c.is_control()) {
        return error(format!(
            "holds {resource:?} with a line break or another control character: remove it"
        ));
    }
    let mut parts = resource.strip_prefix("arn:")?.splitn(5, ':').skip(1);
    let mut part = || parts.next().unwrap_or_default();
    let (service, region, account, path) = (part(), part(), part(), part());
    let wild = |text: &str| text.contains(['*', '?', '$']);
    if account.bytes().all(|b| b.is_ascii_digit()) && !account.is_empty() && account.len() != 12 {
        let what = format!(
            "holds {resource}, which never matches: its account has {} digits, and an account id has 12",
            account.len()
        );
        return Some((Severity::Warning, what));
    }
    if service != "iam" {
        return None;
    }
    if !region.is_empty() && !wild(region) {
        return error(format!(
            "holds {resource}: IAM has no regions, so write nothing between the colons: arn:aws:iam::{account}:{path}"
        ));
    }
    let kind = path.split('/').next().unwrap_or_default();
    let known =
        kind.is_empty() || kind == "root" || wild(kind) || (path.contains('/') && IAM_KINDS.contains(&kind));
    if known {
        return None;
    }
    error(format!(
        "holds {resource}: an IAM resource begins with one of {}/",
        IAM_KINDS.join("/, ")
    ))
}

/// What an IAM resource's path may begin with. IAM names these where it refuses another.
const IAM_KINDS: &[&str] = &[
    "user",
    "federated-user",
    "role",
    "group",
    "instance-profile",
    "mfa",
    "server-certificate",
    "policy",
    "sms-mfa",
    "saml-provider",
    "oidc-provider",
    "report",
    "access-report",
    "u2f",
];
