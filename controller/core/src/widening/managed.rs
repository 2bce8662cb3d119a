//! The documents of the managed policies of an account.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::Document;

/// Longest text of all documents that are kept for an account, in bytes. Policies beyond it count as not known.
const MAX_BYTES: usize = 1024 * 1024;

/// The documents of managed policies, by ARN, as the last sweep found them. A policy whose document is not among them may allow and deny
/// anything.
#[derive(Clone, Debug, Default)]
pub struct ManagedPolicies {
    /// The keys are in lower case: IAM compares ARNs of policies without regard to case.
    documents: BTreeMap<String, Document>,
    bytes: usize,
    /// ARNs in lower case of the policies that were looked for.
    wanted: BTreeSet<String>,
}

impl ManagedPolicies {
    /// No document is known.
    pub const NONE: &'static Self = &Self {
        documents: BTreeMap::new(),
        bytes: 0,
        wanted: BTreeSet::new(),
    };

    /// Returns an empty set that accepts documents of these policies.
    pub fn of_arns<'a>(arns: impl IntoIterator<Item = &'a String>) -> Self {
        Self {
            wanted: arns.into_iter().map(|arn| arn.to_ascii_lowercase()).collect(),
            ..Self::default()
        }
    }

    /// Returns true if the policy was looked for, so that its document is among these if it could be read.
    pub fn is_wanted(&self, arn: &str) -> bool {
        self.wanted.contains(&arn.to_ascii_lowercase())
    }

    /// Adds the document of a policy that is wanted, if there is room for it.
    pub fn add(&mut self, arn: &str, document: Document) {
        let bytes = document.as_str().len();
        let key = arn.to_ascii_lowercase();
        let has_room = self.bytes.saturating_add(bytes) <= MAX_BYTES;
        if !has_room || !self.wanted.contains(&key) || self.documents.contains_key(&key) {
            return;
        }
        self.bytes += bytes;
        self.documents.insert(key, document);
    }

    /// Returns the document of a policy.
    pub fn get(&self, arn: &str) -> Option<&Document> {
        self.documents.get(&arn.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(action: &str) -> Document {
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Action": "{action}", "Resource": "*"}}}}"#
        );
        Document::parse(&text).unwrap()
    }

    #[test]
    fn only_documents_that_are_wanted_are_kept_and_case_does_not_matter() {
        let arn = "arn:aws:iam::222222222222:policy/Own".to_owned();
        let mut policies = ManagedPolicies::of_arns([&arn]);
        policies.add(&arn.to_uppercase(), document("s3:*"));
        policies.add("arn:aws:iam::222222222222:policy/other", document("s3:*"));
        assert_eq!(policies.get(&arn), Some(&document("s3:*")));
        assert_eq!(policies.get("arn:aws:iam::222222222222:policy/other"), None);
        assert!(policies.is_wanted(&arn.to_lowercase()));
    }

    #[test]
    fn documents_beyond_the_room_for_an_account_are_not_known() {
        let arns: Vec<String> = (0..300).map(|n| format!("arn:aws:iam::aws:policy/{n}")).collect();
        let mut policies = ManagedPolicies::of_arns(&arns);
        for arn in &arns {
            policies.add(arn, document(&format!("s3:{}", "x".repeat(4096))));
        }
        let known = arns.iter().filter(|arn| policies.get(arn).is_some()).count();
        assert!((200..256).contains(&known), "{known}");
    }
}
