//! Reads the statements of a policy document from JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::condition::{base, canonical_value};
use super::document::{Caseless, Effect, Principals, Scope, Statement};
use super::problem::Problem;
use crate::spelling::nearest;

/// The origin of a document, which determines how strictly it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An author wrote the document, and AWS has not seen it. Everything that AWS refuses, and everything that YAML or a template
    /// engine may have changed, is a problem.
    Author,
    /// The document comes from AWS, or it is only compared. As much as possible is read.
    Any,
}

/// The names of the elements of a statement, in the order of AWS's documents.
pub const ELEMENTS: &[&str] = &[
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

/// The kinds of principals.
const KINDS: &[&str] = &["AWS", "Service", "Federated", "CanonicalUser"];

/// Reads the statements of a document and collects every problem.
pub(super) struct Reader {
    pub problems: Vec<Problem>,
    source: Source,
}

impl Reader {
    pub(super) const fn new(source: Source) -> Self {
        Self {
            problems: vec![],
            source,
        }
    }

    pub(super) fn problem(&mut self, at: &str, what: impl Into<String>) {
        self.problems.push(Problem::new(at, what));
    }

    pub(super) fn statement(&mut self, at: &str, value: &Value) -> Option<Statement> {
        let Some(map) = value.as_object() else {
            self.problem(at, "is not an object");
            return None;
        };
        let (mut sid, mut effect, mut principal, mut action, mut resource) = (None, None, None, None, None);
        let mut condition = BTreeMap::new();
        for (key, value) in map {
            let here = format!("{at}.{key}");
            match key.as_str() {
                "Sid" => sid = self.text(&here, value),
                "Effect" => effect = self.effect(&here, value),
                "Principal" => {
                    let read = self.principals(&here, value).map(Scope::Only);
                    self.once(&here, &mut principal, read);
                }
                "NotPrincipal" => {
                    let read = self.principals(&here, value).map(Scope::AllBut);
                    self.once(&here, &mut principal, read);
                }
                "Action" => {
                    let read = Scope::Only(self.actions(&here, value));
                    self.once(&here, &mut action, Some(read));
                }
                "NotAction" => {
                    let read = Scope::AllBut(self.actions(&here, value));
                    self.once(&here, &mut action, Some(read));
                }
                "Resource" => {
                    let read = Scope::Only(self.strings(&here, value).collect());
                    self.once(&here, &mut resource, Some(read));
                }
                "NotResource" => {
                    let read = Scope::AllBut(self.strings(&here, value).collect());
                    self.once(&here, &mut resource, Some(read));
                }
                "Condition" => condition = self.conditions(&here, value),
                other => self.unknown(at, other, ELEMENTS),
            }
        }
        // The problem of an element that is present was added above.
        if !map.contains_key("Effect") {
            self.problem(at, "has no Effect: write Allow or Deny");
        }
        if action.is_none() {
            self.problem(at, "has neither Action nor NotAction");
        }
        Some(Statement {
            sid,
            effect: effect?,
            principal,
            action: action?,
            resource,
            condition,
        })
    }

    fn once<T>(&mut self, at: &str, slot: &mut Option<T>, value: Option<T>) {
        if slot.is_some() && value.is_some() {
            self.problem(at, "is used together with its opposite: keep one of the two");
        } else if value.is_some() {
            *slot = value;
        }
    }

    pub(super) fn unknown(&mut self, at: &str, key: &str, known: &[&str]) {
        let hint = nearest(key, known.iter().copied()).map_or_else(
            || format!("IAM knows {}", known.join(", ")),
            |near| format!("did you mean {near}?"),
        );
        self.problem(at, format!("has the unknown element {key}: {hint}"));
    }

    pub(super) fn text(&mut self, at: &str, value: &Value) -> Option<String> {
        match value.as_str() {
            Some("") => None,
            Some(text) => Some(text.to_owned()),
            None => {
                self.problem(at, "is not a string");
                None
            }
        }
    }

    fn effect(&mut self, at: &str, value: &Value) -> Option<Effect> {
        match value.as_str() {
            Some(e) if e.eq_ignore_ascii_case("allow") => Some(self.effect_case(at, e, Effect::Allow)),
            Some(e) if e.eq_ignore_ascii_case("deny") => Some(self.effect_case(at, e, Effect::Deny)),
            _ => {
                self.problem(at, format!("is {value}: write Allow or Deny"));
                None
            }
        }
    }

    /// Adds a problem if an author wrote the effect in another case: the
    /// [values are case-sensitive](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_effect.html).
    fn effect_case(&mut self, at: &str, written: &str, effect: Effect) -> Effect {
        if self.source == Source::Author && written != effect.to_string() {
            self.problem(at, format!("is \"{written}\", which AWS refuses: write {effect}"));
        }
        effect
    }

    fn strings<'v>(&mut self, at: &str, value: &'v Value) -> impl Iterator<Item = String> + use<'v> {
        for bad in list(value).filter(|v| !v.is_string()) {
            let hint = if matches!(bad, Value::Number(_) | Value::Bool(_)) {
                ": quote it, because YAML may have changed what was written"
            } else {
                ""
            };
            self.problem(at, format!("holds {bad}, which is not a string{hint}"));
        }
        list(value).filter_map(|v| v.as_str().map(str::to_owned))
    }

    fn actions(&mut self, at: &str, value: &Value) -> BTreeSet<Caseless> {
        let actions: BTreeSet<Caseless> = self.strings(at, value).map(Caseless).collect();
        for bad in actions.iter().filter(|a| a.0 != "*" && !a.0.contains(':')) {
            self.problem(at, format!("holds \"{bad}\": write it as service:Action"));
        }
        actions
    }

    /// Returns the principals of a statement. An empty object has the same effect as none.
    fn principals(&mut self, at: &str, value: &Value) -> Option<Principals> {
        if value.as_str() == Some("*") {
            return Some(Principals::Everybody);
        }
        let Some(map) = value.as_object() else {
            self.problem(
                at,
                "is neither \"*\" nor an object such as {\"AWS\": \"arn:...\"}",
            );
            return None;
        };
        let mut kinds = BTreeMap::new();
        for (kind, value) in map {
            if !KINDS.contains(&kind.as_str()) {
                self.unknown(at, kind, KINDS);
                continue;
            }
            let values: BTreeSet<String> = self
                .strings(&format!("{at}.{kind}"), value)
                .map(|p| if kind == "AWS" { account_root(p) } else { p })
                .collect();
            if !values.is_empty() {
                kinds.insert(kind.clone(), values);
            }
        }
        (!kinds.is_empty()).then_some(Principals::Named(kinds))
    }

    fn object<'v>(&mut self, at: &str, value: &'v Value) -> Option<&'v Map<String, Value>> {
        let map = value.as_object();
        if map.is_none() {
            self.problem(at, "is not an object");
        }
        map
    }

    fn conditions(
        &mut self,
        at: &str,
        value: &Value,
    ) -> BTreeMap<Caseless, BTreeMap<Caseless, BTreeSet<String>>> {
        let mut operators: BTreeMap<Caseless, BTreeMap<Caseless, BTreeSet<String>>> = BTreeMap::new();
        for (operator, keys) in self.object(at, value).into_iter().flatten() {
            let here = format!("{at}.{operator}");
            let mut read: BTreeMap<Caseless, BTreeSet<String>> = BTreeMap::new();
            for (key, values) in self.object(&here, keys).into_iter().flatten() {
                let there = format!("{here}.{key}");
                let values = self.condition_values(&there, operator, values);
                if read.insert(Caseless(key.clone()), values).is_some() {
                    self.problem(&there, "occurs twice in different case: keep one of the two");
                }
            }
            // IAM accepts an operator without keys and ignores it. If a template rendered to nothing or kubectl removed a null,
            // the document would have no restriction.
            if self.source == Source::Author && keys.as_object().is_some_and(Map::is_empty) {
                self.problem(
                    &here,
                    "has no condition key, so it restricts nothing: write the key, or remove the operator",
                );
            }
            if !read.is_empty() && operators.insert(Caseless(operator.clone()), read).is_some() {
                self.problem(&here, "occurs twice in different case: keep one of the two");
            }
        }
        operators
    }

    fn condition_values(&mut self, at: &str, operator: &str, values: &Value) -> BTreeSet<String> {
        let mut set = BTreeSet::new();
        let author = self.source == Source::Author;
        if author && (values.is_null() || values.as_array().is_some_and(Vec::is_empty)) {
            self.problem(at, "has no value: write one, or remove the key");
            return set;
        }
        let text_only = author && compares_text(operator);
        for value in list(values) {
            if text_only && let Value::Number(_) | Value::Bool(_) = value {
                let what = format!(
                    "holds {value} without quotes, and YAML may have changed what was written (a leading zero, 1.10, 0x1F, yes): quote it"
                );
                self.problem(at, what);
            }
            let text = match value {
                Value::String(s) => s.clone(),
                Value::Bool(b) => b.to_string(),
                Value::Number(n) => n.to_string(),
                other => {
                    self.problem(at, format!("holds {other}, which is no value"));
                    continue;
                }
            };
            set.insert(canonical_value(operator, text));
        }
        set
    }
}

/// Returns true if an operator compares text. A number or a boolean under it should be text.
fn compares_text(operator: &str) -> bool {
    let base = base(operator).to_ascii_lowercase();
    base.starts_with("string") || base.starts_with("arn") || base.starts_with("binary")
}

/// Returns the values of a list, or a single value, because IAM accepts both.
pub(super) fn list(value: &Value) -> std::slice::Iter<'_, Value> {
    match value {
        Value::Array(items) => items.iter(),
        single => std::slice::from_ref(single).iter(),
    }
}

/// Returns the account id for the ARN of an account's root, and every other principal unchanged. IAM treats the two as
/// [the same principal](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-accounts).
fn account_root(principal: String) -> String {
    let mut parts = principal.splitn(6, ':');
    let is = |part: Option<&str>, want: &str| part == Some(want);
    if is(parts.next(), "arn")
        && parts.next().is_some()
        && is(parts.next(), "iam")
        && is(parts.next(), "")
        && let Some(id) = parts.next()
        && is(parts.next(), "root")
        && id.len() == 12
    {
        return id.to_owned();
    }
    principal
}
