//! Documents of a small alphabet, and mutations of them.

use std::collections::{BTreeMap, BTreeSet};

use rolectl_core::policy::{Caseless, Effect, PolicyDocument, Principals, Scope, Statement};

use crate::random::Random;
use crate::world::{PRINCIPALS, World};

const ACTIONS: [&str; 9] = ["*", "s:*", "s:a", "s:b", "S:A", "s:?", "t:a", "*:a", "s:a*"];
const TRUST_ACTIONS: [&str; 5] = [
    "*",
    "sts:*",
    "sts:AssumeRole",
    "sts:assumerole*",
    "sts:TagSession",
];
const RESOURCES: [&str; 10] = [
    "*",
    "arn:x:s:::*",
    "arn:x:s:::a",
    "arn:x:s:::a*",
    "arn:x:s:::?",
    "arn:x:s:::*b",
    "arn:x:*:::a",
    "arn:*:a",
    "arn:x:s:::${aws:username}",
    "arn:x:s:::a${*}",
];

#[derive(Clone, Debug)]
pub enum Who {
    Unnamed,
    Everybody,
    Only(Vec<(&'static str, &'static str)>),
    AllBut(Vec<(&'static str, &'static str)>),
}

#[derive(Clone, Debug)]
pub struct Condition {
    pub operator: String,
    pub key: &'static str,
    pub values: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub is_allow: bool,
    pub not_action: bool,
    pub actions: Vec<&'static str>,
    pub not_resource: bool,
    pub resources: Vec<&'static str>,
    pub who: Who,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
pub struct Rules {
    pub is_old: bool,
    pub rules: Vec<Rule>,
}

/// The policies of one side.
#[derive(Clone, Debug)]
pub struct Side {
    pub policies: Vec<Rules>,
    /// Which of the policies without a document it has.
    pub unread: [bool; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    DropStatement,
    AddAllow,
    AddDeny,
    SwapIfExists,
    ChangeOperator,
    ChangePrincipal,
    WidenPattern,
    ChangeValue,
    DropCondition,
    AddAction,
    SwapNot,
    ChangeUnread,
    SplitDocument,
}

const MUTATIONS: [Mutation; 13] = [
    Mutation::DropStatement,
    Mutation::AddAllow,
    Mutation::AddDeny,
    Mutation::SwapIfExists,
    Mutation::ChangeOperator,
    Mutation::ChangePrincipal,
    Mutation::WidenPattern,
    Mutation::ChangeValue,
    Mutation::DropCondition,
    Mutation::AddAction,
    Mutation::SwapNot,
    Mutation::ChangeUnread,
    Mutation::SplitDocument,
];

fn actions(world: &World) -> &'static [&'static str] {
    if world.is_trust { &TRUST_ACTIONS } else { &ACTIONS }
}

fn resources(world: &World) -> &'static [&'static str] {
    // Variables come last.
    if world.has_variables {
        &RESOURCES
    } else {
        &RESOURCES[..8]
    }
}

fn who(world: &World, random: &mut Random) -> Who {
    if !world.is_trust {
        return Who::Unnamed;
    }
    match random.below(10) {
        0 => Who::Everybody,
        1 => Who::AllBut(random.some(&PRINCIPALS)),
        _ => Who::Only(random.some(&PRINCIPALS)),
    }
}

impl Condition {
    fn draw(world: &World, random: &mut Random) -> Self {
        let key = random.of(&world.keys);
        Self {
            operator: key.operator(random),
            key: key.name(),
            values: vec![],
        }
        .with_values(world, random)
    }

    fn with_values(mut self, world: &World, random: &mut Random) -> Self {
        self.values = if self.operator == "Null" {
            vec![random.of(&["true", "false"])]
        } else {
            let key = world.keys.iter().find(|key| key.name() == self.key);
            random.some(key.map_or(&[], |key| key.values(world.has_variables)))
        };
        self
    }
}

impl Rule {
    fn draw(world: &World, random: &mut Random) -> Self {
        let conditions = random.of(&[0, 0, 0, 1, 1, 2]);
        Self {
            is_allow: random.chance(65),
            not_action: random.chance(12),
            actions: random.some(actions(world)),
            not_resource: random.chance(12),
            resources: random.some(resources(world)),
            who: who(world, random),
            conditions: (0..conditions).map(|_| Condition::draw(world, random)).collect(),
        }
    }

    fn statement(&self, is_trust: bool) -> Statement {
        let actions: BTreeSet<Caseless> = self.actions.iter().map(|text| Caseless::from(*text)).collect();
        let named = |all: &[(&str, &str)]| {
            let mut kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (kind, value) in all {
                kinds
                    .entry((*kind).to_owned())
                    .or_default()
                    .insert((*value).to_owned());
            }
            Principals::Named(kinds)
        };
        let resources: BTreeSet<String> = self.resources.iter().map(|text| (*text).to_owned()).collect();
        let mut condition: BTreeMap<Caseless, BTreeMap<Caseless, BTreeSet<String>>> = BTreeMap::new();
        for one in &self.conditions {
            let operator = condition
                .entry(Caseless::from(one.operator.as_str()))
                .or_default();
            let values = one.values.iter().map(|text| (*text).to_owned()).collect();
            operator.insert(Caseless::from(one.key), values);
        }
        Statement {
            sid: None,
            effect: if self.is_allow {
                Effect::Allow
            } else {
                Effect::Deny
            },
            principal: match &self.who {
                Who::Unnamed => None,
                Who::Everybody => Some(Scope::Only(Principals::Everybody)),
                Who::Only(all) => Some(Scope::Only(named(all))),
                Who::AllBut(all) => Some(Scope::AllBut(named(all))),
            },
            action: if self.not_action {
                Scope::AllBut(actions)
            } else {
                Scope::Only(actions)
            },
            resource: (!is_trust).then_some({
                if self.not_resource {
                    Scope::AllBut(resources)
                } else {
                    Scope::Only(resources)
                }
            }),
            condition,
        }
    }

    /// Two conditions with the same operator and key would be one in a document.
    fn without_repeats(mut self) -> Self {
        let mut seen = BTreeSet::new();
        self.conditions
            .retain(|one| seen.insert((one.operator.to_ascii_lowercase(), one.key)));
        self
    }
}

impl Side {
    pub fn draw(world: &World, random: &mut Random) -> Self {
        let policies = random.of(&[1, 1, 1, 2, 3]);
        let policies = (0..policies).map(|_| {
            let rules = random.of(&[1, 1, 2, 2, 3]);
            Rules {
                is_old: random.chance(world.percent_old),
                rules: (0..rules)
                    .map(|_| Rule::draw(world, random).without_repeats())
                    .collect(),
            }
        });
        let policies = policies.collect();
        Self {
            policies,
            unread: [(); 3].map(|()| world.has_unread && random.chance(40)),
        }
    }

    pub fn documents(&self) -> Vec<PolicyDocument> {
        let of = |rules: &Rules| PolicyDocument {
            version: if rules.is_old { "2008-10-17" } else { "2012-10-17" }.to_owned(),
            id: None,
            statements: rules
                .rules
                .iter()
                .map(|rule| rule.statement(!matches!(rule.who, Who::Unnamed)))
                .collect(),
        };
        self.policies.iter().map(of).collect()
    }

    /// Returns the side with a Deny more, or with an Allow less.
    pub fn narrowed(&self, world: &World, random: &mut Random) -> Self {
        let mut side = self.clone();
        let at = random.below(side.policies.len());
        let rules = &mut side.policies[at].rules;
        let allow = rules.iter().position(|rule| rule.is_allow);
        match allow.filter(|_| random.chance(50)) {
            Some(at) => {
                rules.remove(at);
            }
            None => rules.push(Rule {
                is_allow: false,
                ..Rule::draw(world, random).without_repeats()
            }),
        }
        side
    }

    pub fn mutated(&self, world: &World, random: &mut Random) -> (Self, Mutation) {
        let mutation = random.of(&MUTATIONS);
        let mut side = self.clone();
        side.apply(mutation, world, random);
        if random.chance(25) {
            side.apply(random.of(&MUTATIONS), world, random);
        }
        (side, mutation)
    }

    fn apply(&mut self, mutation: Mutation, world: &World, random: &mut Random) {
        let at = random.below(self.policies.len());
        if mutation == Mutation::SplitDocument {
            let policy = &mut self.policies[at];
            let rest = policy.rules.split_off(policy.rules.len() / 2);
            let is_old = policy.is_old;
            self.policies.push(Rules { is_old, rules: rest });
            return;
        }
        if mutation == Mutation::ChangeUnread {
            let at = random.below(3);
            self.unread[at] = world.has_unread && !self.unread[at];
            return;
        }
        let rules = &mut self.policies[at].rules;
        if let Mutation::AddAllow | Mutation::AddDeny = mutation {
            rules.push(Rule {
                is_allow: mutation == Mutation::AddAllow,
                ..Rule::draw(world, random).without_repeats()
            });
            return;
        }
        if rules.is_empty() {
            return;
        }
        let at = random.below(rules.len());
        if mutation == Mutation::DropStatement {
            rules.remove(at);
            return;
        }
        let rule = &mut rules[at];
        let condition = (!rule.conditions.is_empty()).then(|| random.below(rule.conditions.len()));
        match (mutation, condition) {
            (Mutation::SwapIfExists, Some(at)) => {
                let operator = &mut rule.conditions[at].operator;
                match operator.strip_suffix("IfExists") {
                    Some(base) => *operator = base.to_owned(),
                    None if operator != "Null" => operator.push_str("IfExists"),
                    None => {}
                }
            }
            (Mutation::ChangeOperator, Some(at)) => {
                let mut changed = Condition::draw(world, random);
                if changed.key == rule.conditions[at].key
                    && changed.operator != "Null"
                    && rule.conditions[at].operator != "Null"
                {
                    changed.values.clone_from(&rule.conditions[at].values);
                }
                rule.conditions[at] = changed;
            }
            (Mutation::ChangeValue, Some(at)) => {
                let mut changed = rule.conditions[at].clone().with_values(world, random);
                if random.chance(50) && changed.operator != "Null" {
                    changed.values.extend(rule.conditions[at].values.iter().copied());
                    changed.values.sort_unstable();
                    changed.values.dedup();
                }
                rule.conditions[at] = changed;
            }
            (Mutation::DropCondition, Some(at)) => {
                rule.conditions.remove(at);
            }
            (Mutation::ChangePrincipal, _) => rule.who = who(world, random),
            (Mutation::WidenPattern, _) if random.chance(50) => {
                let at = random.below(rule.resources.len());
                rule.resources[at] = random.of(resources(world));
            }
            (Mutation::WidenPattern, _) => {
                let at = random.below(rule.actions.len());
                rule.actions[at] = random.of(actions(world));
            }
            (Mutation::AddAction, _) => rule.actions.push(random.of(actions(world))),
            (Mutation::SwapNot, _) if random.chance(50) && !world.is_trust => {
                rule.not_resource = !rule.not_resource;
            }
            (Mutation::SwapNot, _) => rule.not_action = !rule.not_action,
            _ => rule.conditions.push(Condition::draw(world, random)),
        }
        let fixed = rule.clone().without_repeats();
        *rule = fixed;
    }
}
