//! Checks a value by a [structural schema](https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema):
//! types, limits, patterns and unknown fields.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::Problem;
use super::identify::unknown;
use crate::field::Field;

/// Fields that every object has.
const ROOT: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// A status is the controller's: the API server ignores it in a file.
const STATUS: &str = "status";
/// The part of a wrong text that a message shows, in characters.
const SHOWN: usize = 80;

/// Returns what is wrong with an object.
pub(super) fn problems(schema: &Value, object: &Value) -> Vec<Problem> {
    let mut problems = vec![];
    check(schema, object, &Field::default(), &mut problems);
    problems
}

/// Returns true if a value of a field has nothing wrong.
pub(super) fn is_valid(schema: &Value, value: &Value) -> bool {
    let mut problems = vec![];
    check(schema, value, &Field::default(), &mut problems);
    problems.is_empty()
}

/// Returns the schema of a field of an object.
pub(super) fn of_field<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let named = schema.get("properties").and_then(|known| known.get(key));
    named.or_else(|| schema.get("additionalProperties"))
}

/// Removes the fields that the API server removes before it looks at an object: a null where none may be counts as no value.
pub(super) fn drop_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, value| {
                let Some(schema) = of_field(schema, key) else {
                    return true;
                };
                drop_nulls(schema, value);
                !value.is_null() || is_nullable(schema)
            });
        }
        Value::Array(items) => {
            for item in items {
                if let Some(schema) = schema.get("items") {
                    drop_nulls(schema, item);
                }
            }
        }
        _ => {}
    }
}

fn check(schema: &Value, value: &Value, at: &Field, to: &mut Vec<Problem>) {
    if value.is_null() {
        if !is_nullable(schema) {
            to.push(Problem::new(at, "is null: write a value, or remove it"));
        }
        return;
    }
    let kind = schema.get("type").and_then(Value::as_str);
    if let Some(kind) = kind
        && !is_of(kind, value)
    {
        let article = if "aio".contains(kind.get(..1).unwrap_or_default()) {
            "an"
        } else {
            "a"
        };
        to.push(Problem::new(
            at,
            format!("is {}: write {article} {kind}", described(value)),
        ));
        return;
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        to.push(Problem::new(at, not_allowed(value, allowed)));
    }
    match value {
        Value::Object(fields) => object(schema, fields, at, to),
        Value::Array(items) => list(schema, items, at, to),
        Value::String(text) => string(schema, text, at, to),
        Value::Number(value) => number(schema, value.as_f64().unwrap_or_default(), at, to),
        Value::Bool(_) | Value::Null => {}
    }
}

fn is_nullable(schema: &Value) -> bool {
    schema.get("nullable") == Some(&Value::Bool(true))
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    }
}

fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", shown(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

fn not_allowed(value: &Value, allowed: &[Value]) -> String {
    let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    let text = value.as_str().unwrap_or_default();
    let meant = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    meant.map_or_else(
        || format!("is {}: write one of {}", shown(text), words.join(", ")),
        |meant| format!("is {}: did you mean {meant}?", shown(text)),
    )
}

fn object(schema: &Value, fields: &Map<String, Value>, at: &Field, to: &mut Vec<Problem>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let keeps = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    for (key, value) in fields {
        let is_root = at.is_empty() && (ROOT.contains(&key.as_str()) || key == STATUS);
        if is_root {
            continue;
        }
        match of_field(schema, key) {
            // The API server drops a null where none may be.
            Some(schema) if value.is_null() && !is_nullable(schema) => {}
            Some(schema) => check(schema, value, &at.child(key), to),
            None if keeps || properties.is_none() => {}
            None => {
                let known = properties.into_iter().flatten().map(|(key, _)| key.as_str());
                to.push(unknown(at, key, known));
            }
        }
    }
    let required = schema.get("required").and_then(Value::as_array);
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        let has_default = properties
            .and_then(|known| known.get(key))
            .is_some_and(|schema| schema.get("default").is_some());
        let is_there = fields.get(key).is_some_and(|value| !value.is_null());
        let may_be_null = properties
            .and_then(|known| known.get(key))
            .is_some_and(|schema| is_nullable(schema) && fields.contains_key(key));
        let is_checked_elsewhere = at.is_empty() && ROOT.contains(&key);
        if !(is_there || has_default || may_be_null || is_checked_elsewhere) {
            to.push(Problem::new(&at.child(key), "is missing"));
        }
    }
    count(
        schema,
        ["minProperties", "maxProperties"],
        fields.len(),
        "entries",
        at,
        to,
    );
}

fn list(schema: &Value, items: &[Value], at: &Field, to: &mut Vec<Problem>) {
    count(schema, ["minItems", "maxItems"], items.len(), "items", at, to);
    for (n, item) in items.iter().enumerate() {
        if let Some(schema) = schema.get("items") {
            check(schema, item, &at.child(n), to);
        }
    }
    let is_set = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set");
    let mut seen = HashMap::new();
    for (n, item) in items.iter().enumerate().filter(|_| is_set) {
        if let Some(first) = seen.insert(item.to_string(), n) {
            to.push(Problem::new(
                &at.child(n),
                format!("{item} is in the list twice, first at [{first}]: remove one"),
            ));
        }
    }
}

fn string(schema: &Value, text: &str, at: &Field, to: &mut Vec<Problem>) {
    let length = text.chars().count();
    count(schema, ["minLength", "maxLength"], length, "characters", at, to);
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && !matches(pattern, text)
    {
        to.push(Problem::new(
            at,
            format!("{} does not match {pattern}", shown(text)),
        ));
    }
}

/// Adds a problem if a length or a number of items is beyond the limits with these keys.
fn count(schema: &Value, limits: [&str; 2], count: usize, what: &str, at: &Field, to: &mut Vec<Problem>) {
    let limit = |key: &str| schema.get(key).and_then(Value::as_u64);
    let [least, most] = limits.map(limit);
    let count = count as u64;
    if let Some(least) = least.filter(|least| count < *least) {
        to.push(Problem::new(
            at,
            format!("has {count} {what}, and needs {least} or more"),
        ));
    }
    if let Some(most) = most.filter(|most| count > *most) {
        to.push(Problem::new(
            at,
            format!("has {count} {what}, and may have {most} at most"),
        ));
    }
}

fn number(schema: &Value, number: f64, at: &Field, to: &mut Vec<Problem>) {
    let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
    if let Some(least) = limit("minimum").filter(|least| number < *least) {
        to.push(Problem::new(at, format!("is {number}: write {least} or more")));
    }
    if let Some(most) = limit("maximum").filter(|most| number > *most) {
        to.push(Problem::new(at, format!("is {number}: write {most} or less")));
    }
}

/// Returns true if a text matches a pattern, in which `\w` and `\d` are ASCII as in Go. A pattern that cannot be read matches nothing.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let regex = compiled
        .entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).ok());
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}
