//! A policy document as its author wrote it, in as little memory as it can be kept in.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// JSON kept as its text. As a tree of values the same document takes ten times the memory, and a controller keeps
/// those of all roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyJson(Box<str>);

impl PolicyJson {
    /// Length of the text in bytes, so that a size limit can be checked before the text is parsed.
    pub fn text_len(&self) -> usize {
        self.0.len()
    }

    /// The text: JSON without white space, and with characters escaped only where JSON requires it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tree of values.
    pub fn to_value(&self) -> Value {
        // It was made from one.
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
