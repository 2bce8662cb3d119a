//! From JSON to the canonical form. Collects every problem before it gives up, so that an author mends all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::condition::{base, canonical_value};
use super::document::{
    Caseless, Document, Effect, MAX_BYTES, MAX_DEPTH, MAX_OBSERVED_BYTES, PolicyDocument, Principals, Scope,
    Statement,
};
use crate::bounded;

/// One thing that is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path within the document, empty for the document itself.
    pub at: String,
    /// What is wrong, and what to write instead.
    pub what: String,
}

impl Problem {
    /// Both texts are clipped, because they quote the document.
    pub(super) fn new(at: &str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self {
            at: bounded::clip(at, 256).into_owned(),
            what: bounded::clip(&what, 512).into_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{} {}", self.at, self.what)
        }
    }
}

/// Text or JSON that is no policy document. Holds at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(pub Vec<Problem>);

impl PolicyError {
    pub(super) fn of(at: &str, what: impl Into<String>) -> Self {
        Self(vec![Problem::new(at, what)])
    }
}

/// The first problems and the number of the others: the text has a limit, the list has none.
impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bounded::problems(&self.0))
    }
}
impl std::error::Error for PolicyError {}

/// Who wrote the document that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An author, before AWS sees it: what AWS would refuse, and what YAML or a template engine may have changed, is a
    /// problem.
    Author,
    /// AWS, or a document that is only compared: as much as possible is read.
    Any,
}

/// A document as it is written, before its statements lose their order.
pub(super) struct Ordered {
    pub version: Option<String>,
    pub id: Option<String>,
    /// With the path of each. `None` where the element itself is missing.
    pub statements: Option<Vec<(String, Statement)>>,
}

impl Document {
    /// Parses a document given as JSON text, plain or URL-encoded as AWS hands it out.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let text = text.trim();
        // A byte takes up to three when it is URL-encoded.
        check_limit(text.len() / 3, MAX_OBSERVED_BYTES)?;
        let decoded = if text.starts_with("%7B") || text.starts_with("%7b") {
            percent_encoding::percent_decode_str(text).decode_utf8_lossy()
        } else {
            text.into()
        };
        check_limit(decoded.len(), MAX_OBSERVED_BYTES)?;
        let value: Value =
            serde_json::from_str(&decoded).map_err(|e| PolicyError::of("", format!("is not JSON: {e}")))?;
        Self::from_value(&value)
    }

    /// Parses a document given as a JSON value, as it stands in an `IamRole`.
    pub fn from_value(value: &Value) -> Result<Self, PolicyError> {
        let canonical = PolicyDocument::from_value(value)?;
        Ok(Self::new(value.to_string(), canonical))
    }
}

impl PolicyDocument {
    /// Parses and canonicalises. Even an empty object is a document, equal to itself; see [`super::lint`] for
    /// what AWS takes.
    pub fn from_value(value: &Value) -> Result<Self, PolicyError> {
        ordered(value, Source::Any).map(Self::from)
    }
}

impl From<Ordered> for PolicyDocument {
    fn from(document: Ordered) -> Self {
        let Ordered {
            version,
            id,
            statements,
        } = document;
        Self {
            version: version.unwrap_or_else(|| "2008-10-17".to_owned()),
            id,
            statements: statements.into_iter().flatten().map(|(_, s)| s).collect(),
        }
    }
}

/// Refuses an author's text that is too large for a document, before anything else looks at it.
pub fn check_size(bytes: usize) -> Result<(), PolicyError> {
    check_limit(bytes, MAX_BYTES)
}

pub(super) fn check_limit(bytes: usize, limit: usize) -> Result<(), PolicyError> {
    if bytes <= limit {
        return Ok(());
    }
    let what = format!(
        "is larger than {} KiB: AWS allows 10240 characters at most, so split or shorten it",
        limit / 1024
    );
    Err(PolicyError::of("", what))
}

/// Refuses a value that is too large or nested too deeply. Does not recurse and stops at the limit, because the value
/// may be of any shape.
fn check_bounds(value: &Value, source: Source) -> Result<(), PolicyError> {
    let limit = match source {
        Source::Author => MAX_BYTES,
        Source::Any => MAX_OBSERVED_BYTES,
    };
    let mut todo = vec![(value, 1_usize)];
    let mut bytes = 0_usize;
    while let Some((value, depth)) = todo.pop() {
        if depth > MAX_DEPTH {
            let what = format!("is nested more than {MAX_DEPTH} levels deep: no policy document is");
            return Err(PolicyError::of("", what));
        }
        bytes = bytes.saturating_add(match value {
            Value::String(text) => text.len().saturating_add(2),
            Value::Object(map) => map.keys().map(|key| key.len().saturating_add(3)).sum(),
            _ => 1,
        });
        check_limit(bytes, limit)?;
        match value {
            Value::Array(items) => todo.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => todo.extend(map.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

/// Reads a document in the author's order.
pub(super) fn ordered(value: &Value, source: Source) -> Result<Ordered, PolicyError> {
    check_bounds(value, source)?;
    let Some(map) = value.as_object() else {
        return Err(PolicyError::of("", "is not a JSON object"));
    };
    let mut reader = Reader {
        problems: vec![],
        source,
    };
    let (mut version, mut id, mut statements) = (None, None, None);
    for (key, value) in map {
        match key.as_str() {
            "Version" => match value.as_str() {
                Some(text) => version = Some(text.to_owned()),
                None => reader.problem("Version", format!("is {value}: write \"2012-10-17\"")),
            },
            "Id" => id = reader.text("Id", value),
            "Statement" => {
                let read = list(value).enumerate().filter_map(|(n, statement)| {
                    let at = format!("Statement[{n}]");
                    reader.statement(&at, statement).map(|s| (at, s))
                });
                statements = Some(read.collect());
            }
            other => reader.unknown("", other, &["Version", "Id", "Statement"]),
        }
    }
    if reader.problems.is_empty() {
        Ok(Ordered {
            version,
            id,
            statements,
        })
    } else {
        Err(PolicyError(reader.problems))
    }
}

/// The elements of a statement.
const ELEMENTS: &[&str] = &[
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

/// The kinds of principal.
const KINDS: &[&str] = &["AWS", "Service", "Federated", "CanonicalUser"];

struct Reader {
    problems: Vec<Problem>,
    source: Source,
}

impl Reader {
    fn problem(&mut self, at: &str, what: impl Into<String>) {
        self.problems.push(Problem::new(at, what));
    }

    fn statement(&mut self, at: &str, value: &Value) -> Option<Statement> {
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
        // An element that is there and wrong was told already.
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
            self.problem(at, "stands beside its opposite: keep one of the two");
        } else if value.is_some() {
            *slot = value;
        }
    }

    fn unknown(&mut self, at: &str, key: &str, known: &[&str]) {
        let hint = nearest(key, known.iter().copied()).map_or_else(
            || format!("IAM knows {}", known.join(", ")),
            |near| format!("did you mean {near}?"),
        );
        self.problem(at, format!("has the unknown element {key}: {hint}"));
    }

    fn text(&mut self, at: &str, value: &Value) -> Option<String> {
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

    /// The [values are case sensitive](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_effect.html).
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

    /// An empty principal says the same as none.
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
                    self.problem(
                        &there,
                        "stands there twice in different case: keep one of the two",
                    );
                }
            }
            // IAM accepts an operator without keys and ignores it. An author whose template rendered to nothing, or whose
            // null was dropped by kubectl, gets a document without the restriction.
            if self.source == Source::Author && keys.as_object().is_some_and(Map::is_empty) {
                self.problem(
                    &here,
                    "has no condition key, so it restricts nothing: write the key, or remove the operator",
                );
            }
            if !read.is_empty() && operators.insert(Caseless(operator.clone()), read).is_some() {
                self.problem(&here, "stands there twice in different case: keep one of the two");
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

/// Whether an operator compares text, so that a number or a boolean under it was meant as text.
fn compares_text(operator: &str) -> bool {
    let base = base(operator).to_ascii_lowercase();
    base.starts_with("string") || base.starts_with("arn") || base.starts_with("binary")
}

/// The word of `known` that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The distance takes time in proportion to the length, and a long word is no misspelling.
    if word.len() > 128 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    known
        .map(|k| (strsim::damerau_levenshtein(&word, &k.to_ascii_lowercase()), k))
        .filter(|(distance, k)| *distance <= 2.max(k.len() / 4) && *distance < k.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// A value, or the values of a list: IAM takes either.
fn list(value: &Value) -> std::slice::Iter<'_, Value> {
    match value {
        Value::Array(items) => items.iter(),
        single => std::slice::from_ref(single).iter(),
    }
}

/// A bare account id and the ARN of its root are one principal. The id is the shorter name, and holds in any partition.
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
