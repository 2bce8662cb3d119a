//! Parts of Amazon Resource Names.
//!
//! See [ARNs](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html): `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.

/// Returns the account id in an ARN. Empty if the text is not an ARN or the ARN has no account.
pub fn arn_account(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// Returns the partition in an ARN. Empty if the text is not an ARN.
pub fn arn_partition(arn: &str) -> &str {
    arn.split(':').nth(1).unwrap_or_default()
}
