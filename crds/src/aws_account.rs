//! The kind `AwsAccount`: a target account, the role to assume in it, and the namespaces that may use it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::iam_role::{Adoption, DeletionPolicy, deletion_policies};
use crate::partition::{PARTITION_PATTERN, REGION_PATTERN};
use crate::policy_json::PolicyJson;
use crate::schema;

/// The spec of an `AwsAccount`: one AWS account in which rolectl manages roles.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "iam.rolectl.dev",
    version = "v1alpha1",
    kind = "AwsAccount",
    plural = "awsaccounts",
    shortname = "awsa",
    category = "rolectl",
    status = "AwsAccountStatus",
    derive = "PartialEq",
    doc = "An AWS account in which rolectl keeps IAM roles",
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.accountId"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Managed", type_ = "integer", json_path = ".status.roles.managed"),
    printcolumn(name = "Drifted", type_ = "integer", json_path = ".status.roles.drifted"),
    printcolumn(name = "Last Sweep", type_ = "date", json_path = ".status.lastSweepTime"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[x_kube(
    validation = Rule::new("self.accountId == oldSelf.accountId && self.partition == oldSelf.partition")
        .message("accountId and partition cannot change: roles in the old account would be forgotten. Make a new AwsAccount"),
    validation = Rule::new("!has(self.assumeRole) || !has(self.assumeRole.arn) || self.assumeRole.arn.startsWith('arn:' + self.partition + ':iam::' + self.accountId + ':role/')")
        .message("assumeRole.arn must be a role of this accountId and partition"),
    validation = Rule::new("!has(self.region) || (self.partition == 'aws' ? self.region.matches('^[a-z]{2}-[a-z]+-[0-9]{1,2}$') && !self.region.startsWith('cn-') : self.region.startsWith(self.partition == 'aws-cn' ? 'cn-' : self.partition == 'aws-us-gov' ? 'us-gov-' : self.partition == 'aws-eusc' ? 'eusc-de-' : self.partition == 'aws-iso' ? 'us-iso-' : self.partition == 'aws-iso-b' ? 'us-isob-' : self.partition == 'aws-iso-e' ? 'eu-isoe-' : 'us-isof-'))")
        .message("region must be a region of this partition")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AwsAccountSpec {
    /// The AWS account id, 12 digits. Immutable. The controller makes no write before AWS confirms the id.
    #[schemars(length(equal = 12), regex(pattern = r"^\d{12}$"))]
    pub account_id: String,
    /// The AWS partition: `aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`, `aws-iso`, `aws-iso-b`, `aws-iso-e` or `aws-iso-f`. Immutable.
    /// Default: `aws`.
    #[serde(default = "default_partition")]
    #[schemars(length(max = 32), regex(pattern = PARTITION_PATTERN))]
    pub partition: String,
    /// Region of the STS endpoint at which the account's role is assumed, such as `eu-central-1`. It must be a region of `partition`.
    /// Default: that of the `MfaSession`, then `AWS_REGION`, then the partition's default region. IAM has one endpoint for each
    /// partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = REGION_PATTERN))]
    pub region: Option<String>,
    /// Name of the `MfaSession` whose credentials the controller uses for this account. Default: `default`.
    #[serde(default = "default_session")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_NAME))]
    pub session_ref: String,
    /// The role to assume in the account. If absent, the controller uses the session's credentials without assuming a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRole>,
    /// Namespaces whose `IamRole`s may use this account. Default: none.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
    /// Limits on the roles in this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrails: Option<Guardrails>,
    /// Which changes to roles in this account wait until an operator approves them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
    /// Tag keys on roles that somebody else manages, such as those of an organization. Patterns as in `guardrails`. Such a
    /// tag is neither set nor removed. An `IamRole` that lists one is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub ignore_tags: Vec<String>,
    /// Tag keys that carry authority, because policies compare them (`aws:PrincipalTag`): a change of such a tag on a role counts as a
    /// change of its permissions. Patterns as in `guardrails`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub authority_tags: Vec<String>,
    /// Managed policies (ARNs) and inline policies (names) on roles that somebody else manages. Patterns as in `guardrails`.
    /// A pattern without `arn:` is compared with the names of both. Such a policy is never removed from a role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "policy_patterns")]
    pub ignore_policies: Vec<String>,
    /// The interval between two checks of all roles in the account for drift, such as `5m` or `1h30m`, from `10s` to `24h`. Default: 5
    /// minutes.
    #[serde(default = "default_drift_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')")
        .message("driftInterval is between 10s and 24h"))]
    #[schemars(schema_with = "duration")]
    pub drift_interval: Duration,
    /// The largest number of AWS calls per second in this account. Default: 10.
    #[serde(default = "default_requests_per_second")]
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: u32,
    /// The largest number of AWS calls in one burst after a pause. Default: 20.
    #[serde(default = "default_burst")]
    #[schemars(range(min = 1, max = 1000))]
    pub burst: u32,
    /// If true, the controller makes no call in this account. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// When a change of an `IamRole` reaches this account: it begins here once it is complete in those accounts of the role that have a lower
    /// number, except those that cannot be used now and up to `spec.rollout.maxFailures` that failed. What only takes access away does not
    /// wait. From 0 to 100. An `IamRole` cannot change this order: its `spec.rollout.waves` order accounts with
    /// the same number. Default: 0, the first wave.
    #[serde(default, skip_serializing_if = "is_first")]
    #[schemars(range(max = 100))]
    pub wave: u32,
}

// Serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_first(wave: &u32) -> bool {
    *wave == 0
}

fn default_partition() -> String {
    "aws".to_owned()
}
fn default_session() -> String {
    "default".to_owned()
}
fn default_drift_interval() -> Duration {
    Duration::from(std::time::Duration::from_mins(5))
}
const fn default_requests_per_second() -> u32 {
    10
}
const fn default_burst() -> u32 {
    20
}

/// Returns the schema of a duration such as `30s`, `5m` or `1h30m`, with a length limit that keeps the cost of CEL rules low.
pub(crate) fn duration(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "maxLength": 32, "pattern": r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$"})
}

fn policy_patterns(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schema::name_set(50, 2048, r"^\S+$")
}

fn inline_choices(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["Allow", "Forbid"]})
}

fn required_tags(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 49,
        "additionalProperties": {"type": "string", "maxLength": 256},
    })
}

fn adoptions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["Never", "IfUnowned", "Always"]})
}

impl AwsAccountSpec {
    /// Returns the ARN of the role to assume. Empty if the session's credentials are used without assuming a role.
    pub fn assumed_role_arn(&self) -> String {
        match self.assume_role.as_ref().map(|role| (&role.arn, &role.name)) {
            None => String::new(),
            Some((Some(arn), _)) => arn.clone(),
            Some((None, name)) => format!(
                "arn:{}:iam::{}:role/{}",
                self.partition,
                self.account_id,
                name.as_deref().unwrap_or_default()
            ),
        }
    }
}

/// The role that rolectl assumes in the account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.name) != has(self.arn)").message("give either name or arn of the role to assume")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssumeRole {
    /// Name of the role in the account, with its path if it has one, such as `ops/rolectl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 576), regex(pattern = r"^[\w+=,.@-]+(/[\w+=,.@-]+)*$"))]
    pub name: Option<String>,
    /// Full ARN of the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 2048))]
    pub arn: Option<String>,
    /// External id that the role's trust policy requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[\w+=,.@:/-]+$"))]
    pub external_id: Option<String>,
    /// Duration of one assumed session in seconds, from 900 (15 minutes). AWS limits role chaining to one hour. Default: 3600.
    #[serde(default = "default_assume_duration")]
    #[schemars(range(min = 900, max = 3600))]
    pub duration_seconds: i32,
    /// If true, the operator's user name is set as `SourceIdentity`, which `CloudTrail` records. The role's trust policy must allow
    /// `sts:SetSourceIdentity`. Default: false.
    #[serde(default)]
    pub source_identity: bool,
    /// If true, the changes of each `IamRole` use a session of their own with the name `rolectl-<namespace>-<name>`, so that
    /// `CloudTrail` names the object of every write. This needs one `AssumeRole` call for each role that changes. If false, all calls
    /// use one session with the name `rolectl-<controller's namespace>-<account>`. Default: false.
    #[serde(default)]
    pub session_per_role: bool,
}

const fn default_assume_duration() -> i32 {
    3600
}

/// The namespaces that may use an account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("(self.from == 'Names') == (has(self.names) && size(self.names) > 0)")
        .message("names goes with from: Names"),
    validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("selector goes with from: Selector")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedNamespaces {
    /// How the namespaces are selected: `None` allows no namespace, `All` every namespace, `Names` those in `names`, and `Selector` those
    /// whose labels `selector` matches. Default: `None`.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Names of namespaces, with `from: Names`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::object_names")]
    pub names: Vec<String>,
    /// Labels of namespaces, with `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How `allowedNamespaces` selects namespaces.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespacesFrom {
    /// No namespace.
    #[default]
    None,
    /// Every namespace.
    All,
    /// Namespaces with these labels.
    Selector,
    /// Namespaces of these names.
    Names,
}

/// Limits on roles in an account. Patterns are those of IAM: `*` is any number of characters, `?` is one character. Patterns for
/// policies and tag keys ignore case, as IAM does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Guardrails {
    /// Pattern that every role name must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub role_name_pattern: Option<String>,
    /// Pattern that every path must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub path_pattern: Option<String>,
    /// Permissions boundaries, names or ARNs. Every role must have one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::policy_refs")]
    pub require_permissions_boundary: Vec<String>,
    /// Managed policies that no role may have: patterns of ARNs, or of names (with or without path) of policies of any owner. A denied
    /// policy on a managed role is detached, even if somebody else attached it. Without `ceiling` or `requirePermissionsBoundary`, and
    /// with inline policies allowed, this does not restrict permissions, because an inline policy can grant the same. Use `ceiling` to
    /// restrict them. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 2048)), extend("x-kubernetes-list-type" = "set"))]
    pub denied_managed_policies: Vec<String>,
    /// The only managed policies that a role may have: patterns of ARNs, or of names (with or without path) of AWS managed
    /// policies. Customer managed policies are allowed by ARN only. Together with `ceiling`, a policy that is listed here counts as
    /// within the ceiling. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 2048)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_managed_policies: Vec<String>,
    /// `Forbid` refuses roles with inline policies. Default: `Allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "inline_choices")]
    pub inline_policies: Option<InlinePolicies>,
    /// The largest number of roles that rolectl may manage in the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub max_roles: Option<u32>,
    /// The largest number of roles that are removed within some time: by the deletion of `IamRole`s or of a namespace, by a change of
    /// `spec.accounts`, or by `ensure: Absent`. If more are to be removed, all of these wait with the reason `RemovalsParked` until an operator
    /// approves them with `rolectl approve`. Within the time, an account that had more than 5 managed roles loses at most half of them, also if
    /// `count` is higher. Roles that are released (`deletionPolicy: Retain`) do not count. Default: 20 in `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_removals: Option<MaxRemovals>,
    /// The widest value of `adoption` that is allowed in this account. With `Never`, no existing role is taken over; with `IfUnowned`,
    /// roles without an owner tag; with `Always`, roles of any owner. Default: `Never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "adoptions")]
    pub adoption: Option<Adoption>,
    /// The only `deletionPolicy` that roles may have in this account. With `Delete`, no role stays that `maxRoles` does not count. With
    /// `Retain`, no role is deleted. Default: either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "deletion_policies")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// The only principals that trust policies may name: account ids (the account with all its roles and users), patterns of ARNs
    /// of roles, users and identity providers, patterns of service names (`*.amazonaws.com`), and ids of organizations
    /// (`o-...`), which allow statements with a condition that `aws:PrincipalOrgID` equals that id. An identity provider must be
    /// listed itself, and `*` allows everybody. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 2048)), extend("x-kubernetes-list-type" = "set"))]
    pub trusted_principals: Vec<String>,
    /// A permissions policy that no role may exceed, with the keys that AWS uses. Each inline policy of a role, including those that
    /// stay on it although the spec does not list them, must be shown to allow nothing that the ceiling does not allow. What cannot
    /// be shown is refused. The documents of managed policies are not compared: a managed policy that does more than deny needs an
    /// entry in `allowedManagedPolicies`, which says that it is within the ceiling, or `requirePermissionsBoundary`. Variables such as
    /// `$(account.id)` are replaced. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::policy_document")]
    pub ceiling: Option<PolicyJson>,
    /// A trust policy that the trust policy of no role may exceed, with the keys that AWS uses. What cannot be shown to be within it is
    /// refused. Variables such as `$(account.id)` are replaced. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::policy_document")]
    pub trust_ceiling: Option<PolicyJson>,
    /// Tags that every role must have: the key, and a pattern for the value (`*` for any value).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "required_tags")]
    pub required_tags: BTreeMap<String, String>,
    /// Patterns of the only tag keys that `IamRole`s may set. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_tag_keys: Vec<String>,
}

/// A number of removals within some time.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaxRemovals {
    /// The largest number of roles that are removed within `window` without an approval. With 0 every removal needs one. Default: 20.
    #[serde(default = "default_removals")]
    #[schemars(range(min = 0, max = 10000))]
    pub count: u32,
    /// The time in which removals are counted, such as `10m`, from `1m` to `24h`. Default: `10m`.
    #[serde(default = "default_removal_window")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('24h')")
        .message("window is between 1m and 24h"))]
    #[schemars(schema_with = "duration")]
    pub window: Duration,
}

impl Default for MaxRemovals {
    fn default() -> Self {
        Self {
            count: default_removals(),
            window: default_removal_window(),
        }
    }
}

const fn default_removals() -> u32 {
    20
}

fn default_removal_window() -> Duration {
    Duration::from(std::time::Duration::from_mins(10))
}

/// Which changes wait until an operator approves them with `rolectl approve`, which takes an MFA code.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approvals {
    /// With `None` no change waits. With `Widening`, changes wait after which a role may allow more than before, and the creation of a
    /// role; what only narrows is made at once, also as a part of the same change. With `All` every change waits. A role is removed at once in each
    /// case when its object is deleted, and managed policies that the guardrails deny are detached at once. Default: `None`.
    #[serde(default, rename = "for")]
    #[schemars(schema_with = "approvals_for")]
    pub needed_for: ApprovalsFor,
}

/// The changes that need an approval.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApprovalsFor {
    /// No change.
    #[default]
    None,
    /// Changes after which a role may allow more than before.
    Widening,
    /// Every change.
    All,
}

fn approvals_for(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["None", "Widening", "All"]})
}

impl AwsAccountSpec {
    /// Returns the changes that need an approval.
    pub fn approvals_for(&self) -> ApprovalsFor {
        self.approvals
            .map(|approvals| approvals.needed_for)
            .unwrap_or_default()
    }
}

/// The choice whether roles may have inline policies.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InlinePolicies {
    /// Roles may have inline policies.
    #[default]
    Allow,
    /// Roles with inline policies are refused.
    Forbid,
}

/// The observed state of the account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AwsAccountStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The conditions `Ready`, `Reconciling` and `Stalled` (kstatus). The last two are present only while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Name of the cluster, with which the owner tags of managed roles begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// When the last sweep ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sweep_time: Option<Time>,
    /// Duration of the last sweep in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sweep_duration_ms: Option<u64>,
    /// Roles in the account at the last sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<RoleCounts>,
    /// Owners (`cluster/namespace/name`) of roles that have no `IamRole`, for example after somebody removed a finalizer manually. At
    /// most 20. `roles.orphaned` counts all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<String>,
    /// Quotas that AWS reports for this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<Quotas>,
}

/// Numbers of roles in an account. They are updated after each sweep and after each change that rolectl makes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RoleCounts {
    /// Roles with an owner tag of this cluster.
    pub managed: u32,
    /// All other roles, including service-linked ones. rolectl does not change them.
    pub unmanaged: u32,
    /// Managed roles that differ from their spec: those with `drift: Report`, and those whose drift is about to be corrected.
    pub drifted: u32,
    /// Managed roles that have no `IamRole`. rolectl does not change them.
    #[serde(default)]
    pub orphaned: u32,
    /// Managed roles that break a guardrail, or whose namespace is no longer allowed. rolectl does not change them.
    /// To revoke the access that a role grants, delete the role.
    #[serde(default)]
    pub violating: u32,
}

/// Quotas of an account, from `GetAccountSummary`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// Roles in the account (`RolesQuota`).
    pub roles: u32,
    /// Managed policies on one role (`AttachedPoliciesPerRoleQuota`).
    pub attached_policies_per_role: u32,
    /// Characters in a trust policy, white space not counted (`AssumeRolePolicySizeQuota`).
    pub assume_role_policy_size: u32,
    /// Characters in all inline policies of a role (`RolePolicySizeQuota`).
    pub role_policy_size: u32,
}
