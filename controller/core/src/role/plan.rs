//! The changes from the observed to the desired state of a role, for the controller and for `rolectl plan`.

use std::collections::{BTreeMap, BTreeSet};

use rolectl_crds::{ADOPTED_TAG, DeletionPolicy, Ensure, OWNER_TAG, PROFILE_TAG, Quotas, Reason, TAG_PREFIX};

use super::change::{Change, DesiredProfile, DocumentDiff};
use super::desired::DesiredRole;
use super::instance_profiles::profile_record;
use super::kept::{Kept, keeps_inline, keeps_policy, unlisted_policies, what_stays};
use super::managed_policy::is_same_policy;
use super::observed::{ObservedDocument, ObservedRole};
use super::order::{Claim, arrange};
use super::ownership::{PlanContext, check_ownership, is_ours};
use super::profile_tag::recorded_profiles;
use super::quotas::{TAGS_PER_ROLE, check_quotas, limit};
use super::refusal::Refusal;
use super::removal::removal;
use super::tags::{is_ignored, is_reserved_tag, same_key};

/// The changes that one role needs in one account, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in the order in which they are made.
    pub changes: Vec<Change>,
    /// The policies and the boundary that stay on the role although the spec does not list them.
    pub kept: Kept,
}

impl Plan {
    /// Returns true if the plan has no changes.
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns true if the plan creates the role.
    pub fn creates(&self) -> bool {
        matches!(self.changes.first(), Some(Change::CreateRole(_)))
    }
}

/// Returns the changes from the observed state of a role to the desired one. `None` is a role that does not exist.
///
/// # Errors
/// When the role must not be changed, would exceed a quota, or there is no safe order of the changes.
pub fn plan(
    desired: &DesiredRole,
    observed: Option<&ObservedRole>,
    known: &PlanContext<'_>,
) -> Result<Plan, Refusal> {
    if let Some(observed) = observed {
        check_ownership(desired, observed, known.role_id)?;
    }
    let mut changes = match (desired.ensure, observed) {
        (Ensure::Absent, None) => vec![],
        (Ensure::Absent, Some(observed)) => removal(observed, &desired.owner),
        (Ensure::Present, observed) => {
            check_quotas(desired, observed, known.quotas.as_ref())?;
            match observed {
                None => ordered(creation(desired), None, Claim::Ours, known.quotas.as_ref())?,
                Some(observed) => {
                    let claim = if is_ours(observed, &desired.owner, known.role_id) {
                        Claim::Ours
                    } else {
                        Claim::Adopted
                    };
                    difference(desired, observed, claim, known.quotas.as_ref())?
                }
            }
        }
    };
    let kept = desired
        .instance_profile
        .as_ref()
        .filter(|_| desired.ensure == Ensure::Present);
    let ours = observed.filter(|observed| is_ours(observed, &desired.owner, known.role_id));
    let recorded = ours.map(recorded_profiles).unwrap_or_default();
    let old: BTreeSet<&String> = known.instance_profiles.iter().chain(&recorded).collect();
    let old = old.into_iter().filter(|name| Some(*name) != kept);
    let is_removed = |name: &String| {
        changes
            .iter()
            .any(|c| matches!(c, Change::RemoveInstanceProfile(n, _) if n == name))
    };
    let old: Vec<Change> = old
        .filter(|name| !is_removed(name))
        .map(|name| Change::RemoveInstanceProfile(name.clone(), desired.owner.clone()))
        .collect();
    // IAM deletes a role only if no instance profile contains it.
    let at = changes
        .iter()
        .position(|c| *c == Change::DeleteRole)
        .unwrap_or(changes.len());
    changes.splice(at..at, old);
    let kept = observed
        .filter(|_| desired.ensure == Ensure::Present)
        .map(|observed| what_stays(desired, observed))
        .unwrap_or_default();
    // This change is last, because until then the tag names the profiles that must be removed.
    if desired.ensure == Ensure::Present {
        changes.extend(observed.and_then(|observed| profile_record(desired, observed).1));
    }
    Ok(Plan { changes, kept })
}

/// Returns the changes after which the observed role is no longer managed: it is deleted, or it stays without our tags. The plan is empty
/// if the role does not belong to `owner`.
pub fn plan_removal(
    observed: Option<&ObservedRole>,
    owner: &str,
    known: &PlanContext<'_>,
    policy: DeletionPolicy,
) -> Plan {
    let profiles = known.instance_profiles.iter().cloned();
    let Some(observed) = observed else {
        // Somebody else deleted the role. Its instance profiles may still exist.
        let change = |name| match policy {
            DeletionPolicy::Delete => Change::RemoveInstanceProfile(name, owner.to_owned()),
            DeletionPolicy::Retain => Change::ReleaseInstanceProfile(name, owner.to_owned()),
        };
        return Plan {
            changes: profiles.map(change).collect(),
            ..Plan::default()
        };
    };
    if !is_ours(observed, owner, known.role_id) || observed.is_reserved() {
        return Plan::default();
    }
    let all: BTreeSet<String> = profiles
        .chain(recorded_profiles(observed))
        .chain(observed.instance_profiles.iter().cloned())
        .collect();
    let changes = match policy {
        DeletionPolicy::Delete => {
            let with_all = ObservedRole {
                instance_profiles: all,
                ..observed.clone()
            };
            removal(&with_all, owner)
        }
        DeletionPolicy::Retain => {
            // The owner tag of the role is removed last, so that a failed attempt is repeated.
            let mut changes: Vec<Change> = all
                .into_iter()
                .map(|name| Change::ReleaseInstanceProfile(name, owner.to_owned()))
                .collect();
            let tags: BTreeSet<String> = [OWNER_TAG, ADOPTED_TAG, PROFILE_TAG]
                .into_iter()
                .filter(|key| observed.tags.contains_key(*key))
                .map(str::to_owned)
                .collect();
            if !tags.is_empty() {
                changes.push(Change::Untag(tags));
            }
            changes
        }
    };
    Plan {
        changes,
        ..Plan::default()
    }
}

fn creation(desired: &DesiredRole) -> Vec<Change> {
    let mut changes = vec![Change::CreateRole(Box::new(desired.clone()))];
    changes.extend(desired.managed_policies.iter().cloned().map(Change::AttachPolicy));
    changes.extend(
        desired
            .inline_policies
            .iter()
            .map(|(name, d)| Change::PutInlinePolicy(name.clone(), d.clone(), DocumentDiff::New)),
    );
    changes.extend(
        desired
            .instance_profile
            .iter()
            .map(|p| Change::AddInstanceProfile(DesiredProfile::new(p, desired))),
    );
    changes
}

/// Returns the changes to an existing role, in the order that [`super::order`] determines.
fn difference(
    desired: &DesiredRole,
    observed: &ObservedRole,
    claim: Claim,
    quotas: Option<&Quotas>,
) -> Result<Vec<Change>, Refusal> {
    // Without `..`, so that a new field of the role cannot be forgotten here.
    let DesiredRole {
        name: _,
        path: _,
        ensure: _,
        description,
        max_session_duration,
        trust,
        managed_policies: _,
        inline_policies: _,
        permissions_boundary,
        tags: _,
        instance_profile,
        exclusive,
        adoption: _,
        drift: _,
        ignore_tags: _,
        ignore_policies: _,
        owner: _,
        warnings: _,
    } = desired;
    let mut changes = vec![];
    let (mut tag, mut untag) = tag_changes(desired, observed);
    if claim == Claim::Adopted {
        let adopted = (ADOPTED_TAG.to_owned(), "true".to_owned());
        tag.get_or_insert_default().extend([adopted]);
    }
    let mut first = vec![];
    if let Some(tag) = tag {
        // If the role has no room for new tags, unlisted ones are removed first.
        let counted = observed.tags.keys().filter(|key| !is_reserved_tag(key)).count();
        let new = tag.keys().filter(|key| !observed.tags.contains_key(*key)).count();
        if counted + new > TAGS_PER_ROLE {
            first.extend(untag.take().map(Change::Untag));
        }
        first.push(Change::Tag(tag));
    }
    let current = observed.permissions_boundary.as_ref();
    if let Some(boundary) = permissions_boundary
        .as_ref()
        .filter(|b| !current.is_some_and(|current| is_same_policy(current, b)))
    {
        changes.push(Change::PutBoundary(boundary.clone()));
    }
    if let Some(trust) = trust.as_ref().filter(|t| !observed.trust.is(t)) {
        let diff = DocumentDiff::between(&observed.trust, trust);
        changes.push(Change::UpdateTrustPolicy(trust.clone(), diff));
    }
    if (description, max_session_duration) != (&observed.description, &observed.max_session_duration) {
        let mut what = vec![];
        if *description != observed.description {
            what.push(format!(
                "description {:?} -> {description:?}",
                observed.description
            ));
        }
        if *max_session_duration != observed.max_session_duration {
            what.push(format!(
                "max session duration {}s -> {max_session_duration}s",
                observed.max_session_duration
            ));
        }
        changes.push(Change::UpdateRole {
            description: description.clone(),
            max_session_duration: *max_session_duration,
            what: what.join(", "),
        });
    }
    changes.extend(managed_policy_changes(desired, observed));
    changes.extend(inline_policy_changes(desired, observed, quotas));
    if permissions_boundary.is_none() && current.is_some() && exclusive.boundary {
        changes.push(Change::DeleteBoundary);
    }
    changes.extend(untag.map(Change::Untag));
    if let Some(profile) = instance_profile
        .as_ref()
        .filter(|p| !observed.instance_profiles.contains(*p))
    {
        changes.push(Change::AddInstanceProfile(DesiredProfile::new(profile, desired)));
    }
    first.extend(ordered(changes, Some(observed), claim, quotas)?);
    Ok(first)
}

/// Returns the changes in the order in which they are made.
///
/// # Errors
/// When there is no safe order.
fn ordered(
    changes: Vec<Change>,
    observed: Option<&ObservedRole>,
    claim: Claim,
    quotas: Option<&Quotas>,
) -> Result<Vec<Change>, Refusal> {
    arrange(changes, observed, claim, quotas).ok_or_else(|| {
        let message = "no order of the changes keeps the role within its old or its new permissions at every moment: make them in two steps, first those of spec.assumeRolePolicy, then those of the policies";
        Refusal::new(Reason::InvalidSpec, message)
    })
}

/// Returns the tags to set and the keys to remove.
fn tag_changes(
    desired: &DesiredRole,
    observed: &ObservedRole,
) -> (Option<BTreeMap<String, String>>, Option<BTreeSet<String>>) {
    // IAM treats keys of a role that differ only in case as one key.
    let there = |key: &str| observed.tags.iter().find(|(k, _)| same_key(k, key));
    let mut set: BTreeMap<String, String> = desired
        .tags
        .iter()
        .filter(|(k, v)| *k != PROFILE_TAG && there(k).map(|(_, value)| value) != Some(*v))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let record = profile_record(desired, observed).0;
    set.extend(record.map(|value| (PROFILE_TAG.to_owned(), value)));
    let unwanted = |key: &&String| {
        desired.exclusive.tags
            && *key != PROFILE_TAG
            && !desired.tags.keys().any(|k| same_key(k, key))
            && !is_reserved_tag(key)
            && !key.starts_with(TAG_PREFIX)
            && !is_ignored(&desired.ignore_tags, key)
    };
    let remove: BTreeSet<String> = observed.tags.keys().filter(unwanted).cloned().collect();
    (
        Some(set).filter(|s| !s.is_empty()),
        Some(remove).filter(|r| !r.is_empty()),
    )
}

/// Returns the managed policies to attach and to detach.
fn managed_policy_changes(desired: &DesiredRole, observed: &ObservedRole) -> Vec<Change> {
    // IAM resolves ARNs without regard to case, so another spelling names the same policy.
    let missing = desired.managed_policies.iter().filter(|arn| {
        let mut attached = observed.managed_policies.iter();
        !attached.any(|there| is_same_policy(there, arn))
    });
    let extra = unlisted_policies(desired, observed).filter(|arn| !keeps_policy(desired, arn));
    let attach = missing.cloned().map(Change::AttachPolicy);
    attach.chain(extra.cloned().map(Change::DetachPolicy)).collect()
}

/// Returns the inline policies to put and to delete.
fn inline_policy_changes(
    desired: &DesiredRole,
    observed: &ObservedRole,
    quotas: Option<&Quotas>,
) -> Vec<Change> {
    let there = |name: &String| observed.inline_policies.get(name);
    let is_extra = |name: &String, document: &ObservedDocument| {
        !keeps_inline(desired, name, document) && !desired.inline_policies.contains_key(name)
    };
    // A document on the role that means the same may be longer than the one in the spec, and leave no room for the others.
    let wanted = desired.inline_policies.iter().map(|(name, document)| {
        let same = there(name).filter(|there| there.is(document));
        same.map_or_else(|| document.size(), ObservedDocument::size)
    });
    let kept = observed.inline_policies.iter();
    let kept = kept.filter(|(name, d)| !is_extra(name, d) && !desired.inline_policies.contains_key(*name));
    let size: usize = wanted.chain(kept.map(|(_, d)| d.size())).sum();
    let has_room = size <= quotas.map_or(usize::MAX, |quotas| limit(quotas.role_policy_size));
    let mut changes = vec![];
    for (name, document) in &desired.inline_policies {
        let diff = match there(name) {
            Some(there) if there.is(document) && (has_room || there.size() <= document.size()) => continue,
            Some(there) => DocumentDiff::between(there, document),
            None => DocumentDiff::New,
        };
        changes.push(Change::PutInlinePolicy(name.clone(), document.clone(), diff));
    }
    let extra = observed
        .inline_policies
        .iter()
        .filter(|(name, d)| is_extra(name, d));
    changes.extend(extra.map(|(name, _)| Change::DeleteInlinePolicy(name.clone())));
    changes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use rolectl_crds::{Adoption, Denies, IamRoleSpec};

    use super::super::change::Identity;
    use super::*;
    use crate::fixtures::{spec, wanted};
    use crate::policy::Document;

    fn run(plan: &Plan, mut role: Option<ObservedRole>) -> Option<ObservedRole> {
        for change in &plan.changes {
            let identity = Identity {
                arn: "arn:aws:iam::222222222222:role/app".into(),
                role_id: "AROA1".into(),
            };
            role = change.after(role, Some(identity));
        }
        role
    }

    fn known_id(id: &str) -> PlanContext<'_> {
        PlanContext {
            role_id: Some(id),
            ..PlanContext::default()
        }
    }

    fn made(desired: &DesiredRole) -> ObservedRole {
        run(&plan(desired, None, &PlanContext::default()).unwrap(), None).unwrap()
    }

    #[test]
    fn a_new_role_with_two_managed_and_one_inline_policies_costs_four_calls() {
        let mut s = spec();
        s.managed_policies = vec!["A".into(), "B".into()];
        s.inline_policies = [(
            "in".to_owned(),
            json!({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*"}}).into(),
        )]
        .into_iter()
        .collect();
        s.description = "d".into();
        s.permissions_boundary = Some("Bound".into());
        let ops: Vec<_> = plan(&wanted(&s), None, &PlanContext::default())
            .unwrap()
            .changes
            .iter()
            .map(Change::operation)
            .collect();
        assert_eq!(
            ops,
            [
                "CreateRole",
                "AttachRolePolicy",
                "AttachRolePolicy",
                "PutRolePolicy"
            ]
        );
    }

    #[test]
    fn a_role_without_our_owner_tag_is_changed_only_if_adoption_allows_it() {
        let desired = wanted(&spec());
        let mut foreign = made(&desired);
        foreign.tags.insert(OWNER_TAG.into(), "c/other/app".into());
        let mut unowned = made(&desired);
        unowned.tags.remove(OWNER_TAG);
        for (role, adoption, outcome) in [
            (&foreign, Adoption::Never, Some(Reason::OwnedByOther)),
            (&foreign, Adoption::IfUnowned, Some(Reason::OwnedByOther)),
            (&foreign, Adoption::Always, None),
            (&unowned, Adoption::Never, Some(Reason::AlreadyExists)),
            (&unowned, Adoption::IfUnowned, None),
            (&unowned, Adoption::Always, None),
        ] {
            for ensure in [Ensure::Present, Ensure::Absent] {
                let desired = DesiredRole {
                    ensure,
                    adoption,
                    ..desired.clone()
                };
                // ensure: Absent does not take a role over to delete it.
                let owned = role.tags.contains_key(OWNER_TAG);
                let absent = if owned {
                    Reason::OwnedByOther
                } else {
                    Reason::AlreadyExists
                };
                let outcome = if ensure == Ensure::Absent {
                    Some(absent)
                } else {
                    outcome
                };
                assert_eq!(
                    plan(&desired, Some(role), &PlanContext::default())
                        .err()
                        .map(|r| r.reason),
                    outcome,
                    "{adoption:?} {ensure:?}"
                );
            }
        }
        for role in [&foreign, &unowned] {
            assert!(
                plan_removal(
                    Some(role),
                    &desired.owner,
                    &PlanContext::default(),
                    DeletionPolicy::Delete
                )
                .is_empty()
            );
        }
    }

    #[test]
    fn a_role_whose_owner_tag_was_removed_is_recognized_by_its_unique_id() {
        let desired = wanted(&spec());
        let mut untagged = made(&desired);
        untagged.tags.remove(OWNER_TAG);
        let mended = plan(&desired, Some(&untagged), &known_id("AROA1")).unwrap();
        assert_eq!(
            mended.changes,
            [Change::Tag(
                [(OWNER_TAG.to_owned(), desired.owner.clone())].into()
            )]
        );
        assert_eq!(
            plan(&desired, Some(&untagged), &known_id("AROA2"))
                .unwrap_err()
                .reason,
            Reason::AlreadyExists
        );
    }

    #[test]
    fn service_linked_roles_are_refused_even_with_adoption_always() {
        let desired = DesiredRole {
            adoption: Adoption::Always,
            ..wanted(&spec())
        };
        for path in [
            "/aws-service-role/ec2.amazonaws.com/",
            "/aws-reserved/sso.amazonaws.com/",
        ] {
            let reserved = ObservedRole {
                path: path.into(),
                ..made(&desired)
            };
            assert!(plan(&desired, Some(&reserved), &PlanContext::default()).is_err());
            assert!(
                plan_removal(
                    Some(&reserved),
                    &desired.owner,
                    &PlanContext::default(),
                    DeletionPolicy::Delete
                )
                .is_empty()
            );
        }
    }

    #[test]
    fn each_kind_of_drift_is_corrected_by_its_own_call() {
        let mut s = spec();
        s.managed_policies = vec!["A".into()];
        s.inline_policies = [(
            "in".to_owned(),
            json!({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*"}}).into(),
        )]
        .into_iter()
        .collect();
        s.tags = [("team".to_owned(), "x".to_owned())].into_iter().collect();
        let desired = wanted(&s);
        let broken = |change: fn(&mut ObservedRole)| {
            let mut role = made(&desired);
            change(&mut role);
            plan(&desired, Some(&role), &PlanContext::default())
                .unwrap()
                .changes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(broken(|_| {}), Vec::<String>::new());
        assert_eq!(
            broken(|r| r.managed_policies.clear()),
            ["+ managed policy arn:aws:iam::aws:policy/A"]
        );
        assert_eq!(
            broken(|r| {
                r.managed_policies.insert("arn:x:policy/Z".into());
            }),
            ["- managed policy arn:x:policy/Z"]
        );
        assert_eq!(broken(|r| r.inline_policies.clear()), ["+ inline policy in"]);
        assert_eq!(
            broken(|r| {
                r.inline_policies.insert("z".into(), ObservedDocument::read("{"));
            }),
            ["- inline policy z"]
        );
        assert_eq!(
            broken(|r| r.trust = ObservedDocument::read("{}")),
            ["~ trust policy"]
        );
        assert_eq!(
            broken(|r| r.description = "by hand".into()),
            ["~ description \"by hand\" -> \"\""]
        );
        assert_eq!(
            broken(|r| r.max_session_duration = 7200),
            ["~ max session duration 7200s -> 3600s"]
        );
        assert_eq!(
            broken(|r| {
                r.tags.insert("extra".into(), "1".into());
                r.tags.insert("aws:x".into(), "1".into());
            }),
            ["- tags extra"]
        );
        assert_eq!(
            broken(|r| {
                r.tags.remove("team");
            }),
            ["+ tags team=x"]
        );
    }

    #[test]
    fn retain_removes_only_our_tags() {
        let desired = wanted(&spec());
        let left = plan_removal(
            Some(&made(&desired)),
            &desired.owner,
            &PlanContext::default(),
            DeletionPolicy::Retain,
        );
        assert_eq!(left.changes, [Change::Untag([OWNER_TAG.to_owned()].into())]);
    }

    fn full_of(n: usize) -> IamRoleSpec {
        let mut s = spec();
        s.managed_policies = (0..n).map(|i| format!("P{i:02}")).collect();
        s
    }

    fn quotas(attached: u32) -> PlanContext<'static> {
        PlanContext {
            quotas: Some(Quotas {
                attached_policies_per_role: attached,
                assume_role_policy_size: 2048,
                role_policy_size: 100,
                roles: 10,
            }),
            ..PlanContext::default()
        }
    }

    #[test]
    fn policies_are_attached_before_others_are_detached_as_far_as_the_quota_allows() {
        let old = made(&wanted(&full_of(3)));
        let mut s = full_of(0);
        s.managed_policies = vec!["A".into(), "B".into(), "P00".into()];
        let lines = |known: &PlanContext<'_>| {
            let plan = plan(&wanted(&s), Some(&old), known).unwrap();
            plan.changes
                .iter()
                .map(|c| {
                    c.to_string()
                        .replace(" managed policy arn:aws:iam::aws:policy/", "")
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&quotas(10)), ["+A", "+B", "-P01", "-P02"]);
        assert_eq!(lines(&quotas(4)), ["+A", "-P01", "+B", "-P02"]);
        assert_eq!(lines(&quotas(3)), ["-P01", "+A", "-P02", "+B"]);
        assert_eq!(
            lines(&PlanContext::default()),
            ["+A", "+B", "-P01", "-P02"],
            "an unknown quota bounds nothing"
        );
    }

    #[test]
    fn a_role_that_would_exceed_a_quota_is_refused_before_a_write() {
        let says = |s: &IamRoleSpec, observed: Option<&ObservedRole>| {
            let refusal = plan(&wanted(s), observed, &quotas(3)).unwrap_err();
            assert_eq!(refusal.reason, Reason::QuotaExceeded);
            refusal.message
        };
        assert_eq!(
            says(&full_of(4), None),
            "AttachedPoliciesPerRoleQuota of the account is 3 policies, the role wants 4: remove some from spec.managedPolicies or merge them, or have the quota raised"
        );
        let mut additive = full_of(1);
        additive.exclusive.managed_policies = false;
        let mut observed = made(&wanted(&additive));
        observed.managed_policies = ["x", "y", "z"].map(str::to_owned).into();
        assert!(
            says(&additive, Some(&observed)).contains("the role wants 4"),
            "what others attached counts, too"
        );
        let mut inline = spec();
        let long = json!({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": format!("arn:aws:s3:::{}", "x".repeat(90))}});
        inline.inline_policies = [("in".to_owned(), long.into())].into_iter().collect();
        assert!(
            says(&inline, None)
                .starts_with("RolePolicySizeQuota of the account is 100 characters, the role wants 1")
        );
        let mut tags = spec();
        tags.tags = (0..49).map(|n| (format!("t{n}"), String::new())).collect();
        assert!(
            plan(&wanted(&tags), None, &quotas(3)).is_ok(),
            "49 and the owner's are 50"
        );
        tags.exclusive.tags = false;
        let mut observed = made(&wanted(&spec()));
        observed.tags.insert("by-hand".into(), String::new());
        assert!(says(&tags, Some(&observed)).contains("the role wants 51"));
    }

    #[test]
    fn tags_that_somebody_else_manages_stay() {
        let s = spec();
        let mut observed = made(&wanted(&s));
        observed.tags.insert("org:cost-centre".into(), "1".into());
        observed.tags.insert("orgless".into(), "1".into());
        let lines = |s: &IamRoleSpec| {
            let plan = plan(&wanted(s), Some(&observed), &PlanContext::default()).unwrap();
            plan.changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(lines(&s), ["- tags orgless"]);
    }

    /// Returns a role with policies and a boundary from incident response and from an organization.
    fn restricted(desired: &DesiredRole) -> ObservedRole {
        let deny = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
        let mut observed = made(desired);
        for name in ["AWSDenyAll", "AWSCompromisedKeyQuarantineV3", "ReadOnlyAccess"] {
            observed
                .managed_policies
                .insert(format!("arn:aws:iam::aws:policy/{name}"));
        }
        let own = "arn:aws:iam::222222222222:policy/";
        observed
            .managed_policies
            .extend(["Org-Baseline", "AWSDenyAll"].map(|name| format!("{own}{name}")));
        for name in ["AWSRevokeOlderSessions", "org-audit", "other"] {
            let text = if name == "AWSRevokeOlderSessions" {
                deny
            } else {
                &deny.replace("Deny", "Allow")
            };
            observed
                .inline_policies
                .insert(name.to_owned(), ObservedDocument::read(text));
        }
        observed.permissions_boundary = Some("arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned());
        observed
    }

    #[test]
    fn a_restriction_from_outside_stays_unless_the_spec_removes_it() {
        let mut s = spec();
        let lines = |s: &IamRoleSpec| {
            let desired = wanted(s);
            let plan = plan(&desired, Some(&restricted(&desired)), &PlanContext::default()).unwrap();
            let lines = plan
                .changes
                .iter()
                .map(|c| c.to_string().replace("managed policy arn:aws:iam::", ""));
            (lines.collect::<Vec<_>>(), plan.kept.message().unwrap_or_default())
        };
        let others = [
            "- aws:policy/ReadOnlyAccess",
            "- inline policy other",
            "- 222222222222:policy/AWSDenyAll",
        ];
        let ignored = "left to others by ignorePolicies: managed policy arn:aws:iam::222222222222:policy/Org-Baseline, inline policy org-audit";
        assert_eq!(
            lines(&s),
            (
                others.map(str::to_owned).to_vec(),
                format!(
                    "restricted from outside by managed policy arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3, managed policy arn:aws:iam::aws:policy/AWSDenyAll, inline policy AWSRevokeOlderSessions and 1 more; {ignored}"
                )
            )
        );
        s.exclusive.denies = Denies::Remove;
        s.exclusive.boundary = true;
        let (changes, message) = lines(&s);
        assert_eq!(message, ignored);
        for change in [
            "- aws:policy/AWSDenyAll",
            "- aws:policy/AWSCompromisedKeyQuarantineV3",
            "- inline policy AWSRevokeOlderSessions",
            "- permissions boundary",
        ] {
            assert!(changes.contains(&change.to_owned()), "{changes:?}");
        }
        // A boundary in the spec replaces this one.
        s.exclusive.boundary = false;
        s.permissions_boundary = Some("PowerUserAccess".into());
        assert!(
            lines(&s)
                .0
                .contains(&"~ permissions boundary arn:aws:iam::aws:policy/PowerUserAccess".to_owned())
        );
    }

    #[test]
    fn policies_that_stay_count_against_the_quotas_and_are_deleted_with_the_role() {
        let mut s = full_of(0);
        s.managed_policies = vec!["A".into()];
        let desired = wanted(&s);
        let refused = plan(&desired, Some(&restricted(&desired)), &quotas(3)).unwrap_err();
        assert!(refused.message.contains("the role wants 4"), "{refused}");
        let gone = plan_removal(
            Some(&restricted(&desired)),
            &desired.owner,
            &PlanContext::default(),
            DeletionPolicy::Delete,
        );
        let lines: Vec<String> = gone.changes.iter().map(ToString::to_string).collect();
        let at = |line: &str| lines.iter().position(|l| l.contains(line)).unwrap();
        // Policies that deny are removed last, so that a failed call does not enable a role that was stopped.
        for denies in ["aws:policy/AWSDenyAll", "AWSRevokeOlderSessions"] {
            for allows in [
                "ReadOnlyAccess",
                "inline policy other",
                "Org-Baseline",
                "inline policy org-audit",
            ] {
                assert!(at(allows) < at(denies), "{lines:?}");
            }
        }
        assert_eq!(gone.changes.last(), Some(&Change::DeleteRole));
    }

    #[test]
    fn another_spelling_of_an_attached_policy_is_the_same_policy() {
        let mut s = spec();
        s.managed_policies = vec!["arn:aws:iam::222222222222:policy/Mine".into()];
        s.permissions_boundary = Some("arn:aws:iam::222222222222:policy/Bound".into());
        let desired = wanted(&s);
        let mut observed = made(&desired);
        observed.managed_policies = [String::from("arn:aws:iam::222222222222:policy/mine")].into();
        observed.permissions_boundary = Some("arn:aws:iam::222222222222:policy/bound".into());
        assert!(
            plan(&desired, Some(&observed), &PlanContext::default())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_role_that_was_taken_over_has_a_tag_until_it_is_retained() {
        let mut s = spec();
        s.adoption = Adoption::IfUnowned;
        let desired = wanted(&s);
        let mut unowned = made(&desired);
        unowned.tags.remove(OWNER_TAG);
        let taking = plan(&desired, Some(&unowned), &PlanContext::default()).unwrap();
        let adopted = run(&taking, Some(unowned)).unwrap();
        assert_eq!(adopted.tags.get(ADOPTED_TAG).map(String::as_str), Some("true"));
        assert!(
            plan(&desired, Some(&adopted), &PlanContext::default())
                .unwrap()
                .is_empty()
        );
        let left = plan_removal(
            Some(&adopted),
            &desired.owner,
            &PlanContext::default(),
            DeletionPolicy::Retain,
        );
        let tags = [OWNER_TAG, ADOPTED_TAG].map(str::to_owned).into();
        assert_eq!(left.changes, [Change::Untag(tags)]);
    }

    #[test]
    fn tag_keys_that_differ_only_in_case_are_equal() {
        let mut s = spec();
        s.tags = [("team".to_owned(), "a".to_owned())].into_iter().collect();
        let mut observed = made(&wanted(&s));
        observed.tags.remove("team");
        observed.tags.insert("Team".into(), "a".into());
        let lines = |observed: &ObservedRole| {
            let plan = plan(&wanted(&s), Some(observed), &PlanContext::default()).unwrap();
            plan.changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(lines(&observed), [""; 0]);
        observed.tags.insert("Team".into(), "b".into());
        assert_eq!(lines(&observed), ["+ tags team=a"]);
    }

    #[test]
    fn an_adopted_role_gets_its_boundary_before_its_trust_policy() {
        let mut s = spec();
        s.permissions_boundary = Some("B".into());
        s.adoption = Adoption::IfUnowned;
        let mut observed = made(&wanted(&spec()));
        observed.tags.clear();
        observed.trust = ObservedDocument::read("{}");
        let plan = plan(&wanted(&s), Some(&observed), &PlanContext::default()).unwrap();
        let ops: Vec<_> = plan.changes.iter().map(Change::operation).collect();
        assert_eq!(
            ops,
            ["TagRole", "PutRolePermissionsBoundary", "UpdateAssumeRolePolicy"]
        );
    }

    #[test]
    fn unlisted_tags_are_removed_first_if_the_role_has_no_room_for_new_ones() {
        let mut s = spec();
        s.tags = (0..49).map(|n| (format!("old{n}"), String::new())).collect();
        let observed = made(&wanted(&s));
        s.tags = (0..49).map(|n| (format!("new{n}"), String::new())).collect();
        let plan = plan(&wanted(&s), Some(&observed), &PlanContext::default()).unwrap();
        let ops: Vec<_> = plan.changes.iter().map(Change::operation).collect();
        assert_eq!(ops, ["UntagRole", "TagRole"]);
    }

    #[test]
    fn an_instance_profile_is_created_renamed_and_removed() {
        let with = |name: Option<&str>| {
            let mut s = spec();
            s.instance_profile = name.map(|n| rolectl_crds::InstanceProfile { name: Some(n.into()) });
            wanted(&s)
        };
        let lines = |to: &DesiredRole, observed: Option<&ObservedRole>, profiles: &[&str]| {
            let profiles: Vec<String> = profiles.iter().map(|p| (*p).to_owned()).collect();
            let known = PlanContext {
                instance_profiles: &profiles,
                ..PlanContext::default()
            };
            let plan = plan(to, observed, &known).unwrap();
            plan.changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let a = made(&with(Some("a")));
        assert_eq!(a.tags[PROFILE_TAG], "a");
        assert_eq!(lines(&with(Some("a")), Some(&a), &[]), [""; 0]);
        let tag = format!("+ tags {PROFILE_TAG}");
        let untag = format!("- tags {PROFILE_TAG}");
        assert_eq!(
            lines(&with(Some("b")), Some(&a), &[]),
            [
                &format!("{tag}=b a"),
                "+ instance profile b",
                "- instance profile a",
                &format!("{tag}=b")
            ],
            "at no moment is a profile of ours without a record"
        );
        assert_eq!(
            lines(&with(None), Some(&a), &[]),
            ["- instance profile a", &untag]
        );
        let mut given = a.clone();
        given.tags.remove(PROFILE_TAG);
        assert_eq!(
            lines(&with(None), Some(&given), &[]),
            [""; 0],
            "a profile that we did not make is not ours to remove"
        );
        assert_eq!(
            lines(&with(Some("a")), Some(&given), &[]),
            [format!("{tag}=a")],
            "as after an update from a version that kept no record"
        );
        let bare = made(&with(None));
        assert_eq!(
            lines(&with(None), Some(&bare), &["a"]),
            ["- instance profile a"],
            "begun, killed, and no longer wanted"
        );
        let absent = DesiredRole {
            ensure: Ensure::Absent,
            ..with(Some("a"))
        };
        assert_eq!(
            lines(&absent, Some(&bare), &["a"]),
            ["- instance profile a", "- role"]
        );
        assert_eq!(
            lines(&absent, None, &["a"]),
            ["- instance profile a"],
            "the role went without us"
        );
        let known = PlanContext {
            instance_profiles: &["a".to_owned()],
            ..PlanContext::default()
        };
        let retained = plan_removal(Some(&a), &absent.owner, &known, DeletionPolicy::Retain);
        assert_eq!(
            retained.changes.iter().map(Change::operation).collect::<Vec<_>>(),
            ["UntagInstanceProfile", "UntagRole"]
        );
        assert_eq!(
            retained.changes.last(),
            Some(&Change::Untag(
                [OWNER_TAG.to_owned(), PROFILE_TAG.to_owned()].into()
            ))
        );
    }

    #[test]
    fn no_instance_profile_is_forgotten_after_any_prefix_of_a_plan() {
        let with = |name: Option<&str>| {
            let mut s = spec();
            s.instance_profile = name.map(|n| rolectl_crds::InstanceProfile { name: Some(n.into()) });
            wanted(&s)
        };
        let names = ["a", "b,c", &"x".repeat(128), &"y".repeat(128)];
        let all: Vec<Option<&str>> = names.into_iter().map(Some).chain([None]).collect();
        for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (from, to))) {
            let start = made(&with(*from));
            let whole = plan(&with(*to), Some(&start), &PlanContext::default()).unwrap();
            for length in 0..=whole.changes.len() {
                let prefix = Plan {
                    changes: whole.changes[..length].to_vec(),
                    ..Plan::default()
                };
                let killed = run(&prefix, Some(start.clone())).unwrap();
                let again = plan(&with(*to), Some(&killed), &PlanContext::default()).unwrap();
                let end = run(&again, Some(killed)).unwrap();
                assert_eq!(end, made(&with(*to)), "{from:?} {to:?} {length}");
            }
        }
    }

    #[test]
    fn the_instance_profiles_that_an_adopted_role_records_are_not_removed() {
        let desired = DesiredRole {
            adoption: Adoption::Always,
            ..wanted(&spec())
        };
        let mut foreign = made(&desired);
        foreign.tags.insert(OWNER_TAG.into(), "other/ns/app".into());
        foreign.tags.insert(PROFILE_TAG.into(), "theirs".into());
        foreign.instance_profiles.insert("theirs".into());
        let whole = plan(&desired, Some(&foreign), &PlanContext::default()).unwrap();
        for length in 1..=whole.changes.len() {
            let prefix = Plan {
                changes: whole.changes[..length].to_vec(),
                ..Plan::default()
            };
            let killed = run(&prefix, Some(foreign.clone())).unwrap();
            assert!(recorded_profiles(&killed).is_empty(), "{prefix:?}");
            let again = plan(&desired, Some(&killed), &PlanContext::default()).unwrap();
            let end = run(&again, Some(killed)).unwrap();
            assert!(end.instance_profiles.contains("theirs") && !end.tags.contains_key(PROFILE_TAG));
        }
    }

    #[test]
    fn a_longer_document_with_the_same_meaning_is_replaced_only_where_the_others_need_its_room() {
        let statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
        let document = |n: usize| json!({"Statement": vec![statement.clone(); n]});
        let mut s = spec();
        s.inline_policies = [("long".to_owned(), document(3).into())].into_iter().collect();
        let observed = made(&wanted(&s));
        s.inline_policies = ["long", "new"]
            .map(|name| (name.to_owned(), document(1).into()))
            .into_iter()
            .collect();
        let desired = wanted(&s);
        let sum: usize = desired.inline_policies.values().map(Document::size).sum();
        let planned = |role_policy_size: usize| {
            let quotas = Quotas {
                role_policy_size: u32::try_from(role_policy_size).unwrap(),
                ..Quotas::default()
            };
            let known = PlanContext {
                quotas: Some(quotas),
                ..PlanContext::default()
            };
            let first = plan(&desired, Some(&observed), &known).unwrap();
            let after = run(&first, Some(observed.clone()));
            assert!(plan(&desired, after.as_ref(), &known).unwrap().is_empty());
            first.changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(planned(10_240), ["+ inline policy new"]);
        assert_eq!(planned(sum), ["~ inline policy long", "+ inline policy new"]);
    }

    #[test]
    fn a_changed_document_shows_its_statements() {
        let mut observed = made(&wanted(&spec()));
        observed.trust = ObservedDocument::read(
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"999999999999"}}}"#,
        );
        let plan = plan(&wanted(&spec()), Some(&observed), &PlanContext::default()).unwrap();
        let details: Vec<String> = plan.changes[0]
            .details()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            details,
            [
                "~ statement \"Allow sts:AssumeRole\"",
                "    + Principal AWS 111111111111",
                "    - Principal AWS 999999999999"
            ]
        );
    }

    proptest! {
        #[test]
        fn a_role_has_an_empty_plan_after_its_plan_is_applied(
            want in prop::collection::btree_set("[a-e]", 0..4),
            have in prop::collection::btree_set("[a-e]", 0..4),
            exclusive in any::<bool>(),
            absent in any::<bool>(),
            exists in any::<bool>(),
        ) {
            let doc = |n: &str| json!({"Statement": {"Effect": "Allow", "Action": format!("x:{n}"), "Resource": "*"}});
            let mut s = spec();
            s.managed_policies = want.iter().cloned().collect();
            s.inline_policies = want.iter().map(|n| (n.clone(), doc(n).into())).collect();
            s.tags = want.iter().map(|n| (n.clone(), "1".to_owned())).collect();
            s.exclusive = rolectl_crds::Exclusive { managed_policies: exclusive, inline_policies: exclusive, tags: exclusive, ..s.exclusive };
            s.ensure = if absent { Ensure::Absent } else { Ensure::Present };
            let desired = wanted(&s);
            let observed = exists.then(|| {
                let mut role = made(&DesiredRole { ensure: Ensure::Present, ..desired.clone() });
                role.managed_policies = have.iter().map(|n| format!("arn:aws:iam::aws:policy/{n}")).collect();
                role.inline_policies = have.iter().map(|n| (n.clone(), ObservedDocument::read(&doc("other").to_string()))).collect();
                role
            });
            let first = plan(&desired, observed.as_ref(), &PlanContext::default()).unwrap();
            let after = run(&first, observed);
            prop_assert!(plan(&desired, after.as_ref(), &PlanContext::default()).unwrap().is_empty());
            prop_assert_eq!(after.is_none(), absent);
        }
    }
}
