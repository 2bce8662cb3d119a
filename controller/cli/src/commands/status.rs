//! Implements `rolectl status`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Client, ResourceExt as _};
use serde::Serialize;

use rolectl_crds::{AccountStatus, AwsAccount, ConditionType, IamRole, MfaSession, Phase, Reason};
use rolectl_kube::objects::Unreadable;

use crate::cluster;
use crate::failure::Failure;
use crate::liveness::{self, Liveness};
use crate::output::{Format, machine, moment, table};
use crate::stdio::{is_closed, println};

/// Show the session, the accounts and the roles
///
/// The last line warns if no controller is running, by its Leases and by the times of its sweeps. Without a controller the conditions
/// stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl status
  rolectl status -n platform -w
  rolectl status -o json | jq '.roles[] | select(.ready != \"True\")'

Exit codes: 0 shown, whatever it shows, 1 failed, 2 wrong usage.")]
pub struct Status {
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    /// Look again every 2 seconds, until Ctrl-C
    #[arg(long, short, conflicts_with = "output")]
    watch: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    controller: Liveness,
    sessions: Vec<SessionLine>,
    accounts: Vec<AccountLine>,
    roles: Vec<RoleLine>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionLine {
    name: String,
    phase: Phase,
    expires_at: Option<Timestamp>,
    unlocked_by: Option<String>,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountLine {
    name: String,
    account_id: String,
    session: String,
    ready: String,
    reason: String,
    managed: Option<u32>,
    drifted: Option<u32>,
    last_sweep: Option<Timestamp>,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RoleLine {
    namespace: String,
    name: String,
    ready: String,
    summary: String,
    reason: String,
    message: String,
    accounts: Vec<AccountStatus>,
}

/// Time between two reads of the cluster.
const PAUSE: Duration = Duration::from_secs(2);

impl Status {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let client = flags.client().await?;
        if !self.watch {
            let overview = Overview::of(&client, flags).await?;
            if self.output != Format::Table {
                return machine(self.output, &overview);
            }
            overview.print(Timestamp::now());
            return Ok(());
        }
        // A failure of the first read ends the command, because the request is probably wrong. Later failures can be temporary.
        let mut seen = Overview::of(&client, flags).await?;
        loop {
            clear();
            seen.print(Timestamp::now());
            if !print_time() {
                return Ok(());
            }
            seen = loop {
                tokio::time::sleep(PAUSE).await;
                match Overview::of(&client, flags).await {
                    Ok(seen) => break seen,
                    Err(failure) => {
                        clear();
                        println!("{failure}");
                        if !print_time() {
                            return Ok(());
                        }
                    }
                }
            };
        }
    }
}

/// Clears the terminal. Does nothing unless stdout is a terminal. Sets no colour, so `NO_COLOR` does not apply.
fn clear() {
    let mut out = std::io::stdout();
    if out.is_terminal() {
        let _ = out.write_all(b"\x1b[H\x1b[2J");
    }
}

/// Prints the time. Returns false if nobody reads stdout.
fn print_time() -> bool {
    println!("\n{}", Timestamp::now().strftime("%H:%M:%S UTC"));
    !is_closed()
}

/// Returns the status, the reason and the message of the condition `Ready`.
fn ready(conditions: &[Condition]) -> (String, String, String) {
    conditions
        .iter()
        .find(|c| c.type_ == ConditionType::Ready.as_str())
        .map_or_else(
            || {
                (
                    "Unknown".to_owned(),
                    "NotSeen".to_owned(),
                    "the controller has not looked yet".to_owned(),
                )
            },
            |c| (c.status.clone(), c.reason.clone(), c.message.clone()),
        )
}

fn session_line(session: MfaSession) -> SessionLine {
    let name = session.name_any();
    let status = session.status.unwrap_or_default();
    SessionLine {
        name,
        phase: status.phase,
        expires_at: status.expires_at.map(|t| t.0),
        unlocked_by: status.unlocked_by,
        message: ready(&status.conditions).2,
    }
}

fn account_line(account: AwsAccount) -> AccountLine {
    let name = account.name_any();
    let status = account.status.unwrap_or_default();
    let (ready, reason, message) = ready(&status.conditions);
    AccountLine {
        name,
        account_id: account.spec.account_id,
        session: account.spec.session_ref,
        ready,
        reason,
        managed: status.roles.map(|r| r.managed),
        drifted: status.roles.map(|r| r.drifted),
        last_sweep: status.last_sweep_time.map(|t| t.0),
        message,
    }
}

fn role_line(role: IamRole) -> RoleLine {
    let (namespace, name) = (role.namespace().unwrap_or_default(), role.name_any());
    let status = role.status.unwrap_or_default();
    let (ready, reason, message) = ready(&status.conditions);
    RoleLine {
        namespace,
        name,
        ready,
        reason,
        message,
        summary: status.summary.unwrap_or_default(),
        accounts: status.accounts,
    }
}

/// Returns the line for an object that cannot be read, so that the user notices it.
fn unreadable_line(object: Unreadable) -> RoleLine {
    RoleLine {
        ready: "False".to_owned(),
        summary: String::new(),
        reason: Reason::InvalidSpec.as_str().to_owned(),
        message: format!("the object cannot be read: {}", object.problem),
        accounts: vec![],
        namespace: object.metadata.namespace.unwrap_or_default(),
        name: object.metadata.name.unwrap_or_default(),
    }
}

impl Overview {
    async fn of(client: &Client, flags: &cluster::Flags) -> Result<Self, Failure> {
        let sessions = cluster::sessions(client).await?;
        let accounts = cluster::accounts(client).await?;
        let (roles, unreadable) = cluster::roles_and_unreadable(client, flags.namespace.as_deref()).await?;
        let mut roles: Vec<RoleLine> = roles.into_iter().map(role_line).collect();
        roles.extend(unreadable.into_iter().map(unreadable_line));
        roles.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let controller = liveness::check(client, &flags.controller_namespace, &accounts, &sessions).await;
        Ok(Self {
            controller,
            sessions: sessions.into_iter().map(session_line).collect(),
            accounts: accounts.into_iter().map(account_line).collect(),
            roles,
        })
    }

    fn print(self, now: Timestamp) {
        let when = |t: Option<Timestamp>| t.map_or_else(|| "-".to_owned(), |t| moment(t, now));
        let number = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let sessions = self.sessions.into_iter().map(|s| {
            vec![
                s.name,
                s.phase.to_string(),
                when(s.expires_at),
                s.unlocked_by.unwrap_or_else(|| "-".to_owned()),
            ]
        });
        println!(
            "{}\n",
            table(&["SESSION", "PHASE", "EXPIRES", "BY"], sessions.collect())
        );
        let accounts = self.accounts.into_iter().map(|a| {
            let why = if a.ready == "True" {
                String::new()
            } else {
                a.message
            };
            vec![
                a.name,
                a.account_id,
                a.ready,
                a.reason,
                number(a.managed),
                number(a.drifted),
                when(a.last_sweep),
                why,
            ]
        });
        let header = [
            "ACCOUNT",
            "ID",
            "READY",
            "REASON",
            "MANAGED",
            "DRIFTED",
            "LAST SWEEP",
            "MESSAGE",
        ];
        println!("{}\n", table(&header, accounts.collect()));
        let roles = self.roles.into_iter().map(|r| {
            let why = if r.ready == "True" {
                String::new()
            } else {
                r.message
            };
            vec![
                format!("{}/{}", r.namespace, r.name),
                r.ready,
                r.summary,
                r.reason,
                why,
            ]
        });
        println!(
            "{}",
            table(
                &["ROLE", "READY", "ACCOUNTS", "REASON", "MESSAGE"],
                roles.collect()
            )
        );
        // The last line is visible below a long list.
        if let Some(warning) = self.controller.warning(now) {
            println!("\nWarning: {warning}. All of the above is as it was then.");
        }
    }
}
