//! The only home of the AWS SDK.
//!
//! Sessions come from a Secret ([`session`]), each account is assumed on one of them ([`account`]), is read
//! by sweeps only ([`sweep`], kept in [`snapshot`]) and written by carrying out plans ([`apply`]). Every
//! call takes its turn in the account's token bucket ([`bucket`]) while this process may call there at all
//! ([`tenure`]), and every failure is classed in [`error`].

pub mod account;
pub mod apply;
pub mod bucket;
pub mod error;
pub mod session;
pub mod snapshot;
pub mod sweep;
pub mod tenure;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// Every call that the controller makes, by service. What it may need to be allowed is here, and nothing else.
pub const OPERATIONS: &[(&str, &[&str])] = &[
    (
        "iam",
        &[
            // To look.
            "ListRoles",
            "GetAccountAuthorizationDetails",
            "GetAccountSummary",
            "GetRole",
            "GetInstanceProfile",
            // To change.
            "CreateRole",
            "DeleteRole",
            "UpdateRole",
            "UpdateAssumeRolePolicy",
            "TagRole",
            "UntagRole",
            "PutRolePermissionsBoundary",
            "DeleteRolePermissionsBoundary",
            "AttachRolePolicy",
            "DetachRolePolicy",
            "PutRolePolicy",
            "DeleteRolePolicy",
            "CreateInstanceProfile",
            "DeleteInstanceProfile",
            "AddRoleToInstanceProfile",
            "RemoveRoleFromInstanceProfile",
            "UntagInstanceProfile",
        ],
    ),
    ("sts", &["AssumeRole", "GetCallerIdentity"]),
];

/// The AWS service that an operation is of, as its SDK names it.
pub fn service_of(operation: &str) -> &'static str {
    let has = |(_, operations): &&(&str, &[&str])| operations.contains(&operation);
    match OPERATIONS.iter().find(has) {
        Some((service, _)) if *service == "sts" => "STS",
        _ => "IAM",
    }
}

/// Sees to it that no core dump is written of a process that holds credentials.
pub fn forbid_core_dumps() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // A handler that dumps are piped to is not bound by the limit.
    #[cfg(target_os = "linux")]
    let limited = limited.and(rustix::process::set_dumpable_behavior(
        rustix::process::DumpableBehavior::NotDumpable,
    ));
    if let Err(error) = limited {
        tracing::warn!(%error, "a core dump of this process would hold its credentials, and cannot be forbidden");
    }
}

/// One HTTP client for everything, with rustls on ring: no second TLS stack, and static binaries stay easy.
pub fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https()
}

/// The part of the SDK's configuration that all clients share: no credentials (they are given to each client),
/// no retries (the controller has its own, counted), and a bound on every call. `AWS_ENDPOINT_URL`,
/// `AWS_ENDPOINT_URL_IAM` and `AWS_ENDPOINT_URL_STS` are honoured.
pub async fn base_config() -> SdkConfig {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .no_credentials()
        .region(Region::from_static(signing_region("aws")))
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(4))
                .operation_timeout(Duration::from_secs(30))
                .build(),
        )
        .load()
        .await;
    // CloudTrail shows it in `userAgent`. AWS_SDK_UA_APP_ID has the first word.
    match AppName::new("rolectl") {
        Ok(name) if config.app_name().is_none() => config.into_builder().app_name(name).build(),
        _ => config,
    }
}

/// IAM is global within a partition and signed for one region of it.
/// See [AWS service endpoints](https://docs.aws.amazon.com/general/latest/gr/iam-service.html).
pub fn signing_region(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        "aws-iso" => "us-iso-east-1",
        "aws-iso-b" => "us-isob-east-1",
        _ => "us-east-1",
    }
}

/// An STS client on given credentials.
pub fn sts_client(base: &SdkConfig, credentials: Credentials, partition: &str) -> aws_sdk_sts::Client {
    let config = aws_sdk_sts::config::Builder::from(base)
        .region(Region::from_static(signing_region(partition)))
        .credentials_provider(credentials)
        .build();
    aws_sdk_sts::Client::from_conf(config)
}

/// An IAM client on given credentials.
pub fn iam_client(base: &SdkConfig, credentials: Credentials, partition: &str) -> aws_sdk_iam::Client {
    let config = aws_sdk_iam::config::Builder::from(base)
        .region(Region::from_static(signing_region(partition)))
        .credentials_provider(credentials)
        .build();
    aws_sdk_iam::Client::from_conf(config)
}

/// The account in an ARN.
pub fn arn_account(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// The partition in an ARN.
pub fn arn_partition(arn: &str) -> &str {
    arn.split(':').nth(1).unwrap_or("aws")
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn no_core_dump_is_made_of_a_process_that_forbids_it() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
        super::forbid_core_dumps();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
