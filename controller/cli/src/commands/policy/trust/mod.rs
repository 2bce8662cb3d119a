//! Implements `rolectl policy trust`.
//!
//! ```text
//! flags -> check (characters and lengths) -> a kind's policy -> the core's lint -> JSON or YAML
//! ```

mod aws;
mod check;
mod ci;
mod document;
mod kubernetes;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use rolectl_core::policy::lint::{Place, Severity, read};
use rolectl_crds::Partition;

use crate::failure::Failure;
use crate::output::{Format, machine_as_it_is, printable};
use crate::stdio::eprintln;
use crate::values::{account_id, partition};
use document::TrustPolicy;

/// Write a trust policy that lets in no more than you name
///
/// The policy is checked by the rules of `rolectl lint`. Values with the wildcards `*` and `?` are refused unless --allow-wildcard is
/// given, because a wildcard in a repository or a branch lets in others.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl policy trust github octo-org/octo-repo --branch main --account-id 222222222222
  rolectl policy trust account 111111111111 --role deployer --external-id 8f2c71
  rolectl policy trust pod-identity --namespace apps --service-account web -o yaml
  rolectl policy trust service lambda --source-account 222222222222

Exit codes: 0 printed, 2 a value is refused.")]
pub(super) struct Trust {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    Account(aws::Account),
    Github(ci::Github),
    Gitlab(ci::Gitlab),
    Irsa(kubernetes::Irsa),
    PodIdentity(kubernetes::PodIdentity),
    Service(aws::Service),
    Saml(aws::Saml),
}

/// Flags of all kinds.
#[derive(Debug, Args)]
struct OutputFlags {
    /// Partition of the role
    #[arg(long, value_name = "NAME", default_value = "aws", value_parser = partition)]
    partition: &'static Partition,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Form,
}

/// The flag of kinds whose policy contains the account of the role.
#[derive(Debug, Args)]
struct HomeFlags {
    /// Account of the role. Default: a placeholder, which is the variable `$(account.id)` in YAML
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account_id: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The document, for AWS
    #[default]
    Json,
    /// The field `assumeRolePolicy` of an `IamRole`
    Yaml,
}

/// A trust policy, and what the user should know about it.
struct Written {
    policy: TrustPolicy,
    /// Sentences for stderr.
    notes: Vec<String>,
}

impl From<TrustPolicy> for Written {
    fn from(policy: TrustPolicy) -> Self {
        Self {
            policy,
            notes: vec![],
        }
    }
}

/// Replaces an account that the user does not name while the policy is checked.
const SAMPLE_ACCOUNT: &str = "000000000000";

/// The field of an `IamRole`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    assume_role_policy: &'a TrustPolicy,
}

impl Trust {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let (written, warnings) = self.kind.checked()?;
        for warning in warnings {
            eprintln!("Warning: the policy {}", printable(&warning));
        }
        for note in &written.notes {
            eprintln!("Note: {}", printable(note));
        }
        match self.kind.flags().output {
            Form::Json => machine_as_it_is(Format::Json, &written.policy),
            Form::Yaml => {
                let block = Block {
                    assume_role_policy: &written.policy,
                };
                machine_as_it_is(Format::Yaml, &block)
            }
        }
    }
}

impl Kind {
    const fn flags(&self) -> &OutputFlags {
        match self {
            Self::Account(kind) => &kind.output,
            Self::Github(kind) => &kind.output,
            Self::Gitlab(kind) => &kind.output,
            Self::Irsa(kind) => &kind.output,
            Self::PodIdentity(kind) => &kind.output,
            Self::Service(kind) => &kind.output,
            Self::Saml(kind) => &kind.output,
        }
    }

    /// Returns the flag with the account of the role, for kinds whose policy contains it.
    const fn home(&self) -> Option<&HomeFlags> {
        match self {
            Self::Github(kind) => Some(&kind.home),
            Self::Gitlab(kind) => Some(&kind.home),
            Self::Irsa(kind) => Some(&kind.home),
            Self::Saml(kind) => Some(&kind.home),
            Self::Account(_) | Self::PodIdentity(_) | Self::Service(_) => None,
        }
    }

    fn policy(&self, account: &str) -> Result<Written, Failure> {
        match self {
            Self::Account(kind) => kind.policy(),
            Self::Github(kind) => kind.policy(account),
            Self::Gitlab(kind) => kind.policy(account),
            Self::Irsa(kind) => kind.policy(account),
            Self::PodIdentity(kind) => kind.policy(),
            Self::Service(kind) => kind.policy(),
            Self::Saml(kind) => kind.policy(account),
        }
    }

    /// Returns the policy and the warnings of the lint about it. Fails if the lint finds an error.
    fn checked(&self) -> Result<(Written, Vec<String>), Failure> {
        let flags = self.flags();
        let account = self.home().map(|home| home.account_id.as_deref());
        let (mut findings, mut notes) = (vec![], vec![]);
        let sample = self.policy(account.flatten().unwrap_or(SAMPLE_ACCOUNT))?;
        let (_, found) = read(&sample.policy.value()?, Place::Trust, Some(flags.partition.name));
        for finding in found {
            if finding.severity == Severity::Error {
                return Err(Failure::new(
                    format!("the policy would be wrong: it {finding}"),
                    "correct the value that it contains",
                )
                .usage());
            }
            findings.push(finding.to_string());
        }
        let mut written = match (account, flags.output) {
            (Some(None), Form::Json) => {
                notes.push("replace ACCOUNT_ID by the account of the role, or give --account-id".to_owned());
                self.policy("ACCOUNT_ID")?
            }
            (Some(None), Form::Yaml) => self.policy("$(account.id)")?,
            (None | Some(Some(_)), _) => sample,
        };
        written.notes.extend(notes);
        Ok((written, findings))
    }
}

#[cfg(test)]
mod tests;
