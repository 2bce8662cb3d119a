//! The AWS SDK: its configuration, its clients, and the calls of [`crate::api`] made with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::identity::IdentityCache;
use aws_config::meta::region::future::ProvideRegion as ProvidedRegion;
use aws_config::meta::region::{ProvideRegion, RegionProviderChain};
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_iam::types::{EntityType, ManagedPolicyDetail, RoleDetail, Tag};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::Timestamp;
use rolectl_core::role::DesiredRole;
use rolectl_core::role::change::Identity;
use rolectl_crds::{Partition, PartitionError};

use crate::api::{
    Answer, AssumeRole, AssumedRole, Aws, DetailedRole, Iam, InstanceProfile, ListedRole, ManagedPolicy,
    NamedRole, Page, Sts,
};
use crate::error::{AwsFailure, Class};
use crate::network::http_client;

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

/// AWS by its SDK.
#[derive(Clone, Debug)]
pub struct SdkAws {
    base: SdkConfig,
}

impl SdkAws {
    /// Calls with this configuration, which has no credentials of its own.
    pub fn new(base: SdkConfig) -> Arc<Self> {
        Arc::new(Self { base })
    }
}

impl Aws for SdkAws {
    fn iam(
        &self,
        credentials: SharedCredentialsProvider,
        partition: &str,
    ) -> Result<Arc<dyn Iam>, PartitionError> {
        Ok(Arc::new(iam_client(&self.base, credentials, partition)?))
    }

    fn sts(
        &self,
        credentials: Credentials,
        partition: &str,
        region: Option<&str>,
    ) -> Result<Arc<dyn Sts>, PartitionError> {
        Ok(Arc::new(sts_client(&self.base, credentials, partition, region)?))
    }

    fn sts_region(&self, partition: &str, region: Option<&str>) -> Result<String, PartitionError> {
        Ok(sts_region(&self.base, partition, region)?.as_ref().to_owned())
    }
}

/// Roles asked for in one page. AWS may give fewer.
const PAGE: i32 = 1000;

/// The outcome of a call, its failure classed.
fn answer<T, E, R>(operation: &'static str, result: Result<T, SdkError<E, R>>) -> Answer<T>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug,
{
    result.map_err(|error| AwsFailure::new(operation, &error))
}

fn sdk_tags(operation: &'static str, tags: &BTreeMap<String, String>) -> Answer<Option<Vec<Tag>>> {
    let tag = |(key, value): (&String, &String)| {
        let built = Tag::builder().key(key).value(value).build();
        built.map_err(|error| AwsFailure {
            operation,
            code: None,
            message: error.to_string(),
            class: Class::Invalid,
        })
    };
    tags.iter().map(tag).collect::<Result<_, _>>().map(Some)
}

fn own_tags(tags: Option<Vec<Tag>>) -> BTreeMap<String, String> {
    let tags = tags.into_iter().flatten();
    tags.map(|tag| (tag.key, tag.value)).collect()
}

fn detailed(detail: RoleDetail) -> DetailedRole {
    let managed = detail.attached_managed_policies.into_iter().flatten();
    let inline = detail.role_policy_list.into_iter().flatten();
    let profiles = detail.instance_profile_list.into_iter().flatten();
    let boundary = detail.permissions_boundary;
    DetailedRole {
        name: detail.role_name.unwrap_or_default(),
        arn: detail.arn.unwrap_or_default(),
        role_id: detail.role_id.unwrap_or_default(),
        path: detail.path.unwrap_or_default(),
        trust: detail.assume_role_policy_document.unwrap_or_default(),
        managed_policies: managed.filter_map(|p| p.policy_arn).collect(),
        inline_policies: inline
            .filter_map(|p| Some((p.policy_name?, p.policy_document.unwrap_or_default())))
            .collect(),
        permissions_boundary: boundary.and_then(|b| b.permissions_boundary_arn),
        tags: own_tags(detail.tags),
        instance_profiles: profiles.map(|p| p.instance_profile_name).collect(),
    }
}

fn managed_policy(detail: ManagedPolicyDetail) -> Option<ManagedPolicy> {
    let mut versions = detail.policy_version_list.into_iter().flatten();
    let version = versions.find(|version| version.is_default_version);
    Some(ManagedPolicy {
        arn: detail.arn?,
        document: version.and_then(|version| version.document).unwrap_or_default(),
    })
}

#[async_trait]
impl Iam for aws_sdk_iam::Client {
    async fn list_roles(&self, marker: Option<String>) -> Answer<Page<ListedRole>> {
        let request = Self::list_roles(self).max_items(PAGE).set_marker(marker);
        let page = answer("ListRoles", request.send().await)?;
        let listed = |role: aws_sdk_iam::types::Role| ListedRole {
            name: role.role_name,
            description: role.description.unwrap_or_default(),
            max_session_duration: role.max_session_duration.unwrap_or(3600),
        };
        Ok(Page {
            items: page.roles.into_iter().map(listed).collect(),
            next: page.marker.filter(|_| page.is_truncated),
        })
    }

    async fn get_account_authorization_details(&self, marker: Option<String>) -> Answer<Page<DetailedRole>> {
        let request = Self::get_account_authorization_details(self)
            .filter(EntityType::Role)
            .max_items(PAGE)
            .set_marker(marker);
        let page = answer("GetAccountAuthorizationDetails", request.send().await)?;
        let roles = page.role_detail_list.into_iter().flatten();
        Ok(Page {
            items: roles.map(detailed).collect(),
            next: page.marker.filter(|_| page.is_truncated),
        })
    }

    async fn get_managed_policies(&self, marker: Option<String>) -> Answer<Page<ManagedPolicy>> {
        let request = Self::get_account_authorization_details(self)
            .filter(EntityType::LocalManagedPolicy)
            .filter(EntityType::AwsManagedPolicy)
            .max_items(PAGE)
            .set_marker(marker);
        let page = answer("GetAccountAuthorizationDetails", request.send().await)?;
        let policies = page.policies.into_iter().flatten();
        Ok(Page {
            items: policies.filter_map(managed_policy).collect(),
            next: page.marker.filter(|_| page.is_truncated),
        })
    }

    async fn get_account_summary(&self) -> Answer<HashMap<String, i32>> {
        let summary = answer("GetAccountSummary", Self::get_account_summary(self).send().await)?;
        let map = summary.summary_map.into_iter().flatten();
        // By text: the SDK has no name yet for some of the keys.
        Ok(map.map(|(key, value)| (key.as_str().to_owned(), value)).collect())
    }

    async fn get_role(&self, role: &str) -> Answer<NamedRole> {
        let found = answer("GetRole", Self::get_role(self).role_name(role).send().await)?;
        let Some(role) = found.role else {
            return Err(empty("GetRole"));
        };
        Ok(NamedRole {
            role_id: role.role_id,
            tags: own_tags(role.tags),
        })
    }

    async fn get_instance_profile(&self, profile: &str) -> Answer<InstanceProfile> {
        let request = Self::get_instance_profile(self).instance_profile_name(profile);
        let found = answer("GetInstanceProfile", request.send().await)?;
        let Some(profile) = found.instance_profile else {
            return Err(empty("GetInstanceProfile"));
        };
        Ok(InstanceProfile {
            roles: profile.roles.into_iter().map(|role| role.role_name).collect(),
            tags: own_tags(profile.tags),
        })
    }

    async fn create_role(&self, role: &DesiredRole) -> Answer<Option<Identity>> {
        const OPERATION: &str = "CreateRole";
        let description = Some(role.description.clone()).filter(|text| !text.is_empty());
        let request = Self::create_role(self)
            .role_name(&role.name)
            .path(&role.path)
            .set_description(description)
            .max_session_duration(role.max_session_duration)
            .assume_role_policy_document(role.trust.as_ref().map_or("", |t| t.as_str()))
            .set_permissions_boundary(role.permissions_boundary.clone())
            .set_tags(sdk_tags(OPERATION, &role.tags)?);
        let created = answer(OPERATION, request.send().await)?.role;
        Ok(created.map(|role| Identity {
            arn: role.arn,
            role_id: role.role_id,
        }))
    }

    async fn delete_role(&self, role: &str) -> Answer<()> {
        let request = Self::delete_role(self).role_name(role);
        answer("DeleteRole", request.send().await).map(drop)
    }

    async fn update_role(&self, role: &str, description: &str, max_session_duration: i32) -> Answer<()> {
        let request = Self::update_role(self)
            .role_name(role)
            .description(description)
            .max_session_duration(max_session_duration);
        answer("UpdateRole", request.send().await).map(drop)
    }

    async fn update_assume_role_policy(&self, role: &str, document: &str) -> Answer<()> {
        let request = Self::update_assume_role_policy(self)
            .role_name(role)
            .policy_document(document);
        answer("UpdateAssumeRolePolicy", request.send().await).map(drop)
    }

    async fn tag_role(&self, role: &str, tags: &BTreeMap<String, String>) -> Answer<()> {
        let tags = sdk_tags("TagRole", tags)?;
        let request = Self::tag_role(self).role_name(role).set_tags(tags);
        answer("TagRole", request.send().await).map(drop)
    }

    async fn untag_role(&self, role: &str, keys: &BTreeSet<String>) -> Answer<()> {
        let keys = Some(keys.iter().cloned().collect());
        let request = Self::untag_role(self).role_name(role).set_tag_keys(keys);
        answer("UntagRole", request.send().await).map(drop)
    }

    async fn put_role_permissions_boundary(&self, role: &str, boundary: &str) -> Answer<()> {
        let request = Self::put_role_permissions_boundary(self)
            .role_name(role)
            .permissions_boundary(boundary);
        answer("PutRolePermissionsBoundary", request.send().await).map(drop)
    }

    async fn delete_role_permissions_boundary(&self, role: &str) -> Answer<()> {
        let request = Self::delete_role_permissions_boundary(self).role_name(role);
        answer("DeleteRolePermissionsBoundary", request.send().await).map(drop)
    }

    async fn attach_role_policy(&self, role: &str, policy: &str) -> Answer<()> {
        let request = Self::attach_role_policy(self).role_name(role).policy_arn(policy);
        answer("AttachRolePolicy", request.send().await).map(drop)
    }

    async fn detach_role_policy(&self, role: &str, policy: &str) -> Answer<()> {
        let request = Self::detach_role_policy(self).role_name(role).policy_arn(policy);
        answer("DetachRolePolicy", request.send().await).map(drop)
    }

    async fn put_role_policy(&self, role: &str, name: &str, document: &str) -> Answer<()> {
        let request = Self::put_role_policy(self)
            .role_name(role)
            .policy_name(name)
            .policy_document(document);
        answer("PutRolePolicy", request.send().await).map(drop)
    }

    async fn delete_role_policy(&self, role: &str, name: &str) -> Answer<()> {
        let request = Self::delete_role_policy(self).role_name(role).policy_name(name);
        answer("DeleteRolePolicy", request.send().await).map(drop)
    }

    async fn create_instance_profile(
        &self,
        profile: &str,
        path: &str,
        tags: &BTreeMap<String, String>,
    ) -> Answer<()> {
        let tags = sdk_tags("CreateInstanceProfile", tags)?;
        let request = Self::create_instance_profile(self)
            .instance_profile_name(profile)
            .path(path)
            .set_tags(tags);
        answer("CreateInstanceProfile", request.send().await).map(drop)
    }

    async fn delete_instance_profile(&self, profile: &str) -> Answer<()> {
        let request = Self::delete_instance_profile(self).instance_profile_name(profile);
        answer("DeleteInstanceProfile", request.send().await).map(drop)
    }

    async fn add_role_to_instance_profile(&self, profile: &str, role: &str) -> Answer<()> {
        let request = Self::add_role_to_instance_profile(self)
            .instance_profile_name(profile)
            .role_name(role);
        answer("AddRoleToInstanceProfile", request.send().await).map(drop)
    }

    async fn remove_role_from_instance_profile(&self, profile: &str, role: &str) -> Answer<()> {
        let request = Self::remove_role_from_instance_profile(self)
            .instance_profile_name(profile)
            .role_name(role);
        answer("RemoveRoleFromInstanceProfile", request.send().await).map(drop)
    }

    async fn tag_instance_profile(&self, profile: &str, tags: &BTreeMap<String, String>) -> Answer<()> {
        let tags = sdk_tags("TagInstanceProfile", tags)?;
        let request = Self::tag_instance_profile(self)
            .instance_profile_name(profile)
            .set_tags(tags);
        answer("TagInstanceProfile", request.send().await).map(drop)
    }

    async fn untag_instance_profile(&self, profile: &str, key: &str) -> Answer<()> {
        let request = Self::untag_instance_profile(self)
            .instance_profile_name(profile)
            .tag_keys(key);
        answer("UntagInstanceProfile", request.send().await).map(drop)
    }
}

#[async_trait]
impl Sts for aws_sdk_sts::Client {
    fn region(&self) -> &str {
        self.config().region().map_or("", AsRef::as_ref)
    }

    async fn assume_role(&self, request: AssumeRole<'_>) -> Answer<AssumedRole> {
        let request = Self::assume_role(self)
            .role_arn(request.role_arn)
            .role_session_name(request.session_name)
            .duration_seconds(request.duration_seconds)
            .set_external_id(request.external_id)
            .set_source_identity(request.source_identity);
        let assumed = answer("AssumeRole", request.send().await)?;
        let expires_at = assumed.credentials.as_ref().map(|c| c.expiration.secs());
        let credentials = assumed.credentials.map(|c| {
            let token = Some(c.session_token);
            Credentials::new(
                c.access_key_id,
                c.secret_access_key,
                token,
                None,
                "rolectl-assume-role",
            )
        });
        Ok(AssumedRole {
            credentials,
            expires_at: expires_at.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            arn: assumed.assumed_role_user.map(|user| user.arn).unwrap_or_default(),
        })
    }

    async fn get_caller_identity(&self) -> Answer<String> {
        let identity = answer("GetCallerIdentity", Self::get_caller_identity(self).send().await)?;
        Ok(identity.arn.unwrap_or_default())
    }
}

/// AWS answered without what it was asked for.
fn empty(operation: &'static str) -> AwsFailure {
    AwsFailure {
        operation,
        code: None,
        message: "AWS answered without the object".to_owned(),
        class: Class::Transient,
    }
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

    use super::{SdkAws, configured_partition, iam_client, sts_client};
    use crate::account::SessionBound;
    use crate::api::Aws as _;
    use crate::error::{AwsFailure, Class};

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
        let credentials = SessionBound {
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
        let aws = SdkAws::new(base.clone());
        let region = |partition: &str, region| aws.sts_region(partition, region).ok();
        assert_eq!(region("aws", Some("ap-south-1")).as_deref(), Some("ap-south-1"));
        assert_eq!(region("aws", None).as_deref(), Some("eu-west-1"));
        assert_eq!(region("aws-new", None), None);
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
}
