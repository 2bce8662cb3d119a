//! Requests sessions from AWS with a code.

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use rolectl_aws::error::AwsFailure;
use rolectl_aws::sdk::sts_client;
use rolectl_aws::session::SessionSecret;
use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_crds::MfaSession;

use super::caller::Caller;
use crate::failure::Failure;
use crate::used_code;

/// Maximum length of a role's session, in seconds. A role can have a lower maximum.
const MAX_ROLE_SESSION_SECONDS: i32 = 43_200;

/// Returns the ARN of the principal in a session of a role that the user `user` assumes:
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumedRoleUser.html>.
pub fn assumed_role_arn(role_arn: &str, user: &str) -> String {
    let role = role_arn.rsplit('/').next().unwrap_or_default();
    format!(
        "arn:{}:sts::{}:assumed-role/{role}/{}",
        arn_partition(role_arn),
        arn_account(role_arn),
        role_session_name(user)
    )
}

/// Returns the `RoleSessionName` of a user: the name of the user, so that CloudTrail and the status show who opened the session.
///
/// Every character of a user name is valid in it. It has
/// [2 characters at least](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html).
fn role_session_name(user: &str) -> String {
    let name = user.rsplit('/').next().unwrap_or_default();
    if name.len() < 2 {
        format!("rolectl-{name}")
    } else {
        name.to_owned()
    }
}

impl Caller {
    /// Requests the session that the object describes: a session of the user, or of a role.
    pub async fn request_session(
        &self,
        session: &MfaSession,
        duration_seconds: Option<i32>,
    ) -> Result<SessionSecret, Failure> {
        let serial = self.serial(session.spec.mfa_serial.as_deref()).await?;
        let region = session.spec.region.as_deref();
        if let Some(role) = &session.spec.role_arn {
            return self.role_session(&serial, role, region, duration_seconds).await;
        }
        let seconds = duration_seconds.unwrap_or(session.spec.duration_seconds);
        self.user_session(&serial, region, seconds).await
    }

    fn sts(&self, partition: &str, region: Option<&str>) -> Result<aws_sdk_sts::Client, Failure> {
        Ok(sts_client(&self.base, self.key.clone(), partition, region)?)
    }

    /// Requests a session of the user with `GetSessionToken` and a code.
    async fn user_session(
        &self,
        serial: &str,
        region: Option<&str>,
        duration_seconds: i32,
    ) -> Result<SessionSecret, Failure> {
        // A client that cannot be created must not cost a code.
        let sts = self.sts(arn_partition(&self.principal), region)?;
        let code = self.flags.fresh_code(serial).await?;
        let answer = sts
            .get_session_token()
            .serial_number(serial)
            .token_code(code.expose_secret())
            .duration_seconds(duration_seconds)
            .send()
            .await;
        let answer = accepted(serial, code.expose_secret(), "GetSessionToken", answer)?;
        let Some(c) = answer.credentials else {
            return Err(no_credentials("GetSessionToken"));
        };
        Ok(session_secret(c, self.principal.clone()))
    }

    /// Requests a session of a role with `AssumeRole` and a code.
    async fn role_session(
        &self,
        serial: &str,
        arn: &str,
        region: Option<&str>,
        seconds: Option<i32>,
    ) -> Result<SessionSecret, Failure> {
        if seconds.is_some_and(|seconds| seconds > MAX_ROLE_SESSION_SECONDS) {
            return Err(Failure::new(
                "the session of a role lasts 12h at most",
                "give a shorter --duration; the role's own maximum is 1h unless somebody raised it",
            )
            .usage());
        }
        let sts = self.sts(arn_partition(arn), region)?;
        let code = self.flags.fresh_code(serial).await?;
        let answer = sts
            .assume_role()
            .role_arn(arn)
            .role_session_name(role_session_name(&self.principal))
            .serial_number(serial)
            .token_code(code.expose_secret())
            .set_duration_seconds(seconds)
            .send()
            .await;
        let answer = accepted(serial, code.expose_secret(), "AssumeRole", answer)?;
        let assumed = answer.assumed_role_user.map(|user| user.arn);
        let (Some(c), Some(assumed)) = (answer.credentials, assumed) else {
            return Err(no_credentials("AssumeRole"));
        };
        Ok(session_secret(c, assumed))
    }
}

/// Returns the answer of an operation that used a code. Records the code as used if AWS accepted it.
fn accepted<T, E, R>(
    serial: &str,
    code: &str,
    operation: &'static str,
    answer: Result<T, SdkError<E, R>>,
) -> Result<T, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let error = match answer {
        Ok(answer) => {
            used_code::remember(serial, code, Timestamp::now());
            return Ok(answer);
        }
        Err(error) => error,
    };
    let text = error.message().unwrap_or_default();
    if text.contains("MultiFactorAuthentication failed") {
        return Err(Failure::new(
            format!("AWS refused the code of {serial}: {}", text.trim()),
            "check the digits, the device (--serial) and your clock; a used code does not work again, wait for the next",
        ));
    }
    Err(Failure::new(
        format!("AWS gave no session: {}", AwsFailure::new(operation, &error)),
        "check the key, --serial and --duration, then try again with the next code",
    ))
}

fn no_credentials(operation: &str) -> Failure {
    Failure::new(
        format!("AWS answered {operation} without credentials"),
        "try again with the next code",
    )
}

fn session_secret(c: aws_sdk_sts::types::Credentials, principal_arn: String) -> SessionSecret {
    SessionSecret {
        access_key_id: c.access_key_id.into(),
        secret_access_key: c.secret_access_key.into(),
        session_token: c.session_token.into(),
        expires_at: Timestamp::from_second(c.expiration.secs()).unwrap_or_default(),
        principal_arn,
        replace: false,
        approvals: None,
    }
}
