//! What must be true once faults have ended: every role is as its object declares it or refused for the right reason, and nothing is
//! left behind.

use rolectl_core::names::RoleKey;
use rolectl_crds::{Adoption, AwsAccount, OWNER_TAG, Reason};

use super::difference::compare;
use crate::aws::iam::{Role, State};
use crate::aws::service::Service;
use crate::kubernetes::objects::{Object, Objects, is_of_this_cluster};
use crate::ledger::Ledger;
use crate::spec::UNKNOWN_PRINCIPAL;
use crate::wanted::Wanted;

/// What was last reported of a role in an account, about its newest spec.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The state. `None`: there is no report about the newest spec.
    pub state: Option<Reason>,
    /// What was reported in full.
    pub text: String,
}

/// Finds a report by account and object.
pub type FindReport<'a> = &'a dyn Fn(&str, &RoleKey) -> Option<Reported>;

/// Everything that the end of a run is checked by.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// The objects.
    pub objects: &'a Objects,
    /// AWS.
    pub service: &'a Service,
    /// The past.
    pub ledger: &'a Ledger,
    /// The reports of the replica that holds the Lease.
    pub report: FindReport<'a>,
}

/// One account at the end.
struct InAccount<'a> {
    end: End<'a>,
    name: &'a str,
    object: &'a AwsAccount,
    state: &'a State,
    knows_all_principals: bool,
}

impl<'a> End<'a> {
    /// Checks that everything is as declared.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(self) -> Result<(), String> {
        for object in self
            .objects
            .roles
            .values()
            .filter(|object| object.is_deleted() && !object.wanted.is_suspended)
        {
            // An account that is suspended keeps the object waiting.
            let is_reachable = |name: &String| {
                let account = self.objects.accounts.get(name);
                account.is_some_and(|account| !account.spec.suspend)
            };
            if object.mentioned.iter().all(is_reachable) {
                return Err(format!("{} still exists, although it was deleted", object.key()));
            }
        }
        for (name, object) in &self.objects.accounts {
            if object.spec.suspend {
                continue;
            }
            let state = self.service.state(&object.spec.account_id);
            let account = InAccount {
                end: self,
                name,
                object,
                state: &state,
                knows_all_principals: !self.has_unknown_principal(object),
            };
            account.check_orphans()?;
            for object in self.objects.roles.values() {
                account.check_role(object)?;
            }
        }
        Ok(())
    }

    fn has_unknown_principal(self, account: &AwsAccount) -> bool {
        let id = &account.spec.account_id;
        self.service
            .with(|aws| aws.iam(id).unknown_principals.contains(UNKNOWN_PRINCIPAL))
    }

    /// Returns true if AWS refuses a change of a role for now, so that it is tried again and again, and other drift of that role is corrected only
    /// then: a principal does not exist, or an instance profile is somebody else's.
    pub fn is_refused_by_aws(self) -> bool {
        self.objects.accounts.iter().any(|(name, account)| {
            let knows_all_principals = !self.has_unknown_principal(account);
            let state = self.service.state(&account.spec.account_id);
            let account = InAccount {
                end: self,
                name,
                object: account,
                state: &state,
                knows_all_principals,
            };
            let mut objects = self.objects.roles.values();
            objects.any(|object| {
                object.wanted.is_waiting && !knows_all_principals
                    || account.is_profile_taken(&object.wanted, object)
            })
        })
    }
}

impl InAccount<'_> {
    /// Nothing carries the owner tag of an object that is to have nothing here.
    fn check_orphans(&self) -> Result<(), String> {
        let roles = self.state.roles.values();
        let roles = roles.map(|role| (&role.name, role.tags.get(OWNER_TAG), "role"));
        let profiles = self.state.profiles.values();
        let profiles = profiles.filter(|profile| !self.was_changed_outside(&profile.name));
        let profiles =
            profiles.map(|profile| (&profile.name, profile.tags.get(OWNER_TAG), "instance profile"));
        for (name, owner, what) in roles.chain(profiles) {
            let Some(owner) = owner.filter(|owner| is_of_this_cluster(owner)) else {
                continue;
            };
            let object = self.end.objects.owned_by(owner);
            let is_wanted = object.is_some_and(|object| {
                object.wanted.is_suspended || !self.end.objects.is_removed(object, self.name)
            });
            if !is_wanted {
                let place = self.name;
                return Err(format!("{what} {name} of {owner} is left in {place}"));
            }
        }
        Ok(())
    }

    fn check_role(&self, object: &Object) -> Result<(), String> {
        let (key, account) = (object.key(), self.name);
        if object.wanted.is_suspended {
            return Ok(());
        }
        if self.end.objects.is_removed(object, account) {
            let reported = (self.end.report)(account, &key).and_then(|reported| reported.state);
            let is_tried_again =
                reported.is_some_and(|state| state.is_reconciling() && state != Reason::Removed);
            return if is_tried_again {
                Err(format!("{key} in {account} is still being removed: {reported:?}"))
            } else {
                Ok(())
            };
        }
        let Some(reported) = (self.end.report)(account, &key) else {
            return Err(format!("{key} in {account}: no report"));
        };
        let differs = |why: String| format!("{key} in {account} is reported {}, but {why}", reported.text);
        let Some(reason) = reported.state else {
            return Err(differs("its spec has changed since".to_owned()));
        };
        if !self.end.objects.admits(account, object) {
            return match reason {
                Reason::NamespaceNotAllowed => Ok(()),
                _ => Err(differs("its namespace is not admitted".to_owned())),
            };
        }
        self.check_reason(object, reason).map_err(differs)
    }

    fn check_reason(&self, object: &Object, reason: Reason) -> Result<(), String> {
        let wanted = &object.wanted;
        let there = self.state.role(object.role_name()).ok();
        let owner = there.and_then(|role| role.tags.get(OWNER_TAG));
        let is_ours = owner == Some(&object.owner());
        let so = |is_so: bool, but: &str| if is_so { Ok(()) } else { Err(but.to_owned()) };
        match reason {
            Reason::InSync => {
                self.check_in_sync(wanted, there, is_ours)?;
                so(
                    !self.has_old_profile(wanted, object),
                    "an earlier instance profile is left",
                )
            }
            Reason::Drifted => {
                let is_same = self.check_in_sync(wanted, there, is_ours).is_ok()
                    && !self.has_old_profile(wanted, object);
                // Whoever saw the role with its owner tag knows whose it is without it.
                let past = self
                    .end
                    .ledger
                    .past(&self.object.spec.account_id, object.role_name());
                let was_ours = there.is_some_and(|role| past.owners.get(&role.id) == Some(&object.owner()));
                so(
                    wanted.reports_drift && (!is_same || was_ours),
                    "it is as declared, or drift is corrected",
                )
            }
            Reason::Duplicate => so(
                // The role of an object whose namespace is no longer admitted stays its own.
                !is_ours
                    && (self.has_rival(object)
                        || owner.is_some_and(|owner| self.end.objects.owned_by(owner).is_some())),
                "no other object has a role of this name",
            ),
            Reason::OwnedByOther | Reason::AlreadyExists => {
                let may_adopt = if owner.is_some() {
                    wanted.adoption == Adoption::Always && self.end.objects.adopts_always(self.name)
                } else {
                    wanted.adoption >= Adoption::IfUnowned
                };
                // IAM takes names for the same that differ in case only, and nothing changes the name of a role.
                let has_other_case = there.is_some_and(|role| role.name != object.role_name());
                so(
                    has_other_case || there.is_some() && !is_ours && !(may_adopt && wanted.exists),
                    "there is no such role, or the object takes it over",
                )
            }
            Reason::AwaitingApproval => so(
                self.end.objects.asks_for_approvals(self.name),
                "the account asks for no approvals",
            ),
            Reason::AwaitingPrincipal => so(
                wanted.is_waiting && !self.knows_all_principals,
                "all principals exist",
            ),
            Reason::InvalidSpec => {
                let is_waiting = wanted.is_waiting && !self.knows_all_principals;
                so(
                    is_waiting || self.is_profile_taken(wanted, object),
                    "all principals exist and its instance profile is its own",
                )
            }
            Reason::QuotaExceeded => {
                let limits = self.state.limits;
                let is_full = there.is_none() && self.state.roles.len() >= limits.roles;
                // Where policies that the spec does not list stay, they take room, too.
                let attached = there.map_or(0, |role| role.managed.union(&wanted.managed).count());
                let is_too_much = wanted.managed.len().max(attached) > limits.attached;
                so(is_full || is_too_much, "there is room")
            }
            Reason::GuardrailViolated => {
                let guardrails = self.object.spec.guardrails.as_ref();
                let limit = guardrails.and_then(|guardrails| guardrails.max_roles);
                let owned = self.state.roles.values().filter(|role| {
                    let owner = role.tags.get(OWNER_TAG);
                    owner.is_some_and(|owner| is_of_this_cluster(owner))
                });
                let is_full = limit.is_some_and(|limit| owned.count() >= limit as usize);
                let adopts_too_much =
                    wanted.adoption == Adoption::Always && !self.end.objects.adopts_always(self.name);
                so(
                    !is_ours && (is_full || there.is_some() && adopts_too_much),
                    "maxRoles is not reached, and the account allows the adoption",
                )
            }
            other => Err(format!("{other:?} is not expected, with {there:?} there")),
        }
    }

    fn check_in_sync(&self, wanted: &Wanted, there: Option<&Role>, is_ours: bool) -> Result<(), String> {
        match (wanted.exists, there) {
            (true, None) => Err("there is no role".to_owned()),
            (true, Some(role)) if !is_ours => Err(format!("its owner is {:?}", role.tags.get(OWNER_TAG))),
            (true, Some(role)) => compare(role, wanted, self.state),
            (false, Some(_)) if is_ours => Err("the role is there".to_owned()),
            (false, _) => Ok(()),
        }
    }

    /// Returns true if somebody outside has changed the role. A tag of the role lists the instance profiles that were made for it; whoever
    /// removes that tag or the role orphans them, so they are not checked then.
    fn was_changed_outside(&self, name: &str) -> bool {
        let past = self.end.ledger.past(&self.object.spec.account_id, name);
        past.changed_outside.is_some()
    }

    /// Returns true if an instance profile of this object exists that its spec does not ask for.
    fn has_old_profile(&self, wanted: &Wanted, object: &Object) -> bool {
        let is_recorded = !self.was_changed_outside(object.role_name());
        let is_left = wanted.profile.is_none() || !wanted.exists;
        let owner = object.owner();
        let mut profiles = self.state.profiles.values();
        is_recorded && is_left && profiles.any(|profile| profile.tags.get(OWNER_TAG) == Some(&owner))
    }

    /// Returns true if another object may have the role's name in this account, and is not refused as a duplicate, too.
    fn has_rival(&self, object: &Object) -> bool {
        let objects = self.end.objects;
        let rivals = objects.wanting(object.role_name()).into_iter().filter(|other| {
            other.key() != object.key()
                && !objects.is_removed(other, self.name)
                && objects.admits(self.name, other)
        });
        let mut rivals = rivals.map(|other| (self.end.report)(self.name, &other.key()));
        rivals.any(|reported| reported.and_then(|reported| reported.state) != Some(Reason::Duplicate))
    }

    fn is_profile_taken(&self, wanted: &Wanted, object: &Object) -> bool {
        let Some(profile) = &wanted.profile else {
            return false;
        };
        let found = self.state.profile(profile);
        found.is_ok_and(|profile| {
            let is_other = profile.tags.get(OWNER_TAG) != Some(&object.owner());
            let contains_another = profile
                .role
                .as_ref()
                .is_some_and(|role| !role.eq_ignore_ascii_case(object.role_name()));
            is_other || contains_another
        })
    }
}
