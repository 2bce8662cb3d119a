//! `rolectl`, the operator's tool. `commands/` has one file or folder for each command.
// A command prints its result.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod ancestors;
mod cluster;
mod commands;
mod completion;
mod duration;
mod failure;
mod field;
mod files;
mod fleet;
mod habits;
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

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use commands::{
    apply, approve, bootstrap, credential_process, describe, diff, doctor, events, exec, explain, forget,
    get, import, init, lint, lock, man, plan, policy, request, rollout, shell, status, unlock, version,
    whoami,
};

/// Keep AWS IAM roles right in many accounts, on credentials that only your MFA code unlocks.
#[derive(Debug, Parser)]
#[command(name = "rolectl", version, propagate_version = true, max_term_width = 100)]
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
    Events(events::Events),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Approve(approve::Approve),
    Destroy(apply::Destroy),
    Reconcile(request::Reconcile),
    Suspend(request::Suspend),
    Resume(request::Resume),
    Rollout(rollout::Rollout),
    Forget(forget::Forget),
    Import(import::Import),
    Exec(exec::Exec),
    CredentialProcess(credential_process::CredentialProcess),
    Bootstrap(bootstrap::Bootstrap),
    Init(init::Init),
    Lint(lint::Lint),
    Policy(policy::Policy),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Whoami(whoami::Whoami),
    Version(version::Version),
    Completions(shell::Completions),
    Man(man::Man),
}

/// Prints help, or the error of the command line, and returns the exit code.
fn without_command(error: &clap::Error) -> ExitCode {
    // An error means that nobody reads the output.
    let _ = error.print();
    let verb = error.get(ContextKind::InvalidSubcommand);
    if let Some(ContextValue::String(verb)) = verb
        && let Some(instead) = habits::instead(verb)
    {
        eprintln!("  next: {instead}");
    }
    let detailed = std::env::args_os().any(|arg| arg == "--detailed-exitcode");
    match error.exit_code() {
        // A typing error must not have the exit code of pending changes.
        2 if detailed => ExitCode::from(1),
        code => ExitCode::from(u8::try_from(code).unwrap_or(1)),
    }
}

/// Verbs that use no cluster. Their help does not show its flags.
const WITHOUT_CLUSTER: [&str; 6] = ["init", "lint", "policy", "explain", "completions", "man"];

/// Returns the command line of this program.
fn command() -> Command {
    let command = Cli::command();
    let flags: Vec<Arg> = command
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .map(|arg| arg.clone().hide(true))
        .collect();
    let verbs: Vec<String> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    // A changed verb becomes the last one, so that each is passed through to keep the order.
    verbs.into_iter().fold(command, |command, name| {
        command.mut_subcommand(&name, |verb| {
            if !WITHOUT_CLUSTER.contains(&name.as_str()) {
                return verb;
            }
            // They stay valid after the verb. A flag of the verb's own, such as -n of `init`, is shown.
            let own: Vec<_> = verb.get_arguments().map(|arg| arg.get_id().clone()).collect();
            verb.args(flags.iter().filter(|flag| !own.contains(flag.get_id())))
        })
    })
}

fn main() -> ExitCode {
    rolectl_aws::process::forbid_core_dumps();
    if completion::is_answered(command) {
        return ExitCode::SUCCESS;
    }
    start()
}

#[tokio::main]
async fn start() -> ExitCode {
    stdio::finish(run().await)
}

async fn run() -> ExitCode {
    let args = habits::with_two_dashes(std::env::args_os(), &command());
    let Cli { cluster, verb } = match command()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
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
        Verb::Events(events) => events.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Doctor(doctor) => Box::pin(doctor.run(&cluster)).await,
        Verb::Exec(exec) => Box::pin(exec.run(&cluster)).await,
        Verb::CredentialProcess(process) => Box::pin(process.run(&cluster)).await,
        Verb::Import(import) => import.run(&cluster).await,
        Verb::Plan(plan) => plan.run(&cluster).await,
        Verb::Apply(apply) => apply.run(&cluster).await,
        Verb::Approve(approve) => Box::pin(approve.run(&cluster)).await,
        Verb::Destroy(destroy) => destroy.run(&cluster).await,
        Verb::Reconcile(reconcile) => reconcile.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Suspend(suspend) => suspend.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Resume(resume) => resume.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Rollout(rollout) => rollout.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Forget(forget) => forget.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Init(init) => init.run().map(|()| ExitCode::SUCCESS),
        Verb::Lint(lint) => lint.run(),
        Verb::Policy(policy) => policy.run(),
        Verb::Explain(explain) => explain.run().map(|()| ExitCode::SUCCESS),
        Verb::Whoami(whoami) => whoami.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Version(version) => version.run(&cluster).await.map(|()| ExitCode::SUCCESS),
        Verb::Completions(completions) => {
            completions.run(command());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Man(man) => man.run(command()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        ExitCode::from(failure.code())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widest line of help.
    const WIDTH: usize = 100;

    /// Calls `visit` with a command and with all below it.
    fn each(command: &mut Command, visit: &mut impl FnMut(&mut Command)) {
        visit(command);
        for below in command.get_subcommands_mut() {
            each(below, visit);
        }
    }

    #[test]
    fn the_flags_of_all_verbs_contradict_nothing() {
        command().debug_assert();
    }

    #[test]
    fn help_fits_100_columns_and_breaks_no_example() {
        let mut command = command().term_width(WIDTH);
        command.build();
        let (mut seen, mut wide) = (0, vec![]);
        each(&mut command, &mut |command| {
            let examples = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let examples = examples
                .lines()
                .filter(|line| line.starts_with("  "))
                .map(str::to_owned);
            let helps = [command.render_help(), command.render_long_help()].map(|help| help.to_string());
            for line in helps
                .iter()
                .flat_map(|help| help.lines())
                .map(str::to_owned)
                .chain(examples)
            {
                if line.chars().count() > WIDTH {
                    wide.push(format!("{}: {line}", command.get_name()));
                }
            }
            seen += 1;
        });
        assert!(seen > 30, "{seen}");
        assert!(wide.is_empty(), "{}", wide.join("\n"));
    }

    #[test]
    fn a_verb_without_a_cluster_takes_its_flags_and_does_not_show_them() {
        let mut command = command();
        command.build();
        for name in WITHOUT_CLUSTER {
            let verb = command.find_subcommand_mut(name).unwrap();
            each(verb, &mut |verb| {
                let help = verb.render_long_help().to_string();
                assert!(
                    !help.contains("--kubeconfig") && !help.contains("Cluster:"),
                    "{help}"
                );
            });
        }
        let get = command.find_subcommand_mut("get").unwrap();
        assert!(get.render_long_help().to_string().contains("--kubeconfig"));
        for line in [
            "rolectl --context x get roles",
            "rolectl get roles --context x",
            "rolectl --context x lint a",
            "rolectl lint a --context x -n b",
            "rolectl -n a policy fmt b --kubeconfig c",
        ] {
            let parsed = super::command().try_get_matches_from(line.split(' '));
            assert!(
                parsed.and_then(|matches| Cli::from_arg_matches(&matches)).is_ok(),
                "{line}"
            );
        }
    }

    #[test]
    fn the_order_of_verbs_is_that_of_the_program() {
        let names = |command: &Command| -> Vec<String> {
            command
                .get_subcommands()
                .map(|verb| verb.get_name().to_owned())
                .collect()
        };
        assert_eq!(names(&command()), names(&Cli::command()));
    }
}
