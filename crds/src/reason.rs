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
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
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
        }
    };
}

reasons! {
    /// AWS is as the spec wants it.
    InSync,
    /// Work goes on.
    Progressing,
    /// AWS throttles; the rate was lowered and the work goes on.
    Throttled,
    /// AWS or the network failed in a way that passes.
    AwsUnavailable,
    /// A trust policy names a principal that AWS does not know yet.
    AwaitingPrincipal,
    /// The session is locked or has ended; `rolectl unlock` goes on.
    SessionLocked,
    /// `drift: Report` and the role differs.
    Drifted,
    /// The spec cannot be carried out as it is written.
    InvalidSpec,
    /// No `AwsAccount` of this name, or none that the selector finds.
    AccountNotFound,
    /// The account does not let this namespace use it.
    NamespaceNotAllowed,
    /// The role breaks a guardrail of the account.
    GuardrailViolated,
    /// The role in AWS carries another owner's tag.
    OwnedByOther,
    /// The role exists in AWS and `adoption` does not let us take it.
    AlreadyExists,
    /// An older `IamRole` already manages this role in this account.
    Duplicate,
    /// AWS denies a call.
    AccessDenied,
    /// The credentials belong to another account than `accountId`.
    AccountMismatch,
    /// A quota of the account is reached.
    QuotaExceeded,
    /// `suspend: true` on the role or the account.
    Suspended,
    /// Objects that still need this one keep it from going.
    InUse,
    /// The session is unlocked.
    Unlocked,
    /// The session ends soon.
    Expiring,
    /// The session has ended.
    Expired,
}

impl Reason {
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
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
