//! How a call is made: in its turn, as long as this process may call there, and while what it is based on is true.

use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Account, AccountError};
use crate::api::Answer;
use crate::bucket::{Bucket, Priority};
use crate::error::{AwsFailure, Class};
use crate::lease_term::ANSWER_TIMEOUT;
use crate::session::OpenSession;
use crate::spans;

/// Asked before every call that changes something: `Err` says why the change may not be made any more.
pub type Permit<'a> = &'a (dyn Fn() -> Result<(), String> + Send + Sync);

/// How often a call that waits for its turn asks whether it still may be made. A change that was forbidden, or that a newer spec
/// replaces, leaves the queue within this time, and with it ends the pass over all accounts of the role. It is asked once more right
/// before the call.
const PERMIT_CHECK: Duration = Duration::from_millis(250);

/// How long a call that only reads may wait for its answer. Whatever it reads, and however late, changes nothing, so it may take longer
/// than [`ANSWER_TIMEOUT`]: a page of a thousand roles does. It is longer than the SDK's own limit, which includes retries.
const SWEEP_ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// An account, for calls of a sweep: they change nothing, and changes go first.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    account: &'a Account,
    session: &'a OpenSession,
}

impl<'a> Reader<'a> {
    /// Reads `account` on `session`.
    pub const fn new(account: &'a Account, session: &'a OpenSession) -> Self {
        Self { account, session }
    }

    /// Makes one IAM call of a sweep in its turn.
    pub fn call<'c, T>(
        &'c self,
        operation: &'static str,
        call: impl Future<Output = Answer<T>> + Send + 'c,
    ) -> BoxFuture<'c, Answer<T>>
    where
        T: Send + 'c,
    {
        let scope = self.account.scope(self.session, None);
        scope.iam_call(Priority::Sweep, operation, call)
    }
}

impl std::ops::Deref for Reader<'_> {
    type Target = Account;

    fn deref(&self) -> &Account {
        self.account
    }
}

/// An account, for changes that need a [`Permit`].
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    account: &'a Account,
    session: &'a OpenSession,
    permit: Permit<'a>,
    priority: Priority,
}

impl<'a> Writer<'a> {
    /// Changes in `account` on `session`, while `permit` allows them.
    pub const fn new(
        account: &'a Account,
        session: &'a OpenSession,
        permit: Permit<'a>,
        priority: Priority,
    ) -> Self {
        Self {
            account,
            session,
            permit,
            priority,
        }
    }

    fn scope(&self) -> CallScope<'a> {
        self.account.scope(self.session, Some(self.permit))
    }

    /// Why no new call may begin.
    pub fn must_stop(&self) -> Option<AccountError> {
        self.scope().must_stop()
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
        self.scope().iam_call(self.priority, operation, call)
    }
}

impl std::ops::Deref for Writer<'_> {
    type Target = Account;

    fn deref(&self) -> &Account {
        self.account
    }
}

impl Account {
    /// How this account's own calls are made.
    fn scope<'a>(&'a self, session: &OpenSession, permit: Option<Permit<'a>>) -> CallScope<'a> {
        CallScope {
            account: self,
            permit,
            bucket: &self.bucket,
            ended: session.ended.clone(),
        }
    }
}

/// How a call is made: in whose turn, and as long as what lasts.
pub(super) struct CallScope<'a> {
    pub(super) account: &'a Account,
    pub(super) permit: Option<Permit<'a>>,
    pub(super) bucket: &'a Bucket,
    pub(super) ended: CancellationToken,
}

impl<'a> CallScope<'a> {
    /// Makes one IAM call. Boxed: the futures of the SDK are large, and thousands of them may wait.
    fn iam_call<'c, T>(
        self,
        priority: Priority,
        operation: &'static str,
        call: impl Future<Output = Answer<T>> + Send + 'c,
    ) -> BoxFuture<'c, Answer<T>>
    where
        T: Send + 'c,
        'a: 'c,
    {
        let call = Box::pin(call);
        Box::pin(async move {
            match self.call(priority, operation, call).await {
                Ok(value) => Ok(value),
                Err(AccountError::Aws(failure)) => Err(failure),
                Err(other) => Err(AwsFailure::not_made(operation, &other)),
            }
        })
    }

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
    pub(super) async fn call<T>(
        &self,
        priority: Priority,
        operation: &'static str,
        call: impl Future<Output = Answer<T>>,
    ) -> Result<T, AccountError> {
        let environment = &self.account.environment;
        let turn = async {
            self.bucket.turn(priority).await;
            // Never closed, and fair: an account with many roles does not starve the others.
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
        let longest = match priority {
            Priority::Sweep => SWEEP_ANSWER_TIMEOUT,
            Priority::Narrowing | Priority::Change => ANSWER_TIMEOUT,
        };
        let result = tokio::time::timeout(longest, call).await;
        let result = match result {
            Ok(Ok(value)) => {
                self.bucket.succeeded();
                Ok(value)
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(AwsFailure {
                operation,
                code: None,
                message: format!("no answer within {} s", longest.as_secs()),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rolectl_crds::Reason;

    use super::super::fixtures::{account, session};
    use super::*;

    #[tokio::test]
    async fn a_call_that_is_forbidden_while_it_waits_for_its_turn_is_never_made() {
        // The second call has its turn after 1000 s.
        let account = account(1, 1);
        account.bucket.turn(Priority::Change).await;
        for _ in 0..1000 {
            account.bucket.waste();
        }
        let (allowed, made) = (AtomicBool::new(true), AtomicBool::new(false));
        let permit = || {
            if allowed.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err("AwsAccount dev is suspended".to_owned())
            }
        };
        let session = session().await;
        let writer = Writer::new(&account, &session, &permit, Priority::Change);
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
}
