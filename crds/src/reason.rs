//! Condition types and reasons, each written once.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Types of the conditions on every kind.
///
/// `Ready` is always present; `Reconciling` and `Stalled` only while `True`, and never both (kstatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The object is as its spec wants it.
    Ready,
    /// Work goes on, or a retry is coming.
    Reconciling,
    /// Nothing more happens until a user acts.
    Stalled,
}

impl ConditionType {
    /// The name that stands in `conditions[].type`.
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
        /// Why a condition stands as it does: `conditions[].reason`, and the state of one account in a role's status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// Every reason, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The reason as it is written in a condition.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What the reason means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii_start(),)+ }
            }

            /// What a person does about it.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)+ }
            }
        }
    };
}

reasons! {
    /// AWS is as the spec wants it.
    InSync => "Nothing to do.",
    /// Work goes on.
    Progressing => "Wait. The message says for what; a retry comes by itself.",
    /// AWS throttles; the rate was lowered and the work goes on.
    Throttled => "Wait. If it comes back often, lower `requestsPerSecond` of the AwsAccount, or find out who else calls IAM there.",
    /// AWS or the network failed in a way that passes.
    AwsUnavailable => "Wait. If it lasts, look at the AWS Health Dashboard and at the controller's way to the IAM and STS endpoints.",
    /// A trust policy names a principal that AWS does not know yet.
    AwaitingPrincipal => "Wait some minutes if the principal was just made. Else correct it in `assumeRolePolicy`; after 10 minutes the role stalls as InvalidSpec.",
    /// The session is locked or has ended; `rolectl unlock` goes on.
    SessionLocked => "Run `rolectl unlock --mfa CODE`. Everything goes on by itself then.",
    /// `drift: Report` and the role differs.
    Drifted => "Look at `status.accounts[].changes`. Set `drift: Correct` to have them made, or change the spec to what AWS has.",
    /// The spec cannot be carried out as it is written.
    InvalidSpec => "Correct the field that the message names. `rolectl lint` finds the same at the desk.",
    /// No `AwsAccount` of this name, or none that the selector finds.
    AccountNotFound => "Create the AwsAccount, or correct `spec.accounts`.",
    /// The account does not let this namespace use it.
    NamespaceNotAllowed => "Have the account's owner add the namespace to `spec.allowedNamespaces` of the AwsAccount.",
    /// The role breaks a guardrail of the account.
    GuardrailViolated => "Change the role to what the message asks for, or have the account's owner change `spec.guardrails`.",
    /// The role in AWS carries another owner's tag.
    OwnedByOther => "Delete the role there, choose another `roleName`, or take it over with `adoption: Always`, which `guardrails.adoption` of the AwsAccount must allow.",
    /// The role exists in AWS and `adoption` does not let us take it.
    AlreadyExists => "Take the role with `adoption: IfUnowned`, which `guardrails.adoption` of the AwsAccount must allow, or choose another `roleName`. AWS's own roles cannot be taken.",
    /// An older `IamRole` already manages this role in this account.
    Duplicate => "Delete one of the two IamRoles. The other goes on by itself.",
    /// AWS denies a call.
    AccessDenied => "Give the role that rolectl assumes the permission that the message names, or correct its trust policy. A service control policy or a permissions boundary can deny, too.",
    /// The credentials belong to another account than `accountId`.
    AccountMismatch => "Correct `accountId` or `assumeRole` of the AwsAccount. Nothing was written.",
    /// A quota of the account is reached.
    QuotaExceeded => "Make the role smaller, or have AWS raise the quota that the message names (Service Quotas, IAM).",
    /// `suspend: true` on the role or the account.
    Suspended => "Set `suspend: false` on the IamRole or the AwsAccount to go on.",
    /// Objects that still need this one keep it from going.
    InUse => "Take the account out of `spec.accounts` of the IamRoles that the message names, or delete them.",
    /// The role is gone from this account; the object goes once all its accounts are through.
    Removed => "Wait. The entries of the other accounts tell what the deletion waits for.",
    /// The session is unlocked.
    Unlocked => "Nothing to do.",
    /// The session ends soon.
    Expiring => "Run `rolectl unlock --mfa CODE` before it ends to go on without a pause.",
    /// The session has ended.
    Expired => "Run `rolectl unlock --mfa CODE`.",
}

impl Reason {
    /// The reason of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL
            .iter()
            .find(|reason| reason.as_str().eq_ignore_ascii_case(name));
        found.copied()
    }

    /// Whether only a user can bring this to an end (`Stalled`).
    pub const fn is_stalled(self) -> bool {
        matches!(
            self,
            Self::InvalidSpec
                | Self::AccountNotFound
                | Self::NamespaceNotAllowed
                | Self::GuardrailViolated
                | Self::OwnedByOther
                | Self::AlreadyExists
                | Self::Duplicate
                | Self::AccessDenied
                | Self::AccountMismatch
                | Self::QuotaExceeded
        )
    }

    /// Whether a retry comes by itself (`Reconciling`).
    pub const fn is_reconciling(self) -> bool {
        matches!(
            self,
            Self::Progressing
                | Self::Throttled
                | Self::AwsUnavailable
                | Self::AwaitingPrincipal
                | Self::InUse
                | Self::Removed
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
