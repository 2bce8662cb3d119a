//! Implements `rolectl exec`.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Args;

use crate::cluster;
use crate::failure::Failure;
use crate::fleet::{CredentialFlags, Issued};
use crate::output::printable;

/// Exit code of a shell for a command that it does not find.
const NOT_FOUND: u8 = 127;
/// Exit code of a shell for a command that it finds and cannot run.
const NOT_RUN: u8 = 126;

/// Variables by which an AWS tool would use other credentials, or take these for others.
const REMOVED: [&str; 15] = [
    "AWS_ACCOUNT_ID",
    "AWS_ACCESS_KEY",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CREDENTIAL_FILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_EXPIRATION",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// Run a command with AWS credentials of your session, or of an account's role
///
/// The session is the one that is kept on this machine since `rolectl unlock`; if there is none, a code opens one, as for `rolectl plan`.
/// With --account the role of the AwsAccount is assumed as the controller does it, and its account is checked.
///
/// The command gets `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_CREDENTIAL_EXPIRATION`, and `AWS_REGION`
/// and `AWS_DEFAULT_REGION` if they are not set. `AWS_PROFILE` and other variables that name other credentials are removed. It replaces
/// rolectl, so signals and the exit code are its own. It cannot renew the credentials. Its limit for core dumps is 0.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl exec --account prod -- aws iam list-roles
  rolectl exec --session default -- aws sts get-caller-identity
  rolectl exec --account prod -- sh -c 'terraform plan'

Exit codes: those of the command; 1 there are no credentials, 2 wrong usage or no code was given,
126 the command cannot be run, 127 it is not found.")]
pub struct Exec {
    #[command(flatten)]
    credentials: CredentialFlags,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Exec {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        let Some((program, args)) = self.command.split_first() else {
            return Err(Failure::new("no command is given", "write it after --").usage());
        };
        let issued = Box::pin(self.credentials.issue(flags)).await?;
        let mut command = Command::new(program);
        command.args(args);
        prepare(&mut command, &issued);
        match replace_with(command) {
            Ok(never) => match never {},
            Err(error) => Err(not_run(&program.to_string_lossy(), &error)),
        }
    }
}

/// Replaces this process by the command. Returns only if that fails.
fn replace_with(mut command: Command) -> io::Result<Infallible> {
    Err(command.exec())
}

/// Sets the environment of the command. Nothing else has a copy of the secrets.
fn prepare(command: &mut Command, issued: &Issued) {
    for name in REMOVED {
        command.env_remove(name);
    }
    let credentials = &issued.credentials;
    command
        .env("AWS_ACCESS_KEY_ID", credentials.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key())
        .env(
            "AWS_SESSION_TOKEN",
            credentials.session_token().unwrap_or_default(),
        )
        .env("AWS_CREDENTIAL_EXPIRATION", issued.expires_at.to_string())
        .envs(regions(issued, set));
}

/// Returns the variables of the region that are not set. Tools read one or the other, so both get the same region.
fn regions(issued: &Issued, set: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
    const NAMES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    let region = NAMES.into_iter().find_map(&set);
    let region = region.unwrap_or_else(|| issued.region.clone().into());
    NAMES
        .into_iter()
        .filter(|name| set(name).is_none())
        .map(|name| (name, region.clone()))
        .collect()
}

/// Returns the value of a variable that is set and not empty.
// The names are a convention of all AWS tools, and no flags of ours.
#[allow(clippy::disallowed_methods)]
fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the failure for a command that did not start, with the exit code that a shell gives.
fn not_run(program: &str, error: &io::Error) -> Failure {
    let program = printable(program);
    if error.kind() == io::ErrorKind::NotFound {
        Failure::new(
            format!("the command {program} is not found"),
            "correct its name, or give its path",
        )
        .with_code(NOT_FOUND)
    } else {
        Failure::new(
            format!("the command {program} cannot be run: {error}"),
            "check that it is a program that you may execute",
        )
        .with_code(NOT_RUN)
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use jiff::Timestamp;

    use super::*;

    fn issued() -> Issued {
        Issued {
            credentials: Credentials::new("ASIA", "secret", Some("token".to_owned()), None, "test"),
            expires_at: Timestamp::from_second(60).unwrap(),
            region: "cn-north-1".to_owned(),
        }
    }

    #[test]
    fn a_region_of_the_user_is_kept_and_given_to_both_variables() {
        let with = |values: &[(&str, &str)]| {
            let find = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into());
            regions(&issued(), find)
        };
        let both = |region: &str| {
            vec![
                ("AWS_REGION", OsString::from(region)),
                ("AWS_DEFAULT_REGION", region.into()),
            ]
        };
        assert_eq!(with(&[]), both("cn-north-1"));
        assert_eq!(with(&[("AWS_REGION", "a")]), both("a")[1..]);
        assert_eq!(with(&[("AWS_DEFAULT_REGION", "a")]), both("a")[..1]);
        assert_eq!(with(&[("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b")]), []);
    }

    #[test]
    fn a_command_gets_the_credentials_and_no_variable_of_others() {
        let mut command = Command::new("true");
        prepare(&mut command, &issued());
        let value = |name: &str| {
            command
                .get_envs()
                .find(|(key, _)| *key == name)
                .and_then(|(_, v)| v)
        };
        assert_eq!(value("AWS_SECRET_ACCESS_KEY"), Some("secret".as_ref()));
        assert_eq!(
            value("AWS_CREDENTIAL_EXPIRATION"),
            Some("1970-01-01T00:01:00Z".as_ref())
        );
        for name in REMOVED {
            assert!(
                command.get_envs().any(|(key, v)| key == name && v.is_none()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_command_that_does_not_start_has_the_exit_code_of_a_shell() {
        let code = |program: &str| {
            let error = replace_with(Command::new(program)).unwrap_err();
            not_run(program, &error).code()
        };
        assert_eq!(code("/nonexistent/program"), 127);
        assert_eq!(code("/tmp"), 126);
    }
}
