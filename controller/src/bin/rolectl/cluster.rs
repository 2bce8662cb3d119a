//! The way to the cluster, with kubectl's flags and habits.

use std::time::Duration;

use clap::Args;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rolectl_crds::MfaSession;

use crate::failure::Failure;

/// Flags that all verbs share.
#[derive(Debug, Args)]
pub struct Flags {
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    context: Option<String>,
    /// Namespace of the controller, in which session Secrets live
    #[arg(
        long,
        short = 'n',
        global = true,
        env = "ROLECTL_NAMESPACE",
        default_value = "rolectl-system"
    )]
    pub namespace: String,
}

impl Flags {
    /// A client that fails fast: a person waits.
    pub async fn client(&self) -> Result<Client, Failure> {
        let no_config = |why: String| {
            Failure::new(
                format!("no way to a cluster: {why}"),
                "set KUBECONFIG or --context so that `kubectl get mfasessions` works, then try again",
            )
        };
        let mut config = match &self.context {
            None => Config::infer().await.map_err(|e| no_config(e.to_string()))?,
            Some(context) => {
                let kubeconfig = Kubeconfig::read().map_err(|e| no_config(e.to_string()))?;
                let options = KubeConfigOptions {
                    context: Some(context.clone()),
                    ..KubeConfigOptions::default()
                };
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(|e| no_config(e.to_string()))?
            }
        };
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = Some(Duration::from_secs(20));
        Client::try_from(config).map_err(|e| no_config(e.to_string()))
    }
}

/// A failed call to the API server, told by what it means.
pub fn failed(what: &str, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.code == 403 => Failure::new(
            format!("the cluster does not let you {what}: {}", status.message),
            "ask for the ClusterRole rolectl-operator and the Role rolectl-unlock (deploy/rbac)",
        ),
        kube::Error::Api(status) if status.code == 404 => Failure::new(
            format!("could not {what}: {}", status.message),
            "install the CRDs (`kubectl apply -k deploy/crd`) or correct the name",
        ),
        kube::Error::Api(status) if status.code == 401 => Failure::new(
            format!("could not {what}: the cluster does not know you"),
            "log in to the cluster, then try again",
        ),
        kube::Error::Api(status) => {
            Failure::new(format!("could not {what}: {}", status.message), "try again")
        }
        other => Failure::new(
            format!(
                "could not {what}: the cluster does not answer ({})",
                rolectl::reconcile::error_chain(other)
            ),
            "check that `kubectl get mfasessions` works (KUBECONFIG, --context), then try again",
        ),
    }
}

/// The session of this name.
pub async fn session(client: &Client, name: &str) -> Result<MfaSession, Failure> {
    let api: Api<MfaSession> = Api::all(client.clone());
    match api
        .get_opt(name)
        .await
        .map_err(|e| failed(&format!("read MfaSession {name}"), &e))?
    {
        Some(session) => Ok(session),
        None => Err(Failure::new(
            format!("there is no MfaSession {name} in the cluster"),
            "apply one (see deploy/samples), or name another with --session",
        )),
    }
}

/// All sessions.
pub async fn sessions(client: &Client) -> Result<Vec<MfaSession>, Failure> {
    let api: Api<MfaSession> = Api::all(client.clone());
    let all = api.list(&ListParams::default()).await;
    Ok(all.map_err(|e| failed("list MfaSessions", &e))?.items)
}

/// Whether we may do `verb` to a Secret.
pub async fn may_on_secret(client: &Client, namespace: &str, name: &str, verb: &str) -> Result<(), Failure> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.to_owned()),
                verb: Some(verb.to_owned()),
                resource: Some("secrets".to_owned()),
                name: Some(name.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api.create(&kube::api::PostParams::default(), &review).await;
    let allowed = answer
        .map_err(|e| failed("ask for your permissions", &e))?
        .status
        .is_some_and(|s| s.allowed);
    if allowed {
        return Ok(());
    }
    Err(Failure::new(
        format!("you may not {verb} Secret {namespace}/{name}"),
        format!("ask for the Role rolectl-unlock in namespace {namespace} (deploy/rbac/users.yaml)"),
    ))
}
