//! The Kubernetes API of rolectl: three kinds, their validation and their status.
//!
//! The schemas that an API server enforces are generated from these types into `crds/yaml/`
//! (`cargo crds`); a test fails when the two differ. The schemas have every rule that they can express
//! (lengths, patterns, CEL), so that the API server refuses a mistake at `kubectl apply`.

// Each printer column has its own `type_`.
#![allow(clippy::duplicated_attributes)]

mod aws_account;
mod iam_role;
mod mfa_session;
mod partition;
mod policy_json;
mod reason;
mod schema;

pub use aws_account::{
    AllowedNamespaces, Approvals, ApprovalsFor, AssumeRole, AwsAccount, AwsAccountSpec, AwsAccountStatus,
    Guardrails, InlinePolicies, MaxRemovals, NamespacesFrom, Quotas, RoleCounts,
};
pub use iam_role::{
    AccountCounts, AccountGroup, AccountSelection, AccountStatus, Adoption, DeletionPolicy, Denies,
    DriftPolicy, Ensure, Exclusive, IamRole, IamRoleSpec, IamRoleStatus, InstanceProfile, Rollout,
    ShardRollout, ShardStatus, ShardWave,
};
pub use mfa_session::{MfaSession, MfaSessionSpec, MfaSessionStatus, Phase};
pub use partition::{PARTITIONS, Partition, PartitionError};
pub use policy_json::PolicyJson;
pub use reason::{ConditionType, Reason};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// The API group of all kinds.
pub const GROUP: &str = "iam.rolectl.dev";
/// The finalizer on objects that need a cleanup before they are deleted.
pub const FINALIZER: &str = "iam.rolectl.dev/finalizer";
/// The tag on every managed role in AWS. Its value is `cluster/namespace/name` of the `IamRole`.
pub const OWNER_TAG: &str = "iam.rolectl.dev/owner";
/// The tag on a role in AWS that rolectl took over. Such a role is retained unless its spec has `deletionPolicy: Delete`.
pub const ADOPTED_TAG: &str = "iam.rolectl.dev/adopted";
/// The prefix of the keys of rolectl's own tags.
pub const TAG_PREFIX: &str = "iam.rolectl.dev/";
/// The tag on a role in AWS that records the instance profiles that rolectl created for it.
pub const PROFILE_TAG: &str = "iam.rolectl.dev/instance-profile";
/// The annotation that requests a reconciliation with a new sweep. Each change of its value is a new request.
pub const RECONCILE_ANNOTATION: &str = "iam.rolectl.dev/reconcile";
/// The annotation on an `IamRole` that continues or ends the rollout of one generation: `resume-GENERATION`, which excuses all failures,
/// `resume-GENERATION-FAILURES`, which excuses that many, or `abort-GENERATION`. `rolectl rollout` writes it.
pub const ROLLOUT_ANNOTATION: &str = "iam.rolectl.dev/rollout";
/// The annotation on an `AwsAccount` that names `IamRole`s whose deletion no longer waits for the account: a JSON list of objects with
/// `namespace`, `name` and `uid`. `rolectl forget` writes it.
pub const FORGET_ANNOTATION: &str = "iam.rolectl.dev/forget";
/// The type of the Secret that stores a session.
pub const SESSION_SECRET_TYPE: &str = "iam.rolectl.dev/mfa-session";

/// Returns the three definitions, in the order in which users need them.
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [MfaSession::crd(), AwsAccount::crd(), IamRole::crd()].map(|crd| {
        let mut value = serde_json::to_value(&crd).unwrap_or_default();
        schema::without_unsigned_formats(&mut value);
        serde_json::from_value(value).unwrap_or(crd)
    })
}

/// Returns one definition as the YAML in `crds/yaml/`.
///
/// # Errors
/// When the definition cannot be written as YAML, which is a defect of this crate.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    let body = serde_saphyr::to_string(crd)?;
    Ok(format!(
        "# Generated from crds/src by `cargo crds`. Do not edit.\n{body}"
    ))
}
