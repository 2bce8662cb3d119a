//! Whether one statement matches all that an atom of another matches.

use super::condition::{Conditions, implies};
use super::pattern::{Kind, Pattern};
use super::principal::{Principal, principals};
use crate::policy::document::{Caseless, Scope, Statement};

/// A value of an element, or the whole of its `Not` form, with its text for messages.
#[derive(Clone, Debug)]
pub enum Values {
    One(Pattern, String),
    AllBut(Vec<Pattern>, String),
}

impl Values {
    pub fn shown(&self) -> &str {
        match self {
            Self::One(_, text) | Self::AllBut(_, text) => text,
        }
    }
}

/// A statement with its patterns parsed.
pub struct Prepared<'a> {
    /// Name of the policy that has the statement.
    pub policy: Option<&'a str>,
    statement: &'a Statement,
    actions: Scope<Vec<Pattern>>,
    /// Absent in a trust policy, whose resource is the role.
    resources: Option<Scope<Vec<Pattern>>>,
    action_values: Vec<Values>,
    resource_values: Vec<Option<Values>>,
    principals: Vec<Principal>,
    has_variables: bool,
}

/// One action, resource and principal of a statement, with its conditions.
pub struct Atom<'a> {
    pub statement: &'a Prepared<'a>,
    pub action: &'a Values,
    pub resource: &'a Option<Values>,
    pub principal: &'a Principal,
}

fn parsed<'t>(
    scope: &Scope<impl IntoIterator<Item = &'t str> + Clone>,
    kind: Kind,
    has_variables: bool,
) -> (Scope<Vec<Pattern>>, Vec<Values>) {
    let parse = |text: &str| Pattern::parse(text, kind, has_variables);
    match scope {
        Scope::Only(texts) => {
            let texts: Vec<&str> = texts.clone().into_iter().collect();
            let patterns = texts.iter().map(|text| parse(text)).collect();
            let values = texts
                .iter()
                .map(|text| Values::One(parse(text), (*text).to_owned()));
            (Scope::Only(patterns), values.collect())
        }
        Scope::AllBut(texts) => {
            let texts: Vec<&str> = texts.clone().into_iter().collect();
            let patterns: Vec<Pattern> = texts.iter().map(|text| parse(text)).collect();
            let shown = format!("all but {}", texts.join(", "));
            (
                Scope::AllBut(patterns.clone()),
                vec![Values::AllBut(patterns, shown)],
            )
        }
    }
}

fn texts<T>(scope: &Scope<T>) -> Scope<&T> {
    match scope {
        Scope::Only(inner) => Scope::Only(inner),
        Scope::AllBut(inner) => Scope::AllBut(inner),
    }
}

impl<'a> Prepared<'a> {
    pub fn of(policy: Option<&'a str>, statement: &'a Statement, has_variables: bool) -> Self {
        let actions = match texts(&statement.action) {
            Scope::Only(all) => Scope::Only(all.iter().map(Caseless::as_str).collect::<Vec<_>>()),
            Scope::AllBut(all) => Scope::AllBut(all.iter().map(Caseless::as_str).collect::<Vec<_>>()),
        };
        let (actions, action_values) = parsed(&actions, Kind::Action, has_variables);
        let resources = statement.resource.as_ref().map(|scope| match texts(scope) {
            Scope::Only(all) => Scope::Only(all.iter().map(String::as_str).collect::<Vec<_>>()),
            Scope::AllBut(all) => Scope::AllBut(all.iter().map(String::as_str).collect::<Vec<_>>()),
        });
        let resources = resources.map(|scope| parsed(&scope, Kind::Arn, has_variables));
        let (resources, resource_values) = match resources {
            Some((scope, values)) => (Some(scope), values.into_iter().map(Some).collect()),
            None => (None, vec![None]),
        };
        Self {
            policy,
            statement,
            actions,
            resources,
            action_values,
            resource_values,
            principals: principals(statement.principal.as_ref()),
            has_variables,
        }
    }

    pub fn name(&self) -> String {
        self.statement.name()
    }

    /// Returns the number of atoms.
    pub fn size(&self) -> usize {
        let lengths = [
            self.action_values.len(),
            self.resource_values.len(),
            self.principals.len(),
        ];
        lengths.into_iter().fold(1, usize::saturating_mul)
    }

    /// Returns true if the statement matches every request.
    pub fn is_everything(&self) -> bool {
        let is_all = |scope: &Scope<Vec<Pattern>>, kind| match scope {
            Scope::Only(patterns) => patterns.iter().any(|pattern| pattern.is_everything(kind)),
            Scope::AllBut(_) => false,
        };
        let resources = self.resources.as_ref();
        is_all(&self.actions, Kind::Action)
            && resources.is_some_and(|scope| is_all(scope, Kind::Arn))
            && self.conditions().is_empty()
    }

    fn conditions(&self) -> &Conditions {
        &self.statement.condition
    }

    pub fn atoms(&self) -> impl Iterator<Item = Atom<'_>> {
        self.action_values.iter().flat_map(move |action| {
            self.resource_values.iter().flat_map(move |resource| {
                self.principals.iter().map(move |principal| Atom {
                    statement: self,
                    action,
                    resource,
                    principal,
                })
            })
        })
    }

    /// Returns true if every request that the atom matches is matched by this statement, too.
    pub fn covers(&self, atom: &Atom<'_>, own_account: Option<&str>) -> bool {
        let resource = match (&self.resources, atom.resource) {
            (None, None) => true,
            (Some(scope), Some(value)) => scope_covers(scope, value, Kind::Arn),
            _ => false,
        };
        resource
            && scope_covers(&self.actions, atom.action, Kind::Action)
            && self
                .principals
                .iter()
                .any(|principal| principal.covers(atom.principal, own_account))
            && implies(atom.statement.conditions(), self.conditions(), self.has_variables)
    }

    /// Returns true if no request is matched by the atom and this statement. False if that cannot be shown.
    pub fn is_disjoint(&self, atom: &Atom<'_>) -> bool {
        let resource = match (&self.resources, atom.resource) {
            (Some(scope), Some(value)) => scope_is_disjoint(scope, value, Kind::Arn),
            _ => false,
        };
        resource
            || scope_is_disjoint(&self.actions, atom.action, Kind::Action)
            || self
                .principals
                .iter()
                .all(|principal| principal.is_disjoint(atom.principal))
    }
}

fn scope_covers(scope: &Scope<Vec<Pattern>>, value: &Values, kind: Kind) -> bool {
    match (scope, value) {
        (Scope::Only(patterns), Values::One(pattern, _)) => {
            patterns.iter().any(|outer| outer.covers(pattern, kind))
        }
        (Scope::AllBut(excluded), Values::One(pattern, _)) => excluded
            .iter()
            .all(|excluded| excluded.is_disjoint(pattern, kind)),
        (Scope::Only(patterns), Values::AllBut(..)) => patterns.iter().any(|outer| outer.is_everything(kind)),
        (Scope::AllBut(excluded), Values::AllBut(inner, _)) => excluded
            .iter()
            .all(|excluded| inner.iter().any(|inner| inner.covers(excluded, kind))),
    }
}

fn scope_is_disjoint(scope: &Scope<Vec<Pattern>>, value: &Values, kind: Kind) -> bool {
    match (scope, value) {
        (Scope::Only(patterns), Values::One(pattern, _)) => {
            patterns.iter().all(|other| other.is_disjoint(pattern, kind))
        }
        (Scope::AllBut(excluded), Values::One(pattern, _)) => {
            excluded.iter().any(|excluded| excluded.covers(pattern, kind))
        }
        (Scope::Only(patterns), Values::AllBut(excluded, _)) => patterns
            .iter()
            .all(|pattern| excluded.iter().any(|excluded| excluded.covers(pattern, kind))),
        (Scope::AllBut(_), Values::AllBut(..)) => false,
    }
}
