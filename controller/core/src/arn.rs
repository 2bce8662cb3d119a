//! Parts of Amazon Resource Names.
//!
//! See [ARNs](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html): `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.

/// The account in an ARN.
pub fn arn_account(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// The partition in an ARN. Empty, which is no partition, where the text is no ARN.
pub fn arn_partition(arn: &str) -> &str {
    arn.split(':').nth(1).unwrap_or_default()
}
