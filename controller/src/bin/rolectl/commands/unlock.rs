//! `rolectl unlock`

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use clap::Args;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use rolectl::aws::account::Account;
use rolectl::aws::error::AwsFailure;
use rolectl::aws::session::{Material, OpenSession, Sessions};
use rolectl::aws::{arn_account, arn_partition, base_config, iam_client, sts_client};
use rolectl_crds::{AwsAccount, MfaSession, SESSION_SECRET_TYPE};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster;
use crate::failure::Failure;
use crate::keys::{long_term_key, profile_serial};
use crate::output::{moment, table};
use crate::used_code;

/// Open a session with a code from your MFA device
///
/// Buys a session from AWS with your key and the code, stores it for the controller, and shows which accounts
/// answer to it. The code is used once. Whatever fails before that changes nothing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rolectl unlock --mfa 123456\n  rolectl unlock --mfa 123456 --profile main --duration 8h"
)]
pub struct Unlock {
    /// The 6 digits that your MFA device shows
    #[arg(long, value_name = "CODE", value_parser = code)]
    mfa: String,
    /// Serial number or ARN of the MFA device. Default: the profile's `mfa_serial`, then the MfaSession's, then your only device
    #[arg(long, env = "AWS_MFA_SERIAL")]
    serial: Option<String>,
    /// Profile with your key, in place of the usual chain
    #[arg(long)]
    profile: Option<String>,
    /// Name of the MfaSession
    #[arg(long, default_value = "default")]
    session: String,
    /// Length of the session, 15m to 36h. Default: the MfaSession's durationSeconds
    #[arg(long, value_parser = duration_seconds)]
    duration: Option<i32>,
}

fn code(text: &str) -> Result<String, String> {
    if text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("an MFA code has exactly 6 digits".to_owned())
    }
}

fn duration_seconds(text: &str) -> Result<i32, String> {
    let parsed: kube::core::Duration = text
        .parse()
        .map_err(|_| "write it as 45m, 8h or 1h30m".to_owned())?;
    let seconds = std::time::Duration::from(parsed).as_secs();
    match i32::try_from(seconds) {
        Ok(s) if (900..=129_600).contains(&s) && !parsed.is_negative() => Ok(s),
        _ => Err("AWS takes 15m to 36h".to_owned()),
    }
}

impl Unlock {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        // Everything that can fail comes before the code is spent.
        let client = flags.client().await?;
        let session = cluster::session(&client, &self.session).await?;
        let secret_name = session.secret_name();
        for verb in ["create", "patch"] {
            cluster::may_on_secret(&client, &flags.namespace, &secret_name, verb).await?;
        }
        let key = long_term_key(self.profile.as_deref()).await?;
        let base = base_config().await;
        let principal = who(&base, &key).await?;
        fits(&session, &principal)?;
        let serial = self.serial(&session, &base, &key, &principal).await?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &flags.namespace);
        if let Some(ago) = used_code::used_ago(&serial, &self.mfa, Timestamp::now()) {
            return Err(Failure::new(
                format!("this code was already used {ago}s ago, and a code works once"),
                "wait for the next code (at most 30 seconds) and try again",
            ));
        }

        let material = self.buy(&session, &base, key, &serial, &principal).await?;
        used_code::remember(&serial, &self.mfa, Timestamp::now());
        store(&secrets, &secret_name, &material).await?;

        let now = Timestamp::now();
        println!("Unlocked session {} as {principal}", self.session);
        println!("Ends at {}", moment(material.expires_at, now));
        let sts = sts_client(&base, material.credentials(), arn_partition(&principal));
        let open = Sessions::default().open(&self.session, material, principal, sts, now);
        self.show_accounts(client, &flags.namespace, &base, &open).await
    }

    /// The device: as told, else as configured, else the user's only one that shows codes.
    async fn serial(
        &self,
        session: &MfaSession,
        base: &SdkConfig,
        key: &Credentials,
        user: &str,
    ) -> Result<String, Failure> {
        // An empty variable is as good as none.
        if let Some(serial) = self.serial.as_ref().filter(|serial| !serial.is_empty()) {
            return Ok(serial.clone());
        }
        if let Some(serial) = profile_serial(self.profile.as_deref()).await {
            return Ok(serial);
        }
        if let Some(serial) = &session.spec.mfa_serial {
            return Ok(serial.clone());
        }
        let name_it = "name the device with --serial, AWS_MFA_SERIAL, mfa_serial in your profile, or spec.mfaSerial of the MfaSession";
        let answer = iam_client(base, key.clone(), arn_partition(user))
            .list_mfa_devices()
            .send()
            .await;
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

    async fn buy(
        &self,
        session: &MfaSession,
        base: &SdkConfig,
        key: Credentials,
        serial: &str,
        principal: &str,
    ) -> Result<Material, Failure> {
        let answer = sts_client(base, key, arn_partition(principal))
            .get_session_token()
            .serial_number(serial)
            .token_code(&self.mfa)
            .duration_seconds(self.duration.unwrap_or(session.spec.duration_seconds))
            .send()
            .await;
        let answer = answer.map_err(|error| {
            let text = error.message().unwrap_or_default().to_owned();
            let failure = AwsFailure::new("GetSessionToken", &error);
            if text.contains("MultiFactorAuthentication failed") {
                return Failure::new(
                    format!("AWS refused the code of {serial}: {}", text.trim()),
                    "check the digits, the device (--serial) and your clock; a used code does not work again, wait for the next",
                );
            }
            Failure::new(format!("AWS gave no session: {failure}"), "check the key, --serial and --duration, then try again with the next code")
        })?;
        let Some(c) = answer.credentials else {
            return Err(Failure::new(
                "AWS answered GetSessionToken without credentials",
                "try again with the next code",
            ));
        };
        Ok(Material {
            access_key_id: c.access_key_id.into(),
            secret_access_key: c.secret_access_key.into(),
            session_token: c.session_token.into(),
            expires_at: Timestamp::from_second(c.expiration.secs()).unwrap_or_default(),
            principal_arn: principal.to_owned(),
        })
    }

    async fn show_accounts(
        &self,
        client: Client,
        namespace: &str,
        base: &SdkConfig,
        open: &OpenSession,
    ) -> Result<(), Failure> {
        let accounts = match Api::<AwsAccount>::all(client).list(&ListParams::default()).await {
            Ok(accounts) => accounts,
            Err(error) => {
                // The session is stored: that the accounts cannot be shown does not undo it.
                eprintln!("warning: accounts not shown: {error}");
                return Ok(());
            }
        };
        let ours = accounts
            .into_iter()
            .filter(|a| a.spec.session_ref == self.session && !a.spec.suspend);
        let mut answers: Vec<Vec<String>> = futures::stream::iter(ours)
            .map(|account| async {
                let name = account.name_any();
                let id = account.spec.account_id.clone();
                let target = Account::new(
                    &name,
                    account.spec,
                    base.clone(),
                    CancellationToken::new(),
                    namespace,
                    "",
                );
                let answer = match target.iam(open, Timestamp::now(), None).await {
                    Ok(_) => "ok".to_owned(),
                    Err(error) => error.to_string(),
                };
                vec![name, id, answer]
            })
            .buffer_unordered(16)
            .collect()
            .await;
        answers.sort();
        if answers.is_empty() {
            println!("\nNo AwsAccount refers to this session yet.");
            return Ok(());
        }
        println!("\n{}", table(&["ACCOUNT", "ID", "ANSWER"], answers));
        Ok(())
    }
}

async fn store(secrets: &Api<Secret>, name: &str, material: &Material) -> Result<(), Failure> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": SESSION_SECRET_TYPE,
        "data": material.to_data(),
    });
    let params = PatchParams::apply("rolectl").force();
    match secrets.patch(name, &params, &Patch::Apply(&secret)).await {
        Ok(_) => Ok(()),
        // The error may quote the object; only its own message is shown, never what we sent.
        Err(kube::Error::Api(status)) => Err(Failure::new(
            format!(
                "could not store the session in Secret {name}: {} (code {})",
                status.reason, status.code
            ),
            "mend the cause and unlock with the next code; this session is lost and ends by itself",
        )),
        Err(_) => Err(Failure::new(
            format!("could not store the session in Secret {name}: the cluster does not answer"),
            "unlock with the next code once it does; this session is lost and ends by itself",
        )),
    }
}

async fn who(base: &SdkConfig, key: &Credentials) -> Result<String, Failure> {
    let error = match sts_client(base, key.clone(), "aws")
        .get_caller_identity()
        .send()
        .await
    {
        Ok(identity) => return Ok(identity.arn.unwrap_or_default()),
        Err(error) => AwsFailure::new("GetCallerIdentity", &error),
    };
    if error.code.is_none() {
        return Err(Failure::new(
            format!("AWS does not answer: {error}"),
            "check your network, proxy and AWS_ENDPOINT_URL, then try again with the next code",
        ));
    }
    Err(Failure::new(
        format!("AWS does not take the key {}: {error}", key.access_key_id()),
        "check the key and its secret, or name another profile with --profile",
    ))
}

fn fits(session: &MfaSession, principal: &str) -> Result<(), Failure> {
    let name = session.name_any();
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
