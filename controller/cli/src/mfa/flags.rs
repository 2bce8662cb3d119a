//! Flags of the commands that use an MFA code.

use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use rolectl_core::arn::arn_account;

use crate::duration;

/// Flags that name the key, the MFA device and the source of the code.
#[derive(Clone, Debug, Default, Args)]
pub struct CodeFlags {
    /// The 6 digits that your MFA device shows; `-` reads them from stdin. Without it you are asked
    #[arg(long, value_name = "CODE", value_parser = code_or_dash)]
    pub(super) mfa: Option<SecretString>,
    /// A command that prints the code, as `op item get aws --otp`
    #[arg(long, value_name = "COMMAND", conflicts_with = "mfa")]
    pub(super) mfa_process: Option<String>,
    /// Take the code from a YubiKey by `ykman`, from its OATH account of this name
    #[arg(long, value_name = "ACCOUNT", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["mfa", "mfa_process"])]
    pub(super) ykman: Option<String>,
    /// Serial number or ARN of the MFA device. Default: the profile's `mfa_serial`, then the MfaSession's, then your only device
    #[arg(long, env = "AWS_MFA_SERIAL", hide_env_values = true)]
    pub(super) serial: Option<String>,
    /// Profile with your key, in place of the usual chain
    #[arg(long)]
    pub(super) profile: Option<String>,
}

impl CodeFlags {
    /// Returns the flags of a command that needs the key and no code.
    pub fn of_profile(profile: Option<String>) -> Self {
        Self {
            profile,
            ..Self::default()
        }
    }

    /// Returns the profile with the key, if one is named.
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// Returns true if the command line contains a code.
    pub const fn has_code(&self) -> bool {
        self.mfa.is_some()
    }
}

/// Parses an MFA code, or `-` for stdin.
fn code_or_dash(text: &str) -> Result<SecretString, String> {
    if text == "-" { Ok(text.into()) } else { code(text) }
}

/// Parses an MFA code.
pub(super) fn code(text: &str) -> Result<SecretString, String> {
    // Some devices show it in two groups.
    let text: String = text.split_whitespace().collect();
    if text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(text.into())
    } else {
        Err("an MFA code has exactly 6 digits".to_owned())
    }
}

/// Parses the ARN of a role, the value of `--assume-role`.
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

/// Parses a time to wait, such as `30s` or `2m`, of one second or more.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .filter(|time| *time >= Duration::from_secs(1))
        .ok_or_else(|| "write it as 30s, 2m or 1h".to_owned())
}

/// Parses the length of a session in seconds: 15 minutes to 36 hours, as
/// [`GetSessionToken`](https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html) accepts.
pub fn duration_seconds(text: &str) -> Result<i32, String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let seconds = if let Some(days) = text.strip_suffix('d').and_then(number) {
        days.checked_mul(86_400)
    } else if let Some(seconds) = number(text) {
        Some(seconds)
    } else {
        let parsed = duration::parse(text);
        Some(
            parsed
                .ok_or("write it as 45m, 8h, 1h30m, 1d or 3600 (seconds)")?
                .as_secs(),
        )
    };
    match seconds.map(i32::try_from) {
        Some(Ok(s)) if (900..=129_600).contains(&s) => Ok(s),
        _ => Err("AWS takes 15m to 36h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_duration_has_a_unit_or_is_in_seconds() {
        for (text, seconds) in [
            ("8h", Some(28_800)),
            ("1h30m", Some(5400)),
            ("1d", Some(86_400)),
            ("3600", Some(3600)),
            ("36h", Some(129_600)),
            ("2d", None),
            ("60", None),
            ("-8h", None),
            ("18446744073709551615d", None),
            ("99999999999999999999h", None),
            ("x", None),
        ] {
            assert_eq!(duration_seconds(text).ok(), seconds, "{text}");
        }
    }

    #[test]
    fn a_code_may_be_in_two_groups() {
        for (text, wanted) in [
            ("123456", Some("123456")),
            ("123 456", Some("123456")),
            ("12345", None),
            ("12345a", None),
        ] {
            let code = code(text).ok();
            assert_eq!(code.as_ref().map(ExposeSecret::expose_secret), wanted, "{text}");
        }
    }
}
