//! One target account: assumed on a session, called at its own rate, and known by its snapshot.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rolectl_core::removals::Removals;
use rolectl_core::snapshot::Snapshot;
use rolectl_core::widening::ManagedPolicies;
use rolectl_crds::{AwsAccountSpec, PartitionError, Reason};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::{Aws, CallObserver};
use crate::bucket::Bucket;
use crate::clock::{Clock, Jitter, now};
use crate::error::AwsFailure;
use crate::lease_term::LeaseTerm;

mod call;
mod credentials;
mod quotas;

pub use call::{Permit, Reader, Writer};
#[cfg(test)]
pub(crate) use credentials::SessionBound;
use credentials::Slot;
pub use credentials::session_name;
use quotas::KnownQuotas;
pub use quotas::Reservation;

/// One target account.
#[derive(Debug)]
pub struct Account {
    /// Name of the `AwsAccount`.
    pub name: String,
    /// Its spec when this was made. Another spec is another [`Account`].
    pub spec: AwsAccountSpec,
    /// Its roles.
    pub snapshot: Mutex<Snapshot>,
    /// Removals that are wanted, begun or parked.
    pub removals: Mutex<Removals>,
    /// The documents of managed policies that its last sweep found, where it asks for approvals.
    policies: Mutex<KnownPolicies>,
    /// Its quotas, once they were read.
    quotas: Mutex<Option<KnownQuotas>>,
    bucket: Bucket,
    /// By role session name. A lock of its own each, so that a hundred waiting roles cost one `AssumeRole`.
    assumed: Mutex<HashMap<String, Arc<Slot>>>,
    environment: AccountEnvironment,
    /// Number of the lease term in which this was made. What was seen in another term may be out of date.
    term: Option<u64>,
    /// The strictest `maxRoles` of all objects that describe the account.
    role_limit: Mutex<Option<u32>>,
    /// Another controller looks after the account from now on.
    retired: AtomicBool,
}

/// How old the documents of managed policies may be when a role is to get one of these policies.
const POLICIES_RECENT: Duration = Duration::from_mins(1);

/// The documents of managed policies, and when they were read.
#[derive(Debug, Default)]
struct KnownPolicies {
    documents: Arc<ManagedPolicies>,
    read: Option<Instant>,
}

/// What an account has from the process that it lives in.
#[derive(Clone, Debug)]
pub struct AccountEnvironment {
    /// Makes clients.
    pub aws: Arc<dyn Aws>,
    /// Cancelled when the process goes down.
    pub shutdown: CancellationToken,
    /// The term in which this process may call here.
    pub lease_term: LeaseTerm,
    /// As many calls as may be under way at a time, in all accounts together.
    pub in_flight: Arc<Semaphore>,
    /// Counts the calls.
    pub observer: Arc<dyn CallObserver>,
    /// The time of day.
    pub clock: Clock,
    /// Spreads the waits.
    pub jitter: Jitter,
    /// Namespace of the controller, which role session names begin with.
    pub namespace: String,
    /// What the owner tags of this cluster begin with.
    pub owner_prefix: String,
}

/// How many calls a process that is alone makes at a time.
const CALLS_AT_ONCE: usize = 64;

impl AccountEnvironment {
    /// The environment of a process that shares its accounts with no other one, on the clock of this host.
    pub fn alone(aws: Arc<dyn Aws>, namespace: String, owner_prefix: String) -> Self {
        Self {
            aws,
            shutdown: CancellationToken::new(),
            lease_term: LeaseTerm::forever(),
            in_flight: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
            observer: Arc::new(()),
            clock: Clock::Host,
            jitter: Jitter::default(),
            namespace,
            owner_prefix,
        }
    }
}

/// Why an account cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// A call failed.
    #[error(transparent)]
    Aws(#[from] AwsFailure),
    /// The credentials lead to another account.
    #[error(
        "the credentials are for account {actual}, spec.accountId is {expected}: correct accountId or assumeRole. Nothing was written"
    )]
    Mismatch {
        /// What AWS says.
        actual: String,
        /// What the object says.
        expected: String,
    },
    /// Nothing in the account can be called: its partition or region is unknown, or not the session's.
    #[error("{0}. No request was made")]
    Place(String),
    /// AWS does not take the session any more.
    #[error("AWS does not accept the session any more ({0}): run `rolectl unlock`")]
    SessionRefused(AwsFailure),
    /// The process is going down.
    #[error("interrupted by shutdown; continues at the next start")]
    Shutdown,
    /// Another process looks after the account now, or may by now.
    #[error("another replica looks after the account now")]
    NotHeld,
    /// The session was locked or replaced, or is over.
    #[error("the session was locked, was replaced or has ended; work continues on the next session")]
    SessionEnded,
    /// What the call was based on has changed since. The call was not made.
    #[error("not called, because {0}")]
    Withdrawn(String),
}

impl From<PartitionError> for AccountError {
    fn from(error: PartitionError) -> Self {
        Self::Place(error.to_string())
    }
}

impl AccountError {
    /// The reason that a status gives for it.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Aws(failure) => failure.reason(),
            Self::Mismatch { .. } | Self::Place(_) => Reason::AccountMismatch,
            Self::SessionRefused(_) => Reason::SessionLocked,
            Self::Shutdown | Self::NotHeld | Self::SessionEnded | Self::Withdrawn(_) => Reason::Progressing,
        }
    }
}

impl Account {
    /// An account that was not called yet.
    pub fn new(name: &str, spec: AwsAccountSpec, environment: AccountEnvironment) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            bucket: Bucket::new(spec.requests_per_second, spec.burst),
            snapshot: Mutex::new(Snapshot::new(&environment.owner_prefix)),
            removals: Mutex::default(),
            policies: Mutex::default(),
            quotas: Mutex::default(),
            assumed: Mutex::default(),
            term: environment.lease_term.term(),
            spec,
            environment,
            role_limit: Mutex::default(),
            retired: AtomicBool::new(false),
        })
    }

    /// Returns the documents of managed policies that the last sweep found.
    pub fn policies(&self) -> Arc<ManagedPolicies> {
        self.policies.lock().documents.clone()
    }

    /// Returns true if these documents were read a short time ago.
    pub fn has_recent_policies(&self) -> bool {
        let read = self.policies.lock().read;
        read.is_some_and(|read| read.elapsed() <= POLICIES_RECENT)
    }

    /// Records the documents of managed policies that a sweep found.
    pub fn set_policies(&self, policies: ManagedPolicies) {
        *self.policies.lock() = KnownPolicies {
            documents: Arc::new(policies),
            read: Some(Instant::now()),
        };
    }

    /// Copies claims, recent writes, which a read may not show yet, and recent removals from an earlier state of the same account. Does nothing if the
    /// object describes another account in AWS now.
    pub fn inherit(&self, before: &Self) {
        if !self.is_same_in_aws(before) {
            return;
        }
        let removals = before.removals.lock().clone();
        self.removals.lock().inherit(&removals);
        let (mut snapshot, earlier) = (self.snapshot.lock(), before.snapshot.lock());
        if before.is_held() {
            snapshot.inherit_claims(&earlier);
        }
        snapshot.inherit_writes(&earlier, now());
    }

    /// Returns true if both are about one account in AWS.
    pub fn is_same_in_aws(&self, other: &Self) -> bool {
        let (one, other) = (&self.spec, &other.spec);
        (&one.account_id, &one.partition) == (&other.account_id, &other.partition)
    }

    /// It is not ours any more: no new call begins.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Sets the most roles that any object which describes the account lets rolectl manage there.
    pub fn limit_roles(&self, most: Option<u32>) {
        *self.role_limit.lock() = most;
    }

    /// The limit that [`Self::limit_roles`] has set.
    pub fn role_limit(&self) -> Option<u32> {
        *self.role_limit.lock()
    }

    /// Returns true if this process may call the account, and could without a break since this was made.
    pub fn is_held(&self) -> bool {
        let retired = self.retired.load(Ordering::Relaxed);
        !retired && self.term.is_some() && self.environment.lease_term.term() == self.term
    }

    /// Returns true if the account was made in an earlier lease term. A retired account stays what it is.
    pub fn is_out_of_date(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && !self.is_held()
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.environment.clock.now()
    }

    /// What the owner tags of this cluster begin with.
    pub fn owner_prefix(&self) -> &str {
        &self.environment.owner_prefix
    }

    /// Calls per second at present, and how many could be made at once.
    pub fn bucket_level(&self) -> (f64, f64) {
        self.bucket.level()
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use aws_config::SdkConfig;
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;

    use super::*;
    use crate::sdk::{SdkAws, base_config, sts_client};
    use crate::session::{OpenSession, SessionSecret, Sessions, keys};

    pub fn account(requests_per_second: u32, burst: u32) -> Arc<Account> {
        let spec = serde_json::json!({"accountId": "222222222222", "requestsPerSecond": requests_per_second, "burst": burst});
        Account::new("dev", serde_json::from_value(spec).unwrap(), environment())
    }

    /// An open session that made no call.
    pub async fn session() -> Arc<OpenSession> {
        let data = [
            (keys::ACCESS_KEY_ID, "ASIA1"),
            (keys::SECRET_ACCESS_KEY, "secret"),
            (keys::SESSION_TOKEN, "token"),
            (keys::EXPIRATION, "2030-01-01T00:00:00Z"),
            (keys::PRINCIPAL_ARN, "arn:aws:iam::111111111111:user/op"),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.into())));
        let session_secret = SessionSecret::from_secret(Secret {
            data: Some(data.into()),
            ..Secret::default()
        })
        .unwrap();
        let base = base_config().await;
        let sts = sts_client(&base, session_secret.credentials(), "aws", None).unwrap();
        let principal = session_secret.principal_arn.clone();
        Sessions::default().open(
            "default",
            session_secret,
            principal,
            Arc::new(sts),
            Clock::Host.now(),
        )
    }

    pub fn environment() -> AccountEnvironment {
        let aws = SdkAws::new(SdkConfig::builder().build());
        AccountEnvironment::alone(aws, "rolectl-system".to_owned(), "c/".to_owned())
    }
}
