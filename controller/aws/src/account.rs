//! One target account: assumed on a session, called at its own rate, and known by its snapshot.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as ProvidedCredentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use futures::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;
use rolectl_crds::{AwsAccountSpec, OWNER_TAG, PartitionError, Quotas, Reason};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::api::{Answer, AssumeRole, Aws, CallObserver, Iam};
use crate::bucket::{Bucket, Priority};
use crate::error::{AwsFailure, Class};
use crate::lease_term::{ANSWER_TIMEOUT, LeaseTerm};
use crate::session::OpenSession;
use crate::spans;
use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_core::names::shortened;
use rolectl_core::role::{ObservedRole, Plan};
use rolectl_core::snapshot::{Full, Snapshot};

/// Credentials this close to their end are renewed first.
const RENEW_BEFORE: Duration = Duration::from_mins(5);

/// Quotas change a few times a year, and a raised one is asked for when it matters.
const QUOTAS_LAST: Duration = Duration::from_hours(6);

/// Quotas this fresh are not asked for again, however many roles they stand in the way of.
const QUOTAS_FRESH: Duration = Duration::from_mins(4);

/// One target account.
#[derive(Debug)]
pub struct Account {
    /// Name of the `AwsAccount`.
    pub name: String,
    /// Its spec when this was made. Another spec is another [`Account`].
    pub spec: AwsAccountSpec,
    /// Its roles.
    pub snapshot: Mutex<Snapshot>,
    /// Its quotas, once AWS has told them.
    quotas: Mutex<Option<KnownQuotas>>,
    bucket: Bucket,
    /// By role session name. A lock of its own each, so that a hundred waiting roles cost one `AssumeRole`.
    assumed: Mutex<HashMap<String, Arc<Slot>>>,
    environment: AccountEnvironment,
    /// Number of the lease term in which this was made. What was seen in another term may be out of date.
    term: Option<u64>,
    /// Of the session that the account works on.
    session_ended: Mutex<CancellationToken>,
    /// The strictest `maxRoles` of all objects that describe the account.
    role_limit: Mutex<Option<u32>>,
    /// Another controller looks after the account from now on.
    retired: AtomicBool,
}

/// What an account has from the process that it lives in.
#[derive(Clone, Debug)]
pub struct AccountEnvironment {
    /// Makes clients.
    pub aws: Arc<dyn Aws>,
    /// Cancelled when the process goes down.
    pub shutdown: CancellationToken,
    /// Whether this process may call here.
    pub lease_term: LeaseTerm,
    /// As many calls as may be under way at a time, in all accounts together.
    pub in_flight: Arc<Semaphore>,
    /// Counts the calls.
    pub observer: Arc<dyn CallObserver>,
    /// Namespace of the controller, which role session names begin with.
    pub namespace: String,
    /// What the owner tags of this cluster begin with.
    pub owner_prefix: String,
}

#[derive(Clone, Copy, Debug)]
struct KnownQuotas {
    quotas: Quotas,
    read: Instant,
    /// One of them stood in the way.
    doubtful: bool,
}

type Slot = tokio::sync::Mutex<Option<Assumed>>;

#[derive(Debug)]
struct Assumed {
    iam: Arc<dyn Iam>,
    expires_at: Timestamp,
    session: u64,
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
    #[error("interrupted by shutdown; goes on at the next start")]
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

/// Asked before every call that changes something: `Err` says why the change may not be made any more.
pub type Permit<'a> = &'a (dyn Fn() -> Result<(), String> + Send + Sync);

/// How often a call that waits for its turn asks whether it still may be made. A change that was forbidden, or that a newer spec
/// replaces, leaves the queue within this time, and with it ends the pass over all accounts of the role. It is asked once more right
/// before the call.
const PERMIT_CHECK: Duration = Duration::from_millis(250);

/// An account, for changes that need a [`Permit`].
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    account: &'a Account,
    permit: Permit<'a>,
}

impl<'a> Writer<'a> {
    /// Changes in `account` while `permit` allows them.
    pub const fn new(account: &'a Account, permit: Permit<'a>) -> Self {
        Self { account, permit }
    }

    /// Why no new call may begin.
    pub fn must_stop(&self) -> Option<AccountError> {
        self.account.scope(Some(self.permit)).must_stop()
    }

    /// Makes one IAM call in its turn, if it is still permitted then.
    pub fn call<'c, T>(
        &'c self,
        operation: &'static str,
        call: impl Future<Output = Answer<T>> + Send + 'c,
    ) -> BoxFuture<'c, Answer<T>>
    where
        T: Send + 'c,
    {
        self.account
            .call_with(Some(self.permit), Priority::Change, operation, call)
    }
}

impl std::ops::Deref for Writer<'_> {
    type Target = Account;

    fn deref(&self) -> &Account {
        self.account
    }
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
            quotas: Mutex::default(),
            assumed: Mutex::default(),
            term: environment.lease_term.term(),
            spec,
            environment,
            session_ended: Mutex::default(),
            role_limit: Mutex::default(),
            retired: AtomicBool::new(false),
        })
    }

    /// It is not ours any more: no new call begins.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Sets the most roles that any object which describes the account lets rolectl manage there.
    pub fn limit_roles(&self, most: Option<u32>) {
        *self.role_limit.lock() = most;
    }

    /// Whether it is ours to call, without a break since this was made.
    pub fn is_held(&self) -> bool {
        let retired = self.retired.load(Ordering::Relaxed);
        !retired && self.term.is_some() && self.environment.lease_term.term() == self.term
    }

    /// How this account's own calls are made.
    fn scope<'a>(&'a self, permit: Option<Permit<'a>>) -> CallScope<'a> {
        CallScope {
            account: self,
            permit,
            bucket: &self.bucket,
            ended: self.session_ended.lock().clone(),
        }
    }

    /// Calls per second at present, and how many could be made at once.
    pub fn bucket_level(&self) -> (f64, f64) {
        self.bucket.level()
    }

    /// IAM in this account, on `session`. Assumes the role when needed, and proves the account before anything else.
    ///
    /// `writer` is the `IamRole` to be written, as namespace and name, where the account wants each to have a
    /// session of its own.
    pub async fn iam(
        &self,
        session: &OpenSession,
        now: Timestamp,
        writer: Option<(&str, &str)>,
    ) -> Result<Arc<dyn Iam>, AccountError> {
        *self.session_ended.lock() = session.ended.clone();
        let own = writer.filter(|_| self.spec.assume_role.as_ref().is_some_and(|r| r.session_per_role));
        let (namespace, name) = own.unwrap_or((&self.environment.namespace, &self.name));
        let session_name = session_name(namespace, name);
        let slot = self.slot(&session_name, now);
        // Held across the call on purpose: who waits for it needs no call.
        let mut assumed = slot.lock().await;
        if let Some(a) = assumed
            .as_ref()
            .filter(|a| a.session == session.number && a.expires_at > now + RENEW_BEFORE)
        {
            return Ok(a.iam.clone());
        }
        let (credentials, expires_at) = self.assume(session, &session_name).await?;
        let bound = SessionBound {
            credentials,
            ended: session.ended.clone(),
        };
        let bound = SharedCredentialsProvider::new(bound);
        let iam = self.environment.aws.iam(bound, &self.spec.partition)?;
        *assumed = Some(Assumed {
            iam: iam.clone(),
            expires_at,
            session: session.number,
        });
        Ok(iam)
    }

    fn slot(&self, session_name: &str, now: Timestamp) -> Arc<Slot> {
        let mut all = self.assumed.lock();
        if let Some(slot) = all.get(session_name) {
            return slot.clone();
        }
        // A slot that is locked is in use.
        all.retain(|_, slot| {
            slot.try_lock()
                .map_or(true, |a| a.as_ref().is_some_and(|a| a.expires_at > now))
        });
        let slot = Arc::<Slot>::default();
        all.insert(session_name.to_owned(), slot.clone());
        slot
    }

    /// Its quotas, as far as AWS has told them.
    pub fn quotas(&self) -> Option<Quotas> {
        self.quotas.lock().map(|known| known.quotas)
    }

    /// Whether the quotas are to be read with the next sweep.
    pub fn wants_quotas(&self) -> bool {
        self.quotas
            .lock()
            .is_none_or(|known| known.doubtful || known.read.elapsed() > QUOTAS_LAST)
    }

    /// AWS has told the quotas.
    pub fn set_quotas(&self, quotas: Quotas) {
        *self.quotas.lock() = Some(KnownQuotas {
            quotas,
            read: Instant::now(),
            doubtful: false,
        });
    }

    /// A quota stood in the way: it is read anew with the next sweep, since somebody may have had it raised, or made
    /// room. Whether it was read so long ago that a sweep is worth asking for.
    pub fn doubt_quotas(&self) -> bool {
        self.quotas.lock().as_mut().is_some_and(|known| {
            known.doubtful = true;
            known.read.elapsed() > QUOTAS_FRESH
        })
    }

    /// Keeps room for a role that a plan makes or takes over, so that many at once do not pass a limit together.
    pub fn make_room(
        self: &Arc<Self>,
        role: &str,
        plan: &Plan,
        observed: Option<&ObservedRole>,
        is_ours: bool,
    ) -> Result<Option<Reservation>, Full> {
        // One that carries our cluster's tag has its place already.
        let prefix = &self.environment.owner_prefix;
        let counted = |o: &ObservedRole| o.tags.get(OWNER_TAG).is_some_and(|tag| tag.starts_with(prefix));
        let adopts = observed.is_some_and(|o| !is_ours && !counted(o));
        if plan.creates() || adopts {
            self.reserve(role, adopts).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A role that is `adopted` is counted by AWS already.
    fn reserve(self: &Arc<Self>, role: &str, adopted: bool) -> Result<Reservation, Full> {
        let own = self.spec.guardrails.as_ref().and_then(|g| g.max_roles);
        let managed = own.into_iter().chain(*self.role_limit.lock()).min();
        let total = self.quotas().map(|q| q.roles).filter(|n| *n > 0 && !adopted);
        self.snapshot.lock().reserve(role, managed, total)?;
        Ok(Reservation {
            account: self.clone(),
            role: role.to_owned(),
        })
    }

    async fn assume(
        &self,
        session: &OpenSession,
        session_name: &str,
    ) -> Result<(Credentials, Timestamp), AccountError> {
        // The session's credentials are of no use in another partition, and nobody there is to see them.
        let partition = arn_partition(&session.principal_arn);
        if partition != self.spec.partition {
            return Err(AccountError::Place(format!(
                "the session is of partition {partition:?}, spec.partition is {}: use an MfaSession of that partition",
                self.spec.partition
            )));
        }
        let Some(role) = &self.spec.assume_role else {
            // The session's own account. AWS has confirmed whose session it is.
            self.check_account(session.account_id())?;
            return Ok((session.session_secret.credentials(), session.expires_at));
        };
        let sts = match self.spec.region.as_deref() {
            None => session.sts.clone(),
            region => {
                let credentials = session.session_secret.credentials();
                self.environment.aws.sts(credentials, partition, region)?
            }
        };
        let request = AssumeRole {
            role_arn: self.spec.assumed_role_arn(),
            session_name,
            duration_seconds: role.duration_seconds,
            external_id: role.external_id.clone(),
            source_identity: role.source_identity.then(|| session.user_name().to_owned()),
        };
        // It counts against the session's account, and is shared by all who assume on the session.
        let scope = CallScope {
            bucket: &session.bucket,
            ended: session.ended.clone(),
            account: self,
            permit: None,
        };
        let began = Instant::now();
        let answer = match scope
            .call(Priority::Change, "AssumeRole", sts.assume_role(request))
            .await
        {
            Ok(answer) => answer,
            Err(error) => return Err(self.judge(session, error, began).await),
        };
        self.check_account(arn_account(&answer.arn))?;
        let Some(credentials) = answer.credentials else {
            return Err(AwsFailure {
                operation: "AssumeRole",
                code: None,
                message: "AWS answered without credentials".to_owned(),
                class: Class::Transient,
            }
            .into());
        };
        Ok((credentials, answer.expires_at.unwrap_or(session.expires_at)))
    }

    /// Decides what it means that AWS refused the session's credentials in a call that began at `began`: one call may fail so for
    /// many reasons, so AWS is asked about the session itself before all accounts are locked. Other errors are returned as they are.
    pub async fn judge(&self, session: &OpenSession, error: AccountError, began: Instant) -> AccountError {
        let failure = match error {
            AccountError::Aws(failure) if failure.class == Class::Expired => failure,
            other => return other,
        };
        let explained = |why: String| {
            AccountError::Aws(AwsFailure {
                message: format!("{} ({why})", failure.message),
                class: Class::Transient,
                ..failure.clone()
            })
        };
        match self.check_session(session, began).await {
            Ok(()) => explained("AWS accepts the session itself, so only this account is retried".to_owned()),
            Err(AccountError::Aws(refusal)) if refusal.class == Class::Expired => {
                AccountError::SessionRefused(refusal)
            }
            Err(AccountError::Aws(other)) => explained(format!(
                "the session could not be checked: {other}; it is retried"
            )),
            Err(other) => other,
        }
    }

    /// Asks AWS whose the session is. Callers share one request: an answer to a request that was sent after `began` is theirs, too.
    async fn check_session(&self, session: &OpenSession, began: Instant) -> Result<(), AccountError> {
        // Held across the call on purpose: who waits for it needs no call.
        let mut checked = session.checked.lock().await;
        if let Some((at, answer)) = &*checked
            && *at >= began
        {
            return answer.clone().map_err(AccountError::from);
        }
        let at = Instant::now();
        let scope = CallScope {
            bucket: &session.bucket,
            ended: session.ended.clone(),
            account: self,
            permit: None,
        };
        let request = session.sts.get_caller_identity();
        let answer = scope.call(Priority::Change, "GetCallerIdentity", request).await;
        let answer = answer.map(|_| ());
        match &answer {
            Ok(()) => *checked = Some((at, Ok(()))),
            Err(AccountError::Aws(failure)) => *checked = Some((at, Err(failure.clone()))),
            // Says nothing of the session.
            Err(_) => {}
        }
        answer
    }

    fn check_account(&self, actual: &str) -> Result<(), AccountError> {
        if actual == self.spec.account_id {
            return Ok(());
        }
        Err(AccountError::Mismatch {
            actual: actual.to_owned(),
            expected: self.spec.account_id.clone(),
        })
    }

    /// Assumed credentials were refused: the next call assumes anew.
    pub fn drop_credentials(&self) {
        self.assumed.lock().clear();
    }

    /// Makes one IAM call in its turn. Boxed: the futures of the SDK are large, and thousands of them may wait.
    pub fn call<'a, T>(
        &'a self,
        operation: &'static str,
        call: impl Future<Output = Answer<T>> + Send + 'a,
    ) -> BoxFuture<'a, Answer<T>>
    where
        T: Send + 'a,
    {
        self.call_at(Priority::Change, operation, call)
    }

    /// The same, and a sweep's call gives way to others.
    pub fn call_at<'a, T>(
        &'a self,
        priority: Priority,
        operation: &'static str,
        call: impl Future<Output = Answer<T>> + Send + 'a,
    ) -> BoxFuture<'a, Answer<T>>
    where
        T: Send + 'a,
    {
        self.call_with(None, priority, operation, call)
    }

    fn call_with<'a, T>(
        &'a self,
        permit: Option<Permit<'a>>,
        priority: Priority,
        operation: &'static str,
        call: impl Future<Output = Answer<T>> + Send + 'a,
    ) -> BoxFuture<'a, Answer<T>>
    where
        T: Send + 'a,
    {
        let call = Box::pin(call);
        Box::pin(async move {
            match self.scope(permit).call(priority, operation, call).await {
                Ok(value) => Ok(value),
                Err(AccountError::Aws(failure)) => Err(failure),
                Err(other) => Err(AwsFailure::not_made(operation, &other)),
            }
        })
    }
}

/// Credentials that are used only while the session lasts from which they come. A change that is under way when the session is
/// locked or replaced keeps its client: its next call fails.
#[derive(Debug)]
pub(super) struct SessionBound {
    /// Of the role that was assumed on the session, or the session's own.
    pub(super) credentials: Credentials,
    /// The session's.
    pub(super) ended: CancellationToken,
}

impl ProvideCredentials for SessionBound {
    fn provide_credentials<'a>(&'a self) -> ProvidedCredentials<'a>
    where
        Self: 'a,
    {
        ProvidedCredentials::ready(if self.ended.is_cancelled() {
            Err(CredentialsError::provider_error(
                AccountError::SessionEnded.to_string(),
            ))
        } else {
            Ok(self.credentials.clone())
        })
    }
}

/// How a call is made: in whose turn, and as long as what lasts.
struct CallScope<'a> {
    account: &'a Account,
    permit: Option<Permit<'a>>,
    bucket: &'a Bucket,
    ended: CancellationToken,
}

impl CallScope<'_> {
    fn must_stop(&self) -> Option<AccountError> {
        let process = &self.account.environment;
        if process.shutdown.is_cancelled() {
            Some(AccountError::Shutdown)
        } else if !self.account.is_held() {
            Some(AccountError::NotHeld)
        } else if self.ended.is_cancelled() {
            Some(AccountError::SessionEnded)
        } else {
            self.permit?().err().map(AccountError::Withdrawn)
        }
    }

    /// Returns once the permit is withdrawn.
    async fn withdrawn(&self) -> String {
        let Some(permit) = self.permit else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(PERMIT_CHECK).await;
            if let Err(why) = permit() {
                return why;
            }
        }
    }

    /// Waits for a turn, calls, and lets the bucket learn from the answer. A shutdown, a lock or a withdrawn permit ends the
    /// wait, never the call.
    async fn call<T>(
        &self,
        priority: Priority,
        operation: &'static str,
        call: impl Future<Output = Answer<T>>,
    ) -> Result<T, AccountError> {
        let environment = &self.account.environment;
        let turn = async {
            self.bucket.turn(priority).await;
            // Never closed. In turn, so that no account is kept waiting by another's many roles for ever.
            environment.in_flight.acquire().await
        };
        let _place = tokio::select! {
            biased;
            () = environment.shutdown.cancelled() => return Err(AccountError::Shutdown),
            () = self.ended.cancelled() => return Err(AccountError::SessionEnded),
            why = self.withdrawn() => return Err(AccountError::Withdrawn(why)),
            place = turn => place,
        };
        let began = Instant::now();
        // After the wait, which may have been long.
        if let Some(stop) = self.must_stop() {
            return Err(stop);
        }
        tracing::debug!(operation, "calling AWS");
        let span = spans::aws_call(operation, &self.account.name, &self.account.spec.account_id);
        let call = call.instrument(span.clone());
        let result = match priority {
            // Whatever a sweep reads, and however late, changes nothing.
            Priority::Sweep => Ok(call.await),
            Priority::Change => tokio::time::timeout(ANSWER_TIMEOUT, call).await,
        };
        let result = match result {
            Ok(Ok(value)) => {
                self.bucket.succeeded();
                Ok(value)
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(AwsFailure {
                operation,
                code: None,
                message: format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
                class: Class::Transient,
            }),
        };
        let outcome = result
            .as_ref()
            .map_or_else(|failure| failure.class.as_str(), |_| "ok");
        if result.is_err() {
            spans::failed(&span, Some(outcome));
        }
        environment.observer.called(
            &self.account.name,
            operation,
            outcome,
            began.elapsed().as_secs_f64(),
        );
        if matches!(&result, Err(failure) if failure.class == Class::Throttled) {
            self.bucket.throttled(began);
        }
        result.map_err(AccountError::from)
    }
}

/// Room for one role, given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    role: String,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.snapshot.lock().release(&self.role);
    }
}

/// A role session name that tells who acts for what: 2 to 64 characters of IAM's alphabet.
pub fn session_name(namespace: &str, name: &str) -> String {
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() || "+=,.@-_".contains(c) {
            c
        } else {
            '-'
        }
    };
    let full: String = format!("rolectl-{namespace}-{name}").chars().map(fits).collect();
    shortened(&full, 64)
}

#[cfg(test)]
mod tests {
    use aws_config::SdkConfig;

    use super::*;
    use crate::sdk::SdkAws;

    fn account(requests_per_second: u32, burst: u32) -> Arc<Account> {
        let spec = serde_json::json!({"accountId": "222222222222", "requestsPerSecond": requests_per_second, "burst": burst});
        Account::new("dev", serde_json::from_value(spec).unwrap(), environment())
    }

    fn environment() -> AccountEnvironment {
        AccountEnvironment {
            aws: SdkAws::new(SdkConfig::builder().build()),
            shutdown: CancellationToken::new(),
            lease_term: LeaseTerm::forever(),
            in_flight: Arc::new(Semaphore::new(10)),
            observer: Arc::new(()),
            namespace: "rolectl-system".to_owned(),
            owner_prefix: "c/".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_call_that_is_forbidden_while_it_waits_for_its_turn_is_never_made() {
        // The second call has its turn after 1000 s.
        let account = account(1, 1);
        account.bucket.turn(Priority::Change).await;
        for _ in 0..1000 {
            account.bucket.turn_given_out();
        }
        let (allowed, made) = (AtomicBool::new(true), AtomicBool::new(false));
        let permit = || {
            if allowed.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err("AwsAccount dev is suspended".to_owned())
            }
        };
        let writer = Writer::new(&account, &permit);
        assert_eq!(writer.must_stop(), None);
        let call = async {
            made.store(true, Ordering::Relaxed);
            Ok(())
        };
        let (result, ()) = tokio::join!(writer.call("GetRole", call), async {
            allowed.store(false, Ordering::Relaxed);
        });
        let failure = result.unwrap_err();
        assert_eq!(
            (failure.class, failure.reason(), failure.to_string().as_str()),
            (
                Class::NotMade,
                Reason::Progressing,
                "GetRole: not called, because AwsAccount dev is suspended"
            )
        );
        assert!(!made.load(Ordering::Relaxed));
        assert_eq!(
            writer.must_stop(),
            Some(AccountError::Withdrawn("AwsAccount dev is suspended".to_owned()))
        );
    }

    #[tokio::test]
    async fn of_all_objects_that_describe_an_account_the_strictest_limit_of_roles_counts() {
        let spec = serde_json::json!({"accountId": "222222222222", "guardrails": {"maxRoles": 2}});
        let account = Account::new("dev", serde_json::from_value(spec).unwrap(), environment());
        for (others, most) in [(None, 2), (Some(1), 1), (Some(9), 2), (Some(0), 0)] {
            account.limit_roles(others);
            let names = ["a", "b", "c"];
            let made: Vec<_> = names
                .iter()
                .map_while(|name| account.reserve(name, false).ok())
                .collect();
            assert_eq!(made.len(), most, "{others:?}");
            let full = account.reserve("d", false).unwrap_err();
            assert_eq!(full.reason(), Reason::GuardrailViolated, "{others:?}");
        }
    }

    #[test]
    fn a_session_name_fits_awss_alphabet_and_length_and_stays_unique() {
        assert_eq!(session_name("team-a", "app"), "rolectl-team-a-app");
        assert_eq!(
            session_name("rolectl-system", "a/b c"),
            "rolectl-rolectl-system-a-b-c"
        );
        let long = |end: &str| session_name(&"n".repeat(63), &format!("{}{end}", "x".repeat(60)));
        assert_eq!(long("a").len(), 64);
        assert_ne!(long("a"), long("b"));
    }
}
