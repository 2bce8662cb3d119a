//! The [CEL rules](https://kubernetes.io/docs/reference/using-api/cel/) of a schema.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::extractors::This;
use cel::{Context, Program, Value as Cel};
use serde_json::Value;

use super::Problem;
use super::structural::{self, matches, of_field};
use crate::duration::milliseconds;
use crate::field::Field;

/// Returns the rules that an object of the right shape breaks. Rules that compare an object with an earlier one are for changes only.
pub(super) fn problems(schema: &Value, object: &Value) -> Vec<Problem> {
    let mut object = object.clone();
    structural::drop_nulls(schema, &mut object);
    fill_in_defaults(schema, &mut object);
    let mut problems = vec![];
    check(schema, &object, &Field::default(), &mut problems);
    problems
}

fn fill_in_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (key, schema) in properties.into_iter().flatten() {
                if let Some(default) = schema.get("default")
                    && !fields.contains_key(key)
                {
                    fields.insert(key.clone(), default.clone());
                }
            }
            for (key, value) in fields {
                if let Some(schema) = of_field(schema, key) {
                    fill_in_defaults(schema, value);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if let Some(schema) = schema.get("items") {
                    fill_in_defaults(schema, item);
                }
            }
        }
        _ => {}
    }
}

fn check(schema: &Value, value: &Value, at: &Field, to: &mut Vec<Problem>) {
    if value.is_null() {
        return;
    }
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    for rule in rules.into_iter().flatten() {
        let text = |key: &str| rule.get(key).and_then(Value::as_str);
        let Some(source) = text("rule").filter(|rule| !rule.contains("oldSelf")) else {
            continue;
        };
        let field = text("fieldPath").map_or_else(|| at.clone(), |path| at.clone().join(Field::parse(path)));
        match holds(source, value) {
            Ok(true) => {}
            Ok(false) => {
                let message =
                    text("message").map_or_else(|| format!("breaks the rule {source}"), str::to_owned);
                to.push(Problem { field, message });
            }
            Err(why) => to.push(Problem::new(
                &field,
                format!("cannot be checked by the rule {source}: {why}"),
            )),
        }
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let Some(schema) = of_field(schema, key) {
                    check(schema, value, &at.child(key), to);
                }
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                if let Some(schema) = schema.get("items") {
                    check(schema, item, &at.child(n), to);
                }
            }
        }
        _ => {}
    }
}

/// Returns true if a value keeps a rule.
fn holds(rule: &str, value: &Value) -> Result<bool, String> {
    static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Program>>>> = LazyLock::new(Mutex::default);
    let known = COMPILED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(rule)
        .cloned();
    let program = if let Some(program) = known {
        program
    } else {
        let program = Arc::new(Program::compile(rule).map_err(|error| error.to_string())?);
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.insert(rule.to_owned(), program.clone());
        program
    };
    let mut context = Context::default();
    let added = add_functions(&mut context).map_err(|error| error.to_string());
    let value = cel::to_value(without_nulls(value)).map_err(|error| error.to_string());
    context.add_variable_from_value("self", value?);
    added?;
    match program.execute(&context).map_err(|error| error.to_string())? {
        Cel::Bool(holds) => Ok(holds),
        other => Err(format!("it gives {other:?}")),
    }
}

/// A field that is null counts as one that is not there.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                fields
                    .map(|(key, value)| (key.clone(), without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        value => value.clone(),
    }
}

/// Adds the functions of [Kubernetes](https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries)
/// that our rules use.
fn add_functions(context: &mut Context) -> Result<(), cel::DeclarationError> {
    context.add_function(
        "matches",
        |This(text): This<Arc<String>>, pattern: Arc<String>| matches(&pattern, &text),
    )?;
    context.add_function("lowerAscii", |This(text): This<Arc<String>>| {
        text.to_ascii_lowercase()
    })?;
    context.add_function("duration", |text: Arc<String>| {
        milliseconds(&text).unwrap_or(i64::MAX)
    })
}
