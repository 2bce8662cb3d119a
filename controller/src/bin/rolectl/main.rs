//! `rolectl`: the operator's tool. A file a verb, under `commands/`.
// This is the edge at which a person reads: printing is its work.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cluster;
mod commands;
mod failure;
mod files;
mod keys;
mod output;
mod used_code;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::{lint, lock, policy, status, unlock};

/// Keep AWS IAM roles right in many accounts, on credentials that only your MFA code unlocks.
#[derive(Debug, Parser)]
#[command(name = "rolectl", version, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed and nothing was changed, 2 wrong usage. Where a verb has others, its help says so."
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
    Lint(lint::Lint),
    Policy(policy::Policy),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { cluster, verb } = Cli::parse();
    let done = match verb {
        Verb::Unlock(unlock) => unlock.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Lock(lock) => lock.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Status(status) => status.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Lint(lint) => lint.run(),
        Verb::Policy(policy) => policy.run(),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::from(failure.code())
    })
}
