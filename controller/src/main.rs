//! `rolectl-controller`: flags, then [`rolectl::reconcile::run`].

use std::error::Error;
use std::time::Duration;

use clap::Parser as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};
use rolectl::args::Args;
use rolectl::reconcile::{self, Options, error_chain};
use rolectl::{health, telemetry};
use tokio_util::sync::CancellationToken;

/// How long what was begun may take to come to its next safe point after SIGTERM.
const DRAIN: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let args = Args::parse();
    match run(args).await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %error_chain(&*error), "rolectl-controller cannot run");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    telemetry::init(&args.log, args.log_format)?;
    let shutdown = CancellationToken::new();
    let readiness = health::Readiness::default();
    health::serve(args.health_address, readiness.clone(), shutdown.clone()).await?;
    let client = Client::try_default().await?;
    let cluster = match args.cluster_name {
        Some(name) => name,
        None => cluster_uid(&client).await?,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        cluster,
        namespace = args.namespace,
        "rolectl-controller"
    );
    let options = Options {
        namespace: args.namespace,
        cluster,
        watch_namespace: args.watch_namespace,
        sessions: args.sessions,
        concurrency: args.concurrency,
        principal_patience: args.principal_patience.into(),
    };
    let mut controllers = tokio::spawn(reconcile::run(client, options, shutdown.clone(), move || {
        readiness.set();
    }));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = &mut controllers => return Err("a controller ended by itself; this is a defect".into()),
        _ = terminate.recv() => tracing::info!("SIGTERM: finishing the calls under way"),
        _ = tokio::signal::ctrl_c() => tracing::info!("interrupted: finishing the calls under way"),
    }
    shutdown.cancel();
    if tokio::time::timeout(DRAIN, controllers).await.is_ok() {
        tracing::info!("ended; what is unfinished goes on at the next start");
    } else {
        tracing::warn!("some calls did not end in time; the next start looks at their roles anew");
    }
    Ok(())
}

async fn cluster_uid(client: &Client) -> Result<String, Box<dyn Error>> {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = api.get("kube-system").await.map_err(|e| {
        format!("could not read the namespace kube-system to name this cluster: {e}. Give it a name with --cluster-name")
    })?;
    Ok(namespace.uid().unwrap_or_default())
}
