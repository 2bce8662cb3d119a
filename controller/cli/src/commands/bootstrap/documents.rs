//! The documents of the role: its trust policy, its permissions, the service control policy, and the `AwsAccount`.

use std::fmt::{self, Write as _};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use rolectl_aws::operations::OPERATIONS;
use rolectl_core::arn::arn_account;
use rolectl_crds::{ADOPTED_TAG, OWNER_TAG, PROFILE_TAG, Partition};

use crate::failure::Failure;
use crate::output::Document;

/// Name of the role's inline policy.
pub const POLICY: &str = "rolectl";
/// Description of the role.
pub const DESCRIPTION: &str = "Assumed by rolectl under MFA to manage IAM roles";
/// Longest session of the role in seconds. AWS limits role chaining to one hour.
pub const MAX_SESSION: i32 = 3600;
/// In place of the account id, where a document is for several accounts.
pub const ANY_ACCOUNT: &str = "*";
/// Longest path and longest `pathPattern`.
const LONGEST_PATH: usize = 512;

/// Who may assume the role under MFA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// All users and roles of an account that its administrator allows to.
    Account(String),
    /// One user, by ARN.
    User(String),
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => write!(f, "all users of account {id}"),
            Self::User(arn) => write!(f, "user {arn}"),
        }
    }
}

impl Trusted {
    /// Returns the main account.
    pub fn account(&self) -> &str {
        match self {
            Self::Account(id) => id,
            Self::User(arn) => arn_account(arn),
        }
    }
}

/// The role to make, with everything known and checked.
#[derive(Debug)]
pub struct Wanted {
    pub trusted: Trusted,
    pub partition: &'static Partition,
    pub role_name: String,
    /// Roles and instance profiles below this path may be changed.
    pub role_path: String,
    pub external_id: Option<String>,
    pub boundary: Option<String>,
    /// Namespaces whose IamRoles may use the account.
    pub namespaces: Vec<String>,
    /// Name of the `MfaSession` from which the main account is.
    pub session: Option<String>,
}

impl Wanted {
    /// Returns the trust policy of the role.
    pub fn trust(&self) -> Value {
        let principal = match &self.trusted {
            Trusted::Account(id) => format!("arn:{}:iam::{id}:root", self.partition.name),
            Trusted::User(arn) => arn.clone(),
        };
        let mut condition = json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}});
        if let (Some(id), Some(map)) = (&self.external_id, condition.as_object_mut()) {
            map.insert("StringEquals".to_owned(), json!({"sts:ExternalId": id}));
        }
        json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
            "Principal": {"AWS": principal}, "Condition": condition}]})
    }

    /// Returns the permissions of the role: the calls of the controller, without changes of the role itself.
    pub fn permissions(&self, account: &str) -> Value {
        let calls = OPERATIONS
            .iter()
            .find(|(service, _)| *service == "iam")
            .map_or(&[][..], |(_, calls)| calls);
        let (whole, single): (Vec<&str>, Vec<&str>) = calls.iter().partition(|call| {
            ["ListRoles", "GetAccountAuthorizationDetails", "GetAccountSummary"].contains(call)
        });
        let named =
            |calls: Vec<&str>| -> Vec<String> { calls.iter().map(|call| format!("iam:{call}")).collect() };
        let arn = |kind: &str, name: &str| format!("arn:{}:iam::{account}:{kind}{name}", self.partition.name);
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
    pub fn tag_policy(&self) -> Value {
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
        let own = format!("ec2.{}", self.partition.dns_suffix);
        if own == global {
            json!(global)
        } else {
            json!([global, own])
        }
    }

    /// Returns the `AwsAccount` for an account with this role. It has `adoption` with its default value, as the field that decides
    /// about existing roles. Without namespaces it has no `allowedNamespaces`, so that nobody may use the account.
    pub fn account(&self, id: &str) -> Value {
        let mut assume = Map::from_iter([("name".to_owned(), json!(self.role_name))]);
        if let Some(external_id) = &self.external_id {
            assume.insert("externalId".to_owned(), json!(external_id));
        }
        let mut guardrails = Map::from_iter([("adoption".to_owned(), json!("Never"))]);
        if self.role_path != "/" {
            // No path that begins with a path of the greatest length is another one.
            let stem = match self.role_path.strip_suffix('/') {
                Some(stem) if self.role_path.len() == LONGEST_PATH => stem,
                _ => &self.role_path,
            };
            guardrails.insert("pathPattern".to_owned(), json!(format!("{stem}*")));
        }
        let mut spec = json!({"accountId": id, "partition": self.partition.name, "assumeRole": assume, "guardrails": guardrails});
        if let Some(map) = spec.as_object_mut() {
            if let Some(session) = &self.session {
                map.insert("sessionRef".to_owned(), json!(session));
            }
            if !self.namespaces.is_empty() {
                let allowed = json!({"from": "Names", "names": self.namespaces});
                map.insert("allowedNamespaces".to_owned(), allowed);
            }
        }
        json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": "NAME"}, "spec": spec})
    }

    /// Returns the `AwsAccount` as YAML. Without namespaces it ends with a comment that shows how to allow some.
    pub fn account_yaml(&self, id: &str) -> Result<String, Failure> {
        let mut text = yaml(&self.account(id))?;
        if self.namespaces.is_empty() {
            let _ = write!(
                text,
                "\n  # Fill this in: no namespace may use the account without it.\n  # allowedNamespaces:\n  #   from: Names\n  #   names: [NAMESPACE]"
            );
        }
        Ok(text)
    }

    /// Returns everything as output for programs. `id` is the account id in the `AwsAccount`.
    pub fn for_programs(&self, id: &str) -> Printed {
        Printed {
            role: PrintedRole {
                name: self.role_name.clone(),
                description: DESCRIPTION,
                max_session_duration: MAX_SESSION,
                permissions_boundary: self.boundary.clone(),
                policy_name: POLICY,
            },
            trust_policy: self.trust(),
            permissions: self.permissions(ANY_ACCOUNT),
            aws_account: self.account(id),
            service_control_policy: self.tag_policy(),
        }
    }
}

/// Everything that `bootstrap` prints, for programs.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Bootstrap")]
pub struct Printed {
    role: PrintedRole,
    /// The trust policy of the role.
    trust_policy: Value,
    /// The inline policy of the role.
    permissions: Value,
    /// An `AwsAccount` with this role.
    aws_account: Value,
    /// A policy for the organization: no other role or user may set rolectl's tags.
    service_control_policy: Value,
}

/// The role without its policies.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PrintedRole {
    name: String,
    description: &'static str,
    /// In seconds.
    max_session_duration: i32,
    /// ARN of the permissions boundary.
    permissions_boundary: Option<String>,
    /// Name of the inline policy.
    policy_name: &'static str,
}

impl Document for Printed {
    const KIND: &'static str = "Bootstrap";
}

/// Returns a value as YAML without the last line break.
pub fn yaml(value: &Value) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(value).map_err(|e| {
        Failure::new(
            format!("could not write the template: {e}"),
            "report this as a defect",
        )
    })?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use rolectl_crds::{Adoption, AwsAccount, NamespacesFrom, PARTITIONS};

    use super::super::tests::wanted;
    use super::*;
    use crate::schema;

    #[test]
    fn the_role_may_make_no_change_to_itself() {
        for partition in PARTITIONS {
            let wanted = wanted(&["--role-name", "keeper", "--partition", partition.name]);
            let policy = wanted.permissions("*");
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
                wanted.cloudformation().unwrap(),
                wanted.terraform(),
                wanted.aws(),
                serde_json::to_string(&wanted.for_programs("ACCOUNT_ID")).unwrap(),
            ] {
                assert!(form.contains("NotItself") && form.contains(&own), "{form}");
            }
        }
    }

    #[test]
    fn the_account_says_that_nothing_is_taken_over_and_is_read_as_it_is_meant() {
        let printed = wanted(&[
            "--role-name",
            "a,b",
            "--external-id",
            "x:1",
            "--role-path",
            "/apps/",
            "--allow-namespace",
            "team",
            "--allow-namespace",
            "platform",
            "--allow-namespace",
            "team",
        ])
        .account_yaml("012345678901")
        .unwrap();
        let account: AwsAccount = serde_saphyr::from_str(&printed).unwrap();
        assert_eq!(account.spec.account_id, "012345678901");
        let role = account.spec.assume_role.unwrap();
        assert_eq!(
            (role.name.as_deref(), role.external_id.as_deref()),
            (Some("a,b"), Some("x:1"))
        );
        let guardrails = account.spec.guardrails.unwrap();
        assert_eq!(guardrails.adoption, Some(Adoption::Never));
        assert_eq!(guardrails.path_pattern.as_deref(), Some("/apps/*"));
        assert_eq!(account.spec.allowed_namespaces.from, NamespacesFrom::Names);
        assert_eq!(account.spec.allowed_namespaces.names, ["platform", "team"]);
    }

    /// What is wrong with the printed account once its name is filled in.
    fn problems(printed: &str) -> Vec<schema::Problem> {
        let filled: Value =
            serde_saphyr::from_str(&printed.replace("NAME}", "prod}").replace(": NAME", ": prod")).unwrap();
        schema::problems(&filled)
    }

    #[test]
    fn the_account_is_taken_by_the_crd_with_and_without_its_namespaces() {
        let longest = format!("/{}/", "x".repeat(510));
        for more in [
            &[][..],
            &["--role-path", "/apps/"],
            &["--role-path", &longest, "--external-id", "x:1"],
            &["--partition", "aws-cn", "--allow-namespace", "team"],
        ] {
            let printed = wanted(more).account_yaml("222222222222").unwrap();
            assert_eq!(problems(&printed), [], "{printed}");
            // A reader removes the comment signs and fills in the namespace.
            let filled: Vec<String> = printed
                .lines()
                .filter(|line| !line.contains("Fill this in"))
                .map(|line| line.replacen("# ", "", 1).replace("[NAMESPACE]", "[team]"))
                .collect();
            let filled = filled.join("\n");
            assert_eq!(problems(&filled), [], "{filled}");
            let account: AwsAccount = serde_saphyr::from_str(&filled).unwrap();
            assert_eq!(account.spec.allowed_namespaces.names, ["team"]);
        }
    }

    #[test]
    fn the_service_control_policy_is_that_of_the_security_page_for_the_role() {
        let page = include_str!("../../../../../docs/security.md");
        let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
        let documented: Value = serde_json::from_str(block).unwrap();
        assert_eq!(wanted(&[]).tag_policy(), documented);
        let keeper = wanted(&["--role-name", "keeper"]).tag_policy().to_string();
        assert!(keeper.contains(":role/keeper\""), "{keeper}");
    }
}
