//! Implements `rolectl bootstrap`.
//!
//! ```text
//! flags (input) -> main account (main_account) -> Wanted (documents) -> printed (forms, hcl), or made in AWS (apply, existing)
//! ```

mod apply;
mod documents;
mod existing;
mod forms;
mod hcl;
mod input;
mod main_account;

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use rolectl_core::arn::arn_partition;
use rolectl_crds::Partition;

#[cfg(test)]
pub use self::documents::Printed;
use self::documents::{Trusted, Wanted};
use self::main_account::Found;
use crate::cluster;
use crate::failure::Failure;
use crate::mfa::CodeFlags;
use crate::output::{Format, machine};
use crate::stdio::println;
use crate::values::{account_id, external_id, namespace, partition};

/// What a new target account needs: the role that rolectl assumes there
///
/// Its trust is on the operator's account (or user) under MFA, its permissions are the calls that the controller makes and
/// no more, and it may not change itself: the statement `NotItself` denies it. Printed for a CloudFormation StackSet, for
/// Terraform, or as calls of the aws CLI; with --apply made with your present AWS credentials, which must be an
/// administrator's of the target account. Printed forms also have the AwsAccount, and a service control policy that keeps
/// the tags of rolectl's roles for this role, as comments.
///
/// Without --main-account and --user-arn the main account is that of the cluster's MfaSession. Where there is none, it is
/// the account of your own key, except with --apply. Stderr shows where it was found.
///
/// With --apply a role that exists already is compared, and changed only with --update.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl bootstrap --main-account 111111111111 > role.yaml
  rolectl bootstrap --user-arn arn:aws:iam::111111111111:user/op --role-path /apps/ -o terraform
  rolectl bootstrap --allow-namespace platform -o json
  AWS_PROFILE=admin-of-prod rolectl bootstrap --main-account 111111111111 --apply
  AWS_PROFILE=admin-of-prod rolectl bootstrap --main-account 111111111111 --apply --update --dry-run

Exit codes: 0 printed, made, updated, or as needed already, 1 failed, the role differs, or you did
not agree, 2 wrong usage, or the main account is not known.")]
pub struct Bootstrap {
    /// The operator's account, all users of which may assume the role under MFA
    #[arg(long, value_name = "ID", conflicts_with = "user_arn", value_parser = account_id)]
    main_account: Option<String>,
    /// The one user who may assume the role under MFA
    #[arg(long, value_name = "ARN", value_parser = input::user_arn)]
    user_arn: Option<String>,
    /// MfaSession of the main account. Default: the only one in the cluster
    #[arg(long, value_name = "NAME", conflicts_with_all = ["main_account", "user_arn"])]
    session: Option<String>,
    /// Profile with your own key, for the main account without an MfaSession
    #[arg(long, value_name = "NAME", conflicts_with_all = ["main_account", "user_arn", "apply"])]
    profile: Option<String>,
    /// Name of the role
    #[arg(long, value_name = "NAME", default_value = "rolectl", value_parser = input::role_name)]
    role_name: String,
    /// Only roles and instance profiles below this path may be changed
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = input::role_path)]
    role_path: String,
    /// External id that assuming the role needs, as in spec.assumeRole.externalId
    #[arg(long, value_name = "ID", value_parser = external_id)]
    external_id: Option<String>,
    /// ARN of a permissions boundary for the role itself
    #[arg(long, value_name = "ARN", value_parser = input::boundary)]
    boundary: Option<String>,
    /// Namespace that may use the account, for the AwsAccount; repeatable
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    allow_namespace: Vec<String>,
    /// Partition: aws, aws-cn, aws-us-gov, aws-eusc, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f
    ///
    /// Default: that of the ARNs and of the main account, else `aws`.
    #[arg(long, value_name = "NAME", value_parser = partition)]
    partition: Option<&'static Partition>,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t, conflicts_with = "apply")]
    output: Form,
    /// Make it, in the account of your present AWS credentials
    #[arg(long)]
    apply: bool,
    /// Change a role that exists already and differs
    ///
    /// Policies that somebody else has put on the role, and its permissions boundary, are named and stay.
    #[arg(long, requires = "apply")]
    update: bool,
    /// Show what --apply would do and change nothing
    ///
    /// `client` and `server` are accepted as in kubectl and do the same; `none` turns it off.
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "client", value_parser = ["none", "client", "server"], requires = "apply")]
    dry_run: Option<String>,
    /// Do not ask before --apply
    #[arg(long, short = 'y', visible_alias = "auto-approve", requires = "apply")]
    yes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A template, as for a StackSet over all target accounts
    #[default]
    Cloudformation,
    /// HCL, as `terraform fmt` writes it
    Terraform,
    /// Calls of the aws CLI
    Aws,
    /// For programs
    Json,
    /// For programs
    Yaml,
}

/// In place of the account id, where a form is for several accounts.
const ACCOUNT_ID: &str = "ACCOUNT_ID";

impl Bootstrap {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        // Fails before any request, if the flags contradict each other.
        let of_flags = self.partition_of_flags()?;
        let found = self.main_account(flags).await?;
        if self.apply && self.yes && self.session.is_none() && found.is_some() {
            return Err(Failure::new(
                "--yes needs the main account on the command line: the role will trust it",
                "give --main-account, --user-arn or --session, or leave --yes out",
            )
            .usage());
        }
        let options = apply::Options {
            update: self.update,
            dry_run: self.dry_run.as_deref().is_some_and(|how| how != "none"),
            yes: self.yes,
        };
        let (is_applied, form) = (self.apply, self.output);
        let wanted = self.wanted(of_flags, found)?;
        if is_applied {
            return apply::run(&wanted, options).await;
        }
        print(&wanted, form).map(|()| ExitCode::SUCCESS)
    }

    /// Returns the partition in which all flags agree. `None` if no flag has one.
    fn partition_of_flags(&self) -> Result<Option<&'static Partition>, Failure> {
        input::agreed_partition(&[
            self.partition.map(|partition| ("--partition", partition.name)),
            self.user_arn
                .as_deref()
                .map(|arn| ("--user-arn", arn_partition(arn))),
            self.boundary
                .as_deref()
                .map(|arn| ("--boundary", arn_partition(arn))),
        ])
    }

    /// Looks up the main account, unless a flag has it.
    async fn main_account(&self, flags: &cluster::Flags) -> Result<Option<Found>, Failure> {
        if self.main_account.is_some() || self.user_arn.is_some() {
            return Ok(None);
        }
        let key = (!self.apply).then(|| CodeFlags::of_profile(self.profile.clone()));
        main_account::find(flags, self.session.as_deref(), key)
            .await
            .map(Some)
    }

    /// Returns the role to make.
    fn wanted(self, of_flags: Option<&'static Partition>, found: Option<Found>) -> Result<Wanted, Failure> {
        let of_found = found.as_ref().and_then(|found| found.partition);
        let partition = input::agreed_partition(&[
            of_flags.map(|partition| ("what the flags name", partition.name)),
            of_found.map(|partition| ("the main account", partition.name)),
        ])?;
        let partition = match partition {
            Some(partition) => partition,
            None => Partition::named("aws")?,
        };
        let session = found.as_ref().and_then(|found| found.session.clone());
        let trusted = match (self.user_arn, self.main_account, found) {
            (Some(arn), _, _) => Trusted::User(arn),
            (None, Some(id), _) => Trusted::Account(id),
            (None, None, Some(found)) => Trusted::Account(found.account),
            (None, None, None) => {
                return Err(Failure::new("there is no main account", "give it with --main-account").usage());
            }
        };
        let mut namespaces = self.allow_namespace;
        namespaces.sort();
        namespaces.dedup();
        Ok(Wanted {
            trusted,
            partition,
            role_name: self.role_name,
            role_path: self.role_path,
            external_id: self.external_id,
            boundary: self.boundary,
            namespaces,
            session,
        })
    }
}

/// Prints the role in a form, with the `AwsAccount` and the service control policy.
fn print(wanted: &Wanted, form: Form) -> Result<(), Failure> {
    match form {
        Form::Cloudformation => println!("{}", wanted.cloudformation()?),
        Form::Terraform => println!("{}", wanted.terraform()),
        Form::Aws => println!("{}", wanted.aws()),
        Form::Json | Form::Yaml => {
            let format = if form == Form::Json {
                Format::Json
            } else {
                Format::Yaml
            };
            return machine(format, &wanted.for_programs(ACCOUNT_ID));
        }
    }
    // `#` begins a comment in all three formats.
    println!("\n# Then, for each account:");
    for line in wanted.account_yaml(ACCOUNT_ID)?.lines() {
        println!("# {line}");
    }
    println!(
        "\n# And for the organization, a service control policy: no other role or user may set the tags that rolectl knows its\n# roles by.\n# {}",
        wanted.tag_policy()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bootstrap: Bootstrap,
    }

    fn parsed(args: &[&str]) -> Result<Bootstrap, clap::Error> {
        Line::try_parse_from(["rolectl"].iter().chain(args)).map(|line| line.bootstrap)
    }

    fn made(args: &[&str], found: Option<Found>) -> Result<Wanted, Failure> {
        let bootstrap = parsed(args).map_err(|error| Failure::new(error.to_string(), ""))?;
        let of_flags = bootstrap.partition_of_flags()?;
        bootstrap.wanted(of_flags, found)
    }

    /// What these flags ask for, with a main account.
    pub fn wanted(more: &[&str]) -> Wanted {
        made(&[&["--main-account", "111111111111"], more].concat(), None).unwrap()
    }

    #[test]
    fn wrong_input_is_wrong_usage() {
        for (args, words) in [
            (&["--main-account", "1234"][..], "an account id has 12 digits"),
            (&["--user-arn", "operator"], "is not the ARN of an IAM user"),
            (&["--boundary", "PowerUserAccess"], "is not the ARN of a policy"),
            (&["--role-name", "a/b"], "the name of a role has 1 to 64"),
            (&["--role-path", "apps"], "a path begins and ends with a slash"),
            (&["--external-id", "x"], "an external id has 2 to 1224"),
            (
                &["--allow-namespace", "Team"],
                "a namespace has 1 to 63 lower-case letters",
            ),
            (&["--partition", "aws-mars"], "unknown AWS partition"),
            (&["--update"], "--apply"),
            (&["--dry-run"], "--apply"),
            (&["--apply", "-o", "json"], "cannot be used with"),
            (
                &["--main-account", "111111111111", "--session", "main"],
                "cannot be used with",
            ),
        ] {
            let error = parsed(args).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn the_partition_is_that_of_the_arns_and_must_agree() {
        let user = ["--user-arn", "arn:aws-cn:iam::111111111111:user/operator"];
        assert_eq!(made(&user, None).unwrap().partition.name, "aws-cn");
        assert_eq!(wanted(&[]).partition.name, "aws");
        for other in [
            ["--partition", "aws"],
            ["--boundary", "arn:aws:iam::aws:policy/PowerUserAccess"],
        ] {
            let error = made(&[&user[..], &other].concat(), None).unwrap_err();
            assert_eq!(error.code(), 2, "{error}");
        }
    }

    #[test]
    fn a_main_account_that_was_found_is_trusted_in_its_partition_by_its_session() {
        let found = |partition| Found {
            account: "333333333333".to_owned(),
            partition: Some(Partition::named(partition).unwrap()),
            session: Some("china".to_owned()),
        };
        let wanted = made(&[], Some(found("aws-cn"))).unwrap();
        assert_eq!(
            wanted.trust()["Statement"][0]["Principal"]["AWS"],
            "arn:aws-cn:iam::333333333333:root"
        );
        assert_eq!(wanted.account("222222222222")["spec"]["sessionRef"], "china");
        let error = made(&["--partition", "aws"], Some(found("aws-cn"))).unwrap_err();
        assert_eq!(error.code(), 2, "{error}");
    }
}
