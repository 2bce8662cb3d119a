//! Implements `rolectl version`.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster;
use crate::failure::Failure;
use crate::liveness::{self, Liveness};
use crate::output::{Document, Format, machine, printable};
use crate::stdio::println;

/// Show the version of this tool and of the controller
///
/// The controller writes its version into the status of the MfaSessions that it serves. If no controller is running, the last
/// line says so.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl version
  rolectl version --client

Exit codes: 0 shown, though the controller's may not be known, 2 wrong usage.")]
pub struct Version {
    /// Of this tool only: no cluster is asked
    #[arg(long)]
    client: bool,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// The versions of the tool and of the controller.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Version")]
pub struct Versions {
    client: &'static str,
    /// Names of the sessions by the version of their controller.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    controllers: BTreeMap<String, Vec<String>>,
    /// Why the version of the controller is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The state of the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    controller: Option<Liveness>,
}

impl Document for Versions {
    const KIND: &'static str = "Version";
}

impl Version {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let mut versions = Versions {
            client: env!("CARGO_PKG_VERSION"),
            controllers: BTreeMap::new(),
            problem: None,
            controller: None,
        };
        if !self.client {
            match controllers(flags).await {
                Ok((found, controller)) => {
                    if found.is_empty() {
                        versions.problem = Some("no controller has looked at an MfaSession yet".to_owned());
                    }
                    versions.controllers = found;
                    versions.controller = Some(controller);
                }
                Err(failure) => versions.problem = Some(failure.what().to_owned()),
            }
        }
        if self.output != Format::Table {
            return machine(self.output, &versions);
        }
        println!("Client      {}", versions.client);
        for (version, sessions) in &versions.controllers {
            println!(
                "Controller  {} (of session {})",
                printable(version),
                printable(&sessions.join(", "))
            );
        }
        if let Some(why) = &versions.problem {
            println!("Controller  unknown: {why}");
        }
        if let Some(warning) = versions.controller.and_then(|c| c.warning(Timestamp::now())) {
            println!("Controller  {warning}");
        }
        Ok(())
    }
}

/// Returns the names of the sessions by the version of their controller, and the state of the controller.
async fn controllers(flags: &cluster::Flags) -> Result<(BTreeMap<String, Vec<String>>, Liveness), Failure> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let client = flags.client().await?;
    let sessions = cluster::sessions(&client).await?;
    // A user who may not list AwsAccounts sees the version, too.
    let accounts = cluster::accounts(&client).await.unwrap_or_default();
    let controller = liveness::check(&client, &flags.controller_namespace, &accounts, &sessions).await;
    for session in sessions {
        let name = session.name_any();
        if let Some(version) = session.status.and_then(|status| status.controller_version) {
            found.entry(version).or_default().push(name);
        }
    }
    Ok((found, controller))
}
