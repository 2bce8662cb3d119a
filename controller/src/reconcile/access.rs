//! May a namespace use an account?

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};
use rolectl_crds::AwsAccount;
use tokio::sync::OnceCell;

use super::context::Context;
use super::{Error, bounded_call};
use rolectl_core::selection::{admits, may_admit};

/// A role's namespace, read at most once however many accounts ask for its labels.
#[derive(Debug)]
pub struct Claimant<'a> {
    name: &'a str,
    found: OnceCell<Option<Namespace>>,
}

impl<'a> Claimant<'a> {
    /// The namespace called `name`.
    pub fn new(name: &'a str) -> Self {
        Self {
            name,
            found: OnceCell::new(),
        }
    }

    /// Whether it may use `account`, by the account's `allowedNamespaces`.
    pub async fn may_use(&self, context: &Context, account: &AwsAccount) -> Result<bool, Error> {
        let without_labels = admits(account, self.name, None);
        if without_labels || !may_admit(account, self.name) {
            return Ok(without_labels);
        }
        let api: Api<Namespace> = Api::all(context.client.clone());
        let read = async || bounded_call(api.get_opt(self.name)).await;
        let found = self
            .found
            .get_or_try_init(read)
            .await
            .map_err(Error::kube("could not read the namespace"))?;
        Ok(admits(account, self.name, found.as_ref().map(Namespace::labels)))
    }
}
