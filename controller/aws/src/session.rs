//! MFA sessions: what `rolectl unlock` stored, checked and held in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use parking_lot::RwLock;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroize as _};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Sts;
use crate::approvals::{Approvals, Grants, Sealed};
use crate::bucket::Bucket;
use crate::error::AwsFailure;
use crate::principal::Principal;
use rolectl_core::arn::arn_account;

/// `AssumeRole` per second and session. AWS lets an account make
/// [600 such calls a second](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html) in each region,
/// all its users together.
const ASSUME_ROLE_RATE: u32 = 100;

/// How many earlier sessions work may still be under way on. An operator who unlocks more often ends the oldest.
const EARLIER_SESSIONS: usize = 8;

/// Keys of the Secret.
pub mod keys {
    /// `AccessKeyId`.
    pub const ACCESS_KEY_ID: &str = "accessKeyId";
    /// `SecretAccessKey`.
    pub const SECRET_ACCESS_KEY: &str = "secretAccessKey";
    /// `SessionToken`.
    pub const SESSION_TOKEN: &str = "sessionToken";
    /// End of the session, RFC 3339.
    pub const EXPIRATION: &str = "expiration";
    /// ARN of the user.
    pub const PRINCIPAL_ARN: &str = "principalArn";
    /// `true`: work under way on the session that this one replaces ends. Absent otherwise.
    pub const REPLACE: &str = "replace";
    /// Decisions about changes, JSON ([`crate::approvals`]). Absent without any.
    pub const APPROVALS: &str = "approvals";
    /// Message authentication code of the decisions, under a key of the session. Absent without any.
    pub const APPROVALS_CODE: &str = "approvalsCode";
}

/// A session as the Secret holds it. Its credentials never show in Debug output and are zeroed when dropped.
#[derive(Clone)]
pub struct SessionSecret {
    /// `AccessKeyId`.
    pub access_key_id: SecretString,
    /// `SecretAccessKey`.
    pub secret_access_key: SecretString,
    /// `SessionToken`.
    pub session_token: SecretString,
    /// When AWS ends the session.
    pub expires_at: Timestamp,
    /// The user that the Secret names. AWS has the last word.
    pub principal_arn: String,
    /// Work under way on the session that this one replaces ends (`rolectl unlock --replace`).
    pub replace: bool,
    /// Decisions about changes (`rolectl approve`).
    pub approvals: Option<Sealed>,
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSecret")
            .field("expires_at", &self.expires_at)
            .field("principal_arn", &self.principal_arn)
            .finish_non_exhaustive()
    }
}

/// Why a Secret holds no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionSecretError {
    /// A key is missing or is not text.
    #[error("Secret {secret} has no usable key {key}: run `rolectl unlock` again")]
    Missing {
        /// Name of the Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// A key holds what no session has there.
    #[error("Secret {secret}: the value of {key} is damaged: run `rolectl unlock` again")]
    Damaged {
        /// Name of the Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// The time is no time.
    #[error("Secret {secret}: expiration is not an RFC 3339 time: run `rolectl unlock` again")]
    Expiration {
        /// Name of the Secret.
        secret: String,
    },
}

impl SessionSecret {
    /// Reads the Secret, and wipes its own copy.
    pub fn from_secret(secret: Secret) -> Result<Self, SessionSecretError> {
        let name = secret.metadata.name.unwrap_or_default();
        let mut data = secret.data.unwrap_or_default();
        let mut text = |key: &'static str| -> Result<String, SessionSecretError> {
            data.remove(key)
                .and_then(|ByteString(bytes)| String::from_utf8(bytes).ok())
                .filter(|text| !text.is_empty())
                .ok_or_else(|| SessionSecretError::Missing {
                    secret: name.clone(),
                    key,
                })
        };
        let session_secret = Self {
            access_key_id: text(keys::ACCESS_KEY_ID)?.into(),
            secret_access_key: text(keys::SECRET_ACCESS_KEY)?.into(),
            session_token: text(keys::SESSION_TOKEN)?.into(),
            expires_at: text(keys::EXPIRATION)?
                .parse()
                .map_err(|_| SessionSecretError::Expiration { secret: name.clone() })?,
            principal_arn: text(keys::PRINCIPAL_ARN)?,
            replace: text(keys::REPLACE).is_ok_and(|value| value == "true"),
            approvals: match (text(keys::APPROVALS), text(keys::APPROVALS_CODE)) {
                (Ok(text), Ok(code)) => Some(Sealed { text, code }),
                _ => None,
            },
        };
        // Whatever else is wrong, AWS finds out.
        let visible = |secret: &SecretString| secret.expose_secret().bytes().all(|b| b.is_ascii_graphic());
        for (key, right) in [
            (keys::ACCESS_KEY_ID, visible(&session_secret.access_key_id)),
            (
                keys::SECRET_ACCESS_KEY,
                visible(&session_secret.secret_access_key),
            ),
            (keys::SESSION_TOKEN, visible(&session_secret.session_token)),
            (
                keys::PRINCIPAL_ARN,
                Principal::of(&session_secret.principal_arn) != Principal::Other,
            ),
        ] {
            if !right {
                return Err(SessionSecretError::Damaged { secret: name, key });
            }
        }
        for ByteString(bytes) in data.values_mut() {
            bytes.zeroize();
        }
        Ok(session_secret)
    }

    /// The Secret's data.
    pub fn to_data(&self) -> BTreeMap<String, ByteString> {
        let replace = self.replace.then(|| (keys::REPLACE, "true".to_owned()));
        let sealed = self.approvals.iter().flat_map(|sealed| {
            let Sealed { text, code } = sealed.clone();
            [(keys::APPROVALS, text), (keys::APPROVALS_CODE, code)]
        });
        [
            (keys::ACCESS_KEY_ID, self.access_key_id.expose_secret().to_owned()),
            (
                keys::SECRET_ACCESS_KEY,
                self.secret_access_key.expose_secret().to_owned(),
            ),
            (keys::SESSION_TOKEN, self.session_token.expose_secret().to_owned()),
            (keys::EXPIRATION, self.expires_at.to_string()),
            (keys::PRINCIPAL_ARN, self.principal_arn.clone()),
        ]
        .into_iter()
        .chain(replace)
        .chain(sealed)
        .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
        .collect()
    }

    /// The credentials, for the SDK (which redacts them in Debug output and zeroes them too).
    pub fn credentials(&self) -> Credentials {
        Credentials::new(
            self.access_key_id.expose_secret(),
            self.secret_access_key.expose_secret(),
            Some(self.session_token.expose_secret().to_owned()),
            Some(self.expires_at.into()),
            "rolectl-mfa-session",
        )
    }

    /// A hash that differs between sessions and reveals none of their values. It covers every value that AWS or we rely on, so that a Secret of
    /// which any of them was changed is checked again.
    pub fn fingerprint(&self) -> [u8; 32] {
        let expires_at = self.expires_at.to_string();
        let mut digest = Sha256::new();
        for value in [
            self.access_key_id.expose_secret(),
            self.secret_access_key.expose_secret(),
            self.session_token.expose_secret(),
            &expires_at,
            &self.principal_arn,
        ] {
            // The length keeps the values apart.
            digest.update(value.len().to_be_bytes());
            digest.update(value);
        }
        digest.finalize().into()
    }
}

/// A session that AWS has confirmed.
#[derive(Debug)]
pub struct OpenSession {
    /// Grows with every unlock of any session.
    pub number: u64,
    /// When AWS ends it.
    pub expires_at: Timestamp,
    /// When we took it up.
    pub opened_at: Timestamp,
    /// The user, as AWS names it.
    pub principal_arn: String,
    /// The decisions about changes that its operator made with it.
    pub approvals: Approvals,
    /// What was begun by decisions of this session and of earlier ones of the same `MfaSession`.
    pub grants: Arc<Grants>,
    /// STS on the session's credentials.
    pub sts: Arc<dyn Sts>,
    /// The credentials, for an account that is used directly.
    pub session_secret: SessionSecret,
    /// `AssumeRole` counts against the session's account.
    pub bucket: Bucket,
    /// The last time that AWS was asked whether it still accepts the session, and its answer.
    pub checked: tokio::sync::Mutex<Option<(Instant, Result<(), AwsFailure>)>>,
    /// Cancelled when the session is locked, refused, replaced or over: what waits for its turn is not called any more.
    pub ended: CancellationToken,
}

impl OpenSession {
    /// The account of the session.
    pub fn account_id(&self) -> &str {
        arn_account(&self.principal_arn)
    }

    /// The operator's user name, for `SourceIdentity`.
    pub fn user_name(&self) -> &str {
        self.principal_arn.rsplit('/').next().unwrap_or_default()
    }
}

/// The state of a session.
#[derive(Clone, Debug)]
pub enum SessionState {
    /// We have not looked yet: nothing may be concluded.
    Pending,
    /// Not usable, and why.
    Locked(String),
    /// Usable.
    Open(Arc<OpenSession>),
}

/// All sessions, by the name of their `MfaSession`.
#[derive(Debug, Default)]
pub struct Sessions(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    states: BTreeMap<String, SessionState>,
    /// Sessions that another one followed without ending them: work under way on them continues until the next lock.
    earlier: BTreeMap<String, Vec<Arc<OpenSession>>>,
    /// Sessions that AWS refused, so that they are not tried again and again.
    rejected: BTreeMap<String, ([u8; 32], String)>,
    /// What was begun by decisions. It outlives its session: what an operator approved is finished, and a decision that was used is not
    /// used again when somebody changes the Secret so that its session is opened again.
    grants: BTreeMap<String, Arc<Grants>>,
    opened: u64,
}

impl Sessions {
    /// The state of the session at `now`. A session past its end is locked.
    pub fn state(&self, name: &str, now: Timestamp) -> SessionState {
        match self.0.read().states.get(name) {
            None => SessionState::Pending,
            Some(SessionState::Open(open)) if open.expires_at <= now => SessionState::Locked(format!(
                "the session ended at {}: run `rolectl unlock`",
                open.expires_at
            )),
            Some(state) => state.clone(),
        }
    }

    /// The open session, whatever the time.
    pub fn current(&self, name: &str) -> Option<Arc<OpenSession>> {
        match self.0.read().states.get(name) {
            Some(SessionState::Open(open)) => Some(open.clone()),
            _ => None,
        }
    }

    /// Takes up a session that AWS has confirmed. Where it says so, work under way on the one that it replaces ends.
    pub fn open(
        &self,
        name: &str,
        session_secret: SessionSecret,
        principal_arn: String,
        sts: Arc<dyn Sts>,
        now: Timestamp,
    ) -> Arc<OpenSession> {
        let mut inner = self.0.write();
        inner.opened += 1;
        let replaces = session_secret.replace;
        let approvals = session_secret
            .approvals
            .as_ref()
            .map_or_else(Approvals::default, |sealed| {
                let opened = sealed.open(&session_secret.secret_access_key, &principal_arn);
                opened.unwrap_or_else(|error| {
                    tracing::warn!(session = name, %error, "no approval of this session counts");
                    Approvals::default()
                })
            });
        let grants = inner.grants.entry(name.to_owned()).or_default().clone();
        grants.follow(&approvals, now);
        let open = Arc::new(OpenSession {
            number: inner.opened,
            expires_at: session_secret.expires_at,
            opened_at: now,
            principal_arn,
            approvals,
            grants,
            sts,
            session_secret,
            bucket: Bucket::new(ASSUME_ROLE_RATE, ASSUME_ROLE_RATE),
            checked: tokio::sync::Mutex::default(),
            ended: CancellationToken::new(),
        });
        let before = inner
            .states
            .insert(name.to_owned(), SessionState::Open(open.clone()));
        let earlier = inner.earlier.entry(name.to_owned()).or_default();
        if let Some(SessionState::Open(before)) = before {
            earlier.push(before);
        }
        // Also those that have expired: credentials of a role outlive the session on which it was assumed.
        let is_over = |session: &mut Arc<OpenSession>| replaces || session.expires_at <= now;
        for session in earlier.extract_if(.., is_over) {
            session.ended.cancel();
        }
        earlier.retain(|session| !session.ended.is_cancelled());
        let surplus = earlier.len().saturating_sub(EARLIER_SESSIONS);
        earlier
            .drain(..surplus)
            .for_each(|session| session.ended.cancel());
        open
    }

    /// Closes a session, and ends all work on it and on those before it. Returns whether it was open or not known before.
    pub fn lock(&self, name: &str, why: String) -> bool {
        let mut inner = self.0.write();
        let before = inner.states.insert(name.to_owned(), SessionState::Locked(why));
        let earlier = inner.earlier.remove(name).unwrap_or_default();
        drop(inner);
        for session in earlier {
            session.ended.cancel();
        }
        if let Some(SessionState::Open(open)) = &before {
            open.ended.cancel();
        }
        !matches!(before, Some(SessionState::Locked(_)))
    }

    /// AWS refused the session: it is not used again.
    pub fn reject(&self, name: &str, session: &OpenSession, why: &str) {
        session.ended.cancel();
        self.reject_secret(name, session.session_secret.fingerprint(), why);
    }

    /// AWS refused what the Secret holds: it is not tried again.
    pub fn reject_secret(&self, name: &str, fingerprint: [u8; 32], why: &str) {
        self.0
            .write()
            .rejected
            .insert(name.to_owned(), (fingerprint, why.to_owned()));
    }

    /// Why AWS refused this session, if it did.
    pub fn rejection(&self, name: &str, fingerprint: [u8; 32]) -> Option<String> {
        self.0
            .read()
            .rejected
            .get(name)
            .filter(|(refused, _)| *refused == fingerprint)
            .map(|(_, why)| why.clone())
    }

    /// The `MfaSession` is gone.
    pub fn remove(&self, name: &str) {
        self.lock(name, format!("MfaSession {name} does not exist: create it"));
        self.0.write().rejected.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(data: &[(&str, &str)]) -> Secret {
        Secret {
            data: Some(
                data.iter()
                    .map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec())))
                    .collect(),
            ),
            ..Secret::default()
        }
    }

    const FULL: &[(&str, &str)] = &[
        (keys::ACCESS_KEY_ID, "ASIACANARY"),
        (keys::SECRET_ACCESS_KEY, "secret-canary"),
        (keys::SESSION_TOKEN, "token-canary"),
        (keys::EXPIRATION, "2030-01-01T00:00:00Z"),
        (keys::PRINCIPAL_ARN, "arn:aws:iam::111111111111:user/op"),
    ];

    #[tokio::test]
    async fn a_lock_ends_the_work_on_earlier_sessions_too_and_a_replacement_ends_it_at_once() {
        let base = crate::sdk::base_config().await;
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let sessions = Sessions::default();
        let open = |replace, now| {
            let session_secret = SessionSecret {
                replace,
                ..SessionSecret::from_secret(secret(FULL)).unwrap()
            };
            let credentials = session_secret.credentials();
            let sts = crate::sdk::sts_client(&base, credentials, "aws", None).unwrap();
            sessions.open("default", session_secret, "arn".to_owned(), Arc::new(sts), now)
        };
        let (first, second) = (open(false, now), open(false, now));
        assert!(
            !first.ended.is_cancelled(),
            "work on the earlier session continues"
        );
        sessions.lock("default", "locked".to_owned());
        assert!(first.ended.is_cancelled() && second.ended.is_cancelled());
        let (third, fourth) = (open(false, now), open(false, now));
        let fifth = open(true, now);
        assert!(third.ended.is_cancelled() && fourth.ended.is_cancelled());
        let all: Vec<_> = (0..2 * EARLIER_SESSIONS).map(|_| open(false, now)).collect();
        let is_at_work = |session: &&Arc<OpenSession>| !session.ended.is_cancelled();
        assert_eq!(all.iter().filter(is_at_work).count(), EARLIER_SESSIONS + 1);
        assert!(fifth.ended.is_cancelled());
    }

    #[tokio::test]
    async fn a_secret_with_all_keys_is_a_session_and_its_debug_output_shows_no_credential() {
        let session_secret = SessionSecret::from_secret(secret(FULL)).unwrap();
        let base = crate::sdk::base_config().await;
        let sts = Arc::new(crate::sdk::sts_client(&base, session_secret.credentials(), "aws", None).unwrap());
        let open = Sessions::default().open(
            "default",
            session_secret.clone(),
            "arn".to_owned(),
            sts,
            Timestamp::now(),
        );
        // The session holds a client, and the client the credentials.
        let debug = format!("{session_secret:?} {:?} {open:?}", session_secret.credentials());
        for canary in ["secret-canary", "token-canary"] {
            assert!(!debug.contains(canary));
        }
        assert!(debug.contains("user/op"));
    }

    fn session_secret(changes: &[(&'static str, &str)]) -> Result<SessionSecret, SessionSecretError> {
        let mut all: BTreeMap<&str, &str> = FULL.iter().copied().collect();
        all.extend(changes.iter().copied());
        SessionSecret::from_secret(secret(&all.into_iter().collect::<Vec<_>>()))
    }

    #[test]
    fn a_damaged_value_is_named_and_every_change_is_noticed() {
        for (key, value) in [
            (keys::ACCESS_KEY_ID, "ASIA CANARY"),
            (keys::SECRET_ACCESS_KEY, "secret-canary\n"),
            (keys::SESSION_TOKEN, "token\0canary"),
            (keys::PRINCIPAL_ARN, "operator"),
            (keys::PRINCIPAL_ARN, "arn:aws:iam::1:user/op"),
        ] {
            let error = session_secret(&[(key, value)]).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("damaged"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
        let whole = session_secret(&[]).unwrap().fingerprint();
        for (key, value) in [
            (keys::ACCESS_KEY_ID, "ASIAOTHER"),
            (keys::SECRET_ACCESS_KEY, "other"),
            (keys::SESSION_TOKEN, "other"),
            (keys::EXPIRATION, "2030-01-01T00:00:01Z"),
            (keys::PRINCIPAL_ARN, "arn:aws:iam::111111111111:user/other"),
        ] {
            assert_ne!(
                session_secret(&[(key, value)]).unwrap().fingerprint(),
                whole,
                "{key}"
            );
        }
        assert_eq!(
            session_secret(&[(keys::REPLACE, "true")]).unwrap().fingerprint(),
            whole
        );
    }

    #[test]
    fn a_session_survives_its_secret() {
        for replace in [false, true] {
            let before = SessionSecret {
                replace,
                ..session_secret(&[]).unwrap()
            };
            let data = Some(before.to_data());
            let after = SessionSecret::from_secret(Secret {
                data,
                ..Secret::default()
            });
            let after = after.unwrap();
            assert_eq!(
                (after.fingerprint(), after.replace),
                (before.fingerprint(), replace)
            );
        }
    }

    #[tokio::test]
    async fn only_an_unlock_that_asks_for_it_ends_the_work_on_the_session_before() {
        let base = crate::sdk::base_config().await;
        let sessions = Sessions::default();
        let open = |replace: bool| {
            let session_secret = SessionSecret {
                replace,
                ..session_secret(&[]).unwrap()
            };
            let sts =
                Arc::new(crate::sdk::sts_client(&base, session_secret.credentials(), "aws", None).unwrap());
            sessions.open("default", session_secret, "arn".to_owned(), sts, Timestamp::now())
        };
        let first = open(true);
        let second = open(false);
        assert!(!first.ended.is_cancelled(), "a plain unlock leaves no gap");
        let third = open(true);
        assert!(second.ended.is_cancelled() && !third.ended.is_cancelled());
    }

    #[test]
    fn a_secret_that_lacks_a_key_says_which() {
        for missing in [keys::ACCESS_KEY_ID, keys::SESSION_TOKEN, keys::PRINCIPAL_ARN] {
            let rest: Vec<_> = FULL.iter().filter(|(k, _)| *k != missing).copied().collect();
            let error = SessionSecret::from_secret(secret(&rest)).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[ -~]{0,40}".prop_map(String::into_bytes),
            "2030-01-01T00:00:00Z|arn:aws:iam::111111111111:user/op|true".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40),
        ]
    }

    proptest! {
        #[test]
        fn any_secret_is_a_session_or_an_error_and_neither_shows_a_credential(credentials in prop::collection::vec("CANARY[ -~]{0,30}|\\PC{0,3}CANARY", 3), others in prop::collection::vec(value(), 3), extra in value()) {
            let keys = [keys::ACCESS_KEY_ID, keys::SECRET_ACCESS_KEY, keys::SESSION_TOKEN, keys::EXPIRATION, keys::PRINCIPAL_ARN, keys::REPLACE];
            let values = credentials.into_iter().map(String::into_bytes).chain(others);
            let all = keys.iter().zip(values).map(|(key, value)| ((*key).to_owned(), ByteString(value)));
            let read = SessionSecret::from_secret(Secret {
                data: Some(all.chain([("extra".to_owned(), ByteString(extra))]).collect()),
                ..Secret::default()
            });
            let shown = match &read {
                Ok(session) => format!("{session:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("CANARY"), "a credential is shown");
            if let Ok(session) = read {
                let again = SessionSecret::from_secret(Secret { data: Some(session.to_data()), ..Secret::default() });
                prop_assert_eq!(again.map(|again| again.fingerprint()), Ok(session.fingerprint()));
            }
        }
    }
}
