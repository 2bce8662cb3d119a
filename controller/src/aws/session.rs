//! MFA sessions: what `rolectl unlock` stored, checked and held in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_sdk_sts::Client as Sts;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use parking_lot::RwLock;
use rolectl_crds::MfaSessionSpec;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroize as _};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::arn_account;
use super::bucket::Bucket;

/// `AssumeRole` per second and session. AWS lets an account make
/// [600 such calls a second](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html) in each region,
/// all its users together.
const ASSUME_ROLE_RATE: u32 = 100;

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
}

/// A session as the Secret holds it. Its credentials never show in Debug output and are zeroed when dropped.
#[derive(Clone)]
pub struct Material {
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
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("expires_at", &self.expires_at)
            .field("principal_arn", &self.principal_arn)
            .finish_non_exhaustive()
    }
}

/// Why a Secret holds no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// A key is missing or is not text.
    #[error("Secret {secret} has no usable key {key}: run `rolectl unlock` again")]
    Missing {
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

impl Material {
    /// Reads the Secret, and wipes its own copy.
    pub fn from_secret(secret: Secret) -> Result<Self, MaterialError> {
        let name = secret.metadata.name.unwrap_or_default();
        let mut data = secret.data.unwrap_or_default();
        let mut text = |key: &'static str| -> Result<String, MaterialError> {
            data.remove(key)
                .and_then(|ByteString(bytes)| String::from_utf8(bytes).ok())
                .filter(|text| !text.is_empty())
                .ok_or_else(|| MaterialError::Missing {
                    secret: name.clone(),
                    key,
                })
        };
        let material = Self {
            access_key_id: text(keys::ACCESS_KEY_ID)?.into(),
            secret_access_key: text(keys::SECRET_ACCESS_KEY)?.into(),
            session_token: text(keys::SESSION_TOKEN)?.into(),
            expires_at: text(keys::EXPIRATION)?
                .parse()
                .map_err(|_| MaterialError::Expiration { secret: name.clone() })?,
            principal_arn: text(keys::PRINCIPAL_ARN)?,
        };
        for ByteString(bytes) in data.values_mut() {
            bytes.zeroize();
        }
        Ok(material)
    }

    /// The Secret's data.
    pub fn to_data(&self) -> BTreeMap<String, ByteString> {
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
        .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
        .into()
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

    /// Tells one session from another without holding either.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.session_token.expose_secret())
            .chain_update(self.expires_at.to_string())
            .finalize()
            .into()
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
    /// STS on the session's credentials.
    pub sts: Sts,
    /// The credentials, for an account that is used directly.
    pub material: Material,
    /// `AssumeRole` counts against the session's account.
    pub bucket: Bucket,
    /// Cancelled when the session is locked, refused or over: what waits for its turn is not called any more.
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

/// Is this the account, and the user or role, that the object asks for?
pub fn fits(spec: &MfaSessionSpec, principal: &str) -> Result<(), String> {
    if let Some(role) = &spec.role_arn {
        let name = role.rsplit('/').next().unwrap_or_default();
        let is_role = arn_account(principal) == arn_account(role)
            && principal.contains(&format!(":assumed-role/{name}/"));
        return if is_role {
            Ok(())
        } else {
            Err(format!("the session is of {principal}, spec.roleArn is {role}"))
        };
    }
    if principal.contains(":assumed-role/") {
        return Err(format!(
            "the session is of {principal}, and a role's session needs spec.roleArn"
        ));
    }
    if arn_account(principal) != spec.account_id {
        return Err(format!(
            "the session is of {principal}, spec.accountId is {}: unlock with a key of that account",
            spec.account_id
        ));
    }
    match &spec.user_arn {
        Some(user) if user != principal => Err(format!(
            "the session is of {principal}, only {user} may unlock this one (spec.userArn)"
        )),
        _ => Ok(()),
    }
}

/// Where a session stands.
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
    /// Sessions that AWS refused, so that they are not tried again and again.
    rejected: BTreeMap<String, ([u8; 32], String)>,
    opened: u64,
}

impl Sessions {
    /// Where the session stands. One past its end is locked, whoever has or has not noticed yet.
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

    /// Takes up a session that AWS has confirmed.
    pub fn open(
        &self,
        name: &str,
        material: Material,
        principal_arn: String,
        sts: Sts,
        now: Timestamp,
    ) -> Arc<OpenSession> {
        let mut inner = self.0.write();
        inner.opened += 1;
        let open = Arc::new(OpenSession {
            number: inner.opened,
            expires_at: material.expires_at,
            opened_at: now,
            principal_arn,
            sts,
            material,
            bucket: Bucket::new(ASSUME_ROLE_RATE, ASSUME_ROLE_RATE),
            ended: CancellationToken::new(),
        });
        inner
            .states
            .insert(name.to_owned(), SessionState::Open(open.clone()));
        open
    }

    /// Closes a session. Returns whether it was open or not known before.
    pub fn lock(&self, name: &str, why: String) -> bool {
        let before = self
            .0
            .write()
            .states
            .insert(name.to_owned(), SessionState::Locked(why));
        if let Some(SessionState::Open(open)) = &before {
            open.ended.cancel();
        }
        !matches!(before, Some(SessionState::Locked(_)))
    }

    /// AWS refused the session: it is not used again.
    pub fn reject(&self, name: &str, session: &OpenSession, why: &str) {
        session.ended.cancel();
        self.reject_material(name, session.material.fingerprint(), why);
    }

    /// AWS refused what the Secret holds: it is not tried again.
    pub fn reject_material(&self, name: &str, fingerprint: [u8; 32], why: &str) {
        self.0
            .write()
            .rejected
            .insert(name.to_owned(), (fingerprint, why.to_owned()));
    }

    /// Why AWS refused this material, if it did.
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
    async fn a_secret_with_all_keys_is_a_session_and_its_debug_output_shows_no_credential() {
        let material = Material::from_secret(secret(FULL)).unwrap();
        let base = crate::aws::base_config().await;
        let sts = crate::aws::sts_client(&base, material.credentials(), "aws", None).unwrap();
        let open = Sessions::default().open(
            "default",
            material.clone(),
            "arn".to_owned(),
            sts,
            Timestamp::now(),
        );
        // The session holds a client, and the client the credentials.
        let debug = format!("{material:?} {:?} {open:?}", material.credentials());
        for canary in ["secret-canary", "token-canary"] {
            assert!(!debug.contains(canary));
        }
        assert!(debug.contains("user/op"));
    }

    #[test]
    fn a_secret_that_lacks_a_key_says_which() {
        for missing in [keys::ACCESS_KEY_ID, keys::SESSION_TOKEN, keys::PRINCIPAL_ARN] {
            let rest: Vec<_> = FULL.iter().filter(|(k, _)| *k != missing).copied().collect();
            let error = Material::from_secret(secret(&rest)).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }
}
