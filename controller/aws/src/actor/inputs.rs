//! What the roles of an account depend on beside their own objects.

use std::collections::BTreeMap;

use rolectl_crds::{AwsAccount, MfaSession};

/// The generation and the labels of the account, and the account and role of its session. If they change, every role of the account is
/// looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    session: Option<(String, Option<String>)>,
}

impl Inputs {
    /// The inputs of an account and its session, if that exists.
    pub fn of(account: &AwsAccount, session: Option<&MfaSession>) -> Self {
        let session = session.map(|session| &session.spec);
        Self {
            generation: account.metadata.generation,
            labels: account.metadata.labels.clone(),
            session: session.map(|spec| (spec.account_id.clone(), spec.role_arn.clone())),
        }
    }
}
