//! Writes the canonical form as JSON: elements in the order of AWS's examples, one value without a list, several as a sorted list.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::document::{Caseless, PolicyDocument, Principals, Statement};

impl PolicyDocument {
    /// Returns the document as indented JSON.
    pub fn pretty(&self) -> String {
        // A map with text keys always becomes JSON.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Serialize for PolicyDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            version,
            id,
            statements,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Version", version)?;
        if let Some(id) = id {
            map.serialize_entry("Id", id)?;
        }
        // An empty list would parse as a document with a Statement.
        if !statements.is_empty() {
            map.serialize_entry("Statement", statements)?;
        }
        map.end()
    }
}

impl Serialize for Statement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            sid,
            effect,
            principal,
            action,
            resource,
            condition,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        if let Some(sid) = sid {
            map.serialize_entry("Sid", sid)?;
        }
        map.serialize_entry("Effect", effect)?;
        if let Some(principal) = principal {
            map.serialize_entry(principal.element("Principal", "NotPrincipal"), principal.inner())?;
        }
        map.serialize_entry(action.element("Action", "NotAction"), &Values(action.inner()))?;
        if let Some(resource) = resource {
            map.serialize_entry(
                resource.element("Resource", "NotResource"),
                &Values(resource.inner()),
            )?;
        }
        if !condition.is_empty() {
            let values: BTreeMap<&Caseless, BTreeMap<&Caseless, Values<'_, String>>> = condition
                .iter()
                .map(|(operator, keys)| (operator, keys.iter().map(|(k, v)| (k, Values(v))).collect()))
                .collect();
            map.serialize_entry("Condition", &values)?;
        }
        map.end()
    }
}

impl Serialize for Principals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Everybody => serializer.serialize_str("*"),
            Self::Named(kinds) => serializer.collect_map(kinds.iter().map(|(kind, v)| (kind, Values(v)))),
        }
    }
}

impl Serialize for Caseless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A set that is written without a list if it has one value.
struct Values<'a, T>(&'a BTreeSet<T>);

impl<T: Serialize + Ord> Serialize for Values<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.first() {
            Some(only) if self.0.len() == 1 => only.serialize(serializer),
            _ => {
                let mut list = serializer.serialize_seq(Some(self.0.len()))?;
                for value in self.0 {
                    list.serialize_element(value)?;
                }
                list.end()
            }
        }
    }
}

/// Writes the number of statements. For the text see [`PolicyDocument::pretty`].
impl fmt::Display for PolicyDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.statements.len();
        write!(f, "{n} statement{}", if n == 1 { "" } else { "s" })
    }
}
