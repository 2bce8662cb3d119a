//! May a namespace use an account?

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AwsAccount, NamespacesFrom};

use super::Error;
use super::context::{Context, selects};

/// Whether `namespace` may use `account`, by the account's `allowedNamespaces`.
pub async fn allows(context: &Context, account: &AwsAccount, namespace: &str) -> Result<bool, Error> {
    let allowed = &account.spec.allowed_namespaces;
    Ok(match allowed.from {
        NamespacesFrom::None => false,
        NamespacesFrom::All => true,
        NamespacesFrom::Names => allowed.names.iter().any(|name| name == namespace),
        NamespacesFrom::Selector => {
            let Some(selector) = &allowed.selector else {
                return Ok(false);
            };
            let api: Api<Namespace> = Api::all(context.client.clone());
            let found = api
                .get_opt(namespace)
                .await
                .map_err(Error::kube("could not read the namespace"))?;
            found.is_some_and(|ns| selects(selector, ns.labels()))
        }
    })
}
