//! A policy document in a spec, in a compact form.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A JSON value that is stored as text. A tree of values needs about ten times as much memory, and the controller keeps the documents
/// of all roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyJson(Box<str>);

impl PolicyJson {
    /// Returns the length of the text in bytes, so that a size limit can be checked before the text is parsed.
    pub fn text_len(&self) -> usize {
        self.0.len()
    }

    /// Returns the text: JSON without white space, in which only characters are escaped that JSON requires.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the document as a tree of values.
    pub fn to_value(&self) -> Value {
        // The text was written from a value, so it parses.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<Value> for PolicyJson {
    fn from(value: Value) -> Self {
        Self(value.to_string().into())
    }
}

impl Serialize for PolicyJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PolicyJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}
