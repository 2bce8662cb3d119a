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
pub mod network;
pub mod session;
pub mod sweep;
pub mod tenure;

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::identity::IdentityCache;
use aws_config::meta::region::future::ProvideRegion as ProvidedRegion;
use aws_config::meta::region::{ProvideRegion, RegionProviderChain};
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
pub use network::http_client;
use rolectl_crds::{Partition, PartitionError};

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
            // CreateInstanceProfile with a tag needs the right to tag, too.
            "TagInstanceProfile",
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

/// The part of the SDK's configuration that all clients share: no credentials (they are given to each client),
/// no retries (the controller has its own, counted), and a bound on every call. `AWS_ENDPOINT_URL`,
/// `AWS_ENDPOINT_URL_IAM` and `AWS_ENDPOINT_URL_STS` are honoured.
pub async fn base_config() -> SdkConfig {
    base_config_of(None).await
}

/// The shared configuration, with the region of a named profile in place of the default profile's.
pub async fn base_config_of(profile: Option<&str>) -> SdkConfig {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .no_credentials()
        .region(ConfiguredRegion(configured_region(profile).await))
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

/// A region that was looked up already. The SDK's default chain would also ask the instance metadata service, which takes seconds
/// where there is none.
#[derive(Debug)]
struct ConfiguredRegion(Option<Region>);

impl ProvideRegion for ConfiguredRegion {
    fn region(&self) -> ProvidedRegion<'_> {
        ProvidedRegion::ready(self.0.clone())
    }
}

/// The region that the environment asks for, by the rules of the AWS SDKs: `AWS_REGION`, then `AWS_DEFAULT_REGION`, then the profile.
async fn configured_region(profile: Option<&str>) -> Option<Region> {
    let mut profiles = ProfileFileRegionProvider::builder();
    if let Some(name) = profile {
        profiles = profiles.profile_name(name);
    }
    let chain =
        RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profiles.build());
    chain.region().await.filter(|region| !region.as_ref().is_empty())
}

/// The partition that the environment's region is in. `None` where no region is configured.
///
/// # Errors
/// When the region is in no known partition: credentials must not be sent to a guessed endpoint.
pub fn configured_partition(base: &SdkConfig) -> Result<Option<&'static Partition>, PartitionError> {
    match base.region().map(AsRef::as_ref) {
        None | Some("") => Ok(None),
        Some("aws-global") => Partition::named("aws").map(Some),
        Some(region) => Partition::of_region(region).map(Some),
    }
}

/// The region of STS for calls in a partition: the object's, else the environment's if it is in that partition, else the default.
fn sts_region(base: &SdkConfig, partition: &str, region: Option<&str>) -> Result<Region, PartitionError> {
    let partition = Partition::named(partition)?;
    if let Some(region) = region {
        partition.check(region)?;
        return Ok(Region::new(region.to_owned()));
    }
    let configured = base.region().filter(|region| partition.has(region.as_ref()));
    Ok(configured
        .cloned()
        .unwrap_or_else(|| Region::from_static(partition.region)))
}

/// Returns true if an STS client calls the region that a partition and an object ask for.
pub fn is_in_region(
    sts: &aws_sdk_sts::Client,
    base: &SdkConfig,
    partition: &str,
    region: Option<&str>,
) -> bool {
    sts_region(base, partition, region).is_ok_and(|wanted| sts.config().region() == Some(&wanted))
}

/// An STS client on given credentials, for a partition and the region that an object asks for.
///
/// # Errors
/// When the partition is unknown or the region is not in it. No request may be made then.
pub fn sts_client(
    base: &SdkConfig,
    credentials: Credentials,
    partition: &str,
    region: Option<&str>,
) -> Result<aws_sdk_sts::Client, PartitionError> {
    let config = aws_sdk_sts::config::Builder::from(base)
        .region(sts_region(base, partition, region)?)
        .credentials_provider(credentials)
        .build();
    Ok(aws_sdk_sts::Client::from_conf(config))
}

/// An IAM client on given credentials, which are asked for at each request. IAM is global within a partition and signed for one region of it.
/// See [AWS service endpoints](https://docs.aws.amazon.com/general/latest/gr/iam-service.html).
///
/// # Errors
/// When the partition is unknown. No request may be made then.
pub fn iam_client(
    base: &SdkConfig,
    credentials: impl ProvideCredentials + 'static,
    partition: &str,
) -> Result<aws_sdk_iam::Client, PartitionError> {
    let config = aws_sdk_iam::config::Builder::from(base)
        .region(Region::from_static(Partition::named(partition)?.region))
        .identity_cache(IdentityCache::no_cache())
        .credentials_provider(credentials)
        .build();
    Ok(aws_sdk_iam::Client::from_conf(config))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_config::{Region, SdkConfig};
    use aws_credential_types::Credentials;
    use aws_smithy_runtime_api::client::http::{
        HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
    };
    use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use parking_lot::Mutex;
    use rolectl_crds::PARTITIONS;

    use tokio_util::sync::CancellationToken;

    use super::account::Bound;
    use super::error::{AwsFailure, Class};
    use super::{configured_partition, iam_client, is_in_region, sts_client};

    /// Keeps the host and the signing scope of each request, and answers none.
    #[derive(Clone, Debug, Default)]
    struct Wire(Arc<Mutex<Vec<(String, String)>>>);

    impl HttpConnector for Wire {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let host = request.uri().split('/').nth(2).unwrap_or_default().to_owned();
            let signature = request.headers().get("authorization").unwrap_or_default();
            let scope = signature.split('/').skip(2).take(2).collect::<Vec<_>>().join("/");
            self.0.lock().push((host, scope));
            HttpConnectorFuture::ready(Err(ConnectorError::io("not sent".into())))
        }
    }

    impl Wire {
        async fn base(&self, region: Option<&str>) -> SdkConfig {
            let connector = SharedHttpConnector::new(self.clone());
            let base = super::base_config().await.into_builder();
            base.http_client(http_client_fn(move |_, _| connector.clone()))
                .region(region.map(|region| Region::new(region.to_owned())))
                .build()
        }

        fn sent(&self) -> Vec<(String, String)> {
            std::mem::take(&mut *self.0.lock())
        }
    }

    fn key() -> Credentials {
        Credentials::new("AKIATEST", "secret", None, None, "test")
    }

    fn sent(host: String, region: &str, service: &str) -> Vec<(String, String)> {
        vec![(host, format!("{region}/{service}"))]
    }

    #[tokio::test]
    async fn requests_go_to_their_partition_and_are_signed_for_a_region_of_it() {
        let wire = Wire::default();
        // A region of another partition has no effect, one of the same is used by STS alone.
        let ambient = [
            None,
            Some("us-east-1"),
            Some("cn-north-1"),
            Some("eusc-de-east-1"),
            Some("mars-1"),
        ];
        for partition in PARTITIONS {
            for region in ambient {
                let base = wire.base(region).await;
                let used = region
                    .filter(|region| partition.has(region))
                    .unwrap_or(partition.region);
                let sts = sts_client(&base, key(), partition.name, None).unwrap();
                let _ = sts.get_caller_identity().send().await;
                let host = format!("sts.{used}.{}", partition.dns_suffix);
                assert_eq!(
                    wire.sent(),
                    sent(host, used, "sts"),
                    "{} {region:?}",
                    partition.name
                );
                let iam = iam_client(&base, key(), partition.name).unwrap();
                let _ = iam.list_roles().send().await;
                let host = partition.iam_host.to_owned();
                assert_eq!(
                    wire.sent(),
                    sent(host, partition.region, "iam"),
                    "{} {region:?}",
                    partition.name
                );
            }
        }
    }

    #[tokio::test]
    async fn a_client_of_a_session_that_has_ended_sends_nothing() {
        let wire = Wire::default();
        let base = wire.base(None).await;
        let ended = CancellationToken::new();
        let credentials = Bound {
            credentials: key(),
            ended: ended.clone(),
        };
        let iam = iam_client(&base, credentials, "aws").unwrap();
        let _ = iam.list_roles().send().await;
        assert_eq!(wire.sent().len(), 1);
        ended.cancel();
        let error = iam.list_roles().send().await.unwrap_err();
        assert!(wire.sent().is_empty());
        let failure = AwsFailure::new("ListRoles", &error);
        assert_eq!(failure.class, Class::Transient);
        assert!(failure.message.contains("was replaced"), "{failure}");
    }

    #[tokio::test]
    async fn the_region_of_an_object_wins_and_must_be_in_its_partition() {
        let wire = Wire::default();
        let base = wire.base(Some("eu-west-1")).await;
        let client = |partition: &str, region| sts_client(&base, key(), partition, region);
        let sts = client("aws", Some("ap-south-1")).unwrap();
        assert!(is_in_region(&sts, &base, "aws", Some("ap-south-1")));
        assert!(!is_in_region(&sts, &base, "aws", None) && !is_in_region(&sts, &base, "aws-new", None));
        let _ = sts.get_caller_identity().send().await;
        assert_eq!(
            wire.sent(),
            sent("sts.ap-south-1.amazonaws.com".to_owned(), "ap-south-1", "sts")
        );
        for (partition, region) in [
            ("aws", Some("cn-north-1")),
            ("aws-us-gov", Some("us-east-1")),
            ("aws-new", None),
            ("aws-new", Some("us-east-1")),
            ("", None),
        ] {
            assert!(client(partition, region).is_err(), "{partition} {region:?}");
        }
        assert!(iam_client(&base, key(), "aws-new").is_err());
        assert!(wire.sent().is_empty());
    }

    #[tokio::test]
    async fn a_configured_region_of_an_unknown_partition_is_an_error() {
        let wire = Wire::default();
        for (region, partition) in [
            (None, Ok(None)),
            (Some(""), Ok(None)),
            (Some("aws-global"), Ok(Some("aws"))),
            (Some("us-gov-east-1"), Ok(Some("aws-us-gov"))),
            (Some("us-isoz-east-1"), Err(())),
        ] {
            let base = wire.base(region).await;
            let found = configured_partition(&base)
                .map(|found| found.map(|p| p.name))
                .map_err(|_| ());
            assert_eq!(found, partition, "{region:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_core_dump_is_made_of_a_process_that_forbids_it() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
        super::forbid_core_dumps();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
