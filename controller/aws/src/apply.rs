//! Carries out a plan, call by call. Each call that succeeds is in the snapshot before the next begins, so
//! that whatever happens next, what was done is known.

use std::collections::{BTreeMap, VecDeque};

use rolectl_crds::{Adoption, OWNER_TAG};
use std::time::Instant;

use crate::account::Writer;
use crate::api::{Iam, InstanceProfile};
use crate::audit::Audit;
use crate::clock::now;
use crate::error::{AwsFailure, Class};
use rolectl_core::role::change::{DesiredProfile, Identity};
use rolectl_core::role::order::with_room_first;
use rolectl_core::role::{Change, ObservedRole, Plan};
use rolectl_core::snapshot::RecentProfile;

/// What became of a plan. A status is made from this, never from the plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// Changes made.
    pub done: Vec<Change>,
    /// The change that failed, and why. The ones after it were not tried.
    pub failed: Option<(Change, AwsFailure)>,
    /// The role as it is now.
    pub role: Option<ObservedRole>,
}

/// How many failures of AWS in one plan are tried again at once, and after which pause the first one is.
const TRIES: u32 = 4;
const FIRST_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// What we hold to be true was shown by AWS at least this recently, or is asked for again before a write.
const FRESH: std::time::Duration = std::time::Duration::from_secs(10);

/// Proves that an existing role is still the one that we know, before the first write to it: between two
/// sweeps somebody may have made another role under its name.
pub async fn verify(
    account: &Writer<'_>,
    iam: &dyn Iam,
    role: &ObservedRole,
    seen: Instant,
) -> Result<bool, AwsFailure> {
    if now().saturating_duration_since(seen) < FRESH {
        return Ok(true);
    }
    let now_there = match account.call("GetRole", iam.get_role(&role.name)).await {
        Ok(answer) => answer,
        Err(failure) if failure.class == Class::Vanished => return Ok(false),
        Err(failure) => return Err(failure),
    };
    let same = now_there.role_id == role.role_id && now_there.tags.get(OWNER_TAG) == role.tags.get(OWNER_TAG);
    if same {
        account.snapshot.lock().confirmed(&role.name, now());
    }
    Ok(same)
}

/// Carries out `plan` on the role called `name`. Each write is logged in `audit`.
pub async fn apply(
    account: &Writer<'_>,
    iam: &dyn Iam,
    name: &str,
    plan: Plan,
    before: Option<ObservedRole>,
    audit: &mut Audit<'_>,
) -> Applied {
    let mut applied = Applied {
        role: before,
        ..Applied::default()
    };
    audit.judge(applied.role.as_ref(), &plan.changes);
    let mut todo: VecDeque<Change> = plan.changes.into();
    let mut made_room = false;
    let mut tries = 0;
    // AWS may have made the next change although it answered that it failed.
    let mut may_be_made = false;
    while let Some(change) = todo.pop_front() {
        if let Some(stop) = account.must_stop() {
            let failure = AwsFailure::not_made(change.operation(), &stop);
            if may_be_made {
                account.snapshot.lock().invalidate(name, now());
            }
            applied.failed = Some((change, failure));
            return applied;
        }
        // Boxed: the futures of the SDK are large, and thousands of these may wait.
        match Box::pin(execute(account, iam, name, &change, applied.role.as_ref())).await {
            Ok(created) => {
                applied.role = change.after(applied.role, created);
                account.snapshot.lock().wrote(name, applied.role.clone(), now());
                audit.made(&change, applied.role.as_ref());
                applied.done.push(change);
                may_be_made = false;
            }
            // AWS answered that it failed. Every change may be made twice, and mostly the second try succeeds; a doubtful role would
            // wait for a sweep.
            Err(failure) if failure.class == Class::Transient && failure.code.is_some() && tries < TRIES => {
                audit.failed(&change, &failure);
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(tries)).await;
                tries += 1;
                may_be_made = true;
                todo.push_front(change);
            }
            Err(failure) => {
                audit.failed(&change, &failure);
                // A quota that is unknown here: what takes away goes first, where that is certain to help.
                if failure.class == Class::Quota
                    && !made_room
                    && !may_be_made
                    && let Some(role) = &applied.role
                    && let Some(order) = with_room_first(&change, &todo, role)
                {
                    made_room = true;
                    audit.judge(applied.role.as_ref(), &order);
                    todo = order.into();
                    continue;
                }
                // AWS contradicts what we knew, or may have done what it did not say: look before trying again.
                let contradicted = matches!(failure.class, Class::Vanished | Class::Exists | Class::Conflict);
                let lost_answer = may_be_made || failure.class == Class::Transient;
                let invalidates = match change {
                    // Adding a profile can be repeated, and its failure is no reason to doubt the role.
                    Change::AddInstanceProfile(_) => failure.class == Class::Vanished,
                    // The role may be out of the profile already.
                    Change::RemoveInstanceProfile(..) => true,
                    _ => contradicted || lost_answer,
                };
                if invalidates {
                    account.snapshot.lock().invalidate(name, now());
                }
                applied.failed = Some((change, failure));
                return applied;
            }
        }
    }
    applied
}

async fn execute(
    account: &Writer<'_>,
    iam: &dyn Iam,
    name: &str,
    change: &Change,
    before: Option<&ObservedRole>,
) -> Result<Option<Identity>, AwsFailure> {
    let op = change.operation();
    match change {
        Change::CreateRole(role) => return account.call(op, iam.create_role(role)).await,
        Change::Tag(tags) => account.call(op, iam.tag_role(name, tags)).await?,
        Change::UpdateTrustPolicy(document, _) => {
            let request = iam.update_assume_role_policy(name, document.as_str());
            account.call(op, request).await?;
        }
        Change::PutBoundary(arn) => {
            let request = iam.put_role_permissions_boundary(name, arn);
            account.call(op, request).await?;
        }
        Change::UpdateRole {
            description,
            max_session_duration,
            what: _,
        } => {
            let request = iam.update_role(name, description, *max_session_duration);
            account.call(op, request).await?;
        }
        Change::AttachPolicy(arn) => account.call(op, iam.attach_role_policy(name, arn)).await?,
        Change::PutInlinePolicy(policy, document, _) => {
            let request = iam.put_role_policy(name, policy, document.as_str());
            account.call(op, request).await?;
        }
        Change::DetachPolicy(arn) => {
            gone_is_done(account.call(op, iam.detach_role_policy(name, arn)).await)?;
        }
        Change::DeleteInlinePolicy(policy) => {
            gone_is_done(account.call(op, iam.delete_role_policy(name, policy)).await)?;
        }
        Change::DeleteBoundary => {
            let request = iam.delete_role_permissions_boundary(name);
            gone_is_done(account.call(op, request).await)?;
        }
        Change::Untag(keys) => gone_is_done(account.call(op, iam.untag_role(name, keys)).await)?,
        Change::AddInstanceProfile(profile) => add_profile(account, iam, name, profile).await?,
        Change::RemoveInstanceProfile(profile, owner) => {
            remove_profile(account, iam, name, (profile, owner), before).await?;
        }
        Change::ReleaseInstanceProfile(profile, owner) => {
            let linked = before.is_some_and(|role| role.instance_profiles.contains(profile));
            if owns_profile(account, iam, (profile, owner), linked).await? {
                let request = iam.untag_instance_profile(profile, OWNER_TAG);
                release_profile(account, profile, account.call(op, request).await)?;
            }
        }
        // IAM may say so of a role that it made moments ago: a sweep must show that it is gone.
        Change::DeleteRole => account.call(op, iam.delete_role(name)).await?,
    }
    Ok(None)
}

async fn add_profile(
    account: &Writer<'_>,
    iam: &dyn Iam,
    role: &str,
    profile: &DesiredProfile,
) -> Result<(), AwsFailure> {
    let DesiredProfile {
        name,
        path,
        owner,
        adoption: _,
    } = profile;
    let owner_tag = BTreeMap::from([(OWNER_TAG.to_owned(), owner.clone())]);
    let create = iam.create_instance_profile(name, path, &owner_tag);
    let created = own_profile(
        account,
        name,
        owner,
        account.call("CreateInstanceProfile", create),
    )
    .await;
    match created {
        Ok(()) => {}
        Err(failure) if failure.class == Class::Exists => {
            if recent_profile(account, name) == Some(RecentProfile::BelongsTo(owner.clone())) {
                // Created moments ago; the next step failed.
            } else if let Some(there) = get_profile(account, iam, name).await? {
                if takes_over(profile, role, &there)? {
                    let tag = iam.tag_instance_profile(name, &owner_tag);
                    own_profile(account, name, owner, account.call("TagInstanceProfile", tag)).await?;
                }
            } else {
                return Err(not_shown_yet(name));
            }
        }
        Err(failure) => return Err(failure),
    }
    let add = iam.add_role_to_instance_profile(name, role);
    match account.call("AddRoleToInstanceProfile", add).await {
        // A profile has room for one role. That is no quota where the role is the one in it.
        Err(failure) if failure.class == Class::Quota => match get_profile(account, iam, name).await? {
            None => Err(not_shown_yet(name)),
            Some(there) => match other_role(&there, role) {
                Some(other) => Err(holds_another(name, other)),
                None if there.roles.is_empty() => Err(not_shown_yet(name)),
                None => Ok(()),
            },
        },
        other => other,
    }
}

/// Makes a call that gives a profile our owner tag. AWS may carry it out although no answer arrives, so it is recorded before the call
/// and forgotten only when AWS has refused it.
async fn own_profile(
    account: &Writer<'_>,
    profile: &str,
    owner: &str,
    call: impl Future<Output = Result<(), AwsFailure>>,
) -> Result<(), AwsFailure> {
    let record = |state, at| account.snapshot.lock().record_profile(profile, state, at);
    let before = account.snapshot.lock().recent_profile(profile, now());
    let recorded = before.as_ref().map(|(state, _)| state);
    let (asked, ours) = (
        RecentProfile::MayBelongTo(owner.to_owned()),
        RecentProfile::BelongsTo(owner.to_owned()),
    );
    let is_ours = recorded == Some(&ours);
    if !is_ours {
        record(Some(asked.clone()), now());
    }
    let result = call.await;
    match &result {
        Ok(()) => record(Some(ours), now()),
        // The call may have waited long for its turn, so the minute begins now.
        Err(failure) if failure.class == Class::Transient => {
            record(Some(if is_ours { ours } else { asked }), now());
        }
        Err(_) if is_ours => {}
        // An earlier attempt without an answer may be what AWS found.
        Err(failure) if failure.class == Class::Exists && is_asked_for(recorded, owner) => {}
        // Unless another visit has recorded something since.
        Err(_) => {
            if recent_profile(account, profile) == Some(asked) {
                let at = before.as_ref().map_or_else(now, |(_, at)| *at);
                record(before.map(|(state, _)| state), at);
            }
        }
    }
    result
}

/// Returns true if this process asked AWS to give the profile this owner tag, and has no answer.
fn is_asked_for(recent: Option<&RecentProfile>, owner: &str) -> bool {
    matches!(recent, Some(RecentProfile::MayBelongTo(by)) if by == owner)
}

/// What this process did to the profile moments ago.
fn recent_profile(account: &Writer<'_>, profile: &str) -> Option<RecentProfile> {
    let recent = account.snapshot.lock().recent_profile(profile, now());
    recent.map(|(state, _)| state)
}

/// Takes in the answer to a call that deletes a profile or removes its owner tag.
fn release_profile(
    account: &Writer<'_>,
    profile: &str,
    result: Result<(), AwsFailure>,
) -> Result<(), AwsFailure> {
    if let Err(failure) = result {
        if !failure.is_missing() {
            return Err(failure);
        }
        // IAM may say so of a profile that it made moments ago.
        let is_new = recent_profile(account, profile).is_some_and(|recent| recent != RecentProfile::Released);
        if is_new {
            return Err(not_shown_yet(profile));
        }
    }
    account
        .snapshot
        .lock()
        .record_profile(profile, Some(RecentProfile::Released), now());
    Ok(())
}

/// Returns true if an instance profile that exists is to be tagged as ours first, or why it may not be used.
fn takes_over(profile: &DesiredProfile, role: &str, there: &InstanceProfile) -> Result<bool, AwsFailure> {
    let name = &profile.name;
    let owner = owner_of(there);
    if owner == Some(&profile.owner) {
        return Ok(false);
    }
    let allowed = match owner {
        None => profile.adoption >= Adoption::IfUnowned,
        Some(_) => profile.adoption >= Adoption::Always,
    };
    if !allowed {
        let (belongs, adoption) = match owner {
            None => (String::new(), Adoption::IfUnowned),
            Some(owner) => (format!(", it belongs to {owner}"), Adoption::Always),
        };
        return Err(refused(format!(
            "instance profile {name} exists and is not ours{belongs}: name another in spec.instanceProfile, or take it with adoption: {adoption:?}, which the account must allow"
        )));
    }
    other_role(there, role).map_or(Ok(true), |other| Err(holds_another(name, other)))
}

fn owner_of(profile: &InstanceProfile) -> Option<&String> {
    profile.tags.get(OWNER_TAG)
}

/// The role in the profile, if it is another one. IAM's names are unique without case.
fn other_role<'a>(profile: &'a InstanceProfile, role: &str) -> Option<&'a str> {
    let mut roles = profile.roles.iter().map(String::as_str);
    roles.find(|there| !there.eq_ignore_ascii_case(role))
}

fn refused(message: String) -> AwsFailure {
    AwsFailure {
        operation: "AddRoleToInstanceProfile",
        code: None,
        message,
        class: Class::Invalid,
    }
}

fn holds_another(profile: &str, role: &str) -> AwsFailure {
    refused(format!(
        "instance profile {profile} contains role {role}, and can contain one role only: name another in spec.instanceProfile, or remove that role from it"
    ))
}

/// AWS proves that the profile exists, and a read does not show it yet.
fn not_shown_yet(profile: &str) -> AwsFailure {
    AwsFailure {
        operation: "GetInstanceProfile",
        code: None,
        message: format!(
            "IAM does not show the present state of instance profile {profile} yet; a retry follows"
        ),
        class: Class::Conflict,
    }
}

async fn remove_profile(
    account: &Writer<'_>,
    iam: &dyn Iam,
    role: &str,
    (profile, owner): (&str, &str),
    before: Option<&ObservedRole>,
) -> Result<(), AwsFailure> {
    // Without a role of ours, what is in the profile may be a stranger's role of the same name.
    if before.is_none() && !owns_profile(account, iam, (profile, owner), false).await? {
        return Ok(());
    }
    let linked = before.is_some_and(|role| role.instance_profiles.contains(profile));
    let remove = iam.remove_role_from_instance_profile(profile, role);
    let exists = match account.call("RemoveRoleFromInstanceProfile", remove).await {
        Ok(()) => true,
        // The profile, the role or the link is missing: what follows finds out.
        Err(failure) if failure.is_missing() => linked,
        Err(failure) => return Err(failure),
    };
    if owns_profile(account, iam, (profile, owner), exists).await? {
        let delete = iam.delete_instance_profile(profile);
        let deleted = account.call("DeleteInstanceProfile", delete).await;
        release_profile(account, profile, deleted)?;
    }
    Ok(())
}

/// Returns true if the profile carries our owner tag. If it `exists` for certain, or this process asked for it moments ago, and a read does
/// not show it, it is asked for again: otherwise it would stay behind without an owner who knows of it.
async fn owns_profile(
    account: &Writer<'_>,
    iam: &dyn Iam,
    (profile, owner): (&str, &str),
    exists: bool,
) -> Result<bool, AwsFailure> {
    let recent = recent_profile(account, profile);
    match &recent {
        Some(RecentProfile::BelongsTo(by)) if by == owner => return Ok(true),
        Some(RecentProfile::Released) => return Ok(false),
        _ => {}
    }
    let exists = exists || is_asked_for(recent.as_ref(), owner);
    match get_profile(account, iam, profile).await? {
        Some(there) => Ok(owner_of(&there).is_some_and(|by| by == owner)),
        None if exists => Err(not_shown_yet(profile)),
        None => Ok(false),
    }
}

async fn get_profile(
    account: &Writer<'_>,
    iam: &dyn Iam,
    profile: &str,
) -> Result<Option<InstanceProfile>, AwsFailure> {
    match account
        .call("GetInstanceProfile", iam.get_instance_profile(profile))
        .await
    {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.is_missing() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What we want taken off the role and is off already is done. That the role itself is gone is another matter.
fn gone_is_done(result: Result<(), AwsFailure>) -> Result<(), AwsFailure> {
    match result {
        Ok(()) => Ok(()),
        Err(failure) => {
            if failure.is_missing() && !failure.message.contains("role with name") {
                Ok(())
            } else {
                Err(failure)
            }
        }
    }
}
