//! Implements `rolectl get orphans`.

use kube::ResourceExt as _;

use rolectl_crds::{AwsAccount, IamRole, Reason};

use crate::objects::{ORPHANED, RoleRow, rows};
use crate::output::counted;
use crate::values::is_dns;

/// Returns the roles of the account that outlive their object or their permission, as the statuses of the account and of the
/// `IamRole`s name them. Also returns a note for each kind of role of which the status counts more than it names.
pub(super) fn outliving(account: &AwsAccount, roles: &[IamRole]) -> (Vec<RoleRow>, Vec<String>) {
    let name = account.name_any();
    let status = account.status.clone().unwrap_or_default();
    let mut missing = vec![];
    if status.roles.is_none() {
        missing.push(format!(
            "AwsAccount {name}: not swept yet, so its roles are unknown. `rolectl status` shows why."
        ));
    }
    let counts = status.roles.unwrap_or_default();
    let orphans = status.orphans.iter().filter_map(|owner| {
        // `cluster/namespace/name`
        let (_, object) = owner.split_once('/')?;
        let (namespace, role) = object.split_once('/')?;
        // The owner tag is written in AWS. Scripts pass these names on.
        if !is_dns(namespace, 63, "-") || !is_dns(role, 253, "-.") {
            return None;
        }
        Some(RoleRow {
            namespace: namespace.to_owned(),
            name: role.to_owned(),
            account: Some(name.clone()),
            account_id: Some(account.spec.account_id.clone()),
            state: Some(ORPHANED),
            arn: None,
            changes: vec![],
            message: Some(format!(
                "no IamRole {object}: apply it again to manage the role, or delete the role in AWS"
            )),
            approval: None,
        })
    });
    let orphans: Vec<RoleRow> = orphans.collect();
    let is_refused = |row: &RoleRow| {
        let refused = [Reason::GuardrailViolated, Reason::NamespaceNotAllowed];
        // Without an ARN the account has no such role.
        row.account.as_ref() == Some(&name)
            && row.arn.is_some()
            && row.state.is_some_and(|state| refused.contains(&state))
    };
    let violating: Vec<RoleRow> = roles.iter().flat_map(rows).filter(is_refused).collect();
    for (all, named, what) in [
        (counts.orphaned, orphans.len(), "without an IamRole"),
        (
            counts.violating,
            violating.len(),
            "against a guardrail or allowedNamespaces",
        ),
    ] {
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        if all > named {
            missing.push(format!(
                "AwsAccount {name}: its status counts {} {what}, of which {named} can be named here.",
                counted(all, "role")
            ));
        }
    }
    let mut found = orphans;
    found.extend(violating);
    found.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    (found, missing)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_note_reports_roles_that_are_counted_and_not_named() {
        let account = |orphaned: u32, violating: u32| -> AwsAccount {
            serde_json::from_value(json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
                "metadata": {"name": "prod"}, "spec": {"accountId": "222222222222"},
                "status": {"orphans": ["cluster/team/b", "cluster/team/a", "damaged"], "roles": {"managed": 30, "unmanaged": 0,
                    "drifted": 0, "orphaned": orphaned, "violating": violating}}}))
            .unwrap()
        };
        let role: IamRole = serde_json::from_value(json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {"name": "app", "namespace": "team"}, "spec": {"accounts": {}},
            "status": {"accounts": [
                {"name": "prod", "state": "GuardrailViolated", "arn": "arn:aws:iam::222222222222:role/app"},
                {"name": "dev", "state": "GuardrailViolated", "arn": "arn:aws:iam::333333333333:role/app"}]}}))
        .unwrap();
        let mut without = role.clone();
        if let Some(status) = &mut without.status {
            status.accounts.iter_mut().for_each(|entry| entry.arn = None);
        }
        let found = |role: &IamRole, account: &AwsAccount| {
            let (lines, missing) = outliving(account, std::slice::from_ref(role));
            let names: Vec<String> = lines.into_iter().map(|line| line.name).collect();
            (names.join(" "), missing)
        };
        let mut unswept = account(0, 0);
        unswept.status = None;
        let (_, missing) = found(&without, &unswept);
        assert_eq!(
            missing,
            ["AwsAccount prod: not swept yet, so its roles are unknown. `rolectl status` shows why."]
        );
        let nothing_missing = (String::from("a app b"), vec![]);
        assert_eq!(found(&role, &account(2, 1)), nothing_missing);
        let (names, missing) = found(&without, &account(27, 1));
        assert_eq!(names, "a b", "without an ARN there is no role");
        assert_eq!(
            missing,
            [
                "AwsAccount prod: its status counts 27 roles without an IamRole, of which 2 can be named here.",
                "AwsAccount prod: its status counts 1 role against a guardrail or allowedNamespaces, of which 0 can be named here."
            ]
        );
    }
}
