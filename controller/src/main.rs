//! `rolectl-controller`: flags, then [`rolectl_controller::reconcile::run`].

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};
use rolectl_controller::args::Args;
use rolectl_controller::metrics::Metrics;
use rolectl_controller::reconcile::{self, Options};
use rolectl_controller::{health, telemetry};
use rolectl_core::causes::error_chain;
use tokio_util::sync::CancellationToken;

/// How long what was begun may take to come to its next safe point after SIGTERM.
const DRAIN: Duration = Duration::from_secs(11);

/// Gives memory back once a burst is over; glibc's keeps what it once had, and musl's is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let replica = replica(args.replica.clone());
    let traces = telemetry::init(&args.log, args.log_format, args.traces().as_deref(), &replica)?;
    rolectl_aws::process::forbid_core_dumps();
    let shutdown = CancellationToken::new();
    let readiness = health::Readiness::default();
    let metrics = Arc::<Metrics>::default();
    health::serve(
        args.health_address,
        readiness.clone(),
        metrics.clone(),
        shutdown.clone(),
    )
    .await?;
    // Before the first connection, which must not go another way than configured.
    rolectl_aws::network::check()?;
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
        shards: args.shards,
        replica,
        concurrency: args.concurrency,
        principal_patience: args.principal_patience.into(),
    };
    let mut controllers = tokio::spawn(reconcile::run(
        client,
        options,
        shutdown.clone(),
        metrics,
        readiness,
    ));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = &mut controllers => {
            // What led to it may be in them.
            traces.flush().await;
            return Err("a controller ended by itself; this is a defect".into());
        }
        _ = terminate.recv() => tracing::info!("SIGTERM: finishing the calls under way"),
        _ = tokio::signal::ctrl_c() => tracing::info!("interrupted: finishing the calls under way"),
    }
    shutdown.cancel();
    if tokio::time::timeout(DRAIN, controllers).await.is_ok() {
        tracing::info!("ended; what is unfinished continues at the next start");
    } else {
        tracing::warn!("some calls did not end in time; the next start reads their roles again");
    }
    traces.flush().await;
    Ok(())
}

/// A name that no replica had before, so that a restarted one does not take itself for the one that was killed.
fn replica(given: Option<String>) -> String {
    let host = || std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = given.unwrap_or_else(host).trim().to_lowercase();
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.chars().map(fits).take(40).collect();
    let name = if name.is_empty() {
        "replica"
    } else {
        name.trim_matches('-')
    };
    format!("{name}-{:06x}", rand::random_range(0..0x0100_0000))
}

async fn cluster_uid(client: &Client) -> Result<String, Box<dyn Error>> {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = api.get("kube-system").await.map_err(|e| {
        format!("could not read the namespace kube-system to name this cluster: {e}. Give it a name with --cluster-name")
    })?;
    Ok(namespace.uid().unwrap_or_default())
}
