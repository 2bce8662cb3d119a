//! The engine's traits of AWS, for one replica.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rolectl_aws::api::{
    Answer, AssumeRole, AssumedRole, Aws, DetailedRole, Iam, InstanceProfile, ListedRole, ManagedPolicy,
    NamedRole, Page, Sts,
};
use rolectl_aws::clock::Clock;
use rolectl_aws::error::{AwsFailure, Class, classify};
use rolectl_core::role::DesiredRole;
use rolectl_core::role::change::Identity;
use rolectl_crds::PartitionError;

use super::iam::{ApiError, Role, State, Write};
use super::service::{NoAnswer, Read, Request, Service};
use crate::spec::{BOUNDARIES, MANAGED, policy_arn};

/// How many roles a page has: few, so that every list has pages.
const PAGE: usize = 2;

/// AWS, as a replica calls it.
#[derive(Debug)]
pub struct SimulatedAws {
    /// AWS itself.
    pub service: Arc<Service>,
    /// The number of the replica.
    pub replica: usize,
    /// The time of day.
    pub clock: Clock,
}

#[derive(Debug)]
struct Client {
    service: Arc<Service>,
    replica: usize,
    credentials: SharedCredentialsProvider,
}

#[derive(Debug)]
struct SessionClient {
    service: Arc<Service>,
    replica: usize,
    key: String,
    clock: Clock,
}

fn failure(operation: &'static str, no_answer: NoAnswer) -> AwsFailure {
    match no_answer {
        NoAnswer::Error(ApiError { code, message }) => AwsFailure {
            operation,
            class: classify(code, &message),
            code: Some(code.to_owned()),
            message,
        },
        NoAnswer::Connection => AwsFailure {
            operation,
            code: None,
            message: "the connection broke".to_owned(),
            class: Class::Transient,
        },
    }
}

impl Aws for SimulatedAws {
    fn iam(&self, credentials: SharedCredentialsProvider, _: &str) -> Result<Arc<dyn Iam>, PartitionError> {
        Ok(Arc::new(Client {
            service: self.service.clone(),
            replica: self.replica,
            credentials,
        }))
    }

    fn sts(
        &self,
        credentials: Credentials,
        _: &str,
        _: Option<&str>,
    ) -> Result<Arc<dyn Sts>, PartitionError> {
        Ok(Arc::new(SessionClient {
            service: self.service.clone(),
            replica: self.replica,
            key: credentials.access_key_id().to_owned(),
            clock: self.clock,
        }))
    }

    fn sts_region(&self, _: &str, _: Option<&str>) -> Result<String, PartitionError> {
        Ok("us-east-1".to_owned())
    }
}

#[async_trait]
impl Sts for SessionClient {
    fn region(&self) -> &'static str {
        "us-east-1"
    }

    async fn assume_role(&self, request: AssumeRole<'_>) -> Answer<AssumedRole> {
        const OPERATION: &str = "AssumeRole";
        self.service
            .call(self.replica, &self.key, OPERATION, Request::Read(Read::Sts))
            .await
            .map_err(|no_answer| failure(OPERATION, no_answer))?;
        let account = request.role_arn.split(':').nth(4).unwrap_or_default().to_owned();
        let lasts = Duration::from_secs(request.duration_seconds.unsigned_abs().into());
        let key = self.service.with(|aws| aws.assume(&self.key, &account, lasts));
        let ends = self
            .clock
            .now()
            .saturating_add(lasts)
            .unwrap_or(jiff::Timestamp::MAX);
        Ok(AssumedRole {
            credentials: Some(Credentials::new(
                key,
                "secret",
                Some("token".to_owned()),
                None,
                "simulation",
            )),
            expires_at: Some(ends),
            arn: format!(
                "arn:aws:sts::{account}:assumed-role/rolectl/{}",
                request.session_name
            ),
        })
    }

    async fn get_caller_identity(&self) -> Answer<String> {
        const OPERATION: &str = "GetCallerIdentity";
        self.service
            .call(self.replica, &self.key, OPERATION, Request::Read(Read::Sts))
            .await
            .map_err(|no_answer| failure(OPERATION, no_answer))?;
        Ok("arn:aws:iam::111111111111:user/op".to_owned())
    }
}

impl Client {
    async fn call(&self, operation: &'static str, request: Request) -> Answer<Option<Arc<State>>> {
        let Ok(credentials) = self.credentials.provide_credentials().await else {
            return Err(failure(operation, NoAnswer::Connection));
        };
        let answer = self
            .service
            .call(self.replica, credentials.access_key_id(), operation, request)
            .await;
        answer.map_err(|no_answer| failure(operation, no_answer))
    }

    async fn write(&self, operation: &'static str, write: Write) -> Answer<()> {
        self.call(operation, Request::Write(write)).await.map(|_| ())
    }

    async fn read(&self, operation: &'static str, read: Read) -> Answer<Arc<State>> {
        Ok(self
            .call(operation, Request::Read(read))
            .await?
            .unwrap_or_default())
    }
}

/// A page that begins after the role `marker`, and the marker of the next one.
fn page<T>(state: &State, marker: Option<&String>, show: impl Fn(&Role) -> T) -> Page<T> {
    let after = state
        .roles
        .iter()
        .filter(|(key, _)| marker.is_none_or(|marker| *key > marker));
    let mut shown: Vec<(&String, &Role)> = after.take(PAGE + 1).collect();
    let more = shown.len() > PAGE;
    shown.truncate(PAGE);
    Page {
        next: shown.last().filter(|_| more).map(|(key, _)| (*key).clone()),
        items: shown.into_iter().map(|(_, role)| show(role)).collect(),
    }
}

fn encoded(document: &str) -> String {
    utf8_percent_encode(document, NON_ALPHANUMERIC).to_string()
}

#[async_trait]
impl Iam for Client {
    async fn list_roles(&self, marker: Option<String>) -> Answer<Page<ListedRole>> {
        let state = self.read("ListRoles", Read::Roles(marker.clone())).await?;
        Ok(page(&state, marker.as_ref(), |role| ListedRole {
            name: role.name.clone(),
            description: role.description.clone(),
            max_session_duration: role.max_session_duration,
        }))
    }

    async fn get_account_authorization_details(&self, marker: Option<String>) -> Answer<Page<DetailedRole>> {
        let state = self
            .read("GetAccountAuthorizationDetails", Read::Details(marker.clone()))
            .await?;
        Ok(page(&state, marker.as_ref(), |role| DetailedRole {
            name: role.name.clone(),
            arn: role.arn.clone(),
            role_id: role.id.clone(),
            path: role.path.clone(),
            trust: encoded(&role.trust),
            managed_policies: role.managed.clone(),
            inline_policies: role
                .inline
                .iter()
                .map(|(name, text)| (name.clone(), encoded(text)))
                .collect(),
            permissions_boundary: role.boundary.clone(),
            tags: role.tags.clone(),
            instance_profiles: state.profiles_of(&role.name),
        }))
    }

    async fn get_managed_policies(&self, _: Option<String>) -> Answer<Page<ManagedPolicy>> {
        // Each policy that specs name allows something of its own. The answer has one page.
        let read = Read::Details(None);
        self.read("GetAccountAuthorizationDetails", read).await?;
        let policies = MANAGED.iter().chain(&BOUNDARIES).enumerate().map(|(number, name)| ManagedPolicy {
            arn: policy_arn(name),
            document: encoded(&format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"managed{number}:*","Resource":"*"}}}}"#
            )),
        });
        Ok(Page {
            items: policies.collect(),
            next: None,
        })
    }

    async fn get_account_summary(&self) -> Answer<HashMap<String, i32>> {
        let state = self.read("GetAccountSummary", Read::Summary).await?;
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let quotas = [
            ("Roles", number(state.roles.len())),
            ("RolesQuota", number(state.limits.roles)),
            ("AttachedPoliciesPerRoleQuota", number(state.limits.attached)),
            ("AssumeRolePolicySizeQuota", 2048),
            ("RolePolicySizeQuota", 10240),
        ];
        Ok(quotas
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    async fn get_role(&self, role: &str) -> Answer<NamedRole> {
        const OPERATION: &str = "GetRole";
        let state = self.read(OPERATION, Read::Role(role.to_owned())).await?;
        let role = state
            .role(role)
            .map_err(|error| failure(OPERATION, NoAnswer::Error(error)))?;
        Ok(NamedRole {
            role_id: role.id.clone(),
            tags: role.tags.clone(),
        })
    }

    async fn get_instance_profile(&self, profile: &str) -> Answer<InstanceProfile> {
        const OPERATION: &str = "GetInstanceProfile";
        let state = self.read(OPERATION, Read::Profile(profile.to_owned())).await?;
        let profile = state
            .profile(profile)
            .map_err(|error| failure(OPERATION, NoAnswer::Error(error)))?;
        let role = profile.role.as_ref().and_then(|key| state.roles.get(key));
        Ok(InstanceProfile {
            roles: role.map(|role| role.name.clone()).into_iter().collect(),
            tags: profile.tags.clone(),
        })
    }

    async fn create_role(&self, role: &DesiredRole) -> Answer<Option<Identity>> {
        let new = Role {
            name: role.name.clone(),
            path: role.path.clone(),
            arn: String::new(),
            id: String::new(),
            trust: role
                .trust
                .as_ref()
                .map(|document| document.as_str().to_owned())
                .unwrap_or_default(),
            description: role.description.clone(),
            max_session_duration: role.max_session_duration,
            managed: BTreeSet::new(),
            inline: BTreeMap::new(),
            boundary: role.permissions_boundary.clone(),
            tags: role.tags.clone(),
        };
        let after = self
            .call("CreateRole", Request::Write(Write::CreateRole(Box::new(new))))
            .await?;
        let made = after.and_then(|state| state.role(&role.name).ok().cloned());
        Ok(made.map(|made| Identity {
            arn: made.arn,
            role_id: made.id,
        }))
    }

    async fn delete_role(&self, role: &str) -> Answer<()> {
        self.write("DeleteRole", Write::DeleteRole(role.to_owned())).await
    }

    async fn update_role(&self, role: &str, description: &str, max_session_duration: i32) -> Answer<()> {
        let write = Write::UpdateRole(role.to_owned(), description.to_owned(), max_session_duration);
        self.write("UpdateRole", write).await
    }

    async fn update_assume_role_policy(&self, role: &str, document: &str) -> Answer<()> {
        let write = Write::UpdateTrust(role.to_owned(), document.to_owned());
        self.write("UpdateAssumeRolePolicy", write).await
    }

    async fn tag_role(&self, role: &str, tags: &BTreeMap<String, String>) -> Answer<()> {
        self.write("TagRole", Write::Tag(role.to_owned(), tags.clone()))
            .await
    }

    async fn untag_role(&self, role: &str, keys: &BTreeSet<String>) -> Answer<()> {
        self.write("UntagRole", Write::Untag(role.to_owned(), keys.clone()))
            .await
    }

    async fn put_role_permissions_boundary(&self, role: &str, boundary: &str) -> Answer<()> {
        let write = Write::PutBoundary(role.to_owned(), boundary.to_owned());
        self.write("PutRolePermissionsBoundary", write).await
    }

    async fn delete_role_permissions_boundary(&self, role: &str) -> Answer<()> {
        self.write(
            "DeleteRolePermissionsBoundary",
            Write::DeleteBoundary(role.to_owned()),
        )
        .await
    }

    async fn attach_role_policy(&self, role: &str, policy: &str) -> Answer<()> {
        self.write(
            "AttachRolePolicy",
            Write::Attach(role.to_owned(), policy.to_owned()),
        )
        .await
    }

    async fn detach_role_policy(&self, role: &str, policy: &str) -> Answer<()> {
        self.write(
            "DetachRolePolicy",
            Write::Detach(role.to_owned(), policy.to_owned()),
        )
        .await
    }

    async fn put_role_policy(&self, role: &str, name: &str, document: &str) -> Answer<()> {
        let write = Write::PutInline(role.to_owned(), name.to_owned(), document.to_owned());
        self.write("PutRolePolicy", write).await
    }

    async fn delete_role_policy(&self, role: &str, name: &str) -> Answer<()> {
        self.write(
            "DeleteRolePolicy",
            Write::DeleteInline(role.to_owned(), name.to_owned()),
        )
        .await
    }

    async fn create_instance_profile(
        &self,
        profile: &str,
        _: &str,
        tags: &BTreeMap<String, String>,
    ) -> Answer<()> {
        self.write(
            "CreateInstanceProfile",
            Write::CreateProfile(profile.to_owned(), tags.clone()),
        )
        .await
    }

    async fn delete_instance_profile(&self, profile: &str) -> Answer<()> {
        self.write("DeleteInstanceProfile", Write::DeleteProfile(profile.to_owned()))
            .await
    }

    async fn add_role_to_instance_profile(&self, profile: &str, role: &str) -> Answer<()> {
        let write = Write::AddToProfile(profile.to_owned(), role.to_owned());
        self.write("AddRoleToInstanceProfile", write).await
    }

    async fn remove_role_from_instance_profile(&self, profile: &str, role: &str) -> Answer<()> {
        let write = Write::RemoveFromProfile(profile.to_owned(), role.to_owned());
        self.write("RemoveRoleFromInstanceProfile", write).await
    }

    async fn tag_instance_profile(&self, profile: &str, tags: &BTreeMap<String, String>) -> Answer<()> {
        self.write(
            "TagInstanceProfile",
            Write::TagProfile(profile.to_owned(), tags.clone()),
        )
        .await
    }

    async fn untag_instance_profile(&self, profile: &str, key: &str) -> Answer<()> {
        let write = Write::UntagProfile(profile.to_owned(), key.to_owned());
        self.write("UntagInstanceProfile", write).await
    }
}
