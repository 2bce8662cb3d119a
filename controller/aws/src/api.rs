//! The calls to AWS that the engine makes, each with types of our own.
//!
//! [`crate::sdk`] makes them with the AWS SDK. Tests of the engine put something else in its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use jiff::Timestamp;
use rolectl_core::role::DesiredRole;
use rolectl_core::role::change::Identity;
use rolectl_crds::PartitionError;

use crate::error::AwsFailure;

/// What a call returns.
pub type Answer<T> = Result<T, AwsFailure>;

/// Makes clients on credentials. A client is of one partition, so that credentials never reach another one.
pub trait Aws: fmt::Debug + Send + Sync {
    /// IAM in a partition. The credentials are asked for at each request.
    ///
    /// # Errors
    /// When the partition is unknown. No request may be made then.
    fn iam(
        &self,
        credentials: SharedCredentialsProvider,
        partition: &str,
    ) -> Result<Arc<dyn Iam>, PartitionError>;

    /// STS in the region that an object names, else in the one that the environment asks for if the partition has it, else in the
    /// partition's default region.
    ///
    /// # Errors
    /// When the partition is unknown or the region is not in it. No request may be made then.
    fn sts(
        &self,
        credentials: Credentials,
        partition: &str,
        region: Option<&str>,
    ) -> Result<Arc<dyn Sts>, PartitionError>;

    /// The region that [`Self::sts`] would call.
    ///
    /// # Errors
    /// As of [`Self::sts`].
    fn sts_region(&self, partition: &str, region: Option<&str>) -> Result<String, PartitionError>;
}

/// One page of a list. `next` is the marker of the page that follows; only its absence ends a list, since AWS may give pages
/// that are not full.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// A role as `ListRoles` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRole {
    /// Name.
    pub name: String,
    /// Description, empty when there is none.
    pub description: String,
    /// Longest session in seconds.
    pub max_session_duration: i32,
}

/// A role as `GetAccountAuthorizationDetails` shows it. Documents are URL-encoded by RFC 3986, as AWS sends them: most roles of an
/// account are not looked into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetailedRole {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Unique id (`AROA...`).
    pub role_id: String,
    /// Path.
    pub path: String,
    /// Trust policy, URL-encoded.
    pub trust: String,
    /// ARNs of attached managed policies.
    pub managed_policies: BTreeSet<String>,
    /// Inline policies by name, URL-encoded.
    pub inline_policies: BTreeMap<String, String>,
    /// ARN of the permissions boundary.
    pub permissions_boundary: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Instance profiles that contain the role.
    pub instance_profiles: BTreeSet<String>,
}

/// A managed policy as `GetAccountAuthorizationDetails` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedPolicy {
    /// ARN.
    pub arn: String,
    /// The document of the default version, URL-encoded. Empty where AWS did not show it.
    pub document: String,
}

/// Which role has a name now, as `GetRole` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRole {
    /// Unique id (`AROA...`).
    pub role_id: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// An instance profile as `GetInstanceProfile` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceProfile {
    /// Names of the roles in it: one at most.
    pub roles: Vec<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// IAM in one account, on one set of credentials. Each method is the operation of
/// [the same name](https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html).
#[async_trait]
pub trait Iam: fmt::Debug + Send + Sync {
    /// One page of `ListRoles`.
    async fn list_roles(&self, marker: Option<String>) -> Answer<Page<ListedRole>>;
    /// One page of `GetAccountAuthorizationDetails`, roles only.
    async fn get_account_authorization_details(&self, marker: Option<String>) -> Answer<Page<DetailedRole>>;
    /// One page of `GetAccountAuthorizationDetails`, managed policies only: of the account, and of AWS.
    async fn get_managed_policies(&self, marker: Option<String>) -> Answer<Page<ManagedPolicy>>;
    /// `GetAccountSummary`: counts and quotas by name.
    async fn get_account_summary(&self) -> Answer<HashMap<String, i32>>;
    /// `GetRole`.
    async fn get_role(&self, role: &str) -> Answer<NamedRole>;
    /// `GetInstanceProfile`.
    async fn get_instance_profile(&self, profile: &str) -> Answer<InstanceProfile>;
    /// `CreateRole`, with everything that it can carry. `None`: AWS did not say which role it made.
    async fn create_role(&self, role: &DesiredRole) -> Answer<Option<Identity>>;
    /// `DeleteRole`.
    async fn delete_role(&self, role: &str) -> Answer<()>;
    /// `UpdateRole`. AWS takes a missing description for an empty one, so both are always sent.
    async fn update_role(&self, role: &str, description: &str, max_session_duration: i32) -> Answer<()>;
    /// `UpdateAssumeRolePolicy`.
    async fn update_assume_role_policy(&self, role: &str, document: &str) -> Answer<()>;
    /// `TagRole`.
    async fn tag_role(&self, role: &str, tags: &BTreeMap<String, String>) -> Answer<()>;
    /// `UntagRole`.
    async fn untag_role(&self, role: &str, keys: &BTreeSet<String>) -> Answer<()>;
    /// `PutRolePermissionsBoundary`.
    async fn put_role_permissions_boundary(&self, role: &str, boundary: &str) -> Answer<()>;
    /// `DeleteRolePermissionsBoundary`.
    async fn delete_role_permissions_boundary(&self, role: &str) -> Answer<()>;
    /// `AttachRolePolicy`.
    async fn attach_role_policy(&self, role: &str, policy: &str) -> Answer<()>;
    /// `DetachRolePolicy`.
    async fn detach_role_policy(&self, role: &str, policy: &str) -> Answer<()>;
    /// `PutRolePolicy`.
    async fn put_role_policy(&self, role: &str, name: &str, document: &str) -> Answer<()>;
    /// `DeleteRolePolicy`.
    async fn delete_role_policy(&self, role: &str, name: &str) -> Answer<()>;
    /// `CreateInstanceProfile`.
    async fn create_instance_profile(
        &self,
        profile: &str,
        path: &str,
        tags: &BTreeMap<String, String>,
    ) -> Answer<()>;
    /// `DeleteInstanceProfile`.
    async fn delete_instance_profile(&self, profile: &str) -> Answer<()>;
    /// `AddRoleToInstanceProfile`.
    async fn add_role_to_instance_profile(&self, profile: &str, role: &str) -> Answer<()>;
    /// `RemoveRoleFromInstanceProfile`.
    async fn remove_role_from_instance_profile(&self, profile: &str, role: &str) -> Answer<()>;
    /// `TagInstanceProfile`.
    async fn tag_instance_profile(&self, profile: &str, tags: &BTreeMap<String, String>) -> Answer<()>;
    /// `UntagInstanceProfile`.
    async fn untag_instance_profile(&self, profile: &str, key: &str) -> Answer<()>;
}

/// What `AssumeRole` is asked for.
#[derive(Clone, Debug)]
pub struct AssumeRole<'a> {
    /// ARN of the role.
    pub role_arn: String,
    /// Name of the role session, which CloudTrail shows.
    pub session_name: &'a str,
    /// Length of the session in seconds.
    pub duration_seconds: i32,
    /// External id.
    pub external_id: Option<String>,
    /// Source identity, which CloudTrail shows.
    pub source_identity: Option<String>,
}

/// A role session. Debug output shows no credential: the type of the SDK leaves them out.
#[derive(Clone, Debug)]
pub struct AssumedRole {
    /// Its credentials, `None` where AWS sent none.
    pub credentials: Option<Credentials>,
    /// When it ends, `None` where AWS did not say so.
    pub expires_at: Option<Timestamp>,
    /// ARN of the assumed role. It contains the account.
    pub arn: String,
}

/// STS in one region, on one set of credentials.
#[async_trait]
pub trait Sts: fmt::Debug + Send + Sync {
    /// The region that is called.
    fn region(&self) -> &str;
    /// `AssumeRole`.
    async fn assume_role(&self, request: AssumeRole<'_>) -> Answer<AssumedRole>;
    /// `GetCallerIdentity`: the ARN of the caller, empty where AWS did not say it.
    async fn get_caller_identity(&self) -> Answer<String>;
}

/// Learns of every call that was made.
pub trait CallObserver: fmt::Debug + Send + Sync {
    /// A call ended. `outcome` is `ok` or the class of the failure.
    fn called(&self, account: &str, operation: &'static str, outcome: &'static str, seconds: f64);
}

/// Nobody observes.
impl CallObserver for () {
    fn called(&self, _: &str, _: &'static str, _: &'static str, _: f64) {}
}
