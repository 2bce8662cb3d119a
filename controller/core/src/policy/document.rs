//! A policy document and its statements.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};

/// A policy document as it will be sent or was received, with its canonical form. Equal by meaning.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    canonical: PolicyDocument,
}

impl Document {
    /// A document of this text. The canonical form must be that of the text.
    pub(super) const fn new(text: String, canonical: PolicyDocument) -> Self {
        Self { text, canonical }
    }

    /// The document as AWS is to get it: the author's own words without white space.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The canonical form.
    pub const fn canonical(&self) -> &PolicyDocument {
        &self.canonical
    }

    /// Characters that AWS counts against a quota: white space is free.
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
    /// `2008-10-17` when the document names none, as IAM has it.
    pub version: String,
    /// `Id`, which only labels.
    pub id: Option<String>,
    /// The statements. Their order has no meaning, nor has a repeated one.
    pub statements: BTreeSet<Statement>,
}

/// One statement.
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
    /// `Condition`: operator, key, values.
    pub condition: BTreeMap<Caseless, BTreeMap<Caseless, BTreeSet<String>>>,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Refuses, whatever else grants.
    Deny,
}

/// An element or its `Not` form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope<T> {
    /// These.
    Only(T),
    /// All but these.
    AllBut(T),
}

impl<T> Scope<T> {
    /// What the element holds, in either form.
    pub const fn inner(&self) -> &T {
        match self {
            Self::Only(inner) | Self::AllBut(inner) => inner,
        }
    }

    /// The element's name in a document, out of its two.
    pub(super) const fn element(&self, only: &'static str, all_but: &'static str) -> &'static str {
        match self {
            Self::Only(_) => only,
            Self::AllBut(_) => all_but,
        }
    }
}

/// Who a statement speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principals {
    /// `"*"`: everybody, the anonymous included.
    Everybody,
    /// By kind: `AWS`, `Service`, `Federated`, `CanonicalUser`.
    Named(BTreeMap<String, BTreeSet<String>>),
}

/// Text whose case IAM ignores: action names, condition operators and keys. Keeps the author's case for people.
#[derive(Clone, Debug)]
pub struct Caseless(pub(super) String);

impl Caseless {
    /// As the author wrote it.
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
    /// Unique ids (`AIDA...`, `AROA...`) that stand where a principal's ARN stood before it was deleted.
    pub fn deleted_principals(&self) -> impl Iterator<Item = &str> {
        self.statements
            .iter()
            .flat_map(Statement::aws_principals)
            .filter(|p| is_unique_id(p))
    }
}

impl Statement {
    /// The entries under `AWS` of the statement's principals.
    pub fn aws_principals(&self) -> impl Iterator<Item = &str> {
        let named = match self.principal.as_ref().map(Scope::inner) {
            Some(Principals::Named(kinds)) => kinds.get("AWS"),
            _ => None,
        };
        named.into_iter().flatten().map(String::as_str)
    }

    /// What people may call the statement: its `Sid`, or what it does.
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

/// Whether a principal is the unique id of a user, role or session. AWS writes them where an entity was deleted.
pub(super) fn is_unique_id(principal: &str) -> bool {
    principal.len() >= 16
        && ["AIDA", "AROA", "ASIA"]
            .iter()
            .any(|prefix| principal.starts_with(prefix))
        && principal.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Whether a text is an account id.
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
