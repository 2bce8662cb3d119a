//! The Kubernetes API of rolectl: the three kinds, their validation and their status, and nothing else.
//!
//! The schemas that an API server enforces are generated from these types into `crds/yaml/`
//! (`cargo crds`); a test fails when the two differ. Every rule that the schema can express
//! (lengths, patterns, CEL) stands here, so that a mistake is refused at `kubectl apply`.

// Each printer column has a `type_` of its own.
#![allow(clippy::duplicated_attributes)]

mod aws_account;
mod iam_role;
mod mfa_session;
mod partition;
mod policy_json;
mod reason;
mod schema;

pub use aws_account::{
    AllowedNamespaces, AssumeRole, AwsAccount, AwsAccountSpec, AwsAccountStatus, Guardrails, InlinePolicies,
    NamespacesFrom, Quotas, RoleCounts,
};
pub use iam_role::{
    AccountCounts, AccountGroup, AccountSelection, AccountStatus, Adoption, DeletionPolicy, Denies,
    DriftPolicy, Ensure, Exclusive, IamRole, IamRoleSpec, IamRoleStatus, InstanceProfile,
};
pub use mfa_session::{MfaSession, MfaSessionSpec, MfaSessionStatus, Phase};
pub use partition::{PARTITIONS, Partition, PartitionError};
pub use policy_json::PolicyJson;
pub use reason::{ConditionType, Reason};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// API group of all kinds.
pub const GROUP: &str = "iam.rolectl.dev";
/// Finalizer on every object of ours that has something to clean up.
pub const FINALIZER: &str = "iam.rolectl.dev/finalizer";
/// Tag on every role in AWS that is ours. Its value names the cluster, the namespace and the `IamRole`.
pub const OWNER_TAG: &str = "iam.rolectl.dev/owner";
/// Tag on a role in AWS that rolectl took over. Such a role is retained at the end unless its spec says otherwise.
pub const ADOPTED_TAG: &str = "iam.rolectl.dev/adopted";
/// What the keys of rolectl's own tags begin with.
pub const TAG_PREFIX: &str = "iam.rolectl.dev/";
/// Tag on a role in AWS that names the instance profiles that rolectl made for it.
pub const PROFILE_TAG: &str = "iam.rolectl.dev/instance-profile";
/// Annotation that asks for a fresh look at AWS, whatever its value.
pub const RECONCILE_ANNOTATION: &str = "iam.rolectl.dev/reconcile";
/// Annotation on an `AwsAccount` that names `IamRole`s whose deletion no longer waits for the account: a JSON list of objects with
/// `namespace`, `name` and `uid`. `rolectl forget` writes it.
pub const FORGET_ANNOTATION: &str = "iam.rolectl.dev/forget";
/// Type of the Secret that holds a session.
pub const SESSION_SECRET_TYPE: &str = "iam.rolectl.dev/mfa-session";

/// The three definitions, in the order of their use.
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [MfaSession::crd(), AwsAccount::crd(), IamRole::crd()].map(|crd| {
        let mut value = serde_json::to_value(&crd).unwrap_or_default();
        schema::without_unsigned_formats(&mut value);
        serde_json::from_value(value).unwrap_or(crd)
    })
}

/// One definition as the YAML that `crds/yaml/` holds.
///
/// # Errors
/// When the definition cannot be written as YAML, which is a defect of this crate.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    let body = serde_saphyr::to_string(crd)?;
    Ok(format!(
        "# Generated from crds/src by `cargo crds`. Do not edit.\n{body}"
    ))
}
