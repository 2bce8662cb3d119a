//! Was this change right? It touches what is ours only, and gives nobody more than the role before or an object gives.

use std::time::Duration;

use rolectl_crds::{Adoption, OWNER_TAG};
use tokio::time::Instant;

use super::Invariants;
use super::access::Access;
use super::interested::InterestedObject;
use crate::aws::iam::{Profile, Role, State, Write};
use crate::journal::{Checked, violated};
use crate::ledger::Past;
use crate::spec::only_denies;

/// While faults last, a change from outside this recent may not have been seen: a sweep comes every five minutes, and a change takes
/// time.
const UNSEEN: Duration = Duration::from_secs(420);
/// A role that somebody else took over this recently may still be written: it is proven to be ours at most ten seconds before a
/// change begins, by a read that may be late.
const FOREIGN: Duration = Duration::from_secs(60);

impl Invariants {
    /// Returns true if the engine may not know of the last change from outside.
    pub(super) fn is_unseen(&self, past: &Past) -> bool {
        let Some(changed) = past.changed_outside else {
            return false;
        };
        match self.ledger.converged_at() {
            Some(converged) => changed > converged,
            None => changed.elapsed() < UNSEEN,
        }
    }

    /// Checks a change that AWS has made.
    pub(super) fn check_change(
        &self,
        account: &str,
        write: &Write,
        about: &[InterestedObject],
        (before, after): (&State, &State),
    ) -> Checked {
        let name = write.target();
        let past = self.ledger.past(account, name);
        let role = before.role(name).ok();
        if write.is_about_profile() {
            return profile_is_ours(write, before, role, about);
        }
        let is_foreign = past
            .foreign_since
            .is_some_and(|at: Instant| at.elapsed() < FOREIGN);
        if let Some(role) = role.filter(|_| !is_foreign) {
            role_is_ours(role, about, &past)?;
        }
        if self.is_unseen(&past) {
            return Ok(());
        }
        restriction_stays(role, write, about)?;
        deletion_is_declared(role, write, about)?;
        never_wider(role, after.role(name).ok(), about)
    }
}

fn owned_by<'o>(about: &'o [InterestedObject], owner: &str) -> Option<&'o InterestedObject> {
    about.iter().find(|object| object.owner == owner)
}

/// A role of another owner is not touched, and one without owner only where an object takes it over or it was ours.
fn role_is_ours(role: &Role, about: &[InterestedObject], past: &Past) -> Checked {
    let adopts = |any: bool| {
        about.iter().any(|it| {
            it.keeps()
                && if any {
                    it.adopts_always
                } else {
                    it.wanted.adoption >= Adoption::IfUnowned
                }
        })
    };
    let is_right = match role.tags.get(OWNER_TAG) {
        Some(owner) => owned_by(about, owner).is_some() || adopts(true),
        None => {
            let was_ours = past.owners.get(&role.id);
            adopts(false) || was_ours.is_some_and(|owner| owned_by(about, owner).is_some())
        }
    };
    if is_right {
        return Ok(());
    }
    violated(
        "nothing of another owner is touched",
        format!("{} with owner {:?}", role.name, role.tags.get(OWNER_TAG)),
    )
}

/// A restriction from outside stays until the role is removed.
fn restriction_stays(before: Option<&Role>, write: &Write, about: &[InterestedObject]) -> Checked {
    let Some(before) = before else { return Ok(()) };
    if !about.iter().all(|it| !it.is_removed && it.wanted.exists) {
        return Ok(());
    }
    let denies = |policy: &String| before.inline.get(policy).is_some_and(|text| only_denies(text));
    match write {
        Write::DeleteInline(_, policy) if denies(policy) => violated(
            "a restriction from outside stays",
            format!("inline policy {policy} of {} is deleted", before.name),
        ),
        Write::DeleteBoundary(_) if about.iter().all(|it| it.wanted.boundary.is_none()) => violated(
            "a restriction from outside stays",
            format!("the boundary of {} is deleted", before.name),
        ),
        _ => Ok(()),
    }
}

/// A role is deleted only if its object is to have none in the account, and does not retain it.
fn deletion_is_declared(before: Option<&Role>, write: &Write, about: &[InterestedObject]) -> Checked {
    let (Some(before), Write::DeleteRole(name)) = (before, write) else {
        return Ok(());
    };
    let owner = before.tags.get(OWNER_TAG);
    let Some(owner) = owner.and_then(|owner| owned_by(about, owner)) else {
        return Ok(());
    };
    let is_declared = !owner.wanted.exists || (owner.is_removed && !owner.wanted.retains);
    if is_declared {
        return Ok(());
    }
    violated("a role that is declared is not deleted", name)
}

/// Each pair of a caller and a permission was granted before the change, or is granted by an object.
fn never_wider(before: Option<&Role>, after: Option<&Role>, about: &[InterestedObject]) -> Checked {
    let Some(after) = after.map(Access::of) else {
        return Ok(());
    };
    let before = before.map(Access::of);
    // No operator approves anything in a simulation.
    let wanted = about.iter().filter(|it| it.keeps() && !it.needs_approval);
    if before.is_none() && about.iter().all(|it| it.needs_approval) {
        return violated(
            "no unapproved widening where approvals are asked for",
            format!("a role is created for {about:?}"),
        );
    }
    let wanted: Vec<Access> = wanted
        .map(|it| Access::wanted(&it.wanted, before.as_ref()))
        .collect();
    for caller in &after.callers {
        for permission in &after.permissions {
            let grants = |access: &Access| access.grants(caller, permission, !after.is_bounded);
            if !before.as_ref().is_some_and(grants) && !wanted.iter().any(grants) {
                return violated(
                    "a change grants only what the role before or an object grants",
                    format!(
                        "{caller} gets {permission} (bounded: {}), and the objects are {:?}",
                        after.is_bounded, about
                    ),
                );
            }
        }
    }
    Ok(())
}

/// An instance profile is changed only if it carries an owner tag of this cluster, or is taken over.
fn profile_is_ours(
    write: &Write,
    before: &State,
    role: Option<&Role>,
    about: &[InterestedObject],
) -> Checked {
    let name = match write {
        Write::AddToProfile(profile, _)
        | Write::RemoveFromProfile(profile, _)
        | Write::DeleteProfile(profile)
        | Write::UntagProfile(profile, _)
        | Write::TagProfile(profile, _) => profile,
        _ => return Ok(()),
    };
    let owner_of = |profile: &Profile| profile.tags.get(OWNER_TAG).cloned();
    let owner = before.profile(name).ok().and_then(owner_of);
    let is_ours = |owner: Option<&String>| owner.is_some_and(|owner| owned_by(about, owner).is_some());
    let adopts = about.iter().any(|it| {
        let unowned = it.wanted.adoption >= Adoption::IfUnowned && owner.is_none();
        it.keeps() && (unowned || it.adopts_always)
    });
    let is_right = match write {
        // A role of ours may be taken out of any profile, or it could not be deleted.
        Write::RemoveFromProfile(..) => {
            is_ours(owner.as_ref()) || is_ours(role.and_then(|role| role.tags.get(OWNER_TAG)))
        }
        Write::TagProfile(..) | Write::AddToProfile(..) => is_ours(owner.as_ref()) || adopts,
        // A second request after a lost answer.
        Write::UntagProfile(..) if owner.is_none() => true,
        _ => is_ours(owner.as_ref()),
    };
    if is_right {
        return Ok(());
    }
    violated(
        "nothing of another owner is touched",
        format!("{write:?}, and the profile's owner is {owner:?}"),
    )
}
