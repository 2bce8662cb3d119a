//! The result of a comparison of two states of a role.

use std::fmt;

use crate::policy::inclusion::{Excess, write_matched};
use crate::role::Change;
use crate::role::managed_policy::is_same_policy;

/// Most atoms that are listed.
pub const MAX_ATOMS: usize = 40;

/// A part of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
pub enum Part {
    /// The role itself.
    Role,
    /// The trust policy.
    TrustPolicy,
    /// An inline policy.
    InlinePolicy,
    /// A managed policy.
    ManagedPolicy,
    /// The permissions boundary.
    PermissionsBoundary,
    /// The maximum session duration.
    MaxSessionDuration,
    /// An instance profile.
    InstanceProfile,
    /// A tag.
    Tag,
}

impl Part {
    const fn shown(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::TrustPolicy => "trust policy",
            Self::InlinePolicy => "inline policy",
            Self::ManagedPolicy => "managed policy",
            Self::PermissionsBoundary => "permissions boundary",
            Self::MaxSessionDuration => "maximum session duration",
            Self::InstanceProfile => "instance profile",
            Self::Tag => "tag",
        }
    }
}

/// One thing that may be allowed after and was not before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Atom {
    /// The part of the role.
    pub part: Part,
    /// Name of the policy, profile or tag. Absent where a role has only one such part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Name of the statement that allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// The action, or `all but` some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The resource, or `all but` some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The principal, with its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Why it counts as more.
    pub why: String,
    /// The part whose removal or change is the cause, where that is another one: a policy with a Deny.
    #[serde(skip)]
    cause: Option<(Part, String)>,
}

impl Atom {
    pub(super) fn of(part: Part, name: Option<&str>, why: impl Into<String>) -> Self {
        Self {
            part,
            name: name.map(str::to_owned),
            statement: None,
            action: None,
            resource: None,
            principal: None,
            why: why.into(),
            cause: None,
        }
    }

    /// Returns true if the change is what makes the role wider here.
    pub fn is_caused_by(&self, change: &Change) -> bool {
        let (part, name) = match &self.cause {
            Some((part, name)) => (*part, Some(name.as_str())),
            None => (self.part, self.name.as_deref()),
        };
        let is_named = |other: &str| name == Some(other);
        match change {
            Change::CreateRole(_) => part == Part::Role,
            Change::UpdateTrustPolicy(..) => part == Part::TrustPolicy,
            Change::PutInlinePolicy(other, ..) | Change::DeleteInlinePolicy(other) => {
                part == Part::InlinePolicy && is_named(other)
            }
            Change::AttachPolicy(arn) | Change::DetachPolicy(arn) => {
                part == Part::ManagedPolicy && name.is_some_and(|name| is_same_policy(name, arn))
            }
            Change::PutBoundary(_) | Change::DeleteBoundary => part == Part::PermissionsBoundary,
            Change::UpdateRole { .. } => part == Part::MaxSessionDuration,
            Change::AddInstanceProfile(profile) => part == Part::InstanceProfile && is_named(&profile.name),
            Change::Tag(tags) => part == Part::Tag && tags.keys().any(|key| is_named(key)),
            Change::Untag(keys) => part == Part::Tag && keys.iter().any(|key| is_named(key)),
            Change::RemoveInstanceProfile(..) | Change::ReleaseInstanceProfile(..) | Change::DeleteRole => {
                false
            }
        }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part.shown())?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        if let Some(statement) = &self.statement {
            write!(f, ", statement {statement}")?;
        }
        if let Some(action) = &self.action {
            write!(f, ": {action}")?;
        }
        write_matched(f, self.resource.as_deref(), self.principal.as_deref())?;
        write!(f, ": {}", self.why)
    }
}

/// What a role may allow after and did not before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Widening {
    /// The first atoms.
    pub atoms: Vec<Atom>,
    /// Number of all atoms.
    pub count: usize,
}

impl Widening {
    /// Returns true if the role is shown to allow no more than before.
    pub const fn is_none(&self) -> bool {
        self.count == 0
    }

    pub(super) fn add(&mut self, atom: Atom) {
        self.count += 1;
        if self.atoms.len() < MAX_ATOMS {
            self.atoms.push(atom);
        }
    }

    /// Adds the atoms of policies, of which `named` returns the part and the name.
    pub(super) fn extend(
        &mut self,
        excess: Vec<Excess>,
        count: usize,
        named: impl Fn(&str) -> (Part, Option<String>),
        part: Part,
    ) {
        let total = self.count + count;
        for excess in excess {
            let (part, name) = excess.policy.as_deref().map_or((part, None), &named);
            let cause = excess.missing_deny_of.as_deref().and_then(|key| {
                let (part, name) = named(key);
                Some((part, name?))
            });
            let is_whole = excess.is_whole();
            let given = |text: String| (!is_whole).then_some(text);
            self.add(Atom {
                part,
                name,
                statement: given(excess.statement),
                action: given(excess.action),
                resource: excess.resource,
                principal: excess.principal,
                why: excess.why,
                cause,
            });
        }
        self.count = total;
    }
}

/// The result of a comparison of two states of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It allows the same as before.
    Same,
    /// It allows less than before.
    Narrows,
    /// It may allow more than before.
    Widens(Widening),
}

/// A verdict without what it is based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "Verdict")]
pub enum VerdictKind {
    /// It allows the same as before.
    Same,
    /// It allows less than before.
    Narrows,
    /// It may allow more than before.
    Widens,
}

impl VerdictKind {
    /// Returns its name in the output and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "Same",
            Self::Narrows => "Narrows",
            Self::Widens => "Widens",
        }
    }
}

impl Verdict {
    /// Returns the verdict without what it is based on.
    pub const fn kind(&self) -> VerdictKind {
        match self {
            Self::Same => VerdictKind::Same,
            Self::Narrows => VerdictKind::Narrows,
            Self::Widens(_) => VerdictKind::Widens,
        }
    }

    /// Returns what may be allowed and was not before, if anything.
    pub const fn widening(&self) -> Option<&Widening> {
        match self {
            Self::Widens(widening) => Some(widening),
            Self::Same | Self::Narrows => None,
        }
    }
}
