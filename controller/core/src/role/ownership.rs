//! The owner of a role in AWS, and the check whether the role may be changed.

use rolectl_crds::{Adoption, Ensure, OWNER_TAG, Quotas, Reason};

use super::desired::DesiredRole;
use super::observed::ObservedRole;
use super::refusal::Refusal;

/// What this process saw of a role earlier, and the quotas of its account. Nothing of it comes from a status, because others can write
/// a status.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanContext<'a> {
    /// The unique id of the role, if this process saw our owner tag on it before somebody removed the tag.
    pub role_id: Option<&'a str>,
    /// Instance profiles that rolectl may have made for the role, in addition to those that a tag on the role names. Each is deleted
    /// only if it carries our owner tag.
    pub instance_profiles: &'a [String],
    /// The IAM quotas of the account. A quota of 0 was not read.
    pub quotas: Option<Quotas>,
}

/// Returns true if a role belongs to this owner: by its owner tag, or, if somebody removed the tag, by the unique id that this process
/// saw with the tag.
pub fn is_ours(observed: &ObservedRole, owner: &str, known_role_id: Option<&str>) -> bool {
    match observed.tags.get(OWNER_TAG) {
        Some(tag) => tag == owner,
        None => known_role_id == Some(observed.role_id.as_str()),
    }
}

/// Checks that the role may be changed.
///
/// # Errors
/// When the role belongs to AWS or to another owner, or IAM cannot change it into the desired role.
pub fn check_ownership(
    desired: &DesiredRole,
    observed: &ObservedRole,
    known_role_id: Option<&str>,
) -> Result<(), Refusal> {
    let name = &observed.name;
    let refuse = |reason, message: String| Err(Refusal::new(reason, message));
    if observed.is_reserved() {
        return refuse(
            Reason::AlreadyExists,
            format!(
                "role {name} at path {} belongs to AWS and is never touched: choose another roleName",
                observed.path
            ),
        );
    }
    if !is_ours(observed, &desired.owner, known_role_id) && desired.ensure == Ensure::Absent {
        let reason = match observed.tags.get(OWNER_TAG) {
            Some(_) => Reason::OwnedByOther,
            None => Reason::AlreadyExists,
        };
        return refuse(
            reason,
            format!(
                "role {name} is there and not ours, and ensure: Absent removes only what is: take it over first, with ensure: Present and adoption, or delete it manually"
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
                        "role {name} exists and carries no owner tag: take it with adoption: IfUnowned (also where rolectl made it and somebody removed the tag while no controller ran), or choose another roleName"
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
