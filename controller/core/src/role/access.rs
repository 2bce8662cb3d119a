//! The permissions that a role grants and the callers that it grants them to, in a form in which states of a role can be compared.
//!
//! All comparisons are sound and incomplete: `true` means proven, `false` means not proven.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::managed_policy::only_denies;
use super::observed::{ObservedDocument, ObservedRole};
use crate::glob::matches;
use crate::policy::{Caseless, Document, Effect, PolicyDocument, Principals, Scope, Statement};

/// Returns true if `before` allows everything that `after` allows: each Allow statement of `after` is within one of `before`, and
/// each Deny statement of `before` is within one of `after`.
pub fn narrows(before: &ObservedDocument, after: &Document) -> bool {
    let after = ObservedDocument::Parsed(after.clone());
    let (before, after) = (Rules::of_one(before), Rules::of_one(&after));
    let kept = |deny: &Rule<'_>| after.denies.iter().any(|other| other.covers(deny));
    let granted = |allow: &Rule<'_>| before.allows.iter().any(|other| other.covers(allow));
    after.allows.iter().all(granted) && before.denies.iter().all(kept)
}

/// Returns true if a document has a Deny statement, or cannot be parsed and may have one.
pub fn may_deny(document: &ObservedDocument) -> bool {
    !Rules::of_one(document).denies.is_empty()
}

/// Returns true if a document has Deny statements and no others, so that it restricts the role and grants nothing.
pub fn is_only_deny(document: &ObservedDocument) -> bool {
    let rules = Rules::of_one(document);
    rules.allows.is_empty() && !rules.denies.is_empty()
}

/// Returns a trust policy that allows only callers that both documents allow, and at least one of them. `None` if there is no such
/// policy or it cannot be computed.
pub fn common(one: &ObservedDocument, other: &Document) -> Option<Document> {
    let ObservedDocument::Parsed(one) = one else {
        return None;
    };
    let (one, other) = (one.canonical(), other.canonical());
    if one.version != other.version {
        return None;
    }
    let of = |document: &PolicyDocument, effect| {
        let statements = document.statements.iter().filter(|s| s.effect == effect);
        statements.cloned().collect::<Vec<_>>()
    };
    let theirs = of(other, Effect::Allow);
    let allows = of(one, Effect::Allow);
    let mut statements: BTreeSet<Statement> = allows
        .iter()
        .flat_map(|a| theirs.iter().filter_map(|b| both(a, b)))
        .collect();
    if statements.is_empty() {
        return None;
    }
    statements.extend(of(one, Effect::Deny));
    statements.extend(of(other, Effect::Deny));
    // A Sid may be used once in a document.
    let statements = statements.into_iter().map(|s| Statement { sid: None, ..s });
    let document = PolicyDocument {
        version: one.version.clone(),
        id: None,
        statements: statements.collect(),
    };
    Document::from_value(&serde_json::to_value(&document).ok()?).ok()
}

/// Returns a trust policy that allows nobody.
pub fn closed() -> Option<Document> {
    let statement = json!({"Sid": "RolectlChangesThisRole", "Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"});
    Document::from_value(&json!({"Version": "2012-10-17", "Statement": [statement]})).ok()
}

/// Returns a statement that matches only what both statements match, if one statement can express that.
fn both(one: &Statement, other: &Statement) -> Option<Statement> {
    if within(one, other) {
        return Some(one.clone());
    }
    if within(other, one) {
        return Some(other.clone());
    }
    if one.resource != other.resource {
        return None;
    }
    let principal = match (&one.principal, &other.principal) {
        (Some(Scope::Only(Principals::Named(a))), Some(Scope::Only(Principals::Named(b)))) => {
            let kinds = a.iter().filter_map(|(kind, names)| {
                let names: BTreeSet<String> = names.intersection(b.get(kind)?).cloned().collect();
                (!names.is_empty()).then(|| (kind.clone(), names))
            });
            let kinds: BTreeMap<String, BTreeSet<String>> = kinds.collect();
            (!kinds.is_empty()).then_some(Some(Scope::Only(Principals::Named(kinds))))?
        }
        (a, b) if a == b => a.clone(),
        _ => return None,
    };
    let action = match (&one.action, &other.action) {
        (Scope::Only(a), Scope::Only(b)) => {
            let actions: BTreeSet<Caseless> = a.intersection(b).cloned().collect();
            (!actions.is_empty()).then_some(Scope::Only(actions))?
        }
        (a, b) if a == b => a.clone(),
        _ => return None,
    };
    let mut condition = one.condition.clone();
    for (operator, keys) in &other.condition {
        let there = condition.entry(operator.clone()).or_default();
        for (key, values) in keys {
            let before = there.insert(key.clone(), values.clone());
            if before.is_some_and(|before| before != *values) {
                return None;
            }
        }
    }
    Some(Statement {
        sid: None,
        effect: Effect::Allow,
        principal,
        action,
        resource: one.resource.clone(),
        condition,
    })
}

/// The permissions that a role grants and the callers that it grants them to.
#[derive(Debug, Default)]
pub struct Access<'a> {
    trust: Rules<'a>,
    permissions: Rules<'a>,
    boundary: Option<&'a str>,
}

impl<'a> Access<'a> {
    /// Returns the access that a role grants. `None` is a role that does not exist and grants none.
    pub fn of(role: Option<&'a ObservedRole>) -> Self {
        let Some(role) = role else {
            return Self::default();
        };
        let mut permissions = Rules::default();
        for arn in &role.managed_policies {
            permissions.add_managed(arn);
        }
        for document in role.inline_policies.values() {
            permissions.add(document);
        }
        Self {
            trust: Rules::of_one(&role.trust),
            permissions,
            boundary: role.permissions_boundary.as_deref(),
        }
    }

    /// Returns true if `old` or `new` grants everything that this state grants.
    ///
    /// A grant is a pair: a caller who may assume the role, and a permission of the role. One of the two states must have both
    /// parts of the pair: an old caller with a new permission is in neither. The documents of managed policies are not read. Each
    /// counts as Allow, except for the AWS managed policies that only deny. The boundary of `new` counts as no wider than that of
    /// `old`.
    pub fn is_covered(&self, old: &Self, new: &Self) -> bool {
        let (by_old, by_new) = (self.granted_by(old, new), self.granted_by(new, new));
        self.trust.allows.iter().enumerate().all(|(t, _)| {
            (0..self.permissions.allows.len()).all(|p| by_old.covers(t, p) || by_new.covers(t, p))
        })
    }

    /// Returns true if this state grants everything that both `old` and `new` grant. Boundaries are not compared.
    pub fn keeps_what_both_grant(&self, old: &Self, new: &Self) -> bool {
        let is_denied_by_one = |deny: &Rule<'_>, rules: fn(&Self) -> &Rules<'a>| {
            let denies = rules(old).denies.iter().chain(&rules(new).denies);
            denies.into_iter().any(|other| other.covers(deny))
        };
        let keeps = |rules: fn(&Self) -> &Rules<'a>| {
            let is_kept = |rule: &Rule<'_>| rules(self).allows.iter().any(|now| now.covers(rule));
            let pairs = rules(old)
                .allows
                .iter()
                .flat_map(|one| rules(new).allows.iter().map(move |other| (one, other)));
            let mut pairs = pairs.filter(|(one, other)| !one.is_disjoint(other));
            let mut denies = rules(self).denies.iter();
            pairs.all(|(one, other)| is_kept(one) || is_kept(other))
                && denies.all(|deny| is_denied_by_one(deny, rules))
        };
        keeps(|state| &state.trust) && keeps(|state| &state.permissions)
    }

    fn granted_by(&self, other: &Self, new: &Self) -> Covered {
        let bounded = other.boundary.is_none()
            || other.boundary == self.boundary
            || (self.boundary.is_some() && self.boundary == new.boundary);
        let kept = |rules: &[Rule<'_>], deny: &Rule<'_>| rules.iter().any(|rule| rule.covers(deny));
        let is_closed = other.trust.denies.iter().all(|d| kept(&self.trust.denies, d));
        if !bounded || !is_closed {
            return Covered::default();
        }
        let missing: Vec<&Rule<'_>> = other
            .permissions
            .denies
            .iter()
            .filter(|d| !kept(&self.permissions.denies, d))
            .collect();
        let trusts = |rule: &Rule<'_>| other.trust.allows.iter().any(|o| o.covers(rule));
        let permits = |rule: &Rule<'_>| {
            missing.iter().all(|deny| deny.is_disjoint(rule))
                && other.permissions.allows.iter().any(|o| o.covers(rule))
        };
        Covered {
            trust: self.trust.allows.iter().map(trusts).collect(),
            permissions: self.permissions.allows.iter().map(permits).collect(),
        }
    }
}

/// The Allow rules of a state that another state covers, by index.
#[derive(Default)]
struct Covered {
    trust: Vec<bool>,
    permissions: Vec<bool>,
}

impl Covered {
    fn covers(&self, trust: usize, permission: usize) -> bool {
        let get = |list: &[bool], at: usize| list.get(at).copied().unwrap_or_default();
        get(&self.trust, trust) && get(&self.permissions, permission)
    }
}

#[derive(Debug, Default)]
struct Rules<'a> {
    allows: Vec<Rule<'a>>,
    denies: Vec<Rule<'a>>,
}

impl<'a> Rules<'a> {
    fn of_one(document: &'a ObservedDocument) -> Self {
        let mut rules = Self::default();
        rules.add(document);
        rules
    }

    fn add(&mut self, document: &'a ObservedDocument) {
        match document {
            ObservedDocument::Parsed(document) => {
                let PolicyDocument {
                    version, statements, ..
                } = document.canonical();
                for statement in statements {
                    let rule = Rule::Statement(version, statement);
                    match statement.effect {
                        Effect::Allow => self.allows.push(rule),
                        Effect::Deny => self.denies.push(rule),
                    }
                }
            }
            // A document that cannot be parsed may allow and deny.
            ObservedDocument::Unreadable(text) => {
                self.allows.push(Rule::Unreadable(text));
                self.denies.push(Rule::Unreadable(text));
            }
        }
    }

    fn add_managed(&mut self, arn: &'a str) {
        if only_denies(arn) {
            self.denies.push(Rule::Managed(arn));
        } else {
            self.allows.push(Rule::Managed(arn));
        }
    }
}

/// A statement with the version of its document, a managed policy by ARN, or a document that cannot be parsed.
#[derive(Clone, Copy, Debug)]
enum Rule<'a> {
    Statement(&'a str, &'a Statement),
    Managed(&'a str),
    Unreadable(&'a str),
}

impl Rule<'_> {
    /// Returns true if this rule matches every request that `inner` matches.
    fn covers(&self, inner: &Rule<'_>) -> bool {
        match (self, inner) {
            (Self::Statement(version, outer), Rule::Statement(other, inner)) => {
                // Only one of the two versions has policy variables.
                let same = version == other || !(has_variables(outer) || has_variables(inner));
                same && within(inner, outer)
            }
            (Self::Managed(outer), Rule::Managed(inner)) => outer.eq_ignore_ascii_case(inner),
            (Self::Unreadable(outer), Rule::Unreadable(inner)) => outer == inner,
            _ => false,
        }
    }

    /// Returns true if no request matches both rules.
    fn is_disjoint(&self, other: &Rule<'_>) -> bool {
        let (Self::Statement(_, one), Rule::Statement(_, other)) = (self, other) else {
            return false;
        };
        let (Scope::Only(one), Scope::Only(other)) = (&one.action, &other.action) else {
            return false;
        };
        let apart = |a: &Caseless, b: &Caseless| {
            let (a, b) = (a.as_str(), b.as_str());
            let is_literal = |text: &str| !text.contains(['*', '?']);
            match (a.split_once(':'), b.split_once(':')) {
                (Some((a, _)), Some((b, _)))
                    if is_literal(a) && is_literal(b) && !a.eq_ignore_ascii_case(b) =>
                {
                    true
                }
                _ => is_literal(a) && is_literal(b) && !a.eq_ignore_ascii_case(b),
            }
        };
        one.iter().all(|a| other.iter().all(|b| apart(a, b)))
    }
}

fn has_variables(statement: &Statement) -> bool {
    let resources = statement.resource.iter().flat_map(|r| r.inner().iter());
    let values = statement.condition.values().flat_map(BTreeMap::values).flatten();
    resources.chain(values).any(|text| text.contains("${"))
}

/// Returns true if `outer` matches every request that `inner` matches.
fn within(inner: &Statement, outer: &Statement) -> bool {
    let principal = match (&inner.principal, &outer.principal) {
        (inner, outer) if inner == outer => true,
        (Some(Scope::Only(inner)), Some(Scope::Only(outer))) => is_among(inner, outer),
        _ => false,
    };
    let lower = |set: &BTreeSet<Caseless>| -> Vec<String> {
        set.iter().map(|a| a.as_str().to_ascii_lowercase()).collect()
    };
    let action = match (&inner.action, &outer.action) {
        (Scope::Only(inner), Scope::Only(outer)) => all_match(&lower(inner), &lower(outer)),
        (Scope::AllBut(inner), Scope::AllBut(outer)) => all_match(&lower(outer), &lower(inner)),
        _ => false,
    };
    let list = |set: &BTreeSet<String>| -> Vec<String> { set.iter().cloned().collect() };
    let resource = match (&inner.resource, &outer.resource) {
        (None, None) => true,
        (Some(Scope::Only(inner)), Some(Scope::Only(outer))) => all_match(&list(inner), &list(outer)),
        (Some(Scope::AllBut(inner)), Some(Scope::AllBut(outer))) => all_match(&list(outer), &list(inner)),
        _ => false,
    };
    let conditions = outer.condition.iter().all(|(operator, keys)| {
        keys.iter().all(|(key, values)| {
            let there = inner.condition.get(operator).and_then(|keys| keys.get(key));
            there.is_some_and(|there| there == values || (is_any_of(operator) && is_part(there, values)))
        })
    });
    inner.effect == outer.effect && principal && action && resource && conditions
}

fn is_among(inner: &Principals, outer: &Principals) -> bool {
    match (inner, outer) {
        (_, Principals::Everybody) => true,
        (Principals::Everybody, Principals::Named(_)) => false,
        (Principals::Named(inner), Principals::Named(outer)) => inner.iter().all(|(kind, names)| {
            let there = outer.get(kind);
            there.is_some_and(|there| (kind == "AWS" && there.contains("*")) || names.is_subset(there))
        }),
    }
}

/// Returns true if for each pattern of `inner` one pattern of `outer` matches everything that it matches.
fn all_match(inner: &[String], outer: &[String]) -> bool {
    // A `?` could match the `*` of the other pattern, and `${*}` is not a wildcard. A pattern with one of them covers only itself.
    let covers = |outer: &String, inner: &String| {
        outer == inner || (!outer.contains('?') && !outer.contains("${") && matches(outer, inner))
    };
    inner.iter().all(|i| outer.iter().any(|o| covers(o, i)))
}

/// Returns true if the operator matches when one of its values does, so that fewer values match less.
fn is_any_of(operator: &Caseless) -> bool {
    let operator = operator.as_str().to_ascii_lowercase();
    let base = operator.rsplit(':').next().unwrap_or_default();
    !base.contains("not") && !base.starts_with("null")
}

fn is_part(inner: &BTreeSet<String>, outer: &BTreeSet<String>) -> bool {
    !inner.is_empty() && inner.is_subset(outer)
}
