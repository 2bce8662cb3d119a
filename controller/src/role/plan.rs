//! From what should be and what is to the changes between them. What `rolectl plan` shows and what the
//! controller does come from here, and from nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rolectl_crds::{Adoption, DeletionPolicy, Ensure, OWNER_TAG, Reason};

use super::desired::DesiredRole;
use super::observed::{ObservedDocument, ObservedRole};
use super::policy_document::Document;

/// One call to AWS that brings a role nearer to its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `CreateRole`, with everything that it can carry.
    CreateRole(Box<DesiredRole>),
    /// `TagRole`.
    Tag(BTreeMap<String, String>),
    /// `UpdateAssumeRolePolicy`.
    UpdateTrustPolicy(Document, Vec<String>),
    /// `PutRolePermissionsBoundary`.
    PutBoundary(String),
    /// `UpdateRole`: description and duration always together, because AWS takes a missing one for empty.
    UpdateRole {
        /// Description, empty to clear it.
        description: String,
        /// Longest session in seconds.
        max_session_duration: i32,
        /// What of the two changes, for people.
        what: String,
    },
    /// `AttachRolePolicy`.
    AttachPolicy(String),
    /// `PutRolePolicy`.
    PutInlinePolicy(String, Document, Verb),
    /// `DetachRolePolicy`.
    DetachPolicy(String),
    /// `DeleteRolePolicy`.
    DeleteInlinePolicy(String),
    /// `DeleteRolePermissionsBoundary`.
    DeleteBoundary,
    /// `UntagRole`.
    Untag(BTreeSet<String>),
    /// `CreateInstanceProfile` where there is none, and `AddRoleToInstanceProfile`.
    AddInstanceProfile(String, String),
    /// `RemoveRoleFromInstanceProfile`, and `DeleteInstanceProfile` if its owner tag is ours.
    RemoveInstanceProfile(String, String),
    /// `DeleteRole`.
    DeleteRole,
}

/// Whether something is new or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// New.
    Add,
    /// Changed.
    Change,
}

/// The changes that one role needs in one account, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes.
    pub changes: Vec<Change>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether the plan writes to a role that exists already.
    pub fn touches_existing(&self) -> bool {
        self.changes
            .first()
            .is_some_and(|c| !matches!(c, Change::CreateRole(_)))
    }
}

/// Why nothing may be done to a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Reason for the status.
    pub reason: Reason,
    /// What stands in the way, and what to do about it.
    pub message: String,
}

/// AWS's names for a role, known once it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// ARN.
    pub arn: String,
    /// Unique id.
    pub role_id: String,
}

/// Whether a role is ours: by its owner tag, or, where that was removed by hand, by the unique id that we remember.
pub fn is_ours(observed: &ObservedRole, owner: &str, known_role_id: Option<&str>) -> bool {
    match observed.tags.get(OWNER_TAG) {
        Some(tag) => tag == owner,
        None => known_role_id == Some(observed.role_id.as_str()),
    }
}

/// What brings `observed` to `desired`. `known_role_id` is the role's unique id in our last status.
pub fn plan(
    desired: &DesiredRole,
    observed: Option<&ObservedRole>,
    known_role_id: Option<&str>,
) -> Result<Plan, Refusal> {
    let Some(observed) = observed else {
        let changes = match desired.ensure {
            Ensure::Absent => vec![],
            Ensure::Present => creation(desired),
        };
        return Ok(Plan { changes });
    };
    claim(desired, observed, known_role_id)?;
    let changes = match desired.ensure {
        Ensure::Absent => removal(observed, &desired.owner),
        Ensure::Present => difference(desired, observed),
    };
    Ok(Plan { changes })
}

/// What ends our care for `observed`: nothing at all when it is not ours.
pub fn plan_removal(
    observed: Option<&ObservedRole>,
    owner: &str,
    known_role_id: Option<&str>,
    policy: DeletionPolicy,
) -> Plan {
    let Some(observed) = observed.filter(|role| is_ours(role, owner, known_role_id) && !role.is_reserved())
    else {
        return Plan::default();
    };
    let changes = match policy {
        DeletionPolicy::Delete => removal(observed, owner),
        DeletionPolicy::Retain if observed.tags.contains_key(OWNER_TAG) => {
            vec![Change::Untag(BTreeSet::from([OWNER_TAG.to_owned()]))]
        }
        DeletionPolicy::Retain => vec![],
    };
    Plan { changes }
}

/// May we touch this role?
fn claim(desired: &DesiredRole, observed: &ObservedRole, known_role_id: Option<&str>) -> Result<(), Refusal> {
    let name = &observed.name;
    let refuse = |reason, message| Err(Refusal { reason, message });
    if observed.is_reserved() {
        return refuse(
            Reason::AlreadyExists,
            format!(
                "role {name} at path {} belongs to AWS and is never touched: choose another roleName",
                observed.path
            ),
        );
    }
    if !is_ours(observed, &desired.owner, known_role_id) {
        match (observed.tags.get(OWNER_TAG), desired.adoption) {
            (_, Adoption::Always) | (None, Adoption::IfUnowned) => {}
            (Some(other), Adoption::Never | Adoption::IfUnowned) => {
                return refuse(
                    Reason::OwnedByOther,
                    format!(
                        "role {name} belongs to {other}: delete it there, choose another roleName, or take it with adoption: Always"
                    ),
                );
            }
            (None, Adoption::Never) => {
                return refuse(
                    Reason::AlreadyExists,
                    format!(
                        "role {name} exists and was not made by rolectl: take it with adoption: IfUnowned, or choose another roleName"
                    ),
                );
            }
        }
    }
    if observed.name != desired.name {
        return refuse(
            Reason::AlreadyExists,
            format!(
                "role {name} exists, and IAM takes {} for the same name: write spec.roleName as it is there",
                desired.name
            ),
        );
    }
    if observed.path != desired.path && desired.ensure == Ensure::Present {
        return refuse(
            Reason::AlreadyExists,
            format!(
                "role {name} exists at path {}, spec.path is {}: IAM cannot move a role; make a new IamRole with that path",
                observed.path, desired.path
            ),
        );
    }
    Ok(())
}

fn creation(desired: &DesiredRole) -> Vec<Change> {
    let mut changes = vec![Change::CreateRole(Box::new(desired.clone()))];
    changes.extend(desired.managed_policies.iter().cloned().map(Change::AttachPolicy));
    changes.extend(
        desired
            .inline_policies
            .iter()
            .map(|(name, d)| Change::PutInlinePolicy(name.clone(), d.clone(), Verb::Add)),
    );
    changes.extend(
        desired
            .instance_profile
            .iter()
            .map(|p| Change::AddInstanceProfile(p.clone(), desired.owner.clone())),
    );
    changes
}

/// The owner tag first, so that a role taken over says so before anything else changes; the boundary before
/// the policies that it bounds; what grants before what takes away, so that nobody is shut out in between.
fn difference(desired: &DesiredRole, observed: &ObservedRole) -> Vec<Change> {
    let DesiredRole {
        name: _,
        path: _,
        ensure: _,
        description,
        max_session_duration,
        trust,
        managed_policies,
        inline_policies,
        permissions_boundary,
        tags,
        instance_profile,
        exclusive,
        adoption: _,
        drift: _,
        owner,
    } = desired;
    let mut changes = vec![];

    let new_tags: BTreeMap<String, String> = tags
        .iter()
        .filter(|(k, v)| observed.tags.get(*k) != Some(*v))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    if !new_tags.is_empty() {
        changes.push(Change::Tag(new_tags));
    }
    if let Some(trust) = trust.as_ref().filter(|t| !observed.trust.is(t)) {
        changes.push(Change::UpdateTrustPolicy(
            trust.clone(),
            deleted_principals(&observed.trust),
        ));
    }
    if let Some(boundary) = permissions_boundary
        .as_ref()
        .filter(|b| observed.permissions_boundary.as_ref() != Some(b))
    {
        changes.push(Change::PutBoundary(boundary.clone()));
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
    changes.extend(
        managed_policies
            .difference(&observed.managed_policies)
            .cloned()
            .map(Change::AttachPolicy),
    );
    for (name, document) in inline_policies {
        match observed.inline_policies.get(name) {
            Some(there) if there.is(document) => {}
            Some(_) => changes.push(Change::PutInlinePolicy(
                name.clone(),
                document.clone(),
                Verb::Change,
            )),
            None => changes.push(Change::PutInlinePolicy(name.clone(), document.clone(), Verb::Add)),
        }
    }
    if exclusive.managed_policies {
        changes.extend(
            observed
                .managed_policies
                .difference(managed_policies)
                .cloned()
                .map(Change::DetachPolicy),
        );
    }
    if exclusive.inline_policies {
        let extra = observed
            .inline_policies
            .keys()
            .filter(|name| !inline_policies.contains_key(*name));
        changes.extend(extra.cloned().map(Change::DeleteInlinePolicy));
    }
    if permissions_boundary.is_none() && observed.permissions_boundary.is_some() {
        changes.push(Change::DeleteBoundary);
    }
    if exclusive.tags {
        let reserved = |key: &str| key.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("aws:"));
        let extra: BTreeSet<String> = observed
            .tags
            .keys()
            .filter(|k| !tags.contains_key(*k) && !reserved(k))
            .cloned()
            .collect();
        if !extra.is_empty() {
            changes.push(Change::Untag(extra));
        }
    }
    if let Some(profile) = instance_profile
        .as_ref()
        .filter(|p| !observed.instance_profiles.contains(*p))
    {
        changes.push(Change::AddInstanceProfile(profile.clone(), owner.clone()));
    }
    changes
}

/// In the order in which IAM lets a role go.
fn removal(observed: &ObservedRole, owner: &str) -> Vec<Change> {
    let mut changes = vec![];
    changes.extend(
        observed
            .inline_policies
            .keys()
            .cloned()
            .map(Change::DeleteInlinePolicy),
    );
    changes.extend(
        observed
            .managed_policies
            .iter()
            .cloned()
            .map(Change::DetachPolicy),
    );
    changes.extend(
        observed
            .instance_profiles
            .iter()
            .map(|p| Change::RemoveInstanceProfile(p.clone(), owner.to_owned())),
    );
    changes.push(Change::DeleteRole);
    changes
}

fn deleted_principals(trust: &ObservedDocument) -> Vec<String> {
    match trust {
        ObservedDocument::Parsed(d) => d.canonical().deleted_principals().map(str::to_owned).collect(),
        ObservedDocument::Unreadable(_) => vec![],
    }
}

impl Change {
    /// The AWS operation that makes the change.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::CreateRole(_) => "CreateRole",
            Self::Tag(_) => "TagRole",
            Self::UpdateTrustPolicy(..) => "UpdateAssumeRolePolicy",
            Self::PutBoundary(_) => "PutRolePermissionsBoundary",
            Self::UpdateRole { .. } => "UpdateRole",
            Self::AttachPolicy(_) => "AttachRolePolicy",
            Self::PutInlinePolicy(..) => "PutRolePolicy",
            Self::DetachPolicy(_) => "DetachRolePolicy",
            Self::DeleteInlinePolicy(_) => "DeleteRolePolicy",
            Self::DeleteBoundary => "DeleteRolePermissionsBoundary",
            Self::Untag(_) => "UntagRole",
            Self::AddInstanceProfile(..) => "AddRoleToInstanceProfile",
            Self::RemoveInstanceProfile(..) => "RemoveRoleFromInstanceProfile",
            Self::DeleteRole => "DeleteRole",
        }
    }

    /// Whether the change frees some of a quota.
    pub const fn makes_room(&self) -> bool {
        matches!(
            self,
            Self::DetachPolicy(_) | Self::DeleteInlinePolicy(_) | Self::Untag(_)
        )
    }

    /// The role once this change is made. `created` is what AWS answered to `CreateRole`.
    pub fn after(&self, before: Option<ObservedRole>, created: Option<Identity>) -> Option<ObservedRole> {
        let mut role = match (self, before) {
            (Self::CreateRole(desired), _) => {
                return created.map(|Identity { arn, role_id }| ObservedRole {
                    name: desired.name.clone(),
                    arn,
                    role_id,
                    path: desired.path.clone(),
                    description: desired.description.clone(),
                    max_session_duration: desired.max_session_duration,
                    trust: desired.trust.clone().map_or_else(
                        || ObservedDocument::Unreadable(String::new()),
                        ObservedDocument::Parsed,
                    ),
                    managed_policies: BTreeSet::new(),
                    inline_policies: BTreeMap::new(),
                    permissions_boundary: desired.permissions_boundary.clone(),
                    tags: desired.tags.clone(),
                    instance_profiles: BTreeSet::new(),
                });
            }
            (Self::DeleteRole, _) | (_, None) => return None,
            (_, Some(role)) => role,
        };
        match self {
            Self::CreateRole(_) | Self::DeleteRole => {}
            Self::Tag(tags) => role.tags.extend(tags.clone()),
            Self::UpdateTrustPolicy(document, _) => role.trust = ObservedDocument::Parsed(document.clone()),
            Self::PutBoundary(arn) => role.permissions_boundary = Some(arn.clone()),
            Self::UpdateRole {
                description,
                max_session_duration,
                ..
            } => {
                role.description.clone_from(description);
                role.max_session_duration = *max_session_duration;
            }
            Self::AttachPolicy(arn) => {
                role.managed_policies.insert(arn.clone());
            }
            Self::PutInlinePolicy(name, document, _) => {
                role.inline_policies
                    .insert(name.clone(), ObservedDocument::Parsed(document.clone()));
            }
            Self::DetachPolicy(arn) => {
                role.managed_policies.remove(arn);
            }
            Self::DeleteInlinePolicy(name) => {
                role.inline_policies.remove(name);
            }
            Self::DeleteBoundary => role.permissions_boundary = None,
            Self::Untag(keys) => role.tags.retain(|k, _| !keys.contains(k)),
            Self::AddInstanceProfile(name, _) => {
                role.instance_profiles.insert(name.clone());
            }
            Self::RemoveInstanceProfile(name, _) => {
                role.instance_profiles.remove(name);
            }
        }
        Some(role)
    }
}

/// `+` adds, `~` changes, `-` removes: one line for people.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |keys: Vec<&str>| keys.join(", ");
        match self {
            Self::CreateRole(role) => write!(f, "+ role {}{}", role.path, role.name),
            Self::Tag(tags) => write!(
                f,
                "+ tags {}",
                tags.iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Self::UpdateTrustPolicy(_, deleted) if deleted.is_empty() => f.write_str("~ trust policy"),
            Self::UpdateTrustPolicy(_, deleted) => {
                write!(
                    f,
                    "~ trust policy (names deleted principals: {})",
                    deleted.join(", ")
                )
            }
            Self::PutBoundary(arn) => write!(f, "~ permissions boundary {arn}"),
            Self::UpdateRole { what, .. } => write!(f, "~ {what}"),
            Self::AttachPolicy(arn) => write!(f, "+ managed policy {arn}"),
            Self::PutInlinePolicy(name, _, Verb::Add) => write!(f, "+ inline policy {name}"),
            Self::PutInlinePolicy(name, _, Verb::Change) => write!(f, "~ inline policy {name}"),
            Self::DetachPolicy(arn) => write!(f, "- managed policy {arn}"),
            Self::DeleteInlinePolicy(name) => write!(f, "- inline policy {name}"),
            Self::DeleteBoundary => f.write_str("- permissions boundary"),
            Self::Untag(keys) => write!(f, "- tags {}", join(keys.iter().map(String::as_str).collect())),
            Self::AddInstanceProfile(name, _) => write!(f, "+ instance profile {name}"),
            Self::RemoveInstanceProfile(name, _) => write!(f, "- instance profile {name}"),
            Self::DeleteRole => f.write_str("- role"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{spec, wanted};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

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

    fn made(desired: &DesiredRole) -> ObservedRole {
        run(&plan(desired, None, None).unwrap(), None).unwrap()
    }

    #[test]
    fn a_new_role_with_two_managed_and_one_inline_policies_costs_four_calls() {
        let mut s = spec();
        s.managed_policies = vec!["A".into(), "B".into()];
        s.inline_policies = [(
            "in".to_owned(),
            json!({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*"}}),
        )]
        .into();
        s.description = "d".into();
        s.permissions_boundary = Some("Bound".into());
        let ops: Vec<_> = plan(&wanted(&s), None, None)
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
    fn a_role_that_is_not_ours_is_never_touched_unless_adoption_says_so() {
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
                assert_eq!(
                    plan(&desired, Some(role), None).err().map(|r| r.reason),
                    outcome,
                    "{adoption:?} {ensure:?}"
                );
            }
        }
        for role in [&foreign, &unowned] {
            assert!(plan_removal(Some(role), &desired.owner, None, DeletionPolicy::Delete).is_empty());
        }
    }

    #[test]
    fn a_role_whose_owner_tag_was_removed_is_ours_by_its_id_and_a_namesake_is_not() {
        let desired = wanted(&spec());
        let mut untagged = made(&desired);
        untagged.tags.remove(OWNER_TAG);
        let mended = plan(&desired, Some(&untagged), Some("AROA1")).unwrap();
        assert_eq!(
            mended.changes,
            [Change::Tag(
                [(OWNER_TAG.to_owned(), desired.owner.clone())].into()
            )]
        );
        assert_eq!(
            plan(&desired, Some(&untagged), Some("AROA2")).unwrap_err().reason,
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
            assert!(plan(&desired, Some(&reserved), None).is_err());
            assert!(plan_removal(Some(&reserved), &desired.owner, None, DeletionPolicy::Delete).is_empty());
        }
    }

    #[test]
    fn each_hand_made_change_is_mended_by_its_own_call() {
        let mut s = spec();
        s.managed_policies = vec!["A".into()];
        s.inline_policies = [(
            "in".to_owned(),
            json!({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*"}}),
        )]
        .into();
        s.tags = [("team".to_owned(), "x".to_owned())].into();
        let desired = wanted(&s);
        let broken = |change: fn(&mut ObservedRole)| {
            let mut role = made(&desired);
            change(&mut role);
            plan(&desired, Some(&role), None)
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
            broken(|r| r.permissions_boundary = Some("arn:b".into())),
            ["- permissions boundary"]
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
    fn retain_takes_only_our_owner_tag_off() {
        let desired = wanted(&spec());
        let left = plan_removal(
            Some(&made(&desired)),
            &desired.owner,
            None,
            DeletionPolicy::Retain,
        );
        assert_eq!(left.changes, [Change::Untag([OWNER_TAG.to_owned()].into())]);
    }

    proptest! {
        #[test]
        fn carrying_out_a_plan_leaves_nothing_to_plan(
            want in prop::collection::btree_set("[a-e]", 0..4),
            have in prop::collection::btree_set("[a-e]", 0..4),
            exclusive in any::<bool>(),
            absent in any::<bool>(),
            exists in any::<bool>(),
        ) {
            let doc = |n: &str| json!({"Statement": {"Effect": "Allow", "Action": format!("x:{n}"), "Resource": "*"}});
            let mut s = spec();
            s.managed_policies = want.iter().cloned().collect();
            s.inline_policies = want.iter().map(|n| (n.clone(), doc(n))).collect();
            s.tags = want.iter().map(|n| (n.clone(), "1".to_owned())).collect();
            s.exclusive = rolectl_crds::Exclusive { managed_policies: exclusive, inline_policies: exclusive, tags: exclusive };
            s.ensure = if absent { Ensure::Absent } else { Ensure::Present };
            let desired = wanted(&s);
            let observed = exists.then(|| {
                let mut role = made(&DesiredRole { ensure: Ensure::Present, ..desired.clone() });
                role.managed_policies = have.iter().map(|n| format!("arn:aws:iam::aws:policy/{n}")).collect();
                role.inline_policies = have.iter().map(|n| (n.clone(), ObservedDocument::read(&doc("other").to_string()))).collect();
                role
            });
            let first = plan(&desired, observed.as_ref(), None).unwrap();
            let after = run(&first, observed);
            prop_assert!(plan(&desired, after.as_ref(), None).unwrap().is_empty());
            prop_assert_eq!(after.is_none(), absent);
        }
    }
}
