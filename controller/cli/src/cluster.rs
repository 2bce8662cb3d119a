//! Connects to the cluster, with the flags and conventions of kubectl, and reads its objects.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{GetParams, Request};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

use rolectl_aws::network;
use rolectl_crds::{AwsAccount, IamRole, MfaSession};
use rolectl_kube::objects::{Listing, Unreadable, read};

use crate::failure::Failure;
use crate::mfa;
use crate::stdio::tell_once;
use crate::waiting::{TellOfCluster, request_timeout};

/// Flags of all commands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct Flags {
    /// Kubeconfig, in place of KUBECONFIG and ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    context: Option<String>,
    /// Namespace of IamRoles. Default: the context's; verbs that list show all namespaces if the context has none or `default`
    #[arg(long, short = 'n', global = true)]
    pub namespace: Option<String>,
    /// Namespace of the controller, in which session Secrets live
    #[arg(
        long,
        global = true,
        value_name = "NAMESPACE",
        env = "ROLECTL_NAMESPACE",
        hide_env_values = true,
        default_value = "rolectl-system"
    )]
    pub controller_namespace: String,
    /// Show times in UTC, in place of the time zone of TZ or of the system
    #[arg(long, global = true)]
    pub utc: bool,
    /// How long one request to the cluster or to AWS may take
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = mfa::positive_duration)]
    pub request_timeout: Duration,
}

impl Flags {
    /// Returns flags for reads of objects that are not the controller's.
    pub fn of(kubeconfig: Option<PathBuf>, context: Option<String>, namespace: Option<String>) -> Self {
        Self {
            kubeconfig,
            context,
            namespace,
            controller_namespace: String::new(),
            utc: false,
            request_timeout: request_timeout(),
        }
    }

    /// Refuses `-n` for commands that use no IamRole, because the user may mean the controller's namespace.
    pub fn refuse_namespace(&self) -> Result<(), Failure> {
        match &self.namespace {
            None => Ok(()),
            Some(namespace) => Err(Failure::new(
                format!("-n {namespace} names the namespace of IamRoles, and this is about none"),
                format!("leave it out, or give --controller-namespace {namespace} if that is meant"),
            )
            .usage()),
        }
    }

    /// Returns true if the user names the cluster. A command must not ignore that cluster.
    pub const fn names_a_cluster(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// Returns the namespace whose objects a verb lists, or `None` for all: that of the flag, else that of the context. `default` is not
    /// counted as one, because it is what clients assume if the context has none.
    pub fn listed_namespace(&self, client: &Client, is_all: bool) -> Option<String> {
        if is_all {
            return None;
        }
        let of_context = || Some(client.default_namespace()).filter(|namespace| *namespace != "default");
        self.namespace.as_deref().or_else(of_context).map(str::to_owned)
    }

    /// Returns the URL of the API server, for messages.
    pub async fn url(&self) -> Option<String> {
        let config = self.config().await.ok()?;
        Some(shown(&config.cluster_url))
    }

    /// Returns a client with short timeouts and no retry, because a person waits.
    pub async fn client(&self) -> Result<Client, Failure> {
        let config = self.config().await?;
        let told = TellOfCluster(shown(&config.cluster_url));
        let builder = ClientBuilder::try_from(config).map_err(|e| match e {
            kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
                no_config("proxy-url of the kubeconfig must begin with http:// or https://")
            }
            other => no_config(&other.to_string()),
        })?;
        Ok(builder.with_layer(&told).build())
    }

    async fn config(&self) -> Result<Config, Failure> {
        // kube's own error contains the URL of a proxy that it cannot use, with the password.
        network::check_proxy().map_err(|e| no_config(&e.to_string()))?;
        let mut config = if self.kubeconfig.is_none() && self.context.is_none() {
            Config::infer().await.map_err(|e| no_config(&e.to_string()))?
        } else {
            let kubeconfig = match &self.kubeconfig {
                Some(file) => Kubeconfig::read_from(file),
                None => Kubeconfig::read(),
            };
            let options = KubeConfigOptions {
                context: self.context.clone(),
                ..KubeConfigOptions::default()
            };
            let kubeconfig = kubeconfig.map_err(|e| no_config(&e.to_string()))?;
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|e| no_config(&e.to_string()))?
        };
        if let Some(namespace) = &self.namespace {
            config.default_namespace.clone_from(namespace);
        }
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = Some(request_timeout());
        Ok(config)
    }
}

/// Returns a URL for messages, without the user and the password that it may have.
fn shown(url: &http::Uri) -> String {
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let path = url.path().trim_end_matches('/');
    format!("{}://{host}{port}{path}", url.scheme_str().unwrap_or("https"))
}

/// Returns the failure to connect to a cluster.
fn no_config(why: &str) -> Failure {
    Failure::new(
        format!("no way to a cluster: {why}"),
        "set KUBECONFIG, --kubeconfig or --context so that `kubectl get mfasessions` works, then try again",
    )
    .without_cluster()
}

/// Returns what to ask for after the API server has refused a request with this message. Reading needs no right to unlock.
fn who_may(message: &str) -> &'static str {
    let reads = [" cannot list ", " cannot get ", " cannot watch "]
        .iter()
        .any(|verb| message.contains(verb));
    if message.contains("\"iamroles\"") && reads {
        "ask for the ClusterRole rolectl-view, which reads IamRoles (deploy/rbac); in one namespace a RoleBinding and -n are enough"
    } else if message.contains("\"iamroles\"") {
        "ask for the ClusterRole rolectl-edit, which changes IamRoles, in this namespace (deploy/rbac)"
    } else if reads && (message.contains("\"awsaccounts\"") || message.contains("\"mfasessions\"")) {
        "ask for the ClusterRole rolectl-operator, which reads AwsAccounts and MfaSessions (deploy/rbac)"
    } else {
        "ask for the ClusterRole rolectl-operator and the Role rolectl-unlock (deploy/rbac)"
    }
}

/// Returns the failure for an error of the API server. `what` completes "could not".
pub fn failed(what: &str, error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.code == 403 => Failure::new(
            format!("the cluster does not let you {what}: {}", status.message),
            who_may(&status.message),
        )
        .forbidden(),
        kube::Error::Api(status) if status.code == 404 => Failure::new(
            format!("could not {what}: {}", status.message),
            "install the CRDs (`kubectl apply -k deploy/crd`) or correct the name",
        )
        .not_found(),
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
                rolectl_core::causes::error_chain(other)
            ),
            "check that `kubectl get mfasessions` works (KUBECONFIG, --kubeconfig, --context), then try again",
        )
        .without_cluster(),
    }
}

/// The objects that a list contains.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `None` for all namespaces.
    pub namespace: Option<String>,
    /// A label selector in the form of kubectl.
    pub labels: Option<String>,
}

/// Lists all objects of an API, and those that cannot be read. Parses each object separately.
async fn list<K>(api: &Api<K>, labels: Option<&str>, what: &str) -> Result<(Vec<K>, Vec<Unreadable>), Failure>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
{
    let (mut all, mut unreadable) = (vec![], vec![]);
    let mut listing = Listing::new(api, request_timeout()).with_labels(labels);
    while let Some(object) = listing.next().await.map_err(|e| failed(what, &e))? {
        match object {
            Ok(object) => all.push(object),
            Err(object) => unreadable.push(*object),
        }
    }
    Ok((all, unreadable))
}

/// Returns the object of this name, or `None` if there is none.
pub async fn get<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Failure>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
{
    let what = format!("read {} {name}", K::kind(&()));
    let request = Request::new(api.resource_url()).get(name, &GetParams::default());
    let request = request.map_err(|e| failed(&what, &kube::Error::BuildRequest(e)))?;
    match api.clone().into_client().request_text(request).await {
        Ok(text) => read(text.as_bytes()).map(Some).map_err(|object| {
            Failure::new(
                format!("could not {what}: the object cannot be read: {}", object.problem),
                "correct the object, or use a version of rolectl that fits the CRDs",
            )
        }),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(failed(&what, &error)),
    }
}

/// Warns of objects that the command leaves out because they cannot be read.
pub fn warn(kind: &str, unreadable: &[Unreadable]) {
    for object in unreadable {
        tell_once(&format!(
            "Warning: {kind} {} cannot be read and is left out: {}. Correct the object, or use a version of rolectl that fits the CRDs",
            object.full_name(),
            object.problem
        ));
    }
}

/// Returns the `IamRole`s of a selection, and those that cannot be read.
async fn roles_and_unreadable(
    client: &Client,
    selection: &Selection,
) -> Result<(Vec<IamRole>, Vec<Unreadable>), Failure> {
    let api: Api<IamRole> = match &selection.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    list(&api, selection.labels.as_deref(), "list IamRoles").await
}

/// Returns the `IamRole`s that the user may list, and those that cannot be read. A user who may not list those of all namespaces gets
/// those of the context's namespace, and a line on stderr that says so. A plan needs all, because any of them can claim a role.
pub async fn visible_roles(
    client: &Client,
    selection: Selection,
) -> Result<(Vec<IamRole>, Vec<Unreadable>), Failure> {
    let refused = match roles_and_unreadable(client, &selection).await {
        Err(failure) if failure.is_forbidden() && selection.namespace.is_none() => failure,
        other => return other,
    };
    let namespace = client.default_namespace();
    let selection = Selection {
        namespace: Some(namespace.to_owned()),
        ..selection
    };
    let found = roles_and_unreadable(client, &selection).await;
    let found = found.map_err(|_| refused)?;
    tell_once(&format!(
        "You may not list the IamRoles of all namespaces. These are those of namespace {namespace}."
    ));
    Ok(found)
}

/// Returns the `IamRole`s of a selection. Warns of those that cannot be read.
pub async fn roles(client: &Client, selection: &Selection) -> Result<Vec<IamRole>, Failure> {
    let (roles, unreadable) = roles_and_unreadable(client, selection).await?;
    warn("IamRole", &unreadable);
    Ok(roles)
}

/// Returns the failure for a role that does not exist.
pub fn no_role(name: &str, namespace: Option<&str>) -> Failure {
    let place = namespace.map_or_else(
        || "the cluster".to_owned(),
        |namespace| format!("namespace {namespace}"),
    );
    Failure::new(
        format!("there is no IamRole {name} in {place}"),
        "see all with `rolectl get roles -A`, or name another namespace with -n",
    )
}

/// Returns the failure for an object that does not exist. `list` is the word for its kind in `rolectl get`.
pub fn missing(kind: &str, name: &str, list: &str) -> Failure {
    Failure::new(
        format!("there is no {kind} {name}"),
        format!("see all with `rolectl get {list}`"),
    )
}

/// Returns all `AwsAccount`s. Warns of those that cannot be read.
pub async fn accounts(client: &Client) -> Result<Vec<AwsAccount>, Failure> {
    accounts_with(client, None).await
}

/// Returns the `AwsAccount`s with these labels. Warns of those that cannot be read.
pub async fn accounts_with(client: &Client, labels: Option<&str>) -> Result<Vec<AwsAccount>, Failure> {
    let (accounts, unreadable) = list(&Api::all(client.clone()), labels, "list AwsAccounts").await?;
    warn("AwsAccount", &unreadable);
    Ok(accounts)
}

/// Returns the `MfaSession` of this name.
pub async fn session(client: &Client, name: &str) -> Result<MfaSession, Failure> {
    let api: Api<MfaSession> = Api::all(client.clone());
    match get(&api, name).await? {
        Some(session) => Ok(session),
        None => Err(Failure::new(
            format!("there is no MfaSession {name} in the cluster"),
            "apply one (see deploy/samples), or name another with --session",
        )),
    }
}

/// Returns all `MfaSession`s. Warns of those that cannot be read.
pub async fn sessions(client: &Client) -> Result<Vec<MfaSession>, Failure> {
    sessions_with(client, None).await
}

/// Returns the `MfaSession`s with these labels. Warns of those that cannot be read.
pub async fn sessions_with(client: &Client, labels: Option<&str>) -> Result<Vec<MfaSession>, Failure> {
    let (sessions, unreadable) = list(&Api::all(client.clone()), labels, "list MfaSessions").await?;
    warn("MfaSession", &unreadable);
    Ok(sessions)
}

/// Returns an error if the user may not do `verb` to a Secret.
pub async fn check_secret_access(
    client: &Client,
    namespace: &str,
    name: &str,
    verb: &str,
) -> Result<(), Failure> {
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
