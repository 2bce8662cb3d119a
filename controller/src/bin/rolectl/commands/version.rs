//! `rolectl version`

use anstream::println;
use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde::Serialize;

use crate::cluster;
use crate::failure::Failure;
use crate::output::{Format, machine};

/// Show the version of this tool and of the controller
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl version
  rolectl version --client")]
pub struct Version {
    /// Of this tool only: no cluster is asked
    #[arg(long)]
    client: bool,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Versions {
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    controller: Option<String>,
}

impl Version {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let controller = if self.client {
            None
        } else {
            Some(
                controller(flags)
                    .await
                    .unwrap_or_else(|why| format!("not known: {why}")),
            )
        };
        let versions = Versions {
            client: env!("CARGO_PKG_VERSION"),
            controller,
        };
        if self.output != Format::Table {
            return machine(self.output, &versions);
        }
        println!("Client      {}", versions.client);
        if let Some(controller) = versions.controller {
            println!("Controller  {controller}");
        }
        Ok(())
    }
}

/// The image of the controller's Deployment.
async fn controller(flags: &cluster::Flags) -> Result<String, String> {
    let first_line = |failure: Failure| failure.what().to_owned();
    let client = flags.client().await.map_err(first_line)?;
    let api: Api<Deployment> = Api::namespaced(client, &flags.namespace);
    let found = api.get_opt("rolectl-controller").await;
    let found = found.map_err(|e| first_line(cluster::failed("read the controller's Deployment", &e)))?;
    let Some(deployment) = found else {
        return Err(format!(
            "there is no Deployment {}/rolectl-controller",
            flags.namespace
        ));
    };
    let pod = deployment.spec.and_then(|spec| spec.template.spec);
    let image = pod
        .and_then(|pod| pod.containers.into_iter().next()?.image)
        .unwrap_or_default();
    let status = deployment.status.unwrap_or_default();
    let (ready, all) = (status.ready_replicas.unwrap_or(0), status.replicas.unwrap_or(0));
    Ok(format!("{image} ({ready}/{all} ready)"))
}
