//! The comparison of two states of a role.

use std::collections::{BTreeMap, BTreeSet};

use rolectl_crds::AwsAccountSpec;

use super::managed::ManagedPolicies;
use super::verdict::{Atom, Part, Verdict, Widening};
use crate::policy::inclusion::{Attached, Budget, Policies, Unread, inclusion_of};
use crate::policy::{Document, Effect, PolicyDocument};
use crate::role::managed_policy::{is_same_policy, may_allow, may_deny};
use crate::role::order::simulate;
use crate::role::tags::is_ignored;
use crate::role::{Change, ObservedDocument, ObservedRole};

/// The version of documents that may have variables.
const NEWER: &str = "2012-10-17";

/// The account that a role is in, as far as it decides what is wider.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Account id.
    pub account_id: &'a str,
    /// `spec.authorityTags` of the `AwsAccount`: patterns of tag keys.
    pub authority_tags: &'a [String],
    /// Managed policies whose documents are known.
    pub policies: &'a ManagedPolicies,
}

/// Returns the place that the spec of an `AwsAccount` describes.
pub const fn place_of<'a>(account: &'a AwsAccountSpec, policies: &'a ManagedPolicies) -> Place<'a> {
    Place {
        account_id: account.account_id.as_str(),
        authority_tags: account.authority_tags.as_slice(),
        policies,
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
    permissions(before, after, place.policies, budget, &mut found);
    boundary(before, after, place.policies, budget, &mut found);
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
    let compared = inclusion_of(&outer, &inner, Attached::AsTrust(place.account_id), budget);
    found.extend(compared.excess, compared.count, |_| (part, None), part);
}

/// Returns a document as the only policy.
fn alone(document: &ObservedDocument) -> Policies<'_> {
    let mut policies = none();
    match document {
        ObservedDocument::Parsed(document) => policies.documents.push((None, document.canonical())),
        ObservedDocument::Unreadable(text) => policies.unread.push(unreadable(text)),
    }
    policies
}

/// Returns no policies.
fn none<'a>() -> Policies<'a> {
    Policies {
        called: "the present role",
        ..Policies::default()
    }
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
fn all_policies<'a>(role: &'a ObservedRole, known: &'a ManagedPolicies, has_older: bool) -> Policies<'a> {
    let mut policies = none();
    for (name, document) in &role.inline_policies {
        match document {
            ObservedDocument::Parsed(document) => {
                policies.documents.push((Some(name), document.canonical()));
            }
            ObservedDocument::Unreadable(text) => policies.unread.push(unreadable(text)),
        }
    }
    for arn in &role.managed_policies {
        add_managed(&mut policies, arn, known, has_older);
    }
    policies
}

/// Adds a managed policy with its document, or as unread. `${` is a variable in 2012-10-17 and text in 2008-10-17, so that documents of both
/// versions often cannot be compared. A policy of 2008-10-17 is therefore unread, and so are all managed policies next to an inline policy of
/// that version. Otherwise somebody who attaches an old policy could make every change wait.
fn add_managed<'a>(policies: &mut Policies<'a>, arn: &'a str, known: &'a ManagedPolicies, has_older: bool) {
    let document = known.get(arn).map(Document::canonical);
    let is_newer = |document: &&PolicyDocument| document.version == NEWER && !has_older;
    if let Some(document) = document.filter(is_newer) {
        policies.documents.push((Some(arn), document));
        return;
    }
    let has = |effect| document.map(|document| document.has(effect));
    policies.unread.push(Unread {
        name: arn,
        may_allow: has(Effect::Allow).unwrap_or_else(|| may_allow(arn)),
        may_deny: has(Effect::Deny).unwrap_or_else(|| may_deny(arn)),
    });
}

/// Returns true if an inline policy of the role is not of the newer version.
fn has_older_policy(role: &ObservedRole) -> bool {
    let mut documents = role.inline_policies.values().filter_map(ObservedDocument::parsed);
    documents.any(|document| document.canonical().version != NEWER)
}

fn permissions(
    before: &ObservedRole,
    after: &ObservedRole,
    known: &ManagedPolicies,
    budget: &Budget,
    found: &mut Widening,
) {
    let has_older = has_older_policy(before) || has_older_policy(after);
    let (outer, mut inner) = (
        all_policies(before, known, has_older),
        all_policies(after, known, has_older),
    );
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
    let compared = inclusion_of(&outer, &inner, Attached::AsPermissions, budget);
    found.extend(compared.excess, compared.count, named, Part::InlinePolicy);
}

fn boundary(
    before: &ObservedRole,
    after: &ObservedRole,
    known: &ManagedPolicies,
    budget: &Budget,
    found: &mut Widening,
) {
    let Some(old) = &before.permissions_boundary else {
        return;
    };
    let part = Part::PermissionsBoundary;
    let Some(new) = &after.permissions_boundary else {
        return found.add(Atom::of(part, None, format!("{old} is removed")));
    };
    if is_same_policy(old, new) {
        return;
    }
    if known.get(old).is_none() || known.get(new).is_none() {
        let why = format!("{new} instead of {old}, and their documents are not known");
        return found.add(Atom::of(part, None, why));
    }
    let (mut outer, mut inner) = (none(), none());
    outer.called = "the present boundary";
    add_managed(&mut outer, old, known, false);
    add_managed(&mut inner, new, known, false);
    let compared = inclusion_of(&outer, &inner, Attached::AsPermissions, budget);
    found.extend(compared.excess, compared.count, |_| (part, None), part);
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

/// Returns true if the change removes a policy that denies nothing: that narrows a role, however much work it is to compare its policies.
pub(super) fn only_removes(before: &ObservedRole, change: &Change, known: &ManagedPolicies) -> bool {
    match change {
        Change::DetachPolicy(arn) => known.get(arn).map_or_else(
            || !may_deny(arn),
            |document| !document.canonical().has(Effect::Deny),
        ),
        Change::DeleteInlinePolicy(name) => {
            let document = before.inline_policies.get(name);
            let document = document.and_then(ObservedDocument::parsed);
            document.is_some_and(|document| !document.canonical().has(Effect::Deny))
        }
        _ => false,
    }
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
