//! Checks the cluster, and all that needs it.

use kube::Client;

use rolectl_crds::MfaSession;

use super::check::Check;
use super::{bounded, crds, objects, rights};
use crate::cluster::{Flags, failed};

const NAME: &str = "cluster";

/// What the cluster has.
pub struct Found {
    pub checks: Vec<Check>,
    pub sessions: Vec<MfaSession>,
}

/// Connects to the cluster and checks it.
pub async fn checks(flags: &Flags) -> Found {
    let connected = async {
        let client = flags.client().await;
        client.map_err(|failure| Check::of_failure(NAME, &failure))
    };
    // A kubeconfig can name a program that asks for a login.
    let client = match bounded(NAME, connected, Err).await {
        Ok(client) => client,
        Err(check) => return without_cluster(check),
    };
    let url = flags.url().await.unwrap_or_default();
    let server = bounded(NAME, server(&client, &url), Err).await;
    let server = match server {
        Ok(server) => server,
        // No other request would be answered.
        Err(check) => return without_cluster(check),
    };
    let (crds, rights, objects) = tokio::join!(
        bounded(crds::NAME, crds::checks(&client), |late| vec![late]),
        bounded(rights::NAME, rights::checks(&client, flags), |late| vec![late]),
        objects::checks(&client, flags)
    );
    let (objects, sessions) = objects;
    Found {
        checks: [vec![server], crds, rights, objects].concat(),
        sessions,
    }
}

/// Asks the API server for its version. Fails if it does not answer.
async fn server(client: &Client, url: &str) -> Result<Check, Check> {
    match client.apiserver_version().await {
        Ok(version) => Ok(Check::ok(
            NAME,
            format!("{url}, Kubernetes {}", version.git_version),
        )),
        // Some clusters do not tell everybody their version.
        Err(kube::Error::Api(status)) if status.code == 403 => {
            Ok(Check::ok(NAME, format!("{url}, version not shown to you")))
        }
        Err(error) => {
            let failure = failed("ask for the version", &error);
            Err(Check::failed(
                NAME,
                format!("{url}: {}", failure.what()),
                failure.next(),
            ))
        }
    }
}

fn without_cluster(check: Check) -> Found {
    let others = [
        crds::NAME,
        rights::NAME,
        objects::CONTROLLER,
        objects::SESSION,
        objects::ACCOUNT,
    ];
    let skipped = others.map(|name| Check::skipped(name, "there is no cluster"));
    Found {
        checks: [check].into_iter().chain(skipped).collect(),
        sessions: vec![],
    }
}
