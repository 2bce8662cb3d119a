//! Checks an object as the API server does before it stores one: by the schema and the CEL rules of its CRD, which are built into this
//! program.
//!
//! ```text
//! identify (kind, version, name) -> structural (types, limits, patterns, unknown fields) -> rules (CEL)
//! ```

mod identify;
mod rules;
mod structural;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::duration;
use crate::field::Field;

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field that is wrong.
    pub field: Field,
    /// The problem and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl Problem {
    /// Returns a problem of the object as a whole.
    pub fn whole(message: String) -> Self {
        Self {
            field: Field::default(),
            message,
        }
    }

    fn new(field: &Field, message: impl Into<String>) -> Self {
        Self {
            field: field.clone(),
            message: message.into(),
        }
    }
}

/// One of our kinds.
struct Kind {
    version: String,
    schema: Value,
}

/// Our kinds by their names.
static KINDS: LazyLock<BTreeMap<String, Kind>> = LazyLock::new(|| {
    let kinds = rolectl_crds::definitions().into_iter().filter_map(|definition| {
        let version = definition
            .spec
            .versions
            .into_iter()
            .find(|version| version.served)?;
        let schema = version.schema?.open_api_v3_schema?;
        let kind = Kind {
            version: version.name,
            schema: serde_json::to_value(schema).ok()?,
        };
        Some((definition.spec.names.kind, kind))
    });
    kinds.collect()
});

/// Returns what the schema and the CEL rules of the CRD refuse in a new object, and what is wrong with its name, its namespace and the
/// names of its metadata's fields. Objects of other groups have no problems here.
///
/// `generateName`, which the API server takes, is refused: each apply would create another object.
pub fn problems(object: &Value) -> Vec<Problem> {
    let kind = match identify::kind(object) {
        Ok(Some(kind)) => kind,
        Ok(None) => return vec![],
        Err(problem) => return vec![problem],
    };
    let mut problems = identify::metadata(object);
    problems.extend(structural::problems(&kind.schema, object));
    // As in the API server, rules are for objects of the right shape: they may rely on it.
    if problems.is_empty() {
        problems = rules::problems(&kind.schema, object);
    }
    problems
}

/// Returns true if the schema of a kind takes this text in a field. A field below a list is that of its items.
///
/// For values that are given as flags and end up in an object: the patterns and limits are written once, in the CRDs.
pub fn takes(kind: &str, field: &[&str], text: &str) -> bool {
    let schema = KINDS.get(kind).and_then(|kind| {
        field.iter().try_fold(&kind.schema, |schema, key| {
            let schema = structural::of_field(schema, key)?;
            Some(schema.get("items").unwrap_or(schema))
        })
    });
    schema.is_some_and(|schema| structural::is_valid(schema, &text.into()))
}

/// Fields that are durations. Their type's own parser panics for very long ones.
const DURATIONS: [&str; 2] = ["/spec/driftInterval", "/spec/expiryWarning"];

/// Parses an object as the API server would store it, but for defaults.
pub fn parse<K: DeserializeOwned>(object: &Value) -> Result<K, String> {
    let mut object = object.clone();
    if let Ok(Some(kind)) = identify::kind(&object) {
        structural::drop_nulls(&kind.schema, &mut object);
        for pointer in DURATIONS {
            let text = object.pointer(pointer).and_then(Value::as_str);
            if text.is_some_and(|text| duration::parse(text).is_none()) {
                return Err(format!(
                    "{}: is no duration",
                    pointer.replace('/', ".").trim_start_matches('.')
                ));
            }
        }
    }
    serde_json::from_value(object).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
