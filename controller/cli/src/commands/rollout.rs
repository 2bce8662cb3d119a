//! Implements `rolectl rollout`.

use std::collections::BTreeMap;
use std::fmt;

use clap::{Args, Subcommand};
use kube::{Api, Client, ResourceExt as _};
use rolectl_core::conditions::ready_reason;
use rolectl_core::rollout::{Command, Seen, State, is_unavailable, wave_of};
use rolectl_core::selection::targets;
use rolectl_crds::{AccountStatus, AwsAccount, IamRole, ROLLOUT_ANNOTATION, Reason};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::describe::read_role;
use super::request::patch_in;
use crate::cluster::{self, Flags};
use crate::failure::Failure;
use crate::named::{Named, ObjectArgs};
use crate::objects::ready_condition;
use crate::output::{Cell, Colour, Document, Format, Layout, counted, lines, machine, printable};
use crate::stdio::println;

/// Show how far a change of a role is in its accounts, continue it after a failure, or abort it
///
/// A change of an IamRole reaches its accounts in waves where `spec.rollout` or `spec.wave` of the AwsAccounts say so.
#[derive(Debug, Args)]
pub struct Rollout {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Status(Status),
    Resume(Resume),
    Abort(Abort),
}

/// Show which accounts have the change, and what the others wait for
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl rollout status role/app -n platform
  rolectl rollout status role/app -n platform -o json

Exit codes: 0 shown, 1 failed, 2 wrong usage.")]
struct Status {
    #[command(flatten)]
    object: ObjectArgs,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Continue a rollout that has stopped, despite the failures so far
///
/// As many further failures as `spec.rollout.maxFailures` allows stop it again. It counts until the spec changes.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  rolectl rollout resume role/app -n platform

Exit codes: 0 requested, 1 failed, or the rollout has not stopped, 2 wrong usage.")]
struct Resume {
    #[command(flatten)]
    object: ObjectArgs,
}

/// Leave the accounts whose change has not begun as they are, until the spec changes
///
/// An account that is being changed is completed. Drift is corrected in accounts that have the change.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  rolectl rollout abort role/app -n platform

Exit codes: 0 requested, 1 failed, or no account waits, 2 wrong usage.")]
struct Abort {
    #[command(flatten)]
    object: ObjectArgs,
}

/// How far an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Stage {
    /// It has the change.
    Done,
    /// It is being changed.
    Working,
    /// The change failed.
    Failed,
    /// It cannot be used, and does not delay the others.
    Unavailable,
    /// The change has not begun.
    Waiting,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Working => "working",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
            Self::Waiting => "waiting",
        })
    }
}

/// An account of the role.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RolloutAccount")]
struct Line {
    account: String,
    /// Number of its wave. Absent if you may not read the `AwsAccount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    wave: Option<u32>,
    state: Stage,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// The rollout of a role.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Rollout")]
pub struct RolloutReport {
    namespace: String,
    name: String,
    generation: Option<i64>,
    /// True if the change begins in no further account until a person acts.
    stopped: bool,
    /// The message of the condition `Ready`.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    accounts: Vec<Line>,
    /// Number of accounts that the status only counts.
    not_shown: u32,
}

impl Document for RolloutReport {
    const KIND: &'static str = "Rollout";
}

impl Rollout {
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        match self.verb {
            Verb::Status(status) => status.run(flags).await,
            Verb::Resume(resume) => resume.run(flags).await,
            Verb::Abort(abort) => abort.run(flags).await,
        }
    }
}

/// Returns the role that is named, with its accounts and its rollout.
async fn read(client: &Client, object: &ObjectArgs) -> Result<(IamRole, RolloutReport), Failure> {
    let Named::Role(name) = object.named()? else {
        return Err(Failure::new("only a role has a rollout", "name one: role/NAME").usage());
    };
    let role = read_role(client, &name).await?;
    // A tenant may not read accounts. The status of the role has what counts.
    let accounts = match cluster::accounts(client).await {
        Err(failure) if failure.is_forbidden() => vec![],
        other => other?,
    };
    let report = report(&role, &accounts);
    Ok((role, report))
}

impl Status {
    async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let (_, report) = read(&flags.client().await?, &self.object).await?;
        if self.output != Format::Table {
            return machine(self.output, &report);
        }
        for line in report.text() {
            println!("{line}");
        }
        Ok(())
    }
}

impl Resume {
    async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let client = flags.client().await?;
        let (role, report) = read(&client, &self.object).await?;
        if !report.stopped {
            return Err(Failure::new(
                format!("the rollout of {} has not stopped", report.shown()),
                "rolectl rollout status shows what its accounts wait for",
            ));
        }
        let failures = report.count(Stage::Failed);
        let command = Command::Resume(Some(u32::try_from(failures).unwrap_or(u32::MAX)));
        request(&client, &role, command).await?;
        let despite = counted(failures, "failure");
        println!("{}: the rollout continues despite {despite}.", report.shown());
        Ok(())
    }
}

impl Abort {
    async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let client = flags.client().await?;
        let (role, report) = read(&client, &self.object).await?;
        let waiting = report.count(Stage::Waiting);
        if waiting == 0 && report.not_shown == 0 {
            return Err(Failure::new(
                format!("no account waits for the change of {}", report.shown()),
                "to undo the change, change the spec back",
            ));
        }
        request(&client, &role, Command::Abort).await?;
        println!(
            "{}: the rollout is aborted, and {} not changed.",
            report.shown(),
            match waiting {
                1 => "1 account is".to_owned(),
                count => format!("{count} accounts are"),
            }
        );
        Ok(())
    }
}

/// Writes the request on the object. It counts for the generation that was read only.
async fn request(client: &Client, role: &IamRole, command: Command) -> Result<(), Failure> {
    let value = role
        .metadata
        .generation
        .and_then(|generation| command.value(generation));
    let change = json!({"metadata": {"annotations": {ROLLOUT_ANNOTATION: value}}});
    let shown = format!(
        "IamRole {}/{}",
        role.namespace().unwrap_or_default(),
        role.name_any()
    );
    let roles: Api<IamRole> = Api::default_namespaced(client.clone());
    patch_in(&roles, &role.name_any(), &change, &shown).await
}

/// Returns the rollout by the role's status and the accounts.
fn report(role: &IamRole, accounts: &[AwsAccount]) -> RolloutReport {
    let generation = role.metadata.generation;
    let status = role.status.clone().unwrap_or_default();
    let objects: BTreeMap<String, &AwsAccount> = accounts
        .iter()
        .map(|account| (account.name_any(), account))
        .collect();
    let is_current = status.observed_generation == generation;
    let not_shown = status.more_accounts.iter().map(|group| group.count);
    let not_shown = not_shown.fold(0, u32::saturating_add);
    let mut lines: Vec<(u32, Line)> = status
        .accounts
        .iter()
        .map(|entry| line(role, entry, objects.get(&entry.name).copied()))
        .collect();
    // The controller has not reported accounts that were added since.
    let is_listed = |name: &str| status.accounts.iter().any(|entry| entry.name == name);
    let added = objects.iter().filter(|(name, account)| {
        not_shown == 0 && !is_current && !is_listed(name) && targets(role, account)
    });
    for (name, account) in added {
        let entry = AccountStatus::new(name.clone(), Reason::Progressing);
        lines.push(line(role, &entry, Some(account)));
    }
    lines.sort_by(|(place, one), (other_place, other)| {
        let key = |line: &Line, place: u32| (line.wave.unwrap_or(u32::MAX), place, line.account.clone());
        key(one, *place).cmp(&key(other, *other_place))
    });
    let reason = ready_reason(&status.conditions).filter(|_| is_current);
    RolloutReport {
        namespace: role.namespace().unwrap_or_default(),
        name: role.name_any(),
        generation,
        stopped: reason == Some(Reason::RolloutStopped.as_str()),
        message: ready_condition(&status.conditions)
            .filter(|_| is_current)
            .map(|ready| ready.message.clone()),
        accounts: lines.into_iter().map(|(_, line)| line).collect(),
        not_shown,
    }
}

fn line(role: &IamRole, entry: &AccountStatus, account: Option<&AwsAccount>) -> (u32, Line) {
    let generation = role.metadata.generation;
    let is_current = entry.observed_generation == generation;
    let waits = matches!(entry.state, Reason::RollingOut | Reason::RolloutStopped);
    let conditions = account.and_then(|account| account.status.as_ref());
    let reason = conditions.and_then(|status| ready_reason(&status.conditions));
    let message = entry.message.clone().filter(|_| is_current);
    let state = State::of(&Seen {
        is_applied: generation.is_some() && entry.last_applied_generation == generation,
        has_begun: is_current && !waits,
        is_unavailable: reason.and_then(Reason::named).is_some_and(is_unavailable),
        reported: is_current.then_some((entry.state, message.as_deref().unwrap_or_default())),
    });
    let line = Line {
        account: entry.name.clone(),
        wave: account.map(|account| wave_of(role, account)),
        state: match state {
            State::Done => Stage::Done,
            State::Working => Stage::Working,
            State::Failed { .. } => Stage::Failed,
            State::Unavailable => Stage::Unavailable,
            State::Waiting => Stage::Waiting,
        },
        message,
    };
    (account.map_or(0, |account| account.spec.wave), line)
}

impl RolloutReport {
    fn shown(&self) -> String {
        format!("IamRole {}/{}", self.namespace, self.name)
    }

    fn count(&self, stage: Stage) -> usize {
        self.accounts.iter().filter(|line| line.state == stage).count()
    }

    /// Returns the report for people.
    fn text(&self) -> Vec<String> {
        let open = self.count(Stage::Waiting) + self.count(Stage::Working);
        let what = match (self.stopped, open) {
            (true, _) => "stopped",
            (false, 0) if self.not_shown == 0 => "complete",
            _ => "under way",
        };
        let generation = self
            .generation
            .map(|generation| format!(", generation {generation}"));
        let mut text = vec![format!(
            "{}{}: {what}",
            self.shown(),
            generation.unwrap_or_default()
        )];
        if let Some(message) = self.message.as_ref().filter(|_| self.stopped) {
            text.push(printable(message).into_owned());
            text.push(
                "Correct the cause or the spec; rolectl rollout resume continues, rolectl rollout abort leaves the others as they are."
                    .to_owned(),
            );
        }
        text.push(String::new());
        let rows = self.accounts.iter().map(|line| {
            let colour = match line.state {
                Stage::Done => Colour::Green,
                Stage::Failed => Colour::Red,
                Stage::Working | Stage::Unavailable | Stage::Waiting => Colour::Yellow,
            };
            vec![
                Cell::from(line.wave.map_or_else(|| "-".to_owned(), |wave| wave.to_string())),
                Cell::from(&line.account),
                Cell::coloured(&line.state.to_string(), colour),
                Cell::from(line.message.as_deref().unwrap_or_default()),
            ]
        });
        text.extend(lines(
            &["WAVE", "ACCOUNT", "STATE", "MESSAGE"],
            rows.collect(),
            Layout::of_stdout(),
        ));
        if self.not_shown > 0 {
            let count = usize::try_from(self.not_shown).unwrap_or(usize::MAX);
            text.push(format!(
                "and {} that the status only counts",
                counted(count, "account")
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn account(name: &str, wave: u32, ready: &str) -> AwsAccount {
        serde_json::from_value(
            json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": name}, "spec": {"accountId": "222222222222", "wave": wave},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": ready, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
        )
        .unwrap()
    }

    fn role(accounts: &Value) -> IamRole {
        serde_json::from_value(
            json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {"name": "app", "namespace": "team", "generation": 3},
            "spec": {"ensure": "Absent", "accounts": {"selector": {}}},
            "status": {"observedGeneration": 3, "accounts": accounts}}),
        )
        .unwrap()
    }

    #[test]
    fn each_account_is_shown_with_its_wave_and_how_far_it_is() {
        let entry = |name: &str, state: &str, observed: i64, applied: i64| {
            json!({"name": name, "state": state, "message": format!("{state} here"),
                "observedGeneration": observed, "lastAppliedGeneration": applied})
        };
        let role = role(&json!([
            entry("a", "RollingOut", 3, 2),
            entry("b", "InSync", 3, 3),
            entry("c", "InvalidSpec", 3, 2),
            entry("d", "AccessDenied", 3, 2),
            entry("e", "Progressing", 3, 2),
            entry("f", "InSync", 2, 2),
            entry("g", "Drifted", 3, 3),
        ]));
        let accounts = [
            account("a", 9, "InSync"),
            account("b", 0, "InSync"),
            account("c", 1, "InSync"),
            account("d", 1, "AccessDenied"),
            account("e", 0, "InSync"),
            account("f", 2, "InSync"),
        ];
        let report = report(&role, &accounts);
        let lines: Vec<String> = report
            .accounts
            .iter()
            .map(|line| format!("{:?} {} {}", line.wave, line.account, line.state))
            .collect();
        assert_eq!(
            lines,
            [
                "Some(0) b done",
                "Some(0) e working",
                "Some(1) c failed",
                "Some(1) d unavailable",
                "Some(2) f waiting",
                "Some(9) a waiting",
                "None g done",
            ]
        );
        assert_eq!(report.text()[0], "IamRole team/app, generation 3: under way");
    }
}
