//! The differences between two documents, statement by statement, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::document::{Caseless, PolicyDocument, Principals, Statement};
use super::statement::ELEMENTS;

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// The new document has it and the old one does not.
    Add,
    /// Both documents have it, and it differs.
    Change,
    /// The old document has it and the new one does not.
    Remove,
}

impl Sign {
    /// Returns `+`, `~` or `-`.
    pub const fn as_char(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Remove => '-',
        }
    }
}

/// One line of the difference between two documents.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct DiffLine {
    /// The kind of the change.
    pub sign: Sign,
    /// Level of indentation: 0 for an element of the document, 1 for an element of a statement.
    pub depth: usize,
    /// The element that changes, with its value.
    pub text: String,
}

impl fmt::Display for DiffLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:indent$}{} {}",
            "",
            self.sign.as_char(),
            self.text,
            indent = self.depth * 4
        )
    }
}

impl PolicyDocument {
    /// Returns all statements, as the difference from a document without any.
    pub fn listing(&self) -> Vec<DiffLine> {
        let empty = Self {
            statements: BTreeSet::new(),
            ..self.clone()
        };
        empty.diff(self)
    }

    /// Returns the changes that lead from this document to `to`. The list is empty if and only if the two are equal.
    pub fn diff(&self, to: &Self) -> Vec<DiffLine> {
        let line = |sign, depth, text| DiffLine { sign, depth, text };
        let mut lines = vec![];
        if self.version != to.version {
            lines.push(line(
                Sign::Change,
                0,
                format!("Version {} -> {}", self.version, to.version),
            ));
        }
        if self.id != to.id {
            let shown = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned());
            lines.push(line(
                Sign::Change,
                0,
                format!("Id {} -> {}", shown(&self.id), shown(&to.id)),
            ));
        }
        let mut removed: Vec<&Statement> = self.statements.difference(&to.statements).collect();
        for new in to.statements.difference(&self.statements) {
            let Some(old) = take_counterpart(&mut removed, new) else {
                lines.push(line(Sign::Add, 0, format!("statement {}", new.name())));
                let mut parts: Vec<(String, String)> = parts(new).into_values().collect();
                // The name has the Sid.
                parts.retain(|(label, _)| label != "Sid");
                parts.sort_by_key(|(label, _)| place(label));
                lines.extend(
                    parts
                        .iter()
                        .map(|(label, value)| line(Sign::Add, 1, shown(label, value))),
                );
                continue;
            };
            lines.push(line(Sign::Change, 0, format!("statement {}", old.name())));
            lines.extend(changes(old, new));
        }
        lines.extend(
            removed
                .iter()
                .map(|old| line(Sign::Remove, 0, format!("statement {}", old.name()))),
        );
        lines
    }
}

/// Returns the position of an element in a statement, in the order of AWS's documents.
fn place(label: &str) -> Option<usize> {
    let element = label.split(' ').next().unwrap_or_default();
    ELEMENTS.iter().position(|known| *known == element)
}

/// Removes and returns the old statement that became `new`: the one with the same `Sid`, or else the one with the most parts in
/// common.
fn take_counterpart<'a>(removed: &mut Vec<&'a Statement>, new: &Statement) -> Option<&'a Statement> {
    let wanted = parts(new);
    let same_sid = removed
        .iter()
        .position(|old| old.sid.is_some() && old.sid == new.sid);
    let most_similar = || {
        let candidates = removed
            .iter()
            .enumerate()
            .filter(|(_, old)| old.sid.is_none() || new.sid.is_none());
        candidates
            .map(|(n, old)| {
                (
                    parts(old).keys().filter(|key| wanted.contains_key(*key)).count(),
                    n,
                )
            })
            // The effect alone is not enough.
            .filter(|(shared, _)| *shared > 1)
            .max_by_key(|(shared, n)| (*shared, std::cmp::Reverse(*n)))
            .map(|(_, n)| n)
    };
    same_sid.or_else(most_similar).map(|n| removed.remove(n))
}

fn changes(old: &Statement, new: &Statement) -> Vec<DiffLine> {
    let (before, after) = (parts(old), parts(new));
    let line = |sign, text| DiffLine { sign, depth: 1, text };
    let mut lines = vec![];
    if old.effect != new.effect {
        lines.push(line(
            Sign::Change,
            format!("Effect {} -> {}", old.effect, new.effect),
        ));
    }
    let only_in = |parts: &Parts, others: &Parts| -> Vec<String> {
        parts
            .iter()
            .filter(|(key, (label, _))| !others.contains_key(*key) && *label != "Effect")
            .map(|(_, (label, value))| shown(label, value))
            .collect()
    };
    lines.extend(
        only_in(&after, &before)
            .into_iter()
            .map(|text| line(Sign::Add, text)),
    );
    lines.extend(
        only_in(&before, &after)
            .into_iter()
            .map(|text| line(Sign::Remove, text)),
    );
    lines
}

/// The parts of a statement: from the meaning of each part to the label and the value that are shown.
type Parts = BTreeMap<(String, String), (String, String)>;

fn shown(label: impl fmt::Display, value: &str) -> String {
    format!("{label} {value}")
}

/// Returns the parts of a statement. Two statements are equal if and only if their parts have the same keys.
fn parts(statement: &Statement) -> Parts {
    let Statement {
        sid,
        effect,
        principal,
        action,
        resource,
        condition,
    } = statement;
    let mut parts = Parts::new();
    let mut exact = |label: &str, value: &str| {
        parts.insert(
            (label.to_owned(), value.to_owned()),
            (label.to_owned(), value.to_owned()),
        );
    };
    exact("Effect", &effect.to_string());
    if let Some(sid) = sid {
        exact("Sid", sid);
    }
    if let Some(scope) = principal {
        let element = scope.element("Principal", "NotPrincipal");
        match scope.inner() {
            Principals::Everybody => exact(element, "*"),
            Principals::Named(kinds) => {
                for (kind, values) in kinds {
                    for value in values {
                        exact(&format!("{element} {kind}"), value);
                    }
                }
            }
        }
    }
    if let Some(scope) = resource {
        let element = scope.element("Resource", "NotResource");
        scope.inner().iter().for_each(|value| exact(element, value));
        if scope.inner().is_empty() {
            exact(element, "(none)");
        }
    }
    let element = action.element("Action", "NotAction");
    let fold = |text: &Caseless| text.as_str().to_ascii_lowercase();
    for value in action.inner() {
        parts.insert(
            (element.to_owned(), fold(value)),
            (element.to_owned(), value.to_string()),
        );
    }
    if action.inner().is_empty() {
        parts.insert(
            (element.to_owned(), String::new()),
            (element.to_owned(), "(none)".to_owned()),
        );
    }
    for (operator, keys) in condition {
        for (key, values) in keys {
            let (meaning, label) = (
                format!("Condition {} {}", fold(operator), fold(key)),
                format!("Condition {operator} {key}"),
            );
            for value in values {
                parts.insert(
                    (meaning.clone(), format!("={value}")),
                    (label.clone(), format!("{value:?}")),
                );
            }
            if values.is_empty() {
                parts.insert((meaning, String::new()), (label, "(no value)".to_owned()));
            }
        }
    }
    parts
}
