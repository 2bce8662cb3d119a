//! Implements `rolectl credential-process`.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Args;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;

use crate::failure::Failure;
use crate::fleet::{CredentialFlags, Issued};
use crate::stdio::println;
use crate::{ancestors, cluster};

/// Print AWS credentials for the `credential_process` of an AWS profile
///
/// The credentials are those that `rolectl exec` gives a command. AWS tools run this verb when they need credentials, and again
/// before these end. It is for programs: without --force it refuses to print a secret on a terminal.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl --context prod-cluster credential-process --account prod --profile main
  In ~/.aws/config, where main is the profile with your key:
    [profile prod]
    credential_process = rolectl --context prod-cluster credential-process --account prod

Exit codes: 0 printed, 1 there are no credentials, or no session is kept and there is no terminal to
ask for a code, 2 wrong usage.")]
pub struct CredentialProcess {
    #[command(flatten)]
    credentials: CredentialFlags,
    /// Print the credentials even if stdout is a terminal
    #[arg(long)]
    force: bool,
}

/// The format that AWS defines in
/// [Sourcing credentials with an external process](https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessCredentials<'a> {
    version: u8,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: String,
}

/// Returns the credentials in AWS's format.
fn json(issued: &Issued) -> Result<Zeroizing<String>, serde_json::Error> {
    let text = serde_json::to_string(&ProcessCredentials {
        version: 1,
        access_key_id: issued.credentials.access_key_id(),
        secret_access_key: issued.credentials.secret_access_key(),
        session_token: issued.credentials.session_token().unwrap_or_default(),
        expiration: issued.expires_at.to_string(),
    });
    text.map(Zeroizing::new)
}

impl CredentialProcess {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        // This is the one exception from the rule that the tool prints no secret, since AWS tools read it from stdout. A terminal
        // keeps what it shows, and others can see it.
        if std::io::stdout().is_terminal() && !self.force {
            return Err(Failure::new(
                "the output contains a secret, and stdout is a terminal",
                "name the command as credential_process in ~/.aws/config, use `rolectl exec`, or add --force",
            )
            .usage());
        }
        if ancestors::has_itself() {
            return Err(Failure::new(
                "rolectl has started itself: the profile with the key of your IAM user leads back to credential-process",
                "name the profile that has the key with --profile",
            ));
        }
        // AWS tools show the message of a failed process, and 1 is what they expect.
        let issued = Box::pin(self.credentials.issue(flags)).await;
        let issued = issued.map_err(Failure::plain)?;
        let text = json(&issued).map_err(|e| {
            Failure::new(
                format!("could not write the output: {e}"),
                "report this as a defect",
            )
        })?;
        println!("{}", *text);
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn the_output_is_the_format_that_aws_documents() {
        let issued = Issued {
            credentials: Credentials::new("ASIA", "s/e\"cret", Some("token".to_owned()), None, "test"),
            expires_at: Timestamp::from_second(60).unwrap(),
            region: "us-east-1".to_owned(),
        };
        assert_eq!(
            *json(&issued).unwrap(),
            r#"{"Version":1,"AccessKeyId":"ASIA","SecretAccessKey":"s/e\"cret","SessionToken":"token","Expiration":"1970-01-01T00:01:00Z"}"#
        );
    }
}
