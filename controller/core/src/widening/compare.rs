//! The comparison of two states of a role.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rolectl_crds::AwsAccountSpec;

use crate::policy::inclusion::{Budget, Excess, Policies, Unread, inclusion_of, write_matched};
use crate::role::managed_policy::{is_same_policy, may_allow, may_deny};
use crate::role::order::simulate;
use crate::role::tags::is_ignored;
use crate::role::{Change, ObservedDocument, ObservedRole};

/// Most atoms that are listed.
pub const MAX_ATOMS: usize = 40;

/// The account that a role is in, as far as it decides what is wider.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Account id.
    pub account_id: &'a str,
    /// `spec.authorityTags` of the `AwsAccount`: patterns of tag keys.
    pub authority_tags: &'a [String],
}

/// Returns the place that the spec of an `AwsAccount` describes.
pub fn place_of(account: &AwsAccountSpec) -> Place<'_> {
    Place {
        account_id: &account.account_id,
        authority_tags: &account.authority_tags,
    }
}

/// A part of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
pub enum Part {
    /// The role itself.
    Role,
    /// The trust policy.
    TrustPolicy,
    /// An inline policy.
    InlinePolicy,
    /// A managed policy.
    ManagedPolicy,
    /// The permissions boundary.
    PermissionsBoundary,
    /// The maximum session duration.
    MaxSessionDuration,
    /// An instance profile.
    InstanceProfile,
    /// A tag.
    Tag,
}

impl Part {
    const fn shown(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::TrustPolicy => "trust policy",
            Self::InlinePolicy => "inline policy",
            Self::ManagedPolicy => "managed policy",
            Self::PermissionsBoundary => "permissions boundary",
            Self::MaxSessionDuration => "maximum session duration",
            Self::InstanceProfile => "instance profile",
            Self::Tag => "tag",
        }
    }
}

/// One thing that may be allowed after and was not before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Atom {
    /// The part of the role.
    pub part: Part,
    /// Name of the policy, profile or tag. Absent where a role has only one such part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Name of the statement that allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// The action, or `all but` some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The resource, or `all but` some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The principal, with its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Why it counts as more.
    pub why: String,
    /// The part whose removal or change is the cause, where that is another one: a policy with a Deny.
    #[serde(skip)]
    cause: Option<(Part, String)>,
}

impl Atom {
    fn of(part: Part, name: Option<&str>, why: impl Into<String>) -> Self {
        Self {
            part,
            name: name.map(str::to_owned),
            statement: None,
            action: None,
            resource: None,
            principal: None,
            why: why.into(),
            cause: None,
        }
    }

    /// Returns true if the change is what makes the role wider here.
    pub fn is_caused_by(&self, change: &Change) -> bool {
        let (part, name) = match &self.cause {
            Some((part, name)) => (*part, Some(name.as_str())),
            None => (self.part, self.name.as_deref()),
        };
        let is_named = |other: &str| name == Some(other);
        match change {
            Change::CreateRole(_) => part == Part::Role,
            Change::UpdateTrustPolicy(..) => part == Part::TrustPolicy,
            Change::PutInlinePolicy(other, ..) | Change::DeleteInlinePolicy(other) => {
                part == Part::InlinePolicy && is_named(other)
            }
            Change::AttachPolicy(arn) | Change::DetachPolicy(arn) => {
                part == Part::ManagedPolicy && name.is_some_and(|name| is_same_policy(name, arn))
            }
            Change::PutBoundary(_) | Change::DeleteBoundary => part == Part::PermissionsBoundary,
            Change::UpdateRole { .. } => part == Part::MaxSessionDuration,
            Change::AddInstanceProfile(profile) => part == Part::InstanceProfile && is_named(&profile.name),
            Change::Tag(tags) => part == Part::Tag && tags.keys().any(|key| is_named(key)),
            Change::Untag(keys) => part == Part::Tag && keys.iter().any(|key| is_named(key)),
            Change::RemoveInstanceProfile(..) | Change::ReleaseInstanceProfile(..) | Change::DeleteRole => {
                false
            }
        }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part.shown())?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        if let Some(statement) = &self.statement {
            write!(f, ", statement {statement}")?;
        }
        if let Some(action) = &self.action {
            write!(f, ": {action}")?;
        }
        write_matched(f, self.resource.as_deref(), self.principal.as_deref())?;
        write!(f, ": {}", self.why)
    }
}

/// What a role may allow after and did not before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Widening {
    /// The first atoms.
    pub atoms: Vec<Atom>,
    /// Number of all atoms.
    pub count: usize,
}

impl Widening {
    /// Returns true if the role is shown to allow no more than before.
    pub const fn is_none(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, atom: Atom) {
        self.count += 1;
        if self.atoms.len() < MAX_ATOMS {
            self.atoms.push(atom);
        }
    }

    /// Adds the atoms of policies, of which `named` returns the part and the name.
    fn extend(
        &mut self,
        excess: Vec<Excess>,
        count: usize,
        named: impl Fn(&str) -> (Part, Option<String>),
        part: Part,
    ) {
        let total = self.count + count;
        for excess in excess {
            let (part, name) = excess.policy.as_deref().map_or((part, None), &named);
            let cause = excess.missing_deny_of.as_deref().and_then(|key| {
                let (part, name) = named(key);
                Some((part, name?))
            });
            let is_whole = excess.is_whole();
            let given = |text: String| (!is_whole).then_some(text);
            self.add(Atom {
                part,
                name,
                statement: given(excess.statement),
                action: given(excess.action),
                resource: excess.resource,
                principal: excess.principal,
                why: excess.why,
                cause,
            });
        }
        self.count = total;
    }
}

/// The result of a comparison of two states of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It allows the same as before.
    Same,
    /// It allows less than before.
    Narrows,
    /// It may allow more than before.
    Widens(Widening),
}

/// A verdict without what it is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "Verdict")]
pub enum VerdictKind {
    /// It allows the same as before.
    Same,
    /// It allows less than before.
    Narrows,
    /// It may allow more than before.
    Widens,
}

impl VerdictKind {
    /// Returns its name in the output and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "Same",
            Self::Narrows => "Narrows",
            Self::Widens => "Widens",
        }
    }
}

impl Verdict {
    /// Returns the verdict without what it is based on.
    pub const fn kind(&self) -> VerdictKind {
        match self {
            Self::Same => VerdictKind::Same,
            Self::Narrows => VerdictKind::Narrows,
            Self::Widens(_) => VerdictKind::Widens,
        }
    }

    /// Returns what may be allowed and was not before, if anything.
    pub const fn widening(&self) -> Option<&Widening> {
        match self {
            Self::Widens(widening) => Some(widening),
            Self::Same | Self::Narrows => None,
        }
    }
}

/// Compares two states of a role. `None` is a role that does not exist.
pub fn verdict(
    before: Option<&ObservedRole>,
    after: Option<&ObservedRole>,
    place: Place<'_>,
    budget: &Budget,
) -> Verdict {
    let more = widening(before, after, place, budget);
    if !more.is_none() {
        return Verdict::Widens(more);
    }
    if widening(after, before, place, budget).is_none() {
        Verdict::Same
    } else {
        Verdict::Narrows
    }
}

/// Returns what a role may allow after and did not before. `None` is a role that does not exist. Nothing that exceeds the budget is shown to
/// be as before.
pub fn widening(
    before: Option<&ObservedRole>,
    after: Option<&ObservedRole>,
    place: Place<'_>,
    budget: &Budget,
) -> Widening {
    let mut found = Widening::default();
    let Some(after) = after else {
        return found;
    };
    let Some(before) = before else {
        found.add(Atom::of(Part::Role, None, "the role does not exist yet"));
        return found;
    };
    trust(before, after, place, budget, &mut found);
    permissions(before, after, budget, &mut found);
    boundary(before, after, &mut found);
    let (old, new) = (before.max_session_duration, after.max_session_duration);
    if new > old {
        let why = format!("{new} seconds instead of {old}");
        found.add(Atom::of(Part::MaxSessionDuration, None, why));
    }
    for profile in after.instance_profiles.difference(&before.instance_profiles) {
        let why = "instances with this profile can use the role";
        found.add(Atom::of(Part::InstanceProfile, Some(profile), why));
    }
    for key in changed_tags(&before.tags, &after.tags) {
        if is_ignored(place.authority_tags, key) {
            let why = "the account's authorityTags name it, and it changes";
            found.add(Atom::of(Part::Tag, Some(key), why));
        }
    }
    found
}

fn trust(
    before: &ObservedRole,
    after: &ObservedRole,
    place: Place<'_>,
    budget: &Budget,
    found: &mut Widening,
) {
    let (outer, inner) = (alone(&before.trust), alone(&after.trust));
    let part = Part::TrustPolicy;
    let compared = inclusion_of(&outer, &inner, Some(place.account_id), budget);
    found.extend(compared.excess, compared.count, |_| (part, None), part);
}

/// Returns a document as the only policy.
fn alone(document: &ObservedDocument) -> Policies<'_> {
    let mut policies = Policies {
        called: "the present role",
        ..Policies::default()
    };
    match document {
        ObservedDocument::Parsed(document) => policies.documents.push((None, document.canonical())),
        ObservedDocument::Unreadable(text) => policies.unread.push(unreadable(text)),
    }
    policies
}

/// A document that cannot be parsed may allow and deny. Its text is its name, so that only the same text is the same policy.
const fn unreadable(text: &str) -> Unread<'_> {
    Unread {
        name: text,
        may_allow: true,
        may_deny: true,
    }
}

/// Returns all policies of a role. Inline policies have their names, managed policies their ARNs.
fn all_policies(role: &ObservedRole) -> Policies<'_> {
    let mut policies = Policies {
        called: "the present role",
        ..Policies::default()
    };
    for (name, document) in &role.inline_policies {
        match document {
            ObservedDocument::Parsed(document) => {
                policies.documents.push((Some(name), document.canonical()));
            }
            ObservedDocument::Unreadable(text) => policies.unread.push(unreadable(text)),
        }
    }
    policies
        .unread
        .extend(role.managed_policies.iter().map(|arn| Unread {
            name: arn,
            may_allow: may_allow(arn),
            may_deny: may_deny(arn),
        }));
    policies
}

fn permissions(before: &ObservedRole, after: &ObservedRole, budget: &Budget, found: &mut Widening) {
    let (outer, mut inner) = (all_policies(before), all_policies(after));
    // IAM compares ARNs of policies without regard to case.
    for unread in &mut inner.unread {
        if let Some(same) = outer
            .unread
            .iter()
            .find(|other| is_same_policy(other.name, unread.name))
        {
            unread.name = same.name;
        }
    }
    let named = |key: &str| {
        let is_inline = |role: &ObservedRole| role.inline_policies.contains_key(key);
        if is_inline(after) || is_inline(before) {
            (Part::InlinePolicy, Some(key.to_owned()))
        } else if key.starts_with("arn:") {
            (Part::ManagedPolicy, Some(key.to_owned()))
        } else {
            let of_text = |role: &ObservedRole| {
                let mut all = role.inline_policies.iter();
                let is_it = |document: &ObservedDocument| matches!(document, ObservedDocument::Unreadable(text) if text == key);
                all.find_map(|(name, document)| is_it(document).then(|| name.clone()))
            };
            (Part::InlinePolicy, of_text(after).or_else(|| of_text(before)))
        }
    };
    let compared = inclusion_of(&outer, &inner, None, budget);
    found.extend(compared.excess, compared.count, named, Part::InlinePolicy);
}

fn boundary(before: &ObservedRole, after: &ObservedRole, found: &mut Widening) {
    let Some(old) = &before.permissions_boundary else {
        return;
    };
    let why = match &after.permissions_boundary {
        Some(new) if is_same_policy(old, new) => return,
        Some(new) => format!("{new} instead of {old}, and their documents are not known"),
        None => format!("{old} is removed"),
    };
    found.add(Atom::of(Part::PermissionsBoundary, None, why));
}

/// Returns the keys of tags that differ.
fn changed_tags<'a>(
    before: &'a BTreeMap<String, String>,
    after: &'a BTreeMap<String, String>,
) -> BTreeSet<&'a str> {
    let missing = |one: &'a BTreeMap<String, String>, other: &'a BTreeMap<String, String>| {
        let changed = one.iter().filter(|(key, value)| other.get(*key) != Some(*value));
        changed.map(|(key, _)| key.as_str()).collect::<Vec<_>>()
    };
    missing(before, after)
        .into_iter()
        .chain(missing(after, before))
        .collect()
}

/// Returns the role after these changes. One that is created has no ARN and no id yet.
pub fn after(before: Option<&ObservedRole>, changes: &[Change]) -> Option<ObservedRole> {
    changes.iter().fold(before.cloned(), simulate)
}

/// Returns the verdict of each change of a plan. What makes the whole wider belongs to the last change that causes it.
pub fn verdicts(before: Option<&ObservedRole>, changes: &[Change], place: Place<'_>) -> Vec<Verdict> {
    let budget = Budget::default();
    let whole = widening(before, after(before, changes).as_ref(), place, &budget);
    let positions: Vec<Option<usize>> = whole
        .atoms
        .iter()
        .map(|atom| changes.iter().rposition(|change| atom.is_caused_by(change)))
        .collect();
    // Where not every atom is listed with its cause, each change is judged alone.
    let is_complete = whole.count == whole.atoms.len() && positions.iter().all(Option::is_some);
    let mut state = before.cloned();
    let mut all = vec![];
    for (at, change) in changes.iter().enumerate() {
        let next = simulate(state.clone(), change);
        let caused = whole
            .atoms
            .iter()
            .zip(&positions)
            .filter(|(_, position)| **position == Some(at));
        let atoms: Vec<Atom> = caused.map(|(atom, _)| atom.clone()).collect();
        let alone = verdict(state.as_ref(), next.as_ref(), place, &budget);
        all.push(match alone {
            _ if is_complete && !atoms.is_empty() => Verdict::Widens(Widening {
                count: atoms.len(),
                atoms,
            }),
            // A later change removes what this one adds, or an earlier one has taken as much away.
            Verdict::Widens(_) if is_complete => Verdict::Same,
            alone => alone,
        });
        state = next;
    }
    all
}
