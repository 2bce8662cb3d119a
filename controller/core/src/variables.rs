//! The variables of a spec, such as `$(account.id)`.

use std::collections::BTreeMap;

use serde_json::Value;

/// The text that a variable begins with.
pub(super) const VARIABLE: &str = "$(";

/// The variables of one account, by name.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, String>);

/// The error for a `$(...)` that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The account has no variable of this name.
    #[error("unknown variable $({name}): correct it, known here are {known}")]
    Unknown {
        /// The name as written.
        name: String,
        /// The names of all variables, separated by commas.
        known: String,
    },
    /// The text has a `$(` without a `)`.
    #[error("\"{0}\" opens a variable with $( and does not close it: write the closing parenthesis")]
    Unclosed(String),
}

impl Variables {
    /// Returns the variables of an account. Each of its labels is `account.labels.KEY`.
    pub fn new(
        account_id: &str,
        account_name: &str,
        labels: &BTreeMap<String, String>,
        session_account_id: &str,
        partition: &str,
    ) -> Self {
        let mut all = BTreeMap::from([
            ("account.id".to_owned(), account_id.to_owned()),
            ("account.name".to_owned(), account_name.to_owned()),
            ("session.accountId".to_owned(), session_account_id.to_owned()),
            ("aws.partition".to_owned(), partition.to_owned()),
        ]);
        all.extend(
            labels
                .iter()
                .map(|(key, value)| (format!("account.labels.{key}"), value.clone())),
        );
        Self(all)
    }

    /// Replaces the variables in one string. `${...}` is a variable of IAM and stays.
    ///
    /// # Errors
    /// When a variable is unknown or not closed.
    pub fn fill(&self, text: &str) -> Result<String, VariableError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(VARIABLE) {
            let (name, after) = after
                .split_once(')')
                .ok_or_else(|| VariableError::Unclosed(text.to_owned()))?;
            let value = self.0.get(name).ok_or_else(|| VariableError::Unknown {
                name: name.to_owned(),
                known: self.0.keys().cloned().collect::<Vec<_>>().join(", "),
            })?;
            out.push_str(before);
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Replaces the variables in every string of a document, including the keys of objects.
    ///
    /// # Errors
    /// When a variable is unknown or not closed.
    pub fn fill_value(&self, value: &Value) -> Result<Value, VariableError> {
        Ok(match value {
            Value::String(s) => Value::String(self.fill(s)?),
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|v| self.fill_value(v))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(k, v)| Ok((self.fill(k)?, self.fill_value(v)?)))
                    .collect::<Result<_, VariableError>>()?,
            ),
            other => other.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn variables() -> Variables {
        let labels = BTreeMap::from([("tier".to_owned(), "prod".to_owned())]);
        Variables::new("222222222222", "dev", &labels, "111111111111", "aws")
    }

    #[test]
    fn variables_are_replaced_in_every_string() {
        for (text, filled) in [
            (
                "arn:$(aws.partition):iam::$(session.accountId):root",
                "arn:aws:iam::111111111111:root",
            ),
            ("$(account.name)-$(account.labels.tier)", "dev-prod"),
            ("${aws:username} and $5", "${aws:username} and $5"),
            ("", ""),
        ] {
            assert_eq!(variables().fill(text).unwrap(), filled);
        }
        assert_eq!(
            variables()
                .fill_value(&json!({"a": ["$(account.id)", true], "$(account.name)": 1}))
                .unwrap(),
            json!({"a": ["222222222222", true], "dev": 1})
        );
    }

    #[test]
    fn a_variable_without_a_value_is_an_error_that_names_it() {
        let unknown = variables().fill("x $(account.ID)").unwrap_err().to_string();
        assert!(
            unknown.starts_with("unknown variable $(account.ID): correct it, known here are account.id,"),
            "{unknown}"
        );
        assert_eq!(
            variables().fill("$(account.id").unwrap_err(),
            VariableError::Unclosed("$(account.id".into())
        );
    }

    proptest! {
        #[test]
        fn any_text_is_filled_or_refused(text in r"(\$\(|\)|\$\{|\}|account\.id|account\.name|\PC){0,20}") {
            if let Ok(filled) = variables().fill(&text) {
                prop_assert!(!filled.contains("$(account.id)"));
                prop_assert!(filled.len() <= 2 * text.len());
            }
        }
    }
}
