//! Completes values in shells: names from the cluster, states and reasons.
//!
//! This uses the dynamic engine of `clap_complete`, which is marked unstable. It alone can ask this program for values while a user types;
//! scripts of our own for each shell would be more code. Its interface is used in this file only.

use std::ffi::OsStr;
use std::sync::mpsc;
use std::time::Duration;

use clap::Command;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use rolectl_crds::{AwsAccount, IamRole, MfaSession, Reason};

use crate::cluster;
use crate::named::kind;
use crate::objects::{NOT_SEEN, ORPHANED};
use crate::values::is_dns;

/// The environment variable by which the scripts ask for values.
const VARIABLE: &str = "ROLECTL_COMPLETE";
/// How long the cluster is asked. It is less than the time after which a slow request is reported.
const LIMIT: Duration = Duration::from_millis(1800);
/// Number of names that are asked for.
const MAX_NAMES: u32 = 500;

/// What the values of an argument name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Accounts,
    Sessions,
    Roles,
    Namespaces,
    /// `role/NAME` and `account/NAME`.
    Objects,
    States,
    Reasons,
}

impl Values {
    /// Returns what the values of an argument of a verb name. `None` for arguments without such values.
    fn of(verb: &str, argument: &str) -> Option<Self> {
        Some(match (verb, argument) {
            ("policy" | "bootstrap" | "lint" | "init" | "irsa" | "pod-identity", _) => return None,
            (_, "accounts") | ("get" | "forget" | "exec" | "credential-process", "account") => Self::Accounts,
            ("unlock" | "lock" | "exec" | "credential-process", "session") => Self::Sessions,
            ("forget", "roles") => Self::Roles,
            ("get", "name")
            | ("reconcile" | "suspend" | "resume" | "abort" | "describe" | "diff" | "events", "words") => {
                Self::Objects
            }
            ("status", "words") => Self::Objects,
            (_, "namespace" | "controller_namespace") | ("import", "into") => Self::Namespaces,
            ("get", "state") => Self::States,
            ("explain", "reason") => Self::Reasons,
            _ => return None,
        })
    }

    /// Returns all values. Empty if the cluster does not answer in time.
    fn all(self) -> Vec<String> {
        match self {
            Self::States | Self::Reasons => {
                let more = if self == Self::States {
                    ORPHANED.as_str()
                } else {
                    NOT_SEEN
                };
                let all = Reason::ALL.iter().map(|reason| reason.as_str().to_owned());
                all.chain([more.to_owned()]).collect()
            }
            _ => within(LIMIT, move || self.read()).unwrap_or_default(),
        }
    }

    /// Asks the cluster that the command line names.
    fn read(self) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return vec![] };
        let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> = words.skip_while(|word| word != "--").skip(1).collect();
        // After a kind, its name alone: `describe role app`.
        let kind = words.iter().rev().nth(1).and_then(|word| kind(word));
        let flags = flags(words.into_iter());
        let names = runtime.block_on(async {
            let client = flags.client().await.ok()?;
            let roles = || match &flags.namespace {
                Some(namespace) => Api::<IamRole>::namespaced(client.clone(), namespace),
                None => Api::default_namespaced(client.clone()),
            };
            let accounts = || Api::<AwsAccount>::all(client.clone());
            Some(match self {
                Self::Accounts => names(&accounts()).await,
                Self::Sessions => names(&Api::<MfaSession>::all(client.clone())).await,
                Self::Roles => names(&roles()).await,
                Self::Namespaces => names(&Api::<Namespace>::all(client.clone())).await,
                Self::Objects => {
                    let (roles, accounts) = (roles(), accounts());
                    match kind {
                        Some("IamRole") => return Some(names(&roles).await),
                        Some("AwsAccount") => return Some(names(&accounts).await),
                        Some(_) => return Some(names(&Api::<MfaSession>::all(client.clone())).await),
                        None => {}
                    }
                    let (roles, accounts) = tokio::join!(names(&roles), names(&accounts));
                    let roles = roles.into_iter().map(|name| format!("role/{name}"));
                    let accounts = accounts.into_iter().map(|name| format!("account/{name}"));
                    roles.chain(accounts).collect()
                }
                Self::States | Self::Reasons => vec![],
            })
        });
        runtime.shutdown_background();
        names.unwrap_or_default()
    }
}

/// Returns the names of the objects of an API. Empty if the cluster refuses. A shell reads them, so that nothing but a name is returned.
async fn names<K>(api: &Api<K>) -> Vec<String>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let list = api.list_metadata(&ListParams::default().limit(MAX_NAMES)).await;
    let names = list.into_iter().flatten().map(|object| object.name_any());
    names.filter(|name| is_dns(name, 253, "-.")).collect()
}

/// Runs `work` in a thread, and returns its result if there is one in time. A plugin of a kubeconfig can block a thread for longer.
fn within<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(work()));
    receive.recv_timeout(limit).ok()
}

/// Returns the flags of the cluster in the words of an unfinished command line.
fn flags(words: impl Iterator<Item = String>) -> cluster::Flags {
    let words: Vec<String> = words.collect();
    let value = |names: [&str; 2]| {
        let mut found = None;
        for (n, word) in words.iter().enumerate() {
            for name in names {
                if word == name {
                    found = words.get(n + 1).cloned();
                } else if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                    found = Some(value.to_owned());
                }
            }
        }
        found.filter(|value| !value.is_empty())
    };
    cluster::Flags::of(
        value(["--kubeconfig", "--kubeconfig"]).map(Into::into),
        value(["--context", "--context"]),
        value(["--namespace", "-n"]),
    )
}

/// Returns the command with the values of its arguments.
fn with_values(command: Command) -> Command {
    let verb = command.get_name().to_owned();
    let below: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .collect();
    let command = command.mut_args(|argument| {
        let Some(values) = Values::of(&verb, argument.get_id().as_str()) else {
            return argument;
        };
        argument.add(ArgValueCompleter::new(move |typed: &OsStr| {
            let typed = typed.to_string_lossy();
            let fitting = values
                .all()
                .into_iter()
                .filter(|value| value.starts_with(&*typed));
            fitting.map(CompletionCandidate::new).collect::<Vec<_>>()
        }))
    });
    below.into_iter().fold(command, |command, below| {
        command.mut_subcommand(below, with_values)
    })
}

/// Answers a script that asks for completions. Returns false if this is an ordinary run.
///
/// It must run before any thread is started, because the engine removes a variable from the environment.
pub fn is_answered(command: fn() -> Command) -> bool {
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(move || with_values(command()))
        .var(VARIABLE)
        .try_complete(std::env::args_os(), folder.as_deref())
        // An error is not for the line on which the user types.
        .unwrap_or(true)
}

/// Returns the script by which a shell asks this program for completions.
pub fn script(shell: Shell) -> Option<String> {
    let shells = Shells::builtins();
    let mut script = vec![];
    shells
        .completer(&shell.to_string())?
        .write_registration(VARIABLE, "rolectl", "rolectl", "rolectl", &mut script)
        .ok()?;
    String::from_utf8(script).ok()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// Returns the arguments with values, as `verb argument`.
    fn arguments(command: &Command) -> Vec<String> {
        let own = command.get_arguments().filter_map(|argument| {
            argument.get::<ArgValueCompleter>()?;
            Some(format!("{} {}", command.get_name(), argument.get_id()))
        });
        own.chain(command.get_subcommands().flat_map(arguments)).collect()
    }

    #[test]
    fn names_of_each_kind_are_completed() {
        let mut command = with_values(crate::command());
        command.build();
        let all = arguments(&command);
        for argument in [
            "get name",
            "get account",
            "get state",
            "describe words",
            "diff words",
            "events words",
            "exec account",
            "credential-process session",
            "explain reason",
            "unlock session",
            "lock session",
            "plan accounts",
            "forget roles",
            "forget account",
            "import into",
            "reconcile words",
            "status namespace",
        ] {
            assert!(all.iter().any(|one| one == argument), "{argument}: {all:?}");
        }
        assert!(!all.iter().any(|one| one.starts_with("irsa")), "{all:?}");
    }

    #[test]
    fn the_states_are_those_of_the_api() {
        let states = Values::States.all();
        assert!(states.len() > Reason::ALL.len());
        for state in ["InSync", "Drifted", "Orphaned"] {
            assert!(states.iter().any(|one| one == state), "{states:?}");
        }
    }

    #[test]
    fn work_that_takes_too_long_has_no_result() {
        let (_hold, forever) = mpsc::channel::<()>();
        assert!(within(Duration::from_millis(10), move || forever.recv()).is_none());
        assert_eq!(within(Duration::from_mins(1), || 1), Some(1));
    }

    #[test]
    fn each_shell_has_a_script_that_calls_the_program() {
        for shell in Shell::value_variants() {
            let script = script(*shell).unwrap();
            assert!(
                script.contains("rolectl") && script.contains(VARIABLE),
                "{shell}: {script}"
            );
        }
    }

    #[test]
    fn the_cluster_is_the_one_of_the_command_line() {
        let line = "rolectl --context=a get roles -n apps --kubeconfig /k";
        let flags = flags(line.split(' ').map(str::to_owned));
        assert!(flags.names_a_cluster());
        assert_eq!(flags.namespace.as_deref(), Some("apps"));
        assert!(!super::flags(["get".to_owned()].into_iter()).names_a_cluster());
    }
}
