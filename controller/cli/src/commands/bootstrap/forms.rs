//! The role as a CloudFormation template, as Terraform resources, and as calls of the aws CLI.

use serde_json::{Value, json};

use super::documents::{ANY_ACCOUNT, DESCRIPTION, MAX_SESSION, POLICY, Wanted, yaml};
use super::hcl;
use crate::failure::Failure;

impl Wanted {
    /// Returns the CloudFormation template.
    pub fn cloudformation(&self) -> Result<String, Failure> {
        let mut properties = json!({
            "RoleName": self.role_name, "Description": DESCRIPTION, "MaxSessionDuration": MAX_SESSION,
            "AssumeRolePolicyDocument": self.trust(),
            "Policies": [{"PolicyName": POLICY, "PolicyDocument": self.permissions(ANY_ACCOUNT)}],
        });
        if let (Some(boundary), Some(map)) = (&self.boundary, properties.as_object_mut()) {
            map.insert("PermissionsBoundary".to_owned(), json!(boundary));
        }
        yaml(&json!({
            "AWSTemplateFormatVersion": "2010-09-09", "Description": DESCRIPTION,
            "Resources": {"Rolectl": {"Type": "AWS::IAM::Role", "Properties": properties}},
        }))
    }

    /// Returns the Terraform resources, as `terraform fmt` writes them.
    pub fn terraform(&self) -> String {
        let document = |value: Value| format!("jsonencode({})", hcl::expression(&value, 2));
        let attribute = |name: &str, value: String| (name.to_owned(), value);
        let mut role = vec![
            attribute("name", hcl::string(&self.role_name)),
            attribute("description", hcl::string(DESCRIPTION)),
            attribute("max_session_duration", MAX_SESSION.to_string()),
        ];
        let boundary = self.boundary.as_deref().map(hcl::string);
        role.extend(boundary.map(|arn| attribute("permissions_boundary", arn)));
        role.push(attribute("assume_role_policy", document(self.trust())));
        let policy = [
            attribute("name", hcl::string(POLICY)),
            attribute("role", "aws_iam_role.rolectl.name".to_owned()),
            attribute("policy", document(self.permissions(ANY_ACCOUNT))),
        ];
        format!(
            "resource \"aws_iam_role\" \"rolectl\" {{\n{}}}\n\nresource \"aws_iam_role_policy\" \"rolectl\" {{\n{}}}",
            hcl::attributes(&role, 2),
            hcl::attributes(&policy, 2)
        )
    }

    /// Returns the calls of the aws CLI.
    pub fn aws(&self) -> String {
        let boundary = self
            .boundary
            .as_ref()
            .map(|arn| format!(" \\\n  --permissions-boundary {}", quoted(arn)));
        let role = quoted(&self.role_name);
        format!(
            "aws iam create-role --role-name {role} --description {} --max-session-duration {MAX_SESSION}{} \\\n  --assume-role-policy-document {}\naws iam put-role-policy --role-name {role} --policy-name {POLICY} \\\n  --policy-document {}",
            quoted(DESCRIPTION),
            boundary.unwrap_or_default(),
            quoted(&self.trust().to_string()),
            quoted(&self.permissions(ANY_ACCOUNT).to_string()),
        )
    }
}

/// Returns a text in single quotes for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::wanted;
    use super::*;

    #[test]
    fn terraform_is_native_hcl_in_the_layout_of_terraform_fmt() {
        let wanted = wanted(&[
            "--role-path",
            "/apps/eu/",
            "--external-id",
            "x:1",
            "--boundary",
            "arn:aws:iam::aws:policy/PowerUserAccess",
        ]);
        let stored = include_str!("terraform.snapshot.tf");
        assert_eq!(format!("{}\n", wanted.terraform()), stored);
    }

    #[test]
    fn a_quote_does_not_end_an_argument_of_a_shell() {
        assert_eq!(quoted("a'b"), r"'a'\''b'");
    }
}
