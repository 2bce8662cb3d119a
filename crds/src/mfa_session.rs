//! The kind `MfaSession`: the session whose credentials the controller uses, and who may unlock it.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::partition::{Partition, PartitionError, REGION_PATTERN};
use crate::reason::{intern, name_schema};
use crate::{aws_account::duration, schema};

/// The spec of an `MfaSession`: a session that an operator unlocks with an MFA code, for all accounts that refer to it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "iam.rolectl.dev",
    version = "v1alpha1",
    kind = "MfaSession",
    plural = "mfasessions",
    shortname = "mfas",
    category = "rolectl",
    status = "MfaSessionStatus",
    derive = "PartialEq",
    doc = "An AWS session that `rolectl unlock` opens with an MFA code",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "By", type_ = "string", json_path = ".status.unlockedBy"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[x_kube(
    validation = Rule::new("!has(self.userArn) || self.userArn.contains('::' + self.accountId + ':user/')")
        .message("userArn must be a user of accountId"),
    validation = Rule::new("!(has(self.userArn) && has(self.roleArn))")
        .message("userArn cannot be checked in the session of a role: name one of userArn and roleArn")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MfaSessionSpec {
    /// The main account, in which the operator has a user with MFA. 12 digits.
    #[schemars(length(equal = 12), regex(pattern = r"^\d{12}$"))]
    pub account_id: String,
    /// ARN of the only user who may unlock the session. Default: any user of `accountId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 2048))]
    pub user_arn: Option<String>,
    /// ARN of a role that the user assumes with MFA. The session is then one of this role, for AwsAccounts without `assumeRole`. It lasts
    /// 1 hour, or longer with `rolectl unlock --duration` if the role allows it. Default: the session is one of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 20, max = 2048),
        regex(pattern = r"^arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+$")
    )]
    pub role_arn: Option<String>,
    /// Region of the STS endpoint that creates the session, such as `eu-central-1` or `cn-north-1`. It also determines the AWS
    /// partition of `accountId`. Default: `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's region if it is in the partition of
    /// the user's key, then the partition's default region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = REGION_PATTERN))]
    pub region: Option<String>,
    /// Serial number or ARN of the MFA device, for `rolectl unlock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 256), regex(pattern = r"^[\w+=/:,.@-]+$"))]
    pub mfa_serial: Option<String>,
    /// Duration of the session in seconds, from 900 (15 minutes) to 129600 (36 hours). Default: 43200 (12 hours).
    #[serde(default = "default_duration_seconds")]
    #[schemars(range(min = 900, max = 129_600))]
    pub duration_seconds: i32,
    /// How long before its end the session has the phase `Expiring`, such as `30m` or `1h`, at most `36h`. Default: 30 minutes.
    #[serde(default = "default_expiry_warning")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('36h')").message("expiryWarning is at most 36h"))]
    #[schemars(schema_with = "duration")]
    pub expiry_warning: Duration,
    /// Name of the Secret with the session, in the controller's namespace. Default: `rolectl-session-` and the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_NAME))]
    pub secret_name: Option<String>,
}

const fn default_duration_seconds() -> i32 {
    43_200
}
fn default_expiry_warning() -> Duration {
    Duration::from(std::time::Duration::from_mins(30))
}

impl MfaSessionSpec {
    /// Returns the spec of a session that any user of the account may unlock.
    pub fn of_account(account_id: &str) -> Self {
        Self {
            account_id: account_id.to_owned(),
            user_arn: None,
            role_arn: None,
            region: None,
            mfa_serial: None,
            duration_seconds: default_duration_seconds(),
            expiry_warning: default_expiry_warning(),
            secret_name: None,
        }
    }
}

impl MfaSessionSpec {
    /// Returns the partition of the spec's region, `userArn` or `roleArn`. `None` if the spec has none of them.
    ///
    /// # Errors
    /// When a partition is unknown, or the fields name different partitions.
    pub fn partition(&self) -> Result<Option<&'static Partition>, PartitionError> {
        let arns = [self.user_arn.as_deref(), self.role_arn.as_deref()];
        let of_arn = arns
            .into_iter()
            .flatten()
            .next()
            .and_then(|arn| arn.split(':').nth(1));
        let of_arn = of_arn.map(Partition::named).transpose()?;
        match (of_arn, &self.region) {
            (Some(partition), Some(region)) => partition.check(region).map(|()| Some(partition)),
            (None, Some(region)) => Partition::of_region(region).map(Some),
            (of_arn, None) => Ok(of_arn),
        }
    }
}

impl MfaSession {
    /// Returns the name of the Secret that stores the session.
    pub fn secret_name(&self) -> String {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        self.spec
            .secret_name
            .clone()
            .unwrap_or_else(|| format!("rolectl-session-{name}"))
    }
}

/// The phase of a session.
///
/// The set is open: a status that a newer version wrote is read, and written back as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// There is no usable session. `rolectl unlock` creates one.
    #[default]
    Locked,
    /// The session is usable.
    Unlocked,
    /// The session is usable and ends within `expiryWarning`.
    Expiring,
    /// The session has ended. `rolectl unlock` creates a new one.
    Expired,
    /// A phase that this version does not define.
    Other(&'static str),
}

impl Phase {
    /// Every phase that this version defines.
    pub const ALL: &'static [Self] = &[Self::Locked, Self::Unlocked, Self::Expiring, Self::Expired];

    /// Returns the phase as a status has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Locked => "Locked",
            Self::Unlocked => "Unlocked",
            Self::Expiring => "Expiring",
            Self::Expired => "Expired",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Phase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Phase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let defined = Self::ALL.iter().find(|phase| phase.as_str() == name);
        Ok(defined.copied().unwrap_or_else(|| Self::Other(intern(&name))))
    }
}

impl JsonSchema for Phase {
    fn schema_name() -> Cow<'static, str> {
        "Phase".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        name_schema()
    }
}

/// The observed state of the session, without secrets.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MfaSessionStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The phase of the session: `Locked`, `Unlocked`, `Expiring` or `Expired`. A newer version may write another phase.
    #[serde(default)]
    pub phase: Phase,
    /// When the session ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// ARN of the user of the session, as AWS returns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlocked_by: Option<String>,
    /// When the controller first used the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlocked_at: Option<Time>,
    /// Version of the controller that wrote this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_version: Option<String>,
    /// The condition `Ready` (kstatus).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
