//! Which plans only take access away. They go before all other changes in an account.

use super::access::Access;
use super::change::{Change, Identity};
use super::observed::ObservedRole;

/// Returns true if the role grants nothing after these changes that it did not grant before, and its boundary is not widened.
/// An over-approximation: what cannot be shown to be narrower is not narrower.
pub fn only_narrows(before: Option<&ObservedRole>, changes: &[Change]) -> bool {
    let Some(before) = before else {
        return false;
    };
    let made = |role: Option<ObservedRole>, change: &Change| change.after(role, None::<Identity>);
    let after = changes.iter().fold(Some(before.clone()), made);
    let Some(after) = after else {
        return true;
    };
    let boundary = before.permissions_boundary.as_ref();
    let is_as_bounded = boundary.is_none() || boundary == after.permissions_boundary.as_ref();
    let (old, new) = (Access::of(Some(before)), Access::of(Some(&after)));
    is_as_bounded && new.is_covered(&old, &old)
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
