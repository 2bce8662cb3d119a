//! Finds the operator's long-term key, its principal and its MFA device.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use kube::ResourceExt as _;

use rolectl_aws::error::{AwsFailure, Class};
use rolectl_aws::principal::Principal;
use rolectl_aws::sdk::{configured_partition, iam_client, sts_client};
use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_crds::{MfaSession, Partition};

use super::flags::CodeFlags;
use crate::failure::Failure;
use crate::keys::{long_term_key, profile_serial};
use crate::waiting::aws_config_of;

/// The principal that owns the operator's long-term key, and opens sessions with MFA codes.
#[derive(Debug)]
pub struct Caller {
    /// The SDK's configuration without credentials.
    pub base: SdkConfig,
    /// ARN of the principal, from `GetCallerIdentity`.
    pub principal: String,
    pub(super) key: Credentials,
    pub(super) flags: CodeFlags,
}

impl Caller {
    /// Finds the key and asks AWS for its principal, in the partition and region that `session` names.
    pub async fn find(flags: &CodeFlags, session: Option<&MfaSession>) -> Result<Self, Failure> {
        let key = long_term_key(flags.profile.as_deref()).await?;
        let base = aws_config_of(flags.profile.as_deref()).await;
        Self::of_key(key, base, flags, session).await
    }

    /// Asks AWS for the principal of a key, with this configuration.
    pub async fn of_key(
        key: Credentials,
        base: SdkConfig,
        flags: &CodeFlags,
        session: Option<&MfaSession>,
    ) -> Result<Self, Failure> {
        let principal = principal(&base, &key, session).await?;
        Ok(Self {
            base,
            principal,
            key,
            flags: flags.clone(),
        })
    }

    /// Returns an IAM client for the principal's own account that uses the long-term key.
    pub fn iam(&self) -> Result<aws_sdk_iam::Client, Failure> {
        Ok(iam_client(
            &self.base,
            self.key.clone(),
            arn_partition(&self.principal),
        )?)
    }

    /// Returns an error if the principal may not open the session.
    pub fn check_access(&self, session: &MfaSession) -> Result<(), Failure> {
        let (name, principal) = (session.name_any(), &self.principal);
        // No policy limits the root user, and a federated user cannot call IAM.
        if let Some(why) = Principal::of(principal).refusal() {
            return Err(Failure::new(
                format!("your key is of {principal}, {why}"),
                "use the key of an IAM user with an MFA device (--profile)",
            ));
        }
        let partition = session.spec.partition()?;
        if let Some(partition) = partition.filter(|partition| partition.name != arn_partition(principal)) {
            return Err(Failure::new(
                format!(
                    "your key is of {principal}, MfaSession {name} is of partition {}",
                    partition.name
                ),
                "use a key of that partition (--profile), or name another session with --session",
            ));
        }
        if arn_account(principal) != session.spec.account_id {
            return Err(Failure::new(
                format!(
                    "your key is of {principal}, MfaSession {name} is of account {}",
                    session.spec.account_id
                ),
                "use a key of that account (--profile), or name another session with --session",
            ));
        }
        match &session.spec.user_arn {
            Some(user) if user != principal => Err(Failure::new(
                format!("your key is of {principal}, MfaSession {name} may only be unlocked by {user}"),
                "ask that user, or name another session with --session",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the MFA device: the one in the flags, the profile or the `MfaSession`, in this order, or else the user's only device
    /// that shows codes.
    pub async fn serial(&self, of_session: Option<&str>) -> Result<String, Failure> {
        // An empty environment variable counts as unset.
        if let Some(serial) = self.flags.serial.as_ref().filter(|serial| !serial.is_empty()) {
            return Ok(serial.clone());
        }
        if let Some(serial) = profile_serial(self.flags.profile.as_deref()).await {
            return Ok(serial);
        }
        if let Some(serial) = of_session {
            return Ok(serial.to_owned());
        }
        let user = &self.principal;
        let name_it = "name the device with --serial, AWS_MFA_SERIAL, mfa_serial in your profile, or spec.mfaSerial of the MfaSession";
        let answer = self.iam()?.list_mfa_devices().send().await;
        let devices = answer.map_err(|error| {
            Failure::new(
                format!(
                    "could not look up your MFA device: {}",
                    AwsFailure::new("ListMFADevices", &error)
                ),
                name_it,
            )
        })?;
        // A FIDO key shows no code.
        let serials: Vec<String> = devices
            .mfa_devices
            .into_iter()
            .map(|d| d.serial_number)
            .filter(|s| !s.contains(":u2f/"))
            .collect();
        match serials.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Failure::new(
                format!("{user} has no MFA device that shows codes"),
                "register a virtual or hardware TOTP device for this user in IAM (a FIDO key cannot be used here)",
            )),
            several => Err(Failure::new(
                format!("{user} has several MFA devices: {}", several.join(", ")),
                name_it,
            )),
        }
    }
}

/// Returns the ARN of the principal that owns the key.
///
/// A key is valid in one partition only, so the request goes to the partition of the session, else of the configured region,
/// else to `aws`.
async fn principal(
    base: &SdkConfig,
    key: &Credentials,
    session: Option<&MfaSession>,
) -> Result<String, Failure> {
    let named = session
        .map(|session| session.spec.partition())
        .transpose()?
        .flatten();
    let partition = match named.map_or_else(|| configured_partition(base), |named| Ok(Some(named)))? {
        Some(partition) => partition,
        None => Partition::named("aws")?,
    };
    let region = session.and_then(|session| session.spec.region.as_deref());
    let sts = sts_client(base, key.clone(), partition.name, region)?;
    let error = match sts.get_caller_identity().send().await {
        Ok(identity) => return Ok(identity.arn.unwrap_or_default()),
        Err(error) => AwsFailure::new("GetCallerIdentity", &error),
    };
    if error.code.is_none() {
        return Err(Failure::new(
            format!("AWS does not answer: {error}"),
            "check your network, HTTPS_PROXY, AWS_CA_BUNDLE and AWS_ENDPOINT_URL, then try again with the next code",
        ));
    }
    if error.class == Class::Transient {
        return Err(Failure::new(
            format!("AWS did not accept the request: {error}"),
            "correct what the message names, then try again with the next code",
        ));
    }
    Err(Failure::new(
        format!("AWS does not take the key {}: {error}", key.access_key_id()),
        format!(
            "check the key and its secret, or name another profile with --profile; it was looked for in partition {}, \
             set AWS_REGION to a region of another partition if it is of that",
            partition.name
        ),
    ))
}
