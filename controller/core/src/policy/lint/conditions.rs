//! Checks of the conditions of a statement.

use serde_json::Value;

use super::super::condition::{GLOBAL_KEYS, OPERATORS, base, matching, value_problem};
use super::super::document::{Caseless, Effect, Statement};
use super::finding::Linter;
use crate::spelling::nearest;

/// Adds a warning for every empty `Condition`, which the canonical form does not have. IAM accepts it and its console writes it,
/// but a template may have removed the content.
pub(super) fn empty_conditions(to: &mut Linter, document: &Value) {
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

pub(super) fn conditions(to: &mut Linter, at: &str, statement: &Statement) {
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

/// Keys for which `ForAllValues:` in an Allow statement is safe: a request without the key does nothing that the values could
/// forbid.
const SAFE_WITHOUT_VALUES: &[&str] = &[
    // A request without tags: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html
    "aws:TagKeys",
    // https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-conditions-route53.html
    "route53:ChangeResourceRecordSetsActions",
    "route53:ChangeResourceRecordSetsNormalizedRecordNames",
    "route53:ChangeResourceRecordSetsRecordTypes",
];

/// Returns true if the key may have a `ForAllValues:` condition, because the key is safe or another condition requires a value.
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
            // A negated operator matches a missing key.
            Some(base) => !base.to_ascii_lowercase().contains("not"),
            None => false,
        }
    })
}

pub(super) fn starts_with(operator: &Caseless, prefix: &str) -> bool {
    let start = operator.as_str().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

pub(super) fn ends_with(operator: &Caseless, suffix: &str) -> bool {
    let text = operator.as_str();
    let end = text.get(text.len().saturating_sub(suffix.len())..);
    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// Returns a hint if a key of the `aws:` namespace is not a global condition key. The hint is empty if no key is similar.
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
