//! The types of a policy document and its statements.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};

/// A policy document as text, with its canonical form. Two documents are equal if their canonical forms are.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    canonical: PolicyDocument,
}

impl Document {
    /// Returns a document. `canonical` must be the canonical form of the text.
    pub(super) const fn new(text: String, canonical: PolicyDocument) -> Self {
        Self { text, canonical }
    }

    /// Returns the text that AWS receives: the author's text without white space.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the canonical form.
    pub const fn canonical(&self) -> &PolicyDocument {
        &self.canonical
    }

    /// Returns the number of characters that AWS counts against
    /// [a quota](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). White space does not count.
    pub fn size(&self) -> usize {
        self.text.chars().filter(|c| !c.is_whitespace()).count()
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}
impl Eq for Document {}
impl Hash for Document {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

/// The canonical form of a policy document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyDocument {
    /// `Version`. The default of IAM is `2008-10-17`.
    pub version: String,
    /// `Id`, a label without effect.
    pub id: Option<String>,
    /// `Statement`. The order of statements and repeated statements have no effect.
    pub statements: BTreeSet<Statement>,
}

/// One statement of a policy document, see the
/// [elements](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Statement {
    /// `Sid`.
    pub sid: Option<String>,
    /// `Effect`.
    pub effect: Effect,
    /// `Principal` or `NotPrincipal`.
    pub principal: Option<Scope<Principals>>,
    /// `Action` or `NotAction`.
    pub action: Scope<BTreeSet<Caseless>>,
    /// `Resource` or `NotResource`.
    pub resource: Option<Scope<BTreeSet<String>>>,
    /// `Condition`: values by operator and key.
    pub condition: BTreeMap<Caseless, BTreeMap<Caseless, BTreeSet<String>>>,
}

/// The `Effect` of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Effect {
    /// The statement allows what it matches.
    Allow,
    /// The statement denies what it matches, even if another statement allows it.
    Deny,
}

/// The values of an element, or of its `Not` form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope<T> {
    /// The element matches these values.
    Only(T),
    /// The `Not` form matches everything except these values.
    AllBut(T),
}

impl<T> Scope<T> {
    /// Returns the values of either form.
    pub const fn inner(&self) -> &T {
        match self {
            Self::Only(inner) | Self::AllBut(inner) => inner,
        }
    }

    /// Returns the name of the element in a document.
    pub(super) const fn element(&self, only: &'static str, all_but: &'static str) -> &'static str {
        match self {
            Self::Only(_) => only,
            Self::AllBut(_) => all_but,
        }
    }
}

/// The principals of a statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principals {
    /// `"*"`: everybody, including anonymous callers.
    Everybody,
    /// Principals by kind: `AWS`, `Service`, `Federated` or `CanonicalUser`.
    Named(BTreeMap<String, BTreeSet<String>>),
}

/// A text that IAM compares without regard to case: an action, a condition operator or a condition key. It keeps the case in
/// which it is written.
#[derive(Clone, Debug)]
pub struct Caseless(pub(super) String);

impl Caseless {
    /// Returns the text in the case in which it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|b| b.to_ascii_lowercase())
    }
}

impl From<&str> for Caseless {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}
impl PartialEq for Caseless {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for Caseless {}
impl PartialOrd for Caseless {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Caseless {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}
impl Hash for Caseless {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|b| state.write_u8(b));
        state.write_u8(0xff);
    }
}
impl fmt::Display for Caseless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PolicyDocument {
    /// Returns true if a statement has this effect.
    pub fn has(&self, effect: Effect) -> bool {
        self.statements.iter().any(|statement| statement.effect == effect)
    }

    /// Returns the unique ids (`AIDA...`, `AROA...`) with which AWS
    /// [replaces the ARN of a deleted principal](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html).
    pub fn deleted_principals(&self) -> impl Iterator<Item = &str> {
        self.statements
            .iter()
            .flat_map(Statement::aws_principals)
            .filter(|p| is_unique_id(p))
    }
}

impl Statement {
    /// Returns the principals of the kind `AWS`, of `Principal` or `NotPrincipal`.
    pub fn aws_principals(&self) -> impl Iterator<Item = &str> {
        let named = match self.principal.as_ref().map(Scope::inner) {
            Some(Principals::Named(kinds)) => kinds.get("AWS"),
            _ => None,
        };
        named.into_iter().flatten().map(String::as_str)
    }

    /// Returns a name of the statement for messages: its `Sid`, or else its effect and its first action.
    pub fn name(&self) -> String {
        if let Some(sid) = &self.sid {
            return sid.clone();
        }
        let effect = self.effect;
        let (not, actions) = match &self.action {
            Scope::Only(actions) => ("", actions),
            Scope::AllBut(actions) => ("all but ", actions),
        };
        let more = if actions.len() > 1 { ", ..." } else { "" };
        let first = actions.first().map_or("", Caseless::as_str);
        format!("\"{effect} {not}{first}{more}\"")
    }
}

/// Returns true if a principal is the
/// [unique id](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids) of a user, a role
/// or a session.
pub(super) fn is_unique_id(principal: &str) -> bool {
    principal.len() >= 16
        && ["AIDA", "AROA", "ASIA"]
            .iter()
            .any(|prefix| principal.starts_with(prefix))
        && principal.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Returns true if a text is an account id, which has 12 digits.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
        })
    }
}
