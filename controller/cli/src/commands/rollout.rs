//! Implements `rolectl rollout`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use clap::{Args, Subcommand};
use kube::{Api, Client, ResourceExt as _};
use rolectl_core::conditions::ready_reason;
use rolectl_core::rollout::{Command, Retry, Seen, State, Wave, is_unavailable, wave_of};
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
///
/// A wave is shown as `spec.wave` of its accounts. Where the role has waves of its own, their number follows after a dot: `10.2`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl rollout status role/app -n platform
  rolectl rollout status role/app -n platform --all
  rolectl rollout status role/app -n platform -o json

Exit codes: 0 shown, 1 failed, 2 wrong usage.")]
struct Status {
    #[command(flatten)]
    object: ObjectArgs,
    /// Show all accounts: without it, the first 30, those without the change first
    #[arg(long)]
    all: bool,
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
    /// `spec.wave` of the account. Absent if you may not read the `AwsAccount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    wave: Option<u32>,
    /// Position in `spec.rollout.waves` of the role, from 1. Absent if the role has no waves of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    role_wave: Option<u32>,
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
        for line in report.text(self.all) {
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
    let mut lines: Vec<Line> = status
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
    lines.sort_by(|one, other| {
        let key = |line: &Line| line.wave().unwrap_or(UNKNOWN);
        (key(one), &one.account).cmp(&(key(other), &other.account))
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
        accounts: lines,
        not_shown,
    }
}

fn line(role: &IamRole, entry: &AccountStatus, account: Option<&AwsAccount>) -> Line {
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
        retry: Retry::Due,
    });
    let wave = account.map(|account| wave_of(role, account));
    Line {
        account: entry.name.clone(),
        wave: wave.map(|wave| wave.account),
        role_wave: wave.map(|wave| wave.role).filter(|position| *position > 0),
        state: match state {
            State::Done => Stage::Done,
            State::Working => Stage::Working,
            State::Failed { .. } => Stage::Failed,
            State::Unavailable => Stage::Unavailable,
            State::Waiting => Stage::Waiting,
        },
        message,
    }
}

/// The place of accounts whose wave is not known.
const UNKNOWN: Wave = Wave {
    account: u32::MAX,
    role: 0,
};
/// Number of accounts that are shown for people.
const SHOWN: usize = 30;
/// Number of accounts that are named as those which the others wait for.
const NAMED: usize = 5;

impl Line {
    fn wave(&self) -> Option<Wave> {
        Some(Wave {
            account: self.wave?,
            role: self.role_wave.unwrap_or_default(),
        })
    }

    const fn is_open(&self) -> bool {
        matches!(self.state, Stage::Working | Stage::Waiting)
    }

    fn row(&self) -> Vec<Cell> {
        let colour = match self.state {
            Stage::Done => Colour::Green,
            Stage::Failed => Colour::Red,
            Stage::Working | Stage::Unavailable | Stage::Waiting => Colour::Yellow,
        };
        vec![
            Cell::from(self.wave_shown()),
            Cell::from(&self.account),
            Cell::coloured(&self.state.to_string(), colour),
            Cell::from(self.message.as_deref().unwrap_or_default()),
        ]
    }

    fn wave_shown(&self) -> String {
        self.wave()
            .map_or_else(|| "-".to_owned(), |wave| wave.to_string())
    }
}

impl RolloutReport {
    fn shown(&self) -> String {
        format!("IamRole {}/{}", self.namespace, self.name)
    }

    fn count(&self, stage: Stage) -> usize {
        self.accounts.iter().filter(|line| line.state == stage).count()
    }

    /// Returns the report for people.
    fn text(&self, all: bool) -> Vec<String> {
        let open = self.accounts.iter().filter(|line| line.is_open()).count();
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
        if self.stopped {
            let message = self.message.iter();
            text.extend(message.map(|message| printable(message).into_owned()));
            text.push(
                "Correct the cause or the spec; rolectl rollout resume continues, rolectl rollout abort leaves the others as they are."
                    .to_owned(),
            );
        } else {
            text.extend(self.waits_for());
        }
        text.push(String::new());
        let mut shown: Vec<&Line> = self.accounts.iter().collect();
        if !all && shown.len() > SHOWN {
            text.extend(self.by_wave());
            text.push(String::new());
            // The sort is stable, so the order of the waves stays.
            shown.sort_by_key(|line| Reverse(line.state != Stage::Done));
            shown.truncate(SHOWN);
        }
        let rows = shown.iter().map(|line| line.row()).collect();
        text.extend(lines(
            &["WAVE", "ACCOUNT", "STATE", "MESSAGE"],
            rows,
            Layout::of_stdout(),
        ));
        let more = self.accounts.len().saturating_sub(shown.len());
        if more > 0 {
            text.push(format!("and {}: --all shows them", counted(more, "more account")));
        }
        if self.not_shown > 0 {
            let count = usize::try_from(self.not_shown).unwrap_or(usize::MAX);
            text.push(format!(
                "and {} that the status only counts",
                counted(count, "account")
            ));
        }
        text
    }

    /// What the first wave that is not complete waits for.
    fn waits_for(&self) -> Option<String> {
        let first = self.accounts.iter().find(|line| line.is_open())?;
        let wave = first.wave();
        let of_wave = self.accounts.iter().filter(|line| line.wave() == wave);
        let open: Vec<&Line> = of_wave.clone().filter(|line| line.is_open()).collect();
        let shown = match wave {
            Some(wave) => format!("Wave {wave}"),
            None => "The rollout".to_owned(),
        };
        let has_begun = open.iter().any(|line| line.state == Stage::Working);
        if let Some(message) = first.message.as_ref().filter(|_| !has_begun) {
            return Some(printable(&format!("{shown} {message}.")).into_owned());
        }
        let names = open.iter().take(NAMED);
        let names: Vec<String> = names
            .map(|line| format!("{} ({})", line.account, line.state))
            .collect();
        let more = match open.len().saturating_sub(names.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let done = of_wave.clone().filter(|line| line.state == Stage::Done).count();
        let text = format!(
            "{shown} is being changed, {done} of {} done; it waits for {}{more}.",
            counted(of_wave.count(), "account"),
            names.join(", ")
        );
        Some(printable(&text).into_owned())
    }

    /// The numbers of accounts in each wave.
    fn by_wave(&self) -> Vec<String> {
        let mut waves: BTreeMap<Wave, (String, BTreeMap<Stage, usize>)> = BTreeMap::new();
        for line in &self.accounts {
            let (_, counts) = waves
                .entry(line.wave().unwrap_or(UNKNOWN))
                .or_insert_with(|| (line.wave_shown(), BTreeMap::new()));
            *counts.entry(line.state).or_default() += 1;
        }
        let rows = waves.into_values().map(|(wave, counts)| {
            let stages = [
                Stage::Done,
                Stage::Working,
                Stage::Failed,
                Stage::Unavailable,
                Stage::Waiting,
            ];
            let counts = stages.map(|stage| counts.get(&stage).copied().unwrap_or_default());
            let counts = counts.iter().map(|count| Cell::from(count.to_string()));
            std::iter::once(Cell::from(wave)).chain(counts).collect()
        });
        lines(
            &["WAVE", "DONE", "WORKING", "FAILED", "UNAVAILABLE", "WAITING"],
            rows.collect(),
            Layout::of_stdout(),
        )
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
        let text = report.text(false);
        assert_eq!(
            text[..3],
            [
                "IamRole team/app, generation 3: under way",
                "Wave 0 is being changed, 1 of 2 accounts done; it waits for e (working).",
                "",
            ]
        );
    }

    #[test]
    fn a_wave_that_has_not_begun_says_what_it_waits_for() {
        let role = role(&json!([
            {"name": "a", "state": "InSync", "observedGeneration": 3, "lastAppliedGeneration": 3},
            {"name": "b", "state": "RollingOut", "observedGeneration": 3, "lastAppliedGeneration": 2,
                "message": "waits for the end of spec.rollout.soak after wave 0, until 2026-11-28T08:00:00Z"},
        ]));
        let report = report(&role, &[account("a", 0, "InSync"), account("b", 4, "InSync")]);
        assert_eq!(
            report.text(false)[1],
            "Wave 4 waits for the end of spec.rollout.soak after wave 0, until 2026-11-28T08:00:00Z."
        );
    }

    #[test]
    fn many_accounts_are_counted_by_wave_and_the_first_without_the_change_are_listed() {
        let entry = |number: u32| {
            let (state, applied) = match number {
                0..=599 => ("InSync", 3),
                600 => ("InvalidSpec", 2),
                601..=610 => ("Progressing", 2),
                _ => ("RollingOut", 2),
            };
            json!({"name": format!("a-{number:04}"), "state": state, "observedGeneration": 3, "lastAppliedGeneration": applied})
        };
        let role = role(&(0..1000).map(entry).collect::<Vec<_>>().into());
        let accounts: Vec<AwsAccount> = (0..1000)
            .map(|number| account(&format!("a-{number:04}"), number / 500, "InSync"))
            .collect();
        let report = report(&role, &accounts);
        let text = report.text(false);
        insta::assert_snapshot!(text.join("\n"));
        assert_eq!(report.text(true).len(), 4 + 1000, "--all shows them");
    }
}
