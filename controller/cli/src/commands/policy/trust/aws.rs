//! Trust in accounts, roles, users and services of AWS, and in SAML providers.

use clap::Args;

use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_core::policy::lint::is_listed_service;

use super::check::{audience, iam_name, org_id, refuse_wildcard, saml_provider, service, source_arn};
use super::document::TrustPolicy;
use super::{HomeFlags, OutputFlags, Written};
use crate::failure::Failure;
use crate::values::{account_id, external_id};

/// Trust a role or a user of an account, or the whole account under a condition
///
/// The administrators of the other account decide who has permission to assume the role, unless a role or a user is named.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl policy trust account 111111111111 --role ops/deployer
  rolectl policy trust account 111111111111 --mfa
  rolectl policy trust account 333333333333 --external-id 8f2c71

Exit codes: 0 printed, 2 a value is refused, or a whole account is trusted without a condition.")]
pub(super) struct Account {
    /// The account that is trusted
    #[arg(value_name = "ID", value_parser = account_id)]
    id: String,
    /// Only this role of the account, with its path
    #[arg(long, value_name = "NAME", value_parser = iam_name, conflicts_with_all = ["user", "everybody"])]
    role: Option<String>,
    /// Only this user of the account, with its path
    #[arg(long, value_name = "NAME", value_parser = iam_name, conflicts_with = "everybody")]
    user: Option<String>,
    /// Only calls with this external id, which another company's service sends
    #[arg(long, value_name = "ID", value_parser = external_id)]
    external_id: Option<String>,
    /// Only calls with MFA
    #[arg(long)]
    mfa: bool,
    /// Only while the account is in this organization
    #[arg(long, value_name = "ID", value_parser = org_id)]
    org_id: Option<String>,
    /// Everybody whom the account's administrators permit, without a condition
    #[arg(long = "whole-account")]
    everybody: bool,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

impl Account {
    /// Follows [AWS account principals](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html),
    /// [external ids](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html) and the
    /// [global condition keys](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html).
    pub(super) fn policy(&self) -> Result<Written, Failure> {
        let who = match (&self.role, &self.user) {
            (Some(role), _) => format!("role/{role}"),
            (None, Some(user)) => format!("user/{user}"),
            (None, None) => "root".to_owned(),
        };
        let principal = format!("arn:{}:iam::{}:{who}", self.output.partition.name, self.id);
        let mut policy = TrustPolicy::of("AWS", principal, &["sts:AssumeRole"]);
        if let Some(id) = &self.external_id {
            policy = policy.with("StringEquals", "sts:ExternalId", id);
        }
        if let Some(id) = &self.org_id {
            policy = policy.with("StringEquals", "aws:PrincipalOrgID", id);
        }
        if self.mfa {
            policy = policy.with("Bool", "aws:MultiFactorAuthPresent", "true");
        }
        if who == "root" && policy.is_unconditional() && !self.everybody {
            return Err(Failure::new(
                format!(
                    "the policy would trust every role and user of account {}",
                    self.id
                ),
                "name one with --role or --user, add --external-id, --mfa or --org-id, or give --whole-account",
            )
            .usage());
        }
        Ok(policy.into())
    }
}

/// Trust a service of AWS
///
/// The conditions keep others from having the service use the role for their own resources (the confused deputy problem).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl policy trust service lambda --source-account 222222222222
  rolectl policy trust service ec2.amazonaws.com

Exit codes: 0 printed, 2 a value is refused.")]
pub(super) struct Service {
    /// Name of the service, such as lambda, or its principal, such as lambda.amazonaws.com
    #[arg(value_name = "NAME", value_parser = service)]
    principal: String,
    /// Only for resources of this account
    #[arg(long, value_name = "ID", value_parser = account_id)]
    source_account: Option<String>,
    /// Only for this resource
    #[arg(long, value_name = "ARN", value_parser = source_arn)]
    source_arn: Option<String>,
    /// Accept `*` and `?` in the ARN of the resource
    #[arg(long)]
    allow_wildcard: bool,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

impl Service {
    /// Follows [service principals](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-services)
    /// and [the confused deputy problem](https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html).
    pub(super) fn policy(&self) -> Result<Written, Failure> {
        let mut policy = TrustPolicy::of("Service", self.principal.clone(), &["sts:AssumeRole"]);
        if let Some(account) = &self.source_account {
            policy = policy.with("StringEquals", "aws:SourceAccount", account);
        }
        if let Some(arn) = &self.source_arn {
            self.check_source(arn)?;
            // ArnEquals accepts wildcards, too. The name says what is meant.
            let operator = if arn.contains(['*', '?']) {
                "ArnLike"
            } else {
                "ArnEquals"
            };
            policy = policy.with(operator, "aws:SourceArn", arn);
        }
        let is_open = policy.is_unconditional();
        let mut written = Written::from(policy);
        if !is_listed_service(&self.principal) {
            written.notes.push(format!(
                "{} is not in rolectl's list of services: check the name, unless the service is newer than this rolectl",
                self.principal
            ));
        }
        if is_open {
            written.notes.push(format!(
                "{} may use the role for any resource that it is passed to: add --source-account or --source-arn if the service sends them",
                self.principal
            ));
        } else {
            written.notes.push(format!(
                "check in the documentation of {} that it sends the key of the condition; without the key it cannot assume the role",
                self.principal
            ));
        }
        Ok(written)
    }

    /// Checks the ARN of a source against the other flags.
    fn check_source(&self, arn: &str) -> Result<(), Failure> {
        refuse_wildcard("--source-arn", arn, self.allow_wildcard)?;
        if arn_partition(arn) != self.output.partition.name {
            return Err(Failure::new(
                format!("{arn} is not in the partition {}", self.output.partition.name),
                format!("give --partition {}", arn_partition(arn)),
            )
            .usage());
        }
        let account = arn_account(arn);
        match &self.source_account {
            // The ARN of a bucket has no account, and buckets of all accounts have names of one list.
            None if account.is_empty() || account.contains(['*', '?']) => Err(Failure::new(
                format!("{arn} names no account"),
                "add --source-account with the account of the resource",
            )
            .usage()),
            Some(source) if account_id(account).is_ok() && account != source => Err(Failure::new(
                format!("{arn} is not in account {source}"),
                "correct --source-account or --source-arn; both conditions would never be true",
            )
            .usage()),
            None | Some(_) => Ok(()),
        }
    }
}

/// Trust the users of a SAML provider of the account
///
/// Users sign in at the AWS console, or call STS with an assertion of the provider.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  rolectl policy trust saml corporate --account-id 222222222222

Exit codes: 0 printed, 2 a value is refused.")]
pub(super) struct Saml {
    /// Name of the SAML provider in IAM
    #[arg(value_name = "PROVIDER_NAME", value_parser = saml_provider)]
    provider: String,
    /// Audience of the assertions. Default: the sign-in endpoint of the partition
    #[arg(long, value_parser = audience)]
    audience: Option<String>,
    #[command(flatten)]
    pub(super) home: HomeFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// Returns the sign-in endpoint of a partition, the audience of assertions:
/// [AWS](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_saml.html),
/// [China](https://docs.amazonaws.cn/en_us/IAM/latest/UserGuide/id_roles_create_for-idp_saml.html),
/// [GovCloud](https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/govcloud-iam.html). `None` where no public document names it.
fn sign_in(partition: &str) -> Option<&'static str> {
    match partition {
        "aws" => Some("https://signin.aws.amazon.com/saml"),
        "aws-cn" => Some("https://signin.amazonaws.cn/saml"),
        "aws-us-gov" => Some("https://signin.amazonaws-us-gov.com/saml"),
        _ => None,
    }
}

impl Saml {
    pub(super) fn policy(&self, account: &str) -> Result<Written, Failure> {
        let partition = self.output.partition.name;
        let audience = self.audience.as_deref().or_else(|| sign_in(partition));
        let audience = audience.ok_or_else(|| {
            Failure::new(
                format!("rolectl does not know the sign-in endpoint of the partition {partition}"),
                "give it with --audience",
            )
            .usage()
        })?;
        Ok(TrustPolicy::of(
            "Federated",
            format!("arn:{partition}:iam::{account}:saml-provider/{}", self.provider),
            &["sts:AssumeRoleWithSAML"],
        )
        .with("StringEquals", "SAML:aud", audience)
        .into())
    }
}
