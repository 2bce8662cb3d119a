//! Whether one statement matches all that an atom of another matches.

use std::collections::BTreeSet;

use super::condition::{Conditions, contradict, implies};
use super::pattern::{Kind, Pattern};
use super::principal::{Principal, principals};
use crate::policy::document::{Caseless, Scope, Statement};

/// The values of an element, parsed.
struct Element<'a> {
    /// True for the `Not` form.
    is_all_but: bool,
    kind: Kind,
    patterns: Vec<Pattern>,
    texts: Vec<&'a str>,
}

impl<'a> Element<'a> {
    fn of<T>(
        scope: &'a Scope<T>,
        text: impl Fn(&'a T) -> Vec<&'a str>,
        kind: Kind,
        has_variables: bool,
    ) -> Self {
        let texts = text(scope.inner());
        let parse = |text: &&str| Pattern::parse(text, kind, has_variables);
        Self {
            is_all_but: matches!(scope, Scope::AllBut(_)),
            kind,
            patterns: texts.iter().map(parse).collect(),
            texts,
        }
    }

    fn len(&self) -> usize {
        if self.is_all_but { 1 } else { self.patterns.len() }
    }

    fn values(&self) -> impl Iterator<Item = Value<'_>> {
        let ones = self.patterns.iter().zip(&self.texts);
        let ones = ones
            .filter(|_| !self.is_all_but)
            .map(|(pattern, text)| Value::One(pattern, text));
        let whole = self
            .is_all_but
            .then_some(Value::AllBut(&self.patterns, &self.texts));
        ones.chain(whole)
    }

    fn is_everything(&self) -> bool {
        let mut patterns = self.patterns.iter();
        if self.is_all_but {
            self.patterns.is_empty()
        } else {
            patterns.any(|pattern| pattern.is_everything(self.kind))
        }
    }

    /// Returns true if all that the value matches is matched by this element, too.
    fn covers(&self, value: Value<'_>) -> bool {
        let (kind, mut patterns) = (self.kind, self.patterns.iter());
        match (self.is_all_but, value) {
            (false, Value::One(inner, _)) => patterns.any(|outer| outer.covers(inner, kind)),
            (true, Value::One(inner, _)) => patterns.all(|excluded| excluded.is_disjoint(inner, kind)),
            (false, Value::AllBut(..)) => self.is_everything(),
            (true, Value::AllBut(inner, _)) => {
                patterns.all(|excluded| inner.iter().any(|inner| inner.covers(excluded, kind)))
            }
        }
    }

    /// Returns true if nothing is matched by the value and by this element.
    fn is_disjoint(&self, value: Value<'_>) -> bool {
        let (kind, mut patterns) = (self.kind, self.patterns.iter());
        match (self.is_all_but, value) {
            (false, Value::One(inner, _)) => patterns.all(|other| other.is_disjoint(inner, kind)),
            (true, Value::One(inner, _)) => patterns.any(|excluded| excluded.covers(inner, kind)),
            (false, Value::AllBut(excluded, _)) => {
                patterns.all(|own| excluded.iter().any(|excluded| excluded.covers(own, kind)))
            }
            (true, Value::AllBut(..)) => false,
        }
    }
}

/// A value of an element, or the whole of its `Not` form, with its text for messages.
#[derive(Clone, Copy)]
pub enum Value<'s> {
    One(&'s Pattern, &'s str),
    AllBut(&'s [Pattern], &'s [&'s str]),
}

impl Value<'_> {
    pub fn shown(self) -> String {
        match self {
            Self::One(_, text) => text.to_owned(),
            Self::AllBut(_, texts) => format!("all but {}", texts.join(", ")),
        }
    }
}

/// A statement with its patterns parsed.
pub struct Prepared<'a> {
    /// Name of the policy that has the statement.
    pub policy: Option<&'a str>,
    statement: &'a Statement,
    actions: Element<'a>,
    /// Absent in a trust policy, whose resource is the role.
    resources: Option<Element<'a>>,
    principals: Vec<Principal>,
    has_variables: bool,
}

/// One action, resource and principal of a statement, with its conditions.
pub struct Atom<'s> {
    pub statement: &'s Prepared<'s>,
    pub action: Value<'s>,
    pub resource: Option<Value<'s>>,
    pub principal: &'s Principal,
}

impl<'a> Prepared<'a> {
    pub fn of(policy: Option<&'a str>, statement: &'a Statement, has_variables: bool) -> Self {
        let actions = |all: &'a BTreeSet<Caseless>| all.iter().map(Caseless::as_str).collect();
        let resources = |all: &'a BTreeSet<String>| all.iter().map(String::as_str).collect();
        let of_resources = |scope| Element::of(scope, resources, Kind::Arn, has_variables);
        Self {
            policy,
            statement,
            actions: Element::of(&statement.action, actions, Kind::Action, has_variables),
            resources: statement.resource.as_ref().map(of_resources),
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
            self.actions.len(),
            self.resources.as_ref().map_or(1, Element::len),
            self.principals.len(),
        ];
        lengths.into_iter().fold(1, usize::saturating_mul)
    }

    /// Returns true if the statement matches every request.
    pub fn is_everything(&self) -> bool {
        self.actions.is_everything()
            && self.resources.as_ref().is_some_and(Element::is_everything)
            && self.conditions().is_empty()
    }

    fn conditions(&self) -> &Conditions {
        &self.statement.condition
    }

    pub fn atoms(&self) -> impl Iterator<Item = Atom<'_>> {
        let resources = move || {
            let some = self.resources.iter().flat_map(Element::values).map(Some);
            some.chain(self.resources.is_none().then_some(None))
        };
        self.actions.values().flat_map(move |action| {
            resources().flat_map(move |resource| {
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
        let covers_resource = || match (&self.resources, atom.resource) {
            (None, None) => true,
            (Some(element), Some(value)) => element.covers(value),
            _ => false,
        };
        self.actions.covers(atom.action)
            && covers_resource()
            && self
                .principals
                .iter()
                .any(|principal| principal.covers(atom.principal, own_account))
            && implies(atom.statement.conditions(), self.conditions(), self.has_variables)
    }

    /// Returns true if no request is matched by the atom and this statement. False if that cannot be shown.
    pub fn is_disjoint(&self, atom: &Atom<'_>) -> bool {
        let is_other_resource = || match (&self.resources, atom.resource) {
            (Some(element), Some(value)) => element.is_disjoint(value),
            _ => false,
        };
        self.actions.is_disjoint(atom.action)
            || is_other_resource()
            || self
                .principals
                .iter()
                .all(|principal| principal.is_disjoint(atom.principal))
            || contradict(atom.statement.conditions(), self.conditions(), self.has_variables)
    }
}
