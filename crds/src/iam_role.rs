//! `IamRole`: one IAM role, the same in every account that it names.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use litemap::LiteMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PolicyJson, Reason, schema};

/// What a role is to be, in each account of `accounts`.
///
/// The variables `$(account.id)`, `$(account.name)`, `$(account.labels.KEY)`, `$(session.accountId)` and
/// `$(aws.partition)` are filled in for each account, in every string of documents, ARNs, tags and the
/// description. An unknown one is an error. `${...}` is left to IAM.
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
    /// Name of the role in AWS. Default: the object's own name. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = schema::IAM_NAME))]
    pub role_name: Option<String>,
    /// IAM path of the role. Immutable.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 512), regex(pattern = schema::IAM_PATH))]
    pub path: String,
    /// The accounts that have the role.
    pub accounts: AccountSelection,
    /// `Absent` removes the role wherever it is ours.
    #[serde(default)]
    pub ensure: Ensure,
    /// Description of the role, up to 1000 characters.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub description: String,
    /// Longest session that the role gives, in seconds.
    #[serde(default = "default_max_session_duration")]
    #[schemars(range(min = 3600, max = 43200))]
    pub max_session_duration: i32,
    /// Trust policy: who may assume the role. A policy document, keys as AWS writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::policy_document")]
    pub assume_role_policy: Option<PolicyJson>,
    /// Managed policies: AWS-managed ones by name or path/name, any by ARN.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::policy_refs")]
    pub managed_policies: Vec<String>,
    /// Inline policies by name.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    #[schemars(schema_with = "schema::policy_documents")]
    pub inline_policies: LiteMap<String, PolicyJson>,
    /// Managed policy that bounds what the role can ever do, by name or ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = schema::POLICY_REF))]
    pub permissions_boundary: Option<String>,
    /// Tags on the role, beside the owner tag that rolectl keeps.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    #[schemars(schema_with = "schema::tags")]
    pub tags: LiteMap<String, String>,
    /// Instance profile that holds the role, for EC2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<InstanceProfile>,
    /// Whether what is not listed here is removed in AWS.
    #[serde(default)]
    pub exclusive: Exclusive,
    /// What to do with a role of this name that exists already and is not ours.
    #[serde(default)]
    pub adoption: Adoption,
    /// What happens to the role in AWS when this object is deleted, or when an account leaves `accounts`. Default: `Delete` for a
    /// role that rolectl made, `Retain` for one that it took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "deletion_policies")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Whether a difference is mended or only shown. `Report` never writes, not even when this object is deleted.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// While true nothing is read or written for this role. A deletion waits, too.
    #[serde(default)]
    pub suspend: bool,
}

fn default_path() -> String {
    "/".to_owned()
}

const fn default_max_session_duration() -> i32 {
    3600
}

/// Accounts by name, by label, or both.
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

/// Whether the role is to exist.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ensure {
    /// The role exists as declared.
    #[default]
    Present,
    /// The role does not exist.
    Absent,
}

/// Instance profile of the role.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceProfile {
    /// Name of the profile. Default: the role's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = schema::IAM_NAME))]
    pub name: Option<String>,
}

/// Whether a list is the whole truth (true) or only what must be there (false).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exclusive {
    /// Detach managed policies that are not listed.
    #[serde(default = "yes")]
    pub managed_policies: bool,
    /// Delete inline policies that are not listed.
    #[serde(default = "yes")]
    pub inline_policies: bool,
    /// Remove tags that are not listed. Reserved `aws:` tags and the account's `ignoreTags` stay.
    #[serde(default = "yes")]
    pub tags: bool,
    /// What to do with policies that are not listed and only deny: inline policies that hold nothing but Deny statements, and
    /// AWS's `AWSDenyAll` and `AWSCompromisedKeyQuarantine*`. Incident response puts them on a role, so they stay by default.
    #[serde(default)]
    pub denies: Denies,
    /// Remove a permissions boundary where `permissionsBoundary` is absent. By default it stays, because it restricts the role.
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

/// A choice that may be absent, without the `null` that the derive would allow.
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

/// What to do with a role that exists already.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Adoption {
    /// Leave it alone.
    #[default]
    Never,
    /// Take it when it carries no owner tag.
    IfUnowned,
    /// Take it, even from another owner.
    Always,
}

/// What happens to the role in AWS at the end.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Delete it.
    #[default]
    Delete,
    /// Leave it, without our owner tag.
    Retain,
}

/// What to do about drift.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// Mend it.
    #[default]
    Correct,
    /// Never write; show the difference in the status.
    Report,
}

/// What is known of the role.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IamRoleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, and while they hold `Reconciling` or `Stalled` (kstatus).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Accounts in sync out of all, as `2/2`. Where `accounts` has no room for all of them: `975/980 in sync, 60 shown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// How many accounts there are, and in which state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<AccountCounts>,
    /// The role in each account, by the account's name. At most 32 KiB: those that are not in sync first.
    // Whole, though it could be a map: who owns which field of a thousand entries is most of what a write would cost the API
    // server, and replicas look after their entries by the resource version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub accounts: Vec<AccountStatus>,
    /// The accounts for which `accounts` has no room, grouped by state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub more_accounts: Vec<AccountGroup>,
}

impl IamRoleStatus {
    /// Adds an entry to `accounts` for each account of `more_accounts`, so that a reader finds all accounts in one list.
    /// [`Self::collapse`] takes them out again.
    pub fn expand(&mut self) {
        let groups = self.more_accounts.iter();
        let entries = groups.flat_map(|group| group.names.iter().map(|name| group.entry(name)));
        self.accounts.extend(entries);
        self.accounts.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// The status as it was before [`Self::expand`].
    #[must_use]
    pub fn collapse(&self) -> Self {
        let hidden: HashSet<&str> = self
            .more_accounts
            .iter()
            .flat_map(|group| &group.names)
            .map(String::as_str)
            .collect();
        let shown = |entry: &&AccountStatus| !hidden.contains(entry.name.as_str());
        Self {
            observed_generation: self.observed_generation,
            conditions: self.conditions.clone(),
            summary: self.summary.clone(),
            counts: self.counts,
            accounts: self.accounts.iter().filter(shown).cloned().collect(),
            more_accounts: self.more_accounts.clone(),
        }
    }
}

/// Accounts of a role, counted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccountCounts {
    /// Accounts that `spec.accounts` selects, and those that still have the role.
    pub total: u32,
    /// Accounts in which the role is as the spec declares it.
    pub in_sync: u32,
    /// Accounts that the selector matches and that do not allow the role's namespace. They have no entry.
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
    /// The generation of the spec that the state is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last generation of the spec that was applied in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_generation: Option<i64>,
    /// Names of the `AwsAccount` objects.
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub names: Vec<String>,
}

impl AccountGroup {
    fn entry(&self, name: &str) -> AccountStatus {
        AccountStatus {
            observed_generation: self.observed_generation,
            last_applied_generation: self.last_applied_generation,
            ..AccountStatus::new(name.to_owned(), self.state)
        }
    }
}

/// The role in one account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// Name of the `AwsAccount`.
    pub name: String,
    /// Its AWS account id, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// How the role stands in this account.
    pub state: Reason,
    /// ARN of the role, while it exists and is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Unique id of the role (AROA...). A report: who owns a role is decided by its owner tag in AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_id: Option<String>,
    /// Instance profiles of the role here. A report: the tag `iam.rolectl.dev/instance-profile` on the role in AWS names
    /// the profiles that were made for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instance_profiles: Vec<String>,
    /// What happened and what to do next, where the state alone does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The first few changes that are wanted but not made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// The generation of the spec that this entry speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last generation of the spec that was applied in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_generation: Option<i64>,
}

impl AccountStatus {
    /// An entry of which nothing else is known.
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
            observed_generation: None,
            last_applied_generation: None,
        }
    }
}
