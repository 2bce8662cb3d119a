//! `rolectl`, the operator's tool. `commands/` has one file for each command.
// A command prints its result.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cluster;
mod commands;
mod duration;
mod failure;
mod field;
mod files;
mod fleet;
mod hints;
mod kept_session;
mod keys;
mod liveness;
mod managed;
mod mfa;
mod named;
mod objects;
mod once;
mod output;
mod paint;
mod schema;
mod session_cache;
mod stdio;
mod times;
mod used_code;
mod values;
mod waiting;
mod yaml;

use crate::stdio::eprintln;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use commands::{
    apply, bootstrap, describe, diff, explain, forget, get, import, init, lint, lock, plan, policy, request,
    shell, status, unlock, version, whoami,
};

/// Keep AWS IAM roles right in many accounts, on credentials that only your MFA code unlocks.
#[derive(Debug, Parser)]
#[command(name = "rolectl", version, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage. The help of each verb says what they mean there, and which others it has."
)]
struct Cli {
    #[command(flatten)]
    cluster: cluster::Flags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Unlock(unlock::Unlock),
    Lock(lock::Lock),
    Status(status::Status),
    Get(get::Get),
    Describe(describe::Describe),
    Diff(diff::Diff),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Destroy(apply::Destroy),
    Reconcile(request::Reconcile),
    Suspend(request::Suspend),
    Resume(request::Resume),
    Forget(forget::Forget),
    Import(import::Import),
    Bootstrap(bootstrap::Bootstrap),
    Init(init::Init),
    Lint(lint::Lint),
    Policy(policy::Policy),
    Explain(explain::Explain),
    Whoami(whoami::Whoami),
    Version(version::Version),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// Prints help, or the error of the command line, and returns the exit code.
fn without_command(error: &clap::Error) -> ExitCode {
    // An error means that nobody reads the output.
    let _ = error.print();
    let detailed = std::env::args_os().any(|arg| arg == "--detailed-exitcode");
    match error.exit_code() {
        // A typing error must not have the exit code of pending changes.
        2 if detailed => ExitCode::from(1),
        code => ExitCode::from(u8::try_from(code).unwrap_or(1)),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    rolectl_aws::process::forbid_core_dumps();
    stdio::finish(run().await)
}

async fn run() -> ExitCode {
    let Cli { cluster, verb } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return without_command(&error),
    };
    waiting::set_request_timeout(cluster.request_timeout);
    if cluster.utc {
        times::show_utc();
    }
    let done = match verb {
        Verb::Unlock(unlock) => unlock.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Lock(lock) => lock.run(&cluster).await,
        Verb::Status(status) => status.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Get(get) => get.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Describe(describe) => Box::pin(describe.run(&cluster)).await.map(|()| ExitCode::SUCCESS),
        Verb::Diff(diff) => Box::pin(diff.run(&cluster)).await,
        Verb::Bootstrap(bootstrap) => Box::pin(bootstrap.run(&cluster)).await,
        Verb::Import(import) => import.run(&cluster).await,
        Verb::Plan(plan) => plan.run(&cluster).await,
        Verb::Apply(apply) => apply.run(&cluster).await,
        Verb::Destroy(destroy) => destroy.run(&cluster).await,
        Verb::Reconcile(reconcile) => reconcile.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Suspend(suspend) => suspend.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Resume(resume) => resume.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Forget(forget) => forget.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Init(init) => init.run().map(|()| ExitCode::SUCCESS),
        Verb::Lint(lint) => lint.run(),
        Verb::Policy(policy) => policy.run(),
        Verb::Explain(explain) => explain.run().map(|()| ExitCode::SUCCESS),
        Verb::Whoami(whoami) => whoami.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Version(version) => version.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Completions(completions) => {
            completions.run(Cli::command());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Man(man) => man.run(Cli::command()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::from(failure.code())
    })
}
