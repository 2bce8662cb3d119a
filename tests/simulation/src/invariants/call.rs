//! May this call be made? What the replica acts on is its cache: a call is right by what the cache shows at that moment.

use std::time::Duration;

use rolectl_aws::lease_term::TERM;
use rolectl_crds::OWNER_TAG;
use tokio::time::Instant;

use super::Invariants;
use super::interested::{InterestedObject, interested};
use crate::aws::iam::Write;
use crate::aws::service::{Call, Request};
use crate::journal::{Checked, Violation, violated};
use crate::kubernetes::objects::{Objects, is_of_this_cluster};

/// Writes about one role in one account within an hour, whatever fails.
const WRITES_AN_HOUR: u32 = 400;
/// Calls in one account within an hour, whatever fails.
const CALLS_AN_HOUR: u32 = 4000;
/// A role is created only in an account that admitted its namespace within this time, however late the cache is. A call waits that long
/// for its turn while AWS throttles.
const ADMITTED_WITHIN: Duration = Duration::from_secs(30);

impl Invariants {
    /// Checks a call before it is made. Returns the objects that it is about, if it changes something.
    pub(super) fn check_call(&self, call: &Call<'_>) -> Result<Option<Vec<InterestedObject>>, Violation> {
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

    fn check_write(&self, call: &Call<'_>, write: &Write) -> Result<Vec<InterestedObject>, Violation> {
        let objects = self.cluster.seen_by(call.replica);
        let (name, operation) = (write.target(), call.operation);
        let Some((account, object)) = objects.account_of(&call.credential.account) else {
            return violated("no write without an AwsAccount", operation);
        };
        let what = || format!("{operation} for {name} in {account}");
        if object.spec.suspend {
            return violated("no write in a suspended account", what());
        }
        let about = interested(&objects, account, name);
        if about.is_empty() {
            return violated("no write for a role that no object wants", what());
        }
        if !about.iter().any(|it| it.is_removed || it.is_admitted) {
            return violated("no write for a namespace that is not admitted", what());
        }
        if about.iter().all(|it| it.wanted.is_suspended) {
            return violated("no write for a suspended role", what());
        }
        if !about.iter().any(|it| it.is_removed || !it.wanted.reports_drift) {
            return violated("drift: Report changes nothing", what());
        }
        if let Write::CreateRole(role) = write {
            self.check_creation(account, role.tags.get(OWNER_TAG))?;
        }
        Ok(about)
    }

    /// Whatever a cache shows, a role is not created for a namespace that lost its admission.
    fn check_creation(&self, account: &str, owner: Option<&String>) -> Checked {
        let Some(owner) = owner.filter(|owner| is_of_this_cluster(owner)) else {
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
