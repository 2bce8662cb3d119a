//! The role that every case creates.

use serde_json::{Value, json};

/// ARNs of the managed policies.
pub const POLICIES: [&str; 2] = [
    "arn:aws:iam::aws:policy/ReadOnlyAccess",
    "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess",
];

/// Tags as a user writes them, without the owner tag.
pub const TAGS: [(&str, &str); 2] = [("team", "platform"), ("stage", "prod")];

/// Name of the inline policy.
pub const INLINE: &str = "reader";

/// Name of role `n`, in Kubernetes and in AWS.
pub fn name(n: usize) -> String {
    format!("role-{n:05}")
}

/// Document of the inline policy.
pub fn inline() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]}]})
}

/// Trust policy of the role, for the main account under MFA.
pub fn trust(main: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": format!("arn:aws:iam::{main}:root")}, "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}]})
}

/// Spec of an `IamRole` with 2 managed policies, 1 inline policy and 2 tags. The scenario adds the trust policy.
pub fn spec(accounts: &Value, description: &str) -> Value {
    json!({
        "accounts": accounts, "description": description, "managedPolicies": POLICIES,
        "inlinePolicies": {INLINE: inline()}, "tags": Value::from_iter(TAGS),
    })
}
