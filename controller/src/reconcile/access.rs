//! May a namespace use an account?

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AwsAccount, NamespacesFrom};

use super::Error;
use super::context::Context;
use crate::role::selection::selects;

/// Whether `namespace` may use `account`, as far as the account's object alone can tell.
pub fn may_allow(account: &AwsAccount, namespace: &str) -> bool {
    let allowed = &account.spec.allowed_namespaces;
    match allowed.from {
        NamespacesFrom::None => false,
        NamespacesFrom::All | NamespacesFrom::Selector => true,
        NamespacesFrom::Names => allowed.names.iter().any(|name| name == namespace),
    }
}

/// Whether `namespace` may use `account`, by the account's `allowedNamespaces`.
pub async fn allows(context: &Context, account: &AwsAccount, namespace: &str) -> Result<bool, Error> {
    if !may_allow(account, namespace) {
        return Ok(false);
    }
    let Some(selector) = &account.spec.allowed_namespaces.selector else {
        return Ok(true);
    };
    let api: Api<Namespace> = Api::all(context.client.clone());
    let found = api
        .get_opt(namespace)
        .await
        .map_err(Error::kube("could not read the namespace"))?;
    Ok(found.is_some_and(|ns| selects(selector, ns.labels())))
}
