//! The kind `IamRole`: one IAM role, in every account that it selects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema, core::Duration};
use litemap::LiteMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PolicyJson, Reason, schema};

/// The desired state of a role in each account of `accounts`.
///
/// The variables `$(account.id)`, `$(account.name)`, `$(account.labels.KEY)`, `$(session.accountId)` and
/// `$(aws.partition)` are replaced for each account, in every string of documents, ARNs, tags and the
/// description. An unknown variable is an error. `${...}` is a variable of IAM and is not replaced.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "iam.rolectl.dev",
    version = "v1alpha1",
    kind = "IamRole",
    plural = "iamroles",
    shortname = "iamr",
    category = "rolectl",
    namespaced,
    status = "IamRoleStatus",
    derive = "PartialEq",
    doc = "An AWS IAM role that rolectl keeps as declared in one or many accounts",
    validation = Rule::new("has(self.spec.roleName) || size(self.metadata.name) <= 64")
        .message("an IAM role's name has at most 64 characters: set spec.roleName"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Accounts", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = r#".status.conditions[?(@.type=="Ready")].message"#)
)]
#[x_kube(
    validation = Rule::new("(has(self.roleName) ? self.roleName : '') == (has(oldSelf.roleName) ? oldSelf.roleName : '')")
        .message("roleName cannot change: IAM cannot rename a role. Make a new IamRole and delete this one"),
    validation = Rule::new("self.path == oldSelf.path")
        .message("path cannot change: IAM cannot move a role. Make a new IamRole with another roleName and delete this one"),
    validation = Rule::new("self.ensure == 'Absent' || has(self.assumeRolePolicy)")
        .message("assumeRolePolicy is required unless ensure is Absent")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IamRoleSpec {
    /// Name of the role in AWS. Default: the name of the object. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = schema::IAM_NAME))]
    pub role_name: Option<String>,
    /// IAM path of the role. Immutable. Default: `/`.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 512), regex(pattern = schema::IAM_PATH))]
    pub path: String,
    /// The accounts in which the role exists.
    pub accounts: AccountSelection,
    /// `Present` creates the role and keeps it as declared. `Absent` deletes the role in every account in which it carries the owner tag
    /// of this object. Default: `Present`.
    #[serde(default)]
    pub ensure: Ensure,
    /// Description of the role, up to 1000 characters. Default: empty.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub description: String,
    /// The longest duration of a session of the role, in seconds, from 3600 (1 hour) to 43200 (12 hours). Default: 3600.
    #[serde(default = "default_max_session_duration")]
    #[schemars(range(min = 3600, max = 43200))]
    pub max_session_duration: i32,
    /// The trust policy, which determines who may assume the role. A policy document with the keys that AWS uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::policy_document")]
    pub assume_role_policy: Option<PolicyJson>,
    /// Managed policies: an AWS managed policy by name, by path/name or by ARN, a customer managed policy by ARN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::policy_refs")]
    pub managed_policies: Vec<String>,
    /// Inline policies by name.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    #[schemars(schema_with = "schema::policy_documents")]
    pub inline_policies: LiteMap<String, PolicyJson>,
    /// The managed policy that limits the permissions of the role, by name or ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = schema::POLICY_REF))]
    pub permissions_boundary: Option<String>,
    /// Tags on the role, in addition to the owner tag that rolectl sets.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    #[schemars(schema_with = "schema::tags")]
    pub tags: LiteMap<String, String>,
    /// The instance profile that contains the role, for EC2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<InstanceProfile>,
    /// Which lists are exclusive: rolectl removes what an exclusive list does not contain. Default: all, but for the boundary, and without
    /// policies that only deny.
    #[serde(default)]
    pub exclusive: Exclusive,
    /// What to do if a role of this name already exists and does not carry the owner tag of this object. `Never` does not change the
    /// role. `IfUnowned` takes the role over if it carries no owner tag. `Always` takes the role over, even from another owner.
    /// Default: `Never`.
    #[serde(default)]
    pub adoption: Adoption,
    /// What happens to the role in AWS when this object is deleted, or when `accounts` no longer selects an account. Default: `Delete`
    /// for a role that rolectl created, `Retain` for one that it took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "deletion_policies")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// `Correct` corrects drift, `Report` only shows it. `Report` never writes, not even when this object is deleted. Default: `Correct`.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// If true, rolectl reads and writes nothing for this role. A deletion waits, too. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// How a change of this spec reaches the accounts: in waves, and how many accounts at once. It concerns the change of a spec only:
    /// drift is corrected at once. Default: absent, and accounts are changed in the order of `spec.wave` of the `AwsAccount`s, those of the
    /// same wave at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<Rollout>>,
}

/// How a change of a spec reaches the accounts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("!has(self.soak) || duration(self.soak) <= duration('168h')").message("soak is at most 168h")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// The largest number of accounts that are being changed at the same time. An account in which the change failed is tried again within
    /// this number. Default: all accounts of the wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "concurrencies")]
    pub max_concurrent: Option<u32>,
    /// The number of accounts that may fail. One more stops the rollout: accounts whose change has not begun keep the earlier state until
    /// the cause is corrected, the spec changes, or `rolectl rollout resume` continues the rollout. Failures that do not come from the
    /// change do not count, such as a locked session, a throttled account, or an account that denies all access. Default: 0, which means
    /// that the first failure stops the rollout.
    #[serde(default)]
    #[schemars(range(max = 10000))]
    pub max_failures: u32,
    /// The time between the end of a wave and the beginning of the next, such as `30m`, up to `168h`. A restart of the controller begins
    /// this time again. Default: absent, and the next wave begins at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::aws_account::duration")]
    pub soak: Option<Duration>,
    /// The order of the accounts that have the same `spec.wave`: the accounts of each wave, by name, by label, or both. An account belongs
    /// to the first wave that selects it. Accounts that no wave selects are changed last. `spec.wave` of the `AwsAccount`s comes first: no
    /// account is changed before another one with a lower `spec.wave`. Default: accounts with the same `spec.wave` are changed at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub waves: Vec<AccountSelection>,
    /// If true, the part of a change that only takes access away is made in all accounts at once, also in those that wait. Default: true.
    #[serde(default = "yes")]
    pub narrow_at_once: bool,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_concurrent: None,
            max_failures: 0,
            soak: None,
            waves: vec![],
            narrow_at_once: true,
        }
    }
}

/// Returns the schema of an optional `maxConcurrent` without the `null` that the derive would allow.
fn concurrencies(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 10000})
}

fn default_path() -> String {
    "/".to_owned()
}

const fn default_max_session_duration() -> i32 {
    3600
}

/// The selection of accounts by name, by label, or both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("(has(self.names) && size(self.names) > 0) || has(self.selector)")
        .message("name at least one account in names, or give a selector")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountSelection {
    /// Names of `AwsAccount` objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::object_names")]
    pub names: Vec<String>,
    /// Labels of `AwsAccount` objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// The choice whether the role exists.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ensure {
    /// The role exists as declared.
    #[default]
    Present,
    /// The role does not exist.
    Absent,
}

/// The instance profile of the role.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceProfile {
    /// Name of the profile. Default: the role's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = schema::IAM_NAME))]
    pub name: Option<String>,
}

/// Which lists of the spec are exclusive. rolectl removes what an exclusive list (true) does not contain, and only adds what another
/// list (false) contains.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exclusive {
    /// If true, managed policies that are not listed are detached. Default: true.
    #[serde(default = "yes")]
    pub managed_policies: bool,
    /// If true, inline policies that are not listed are deleted. Default: true.
    #[serde(default = "yes")]
    pub inline_policies: bool,
    /// If true, tags that are not listed are removed. Reserved `aws:` tags and the account's `ignoreTags` stay. Default: true.
    #[serde(default = "yes")]
    pub tags: bool,
    /// What to do with policies that are not listed and only deny: inline policies with only Deny statements, and the AWS managed
    /// policies `AWSDenyAll` and `AWSCompromisedKeyQuarantine*`. `Keep` leaves them on the role, because incident response adds them.
    /// `Remove` treats them as other policies. Default: `Keep`.
    #[serde(default)]
    pub denies: Denies,
    /// If true, a permissions boundary is removed if `permissionsBoundary` is absent. Default: false, because a boundary restricts the role.
    #[serde(default)]
    pub boundary: bool,
}

/// What to do with policies that only deny and are not listed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denies {
    /// They stay on the role, and the status names them.
    #[default]
    Keep,
    /// They are removed like every other policy that is not listed.
    Remove,
}

/// Returns the schema of an optional `deletionPolicy` without the `null` that the derive would allow.
pub(crate) fn deletion_policies(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["Delete", "Retain"]})
}

const fn yes() -> bool {
    true
}

impl Default for Exclusive {
    fn default() -> Self {
        Self {
            managed_policies: true,
            inline_policies: true,
            tags: true,
            denies: Denies::Keep,
            boundary: false,
        }
    }
}

/// What to do with a role that already exists.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Adoption {
    /// rolectl does not change the role.
    #[default]
    Never,
    /// rolectl takes the role over if it carries no owner tag.
    IfUnowned,
    /// rolectl takes the role over, even from another owner.
    Always,
}

/// What happens to the role in AWS when its object is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// The role is deleted.
    #[default]
    Delete,
    /// The role stays, without the owner tag.
    Retain,
}

/// The response to drift.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// rolectl corrects drift.
    #[default]
    Correct,
    /// rolectl never writes and shows the difference in the status.
    Report,
}

/// The observed state of the role.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IamRoleStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The conditions `Ready`, `Reconciling` and `Stalled` (kstatus). The last two are present only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Number of accounts in sync and of all accounts, such as `2/2`. If `accounts` does not show all of them:
    /// `975/980 in sync, 60 shown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Numbers of accounts by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<AccountCounts>,
    /// The state of the role in each account, by account name. At most 32 KiB. Accounts that are not in sync have entries first.
    // Atomic, although it could be a map: the field ownership of a thousand entries would be most of the cost of a write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub accounts: Vec<AccountStatus>,
    /// The accounts that `accounts` does not show, counted by state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub more_accounts: Vec<AccountGroup>,
    /// What each shard of the controller reports of the role in its accounts. `conditions`, `summary`, `counts` and `accounts` are
    /// computed from it. Absent if one shard has all accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub shards: Vec<ShardStatus>,
}

/// The state of the role in the accounts of one shard.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ShardStatus {
    /// Name of the shard.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The generation of the object that this part describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// True if the object is being deleted and nothing of its role is left in the accounts of this shard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// The state of the role in each account of the shard, by account name. Accounts that are not in sync have entries first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub accounts: Vec<AccountStatus>,
    /// The accounts that `accounts` does not show, counted by state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub more_accounts: Vec<AccountGroup>,
    /// How far the rollout is in the accounts of the shard, for the other shards. Absent if the change is not made in waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<ShardRollout>,
}

/// How far a rollout is in the accounts of one shard.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShardRollout {
    /// The generation of the spec that is rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// The waves that have accounts in this shard whose change is not complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub waves: Vec<ShardWave>,
    /// Accounts in which the change has begun and failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// The first failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// True if the session of an account is locked. Such accounts are in no wave until it is open again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
}

/// Numbers of accounts of one wave in one shard. Waves are ordered by `wave`, and then by `roleWave`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShardWave {
    /// `spec.wave` of the accounts.
    pub wave: u32,
    /// Position of the wave in `spec.rollout.waves`, from 1. Absent if the role has no waves of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub role_wave: u32,
    /// Accounts whose change has not begun.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting: u32,
    /// Accounts that are being changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub working: u32,
    /// Accounts that refuse the change, and in which it has not begun.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// Accounts in which the change failed and is being tried again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retrying: u32,
}

/// Numbers of accounts of a role.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccountCounts {
    /// Accounts that `spec.accounts` selects or that still have the role.
    pub total: u32,
    /// Accounts in which the role matches the spec.
    pub in_sync: u32,
    /// Accounts that the selector matches and that do not allow the role's namespace. They have no entry in `accounts`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_allowed: u32,
}

// Serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Accounts in which a role has the same state.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccountGroup {
    /// State of the role in these accounts.
    pub state: Reason,
    /// The generation of the spec that the state describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last generation of the spec that was applied in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_generation: Option<i64>,
    /// Number of these accounts.
    pub count: u32,
}

/// The state of the role in one account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// Name of the `AwsAccount`.
    pub name: String,
    /// AWS account id of the `AwsAccount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The state of the role in this account.
    pub state: Reason,
    /// ARN of the role, while it exists and carries the owner tag of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Unique id of the role (AROA...). It is informational: the owner tag in AWS determines the owner of a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_id: Option<String>,
    /// Instance profiles of the role in this account. They are informational: the tag `iam.rolectl.dev/instance-profile` on the role in
    /// AWS records the profiles that rolectl created for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instance_profiles: Vec<String>,
    /// What happened and what to do next, if the state alone does not explain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The first changes that are pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Digest of the changes that wait for an approval, for `rolectl approve --digest`, which computes it itself and stops if it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// The generation of the spec that this entry describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last generation of the spec that was applied in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_generation: Option<i64>,
}

impl AccountStatus {
    /// Returns an entry with a state and no details.
    pub const fn new(name: String, state: Reason) -> Self {
        Self {
            name,
            account_id: None,
            state,
            arn: None,
            role_id: None,
            instance_profiles: vec![],
            message: None,
            changes: vec![],
            approval: None,
            observed_generation: None,
            last_applied_generation: None,
        }
    }
}
