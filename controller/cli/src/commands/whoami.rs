//! Implements `rolectl whoami`.

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt as _;
use rolectl_crds::Phase;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster;
use crate::failure::Failure;
use crate::mfa::{Caller, CodeFlags};
use crate::output::{Document, Format, machine};
use crate::stdio::println;

/// Show whose key is in use, its MFA device, and which sessions it may open
///
/// Asks AWS, and the cluster where there is one. Nothing is changed and no code is used.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl whoami
  rolectl whoami --profile main -o json

Exit codes: 0 shown, also without a cluster, 1 AWS does not know the key or does not answer, 2 wrong usage.")]
pub struct Whoami {
    /// Profile with your key, in place of the usual chain
    #[arg(long)]
    profile: Option<String>,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Whose key is in use, and what it may open.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    principal: String,
    /// Serial number of the MFA device.
    mfa_device: Option<String>,
    /// Why the MFA device is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    mfa_device_problem: Option<String>,
    /// The `MfaSession`s of the cluster.
    sessions: Vec<SessionLine>,
    /// Why the cluster could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
}

/// A session, and whether the user may open it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SessionAccess")]
struct SessionLine {
    name: String,
    may_open: bool,
    phase: Phase,
    #[schemars(with = "Option<String>")]
    expires_at: Option<Timestamp>,
}

impl Document for Identity {
    const KIND: &'static str = "Identity";
}

impl Whoami {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let caller = Caller::find(&CodeFlags::of_profile(self.profile), None).await?;
        let sessions = match flags.client().await {
            Ok(client) => cluster::sessions(&client).await.map_err(|e| e.to_string()),
            Err(failure) => Err(failure.to_string()),
        };
        let mfa_device = caller
            .serial(None)
            .await
            .map_err(|failure| failure.what().to_owned());
        let line = |session: rolectl_crds::MfaSession| SessionLine {
            may_open: caller.check_access(&session).is_ok(),
            name: session.name_any(),
            phase: session.status.as_ref().map(|s| s.phase).unwrap_or_default(),
            expires_at: session.status.and_then(|s| s.expires_at).map(|t| t.0),
        };
        let cluster = sessions
            .as_ref()
            .err()
            .map(|why| why.lines().next().unwrap_or_default().to_owned());
        let identity = Identity {
            principal: caller.principal.clone(),
            mfa_device: mfa_device.as_ref().ok().cloned(),
            mfa_device_problem: mfa_device.err(),
            sessions: sessions.into_iter().flatten().map(line).collect(),
            cluster,
        };
        if self.output != Format::Table {
            return machine(self.output, &identity);
        }
        println!("User        {}", identity.principal);
        let device = identity.mfa_device.iter().chain(&identity.mfa_device_problem);
        for device in device {
            println!("MFA device  {device}");
        }
        for session in &identity.sessions {
            let may = if session.may_open {
                "may open it"
            } else {
                "may not open it"
            };
            println!("Session     {} ({}): {may}", session.name, session.phase);
        }
        if let Some(why) = &identity.cluster {
            println!("Cluster     {why}");
        }
        Ok(())
    }
}
