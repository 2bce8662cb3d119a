//! What differs between two documents, statement by statement, for people.

use std::collections::BTreeMap;
use std::fmt;

use super::document::{Caseless, PolicyDocument, Principals, Statement};

/// What happens to what a line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// It comes.
    Add,
    /// It changes.
    Change,
    /// It goes.
    Remove,
}

impl Sign {
    /// `+`, `~` or `-`.
    pub const fn as_char(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Remove => '-',
        }
    }
}

/// One line of a diff.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DiffLine {
    /// What happens.
    pub sign: Sign,
    /// How deep the line stands: 0 for a statement, 1 for what it holds.
    pub depth: usize,
    /// What it happens to.
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
    /// What brings this document to `to`. Empty exactly where the two are equal.
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
        let mut gone: Vec<&Statement> = self.statements.difference(&to.statements).collect();
        for new in to.statements.difference(&self.statements) {
            let Some(old) = take_counterpart(&mut gone, new) else {
                lines.push(line(Sign::Add, 0, format!("statement {}", new.name())));
                let parts = parts(new).into_values();
                lines.extend(parts.map(|(label, value)| line(Sign::Add, 1, shown(label, &value))));
                continue;
            };
            lines.push(line(Sign::Change, 0, format!("statement {}", old.name())));
            lines.extend(changes(old, new));
        }
        lines.extend(
            gone.iter()
                .map(|old| line(Sign::Remove, 0, format!("statement {}", old.name()))),
        );
        lines
    }
}

/// The statement that `new` was before: the one of the same `Sid`, else the one that shares most with it.
fn take_counterpart<'a>(gone: &mut Vec<&'a Statement>, new: &Statement) -> Option<&'a Statement> {
    let wanted = parts(new);
    let same_sid = gone
        .iter()
        .position(|old| old.sid.is_some() && old.sid == new.sid);
    let likest = || {
        let nameless = gone
            .iter()
            .enumerate()
            .filter(|(_, old)| old.sid.is_none() || new.sid.is_none());
        nameless
            .map(|(n, old)| {
                (
                    parts(old).keys().filter(|key| wanted.contains_key(*key)).count(),
                    n,
                )
            })
            // More than the effect alone.
            .filter(|(shared, _)| *shared > 1)
            .max_by_key(|(shared, n)| (*shared, std::cmp::Reverse(*n)))
            .map(|(_, n)| n)
    };
    same_sid.or_else(likest).map(|n| gone.remove(n))
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
    let apart = |parts: &Parts, others: &Parts| -> Vec<String> {
        parts
            .iter()
            .filter(|(key, (label, _))| !others.contains_key(*key) && *label != "Effect")
            .map(|(_, (label, value))| shown(label, value))
            .collect()
    };
    lines.extend(
        apart(&after, &before)
            .into_iter()
            .map(|text| line(Sign::Add, text)),
    );
    lines.extend(
        apart(&before, &after)
            .into_iter()
            .map(|text| line(Sign::Remove, text)),
    );
    lines
}

/// A statement taken apart: what each part is, to what it is shown as.
type Parts = BTreeMap<(String, String), (String, String)>;

fn shown(label: impl fmt::Display, value: &str) -> String {
    format!("{label} {value}")
}

/// Each part of a statement by its meaning. Two statements are equal exactly where their parts have the same keys.
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
