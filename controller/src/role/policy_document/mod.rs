//! Policy documents: parsed, and brought to one canonical form in which equal means "IAM acts the same".
//!
//! Follows the [IAM JSON policy grammar](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
//! White space, key order, the order of statements and list entries, a single value against a list of
//! one, and the case where IAM ignores it all vanish; `"*"` and `{"AWS": "*"}` stay apart, because they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

/// A policy document as it will be sent or was received, with its canonical form. Equal by meaning.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    canonical: PolicyDocument,
}

impl Document {
    /// Parses a document given as JSON text.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| PolicyError::new("", format!("is not JSON: {e}")))?;
        Self::from_value(&value)
    }

    /// Parses a document given as a JSON value, as it stands in an `IamRole`.
    pub fn from_value(value: &Value) -> Result<Self, PolicyError> {
        Ok(Self {
            canonical: PolicyDocument::from_value(value)?,
            text: value.to_string(),
        })
    }

    /// The document as AWS is to get it: the author's own words without white space.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The canonical form.
    pub const fn canonical(&self) -> &PolicyDocument {
        &self.canonical
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}
impl Eq for Document {}
impl std::hash::Hash for Document {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}{problem}")]
pub struct PolicyError {
    at: String,
    problem: String,
}

impl PolicyError {
    fn new(at: impl Into<String>, problem: impl Into<String>) -> Self {
        let at: String = at.into();
        Self {
            at: if at.is_empty() { at } else { format!("{at} ") },
            problem: problem.into(),
        }
    }
}

/// The canonical form of a policy document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyDocument {
    /// `2008-10-17` when the document names none, as IAM has it.
    pub version: String,
    /// `Id`, which only labels.
    pub id: Option<String>,
    /// The statements. Their order has no meaning, nor has a repeated one.
    pub statements: BTreeSet<Statement>,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Statement {
    /// `Sid`.
    pub sid: Option<String>,
    /// `Effect`.
    pub effect: Effect,
    /// `Principal` or `NotPrincipal`.
    pub principal: Option<Scope<Principals>>,
    /// `Action` or `NotAction`, lower case: IAM ignores their case.
    pub action: Scope<BTreeSet<String>>,
    /// `Resource` or `NotResource`.
    pub resource: Option<Scope<BTreeSet<String>>>,
    /// `Condition`: operator, key, values. Operators and keys in lower case.
    pub condition: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Refuses, whatever else grants.
    Deny,
}

/// An element or its `Not` form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope<T> {
    /// These.
    Only(T),
    /// All but these.
    AllBut(T),
}

/// Who a statement speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principals {
    /// `"*"`: everybody, the anonymous included.
    Everybody,
    /// By kind: `AWS`, `Service`, `Federated`, `CanonicalUser`.
    Named(BTreeMap<String, BTreeSet<String>>),
}

impl PolicyDocument {
    /// Parses and canonicalises.
    pub fn from_value(value: &Value) -> Result<Self, PolicyError> {
        let Some(map) = value.as_object() else {
            return Err(PolicyError::new("", "is not a JSON object"));
        };
        let mut version = "2008-10-17".to_owned();
        let mut id = None;
        let mut statements = BTreeSet::new();
        let mut has_statement = false;
        for (key, value) in map {
            match key.as_str() {
                "Version" => match value.as_str() {
                    Some(v @ ("2012-10-17" | "2008-10-17")) => v.clone_into(&mut version),
                    _ => {
                        return Err(PolicyError::new(
                            "Version",
                            format!("is {value}: write \"2012-10-17\""),
                        ));
                    }
                },
                "Id" => id = text("Id", value)?,
                "Statement" => {
                    has_statement = true;
                    for (n, statement) in list(value).enumerate() {
                        statements.insert(Statement::from_value(&format!("Statement[{n}]"), statement)?);
                    }
                }
                other => return Err(unknown("", other, &["Version", "Id", "Statement"])),
            }
        }
        if !has_statement {
            return Err(PolicyError::new("", "has no Statement"));
        }
        if statements.is_empty() {
            return Err(PolicyError::new(
                "Statement",
                "is empty: write at least one statement",
            ));
        }
        Ok(Self {
            version,
            id,
            statements,
        })
    }

    /// Unique ids (`AIDA...`, `AROA...`) that stand where a principal's ARN stood before it was deleted.
    pub fn deleted_principals(&self) -> impl Iterator<Item = &str> {
        self.statements
            .iter()
            .filter_map(|s| match &s.principal {
                Some(Scope::Only(Principals::Named(kinds)) | Scope::AllBut(Principals::Named(kinds))) => {
                    kinds.get("AWS")
                }
                _ => None,
            })
            .flatten()
            .map(String::as_str)
            .filter(|p| {
                p.len() >= 16
                    && ["AIDA", "AROA", "ASIA"]
                        .iter()
                        .any(|prefix| p.starts_with(prefix))
                    && !p.contains(':')
            })
    }
}

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

impl Statement {
    fn from_value(at: &str, value: &Value) -> Result<Self, PolicyError> {
        let Some(map) = value.as_object() else {
            return Err(PolicyError::new(at, "is not an object"));
        };
        let mut sid = None;
        let mut effect = None;
        let mut principal = None;
        let mut action = None;
        let mut resource = None;
        let mut condition = BTreeMap::new();
        for (key, value) in map {
            let here = format!("{at}.{key}");
            match key.as_str() {
                "Sid" => sid = text(&here, value)?,
                "Effect" => effect = Some(parse_effect(&here, value)?),
                "Principal" => once(&here, &mut principal, principals(&here, value)?.map(Scope::Only))?,
                "NotPrincipal" => once(
                    &here,
                    &mut principal,
                    principals(&here, value)?.map(Scope::AllBut),
                )?,
                "Action" => once(&here, &mut action, Some(Scope::Only(actions(&here, value)?)))?,
                "NotAction" => once(&here, &mut action, Some(Scope::AllBut(actions(&here, value)?)))?,
                "Resource" => once(&here, &mut resource, Some(Scope::Only(strings(&here, value)?)))?,
                "NotResource" => once(&here, &mut resource, Some(Scope::AllBut(strings(&here, value)?)))?,
                "Condition" => condition = conditions(&here, value)?,
                other => return Err(unknown(at, other, ELEMENTS)),
            }
        }
        Ok(Self {
            sid,
            effect: effect.ok_or_else(|| PolicyError::new(at, "has no Effect: write Allow or Deny"))?,
            principal,
            action: action.ok_or_else(|| PolicyError::new(at, "has neither Action nor NotAction"))?,
            resource,
            condition,
        })
    }
}

fn once<T>(at: &str, slot: &mut Option<T>, value: Option<T>) -> Result<(), PolicyError> {
    if slot.is_some() && value.is_some() {
        return Err(PolicyError::new(
            at,
            "stands beside its opposite: keep one of the two",
        ));
    }
    if value.is_some() {
        *slot = value;
    }
    Ok(())
}

fn unknown(at: &str, key: &str, known: &[&str]) -> PolicyError {
    let near = known.iter().find(|k| {
        k.eq_ignore_ascii_case(key)
            || k.eq_ignore_ascii_case(key.trim_end_matches('s'))
            || format!("{k}s").eq_ignore_ascii_case(key)
    });
    let hint = near.map_or_else(
        || format!("IAM knows {}", known.join(", ")),
        |k| format!("did you mean {k}?"),
    );
    PolicyError::new(at, format!("has the unknown element {key}: {hint}"))
}

/// A value, or the values of a list: IAM takes either.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(items) => items.iter(),
        single => std::slice::from_ref(single).iter(),
    }
}

fn text(at: &str, value: &Value) -> Result<Option<String>, PolicyError> {
    match value.as_str() {
        Some("") => Ok(None),
        Some(s) => Ok(Some(s.to_owned())),
        None => Err(PolicyError::new(at, "is not a string")),
    }
}

fn parse_effect(at: &str, value: &Value) -> Result<Effect, PolicyError> {
    match value.as_str() {
        Some(e) if e.eq_ignore_ascii_case("allow") => Ok(Effect::Allow),
        Some(e) if e.eq_ignore_ascii_case("deny") => Ok(Effect::Deny),
        _ => Err(PolicyError::new(at, format!("is {value}: write Allow or Deny"))),
    }
}

fn strings(at: &str, value: &Value) -> Result<BTreeSet<String>, PolicyError> {
    list(value)
        .map(|v| {
            v.as_str()
                .map(str::to_owned)
                .ok_or_else(|| PolicyError::new(at, format!("holds {v}, which is not a string")))
        })
        .collect()
}

fn actions(at: &str, value: &Value) -> Result<BTreeSet<String>, PolicyError> {
    let actions: BTreeSet<String> = strings(at, value)?
        .iter()
        .map(|a| a.to_ascii_lowercase())
        .collect();
    match actions.iter().find(|a| a.as_str() != "*" && !a.contains(':')) {
        Some(bad) => Err(PolicyError::new(
            at,
            format!("holds \"{bad}\": write it as service:Action"),
        )),
        None => Ok(actions),
    }
}

fn principals(at: &str, value: &Value) -> Result<Option<Principals>, PolicyError> {
    if value.as_str() == Some("*") {
        return Ok(Some(Principals::Everybody));
    }
    let Some(map) = value.as_object() else {
        return Err(PolicyError::new(
            at,
            "is neither \"*\" nor an object such as {\"AWS\": \"arn:...\"}",
        ));
    };
    let mut kinds = BTreeMap::new();
    for (kind, value) in map {
        let known = ["AWS", "Service", "Federated", "CanonicalUser"];
        if !known.contains(&kind.as_str()) {
            return Err(unknown(at, kind, &known));
        }
        let values: BTreeSet<String> = strings(&format!("{at}.{kind}"), value)?
            .into_iter()
            .map(|p| if kind == "AWS" { account_root(p) } else { p })
            .collect();
        if !values.is_empty() {
            kinds.insert(kind.clone(), values);
        }
    }
    // An empty principal says the same as none.
    Ok((!kinds.is_empty()).then_some(Principals::Named(kinds)))
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

fn conditions(
    at: &str,
    value: &Value,
) -> Result<BTreeMap<String, BTreeMap<String, BTreeSet<String>>>, PolicyError> {
    let object = |at: &str, value: &Value| -> Result<Map<String, Value>, PolicyError> {
        value
            .as_object()
            .cloned()
            .ok_or_else(|| PolicyError::new(at, "is not an object"))
    };
    let mut operators: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (operator, keys) in object(at, value)? {
        let here = format!("{at}.{operator}");
        let operator = operator.to_ascii_lowercase();
        let ignores_case = operator.contains("bool")
            || operator.contains("equalsignorecase")
            || operator.starts_with("null");
        for (key, values) in object(&here, &keys)? {
            let mut set = BTreeSet::new();
            for value in list(&values) {
                let value = match value {
                    Value::String(s) => s.clone(),
                    Value::Bool(b) => b.to_string(),
                    Value::Number(n) => n.to_string(),
                    other => {
                        return Err(PolicyError::new(
                            format!("{here}.{key}"),
                            format!("holds {other}, which is no value"),
                        ));
                    }
                };
                set.insert(if ignores_case {
                    value.to_ascii_lowercase()
                } else {
                    value
                });
            }
            operators
                .entry(operator.clone())
                .or_default()
                .entry(key.to_ascii_lowercase())
                .or_default()
                .append(&mut set);
        }
    }
    Ok(operators)
}

impl fmt::Display for PolicyDocument {
    /// How many statements there are; the text itself is [`Document::as_str`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.statements.len();
        write!(f, "{n} statement{}", if n == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn doc(statement: &Value) -> PolicyDocument {
        PolicyDocument::from_value(&json!({"Version": "2012-10-17", "Statement": statement})).unwrap()
    }

    fn error(value: &Value) -> String {
        PolicyDocument::from_value(value).unwrap_err().to_string()
    }

    #[test]
    fn documents_that_mean_the_same_are_equal() {
        let base = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::111111111111:root"}});
        for (what, same) in [
            ("a list of one statement", json!([base])),
            (
                "a list of one action",
                json!({"Effect": "Allow", "Action": ["sts:AssumeRole"], "Principal": {"AWS": "111111111111"}}),
            ),
            (
                "another case of the action",
                json!({"Effect": "allow", "Action": "STS:assumerole", "Principal": {"AWS": ["111111111111"]}}),
            ),
            ("a statement twice", json!([base, base])),
            (
                "an empty condition",
                json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "111111111111"}, "Condition": {}}),
            ),
            (
                "an empty Sid",
                json!({"Sid": "", "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "111111111111"}}),
            ),
        ] {
            assert_eq!(doc(&base), doc(&same), "{what}");
        }
        let condition =
            |c: Value| doc(&json!({"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": c}));
        assert_eq!(
            condition(json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}})),
            condition(json!({"bool": {"AWS:multifactorauthpresent": [true]}}))
        );
        assert_eq!(
            condition(json!({"NumericLessThan": {"k": 5}})),
            condition(json!({"NumericLessThan": {"k": ["5"]}}))
        );
        let missing = PolicyDocument::from_value(&json!({"Statement": base})).unwrap();
        let old = PolicyDocument::from_value(&json!({"Version": "2008-10-17", "Statement": base})).unwrap();
        assert_eq!(missing, old);
    }

    #[test]
    fn documents_that_differ_in_meaning_are_not_equal() {
        let of = |p: Value| doc(&json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": p}));
        assert_ne!(
            of(json!("*")),
            of(json!({"AWS": "*"})),
            "everybody is more than every AWS principal"
        );
        assert_ne!(
            of(json!({"AWS": "111111111111"})),
            of(json!({"AWS": "222222222222"}))
        );
        let resource = |r: &str| doc(&json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": r}));
        assert_ne!(
            resource("arn:aws:s3:::a"),
            resource("arn:aws:s3:::A"),
            "resources keep their case"
        );
        let value = |v: &str| {
            doc(
                &json!({"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": {"StringEquals": {"k": v}}}),
            )
        };
        assert_ne!(value("a"), value("A"), "values keep their case");
    }

    #[test]
    fn a_broken_document_says_where_and_what() {
        let with = |s: Value| json!({"Version": "2012-10-17", "Statement": [s]});
        for (bad, says) in [
            (json!([]), "is not a JSON object"),
            (json!({"Version": "2012-10-17"}), "has no Statement"),
            (
                json!({"Version": "2012", "Statement": []}),
                "Version is \"2012\": write \"2012-10-17\"",
            ),
            (
                json!({"Version": "2012-10-17", "Statement": []}),
                "Statement is empty: write at least one statement",
            ),
            (
                json!({"Statements": []}),
                "has the unknown element Statements: did you mean Statement?",
            ),
            (
                with(json!({"Action": "a:b"})),
                "Statement[0] has no Effect: write Allow or Deny",
            ),
            (
                with(json!({"Effect": "Maybe", "Action": "a:b"})),
                "Statement[0].Effect is \"Maybe\": write Allow or Deny",
            ),
            (
                with(json!({"Effect": "Allow"})),
                "Statement[0] has neither Action nor NotAction",
            ),
            (
                with(json!({"Effect": "Allow", "Actions": "a:b"})),
                "Statement[0] has the unknown element Actions: did you mean Action?",
            ),
            (
                with(json!({"Effect": "Allow", "Action": "AssumeRole"})),
                "Statement[0].Action holds \"assumerole\": write it as service:Action",
            ),
            (
                with(json!({"Effect": "Allow", "Action": "a:b", "NotAction": "a:c"})),
                "Statement[0].NotAction stands beside its opposite: keep one of the two",
            ),
            (
                with(json!({"Effect": "Allow", "Action": "a:b", "Principal": "me"})),
                "Statement[0].Principal is neither \"*\" nor an object such as {\"AWS\": \"arn:...\"}",
            ),
            (
                with(json!({"Effect": "Allow", "Action": "a:b", "Principal": {"Aws": "1"}})),
                "Statement[0].Principal has the unknown element Aws: did you mean AWS?",
            ),
        ] {
            assert_eq!(error(&bad), says);
        }
    }

    #[test]
    fn a_deleted_principal_is_known_by_its_unique_id() {
        let d = doc(
            &json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ["AROAEXAMPLEEXAMPLE12", "111111111111"]}}),
        );
        assert_eq!(
            d.deleted_principals().collect::<Vec<_>>(),
            ["AROAEXAMPLEEXAMPLE12"]
        );
    }

    proptest! {
        #[test]
        fn shuffling_and_rewrapping_keep_a_document_equal(
            actions in prop::collection::vec("[a-z]{1,4}:[A-Z][a-z]{1,4}", 1..5),
            resources in prop::collection::vec("arn:aws:s3:::[a-zA-Z]{1,5}", 1..5),
            seed in any::<u64>(),
        ) {
            let one = json!({"Effect": "Allow", "Action": actions, "Resource": resources});
            let other = json!({"Effect": "Deny", "Action": "x:Y", "Resource": "*"});
            let rotate = |v: &[String]| { let mut v = v.to_vec(); let n = v.len() as u64; v.rotate_left(usize::try_from(seed % n).unwrap()); v };
            let wrap = |v: Vec<String>| if v.len() == 1 { json!(v[0]) } else { json!(v) };
            let again = json!({"Resource": wrap(rotate(&resources)), "Action": wrap(rotate(&actions)), "Effect": "Allow"});
            prop_assert_eq!(doc(&json!([one, other])), doc(&json!([other, again])));
        }

        #[test]
        fn another_resource_is_another_document(a in "[a-zA-Z]{1,8}", b in "[a-zA-Z]{1,8}") {
            let of = |r: &str| doc(&json!({"Effect": "Allow", "Action": "a:b", "Resource": r}));
            prop_assert_eq!(a == b, of(&a) == of(&b));
        }
    }
}
