//! A role as AWS has it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use rolectl_crds::OWNER_TAG;

use crate::policy::Document;

/// A role as AWS has it, joined from `GetAccountAuthorizationDetails` and `ListRoles`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObservedRole {
    /// Name.
    pub name: String,
    /// ARN.
    pub arn: String,
    /// Unique id (`AROA...`): another one means another role of the same name.
    pub role_id: String,
    /// Path.
    pub path: String,
    /// Description, empty when there is none.
    pub description: String,
    /// Longest session in seconds.
    pub max_session_duration: i32,
    /// Trust policy.
    pub trust: ObservedDocument,
    /// ARNs of attached managed policies.
    pub managed_policies: BTreeSet<String>,
    /// Inline policies by name.
    pub inline_policies: BTreeMap<String, ObservedDocument>,
    /// ARN of the permissions boundary.
    pub permissions_boundary: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Instance profiles that hold the role.
    pub instance_profiles: BTreeSet<String>,
}

/// A document from AWS. One that we cannot read differs from every document that anybody could want.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObservedDocument {
    /// Read.
    Parsed(Document),
    /// Not read; the text as AWS gave it.
    Unreadable(String),
}

impl ObservedDocument {
    /// Reads a document that AWS returned (already URL-decoded).
    pub fn read(text: &str) -> Self {
        Document::parse(text).map_or_else(|_| Self::Unreadable(text.to_owned()), Self::Parsed)
    }

    /// Characters that AWS counts against a quota.
    pub fn size(&self) -> usize {
        match self {
            Self::Parsed(document) => document.size(),
            Self::Unreadable(text) => text.chars().filter(|c| !c.is_whitespace()).count(),
        }
    }

    /// The document, where it could be read.
    pub const fn parsed(&self) -> Option<&Document> {
        match self {
            Self::Parsed(document) => Some(document),
            Self::Unreadable(_) => None,
        }
    }

    /// Whether this is the document that is wanted.
    pub fn is(&self, wanted: &Document) -> bool {
        matches!(self, Self::Parsed(document) if document == wanted)
    }
}

/// As AWS gave it; reading it again gives the same.
impl Serialize for ObservedDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Parsed(document) => document.as_str(),
            Self::Unreadable(text) => text,
        })
    }
}

impl<'de> Deserialize<'de> for ObservedDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::read(&text))
    }
}

/// A role in as little memory as it can be kept in: one piece of text, and what is asked for often. Documents as trees
/// take ten times as much, and all roles of all accounts are kept.
#[derive(Clone, Debug)]
pub struct PackedRole {
    /// [`ObservedRole::fingerprint`].
    pub fingerprint: u64,
    /// Value of the owner tag.
    pub owner: Option<Box<str>>,
    text: Box<str>,
}

impl PackedRole {
    /// Packs a role.
    pub fn new(role: &ObservedRole) -> Self {
        Self {
            fingerprint: role.fingerprint(),
            owner: role.tags.get(OWNER_TAG).map(|tag| tag.as_str().into()),
            // Maps with text keys cannot fail to become JSON.
            text: serde_json::to_string(role).unwrap_or_default().into(),
        }
    }

    /// The role.
    pub fn unpack(&self) -> Option<ObservedRole> {
        serde_json::from_str(&self.text).ok()
    }
}

/// Equal by meaning, as roles are.
impl PartialEq for PackedRole {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl ObservedRole {
    /// Whether AWS keeps this role for itself. Such roles cannot be changed, and are never touched.
    pub fn is_reserved(&self) -> bool {
        is_reserved_path(&self.path)
    }

    /// Characters of all inline policies, as AWS counts them against a quota.
    pub fn inline_size(&self) -> usize {
        self.inline_policies.values().map(ObservedDocument::size).sum()
    }

    /// A number that stays the same while the role means the same. Stable within one process only.
    pub fn fingerprint(&self) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(self)
    }
}

/// Paths that AWS keeps for service-linked roles and for those of IAM Identity Center.
pub fn is_reserved_path(path: &str) -> bool {
    path.starts_with("/aws-service-role/") || path.starts_with("/aws-reserved/")
}
