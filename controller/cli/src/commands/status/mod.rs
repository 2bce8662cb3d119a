//! Implements `rolectl status`.

mod page;
mod short;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use kube::Client;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{self, Selection};
use crate::failure::Failure;
use crate::liveness::{self, Liveness};
use crate::objects::{AccountRow, RoleLine, SessionRow};
use crate::output::{Document, Format, Layout, machine};
use crate::stdio::{is_closed, println, terminal_size};
use crate::times::time_of_day;

/// Show the session, the accounts and the roles
///
/// Counts come first, then what is not in sync, then the rest. Messages are cut to the terminal: `-o json` and `rolectl describe` have
/// them in full. The last line warns if no controller is running, by its Leases and by the times of its sweeps. Without a controller
/// the conditions stay as they are.
///
/// Roles are those of all namespaces, unless -n names one, or the context of the kubeconfig one other than `default`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl status
  rolectl status -n platform -w
  rolectl status --short                     for a prompt: main 3h12m
  rolectl status -o json | jq '.roles[] | select(.ready != \"True\")'

Exit codes: 0 shown, whatever it shows, 1 failed, 2 wrong usage.")]
pub struct Status {
    /// Roles of all namespaces, also if the context of the kubeconfig names one
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    /// Look again every 2 seconds, until Ctrl-C
    #[arg(long, short, conflicts_with = "output")]
    watch: bool,
    /// Only the name of each session and how long it lasts, in one line
    #[arg(long, conflicts_with_all = ["output", "watch", "all_namespaces"])]
    short: bool,
}

/// The state of the cluster.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    controller: Liveness,
    sessions: Vec<SessionRow>,
    accounts: Vec<AccountRow>,
    roles: Vec<RoleLine>,
    /// What the user may not read, with what to ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_shown: Vec<String>,
}

impl Document for Overview {
    const KIND: &'static str = "Status";
}

/// Time between two reads of the cluster.
const PAUSE: Duration = Duration::from_secs(2);

impl Status {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let client = flags.client().await?;
        if self.short {
            let sessions = cluster::sessions(&client).await?;
            let rows: Vec<SessionRow> = sessions.into_iter().map(SessionRow::from).collect();
            println!("{}", short::line(&rows, Timestamp::now()));
            return Ok(());
        }
        if !self.watch {
            let overview = self.read(&client, flags).await?;
            if self.output != Format::Table {
                return machine(self.output, &overview);
            }
            for line in overview.lines(Timestamp::now(), Layout::of_stdout()) {
                println!("{line}");
            }
            return Ok(());
        }
        // A failure of the first read ends the command, because the request is probably wrong. Later failures can be temporary.
        let mut seen = self.read(&client, flags).await?;
        loop {
            redraw(seen.lines(Timestamp::now(), Layout::of_stdout()));
            if is_closed() {
                return Ok(());
            }
            seen = loop {
                tokio::time::sleep(PAUSE).await;
                match self.read(&client, flags).await {
                    Ok(seen) => break seen,
                    Err(failure) => {
                        redraw(failure.to_string().lines().map(str::to_owned).collect());
                        if is_closed() {
                            return Ok(());
                        }
                    }
                }
            };
        }
    }

    /// Reads what the user may see. Fails if that is nothing.
    async fn read(&self, client: &Client, flags: &cluster::Flags) -> Result<Overview, Failure> {
        let selection = Selection {
            namespace: flags.listed_namespace(client, self.all_namespaces),
            labels: None,
        };
        let mut refused = vec![];
        let sessions = or_refused(cluster::sessions(client).await, &mut refused)?;
        let accounts = or_refused(cluster::accounts(client).await, &mut refused)?;
        let (roles, unreadable) = or_refused(cluster::visible_roles(client, selection).await, &mut refused)?;
        if refused.len() > 2 {
            return Err(refused.swap_remove(0));
        }
        let mut roles: Vec<RoleLine> = roles.into_iter().map(RoleLine::from).collect();
        roles.extend(unreadable.into_iter().map(RoleLine::from));
        roles.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let controller = liveness::check(client, &flags.controller_namespace, &accounts, &sessions).await;
        let not_shown = refused
            .into_iter()
            .map(|failure| format!("{}; {}", failure.what(), failure.next()));
        Ok(Overview {
            controller,
            sessions: sessions.into_iter().map(SessionRow::from).collect(),
            accounts: accounts.into_iter().map(AccountRow::from).collect(),
            roles,
            not_shown: not_shown.collect(),
        })
    }
}

/// Returns nothing, and keeps the failure, for what the user may not read.
fn or_refused<T: Default>(read: Result<T, Failure>, refused: &mut Vec<Failure>) -> Result<T, Failure> {
    match read {
        Err(failure) if failure.is_forbidden() => {
            refused.push(failure);
            Ok(T::default())
        }
        other => other,
    }
}

/// Replaces what the terminal shows by these lines and the time. Shows only what fits. Appends the lines if stdout is no terminal.
fn redraw(lines: Vec<String>) {
    let mut out = std::io::stdout();
    if out.is_terminal() {
        // This sets no colour, so `NO_COLOR` does not apply.
        let _ = out.write_all(b"\x1b[H\x1b[2J");
    }
    let height = terminal_size().map(|(_, height)| height);
    for line in page::fitting(lines, height) {
        println!("{line}");
    }
    println!("\n{}", time_of_day(Timestamp::now()));
}
