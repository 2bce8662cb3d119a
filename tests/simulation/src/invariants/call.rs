//! May this call be made? What the replica acts on is its cache: a call is right by what the cache shows at that moment.

use std::sync::Arc;
use std::time::Duration;

use rolectl_aws::lease_term::TERM;
use rolectl_core::names::RoleKey;
use rolectl_crds::OWNER_TAG;
use tokio::time::Instant;

use super::Invariants;
use crate::aws::iam::Write;
use crate::aws::service::{Call, Request};
use crate::journal::{Checked, Violation, violated};
use crate::kubernetes::objects::{CLUSTER, Objects};
use crate::wanted::Wanted;

/// Writes about one role in one account within an hour, whatever fails.
const WRITES_AN_HOUR: u32 = 400;
/// Calls in one account within an hour, whatever fails.
const CALLS_AN_HOUR: u32 = 4000;
/// A role is created only in an account that admitted its namespace within this time, however late the cache is. A call waits that long
/// for its turn while AWS throttles.
const ADMITTED_WITHIN: Duration = Duration::from_secs(30);

/// An object that wants the role of a call, as the cache of the replica showed it when the call began.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    pub(super) key: RoleKey,
    pub(super) wanted: Arc<Wanted>,
    /// The object is to have no role in this account.
    pub(super) is_removed: bool,
    /// The account admits the object's namespace.
    pub(super) is_admitted: bool,
    /// The account lets the object take over roles of other owners.
    pub(super) adopts_always: bool,
}

impl Claimant {
    /// Returns true if the object is to have a role in this account.
    pub(super) fn keeps(&self) -> bool {
        !self.is_removed && self.wanted.exists && self.is_admitted
    }
}

/// Everyone who wants the role of a call.
#[derive(Clone, Debug, Default)]
pub(super) struct Begun {
    pub(super) claimants: Vec<Claimant>,
}

impl Begun {
    fn of(objects: &Objects, account: &str, role: &str) -> Self {
        let claimants = objects.wanting(role).into_iter().map(|object| {
            let wanted = object.wanted.clone();
            Claimant {
                key: object.key(),
                is_removed: objects.is_removed(object, account),
                is_admitted: objects.admits(account, object),
                adopts_always: wanted.adoption == 2 && objects.adopts_always(account),
                wanted,
            }
        });
        Self {
            claimants: claimants.collect(),
        }
    }
}

impl Invariants {
    /// Checks a call before it is made. Returns who wants the role that it changes.
    pub(super) fn check_call(&self, call: &Call<'_>) -> Result<Option<Begun>, Violation> {
        self.check_lease(call.replica)?;
        if self.ledger.is_locked(call.replica, &call.credential.session) {
            return violated("no call on a locked session", call.operation);
        }
        let account = &call.credential.account;
        let hour = self.began.elapsed().as_secs() / 3600;
        let calls = self.ledger.count_call(account, "", hour);
        if calls > CALLS_AN_HOUR {
            return violated(
                "calls are bounded",
                format!("{calls} calls in {account} within an hour"),
            );
        }
        let Request::Write(write) = call.request else {
            return Ok(None);
        };
        let name = write.target();
        let writes = self.ledger.count_call(account, name, hour);
        if writes > WRITES_AN_HOUR {
            return violated(
                "calls are bounded",
                format!("{writes} writes about {name} in {account} within an hour"),
            );
        }
        self.check_write(call, write).map(Some)
    }

    fn check_lease(&self, replica: usize) -> Checked {
        let lease = self.cluster.lease();
        if lease.is_some_and(|lease| lease.holder == replica && Instant::now() < lease.renewed + TERM) {
            return Ok(());
        }
        violated(
            "no call outside a lease term",
            format!("by replica {replica}, while the Lease is {lease:?}"),
        )
    }

    fn check_write(&self, call: &Call<'_>, write: &Write) -> Result<Begun, Violation> {
        let objects = self.cluster.seen_by(call.replica);
        let (name, operation) = (write.target(), call.operation);
        let Some((account, object)) = objects.account_of(&call.credential.account) else {
            return violated("no write without an AwsAccount", operation);
        };
        let what = || format!("{operation} for {name} in {account}");
        if object.spec.suspend {
            return violated("no write in a suspended account", what());
        }
        let begun = Begun::of(&objects, account, name);
        if begun.claimants.is_empty() {
            return violated("no write for a role that no object wants", what());
        }
        let mut claimants = begun.claimants.iter();
        if !claimants.any(|it| it.is_removed || it.is_admitted) {
            return violated("no write for a namespace that is not admitted", what());
        }
        let mut claimants = begun.claimants.iter();
        if !claimants.any(|it| it.is_removed || !it.wanted.reports_drift) {
            return violated("drift: Report changes nothing", what());
        }
        if let Write::CreateRole(role) = write {
            self.check_creation(account, role.tags.get(OWNER_TAG))?;
        }
        Ok(begun)
    }

    /// Whatever a cache shows, a role is not created for a namespace that lost its admission.
    fn check_creation(&self, account: &str, owner: Option<&String>) -> Checked {
        let Some(owner) = owner.filter(|owner| owner.starts_with(&format!("{CLUSTER}/"))) else {
            return violated("a role is created with its owner tag", format!("{owner:?}"));
        };
        let was_admitted = |objects: &Objects| {
            let object = objects.owned_by(owner);
            object.is_some_and(|object| objects.admits(account, object))
        };
        if self.cluster.was(ADMITTED_WITHIN, was_admitted) {
            return Ok(());
        }
        violated(
            "no role is created for a namespace that lost its admission",
            format!("for {owner} in {account}"),
        )
    }
}
