//! A pod of the Deployment, as far as it goes without a kubelet: its program, its environment and its service account.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use rolectl_tests::control_plane::free_address;
use rolectl_tests::process::{Process, Spawn};
use rolectl_tests::scenario::World;
use rolectl_tests::wait::until;
use serde_json::Value;

/// Where the chart is installed.
pub const NAMESPACE: &str = "rolectl-system";

/// A running controller.
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Address of its health and metrics.
    pub health: String,
    /// Its process.
    pub process: Process,
}

/// The Deployment in the cluster.
pub async fn deployment(world: &World) -> Result<Value> {
    let get = [
        "get",
        "deployment",
        "rolectl-controller",
        "-n",
        NAMESPACE,
        "-o",
        "json",
    ];
    Ok(serde_json::from_str(&world.plane.kubectl(&get).await?)?)
}

impl Pod {
    /// Starts what the Deployment says, and waits until it is ready.
    pub async fn start(world: &World, name: &str) -> Result<Self> {
        let deployment = deployment(world).await?;
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let mut env = BTreeMap::new();
        for variable in container["env"].as_array().context("no environment")? {
            let key = variable["name"].as_str().unwrap_or_default();
            let value = match variable
                .pointer("/valueFrom/fieldRef/fieldPath")
                .and_then(Value::as_str)
            {
                Some("metadata.namespace") => NAMESPACE,
                Some("metadata.name") => name,
                _ => variable["value"].as_str().context("no value")?,
            };
            env.insert(key.to_owned(), value.to_owned());
        }
        // What a pod has from its node, and the double in AWS's place.
        let health = free_address()?.to_string();
        let kubeconfig = world.plane.kubeconfig("rolectl-controller");
        for (key, value) in [
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("AWS_ENDPOINT_URL", world.double.endpoint.clone()),
            ("AWS_SDK_UA_APP_ID", name.to_owned()),
            ("ROLECTL_HEALTH_ADDRESS", health.clone()),
        ] {
            env.insert(key.to_owned(), value);
        }
        let (process, _) = Process::spawn(Spawn {
            name,
            program: &world.tools.controller,
            args: vec![],
            env: env.into_iter().collect(),
            log: &world.dir.join(format!("{name}.log")),
            remove_at_end: None,
            pipe: false,
        })?;
        until(&format!("{name} to be ready"), || async {
            let answer = reqwest::get(format!("http://{health}/readyz"))
                .await
                .map_err(|e| e.to_string())?;
            answer.error_for_status().map(|_| ()).map_err(|e| e.to_string())
        })
        .await?;
        Ok(Self {
            name: name.to_owned(),
            health,
            process,
        })
    }
}
