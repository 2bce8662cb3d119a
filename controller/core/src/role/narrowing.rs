//! Which plans only take access away. They go before all other changes in an account.

use std::collections::BTreeSet;

use super::access::Access;
use super::change::Change;
use super::observed::ObservedRole;
use super::order::simulate;

/// Returns true if the role grants nothing after these changes that it did not grant before, and its boundary is not widened.
/// An over-approximation: what cannot be shown to be narrower is not narrower.
pub fn only_narrows(before: Option<&ObservedRole>, changes: &[Change]) -> bool {
    let Some(before) = before else {
        return false;
    };
    let after = changes.iter().fold(Some(before.clone()), simulate);
    let Some(after) = after else {
        return true;
    };
    let boundary = before.permissions_boundary.as_ref();
    let is_as_bounded = boundary.is_none() || boundary == after.permissions_boundary.as_ref();
    let (old, new) = (Access::of(Some(before)), Access::of(Some(&after)));
    is_as_bounded && new.is_covered(&old, &old)
}

/// Returns which changes of a plan can be made at once while the others wait, by index: those that take access away and nothing that
/// the role has both before and after the plan. The role stays usable for as long as the others wait.
///
/// A removal waits for an addition that may replace it. The documents of managed policies are not compared, so each may replace another.
pub fn made_at_once(before: &ObservedRole, changes: &[Change]) -> BTreeSet<usize> {
    let Some(goal) = changes.iter().fold(Some(before.clone()), simulate) else {
        // Nothing is left of the role.
        return (0..changes.len()).collect();
    };
    let (old, new) = (Access::of(Some(before)), Access::of(Some(&goal)));
    let mut chosen = BTreeSet::new();
    let mut role = before.clone();
    for (index, change) in changes.iter().enumerate() {
        let Some(next) = simulate(Some(role.clone()), change) else {
            continue;
        };
        let now = Access::of(Some(&next));
        let boundary = &next.permissions_boundary;
        let is_narrower = concerns_access(change)
            && (before.permissions_boundary.is_none() || *boundary == before.permissions_boundary)
            && (*boundary == before.permissions_boundary || *boundary == goal.permissions_boundary)
            && now.is_covered(&old, &old)
            && now.keeps_what_both_grant(&old, &new);
        if is_narrower {
            chosen.insert(index);
            role = next;
        }
    }
    chosen
}

/// Returns true if the change takes access away or gives it. A tag can be compared by the policies of others, so it is none of these.
const fn concerns_access(change: &Change) -> bool {
    matches!(
        change,
        Change::UpdateTrustPolicy(..)
            | Change::AttachPolicy(_)
            | Change::DetachPolicy(_)
            | Change::PutInlinePolicy(..)
            | Change::DeleteInlinePolicy(_)
            | Change::PutBoundary(_)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{observed, spec, wanted};
    use crate::role::{PlanContext, plan};

    /// The plan from one spec to another, as JSON merge patches of the fixture.
    fn narrows(from: serde_json::Value, to: serde_json::Value) -> bool {
        let with = |patch: serde_json::Value| {
            let mut value = serde_json::to_value(spec()).unwrap();
            // Trust alone grants nothing.
            value["managedPolicies"] = json!(["ReadOnlyAccess"]);
            for (key, change) in patch.as_object().unwrap() {
                value[key] = change.clone();
            }
            wanted(&serde_json::from_value(value).unwrap())
        };
        let before = observed(&with(from));
        let plan = plan(&with(to), Some(&before), &PlanContext::default()).unwrap();
        assert!(!plan.is_empty());
        only_narrows(Some(&before), &plan.changes)
    }

    fn trust(principals: &[&str]) -> serde_json::Value {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": {"AWS": principals}}]})
    }

    /// The changes of a plan from one spec to another that are made at once, and those that wait.
    fn parts(from: serde_json::Value, to: serde_json::Value) -> (Vec<String>, Vec<String>) {
        let with = |patch: serde_json::Value| {
            let mut value = serde_json::to_value(spec()).unwrap();
            for (key, change) in patch.as_object().unwrap() {
                value[key] = change.clone();
            }
            wanted(&serde_json::from_value(value).unwrap())
        };
        let before = observed(&with(from));
        let changes = plan(&with(to), Some(&before), &PlanContext::default())
            .unwrap()
            .changes;
        let chosen = made_at_once(&before, &changes);
        let shown = |at_once: bool| {
            let part = changes
                .iter()
                .enumerate()
                .filter(|(index, _)| chosen.contains(index) == at_once);
            part.map(|(_, change)| change.to_string()).collect()
        };
        (shown(true), shown(false))
    }

    fn inline(actions: &[&str]) -> serde_json::Value {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})
    }

    #[test]
    fn a_removal_is_made_at_once_unless_something_that_waits_may_replace_it() {
        let (one, two) = (
            "arn:aws:iam::111111111111:role/a",
            "arn:aws:iam::111111111111:role/b",
        );
        let boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess";
        for (from, to, at_once, waits) in [
            (
                json!({"managedPolicies": ["ReadOnlyAccess", "AdministratorAccess"]}),
                json!({"managedPolicies": ["ReadOnlyAccess"]}),
                1,
                0,
            ),
            (
                json!({"managedPolicies": ["AdministratorAccess"]}),
                json!({"managedPolicies": ["ReadOnlyAccess"]}),
                0,
                2,
            ),
            (
                json!({"managedPolicies": ["ReadOnlyAccess"], "assumeRolePolicy": trust(&[one, two])}),
                json!({"managedPolicies": ["ReadOnlyAccess", "AdministratorAccess"], "assumeRolePolicy": trust(&[one])}),
                1,
                1,
            ),
            (
                json!({"managedPolicies": ["ReadOnlyAccess"], "assumeRolePolicy": trust(&[one])}),
                json!({"managedPolicies": ["ReadOnlyAccess"], "assumeRolePolicy": trust(&[two])}),
                0,
                1,
            ),
            (
                json!({"inlinePolicies": {"x": inline(&["s3:GetObject", "s3:PutObject"])}}),
                json!({"inlinePolicies": {"y": inline(&["s3:GetObject"])}}),
                2,
                0,
            ),
            (
                json!({"inlinePolicies": {"x": inline(&["s3:GetObject", "s3:PutObject"])}}),
                json!({"inlinePolicies": {"x": inline(&["s3:GetObject"])}, "tags": {"team": "a"}}),
                1,
                1,
            ),
            (
                json!({"inlinePolicies": {"x": inline(&["s3:GetObject"]), "z": inline(&["sqs:SendMessage"])}}),
                json!({"inlinePolicies": {"x": inline(&["s3:GetObject"]), "y": inline(&["ec2:RunInstances"])}}),
                1,
                1,
            ),
            (
                json!({"inlinePolicies": {"z": inline(&["sqs:*"])}}),
                json!({"inlinePolicies": {"y": inline(&["sqs:SendMessage", "s3:GetObject"])}}),
                0,
                2,
            ),
            (json!({}), json!({"permissionsBoundary": boundary}), 1, 0),
            (
                json!({}),
                json!({"tags": {"team": "a"}, "description": "b"}),
                0,
                2,
            ),
            (
                json!({"managedPolicies": ["ReadOnlyAccess"]}),
                json!({"ensure": "Absent"}),
                2,
                0,
            ),
        ] {
            let (chosen, others) = parts(from.clone(), to.clone());
            assert_eq!(
                (chosen.len(), others.len()),
                (at_once, waits),
                "{from} {to}: {chosen:?} {others:?}"
            );
        }
    }

    #[test]
    fn a_plan_that_only_takes_access_away_narrows() {
        let (one, two) = (
            "arn:aws:iam::111111111111:role/a",
            "arn:aws:iam::111111111111:role/b",
        );
        for (from, to, expected) in [
            (
                json!({"assumeRolePolicy": trust(&[one, two])}),
                json!({"assumeRolePolicy": trust(&[one])}),
                true,
            ),
            (
                json!({"assumeRolePolicy": trust(&[one])}),
                json!({"assumeRolePolicy": trust(&[one, two])}),
                false,
            ),
            (
                json!({"assumeRolePolicy": trust(&[one])}),
                json!({"assumeRolePolicy": trust(&[two])}),
                false,
            ),
            (
                json!({"managedPolicies": ["ReadOnlyAccess", "AdministratorAccess"]}),
                json!({"managedPolicies": ["ReadOnlyAccess"]}),
                true,
            ),
            (
                json!({"managedPolicies": ["ReadOnlyAccess"]}),
                json!({"managedPolicies": ["AdministratorAccess"]}),
                false,
            ),
            (
                json!({}),
                json!({"permissionsBoundary": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
                true,
            ),
            (
                json!({"permissionsBoundary": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
                json!({"permissionsBoundary": "arn:aws:iam::aws:policy/PowerUserAccess"}),
                false,
            ),
            (json!({}), json!({"ensure": "Absent"}), true),
            (json!({}), json!({"tags": {"team": "platform"}}), true),
        ] {
            assert_eq!(narrows(from.clone(), to.clone()), expected, "{from} {to}");
        }
        assert!(
            !only_narrows(None, &[]),
            "a role that is made grants something new"
        );
    }
}
