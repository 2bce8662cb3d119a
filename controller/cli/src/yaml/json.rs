//! Reads a stream of JSON values.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Document, duplicate_key, number};

/// Reads JSON values that follow one another. The first that cannot be read ends the list with its error.
pub(super) fn documents(text: &str, first_line: usize) -> Vec<Document> {
    let mut all = vec![];
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        let begin = text.len() - trimmed.len();
        if trimmed.is_empty() {
            return all;
        }
        let lines_before = text.get(..begin).unwrap_or_default().matches('\n').count();
        let line = first_line + lines_before;
        let mut stream = serde_json::Deserializer::from_str(trimmed);
        let value = Json.deserialize(&mut stream);
        match value {
            Ok(value) => {
                // `Json` reads one value and reports no offset. A stream of ignored values does.
                let mut skip =
                    serde_json::Deserializer::from_str(trimmed).into_iter::<serde::de::IgnoredAny>();
                let _ = skip.next();
                let Some((text, next)) = trimmed.split_at_checked(skip.byte_offset()) else {
                    return all;
                };
                all.push(Document {
                    line,
                    text: text.into(),
                    value: Ok(value),
                });
                rest = next;
            }
            Err(error) => {
                let at = line + error.line().saturating_sub(1);
                // The error counts lines from the start of the document, so its position is replaced.
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or_default().to_owned();
                all.push(Document {
                    line,
                    text: trimmed.into(),
                    value: Err(format!("line {at}: JSON: {what}")),
                });
                return all;
            }
        }
    }
}

/// Deserializes a JSON value. Stores numbers as the API server does and refuses duplicate keys.
struct Json;

impl<'de> DeserializeSeed<'de> for Json {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        number::from_u64(value).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        number::from_f64(value).map_err(E::custom)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = vec![];
        while let Some(item) = items.next_element_seed(Self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Self)?;
            if all.contains_key(&key) {
                return Err(A::Error::custom(duplicate_key(&key)));
            }
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}
