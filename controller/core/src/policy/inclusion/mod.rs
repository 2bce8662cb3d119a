//! Shows that a policy document allows no more than another.
//!
//! ```text
//! statement -> budget, condition, pattern, principal, text
//! condition -> budget, pattern, text
//! text -> budget, pattern
//! pattern -> budget, subsets, token
//! subsets -> budget, token
//! budget
//! principal
//! token
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
//!
//! The policies of a role are not all that decides: a
//! [policy of a resource](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics-resource.html)
//! may allow what none of them does, unless one denies it. There each Deny of the outer side must be covered ([`Attached::AsPermissions`]).
//!
//! The work has a limit, the [`Budget`] of a verdict: whoever writes a policy chooses how much work its comparison is.

mod budget;
mod condition;
mod pattern;
mod principal;
mod statement;
mod subsets;
mod text;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use self::budget::Budget;
use self::statement::{Atom, Context, Prepared, Related, Relation};
use super::document::{Effect, PolicyDocument, Scope};

/// Most atoms that are named.
const MAX_NAMED: usize = 20;
/// Why nothing is shown where the budget is used up.
const TOO_COMPLEX: &str =
    "the policies are too complex to compare: use fewer or simpler patterns, statements and conditions";

/// A part of a document that may allow more than another document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Excess {
    /// Name of the policy that allows it. Absent where two documents are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
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
    /// Name of the policy of the other side whose Deny is missing.
    #[serde(skip)]
    pub missing_deny_of: Option<String>,
}

impl Excess {
    /// Returns true if it is about all that the policies may allow, and not about a statement.
    pub(crate) fn is_whole(&self) -> bool {
        self.action == "*" && self.statement == "*"
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(policy) = &self.policy {
            write!(f, "{policy}, ")?;
        }
        if self.is_whole() {
            return f.write_str(&self.why);
        }
        write!(f, "statement {}: {}", self.statement, self.action)?;
        write_matched(f, self.resource.as_deref(), self.principal.as_deref())?;
        write!(f, ": {}", self.why)
    }
}

/// Writes what a statement matches besides the action.
pub(crate) fn write_matched(
    f: &mut fmt::Formatter<'_>,
    resource: Option<&str>,
    principal: Option<&str>,
) -> fmt::Result {
    if let Some(resource) = resource {
        write!(f, " on {resource}")?;
    }
    if let Some(principal) = principal {
        write!(f, " for {principal}")?;
    }
    Ok(())
}

/// What the inner side may allow and the outer one does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inclusion {
    /// The first atoms.
    pub excess: Vec<Excess>,
    /// Number of all atoms.
    pub count: usize,
}

impl Inclusion {
    /// Returns true if the inner side is shown to allow no more than the outer one.
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

/// Policies that are evaluated together, such as all policies of a role.
#[derive(Clone, Debug, Default)]
pub struct Policies<'a> {
    /// What messages call them, such as `the outer document`.
    pub called: &'static str,
    /// Documents with their names.
    pub documents: Vec<(Option<&'a str>, &'a PolicyDocument)>,
    /// Policies of which no document is known. On both sides the same name is the same policy.
    pub unread: Vec<Unread<'a>>,
}

/// Where policies are attached. That decides what else takes part in AWS's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached<'a> {
    /// Nothing else takes part.
    Alone,
    /// They are the trust policies of a role in this account.
    AsTrust(&'a str),
    /// They are the permissions policies of a role, or its boundary: policies of resources may allow what they do not.
    AsPermissions,
}

impl<'a> Attached<'a> {
    const fn own_account(self) -> Option<&'a str> {
        match self {
            Self::AsTrust(account) => Some(account),
            Self::Alone | Self::AsPermissions => None,
        }
    }
}

/// A policy of which no document is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread<'a> {
    /// Its name.
    pub name: &'a str,
    /// It may have Allow statements.
    pub may_allow: bool,
    /// It may have Deny statements.
    pub may_deny: bool,
}

impl Policies<'_> {
    /// Prepares the statements, for comparisons with several others.
    pub fn parsed(&self) -> Parsed<'_> {
        Parsed::of(self)
    }

    fn statements(&self, effect: Effect) -> Vec<Prepared<'_>> {
        let all = self.documents.iter().flat_map(|(name, document)| {
            let statements = document.statements.iter();
            let statements = statements.filter(|statement| statement.effect == effect);
            statements.map(|statement| Prepared::of(*name, statement, knows_variables(&document.version)))
        });
        all.collect()
    }

    /// Returns true if the other side has each of these documents.
    fn is_part_of(&self, other: &Policies<'_>) -> bool {
        let has = |one: &PolicyDocument| {
            let mut others = other.documents.iter();
            others.any(|(_, other)| std::ptr::eq(*other, one) || *other == one)
        };
        self.documents.iter().all(|(_, document)| has(document))
    }

    fn has(&self, unread: &Unread<'_>) -> bool {
        self.unread.iter().any(|other| other.name == unread.name)
    }

    /// Returns true if the other side does not have a policy that may deny and of which no document is known.
    fn misses_a_deny_of(&self, other: &Policies<'_>) -> bool {
        let mut all = self.unread.iter();
        all.any(|unread| unread.may_deny && !other.has(unread))
    }
}

/// Compares what two documents allow. `own_account` is the account of the role whose trust policies they are.
pub fn inclusion(outer: &PolicyDocument, inner: &PolicyDocument, own_account: Option<&str>) -> Inclusion {
    let side = |called, document| Policies {
        called,
        documents: vec![(None, document)],
        unread: vec![],
    };
    let (outer, inner) = (
        side("the outer document", outer),
        side("the inner document", inner),
    );
    let attached = own_account.map_or(Attached::Alone, Attached::AsTrust);
    inclusion_of(&outer, &inner, attached, &Budget::default())
}

/// Compares what two sets of policies allow where they are attached. All comparisons of a verdict have the same budget.
pub fn inclusion_of(
    outer: &Policies<'_>,
    inner: &Policies<'_>,
    attached: Attached<'_>,
    budget: &Budget,
) -> Inclusion {
    if is_same(outer, inner) {
        return Inclusion::default();
    }
    let context = Context { attached, budget };
    compared(&outer.parsed(), &inner.parsed(), context, false)
}

/// Returns true if the inner side is shown to allow no more than the outer one, as [`inclusion_of`] does, without the atoms. It ends at
/// the first of them.
pub fn includes(outer: &Parsed<'_>, inner: &Parsed<'_>, attached: Attached<'_>, budget: &Budget) -> bool {
    let context = Context { attached, budget };
    is_same(outer.policies, inner.policies) || compared(outer, inner, context, true).is_shown()
}

fn is_same(outer: &Policies<'_>, inner: &Policies<'_>) -> bool {
    outer.unread == inner.unread && outer.is_part_of(inner) && inner.is_part_of(outer)
}

fn compared(outer: &Parsed<'_>, inner: &Parsed<'_>, context: Context<'_>, only_first: bool) -> Inclusion {
    let mut found = Inclusion::default();
    let is_one_version = outer.versions.union(&inner.versions).count() <= 1;
    if !is_one_version && (outer.has_variables || inner.has_variables) {
        found.add(|| whole("the documents have different versions, and one has `${`, which means a variable in 2012-10-17 only"));
        return found;
    }
    context.budget.spend(outer.len().saturating_add(inner.len()));
    compare(outer, inner, context, only_first, &mut found);
    // What was found until then is a part of what would have been found.
    if context.budget.is_used_up() {
        found = Inclusion::default();
        found.add(|| whole(TOO_COMPLEX));
    }
    found
}

fn compare(
    outer: &Parsed<'_>,
    inner: &Parsed<'_>,
    context: Context<'_>,
    only_first: bool,
    found: &mut Inclusion,
) {
    // What the inner side denies, too, needs no look.
    let missing: Vec<&Prepared<'_>> = outer
        .denies
        .iter()
        .filter(|deny| !inner.denies(deny, context))
        .collect();
    let needs_grants = outer.policies.misses_a_deny_of(inner.policies);
    let resources_may_allow = context.attached == Attached::AsPermissions;
    let mut grants = resources_may_allow;
    let mut named: Vec<&Prepared<'_>> = vec![];
    for statement in &inner.allows {
        let is_kept = is_among(statement, &outer.allows, context);
        if is_kept && missing.is_empty() && !needs_grants {
            continue;
        }
        let denied = Related::new(Relation::Covered, inner.denies.iter(), statement, context);
        let allowed = Related::new(Relation::Covered, outer.allows.iter(), statement, context);
        let apart = Related::new(Relation::Apart, missing.iter().copied(), statement, context);
        for atom in statement.atoms() {
            if !context.budget.spend(1) {
                return;
            }
            if denied.first(atom).is_some() {
                continue;
            }
            grants = true;
            if !is_kept && allowed.first(atom).is_none() {
                let why = || format!("no statement of {} is shown to allow it", outer.policies.called);
                found.add(|| excess(statement, atom, why()));
            } else if let Some(deny) = apart.first_other(atom) {
                named.push(deny);
                found.add(|| Excess {
                    missing_deny_of: deny.policy.map(str::to_owned),
                    ..excess(statement, atom, denial(deny, outer))
                });
            }
            if only_first && !found.is_shown() {
                return;
            }
        }
    }
    let is_named = |deny: &Prepared<'_>| named.iter().any(|other| std::ptr::eq(*other, deny));
    for deny in missing
        .iter()
        .filter(|deny| resources_may_allow && !is_named(deny))
    {
        let why = format!(
            "statement {} of {} is missing: the policy of a resource may allow what it denies",
            deny.name(),
            outer.policies.called
        );
        found.add(|| Excess {
            policy: deny.policy.map(str::to_owned),
            missing_deny_of: deny.policy.map(str::to_owned),
            ..whole(&why)
        });
    }
    unread_excess(outer, inner, &missing, grants, context, found);
}

/// Adds what policies of which no document is known may allow, or may no longer deny.
fn unread_excess(
    outer: &Parsed<'_>,
    inner: &Parsed<'_>,
    missing: &[&Prepared<'_>],
    grants: bool,
    context: Context<'_>,
    found: &mut Inclusion,
) {
    let of = |unread: &Unread<'_>, why: String| Excess {
        policy: Some(unread.name.to_owned()),
        ..whole(&why)
    };
    let is_everything = |allow: &Prepared<'_>| allow.is_everything(context.budget);
    let may_allow: Vec<&Unread<'_>> = inner
        .policies
        .unread
        .iter()
        .filter(|unread| unread.may_allow)
        .collect();
    let allows_all = !may_allow.is_empty() && missing.is_empty() && outer.allows.iter().any(is_everything);
    for unread in &may_allow {
        if !outer.policies.has(unread) && !allows_all {
            found.add(|| of(unread, "what this policy allows is not known".to_owned()));
        } else if let Some(deny) = missing.first() {
            let why = format!(
                "what this policy allows is not known, and {}",
                denial(deny, outer)
            );
            found.add(|| Excess {
                missing_deny_of: deny.policy.map(str::to_owned),
                ..of(unread, why)
            });
        }
    }
    // Where nothing is allowed, nothing needs to be denied.
    if !grants && may_allow.is_empty() {
        return;
    }
    let denying = outer.policies.unread.iter().filter(|unread| unread.may_deny);
    for unread in denying.filter(|unread| !inner.policies.has(unread)) {
        found.add(|| Excess {
            missing_deny_of: Some(unread.name.to_owned()),
            ..of(unread, "this policy, which may deny, is missing".to_owned())
        });
    }
}

fn denial(deny: &Prepared<'_>, outer: &Parsed<'_>) -> String {
    format!(
        "statement {} of {} may deny it",
        deny.name(),
        outer.policies.called
    )
}

/// Policies whose statements are ready to be compared.
pub struct Parsed<'a> {
    policies: &'a Policies<'a>,
    allows: Vec<Prepared<'a>>,
    denies: Vec<Prepared<'a>>,
    versions: BTreeSet<&'a str>,
    has_variables: bool,
}

impl<'a> Parsed<'a> {
    fn of(policies: &'a Policies<'a>) -> Self {
        let (allows, denies) = (
            policies.statements(Effect::Allow),
            policies.statements(Effect::Deny),
        );
        let documents = || policies.documents.iter().map(|(_, document)| *document);
        Self {
            versions: documents().map(|document| document.version.as_str()).collect(),
            has_variables: documents().any(has_variables),
            policies,
            allows,
            denies,
        }
    }

    fn len(&self) -> usize {
        self.allows.len().saturating_add(self.denies.len())
    }

    /// Returns true if everything that the statement matches is denied.
    fn denies(&self, statement: &Prepared<'_>, context: Context<'_>) -> bool {
        if is_among(statement, &self.denies, context) {
            return true;
        }
        let denied = Related::new(Relation::Covered, self.denies.iter(), statement, context);
        let mut atoms = statement.atoms();
        atoms.all(|atom| context.budget.spend(1) && denied.first(atom).is_some())
    }
}

/// Returns true if `${` begins a variable in documents of a version.
fn knows_variables(version: &str) -> bool {
    version != "2008-10-17"
}

/// Returns true if a document has text that is a variable in one version and not in the other.
fn has_variables(document: &PolicyDocument) -> bool {
    let is_one = |text: &String| text.contains("${");
    document.statements.iter().any(|statement| {
        let values = statement.condition.values().flat_map(BTreeMap::values).flatten();
        statement
            .resource
            .iter()
            .flat_map(Scope::inner)
            .chain(values)
            .any(is_one)
    })
}

/// Returns true if one of the statements matches the same as this one, because it has the same elements.
fn is_among(statement: &Prepared<'_>, all: &[Prepared<'_>], context: Context<'_>) -> bool {
    let mut all = all.iter();
    all.any(|other| context.budget.spend(1) && other.is_like(statement))
}

fn excess(statement: &Prepared<'_>, atom: Atom, why: String) -> Excess {
    let (action, resource, principal) = statement.shown(atom);
    Excess {
        policy: statement.policy.map(str::to_owned),
        statement: statement.name(),
        action,
        resource,
        principal,
        why,
        missing_deny_of: None,
    }
}

fn whole(why: &str) -> Excess {
    Excess {
        policy: None,
        statement: "*".to_owned(),
        action: "*".to_owned(),
        resource: None,
        principal: None,
        why: why.to_owned(),
        missing_deny_of: None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
