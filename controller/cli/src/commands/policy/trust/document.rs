//! A trust policy with one statement, with its elements in the order of AWS's documents.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

/// A trust policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TrustPolicy {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    effect: &'static str,
    principal: BTreeMap<&'static str, String>,
    action: Actions,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<&'static str, BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Actions {
    One(&'static str),
    Several(Vec<&'static str>),
}

impl TrustPolicy {
    /// Returns a policy that lets a principal of this kind (`AWS`, `Federated` or `Service`) make these calls.
    pub(super) fn of(kind: &'static str, principal: String, actions: &[&'static str]) -> Self {
        Self {
            version: "2012-10-17",
            statement: [Statement {
                effect: "Allow",
                principal: BTreeMap::from([(kind, principal)]),
                action: match actions {
                    [one] => Actions::One(one),
                    several => Actions::Several(several.to_vec()),
                },
                condition: BTreeMap::new(),
            }],
        }
    }

    /// Adds a condition.
    pub(super) fn with(
        mut self,
        operator: &'static str,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        let [statement] = &mut self.statement;
        let keys = statement.condition.entry(operator).or_default();
        keys.insert(key.into(), value.into());
        self
    }

    /// Adds a condition on a text. The operator is `StringLike` only if the text has a wildcard.
    pub(super) fn with_text(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let value = value.into();
        let operator = if value.contains(['*', '?']) {
            "StringLike"
        } else {
            "StringEquals"
        };
        self.with(operator, key, value)
    }

    /// Returns true if the policy has no condition.
    pub(super) fn is_unconditional(&self) -> bool {
        let [statement] = &self.statement;
        statement.condition.is_empty()
    }

    /// Returns the document as JSON.
    pub(super) fn value(&self) -> Result<Value, Failure> {
        serde_json::to_value(self).map_err(|e| {
            Failure::new(
                format!("could not write the policy: {e}"),
                "report this as a defect",
            )
        })
    }
}
