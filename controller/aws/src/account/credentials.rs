//! Credentials of an account: the role that is assumed on a session, and the proof that they lead to this account.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as ProvidedCredentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use jiff::Timestamp;
use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_core::names::shortened;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::CallScope;
use super::{Account, AccountError};
use crate::api::{AssumeRole, Iam};
use crate::bucket::Priority;
use crate::error::{AwsFailure, Class};
use crate::session::OpenSession;

/// Credentials this close to their end are renewed first.
const RENEW_BEFORE: Duration = Duration::from_mins(5);

/// One role session: its client, and the last failure to assume the role.
pub(super) type Slot = tokio::sync::Mutex<RoleSession>;

#[derive(Debug, Default)]
pub(super) struct RoleSession {
    assumed: Option<Assumed>,
    failed: Option<Failed>,
}

/// A failed attempt to assume the role.
#[derive(Debug)]
struct Failed {
    at: Instant,
    session: u64,
    error: AccountError,
}

#[derive(Debug)]
struct Assumed {
    iam: Arc<dyn Iam>,
    expires_at: Timestamp,
    session: u64,
}

impl Account {
    /// IAM in this account, on `session`. Assumes the role when needed, and proves the account before anything else.
    ///
    /// `writer` is the `IamRole` to be written, as namespace and name, where the account wants each to have a
    /// session of its own.
    pub async fn iam(
        &self,
        session: &OpenSession,
        writer: Option<(&str, &str)>,
    ) -> Result<Arc<dyn Iam>, AccountError> {
        let now = self.now();
        let began = Instant::now();
        let own = writer.filter(|_| self.spec.assume_role.as_ref().is_some_and(|r| r.session_per_role));
        let (namespace, name) = own.unwrap_or((&self.environment.namespace, &self.name));
        let session_name = session_name(namespace, name);
        let slot = self.slot(&session_name, now);
        // Held across the call on purpose: who waits for it needs no call.
        let mut role_session = slot.lock().await;
        if let Some(a) = role_session
            .assumed
            .as_ref()
            .filter(|a| a.session == session.number && a.expires_at > now + RENEW_BEFORE)
        {
            return Ok(a.iam.clone());
        }
        // Callers share one request, and its failure, too: many roles do not wait for the same failure one after the other.
        if let Some(failed) = role_session
            .failed
            .as_ref()
            .filter(|failed| failed.session == session.number && failed.at >= began)
        {
            return Err(failed.error.clone());
        }
        let at = Instant::now();
        let (credentials, expires_at) = match self.assume(session, &session_name).await {
            Ok(assumed) => assumed,
            Err(error) => {
                role_session.failed = Some(Failed {
                    at,
                    session: session.number,
                    error: error.clone(),
                });
                return Err(error);
            }
        };
        let bound = SessionBound {
            credentials,
            ended: session.ended.clone(),
        };
        let bound = SharedCredentialsProvider::new(bound);
        let iam = self.environment.aws.iam(bound, &self.spec.partition)?;
        *role_session = RoleSession {
            assumed: Some(Assumed {
                iam: iam.clone(),
                expires_at,
                session: session.number,
            }),
            failed: None,
        };
        Ok(iam)
    }

    /// Returns credentials for this account and their end, for a program that makes calls of its own. Assumes the role in the same
    /// way as [`Account::iam`], and proves the account.
    pub async fn credentials(&self, session: &OpenSession) -> Result<(Credentials, Timestamp), AccountError> {
        let session_name = session_name(&self.environment.namespace, &self.name);
        self.assume(session, &session_name).await
    }

    fn slot(&self, session_name: &str, now: Timestamp) -> Arc<Slot> {
        let mut all = self.assumed.lock();
        if let Some(slot) = all.get(session_name) {
            return slot.clone();
        }
        // A slot that is locked is in use.
        all.retain(|_, slot| {
            slot.try_lock()
                .map_or(true, |it| it.assumed.as_ref().is_some_and(|a| a.expires_at > now))
        });
        let slot = Arc::<Slot>::default();
        all.insert(session_name.to_owned(), slot.clone());
        slot
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

    /// Drops the assumed credentials, which AWS has refused: the next call assumes the role again.
    pub fn drop_credentials(&self) {
        self.assumed.lock().clear();
    }
}

/// Credentials that are used only while the session lasts from which they come. A change that is under way when the session is
/// locked or replaced keeps its client: its next call fails.
#[derive(Debug)]
pub(crate) struct SessionBound {
    /// Of the role that was assumed on the session, or the session's own.
    pub(crate) credentials: Credentials,
    /// The session's.
    pub(crate) ended: CancellationToken,
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

/// The role session name: the namespace and the name that a call is made for, in 2 to 64 characters of IAM's alphabet.
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
    use super::*;

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
