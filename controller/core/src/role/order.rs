//! The order in which the changes to a role are made.
//!
//! The invariant: after every prefix of a plan, each pair of a caller who may assume the role and a permission of the role is granted
//! by the role before the plan, or by the role after it. So a principal that is removed never gets a new permission, a principal that
//! is added never gets an old one, and no Deny is missing while what it denies is allowed. If a call fails, the calls after it are
//! not made, and the role stays in such a state.
//!
//! The order does not use the documents of managed policies. Each counts as one that only allows, except for the AWS managed policies that only
//! deny. Customer managed policies may deny, too, so they are attached before and detached after AWS managed policies. Boundaries are not read
//! either: the boundary in the spec is put first, and counts as no wider than the one before it. If two policies each allow what the
//! other denies, or the new trust policy has no caller in common with the old one, no order of the changes has the invariant. The
//! role then trusts nobody until the changes are made.

use std::collections::VecDeque;

use rolectl_crds::Quotas;

use super::access::{Access, closed, common, is_only_deny, may_deny, narrows};
use super::change::{Change, DocumentDiff, Identity};
use super::managed_policy::{is_aws_owned, only_denies};
use super::observed::{ObservedDocument, ObservedRole};
use super::quotas::limit;
use crate::policy::Document;

/// The ownership of a role before its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The role is managed, or does not exist. Its users are not interrupted if that can be avoided, so policies are attached before
    /// others are detached.
    Ours,
    /// The role is taken over. Unlisted policies are removed before others are added, and the trust policy is widened last.
    Adopted,
}

/// The phases of a plan, in their order: changes that narrow come first, changes that widen come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    First,
    Boundary,
    Narrow,
    RemoveFirst,
    NarrowAdopted,
    Deny,
    Add,
    Remove,
    RemoveDeny,
    Widen,
    Last,
}

/// Returns the changes in an order that has the invariant of this module. `None` if there is no such order. The changes must not be
/// made then.
pub fn arrange(
    changes: Vec<Change>,
    observed: Option<&ObservedRole>,
    claim: Claim,
    quotas: Option<&Quotas>,
) -> Option<Vec<Change>> {
    // A single call has no state between the old and the new one.
    if changes.len() < 2 {
        return Some(changes);
    }
    let order = Order::new(changes, observed, claim, quotas);
    order
        .run(order.steps.clone(), Phases::Strict)
        .or_else(|| order.through_common_trust())
        .or_else(|| order.freely())
        .or_else(|| order.while_closed())
}

/// Returns the remaining changes after AWS refused one for a quota, with those first that make room for it.
///
/// `None` if that does not help or may not be enough, because a policy must not be deleted for a successor that AWS refuses, too. AWS
/// accepted the current role, so it accepts one that is not larger.
pub fn with_room_first(
    refused: &Change,
    remaining: &VecDeque<Change>,
    role: &ObservedRole,
) -> Option<Vec<Change>> {
    let makes_room = |change: &&Change| match (refused, change) {
        (Change::AttachPolicy(_), Change::DetachPolicy(_)) | (Change::Tag(_), Change::Untag(_)) => true,
        (Change::PutInlinePolicy(..), Change::DeleteInlinePolicy(name)) => {
            !role.inline_policies.get(name).is_some_and(may_deny)
        }
        _ => false,
    };
    let (first, others): (Vec<&Change>, Vec<&Change>) = remaining.iter().partition(makes_room);
    if first.is_empty() {
        return None;
    }
    let order: Vec<Change> = first.into_iter().chain([refused]).cloned().collect();
    let after = order.iter().fold(Some(role.clone()), simulate)?;
    let is_no_larger = after.managed_policies.len() <= role.managed_policies.len()
        && after.inline_size() <= role.inline_size()
        && after.tags.len() <= role.tags.len();
    is_no_larger.then(|| order.into_iter().chain(others.into_iter().cloned()).collect())
}

/// How strictly an order follows the phases.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phases {
    /// The trust policy is widened only after all policies are in place.
    Strict,
    /// The trust policy may change as soon as that keeps the invariant, and an inline policy may be deleted before its successor is
    /// put.
    Free,
}

type Step = (Phase, Change);

struct Order<'a> {
    observed: Option<&'a ObservedRole>,
    /// The role after all changes.
    goal: Option<ObservedRole>,
    claim: Claim,
    /// The changes, sorted by phase. Within a phase they have the order of the lists in the spec.
    steps: Vec<Step>,
    /// `AttachedPoliciesPerRoleQuota`.
    attached: usize,
    /// `RolePolicySizeQuota`, in characters.
    inline: usize,
    /// `AssumeRolePolicySizeQuota`, in characters.
    trust: usize,
}

impl<'a> Order<'a> {
    fn new(
        changes: Vec<Change>,
        observed: Option<&'a ObservedRole>,
        claim: Claim,
        quotas: Option<&Quotas>,
    ) -> Self {
        let limit = |quota: Option<u32>| quota.map_or(usize::MAX, limit);
        let goal = changes.iter().fold(observed.cloned(), simulate);
        let steps = changes
            .into_iter()
            .map(|change| (phase(&change, observed, claim), change));
        let mut steps: Vec<Step> = steps.collect();
        steps.sort_by_key(|(phase, _)| *phase);
        Self {
            observed,
            goal,
            claim,
            steps,
            attached: limit(quotas.map(|q| q.attached_policies_per_role)),
            inline: limit(quotas.map(|q| q.role_policy_size)),
            trust: limit(quotas.map(|q| q.assume_role_policy_size)),
        }
    }

    /// Returns an order of the steps: at each point the first step that keeps the invariant and fits the quotas. `None` if there is no
    /// such step.
    fn run(&self, mut waiting: Vec<Step>, phases: Phases) -> Option<Vec<Change>> {
        let (old, new) = (Access::of(self.observed), Access::of(self.goal.as_ref()));
        let covered = |role: &Option<ObservedRole>| Access::of(role.as_ref()).is_covered(&old, &new);
        let mut role = self.observed.cloned();
        let mut order = vec![];
        while !waiting.is_empty() {
            let in_place = waiting.iter().all(|(phase, _)| *phase >= Phase::Widen);
            let found = waiting.iter().enumerate().find_map(|(at, (phase, change))| {
                let opens = *phase == Phase::Widen && matches!(change, Change::UpdateTrustPolicy(..));
                if phases == Phases::Strict && opens && !in_place {
                    return None;
                }
                let after = simulate(role.clone(), change);
                let fits = self.fits(role.as_ref(), after.as_ref(), change);
                (fits && covered(&after)).then_some((at, after))
            });
            if let Some((at, after)) = found {
                order.push(waiting.remove(at).1);
                role = after;
                continue;
            }
            if phases == Phases::Strict {
                return None;
            }
            // The deletion of an inline policy makes room for its successor.
            let (delete, after) = waiting.iter().find_map(|(_, change)| {
                let Change::PutInlinePolicy(name, ..) = change else {
                    return None;
                };
                role.as_ref()
                    .filter(|role| role.inline_policies.contains_key(name))?;
                let delete = Change::DeleteInlinePolicy(name.clone());
                let after = simulate(role.clone(), &delete);
                covered(&after).then_some((delete, after))
            })?;
            order.push(delete);
            role = after;
        }
        Some(order)
    }

    /// Returns true if the change does not exceed a quota in this state of the role.
    fn fits(&self, before: Option<&ObservedRole>, after: Option<&ObservedRole>, change: &Change) -> bool {
        let (Some(before), Some(after)) = (before, after) else {
            return true;
        };
        match change {
            Change::AttachPolicy(_) => after.managed_policies.len() <= self.attached,
            Change::PutInlinePolicy(..) => after.inline_size() <= self.inline.max(before.inline_size()),
            _ => true,
        }
    }

    /// Returns an order in which the role first has a trust policy with the common part of the old and the new one, and the new one at
    /// the end.
    fn through_common_trust(&self) -> Option<Vec<Change>> {
        let wanted = self.steps.iter().find_map(|(_, change)| match change {
            Change::UpdateTrustPolicy(document, _) => Some(document),
            _ => None,
        })?;
        let interim = common(&self.observed?.trust, wanted)?;
        self.through(interim)
    }

    /// Returns an order in which the trust policy may change before all policies are in place. Not for a role that is taken over.
    fn freely(&self) -> Option<Vec<Change>> {
        if self.claim == Claim::Adopted {
            return None;
        }
        self.run(self.steps.clone(), Phases::Free)
    }

    /// Returns an order in which the role trusts nobody until all policies are in place.
    fn while_closed(&self) -> Option<Vec<Change>> {
        let closed = closed()?;
        if self.observed.is_some() {
            return self.through(closed);
        }
        let wanted = self.goal.as_ref()?.trust.parsed()?.clone();
        let mut order: Vec<Step> = self.steps.clone();
        for (_, change) in &mut order {
            if let Change::CreateRole(desired) = change {
                desired.trust = Some(closed.clone());
            }
        }
        order.push((Phase::Widen, reopening(&closed, wanted)));
        order.sort_by_key(|(phase, _)| *phase);
        self.run_with_interim_trust(order)
    }

    /// Returns an order in which the role has `interim` as its trust policy until all policies are in place.
    fn through(&self, interim: Document) -> Option<Vec<Change>> {
        if interim.size() > self.trust {
            return None;
        }
        let wanted = self.goal.as_ref()?.trust.parsed()?.clone();
        let phase = match self.claim {
            Claim::Ours => Phase::Narrow,
            Claim::Adopted => Phase::NarrowAdopted,
        };
        let others = |(_, change): &&Step| !matches!(change, Change::UpdateTrustPolicy(..));
        let mut steps: Vec<Step> = self.steps.iter().filter(others).cloned().collect();
        let diff = DocumentDiff::between(&self.observed?.trust, &interim);
        steps.push((Phase::Widen, reopening(&interim, wanted)));
        steps.push((phase, Change::UpdateTrustPolicy(interim, diff)));
        steps.sort_by_key(|(phase, _)| *phase);
        self.run_with_interim_trust(steps)
    }

    /// Returns an order of steps that include an interim trust policy. An inline policy is deleted before its successor is put only if the
    /// quota has no room for both.
    fn run_with_interim_trust(&self, steps: Vec<Step>) -> Option<Vec<Change>> {
        self.run(steps.clone(), Phases::Strict)
            .or_else(|| self.run(steps, Phases::Free))
    }
}

fn reopening(interim: &Document, wanted: Document) -> Change {
    let diff = DocumentDiff::between(&ObservedDocument::Parsed(interim.clone()), &wanted);
    Change::UpdateTrustPolicy(wanted, diff)
}

fn phase(change: &Change, observed: Option<&ObservedRole>, claim: Claim) -> Phase {
    let adopted = claim == Claim::Adopted;
    match change {
        Change::CreateRole(_) | Change::Tag(_) => Phase::First,
        Change::PutBoundary(_) => Phase::Boundary,
        Change::UpdateTrustPolicy(document, _) => {
            let narrows = observed.is_some_and(|role| narrows(&role.trust, document));
            match (narrows, claim) {
                (true, Claim::Ours) => Phase::Narrow,
                (true, Claim::Adopted) => Phase::NarrowAdopted,
                (false, _) => Phase::Widen,
            }
        }
        Change::UpdateRole {
            max_session_duration, ..
        } => {
            let longer = observed.is_some_and(|role| *max_session_duration > role.max_session_duration);
            if longer { Phase::Widen } else { Phase::Narrow }
        }
        Change::PutInlinePolicy(_, document, _)
            if is_only_deny(&ObservedDocument::Parsed(document.clone())) =>
        {
            Phase::Deny
        }
        Change::AttachPolicy(arn) if only_denies(arn) => Phase::Deny,
        Change::AttachPolicy(_) | Change::PutInlinePolicy(..) => Phase::Add,
        Change::DetachPolicy(_) | Change::DeleteInlinePolicy(_) if adopted => Phase::RemoveFirst,
        Change::DetachPolicy(arn) if !is_aws_owned(arn) || only_denies(arn) => Phase::RemoveDeny,
        Change::DeleteInlinePolicy(name) => {
            let there = observed.and_then(|role| role.inline_policies.get(name));
            if there.is_some_and(may_deny) {
                Phase::RemoveDeny
            } else {
                Phase::Remove
            }
        }
        Change::DetachPolicy(_) => Phase::Remove,
        Change::DeleteBoundary
        | Change::Untag(_)
        | Change::AddInstanceProfile(..)
        | Change::RemoveInstanceProfile(..)
        | Change::ReleaseInstanceProfile(..)
        | Change::DeleteRole => Phase::Last,
    }
}

/// Returns the role after a change. One that is created has no ARN and no id yet.
pub fn simulate(role: Option<ObservedRole>, change: &Change) -> Option<ObservedRole> {
    let created = Identity {
        arn: String::new(),
        role_id: String::new(),
    };
    change.after(role, Some(created))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use rolectl_crds::{Adoption, Denies, OWNER_TAG, Reason};

    use super::super::desired::DesiredRole;
    use super::super::{PlanContext, plan};
    use super::*;
    use crate::fixtures::{observed as made, spec, wanted};

    /// A statement on principals or actions, which are numbers here.
    #[derive(Clone, Debug)]
    struct Line {
        deny: bool,
        on: BTreeSet<u8>,
        mfa: bool,
    }

    fn line(max: u8) -> impl Strategy<Value = Line> {
        let parts = (
            prop::bool::weighted(0.3),
            prop::collection::btree_set(0..max, 1..3),
            prop::bool::weighted(0.3),
        );
        parts.prop_map(|(deny, on, mfa)| Line { deny, on, mfa })
    }

    fn statements(lines: &[Line], element: impl Fn(&BTreeSet<u8>) -> (&'static str, Value)) -> Value {
        let statement = |line: &Line| {
            let (key, value) = element(&line.on);
            let mut statement = json!({"Effect": if line.deny { "Deny" } else { "Allow" }, key: value});
            if key == "Principal" {
                statement["Action"] = json!("sts:AssumeRole");
            } else {
                statement["Resource"] = json!("*");
            }
            if line.mfa {
                statement["Condition"] = json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}});
            }
            statement
        };
        json!({"Version": "2012-10-17", "Statement": lines.iter().map(statement).collect::<Vec<_>>()})
    }

    fn trust(lines: &[Line]) -> Value {
        let arn = |n: &u8| format!("arn:aws:iam::11111111111{n}:role/caller");
        statements(lines, |on| {
            (
                "Principal",
                json!({"AWS": on.iter().map(arn).collect::<Vec<_>>()}),
            )
        })
    }

    fn permissions(lines: &[Line]) -> Value {
        let action = |n: &u8| format!("s3:Action{n}");
        statements(lines, |on| {
            ("Action", json!(on.iter().map(action).collect::<Vec<_>>()))
        })
    }

    const PRINCIPALS: u8 = 3;
    const ACTIONS: u8 = 4;

    /// Returns what IAM allows, evaluated from the documents without the code in `access.rs`.
    fn grants(role: Option<&ObservedRole>) -> BTreeSet<(u8, bool, u8)> {
        let mut grants = BTreeSet::new();
        let Some(role) = role else { return grants };
        let matching = |document: &ObservedDocument, effect: &str, element: &str, name: &str, mfa: bool| {
            let document: Value = serde_json::from_str(document.parsed().unwrap().as_str()).unwrap();
            let statements = document["Statement"].as_array().cloned();
            statements
                .unwrap_or_else(|| vec![document["Statement"].clone()])
                .iter()
                .any(|s| {
                    let list = if element == "Principal" {
                        &s["Principal"]["AWS"]
                    } else {
                        &s[element]
                    };
                    let named = list == name
                        || s[element] == "*"
                        || list
                            .as_array()
                            .is_some_and(|list| list.iter().any(|entry| entry == name));
                    s["Effect"] == effect && named && (s.get("Condition").is_none() || mfa)
                })
        };
        for (principal, mfa, action) in (0..PRINCIPALS)
            .flat_map(|p| [false, true].map(|mfa| (p, mfa)))
            .flat_map(|(p, mfa)| (0..ACTIONS).map(move |a| (p, mfa, a)))
        {
            let arn = format!("arn:aws:iam::11111111111{principal}:role/caller");
            let may = |effect| matching(&role.trust, effect, "Principal", &arn, mfa);
            let name = format!("s3:Action{action}");
            let does = |effect| {
                role.inline_policies
                    .values()
                    .any(|d| matching(d, effect, "Action", &name, mfa))
            };
            let managed = |n: u8| {
                role.managed_policies
                    .iter()
                    .any(|arn| arn.ends_with(&format!("/M{n}")))
            };
            let denied = role
                .managed_policies
                .iter()
                .any(|arn| arn.ends_with("/AWSDenyAll"));
            let bounded = role.permissions_boundary.is_none() || action < 2;
            if may("Allow")
                && !may("Deny")
                && (does("Allow") || managed(action))
                && !does("Deny")
                && !denied
                && bounded
            {
                grants.insert((principal, mfa, action));
            }
        }
        grants
    }

    fn states(plan: &[Change], observed: Option<&ObservedRole>) -> Vec<Option<ObservedRole>> {
        let mut states = vec![observed.cloned()];
        for change in plan {
            states.push(simulate(states.last().unwrap().clone(), change));
        }
        states
    }

    type Half = (Vec<Line>, BTreeMap<String, Vec<Line>>, BTreeSet<String>, bool);

    fn half() -> impl Strategy<Value = Half> {
        (
            prop::collection::vec(line(PRINCIPALS), 1..3),
            prop::collection::btree_map("[a-c]", prop::collection::vec(line(ACTIONS), 1..3), 0..3),
            prop::collection::btree_set(prop::sample::select(vec!["M0", "M1", "M2", "AWSDenyAll"]), 0..3)
                .prop_map(|names| names.into_iter().map(str::to_owned).collect()),
            prop::bool::weighted(0.3),
        )
    }

    fn role(half: &Half) -> DesiredRole {
        let (principals, inline, managed, bounded) = half;
        let mut s = spec();
        s.assume_role_policy = Some(trust(principals).into());
        s.inline_policies = inline
            .iter()
            .map(|(name, lines)| (name.clone(), permissions(lines).into()))
            .collect();
        s.managed_policies = managed.iter().cloned().collect();
        s.permissions_boundary = bounded.then(|| "Bound".to_owned());
        s.adoption = Adoption::Always;
        s.exclusive.boundary = true;
        s.exclusive.denies = if *bounded { Denies::Keep } else { Denies::Remove };
        wanted(&s)
    }

    #[test]
    fn changes_without_a_safe_order_are_refused_with_a_message_what_to_do() {
        let policy = |allow, deny| {
            let line = |deny, on| Line {
                deny,
                on: BTreeSet::from([on]),
                mfa: false,
            };
            permissions(&[line(false, allow), line(true, deny)]).into()
        };
        let role = |account: &str, first: (u8, u8), second: (u8, u8)| {
            let mut s = spec();
            let principal = json!({"AWS": account});
            let statement = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal});
            s.assume_role_policy = Some(json!({"Statement": statement}).into());
            let inline = [("a", first), ("b", second)];
            s.inline_policies = inline
                .into_iter()
                .map(|(n, (a, d))| (n.to_owned(), policy(a, d)))
                .collect();
            wanted(&s)
        };
        let desired = role("111111111112", (1, 2), (2, 1));
        let observed = made(&role("111111111111", (0, 1), (1, 0)));
        // A quota without room for the trust policy that allows nobody. The smallest quota of AWS is 2048.
        let size = desired.trust.as_ref().unwrap().size();
        let planned = |assume_role_policy_size: usize| {
            let assume_role_policy_size = u32::try_from(assume_role_policy_size).unwrap();
            let quotas = Quotas {
                assume_role_policy_size,
                ..Quotas::default()
            };
            let known = PlanContext {
                quotas: Some(quotas),
                ..PlanContext::default()
            };
            plan(&desired, Some(&observed), &known)
        };
        assert!(size < closed().unwrap().size() && planned(2048).is_ok());
        let refusal = planned(size).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        assert!(refusal.message.contains("in two steps"), "{refusal}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn a_role_never_grants_what_neither_its_old_nor_its_new_state_grants(
            old in half(),
            new in half(),
            exists in prop::bool::weighted(0.9),
            ours in any::<bool>(),
            attached in prop::sample::select(vec![0, 3, 10]),
            tight in any::<bool>(),
        ) {
            let desired = role(&new);
            let mut observed = made(&role(&old));
            // The quota has room for the larger of the two states and no more.
            let wanted: usize = desired.inline_policies.values().map(Document::size).sum();
            let inline = u32::try_from(wanted.max(observed.inline_size())).unwrap();
            if !ours {
                observed.tags.remove(OWNER_TAG);
            }
            let observed = exists.then_some(observed);
            let role_policy_size = if tight { inline } else { 0 };
            let quotas = Quotas { attached_policies_per_role: attached, role_policy_size, ..Quotas::default() };
            let known = PlanContext { quotas: Some(quotas), ..PlanContext::default() };
            let plan = match plan(&desired, observed.as_ref(), &known) {
                // The quota has no room for the policies that stay on the role.
                Err(refusal) if tight && refusal.reason == Reason::QuotaExceeded => return Ok(()),
                plan => plan.unwrap(),
            };
            let states = states(&plan.changes, observed.as_ref());
            let most = states.iter().flatten().map(ObservedRole::inline_size).max().unwrap_or_default();
            prop_assert!(!tight || most <= wanted.max(usize::try_from(inline).unwrap()));
            let goal = states.last().unwrap().as_ref();
            let mut allowed = grants(observed.as_ref());
            allowed.extend(grants(goal));
            for (n, state) in states.iter().enumerate() {
                let more: Vec<_> = grants(state.as_ref()).difference(&allowed).copied().collect();
                let lines: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
                prop_assert!(more.is_empty(), "after {n} of {lines:?}: {more:?}");
            }
            let goal = goal.unwrap();
            prop_assert!(desired.trust.as_ref().is_some_and(|t| goal.trust.is(t)));
            prop_assert!(goal.managed_policies.is_superset(&desired.managed_policies));
        }

        #[test]
        fn a_narrower_trust_policy_allows_nobody_new(
            old in prop::collection::vec(line(PRINCIPALS), 1..4),
            new in prop::collection::vec(line(PRINCIPALS), 1..4),
        ) {
            let everything = BTreeMap::from([("a".to_owned(), vec![Line { deny: false, on: BTreeSet::from([0]), mfa: false }])]);
            let with = |lines: &Vec<Line>| made(&role(&(lines.clone(), everything.clone(), BTreeSet::new(), false)));
            let (old, new) = (with(&old), with(&new));
            let (before, after) = (grants(Some(&old)), grants(Some(&new)));
            if narrows(&old.trust, new.trust.parsed().unwrap()) {
                prop_assert!(after.is_subset(&before));
            }
            if let Some(common) = common(&old.trust, new.trust.parsed().unwrap()) {
                let shared = grants(Some(&ObservedRole { trust: ObservedDocument::Parsed(common), ..old }));
                prop_assert!(shared.is_subset(&before) && shared.is_subset(&after));
            }
        }
    }

    fn allow(on: &[u8]) -> Line {
        Line {
            deny: false,
            on: on.iter().copied().collect(),
            mfa: false,
        }
    }

    fn lines(new: &Half, old: &Half, ours: bool) -> Vec<String> {
        let mut observed = made(&role(old));
        if !ours {
            observed.tags.remove(OWNER_TAG);
        }
        let plan = plan(&role(new), Some(&observed), &PlanContext::default()).unwrap();
        let short = |c: &Change| {
            c.to_string()
                .replace(" managed policy arn:aws:iam::aws:policy/", "")
        };
        plan.changes.iter().map(short).collect()
    }

    fn with(trusted: &[u8], managed: &[&str]) -> Half {
        let managed = managed.iter().map(|name| (*name).to_owned()).collect();
        (vec![allow(trusted)], BTreeMap::new(), managed, false)
    }

    #[test]
    fn the_trust_policy_narrows_first_and_widens_last() {
        let (ours, adopted) = (true, false);
        let tag = "+ tags iam.rolectl.dev/adopted=true, iam.rolectl.dev/owner=c/ns/app";
        let narrowed = "~ trust policy";
        for (old, new, claim, order) in [
            (
                with(&[0, 1], &["M0"]),
                with(&[0], &["M1"]),
                ours,
                vec![narrowed, "+M1", "-M0"],
            ),
            (
                with(&[0], &["M0"]),
                with(&[0, 1], &["M1"]),
                ours,
                vec!["+M1", "-M0", "~ trust policy"],
            ),
            // A principal in both states keeps its access. A removed one gets nothing new, an added one nothing old.
            (
                with(&[0, 1], &["M0"]),
                with(&[0, 2], &["M1"]),
                ours,
                vec!["~ trust policy", "+M1", "-M0", "~ trust policy"],
            ),
            (
                with(&[0], &["M0"]),
                with(&[1], &["M1"]),
                ours,
                vec!["-M0", "~ trust policy", "+M1"],
            ),
            (
                with(&[0], &["M0"]),
                with(&[0], &["M1"]),
                adopted,
                vec![tag, "-M0", "+M1"],
            ),
            (
                with(&[0], &["M0"]),
                with(&[1], &[]),
                adopted,
                vec![tag, "-M0", "~ trust policy"],
            ),
            (
                with(&[0], &["M0"]),
                with(&[0, 1], &["M1"]),
                adopted,
                vec![tag, "-M0", "+M1", "~ trust policy"],
            ),
            (
                with(&[0], &["M0"]),
                with(&[1], &["M1"]),
                adopted,
                vec![tag, "-M0", "~ trust policy", "+M1", "~ trust policy"],
            ),
        ] {
            assert_eq!(lines(&new, &old, claim), order, "{old:?} {new:?}");
        }
    }

    #[test]
    fn a_deny_is_put_before_and_removed_after_what_it_restricts() {
        let deny = Line {
            deny: true,
            ..allow(&[3])
        };
        let guarded = |managed: &str| {
            let mut role = with(&[0], &[managed]);
            role.1.insert("guard".to_owned(), vec![deny.clone()]);
            role
        };
        assert_eq!(
            lines(&guarded("M3"), &with(&[0], &["M0"]), true),
            ["+ inline policy guard", "+M3", "-M0"]
        );
        assert_eq!(
            lines(&with(&[0], &["M0"]), &guarded("M3"), true),
            ["+M0", "-M3", "- inline policy guard"]
        );
        let new = plan(&role(&guarded("M3")), None, &PlanContext::default()).unwrap();
        let calls: Vec<&str> = new.changes.iter().map(Change::operation).collect();
        assert_eq!(calls, ["CreateRole", "PutRolePolicy", "AttachRolePolicy"]);
    }

    #[test]
    fn a_policy_is_not_deleted_for_a_successor_that_may_exceed_the_quota() {
        let document = |size: usize| {
            let text =
                json!({"Statement": {"Effect": "Allow", "Action": "s3:Get", "Resource": "x".repeat(size)}});
            Document::from_value(&text).unwrap()
        };
        let mut role = made(&role(&with(&[0], &[])));
        role.inline_policies
            .insert("old".to_owned(), ObservedDocument::Parsed(document(100)));
        let left = VecDeque::from([Change::DeleteInlinePolicy("old".to_owned())]);
        for (size, helps) in [(99, true), (100, true), (101, false)] {
            let put = Change::PutInlinePolicy("new".to_owned(), document(size), DocumentDiff::New);
            let order = with_room_first(&put, &left, &role);
            assert_eq!(order.is_some(), helps, "{size}: {order:?}");
        }
        let tag = Change::Tag(BTreeMap::new());
        assert_eq!(with_room_first(&tag, &left, &role), None);
    }
}
