//! What must be true of every call and of every change. Each function says which rule is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rolectl_core::names::{RoleKey, name_in_aws};
use rolectl_core::selection::admits;
use rolectl_crds::OWNER_TAG;
use tokio::time::Instant;

use crate::aws::iam::{Role, State, Write};
use crate::aws::world::{Credential, Request, World};
use crate::cluster::{Cluster, LEASE, Object, selected};
use crate::spec::{Wanted, callers, normal_text, only_denies};

/// An outsider's change this recent may not have been seen: a sweep comes every five minutes, and a change takes time.
const UNSEEN: Duration = Duration::from_secs(420);
/// A role that somebody else took over this recently may still be written: it is proven to be ours at most ten seconds before a
/// change begins, by a read that may be late.
const FOREIGN: Duration = Duration::from_secs(60);
/// So many calls about one role in one account within an hour, whatever fails.
const CALLS_AN_HOUR: u32 = 400;

/// What was declared when a call began.
#[derive(Clone, Debug, Default)]
pub struct Begun {
    /// What each object that names the role wanted, and whether it was being removed from this account.
    wanted: Vec<(RoleKey, Wanted, bool)>,
}

/// Returns what was declared, or why the call must not be made.
///
/// # Errors
/// The rule that the call breaks.
pub fn may_begin(
    world: &World,
    replica: usize,
    credential: &Credential,
    operation: &str,
    request: &Request,
) -> Result<Begun, String> {
    let now = Instant::now();
    let lease = world.cluster.with(|objects| objects.lease);
    let holds = lease.is_some_and(|lease| lease.holder == replica && now < lease.renewed + LEASE);
    if !holds {
        return Err(format!(
            "replica {replica} calls AWS without the Lease ({lease:?})"
        ));
    }
    let is_locked = world.with(|aws| aws.locked.contains(&(replica, credential.session.clone())));
    if is_locked {
        return Err("the session is locked".to_owned());
    }
    let Request::Write(write) = request else {
        return Ok(Begun::default());
    };
    let account = &credential.account;
    let name = write.target();
    let objects = world.cluster.wanting(name);
    if objects.is_empty() {
        return Err(format!("{operation} for {name}, which no object wants"));
    }
    let hour = world.with(|aws| {
        let hour = aws.seconds() / 3600;
        let calls = aws.history(account, name).calls.entry(hour).or_default();
        *calls += 1;
        *calls
    });
    if hour > CALLS_AN_HOUR {
        return Err(format!("{hour} calls about {name} within an hour"));
    }
    let (suspended, admitted, wanted) = world.cluster.with(|cluster| {
        let found = cluster
            .accounts
            .iter()
            .find(|(_, object)| object.spec.account_id == *account);
        let Some((account_name, object)) = found else {
            return (true, false, vec![]);
        };
        let is_removed = |role: &Object| {
            role.role.metadata.deletion_timestamp.is_some()
                || !selected(cluster, &role.role).contains(account_name)
        };
        let wanted: Vec<_> = objects
            .iter()
            .map(|o| (RoleKey::of(&o.role), Wanted::of(&o.role), is_removed(o)))
            .collect();
        let admitted = wanted
            .iter()
            .any(|(key, _, is_removed)| *is_removed || admits(object, &key.namespace, None));
        (object.spec.suspend, admitted, wanted)
    });
    if suspended {
        return Err(format!("{operation} in a suspended account"));
    }
    if !admitted {
        return Err(format!(
            "{operation} for {name}, whose namespace the account does not admit"
        ));
    }
    Ok(Begun { wanted })
}

/// Who may do what with a role.
#[derive(Debug)]
struct Access {
    callers: BTreeSet<String>,
    permissions: BTreeSet<String>,
    is_bounded: bool,
}

impl Access {
    fn of(role: &Role) -> Self {
        let inline = role.inline.values().filter(|document| !only_denies(document));
        Self {
            callers: callers(&serde_json::from_str(&role.trust).unwrap_or_default()),
            permissions: role
                .managed
                .iter()
                .cloned()
                .chain(inline.map(|document| normal_text(document)))
                .collect(),
            is_bounded: role.boundary.is_some(),
        }
    }

    fn wanted(wanted: &Wanted) -> Self {
        Self {
            callers: wanted.callers.clone(),
            permissions: wanted
                .managed
                .iter()
                .chain(wanted.inline.values())
                .cloned()
                .collect(),
            is_bounded: wanted.boundary.is_some(),
        }
    }

    /// Returns true if this grants the permission to the caller, without a boundary if `unbounded`.
    fn grants(&self, caller: &str, permission: &str, unbounded: bool) -> bool {
        self.callers.contains(caller)
            && self.permissions.contains(permission)
            && !(unbounded && self.is_bounded)
    }
}

/// Checks a change that AWS has made.
///
/// # Errors
/// The rule that it breaks.
pub fn was_right(
    world: &World,
    account: &str,
    write: &Write,
    begun: &Begun,
    (before, after): (&State, &State),
) -> Result<(), String> {
    if write.is_about_profile() {
        return profile_was_right(write, before);
    }
    let name = write.target();
    let (touched, foreign, owners) = world.with(|aws| {
        let history = aws.history(account, name);
        let recent = |at: Option<Instant>, within| at.is_some_and(|at| at.elapsed() < within);
        (
            recent(history.touched, UNSEEN),
            recent(history.foreign_since, FOREIGN),
            history.owners.clone(),
        )
    });
    let role_before = before.role(name).ok();
    if let Some(role) = role_before
        && !foreign
    {
        may_touch(role, begun, &owners)?;
    }
    if touched {
        return Ok(());
    }
    stays_restricted(role_before, write, begun)?;
    never_wider(role_before, after.role(name).ok(), begun)
}

/// A role of another owner is not touched, and one without owner only where the object takes it over or it was ours.
fn may_touch(role: &Role, begun: &Begun, owners: &BTreeMap<String, String>) -> Result<(), String> {
    let is_known = |owner: &str| begun.wanted.iter().any(|(key, ..)| owner == format!("c/{key}"));
    match role.tags.get(OWNER_TAG) {
        Some(owner) if is_known(owner) => Ok(()),
        Some(owner) => Err(format!("the role belongs to {owner}")),
        None => {
            let adopts = begun.wanted.iter().any(|(_, wanted, _)| wanted.adopts);
            let was_ours = owners.get(&role.id).is_some_and(|owner| is_known(owner));
            if adopts || was_ours {
                Ok(())
            } else {
                Err("the role has no owner, and nobody takes it over".to_owned())
            }
        }
    }
}

/// What an outsider restricts stays until the role is removed.
fn stays_restricted(before: Option<&Role>, write: &Write, begun: &Begun) -> Result<(), String> {
    let Some(before) = before else {
        return Ok(());
    };
    let is_kept = begun
        .wanted
        .iter()
        .any(|(_, wanted, is_removed)| !is_removed && wanted.exists);
    let is_removed = begun
        .wanted
        .iter()
        .any(|(_, wanted, is_removed)| *is_removed || !wanted.exists);
    if !is_kept || is_removed {
        return Ok(());
    }
    match write {
        Write::DeleteInline(_, policy) if before.inline.get(policy).is_some_and(|text| only_denies(text)) => {
            Err(format!("the outsider's restriction {policy} is removed"))
        }
        Write::DeleteBoundary(_)
            if begun
                .wanted
                .iter()
                .all(|(_, wanted, _)| wanted.boundary.is_none()) =>
        {
            Err("the outsider's boundary is removed".to_owned())
        }
        _ => Ok(()),
    }
}

/// Each pair of a caller and a permission was granted before the change, or is granted by an object.
fn never_wider(before: Option<&Role>, after: Option<&Role>, begun: &Begun) -> Result<(), String> {
    let Some(after) = after.map(Access::of) else {
        return Ok(());
    };
    let before = before.map(Access::of);
    let wanted: Vec<Access> = begun
        .wanted
        .iter()
        .map(|(_, wanted, _)| Access::wanted(wanted))
        .collect();
    for caller in &after.callers {
        for permission in &after.permissions {
            let grants = |access: &Access| access.grants(caller, permission, !after.is_bounded);
            if !before.as_ref().is_some_and(grants) && !wanted.iter().any(grants) {
                return Err(format!(
                    "{caller} gets {permission} (bounded: {}), which neither the role before nor an object grants",
                    after.is_bounded
                ));
            }
        }
    }
    Ok(())
}

/// Only a profile that carries our tag is deleted.
fn profile_was_right(write: &Write, before: &State) -> Result<(), String> {
    let Write::DeleteProfile(name) = write else {
        return Ok(());
    };
    match before
        .profile(name)
        .ok()
        .and_then(|profile| profile.tags.get(OWNER_TAG))
    {
        Some(owner) if owner.starts_with("c/") => Ok(()),
        owner => Err(format!("instance profile {name} of {owner:?} is deleted")),
    }
}

/// What is wrong at rest: every role is as its object says or refused for the right reason, and nothing is left behind.
///
/// # Errors
/// The first difference.
pub fn is_settled(
    world: &World,
    report: impl Fn(&str, &RoleKey) -> Option<(String, String)>,
) -> Result<(), String> {
    let (roles, accounts): (Vec<Object>, Vec<_>) = world.cluster.with(|objects| {
        (
            objects.roles.values().cloned().collect(),
            objects
                .accounts
                .iter()
                .map(|(n, a)| (n.clone(), a.clone()))
                .collect(),
        )
    });
    if let Some(object) = roles
        .iter()
        .find(|object| object.role.metadata.deletion_timestamp.is_some())
    {
        let can_go = object
            .mentioned
            .iter()
            .all(|name| accounts.iter().any(|(n, a)| n == name && !a.spec.suspend));
        if can_go {
            return Err(format!("{} is not gone", RoleKey::of(&object.role)));
        }
    }
    for (name, account) in &accounts {
        if account.spec.suspend {
            continue;
        }
        let state = world.with(|aws| aws.iam(&account.spec.account_id).now());
        no_orphan(world, &state, name, &roles)?;
        for object in &roles {
            let key = RoleKey::of(&object.role);
            let is_selected = world
                .cluster
                .with(|objects| selected(objects, &object.role).contains(name));
            if object.role.metadata.deletion_timestamp.is_some() || !is_selected {
                continue;
            }
            let Some((reported, message)) = report(name, &key) else {
                return Err(format!("{key} in {name}: no report"));
            };
            if !admits(account, &key.namespace, None) {
                if reported != "NamespaceNotAllowed" {
                    return Err(format!(
                        "{key} in {name}: {reported}, but the namespace is not admitted"
                    ));
                }
                continue;
            }
            let is_rival = |other: &&Object| {
                let is_selected = world
                    .cluster
                    .with(|objects| selected(objects, &other.role).contains(name));
                let namespace = other.role.metadata.namespace.as_deref().unwrap_or_default();
                other.role.metadata.uid != object.role.metadata.uid
                    && name_in_aws(&other.role) == name_in_aws(&object.role)
                    && is_selected
                    && admits(account, namespace, None)
            };
            let has_rival = roles.iter().any(|other| is_rival(&other));
            is_as_wanted(&state, object, &reported, has_rival)
                .map_err(|why| format!("{key} in {name} is reported {reported} ({message}), but {why}"))?;
        }
    }
    Ok(())
}

fn no_orphan(world: &World, state: &State, account: &str, roles: &[Object]) -> Result<(), String> {
    let tagged = state
        .roles
        .values()
        .map(|role| (&role.name, role.tags.get(OWNER_TAG)));
    // The tag of a role records the profile that was made for it, and an outsider who takes the role away takes that, too.
    let id = world.cluster.with(|objects| {
        objects
            .accounts
            .get(account)
            .map(|object| object.spec.account_id.clone())
    });
    let id = id.unwrap_or_default();
    let is_ours_alone = |name: &str| world.with(|aws| aws.history(&id, name).touched.is_none());
    let profiles = state
        .profiles
        .values()
        .filter(|profile| is_ours_alone(&profile.name));
    let tagged = tagged.chain(profiles.map(|profile| (&profile.name, profile.tags.get(OWNER_TAG))));
    for (name, owner) in tagged {
        let Some(owner) = owner.filter(|owner| owner.starts_with("c/")) else {
            continue;
        };
        let object = roles.iter().find(|object| Cluster::owner(&object.role) == *owner);
        let is_wanted = object.is_some_and(|object| {
            let is_selected = world
                .cluster
                .with(|objects| selected(objects, &object.role).iter().any(|n| n == account));
            is_selected && object.role.metadata.deletion_timestamp.is_none()
        });
        if !is_wanted {
            return Err(format!("{name} in {account} is left behind, with owner {owner}"));
        }
    }
    Ok(())
}

fn is_as_wanted(state: &State, object: &Object, reported: &str, has_rival: bool) -> Result<(), String> {
    let wanted = Wanted::of(&object.role);
    let owner = Cluster::owner(&object.role);
    let name = name_in_aws(&object.role);
    let there = state.role(name).ok();
    let owned_by = there.and_then(|role| role.tags.get(OWNER_TAG));
    let is_ours = owned_by == Some(&owner);
    match reported {
        "Duplicate" | "OwnedByOther" if (has_rival || owned_by.is_some()) && !is_ours => Ok(()),
        "OwnedByOther" | "AlreadyExists" if there.is_some() && !is_ours => {
            if owned_by.is_none() && wanted.adopts && wanted.exists {
                Err("the object takes it over".to_owned())
            } else {
                Ok(())
            }
        }
        "InvalidSpec" | "AwaitingPrincipal" if wanted.is_waiting => Ok(()),
        "InSync" if wanted.exists => {
            let role = there.ok_or("there is no role")?;
            if !is_ours {
                return Err(format!("its owner is {owned_by:?}"));
            }
            differs(role, &wanted, state)
        }
        "InSync" => {
            if is_ours {
                Err("the role is there".to_owned())
            } else {
                Ok(())
            }
        }
        // An instance profile of this name belongs to somebody else.
        "InvalidSpec"
            if wanted.profile.is_some()
                && state
                    .profile(name)
                    .is_ok_and(|p| p.tags.get(OWNER_TAG) != Some(&owner)) =>
        {
            Ok(())
        }
        other => Err(format!("{other} is not to be expected, with {there:?} there")),
    }
}

/// Checks a report that a role is in sync.
///
/// # Errors
/// The difference, if the object has the generation that was reported and no outsider has touched the role.
pub fn is_true(world: &World, account: &str, key: &RoleKey, generation: Option<i64>) -> Result<(), String> {
    let (object, account) = world.cluster.with(|objects| {
        let account = objects
            .accounts
            .get(account)
            .map(|account| account.spec.account_id.clone());
        (objects.roles.get(key).cloned(), account.unwrap_or_default())
    });
    let Some(object) = object.filter(|object| object.role.metadata.generation == generation) else {
        return Ok(());
    };
    let (name, wanted) = (name_in_aws(&object.role), Wanted::of(&object.role));
    let (state, is_touched) = world.with(|aws| {
        let touched = aws.history(&account, name).touched;
        let is_touched = touched.is_some_and(|touched| touched.elapsed() < UNSEEN);
        (aws.iam(&account).now(), is_touched)
    });
    if is_touched {
        return Ok(());
    }
    match state.role(name) {
        Ok(role) if wanted.exists => differs(role, &wanted, &state),
        Err(_) if wanted.exists => Err("there is no role".to_owned()),
        _ => Ok(()),
    }
}

fn differs(role: &Role, wanted: &Wanted, state: &State) -> Result<(), String> {
    let trusted = callers(&serde_json::from_str(&role.trust).unwrap_or_default());
    if trusted != wanted.callers {
        return Err(format!("it trusts {trusted:?}"));
    }
    if role.managed != wanted.managed {
        return Err(format!("attached are {:?}", role.managed));
    }
    let inline: BTreeMap<String, String> = role
        .inline
        .iter()
        .filter(|(_, document)| !only_denies(document))
        .map(|(name, document)| (name.clone(), normal_text(document)))
        .collect();
    if inline != wanted.inline {
        return Err(format!("inline policies are {inline:?}"));
    }
    if wanted.boundary.is_some() && role.boundary != wanted.boundary {
        return Err(format!("the boundary is {:?}", role.boundary));
    }
    if (role.max_session_duration, &role.description) != (wanted.duration, &wanted.description) {
        return Err(format!("{} s, {:?}", role.max_session_duration, role.description));
    }
    let tags: BTreeMap<&String, &String> = role
        .tags
        .iter()
        .filter(|(key, _)| !key.starts_with("iam.rolectl.dev/"))
        .collect();
    if tags != wanted.tags.iter().collect() {
        return Err(format!("the tags are {tags:?}"));
    }
    let profiles: BTreeSet<String> = wanted.profile.clone().into_iter().collect();
    let there = state.profiles_of(&role.name);
    if !profiles.is_subset(&there) {
        return Err(format!("it is in the profiles {there:?}"));
    }
    Ok(())
}
