//! The observed state of a role in AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use rolectl_crds::OWNER_TAG;

use crate::policy::Document;

/// The observed state of a role in AWS, joined from
/// [GetAccountAuthorizationDetails](https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html) and
/// [ListRoles](https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObservedRole {
    /// Name of the role.
    pub name: String,
    /// ARN of the role.
    pub arn: String,
    /// Unique id (`AROA...`). A role that was deleted and created again has another one.
    pub role_id: String,
    /// IAM path, such as `/`.
    pub path: String,
    /// Description. Empty if the role has none.
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
    /// Tags, including those of AWS (`aws:`).
    pub tags: BTreeMap<String, String>,
    /// Names of the instance profiles that contain the role.
    pub instance_profiles: BTreeSet<String>,
}

/// A policy document from AWS. One that cannot be parsed differs from every desired document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObservedDocument {
    /// The parsed document.
    Parsed(Document),
    /// The text of a document that cannot be parsed, as AWS returned it.
    Unreadable(String),
}

impl ObservedDocument {
    /// Parses a document that AWS returned. It may be URL-encoded.
    pub fn read(text: &str) -> Self {
        Document::parse(text).map_or_else(|_| Self::Unreadable(text.to_owned()), Self::Parsed)
    }

    /// Returns the number of characters that AWS counts against a quota. White space does not count.
    pub fn size(&self) -> usize {
        match self {
            Self::Parsed(document) => document.size(),
            Self::Unreadable(text) => text.chars().filter(|c| !c.is_whitespace()).count(),
        }
    }

    /// Returns the document. `None` if it cannot be parsed.
    pub const fn parsed(&self) -> Option<&Document> {
        match self {
            Self::Parsed(document) => Some(document),
            Self::Unreadable(_) => None,
        }
    }

    /// Returns true if this document equals the desired one.
    pub fn is(&self, wanted: &Document) -> bool {
        matches!(self, Self::Parsed(document) if document == wanted)
    }
}

/// Writes the text. Deserializing it returns the same document.
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

/// A role in a compact form: one text, and the values that are used often. Parsed documents need about ten times as much memory, and
/// the controller keeps all roles of all accounts.
#[derive(Clone, Debug)]
pub struct PackedRole {
    /// The result of [`ObservedRole::fingerprint`].
    pub fingerprint: u64,
    /// Value of the owner tag.
    pub owner: Option<Box<str>>,
    text: Box<str>,
}

impl PackedRole {
    /// Returns a role in the compact form.
    pub fn new(role: &ObservedRole) -> Self {
        Self {
            fingerprint: role.fingerprint(),
            owner: role.tags.get(OWNER_TAG).map(|tag| tag.as_str().into()),
            // A map with text keys always becomes JSON.
            text: serde_json::to_string(role).unwrap_or_default().into(),
        }
    }

    /// Returns the role. `None` if the text cannot be parsed, which is a defect.
    pub fn unpack(&self) -> Option<ObservedRole> {
        serde_json::from_str(&self.text).ok()
    }
}

/// Two packed roles are equal if their fingerprints are.
impl PartialEq for PackedRole {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl ObservedRole {
    /// Returns true if the role is reserved by AWS, so that nobody else can change it.
    pub fn is_reserved(&self) -> bool {
        is_reserved_path(&self.path)
    }

    /// Returns the number of characters of all inline policies that AWS counts against `RolePolicySizeQuota`.
    pub fn inline_size(&self) -> usize {
        self.inline_policies.values().map(ObservedDocument::size).sum()
    }

    /// Returns a hash that is the same for equal roles. It is stable within one process only.
    pub fn fingerprint(&self) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(self)
    }
}

/// Returns true for the paths of service-linked roles and of roles of IAM Identity Center, which AWS reserves.
pub fn is_reserved_path(path: &str) -> bool {
    path.starts_with("/aws-service-role/") || path.starts_with("/aws-reserved/")
}
