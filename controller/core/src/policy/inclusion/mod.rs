//! Shows that a policy document allows no more than another.
//!
//! ```text
//! statement -> condition, pattern, principal
//! condition -> pattern
//! pattern
//! principal
//! ```
//!
//! The answer is sound and not complete: where it is yes, no request is allowed by the inner document and not by the outer one. Where it is
//! no, the atoms are named of which that could not be shown. It follows the
//! [evaluation logic](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html) for one policy: a request is
//! allowed if an Allow matches it and no Deny does. The inner document is included if
//!
//! - each atom (action, resource, principal) of an Allow of it is covered by one Allow of the outer one, or lies wholly in one of its own
//!   Denies, and
//! - each Deny of the outer one is covered by Denies of the inner one, or is disjoint from every atom that the inner one allows.

mod condition;
mod pattern;
mod principal;
mod statement;

use std::fmt;

use self::statement::{Atom, Prepared};
use super::document::{Effect, PolicyDocument};

/// Most atoms that are named.
const MAX_NAMED: usize = 20;
/// Most atoms of a document that are looked at.
const MAX_ATOMS: usize = 50_000;

/// A part of a document that may allow more than another document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Excess {
    /// Name of the statement that allows it.
    pub statement: String,
    /// The action, or `all but` some.
    pub action: String,
    /// The resource, or `all but` some. Absent in a trust policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The principal, with its kind. Absent in a permissions policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Why it may be more.
    pub why: String,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {}: {}", self.statement, self.action)?;
        if let Some(resource) = &self.resource {
            write!(f, " on {resource}")?;
        }
        if let Some(principal) = &self.principal {
            write!(f, " for {principal}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// What the inner document may allow and the outer one does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inclusion {
    /// The first atoms.
    pub excess: Vec<Excess>,
    /// Number of all atoms.
    pub count: usize,
}

impl Inclusion {
    /// Returns true if the inner document is shown to allow no more than the outer one.
    pub const fn is_shown(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, excess: impl FnOnce() -> Excess) {
        self.count += 1;
        if self.excess.len() < MAX_NAMED {
            self.excess.push(excess());
        }
    }
}

/// Compares what two documents allow. `own_account` is the account of the role whose trust policies they are.
pub fn inclusion(outer: &PolicyDocument, inner: &PolicyDocument, own_account: Option<&str>) -> Inclusion {
    let mut found = Inclusion::default();
    if outer.statements == inner.statements && outer.version == inner.version {
        return found;
    }
    if outer.version != inner.version && (has_variables(outer) || has_variables(inner)) {
        found.add(|| whole("the documents have different versions, and one has `${`, which means a variable in 2012-10-17 only"));
        return found;
    }
    let variables = inner.version != "2008-10-17";
    let (allows, denies) = (
        prepared(inner, Effect::Allow, variables),
        prepared(inner, Effect::Deny, variables),
    );
    let (outer_allows, outer_denies) = (
        prepared(outer, Effect::Allow, variables),
        prepared(outer, Effect::Deny, variables),
    );
    let size = |all: &[Prepared]| {
        all.iter()
            .map(Prepared::size)
            .fold(0_usize, usize::saturating_add)
    };
    if size(&allows).saturating_add(size(&outer_denies)) > MAX_ATOMS {
        found.add(|| whole("the documents are too large to compare"));
        return found;
    }
    let covered =
        |by: &[Prepared], atom: &Atom<'_>| by.iter().any(|statement| statement.covers(atom, own_account));
    // What the inner document denies, too, needs no look.
    let uncovered: Vec<&Prepared> = outer_denies
        .iter()
        .filter(|deny| !deny.atoms().all(|atom| covered(&denies, &atom)))
        .collect();
    for statement in &allows {
        for atom in statement.atoms() {
            if covered(&denies, &atom) {
                continue;
            }
            if !covered(&outer_allows, &atom) {
                found.add(|| excess(&atom, "no statement of the outer document is shown to allow it"));
                continue;
            }
            if let Some(deny) = uncovered.iter().find(|deny| !deny.is_disjoint(&atom)) {
                let why = format!("statement {} of the outer document may deny it", deny.name());
                found.add(|| excess(&atom, &why));
            }
        }
    }
    found
}

fn prepared(document: &PolicyDocument, effect: Effect, has_variables: bool) -> Vec<Prepared<'_>> {
    let statements = document
        .statements
        .iter()
        .filter(|statement| statement.effect == effect);
    statements
        .map(|statement| Prepared::of(statement, has_variables))
        .collect()
}

/// Returns true if a document has text that is a variable in one version and not in the other.
fn has_variables(document: &PolicyDocument) -> bool {
    document.pretty().contains("${")
}

fn excess(atom: &Atom<'_>, why: &str) -> Excess {
    Excess {
        statement: atom.statement.name(),
        action: atom.action.shown().to_owned(),
        resource: atom.resource.as_ref().map(|resource| resource.shown().to_owned()),
        principal: atom.principal.shown(),
        why: why.to_owned(),
    }
}

fn whole(why: &str) -> Excess {
    Excess {
        statement: "*".to_owned(),
        action: "*".to_owned(),
        resource: None,
        principal: None,
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests;
