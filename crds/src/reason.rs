//! The types and the reasons of conditions.

use std::borrow::Cow;
use std::fmt;
use std::sync::Mutex;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Types of the conditions on every kind.
///
/// `Ready` is always present; `Reconciling` and `Stalled` only while `True`, and never both (kstatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The object matches its spec.
    Ready,
    /// The controller is working on the object or will retry.
    Reconciling,
    /// Nothing more happens until a user acts.
    Stalled,
}

impl ConditionType {
    /// Returns the name for `conditions[].type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $cure:literal,)+) => {
        /// The reason of a condition (`conditions[].reason`), and the state of a role in one account.
        ///
        /// The set is open: a status that a newer version wrote is read, and what is copied from it is written as it was.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
            /// A reason that this version does not define, as the status has it.
            Other(&'static str),
        }

        impl Reason {
            /// Every reason that this version defines, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the reason as a condition has it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ Self::Other(name) => name }
            }

            /// Returns the meaning of the reason, one sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_ascii_start(),)+
                    Self::Other(_) => "A reason of a newer version of rolectl.",
                }
            }

            /// Returns what a person can do about it.
            pub const fn cure(self) -> &'static str {
                match self {
                    $(Self::$name => $cure,)+
                    Self::Other(_) => "Read the message, and use the newer version.",
                }
            }
        }
    };
}

reasons! {
    /// The role in AWS is as the spec declares it.
    InSync => "Nothing to do.",
    /// The controller is working on the role, or will retry.
    Progressing => "Wait. The message says for what. The controller retries by itself.",
    /// AWS throttles the calls in the account. The controller has lowered its rate and continues.
    Throttled => "Wait. If it happens often, lower `requestsPerSecond` of the AwsAccount, or find out who else calls IAM in the account.",
    /// AWS or the network failed. The controller retries.
    AwsUnavailable => "Wait. If it does not end, check the AWS Health Dashboard and the controller's network path to the IAM and STS endpoints.",
    /// The trust policy names a principal that AWS does not find.
    AwaitingPrincipal => "Wait some minutes if the principal was just created. Otherwise correct it in `assumeRolePolicy`. After 10 minutes the role stalls as InvalidSpec.",
    /// The change has not begun in an account, because the accounts are changed in waves.
    RollingOut => "Wait. `rolectl rollout status role/NAME` shows which accounts are done, and what the others wait for.",
    /// The change failed in an account, or was aborted, and accounts whose change had not begun keep the earlier state.
    RolloutStopped => "Correct the cause that the message names, or change the spec. `rolectl rollout resume role/NAME` continues despite the failures, `rolectl rollout abort role/NAME` leaves the accounts as they are.",
    /// The session is locked or has expired.
    SessionLocked => "Run `rolectl unlock --mfa CODE`. The controller then resumes by itself.",
    /// The role differs from the spec, and is not corrected because `spec.drift` is Report.
    Drifted => "See `status.accounts[].changes`. Set `drift: Correct` to have the changes made, or change the spec to what AWS has.",
    /// Changes wait for the approval of an operator, because the account asks for it (`spec.approvals`).
    AwaitingApproval => "See `status.accounts[].changes`. An operator runs `rolectl approve`.",
    /// The removal waits for an operator: it exceeds `guardrails.maxRemovals` of the account, another removal there waits, or an operator denied it.
    RemovalsParked => "If the roles are to go, an operator runs `rolectl approve --all --removals --account NAME`. Otherwise revert `spec.accounts` or `ensure`, or set `deletionPolicy: Retain` on IamRoles that are being deleted.",
    /// The spec cannot be carried out as it is written.
    InvalidSpec => "Correct the field that the message names. `rolectl lint` finds the same problem before the object is applied.",
    /// No `AwsAccount` has this name.
    AccountNotFound => "Create the AwsAccount, or correct `spec.accounts.names`.",
    /// No `AwsAccount` matches `spec.accounts`.
    NoAccounts => "Correct `spec.accounts.selector`, or have an AwsAccount labelled so that it matches.",
    /// The account does not allow this namespace.
    NamespaceNotAllowed => "Have the account's owner add the namespace to `spec.allowedNamespaces` of the AwsAccount.",
    /// The role violates a guardrail of the account.
    GuardrailViolated => "Change the role as the message says, or have the account's owner change `spec.guardrails`.",
    /// The role in AWS has the tag of another owner.
    OwnedByOther => "Delete the role in AWS, choose another `roleName`, or adopt it with `adoption: Always`, which `guardrails.adoption` of the AwsAccount must allow.",
    /// The role exists in AWS, and `adoption` does not allow to adopt it.
    AlreadyExists => "Adopt the role with `adoption: IfUnowned`, which `guardrails.adoption` of the AwsAccount must allow, or choose another `roleName`. Roles of AWS itself cannot be adopted.",
    /// Another `IamRole` manages this role in this account, or an older `AwsAccount` describes the same AWS account.
    Duplicate => "Delete one of the two objects. The other one continues by itself.",
    /// AWS denies a call.
    AccessDenied => "Give the role that rolectl assumes the permission that the message names, or correct its trust policy. A service control policy or a permissions boundary can deny, too.",
    /// The credentials belong to another account than `accountId`.
    AccountMismatch => "Correct `accountId` or `assumeRole` of the AwsAccount. Nothing was written.",
    /// A quota of the account is reached.
    QuotaExceeded => "Make the role smaller, or have AWS raise the quota that the message names (Service Quotas, IAM).",
    /// The role or the account is suspended (`suspend: true`).
    Suspended => "Set `suspend: false` on the IamRole or the AwsAccount to resume.",
    /// The object cannot be deleted yet, because other objects need it.
    InUse => "Remove the account from `spec.accounts` of the IamRoles that the message names, or delete them.",
    /// The role is deleted in this account. The object is deleted once that is so in all its accounts.
    Removed => "Wait. The entries of the other accounts say what the deletion waits for.",
    /// The session is unlocked.
    Unlocked => "Nothing to do.",
    /// The session expires soon.
    Expiring => "Run `rolectl unlock --mfa CODE` before it expires to continue without a pause.",
    /// The session has expired.
    Expired => "Run `rolectl unlock --mfa CODE`.",
}

impl Reason {
    /// Returns the reason of this name, without regard to case.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL
            .iter()
            .find(|reason| reason.as_str().eq_ignore_ascii_case(name));
        found.copied()
    }

    /// Returns true if a user must act (`Stalled`).
    pub const fn is_stalled(self) -> bool {
        matches!(
            self,
            Self::InvalidSpec
                | Self::AccountNotFound
                | Self::NoAccounts
                | Self::NamespaceNotAllowed
                | Self::GuardrailViolated
                | Self::OwnedByOther
                | Self::AlreadyExists
                | Self::Duplicate
                | Self::AccessDenied
                | Self::AccountMismatch
                | Self::QuotaExceeded
                | Self::RolloutStopped
        )
    }

    /// Returns true if the controller retries without help (`Reconciling`).
    pub const fn is_reconciling(self) -> bool {
        matches!(
            self,
            Self::Progressing
                | Self::Throttled
                | Self::AwsUnavailable
                | Self::AwaitingPrincipal
                | Self::RollingOut
                | Self::InUse
                | Self::Removed
        )
    }
}

/// Names of reasons and phases that this version does not define. Each is stored once until the process ends.
static OTHERS: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
/// Number of names that are stored. It is limited because others can write a status.
const MOST_OTHERS: usize = 32;
/// Length of the longest name of a reason, in bytes.
const LONGEST: usize = 64;
/// The replacement of a name that is not valid or exceeds the limit.
const UNREADABLE: &str = "Unknown";

/// Returns a stored copy of the name, or [`UNREADABLE`].
pub(crate) fn intern(name: &str) -> &'static str {
    let fits = name.len() <= LONGEST
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    let Some(mut others) = OTHERS.lock().ok().filter(|_| fits) else {
        return UNREADABLE;
    };
    if let Some(found) = others.iter().find(|other| **other == name) {
        return found;
    }
    if others.len() >= MOST_OTHERS {
        return UNREADABLE;
    }
    let kept: &'static str = Box::leak(name.into());
    others.push(kept);
    kept
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let defined = Self::ALL.iter().find(|reason| reason.as_str() == name);
        Ok(defined.copied().unwrap_or_else(|| Self::Other(intern(&name))))
    }
}

impl JsonSchema for Reason {
    fn schema_name() -> Cow<'static, str> {
        "Reason".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        name_schema()
    }
}

/// Returns the schema of a name from an open set.
pub(crate) fn name_schema() -> Schema {
    json_schema!({"type": "string", "maxLength": LONGEST, "pattern": "^[A-Z][A-Za-z0-9]*$"})
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AccountStatus;

    #[test]
    fn the_state_that_a_newer_version_wrote_is_read_and_written_back_as_it_was() {
        let text = r#"{"name":"dev","state":"RolledBack"}"#;
        let entry: AccountStatus = serde_json::from_str(text).unwrap();
        assert_eq!(entry.state.as_str(), "RolledBack");
        assert!(!entry.state.is_stalled() && !entry.state.is_reconciling());
        assert_eq!(serde_json::to_string(&entry).unwrap(), text);
        for reason in Reason::ALL {
            let text = serde_json::to_string(reason).unwrap();
            assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), *reason);
        }
        // The number of stored names is limited.
        let read = |name: &str| serde_json::from_value::<Reason>(name.into()).unwrap();
        for name in ["", "lower", "With Space", &"X".repeat(65)] {
            assert_eq!(read(name), Reason::Other(UNREADABLE), "{name}");
        }
        for n in 0..100 {
            read(&format!("Flood{n}"));
        }
        assert!(OTHERS.lock().unwrap().len() <= MOST_OTHERS);
    }
}
