//! From a code of an MFA device to a session.

use std::fs::File;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use anstream::eprintln;
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt as _;
use rolectl_aws::error::{AwsFailure, Class};
use rolectl_aws::sdk::{base_config_of, configured_partition, iam_client, sts_client};
use rolectl_aws::session::{Principal, SessionSecret};
use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_crds::{MfaSession, Partition, PartitionError};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};

use crate::failure::Failure;
use crate::keys::{long_term_key, profile_serial};
use crate::used_code;

/// The longest that a role's session can be, whatever the role allows.
const LONGEST_ROLE_SESSION: i32 = 43_200;

/// Whose code, and where it comes from.
#[derive(Clone, Debug, Default, Args)]
pub struct CodeFlags {
    /// The 6 digits that your MFA device shows; `-` reads them from stdin. Without it you are asked
    #[arg(long, value_name = "CODE", value_parser = code_or_dash)]
    pub mfa: Option<SecretString>,
    /// A command that prints the code, as `op item get aws --otp`
    #[arg(long, value_name = "COMMAND", conflicts_with = "mfa")]
    mfa_process: Option<String>,
    /// Take the code from a YubiKey by `ykman`, from its OATH account of this name
    #[arg(long, value_name = "ACCOUNT", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["mfa", "mfa_process"])]
    ykman: Option<String>,
    /// Serial number or ARN of the MFA device. Default: the profile's `mfa_serial`, then the MfaSession's, then your only device
    #[arg(long, env = "AWS_MFA_SERIAL", hide_env_values = true)]
    serial: Option<String>,
    /// Profile with your key, in place of the usual chain
    #[arg(long)]
    profile: Option<String>,
}

fn code_or_dash(text: &str) -> Result<SecretString, String> {
    if text == "-" { Ok(text.into()) } else { code(text) }
}

/// An MFA code.
fn code(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    if text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text.into())
    } else {
        Err("an MFA code has exactly 6 digits".to_owned())
    }
}

/// ARN of a role: with `--assume-role` its session is bought.
pub fn role_arn(text: &str) -> Result<String, String> {
    let is_role = text.starts_with("arn:")
        && text.contains(":iam::")
        && text.contains(":role/")
        && arn_account(text).len() == 12;
    if is_role {
        Ok(text.to_owned())
    } else {
        Err("write it as arn:aws:iam::222222222222:role/name".to_owned())
    }
}

/// Who the user is in the session of a role: <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumedRoleUser.html>.
pub fn assumed(role_arn: &str, user: &str) -> String {
    let role = role_arn.rsplit('/').next().unwrap_or_default();
    format!(
        "arn:{}:sts::{}:assumed-role/{role}/{}",
        arn_partition(role_arn),
        arn_account(role_arn),
        role_session_name(user)
    )
}

/// What a session of a role is called: as its user, so that CloudTrail and the status tell who it was. All that a user's name may
/// hold may stand in it; [it has 2 characters at least](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html).
fn role_session_name(user: &str) -> String {
    let name = user.rsplit('/').next().unwrap_or_default();
    if name.len() < 2 {
        format!("rolectl-{name}")
    } else {
        name.to_owned()
    }
}

/// The length of a session: 15 minutes to 36 hours.
pub fn duration_seconds(text: &str) -> Result<i32, String> {
    let parsed: kube::core::Duration = text
        .parse()
        .map_err(|_| "write it as 45m, 8h or 1h30m".to_owned())?;
    let seconds = Duration::from(parsed).as_secs();
    match i32::try_from(seconds) {
        Ok(s) if (900..=129_600).contains(&s) && !parsed.is_negative() => Ok(s),
        _ => Err("AWS takes 15m to 36h".to_owned()),
    }
}

impl CodeFlags {
    /// For what needs the key and no code.
    pub fn of_profile(profile: Option<String>) -> Self {
        Self {
            profile,
            ..Self::default()
        }
    }

    /// A code that was not used yet. One that was is waited out where another can be had.
    async fn fresh_code(&self, serial: &str) -> Result<SecretString, Failure> {
        let on_terminal = std::io::stdin().is_terminal();
        let mut given = self.mfa.is_some();
        loop {
            let text = if given || self.mfa.is_none() {
                self.ask(serial).await?
            } else {
                prompt(serial).await?
            };
            let code = code(&text)
                .map_err(|why| Failure::new(why, "try again with the code that the device shows").usage())?;
            let Some(ago) = used_code::used_ago(serial, code.expose_secret(), Timestamp::now()) else {
                return Ok(code);
            };
            given = false;
            if self.mfa.is_some() && !on_terminal {
                return Err(Failure::new(
                    format!("this code was already used {ago}s ago, and a code works once"),
                    "wait for the next code (at most 30 seconds) and try again",
                ));
            }
            let left = u64::try_from(30 - Timestamp::now().as_second().rem_euclid(30)).unwrap_or(30);
            eprintln!(
                "This code was already used {ago}s ago, and a code works once. The next one comes in {left}s."
            );
            tokio::time::sleep(Duration::from_secs(left)).await;
        }
    }

    async fn ask(&self, serial: &str) -> Result<String, Failure> {
        let given = self.mfa.as_ref().map(ExposeSecret::expose_secret);
        Ok(match (given, &self.mfa_process, &self.ykman) {
            (Some("-"), ..) => {
                let mut line = String::new();
                let read = std::io::stdin().lock().read_line(&mut line);
                read.map_err(|e| {
                    Failure::new(
                        format!("could not read the code from stdin: {e}"),
                        "pipe the 6 digits in",
                    )
                })?;
                line
            }
            (Some(code), ..) => code.to_owned(),
            (_, Some(command), _) => printed_by("sh", &["-c", command]).await?,
            (_, _, Some(account)) => {
                let mut args = vec!["oath", "accounts", "code", "--single"];
                args.extend(Some(account.as_str()).filter(|a| !a.is_empty()));
                eprintln!("Touch your YubiKey if it blinks.");
                printed_by("ykman", &args).await?
            }
            _ if std::io::stdin().is_terminal() => prompt(serial).await?,
            _ => {
                return Err(Failure::new(
                    "no MFA code was given, and there is no terminal to ask on",
                    "give it with --mfa CODE, --mfa - (stdin), --mfa-process or --ykman",
                )
                .usage());
            }
        })
    }
}

/// A terminal that shows nothing of what is typed, until this goes.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn new() -> std::io::Result<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // What was typed ahead is taken.
        tcsetattr(&terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // The shell sets its terminal right, too.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Asks on the terminal; what is typed does not show. Nor does what is typed at the very moment of the question: it is silent before.
fn ask_unseen(prompt: &str) -> std::io::Result<String> {
    let mut silent = Silent::new()?;
    write!(silent.terminal, "{prompt}")?;
    rpassword::read_password()
}

async fn prompt(serial: &str) -> Result<String, Failure> {
    let prompt = format!("MFA code of {serial}: ");
    let typed = tokio::task::spawn_blocking(move || ask_unseen(&prompt)).await;
    let failed = |e: String| Failure::new(format!("could not read the code: {e}"), "give it with --mfa");
    typed
        .map_err(|e| failed(e.to_string()))?
        .map_err(|e| failed(e.to_string()))
}

async fn printed_by(program: &str, args: &[&str]) -> Result<String, Failure> {
    let next = "correct the command, or give the code with --mfa";
    let output = tokio::process::Command::new(program)
        .args(args)
        .stderr(std::process::Stdio::inherit())
        .output()
        .await;
    let output = output.map_err(|e| Failure::new(format!("could not run {program}: {e}"), next))?;
    if !output.status.success() {
        return Err(Failure::new(
            format!("{program} ended with {} and gave no code", output.status),
            next,
        ));
    }
    // Whatever else it prints is not shown: it may be a secret.
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A user with a long-term key, who can buy sessions with codes.
#[derive(Debug)]
pub struct Buyer {
    /// The SDK's configuration without credentials.
    pub base: SdkConfig,
    /// ARN of the user.
    pub principal: String,
    key: Credentials,
    flags: CodeFlags,
}

impl Buyer {
    /// Finds the key, and asks AWS whose it is, in the partition and region that `session` names.
    pub async fn find(flags: &CodeFlags, session: Option<&MfaSession>) -> Result<Self, Failure> {
        let key = long_term_key(flags.profile.as_deref()).await?;
        let base = base_config_of(flags.profile.as_deref()).await;
        let principal = who(&base, &key, session).await?;
        Ok(Self {
            base,
            principal,
            key,
            flags: flags.clone(),
        })
    }

    /// IAM in the user's own account, on the long-term key.
    pub fn iam(&self) -> Result<aws_sdk_iam::Client, Failure> {
        Ok(iam_client(
            &self.base,
            self.key.clone(),
            arn_partition(&self.principal),
        )?)
    }

    /// Whether this user may open the session.
    pub fn fits(&self, session: &MfaSession) -> Result<(), Failure> {
        let (name, principal) = (session.name_any(), &self.principal);
        // No policy limits the root user, and a federated user may not call IAM.
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

    /// The device: as told, else as configured, else the user's only one that shows codes.
    pub async fn serial(&self, of_session: Option<&str>) -> Result<String, Failure> {
        // An empty variable is as good as none.
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

    /// The session that the object asks for: the user's own, or that of a role.
    pub async fn session_of(
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
        self.session(&serial, region, seconds).await
    }

    fn sts(&self, partition: &str, region: Option<&str>) -> Result<aws_sdk_sts::Client, Failure> {
        Ok(sts_client(&self.base, self.key.clone(), partition, region)?)
    }

    /// `GetSessionToken` with a code.
    async fn session(
        &self,
        serial: &str,
        region: Option<&str>,
        duration_seconds: i32,
    ) -> Result<SessionSecret, Failure> {
        // Before the code is spent.
        let sts = self.sts(arn_partition(&self.principal), region)?;
        let code = self.flags.fresh_code(serial).await?;
        let answer = sts
            .get_session_token()
            .serial_number(serial)
            .token_code(code.expose_secret())
            .duration_seconds(duration_seconds)
            .send()
            .await;
        let answer = spent(serial, code.expose_secret(), "GetSessionToken", answer)?;
        let Some(c) = answer.credentials else {
            return Err(without_credentials("GetSessionToken"));
        };
        Ok(session_secret(c, self.principal.clone()))
    }

    /// `AssumeRole` with a code: one role's own session.
    async fn role_session(
        &self,
        serial: &str,
        arn: &str,
        region: Option<&str>,
        seconds: Option<i32>,
    ) -> Result<SessionSecret, Failure> {
        if seconds.is_some_and(|seconds| seconds > LONGEST_ROLE_SESSION) {
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
        let answer = spent(serial, code.expose_secret(), "AssumeRole", answer)?;
        let assumed = answer.assumed_role_user.map(|user| user.arn);
        let (Some(c), Some(assumed)) = (answer.credentials, assumed) else {
            return Err(without_credentials("AssumeRole"));
        };
        Ok(session_secret(c, assumed))
    }
}

/// AWS's answer to a code. One that was taken is spent.
fn spent<T, E, R>(
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

fn without_credentials(operation: &str) -> Failure {
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
    }
}

impl From<PartitionError> for Failure {
    fn from(error: PartitionError) -> Self {
        Self::new(
            error.to_string(),
            "correct AWS_REGION, the region of your profile, or spec.region of the object; no request was made",
        )
    }
}

/// Whose key it is. Keys work in one partition only, so the request must go to the right one: the session's, else the one of
/// the configured region, else `aws`.
async fn who(base: &SdkConfig, key: &Credentials, session: Option<&MfaSession>) -> Result<String, Failure> {
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
