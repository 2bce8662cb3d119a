//! Implements `rolectl bootstrap`.

use std::process::ExitCode;

use aws_config::BehaviorVersion;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use rolectl_aws::error::{AwsFailure, Class};
use rolectl_aws::network::http_client;
use rolectl_aws::operations::OPERATIONS;
use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_crds::{ADOPTED_TAG, OWNER_TAG, PROFILE_TAG, Partition};

use crate::failure::Failure;
use crate::output::agreed;
use crate::stdio::{eprintln, println};

/// What a new target account needs: the role that rolectl assumes there
///
/// Its trust is on the operator's account (or user) under MFA, its permissions are the calls that the controller makes and
/// no more, and it may not change itself: the statement `NotItself` denies it. Printed for a CloudFormation StackSet, for Terraform, or as calls of the aws CLI;
/// with --apply made with your present AWS credentials, which must be an administrator's of the target account. Printed forms also have the
/// AwsAccount, and a service control policy that keeps the tags of rolectl's roles for this role, as
/// comments.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl bootstrap --main-account 111111111111 > role.yaml
  rolectl bootstrap --user-arn arn:aws:iam::111111111111:user/operator --role-path /apps/ -o terraform
  AWS_PROFILE=admin-of-prod rolectl bootstrap --main-account 111111111111 --apply

Exit codes: 0 printed or made, 1 failed, or you did not agree, 2 wrong usage.")]
pub struct Bootstrap {
    /// The operator's account, all users of which may assume the role under MFA
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "user_arn",
        conflicts_with = "user_arn"
    )]
    main_account: Option<String>,
    /// The one user who may assume the role under MFA
    #[arg(long, value_name = "ARN")]
    user_arn: Option<String>,
    /// Name of the role
    #[arg(long, default_value = "rolectl")]
    role_name: String,
    /// Only roles and instance profiles below this path may be changed
    #[arg(long, default_value = "/", value_parser = path)]
    role_path: String,
    /// External id that assuming the role needs, as in spec.assumeRole.externalId
    #[arg(long)]
    external_id: Option<String>,
    /// ARN of a permissions boundary for the role itself
    #[arg(long, value_name = "ARN")]
    boundary: Option<String>,
    /// Partition: aws, aws-cn, aws-us-gov, aws-eusc, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f
    #[arg(long, default_value = "aws", value_parser = partition)]
    partition: String,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Form,
    /// Make it, in the account of your present AWS credentials
    #[arg(long)]
    apply: bool,
    /// Do not ask before --apply
    #[arg(long, short = 'y', requires = "apply")]
    yes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A template, as for a StackSet over all target accounts
    #[default]
    Cloudformation,
    /// HCL
    Terraform,
    /// Calls of the aws CLI
    Aws,
}

/// Parses the path of roles.
fn path(text: &str) -> Result<String, String> {
    if text == "/" || (text.starts_with('/') && text.ends_with('/') && text.len() <= 512) {
        Ok(text.to_owned())
    } else {
        Err("a path begins and ends with a slash".to_owned())
    }
}

/// Parses the name of a partition.
fn partition(text: &str) -> Result<String, String> {
    Partition::named(text)
        .map(|partition| partition.name.to_owned())
        .map_err(|error| error.to_string())
}

/// Name of the role's inline policy.
const POLICY: &str = "rolectl";
/// Description of the role.
const DESCRIPTION: &str = "Assumed by rolectl under MFA to manage IAM roles";

impl Bootstrap {
    pub async fn run(self) -> Result<ExitCode, Failure> {
        if self.apply {
            return self.create().await;
        }
        let (trust, permissions) = (self.trust(), self.permissions("*"));
        match self.output {
            Form::Cloudformation => println!("{}", self.cloudformation()?),
            Form::Terraform => println!("{}", self.terraform(&trust, &permissions)),
            Form::Aws => println!("{}", self.aws(&trust, &permissions)),
        }
        // `#` begins a comment in all three formats.
        println!("\n# Then, for each account:");
        for line in self.account("ACCOUNT_ID").lines() {
            println!("# {line}");
        }
        println!(
            "\n# And for the organization, a service control policy: no other role or user may set the tags that rolectl knows its\n# roles by.\n# {}",
            self.tag_policy()
        );
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the trust policy of the role.
    fn trust(&self) -> Value {
        let root = || {
            format!(
                "arn:{}:iam::{}:root",
                self.partition,
                self.main_account.as_deref().unwrap_or_default()
            )
        };
        let mut condition = json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}});
        if let (Some(id), Some(map)) = (&self.external_id, condition.as_object_mut()) {
            map.insert("StringEquals".to_owned(), json!({"sts:ExternalId": id}));
        }
        json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
            "Principal": {"AWS": self.user_arn.clone().unwrap_or_else(root)}, "Condition": condition}]})
    }

    /// Returns the permissions of the role: the calls of the controller, without changes of the role itself.
    fn permissions(&self, account: &str) -> Value {
        let calls = OPERATIONS
            .iter()
            .find(|(service, _)| *service == "iam")
            .map_or(&[][..], |(_, calls)| calls);
        let (whole, single): (Vec<&str>, Vec<&str>) = calls.iter().partition(|call| {
            ["ListRoles", "GetAccountAuthorizationDetails", "GetAccountSummary"].contains(call)
        });
        let named =
            |calls: Vec<&str>| -> Vec<String> { calls.iter().map(|call| format!("iam:{call}")).collect() };
        let arn = |kind: &str, name: &str| format!("arn:{}:iam::{account}:{kind}{name}", self.partition);
        let below = format!("{}*", self.role_path);
        json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "Read", "Effect": "Allow", "Action": named(whole), "Resource": "*"},
            {"Sid": "Manage", "Effect": "Allow", "Action": named(single),
             "Resource": [arn("role", &below), arn("instance-profile", &below)]},
            // `AddRoleToInstanceProfile` requires the permission to pass the role to EC2.
            {"Sid": "Pass", "Effect": "Allow", "Action": "iam:PassRole", "Resource": arn("role", &below),
             "Condition": {"StringEquals": {"iam:PassedToService": self.ec2()}}},
            // Covers every path, in case the user changes the path in the template. Role names are unique in an account.
            {"Sid": "NotItself", "Effect": "Deny", "NotAction": ["iam:Get*", "iam:List*"],
             "Resource": [arn("role", &format!("/{}", self.role_name)), arn("role", &format!("/*/{}", self.role_name))]},
        ]})
    }

    /// Returns the service control policy that lets only this role write rolectl's tags, in all partitions.
    fn tag_policy(&self) -> Value {
        json!({"Version": "2012-10-17", "Statement": [{
            "Sid": "OnlyRolectlWritesItsTags", "Effect": "Deny",
            "Action": ["iam:CreateRole", "iam:TagRole", "iam:UntagRole",
                "iam:CreateInstanceProfile", "iam:TagInstanceProfile", "iam:UntagInstanceProfile"],
            "Resource": "*",
            "Condition": {
                "ForAnyValue:StringEqualsIgnoreCase": {"aws:TagKeys": [OWNER_TAG, ADOPTED_TAG, PROFILE_TAG]},
                "ArnNotLike": {"aws:PrincipalArn": format!("arn:*:iam::*:role/{}", self.role_name)}}}]})
    }

    /// Returns the service principals of EC2 in the partition. Some partitions use their own domain in them, some do not.
    fn ec2(&self) -> Value {
        let global = "ec2.amazonaws.com".to_owned();
        let suffix =
            Partition::named(&self.partition).map_or("amazonaws.com", |partition| partition.dns_suffix);
        let own = format!("ec2.{suffix}");
        if own == global {
            json!(global)
        } else {
            json!([global, own])
        }
    }

    /// Returns the `AwsAccount` for an account with this role. It contains `adoption` with its default value.
    fn account(&self, id: &str) -> String {
        let mut assume = json!({"name": self.role_name});
        if let (Some(external_id), Some(map)) = (&self.external_id, assume.as_object_mut()) {
            map.insert("externalId".to_owned(), json!(external_id));
        }
        let mut guardrails = json!({"adoption": "Never"});
        if let Some(map) = guardrails.as_object_mut().filter(|_| self.role_path != "/") {
            map.insert("pathPattern".to_owned(), json!(format!("{}*", self.role_path)));
        }
        format!(
            "apiVersion: iam.rolectl.dev/v1alpha1\nkind: AwsAccount\nmetadata: {{name: NAME}}\nspec:\n  accountId: {}\n  partition: {}\n  assumeRole: {assume}\n  guardrails: {guardrails}",
            json!(id),
            self.partition,
        )
    }

    /// Returns the CloudFormation template.
    fn cloudformation(&self) -> Result<String, Failure> {
        let mut properties = json!({
            "RoleName": self.role_name, "Description": DESCRIPTION, "MaxSessionDuration": 3600,
            "AssumeRolePolicyDocument": self.trust(),
            "Policies": [{"PolicyName": POLICY, "PolicyDocument": self.permissions("*")}],
        });
        if let (Some(boundary), Some(map)) = (&self.boundary, properties.as_object_mut()) {
            map.insert("PermissionsBoundary".to_owned(), json!(boundary));
        }
        let template = json!({
            "AWSTemplateFormatVersion": "2010-09-09", "Description": DESCRIPTION,
            "Resources": {"Rolectl": {"Type": "AWS::IAM::Role", "Properties": properties}},
        });
        let text = serde_saphyr::to_string(&template);
        let text = text.map_err(|e| {
            Failure::new(
                format!("could not write the template: {e}"),
                "report this as a defect",
            )
        })?;
        Ok(text.trim_end().to_owned())
    }

    /// Returns the Terraform resources.
    fn terraform(&self, trust: &Value, permissions: &Value) -> String {
        let boundary = self
            .boundary
            .as_ref()
            .map(|arn| format!("  permissions_boundary = {}\n", json!(arn)));
        format!(
            "resource \"aws_iam_role\" \"rolectl\" {{\n  name                 = {name}\n  description          = {description}\n  max_session_duration = 3600\n{boundary}  assume_role_policy   = jsonencode({trust:#})\n}}\n\nresource \"aws_iam_role_policy\" \"rolectl\" {{\n  name   = {policy}\n  role   = aws_iam_role.rolectl.name\n  policy = jsonencode({permissions:#})\n}}",
            name = json!(self.role_name),
            description = json!(DESCRIPTION),
            boundary = boundary.unwrap_or_default(),
            policy = json!(POLICY),
        )
    }

    /// Returns the calls of the aws CLI.
    fn aws(&self, trust: &Value, permissions: &Value) -> String {
        let boundary = self
            .boundary
            .as_ref()
            .map(|arn| format!(" \\\n  --permissions-boundary {}", quoted(arn)));
        let role = quoted(&self.role_name);
        format!(
            "aws iam create-role --role-name {role} --description {} --max-session-duration 3600{} \\\n  --assume-role-policy-document {}\naws iam put-role-policy --role-name {role} --policy-name {POLICY} \\\n  --policy-document {}",
            quoted(DESCRIPTION),
            boundary.unwrap_or_default(),
            quoted(&trust.to_string()),
            quoted(&permissions.to_string()),
        )
    }

    /// Creates the role in the account of the current credentials.
    async fn create(&self) -> Result<ExitCode, Failure> {
        let next =
            "use the credentials of an administrator of the target account (AWS_PROFILE), then try again";
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client())
            .region(aws_config::Region::from_static(
                Partition::named(&self.partition)?.region,
            ))
            .load()
            .await;
        let failed = |failure: AwsFailure| Failure::new(failure.to_string(), next);
        let identity = aws_sdk_sts::Client::new(&config)
            .get_caller_identity()
            .send()
            .await;
        let identity = identity.map_err(|e| failed(AwsFailure::new("GetCallerIdentity", &e)))?;
        let me = identity.arn.unwrap_or_default();
        let account = arn_account(&me);
        if arn_partition(&me) != self.partition {
            return Err(Failure::new(
                format!(
                    "your credentials are of {me}, not of partition {}",
                    self.partition
                ),
                next,
            ));
        }
        if self.main_account.as_deref() == Some(account) {
            return Err(Failure::new(
                format!("your credentials are of the operator's own account {account}"),
                next,
            ));
        }
        let question = format!("Make role {} in account {account} as {me}?", self.role_name);
        if !self.yes && !agreed(&question)? {
            println!("Nothing was changed.");
            return Ok(ExitCode::from(1));
        }
        let iam = aws_sdk_iam::Client::new(&config);
        let created = iam
            .create_role()
            .role_name(&self.role_name)
            .description(DESCRIPTION)
            .max_session_duration(3600)
            .set_permissions_boundary(self.boundary.clone())
            .assume_role_policy_document(self.trust().to_string())
            .send()
            .await
            .map_err(|e| AwsFailure::new("CreateRole", &e));
        match created {
            Ok(_) => println!("Made role {} in account {account}.", self.role_name),
            // The role may have another owner, so its trust policy must not change.
            Err(failure) if failure.class == Class::Exists => {
                return Err(Failure::new(
                    format!("role {} is there already in account {account}", self.role_name),
                    "choose another --role-name, or compare it with what this command prints",
                ));
            }
            Err(failure) => return Err(failed(failure)),
        }
        let put = iam
            .put_role_policy()
            .role_name(&self.role_name)
            .policy_name(POLICY);
        let put = put
            .policy_document(self.permissions(account).to_string())
            .send()
            .await;
        if let Err(error) = put {
            // Deletes the incomplete role, because the next run would find it and fail.
            let deleted = iam.delete_role().role_name(&self.role_name).send().await;
            if let Err(error) = deleted {
                let why = AwsFailure::new("DeleteRole", &error);
                eprintln!(
                    "warning: role {} exists without permissions, delete it manually: {why}",
                    self.role_name
                );
            }
            return Err(failed(AwsFailure::new("PutRolePolicy", &error)));
        }
        println!("\n{}", self.account(account));
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns a text in single quotes for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use rolectl_crds::PARTITIONS;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bootstrap: Bootstrap,
    }

    fn bootstrap(args: &[&str]) -> Bootstrap {
        let line = ["rolectl", "--main-account", "111111111111"];
        Line::parse_from(line.iter().chain(args)).bootstrap
    }

    #[test]
    fn the_role_may_make_no_change_to_itself() {
        for partition in PARTITIONS {
            let bootstrap = bootstrap(&["--role-name", "keeper", "--partition", partition.name]);
            let policy = bootstrap.permissions("*");
            let denied = policy["Statement"]
                .as_array()
                .unwrap()
                .iter()
                .find(|statement| statement["Effect"] == "Deny")
                .unwrap();
            // Denies everything except reads.
            assert_eq!(denied["NotAction"], json!(["iam:Get*", "iam:List*"]));
            assert!(denied.get("Condition").is_none());
            let own = format!("arn:{}:iam::*:role/keeper", partition.name);
            assert!(
                denied["Resource"].as_array().unwrap().contains(&json!(own)),
                "{denied}"
            );
            assert!(!policy.to_string().contains("arn:aws:") || partition.name == "aws");
            for form in [
                bootstrap.cloudformation().unwrap(),
                bootstrap.terraform(&bootstrap.trust(), &policy),
                bootstrap.aws(&bootstrap.trust(), &policy),
            ] {
                assert!(form.contains("NotItself") && form.contains(&own), "{form}");
            }
        }
    }

    #[test]
    fn the_account_says_that_nothing_is_taken_over_and_is_read_as_it_is_meant() {
        let printed = bootstrap(&[
            "--role-name",
            "a,b",
            "--external-id",
            "x:1",
            "--role-path",
            "/apps/",
        ])
        .account("012345678901");
        let account: rolectl_crds::AwsAccount = serde_saphyr::from_str(&printed).unwrap();
        assert_eq!(account.spec.account_id, "012345678901");
        let role = account.spec.assume_role.unwrap();
        assert_eq!(
            (role.name.as_deref(), role.external_id.as_deref()),
            (Some("a,b"), Some("x:1"))
        );
        let guardrails = account.spec.guardrails.unwrap();
        assert_eq!(guardrails.adoption, Some(rolectl_crds::Adoption::Never));
        assert_eq!(guardrails.path_pattern.as_deref(), Some("/apps/*"));
    }

    #[test]
    fn the_service_control_policy_is_that_of_the_security_page_for_the_role() {
        let page = include_str!("../../../../docs/security.md");
        let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
        let documented: Value = serde_json::from_str(block).unwrap();
        assert_eq!(bootstrap(&[]).tag_policy(), documented);
        let keeper = bootstrap(&["--role-name", "keeper"]).tag_policy().to_string();
        assert!(keeper.contains(":role/keeper\""), "{keeper}");
    }

    #[test]
    fn an_unknown_partition_is_wrong_usage() {
        let line = [
            "rolectl",
            "--main-account",
            "111111111111",
            "--partition",
            "aws-mars",
        ];
        assert!(Line::try_parse_from(line).is_err());
    }
}
