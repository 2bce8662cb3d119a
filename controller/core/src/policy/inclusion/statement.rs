//! Whether statements match all that an atom of another matches, or nothing of it.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::Attached;
use super::budget::Budget;
use super::condition::{Condition, contradict, implies};
use super::pattern::Kind;
use super::principal::{Principal, principals};
use super::text::{Form, Text};
use crate::policy::document::{Caseless, Scope, Statement};

/// The values of an element.
struct Element<'a> {
    /// True for the `Not` form.
    is_all_but: bool,
    values: Vec<Text<'a>>,
}

impl<'a> Element<'a> {
    fn of(is_all_but: bool, values: impl Iterator<Item = &'a str>, kind: Kind, has_variables: bool) -> Self {
        let parse = |text| Text::of(text, Form::Pattern(kind), has_variables);
        Self {
            is_all_but,
            values: values.map(parse).collect(),
        }
    }

    /// Returns the number of parts: the values, or the whole of the `Not` form.
    fn len(&self) -> usize {
        if self.is_all_but { 1 } else { self.values.len() }
    }

    fn part(&self, at: usize) -> Option<Part<'_>> {
        if self.is_all_but {
            return Some(Part::AllBut(&self.values));
        }
        self.values.get(at).map(Part::One)
    }

    fn is_everything(&self, budget: &Budget) -> bool {
        let mut values = self.values.iter();
        if self.is_all_but {
            self.values.is_empty()
        } else {
            values.any(|value| value.is_everything(budget))
        }
    }

    /// Returns true if all that the part matches is matched by this element, too.
    fn covers(&self, part: Part<'_>, budget: &Budget) -> bool {
        let mut values = self.values.iter();
        match (self.is_all_but, part) {
            (false, Part::One(inner)) => values.any(|outer| outer.covers(inner, budget)),
            (true, Part::One(inner)) => values.all(|excluded| excluded.is_disjoint(inner, budget)),
            (false, Part::AllBut(_)) => self.is_everything(budget),
            (true, Part::AllBut(inner)) => {
                values.all(|excluded| inner.iter().any(|inner| inner.covers(excluded, budget)))
            }
        }
    }

    /// Returns true if nothing is matched by the part and by this element.
    fn is_disjoint(&self, part: Part<'_>, budget: &Budget) -> bool {
        let mut values = self.values.iter();
        match (self.is_all_but, part) {
            (false, Part::One(inner)) => values.all(|other| other.is_disjoint(inner, budget)),
            (true, Part::One(inner)) => values.any(|excluded| excluded.covers(inner, budget)),
            (false, Part::AllBut(excluded)) => {
                values.all(|own| excluded.iter().any(|excluded| excluded.covers(own, budget)))
            }
            (true, Part::AllBut(_)) => false,
        }
    }
}

/// A value of an element, or the whole of its `Not` form.
#[derive(Clone, Copy)]
enum Part<'s> {
    One(&'s Text<'s>),
    AllBut(&'s [Text<'s>]),
}

impl Part<'_> {
    fn shown(self) -> String {
        match self {
            Self::One(text) => text.as_str().to_owned(),
            Self::AllBut(texts) => {
                let texts: Vec<&str> = texts.iter().map(Text::as_str).collect();
                format!("all but {}", texts.join(", "))
            }
        }
    }
}

/// A statement that is ready to be compared.
pub struct Prepared<'a> {
    /// Name of the policy that has the statement.
    pub policy: Option<&'a str>,
    statement: &'a Statement,
    actions: Element<'a>,
    /// Absent in a trust policy, whose resource is the role.
    resources: Option<Element<'a>>,
    principals: Vec<Principal>,
    conditions: Vec<Condition<'a>>,
    has_variables: bool,
}

/// One action, resource and principal of a statement, by their positions.
#[derive(Clone, Copy)]
pub struct Atom {
    action: usize,
    resource: usize,
    principal: usize,
}

impl<'a> Prepared<'a> {
    pub fn of(policy: Option<&'a str>, statement: &'a Statement, has_variables: bool) -> Self {
        fn is_all_but<T>(scope: &Scope<T>) -> bool {
            matches!(scope, Scope::AllBut(_))
        }
        let of_resources = |scope: &'a Scope<BTreeSet<String>>| {
            let texts = scope.inner().iter().map(String::as_str);
            Element::of(is_all_but(scope), texts, Kind::Arn, has_variables)
        };
        let actions = statement.action.inner().iter().map(Caseless::as_str);
        Self {
            policy,
            statement,
            actions: Element::of(
                is_all_but(&statement.action),
                actions,
                Kind::Action,
                has_variables,
            ),
            resources: statement.resource.as_ref().map(of_resources),
            principals: principals(statement.principal.as_ref()),
            conditions: Condition::all(&statement.condition, has_variables),
            has_variables,
        }
    }

    pub fn name(&self) -> String {
        self.statement.name()
    }

    /// Returns true if the statement matches every request.
    pub fn is_everything(&self, budget: &Budget) -> bool {
        let has_all = |resources: &Element<'_>| resources.is_everything(budget);
        self.conditions.is_empty()
            && self.actions.is_everything(budget)
            && self.resources.as_ref().is_some_and(has_all)
    }

    /// Returns true if both statements match the same requests because they have the same elements.
    pub fn is_like(&self, other: &Self) -> bool {
        let (one, two) = (self.statement, other.statement);
        self.has_variables == other.has_variables
            && one.action == two.action
            && one.resource == two.resource
            && one.principal == two.principal
            && one.condition == two.condition
    }

    pub fn atoms(&self) -> impl Iterator<Item = Atom> + use<> {
        let (resources, principals) = (self.resources_len(), self.principals.len());
        (0..self.actions.len()).flat_map(move |action| {
            (0..resources).flat_map(move |resource| {
                (0..principals).map(move |principal| Atom {
                    action,
                    resource,
                    principal,
                })
            })
        })
    }

    fn resources_len(&self) -> usize {
        self.resources.as_ref().map_or(1, Element::len)
    }

    /// Returns the action, the resource and the principal as a message shows them.
    pub fn shown(&self, atom: Atom) -> (String, Option<String>, Option<String>) {
        let resource = self.resources.as_ref().and_then(|all| all.part(atom.resource));
        (
            self.actions
                .part(atom.action)
                .map(Part::shown)
                .unwrap_or_default(),
            resource.map(Part::shown),
            self.principals.get(atom.principal).and_then(Principal::shown),
        )
    }
}

/// What is asked about a statement and an atom of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Every request that the atom matches is matched by the statement, too.
    Covered,
    /// No request is matched by both.
    Apart,
}

/// What a comparison needs besides the statements.
#[derive(Clone, Copy)]
pub struct Context<'q> {
    pub attached: Attached<'q>,
    pub budget: &'q Budget,
}

/// The relation of some statements to all atoms of another one. Each pair of values is compared once, however many atoms have it.
pub struct Related<'s> {
    relation: Relation,
    statements: Vec<&'s Prepared<'s>>,
    of: &'s Prepared<'s>,
    context: Context<'s>,
    /// The answers for each statement: for its actions, resources, principals and conditions.
    answers: Vec<Cell<Option<bool>>>,
    width: usize,
}

impl<'s> Related<'s> {
    pub fn new(
        relation: Relation,
        statements: impl Iterator<Item = &'s Prepared<'s>>,
        of: &'s Prepared<'s>,
        context: Context<'s>,
    ) -> Self {
        let statements: Vec<_> = statements.collect();
        let width = of.actions.len() + of.resources_len() + of.principals.len() + 1;
        let size = statements.len().saturating_mul(width);
        // The memory of the answers is bounded by the budget, too.
        let size = if context.budget.spend(size / 8 + 1) {
            size
        } else {
            0
        };
        Self {
            relation,
            statements,
            of,
            context,
            answers: vec![Cell::new(None); size],
            width,
        }
    }

    /// Returns the first statement of which that is shown.
    pub fn first(&self, atom: Atom) -> Option<&'s Prepared<'s>> {
        let mut all = self.statements.iter().enumerate();
        all.find(|(at, _)| self.is_shown(*at, atom))
            .map(|(_, found)| *found)
    }

    /// Returns the first statement of which that is not shown.
    pub fn first_other(&self, atom: Atom) -> Option<&'s Prepared<'s>> {
        let mut all = self.statements.iter().enumerate();
        all.find(|(at, _)| !self.is_shown(*at, atom))
            .map(|(_, found)| *found)
    }

    fn is_shown(&self, at: usize, atom: Atom) -> bool {
        if !self.context.budget.spend(1) {
            return false;
        }
        let (resources, principals) = (self.of.actions.len(), self.of.resources_len());
        let positions = [
            atom.action,
            resources + atom.resource,
            resources + principals + atom.principal,
            self.width - 1,
        ];
        let mut elements = positions.into_iter().enumerate();
        let mut answer = |(element, position): (usize, usize)| {
            let Some(known) = self.answers.get(at * self.width + position) else {
                return false;
            };
            known.get().unwrap_or_else(|| {
                let answer = self.statements.get(at).is_some_and(|statement| match element {
                    0 => self.of_actions(statement, atom),
                    1 => self.of_resources(statement, atom),
                    2 => self.of_principals(statement, atom),
                    _ => self.of_conditions(statement),
                });
                known.set(Some(answer));
                answer
            })
        };
        match self.relation {
            Relation::Covered => elements.all(&mut answer),
            Relation::Apart => elements.any(&mut answer),
        }
    }

    fn of_element(&self, element: &Element<'_>, part: Part<'_>) -> bool {
        match self.relation {
            Relation::Covered => element.covers(part, self.context.budget),
            Relation::Apart => element.is_disjoint(part, self.context.budget),
        }
    }

    fn of_actions(&self, statement: &Prepared<'_>, atom: Atom) -> bool {
        let part = self.of.actions.part(atom.action);
        part.is_some_and(|part| self.of_element(&statement.actions, part))
    }

    fn of_resources(&self, statement: &Prepared<'_>, atom: Atom) -> bool {
        match (&statement.resources, &self.of.resources) {
            (None, None) => self.relation == Relation::Covered,
            (Some(element), Some(of)) => {
                let part = of.part(atom.resource);
                part.is_some_and(|part| self.of_element(element, part))
            }
            _ => false,
        }
    }

    fn of_principals(&self, statement: &Prepared<'_>, atom: Atom) -> bool {
        let Some(of) = self.of.principals.get(atom.principal) else {
            return false;
        };
        let budget = self.context.budget;
        let mut all = statement.principals.iter();
        let can_be_compared = |other: &Principal| budget.spend(other.steps().min(of.steps()));
        match self.relation {
            Relation::Covered => all
                .any(|outer| can_be_compared(outer) && outer.covers(of, self.context.attached.own_account())),
            Relation::Apart => all.all(|other| can_be_compared(other) && other.is_disjoint(of)),
        }
    }

    fn of_conditions(&self, statement: &Prepared<'_>) -> bool {
        let (inner, outer) = (&self.of.conditions, &statement.conditions);
        match self.relation {
            Relation::Covered => implies(inner, outer, self.context.budget),
            Relation::Apart => contradict(inner, outer, self.context.budget),
        }
    }
}
