//! The role as AWS has it, and how it differs from the role that is wanted.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::Client;
use aws_sdk_iam::types::Role;

use rolectl_aws::error::{AwsFailure, Class};
use rolectl_core::policy::{Document, PolicyError};
use rolectl_core::role::managed_policy::is_same_policy;
use rolectl_core::role::order::{Claim, arrange};
use rolectl_core::role::{Change, DocumentDiff, ObservedDocument, ObservedRole};
use rolectl_crds::OWNER_TAG;
use serde_json::Value;

use super::documents::{ANY_ACCOUNT, DESCRIPTION, MAX_SESSION, POLICY, Wanted};
use crate::failure::Failure;
use crate::output::printable;

/// Reads the role with all its policies. `None` if there is no such role.
pub async fn read(iam: &Client, name: &str) -> Result<Option<ObservedRole>, AwsFailure> {
    let answer = iam.get_role().role_name(name).send().await;
    let role = match answer.map_err(|e| AwsFailure::new("GetRole", &e)) {
        Ok(answer) => answer.role,
        Err(failure) if failure.class == Class::Vanished => None,
        Err(failure) => return Err(failure),
    };
    let Some(role) = role else {
        return Ok(None);
    };
    let mut inline_policies = BTreeMap::new();
    let mut pages = iam.list_role_policies().role_name(name).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| AwsFailure::new("ListRolePolicies", &e))?;
        for policy in page.policy_names {
            let answer = iam.get_role_policy().role_name(name).policy_name(&policy).send();
            let answer = answer.await.map_err(|e| AwsFailure::new("GetRolePolicy", &e))?;
            inline_policies.insert(policy, ObservedDocument::read(&answer.policy_document));
        }
    }
    let mut managed_policies = BTreeSet::new();
    let mut pages = iam
        .list_attached_role_policies()
        .role_name(name)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| AwsFailure::new("ListAttachedRolePolicies", &e))?;
        let attached = page.attached_policies.into_iter().flatten();
        managed_policies.extend(attached.filter_map(|policy| policy.policy_arn));
    }
    Ok(Some(observed(role, inline_policies, managed_policies)))
}

fn observed(
    role: Role,
    inline_policies: BTreeMap<String, ObservedDocument>,
    managed_policies: BTreeSet<String>,
) -> ObservedRole {
    let trust = role.assume_role_policy_document.unwrap_or_default();
    let tags = role.tags.into_iter().flatten();
    ObservedRole {
        name: role.role_name,
        arn: role.arn,
        role_id: role.role_id,
        path: role.path,
        description: role.description.unwrap_or_default(),
        max_session_duration: role.max_session_duration.unwrap_or(MAX_SESSION),
        trust: ObservedDocument::read(&trust),
        managed_policies,
        inline_policies,
        permissions_boundary: role
            .permissions_boundary
            .and_then(|boundary| boundary.permissions_boundary_arn),
        tags: tags.map(|tag| (tag.key, tag.value)).collect(),
        instance_profiles: BTreeSet::new(),
    }
}

/// How the role in AWS differs from the wanted one.
#[derive(Debug)]
pub struct Difference {
    /// What `--update` changes, as people read it.
    pub changes: Vec<Change>,
    /// What the role has in addition. It stays.
    pub additional: Vec<String>,
}

impl Difference {
    pub const fn is_none(&self) -> bool {
        self.changes.is_empty() && self.additional.is_empty()
    }

    /// Returns true if the trust policy is to be replaced.
    pub fn replaces_trust(&self) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|change| matches!(change, Change::UpdateTrustPolicy(..)))
    }
}

/// Returns an error if the role is not one that this command made: it would take a role from its owner, or cannot change it.
pub fn check_ownership(wanted: &Wanted, there: &ObservedRole, account: &str) -> Result<(), Failure> {
    let name = printable(&there.name);
    let choose = "choose another --role-name";
    if let Some(owner) = there.tags.get(OWNER_TAG) {
        return Err(Failure::new(
            format!(
                "role {name} in account {account} is managed by IamRole {}",
                printable(owner)
            ),
            choose,
        ));
    }
    if there.name != wanted.role_name {
        return Err(Failure::new(
            format!(
                "account {account} has role {name}, and IAM takes {} for the same name",
                wanted.role_name
            ),
            format!("give --role-name {name}, or another name"),
        ));
    }
    if !there.inline_policies.contains_key(POLICY) && there.description != DESCRIPTION {
        return Err(Failure::new(
            format!(
                "role {name} in account {account} is not one that bootstrap has made: it has neither the inline policy {POLICY} nor the description {DESCRIPTION:?}"
            ),
            choose,
        ));
    }
    if there.path != "/" {
        return Err(Failure::new(
            format!(
                "role {name} in account {account} exists at path {}: it would be made at /, and IAM cannot move a role",
                printable(&there.path)
            ),
            choose,
        ));
    }
    Ok(())
}

/// Returns an error if a new trust policy would give the main account more than bootstrap's own permissions.
pub fn check_takeover(difference: &Difference, there: &ObservedRole, account: &str) -> Result<(), Failure> {
    let is_more =
        !there.managed_policies.is_empty() || there.inline_policies.keys().any(|name| name != POLICY);
    if difference.replaces_trust() && is_more {
        return Err(Failure::new(
            format!(
                "role {} in account {account} has other policies: with the new trust policy the main account would get what they allow. Nothing was changed",
                printable(&there.name)
            ),
            "remove these policies manually, or choose another --role-name",
        ));
    }
    Ok(())
}

/// Returns how the role differs from the wanted one in this account.
pub fn difference(wanted: &Wanted, account: &str, there: &ObservedRole) -> Result<Difference, Failure> {
    let mut changes = vec![];
    // A boundary that somebody else has put may be narrower, so that it is never replaced.
    if let (Some(boundary), None) = (&wanted.boundary, &there.permissions_boundary) {
        changes.push(Change::PutBoundary(boundary.clone()));
    }
    let trust = document(&wanted.trust())?;
    if !there.trust.is(&trust) {
        let diff = DocumentDiff::between(&there.trust, &trust);
        changes.push(Change::UpdateTrustPolicy(trust, diff));
    }
    changes.extend(permissions_change(wanted, account, there)?);
    changes.extend(settings_change(there));
    let mut additional: Vec<String> = vec![];
    let inline = there.inline_policies.keys().filter(|name| *name != POLICY);
    additional.extend(inline.map(|name| format!("inline policy {name}")));
    additional.extend(
        there
            .managed_policies
            .iter()
            .map(|arn| format!("managed policy {arn}")),
    );
    if let Some(arn) = &there.permissions_boundary {
        match &wanted.boundary {
            Some(boundary) if is_same_policy(arn, boundary) => {}
            Some(boundary) => additional.push(format!("permissions boundary {arn}, in place of {boundary},")),
            None => additional.push(format!("permissions boundary {arn}")),
        }
    }
    Ok(Difference { changes, additional })
}

/// Returns the change of the inline policy. The printed forms are for every account, so their permissions are right, too.
fn permissions_change(
    wanted: &Wanted,
    account: &str,
    there: &ObservedRole,
) -> Result<Option<Change>, Failure> {
    let own = document(&wanted.permissions(account))?;
    let of_forms = document(&wanted.permissions(ANY_ACCOUNT))?;
    let Some(current) = there.inline_policies.get(POLICY) else {
        let change = Change::PutInlinePolicy(POLICY.to_owned(), own, DocumentDiff::New);
        return Ok(Some(change));
    };
    if current.is(&own) || current.is(&of_forms) {
        return Ok(None);
    }
    // A policy of a printed form of an earlier version differs least from that form.
    let lines = |to: &Document| {
        current
            .parsed()
            .map(|from| from.canonical().diff(to.canonical()).len())
    };
    let to = if lines(&of_forms) < lines(&own) {
        of_forms
    } else {
        own
    };
    let diff = DocumentDiff::between(current, &to);
    Ok(Some(Change::PutInlinePolicy(POLICY.to_owned(), to, diff)))
}

/// Returns the change of description and session duration, which one call makes.
fn settings_change(there: &ObservedRole) -> Option<Change> {
    let mut what = vec![];
    if there.description != DESCRIPTION {
        what.push(format!("description {:?} -> {DESCRIPTION:?}", there.description));
    }
    if there.max_session_duration != MAX_SESSION {
        what.push(format!(
            "max session duration {}s -> {MAX_SESSION}s",
            there.max_session_duration
        ));
    }
    (!what.is_empty()).then(|| Change::UpdateRole {
        description: DESCRIPTION.to_owned(),
        max_session_duration: MAX_SESSION,
        what: what.join(", "),
    })
}

/// Returns the changes in an order in which nobody has a permission, at any moment, that the role grants neither before nor after.
pub fn in_safe_order(changes: Vec<Change>, there: &ObservedRole) -> Result<Vec<Change>, Failure> {
    arrange(changes, Some(there), Claim::Ours, None).ok_or_else(|| {
        Failure::new(
            "no order of the changes keeps the role within its old or its new permissions at every moment. Nothing was changed",
            "delete the role, and run it again to make it",
        )
    })
}

/// Returns a document that this command makes.
pub fn document(value: &Value) -> Result<Document, Failure> {
    Document::from_value(value).map_err(|error: PolicyError| {
        Failure::new(
            format!("the document of the role is wrong: {error}"),
            "report this as a defect",
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::wanted;
    use super::*;
    use crate::fleet::details;

    const ACCOUNT: &str = "222222222222";

    fn made(wanted: &Wanted, account: &str) -> ObservedRole {
        let read = |value: Value| ObservedDocument::read(&value.to_string());
        ObservedRole {
            name: wanted.role_name.clone(),
            arn: "arn:aws:iam::222222222222:role/rolectl".into(),
            role_id: "AROA1".into(),
            path: "/".into(),
            description: DESCRIPTION.into(),
            max_session_duration: MAX_SESSION,
            trust: read(wanted.trust()),
            managed_policies: BTreeSet::new(),
            inline_policies: [(POLICY.to_owned(), read(wanted.permissions(account)))].into(),
            permissions_boundary: wanted.boundary.clone(),
            tags: BTreeMap::new(),
            instance_profiles: BTreeSet::new(),
        }
    }

    /// The change lines, and what is additional.
    fn shown(wanted: &Wanted, there: &ObservedRole) -> (Vec<String>, Vec<String>) {
        let difference = difference(wanted, ACCOUNT, there).unwrap();
        let lines = difference.changes.iter().flat_map(|change| {
            let details = details(change).into_iter().map(|line| format!("  {line}"));
            [change.to_string()].into_iter().chain(details)
        });
        (lines.collect(), difference.additional)
    }

    #[test]
    fn a_role_that_this_command_or_a_printed_form_made_is_as_needed() {
        for more in [
            &[][..],
            &[
                "--boundary",
                "arn:aws:iam::aws:policy/PowerUserAccess",
                "--external-id",
                "ab",
            ],
        ] {
            let wanted = wanted(more);
            for account in [ACCOUNT, ANY_ACCOUNT] {
                let there = made(&wanted, account);
                assert!(difference(&wanted, ACCOUNT, &there).unwrap().is_none());
                check_ownership(&wanted, &there, ACCOUNT).unwrap();
            }
            let other = made(&wanted, "333333333333");
            assert!(!difference(&wanted, ACCOUNT, &other).unwrap().is_none());
        }
    }

    #[test]
    fn a_role_that_bootstrap_did_not_make_is_not_taken() {
        let wanted = wanted(&[]);
        let mut there = made(&wanted, ACCOUNT);
        there.description = "for break glass".into();
        check_ownership(&wanted, &there, ACCOUNT).unwrap();
        there.inline_policies.clear();
        let refused = check_ownership(&wanted, &there, ACCOUNT).unwrap_err().to_string();
        assert!(
            refused.contains("is not one that bootstrap has made"),
            "{refused}"
        );
    }

    #[test]
    fn the_main_account_gets_no_other_policies_by_a_new_trust_policy() {
        let wanted = wanted(&[]);
        let mut there = made(&wanted, ACCOUNT);
        there
            .managed_policies
            .insert("arn:aws:iam::aws:policy/AdministratorAccess".into());
        // Without a new trust policy it is only named.
        let same_trust = difference(&wanted, ACCOUNT, &there).unwrap();
        check_takeover(&same_trust, &there, ACCOUNT).unwrap();
        there.trust =
            ObservedDocument::read(&wanted.trust().to_string().replace("111111111111", "444444444444"));
        let other_trust = difference(&wanted, ACCOUNT, &there).unwrap();
        let refused = check_takeover(&other_trust, &there, ACCOUNT)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("has other policies"), "{refused}");
        there.managed_policies.clear();
        check_takeover(&other_trust, &there, ACCOUNT).unwrap();
    }

    #[test]
    fn a_boundary_of_somebody_else_is_named_and_never_replaced() {
        let wanted = wanted(&["--boundary", "arn:aws:iam::aws:policy/PowerUserAccess"]);
        let mut there = made(&wanted, ACCOUNT);
        there.permissions_boundary = Some("arn:aws:iam::222222222222:policy/limit".into());
        let (changes, additional) = shown(&wanted, &there);
        assert!(changes.is_empty(), "{changes:?}");
        assert_eq!(
            additional,
            [
                "permissions boundary arn:aws:iam::222222222222:policy/limit, in place of arn:aws:iam::aws:policy/PowerUserAccess,"
            ]
        );
    }

    #[test]
    fn each_difference_is_shown_statement_by_statement() {
        let wanted = wanted(&["--boundary", "arn:aws:iam::aws:policy/PowerUserAccess"]);
        let mut there = made(&wanted, ANY_ACCOUNT);
        there.trust =
            ObservedDocument::read(&wanted.trust().to_string().replace("111111111111", "444444444444"));
        let permissions = wanted
            .permissions(ANY_ACCOUNT)
            .to_string()
            .replace("\"iam:GetRole\",", "");
        there
            .inline_policies
            .insert(POLICY.into(), ObservedDocument::read(&permissions));
        let deny = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]});
        there
            .inline_policies
            .insert("deny".into(), ObservedDocument::read(&deny.to_string()));
        there
            .managed_policies
            .insert("arn:aws:iam::aws:policy/ReadOnlyAccess".into());
        there.permissions_boundary = None;
        there.description = "d".into();
        there.max_session_duration = 7200;
        let (lines, additional) = shown(&wanted, &there);
        assert_eq!(
            lines,
            [
                "~ permissions boundary arn:aws:iam::aws:policy/PowerUserAccess",
                "~ trust policy",
                "  ~ statement \"Allow sts:AssumeRole, ...\"",
                "      + Principal AWS 111111111111",
                "      - Principal AWS 444444444444",
                "~ inline policy rolectl",
                "  ~ statement Manage",
                "      + Action iam:GetRole",
                "~ description \"d\" -> \"Assumed by rolectl under MFA to manage IAM roles\", max session duration 7200s -> 3600s",
            ]
        );
        assert_eq!(
            additional,
            [
                "inline policy deny",
                "managed policy arn:aws:iam::aws:policy/ReadOnlyAccess"
            ]
        );
    }

    #[test]
    fn a_boundary_that_somebody_put_stays_and_is_named() {
        let wanted = wanted(&[]);
        let mut there = made(&wanted, ACCOUNT);
        there.permissions_boundary = Some("arn:aws:iam::222222222222:policy/limit".into());
        let (lines, additional) = shown(&wanted, &there);
        assert_eq!(lines, [""; 0]);
        assert_eq!(
            additional,
            ["permissions boundary arn:aws:iam::222222222222:policy/limit"]
        );
    }

    #[test]
    fn a_document_that_cannot_be_read_is_replaced() {
        let wanted = wanted(&[]);
        let mut there = made(&wanted, ACCOUNT);
        there.trust = ObservedDocument::read("{");
        there.inline_policies.clear();
        let difference = difference(&wanted, ACCOUNT, &there).unwrap();
        assert!(difference.replaces_trust());
        assert_eq!(difference.changes.len(), 2);
    }

    #[test]
    fn new_permissions_are_given_only_once_the_old_principal_has_lost_the_role() {
        let wanted = wanted(&[]);
        let mut there = made(&wanted, ACCOUNT);
        let other = wanted.trust().to_string().replace("111111111111", "444444444444");
        there.trust = ObservedDocument::read(&other);
        let few = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}]});
        there
            .inline_policies
            .insert(POLICY.into(), ObservedDocument::read(&few.to_string()));
        let changes = difference(&wanted, ACCOUNT, &there).unwrap().changes;
        let order = in_safe_order(changes, &there).unwrap();
        let names: Vec<&str> = order.iter().map(Change::operation).collect();
        assert_eq!(
            names,
            ["DeleteRolePolicy", "UpdateAssumeRolePolicy", "PutRolePolicy"],
            "the role has no permissions in between"
        );
    }

    #[test]
    fn a_role_of_an_iam_role_or_of_another_place_is_not_touched() {
        let wanted = wanted(&[]);
        let change = |change: fn(&mut ObservedRole)| {
            let mut there = made(&wanted, ACCOUNT);
            change(&mut there);
            check_ownership(&wanted, &there, ACCOUNT).unwrap_err().to_string()
        };
        let managed = change(|role| {
            role.tags.insert(OWNER_TAG.into(), "c/ns/app".into());
        });
        assert!(managed.contains("is managed by IamRole c/ns/app"), "{managed}");
        assert!(change(|role| role.path = "/ops/".into()).contains("exists at path /ops/"));
        assert!(change(|role| role.name = "Rolectl".into()).contains("has role Rolectl"));
    }
}
