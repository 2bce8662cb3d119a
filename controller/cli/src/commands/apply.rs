//! `rolectl apply` and `rolectl destroy`

use std::process::ExitCode;
use std::sync::Arc;

use crate::once::{Proposal, make};
use crate::stdio::{print, println};
use clap::Args;
use futures::StreamExt as _;
use rolectl_aws::account::Account;
use rolectl_aws::actor::report::Goal;
use rolectl_aws::session::OpenSession;
use rolectl_core::names::full_name;
use tokio_util::sync::CancellationToken;

use crate::cluster;
use crate::failure::Failure;
use crate::fleet::{self, Fleet, Overview, Paint, Purpose, Seen};
use crate::output::{agreed, counted};

/// How many roles are worked on at a time.
const ROLES_AT_ONCE: usize = 16;
/// Exit code after Ctrl-C, as a shell gives it.
const INTERRUPTED: u8 = 130;
/// What was seen longer ago than this is looked at again before anything is written.
const FRESH: std::time::Duration = std::time::Duration::from_secs(10);

/// Apply roles from files directly to AWS, once, without a controller
///
/// Reads roles, accounts and sessions from files, shows what is to be done, asks, and does it. It is safe to interrupt
/// and to repeat: Ctrl-C lets the roles under way be finished and begins no other, and the next run takes up the rest.
/// For teams without a controller. If a cluster can be reached, it is asked first: IamRoles of that cluster, and roles in
/// accounts that its controller serves, are refused. If none can be reached, the owner in whose name roles are written is
/// printed before the plan.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl apply roles/ --mfa 123456
  rolectl apply roles/ --assume-role arn:aws:iam::222222222222:role/admin --mfa 123456 --yes

Exit codes: 0 everything is as the files have it, 1 failed or refused somewhere, or you did not agree, 2 wrong usage,
130 interrupted.")]
pub struct Apply {
    #[command(flatten)]
    all: Settings,
}

/// Remove the roles of files from their accounts
///
/// As when their objects are deleted from a cluster: `deletionPolicy: Retain` leaves a role without our owner tag, and
/// what is not ours stays as it is. Roles that a controller manages are refused, as by `rolectl apply`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  rolectl destroy roles/ --mfa 123456

Exit codes: as of `rolectl apply`.")]
pub struct Destroy {
    #[command(flatten)]
    all: Settings,
}

#[derive(Debug, Args)]
struct Settings {
    #[command(flatten)]
    fleet: fleet::FleetFlags,
    /// Write to AWS although a controller manages these roles or accounts, or though that cannot be found out
    ///
    /// For a controller that is down or is replaced. Roles are then written in the name of its cluster, unless --cluster-name
    /// gives another. As soon as the controller runs, it corrects what differs from its own objects.
    #[arg(long)]
    take_over: bool,
    /// Show every line of long documents
    #[arg(long)]
    full: bool,
    /// Show the plan and change nothing
    ///
    /// `client` and `server` are accepted as in kubectl and do the same; `none` turns it off.
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "client", value_parser = ["none", "client", "server"])]
    dry_run: Option<String>,
    /// Do not ask
    #[arg(long, short = 'y', visible_alias = "auto-approve")]
    yes: bool,
}

impl Apply {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        Box::pin(self.all.run(flags, Goal::Keep)).await
    }
}

impl Destroy {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        Box::pin(self.all.run(flags, Goal::Remove)).await
    }
}

/// One role in one account with all that is needed to write it.
struct Job {
    account: String,
    live: Arc<Account>,
    session: Arc<OpenSession>,
    proposal: Proposal,
}

impl Settings {
    async fn run(self, flags: &cluster::Flags, goal: Goal) -> Result<ExitCode, Failure> {
        if self.fleet.files().is_empty() {
            return Err(Failure::new(
                "no files are given, and roles of a cluster are the controller's to apply",
                "give files or folders; `rolectl plan` shows what the controller would do",
            )
            .usage());
        }
        let paint = Paint::of_stdout();
        let take_over = self.take_over;
        let fleet = self.fleet.fleet(flags, Purpose::Write { take_over }).await?;
        let seen_at = rolectl_aws::clock::now();
        let mut seen = fleet.look(goal).await;
        fleet.tell_left_out();
        let overview = Overview::of(&seen);
        print!("{}{}", overview.text(paint, self.full), overview.refusals(paint));
        print!("{}", overview.summary.lines());
        let fails = overview.summary.fails();
        if !overview.summary.changes() {
            return Ok(ExitCode::from(u8::from(fails)));
        }
        if self.dry_run.as_deref().is_some_and(|how| how != "none") {
            println!("Nothing was changed (--dry-run).");
            return Ok(ExitCode::from(u8::from(fails)));
        }
        let question = match goal {
            Goal::Keep => "Make these changes?",
            Goal::Remove => "Remove these roles?",
        };
        if !self.yes && !agreed(question)? {
            println!("Nothing was changed.");
            return Ok(ExitCode::from(1));
        }
        if seen_at.elapsed() > FRESH {
            self.fleet.permit(&fleet.inventory, flags, take_over).await?;
            let again = fleet.look(goal).await;
            if !same(&seen, &again) {
                return Err(Failure::new(
                    "AWS has changed since the plan was shown. Nothing was written",
                    "look at the plan again",
                ));
            }
            seen = again;
        }
        let ended = carry_out_all(&fleet, seen, paint).await;
        Ok(ExitCode::from(match ended {
            Ended::Interrupted => INTERRUPTED,
            Ended::Done => u8::from(fails),
            Ended::Failed => 1,
        }))
    }
}

/// Whether the same is to be done.
fn same(before: &[Seen], now: &[Seen]) -> bool {
    let all = |seen: &[Seen]| -> Vec<_> {
        let proposals = seen.iter().flat_map(|s| &s.proposals);
        proposals
            .map(|p| (full_name(&p.role), p.account.clone(), p.verdict.clone()))
            .collect()
    };
    all(before) == all(now)
}

enum Ended {
    Done,
    Failed,
    Interrupted,
}

/// Makes all changes, and tells of each role as it is done. After Ctrl-C no other role is begun, and those under way come
/// to their end, so that none is left half-made.
async fn carry_out_all(fleet: &Fleet, seen: Vec<Seen>, paint: Paint) -> Ended {
    let jobs = jobs(fleet, seen);
    let count = jobs.len();
    let interrupted = CancellationToken::new();
    let stop = fleet.stop_on_interrupt(&interrupted);
    let works: Vec<_> = jobs.into_iter().map(|job| work(job, paint)).collect();
    let results: Vec<bool> = futures::stream::iter(works)
        .take_until(interrupted.cancelled())
        .buffer_unordered(ROLES_AT_ONCE)
        .collect()
        .await;
    stop.abort();
    let done = results.iter().filter(|done| **done).count();
    println!("\nDone: {done} of {count}.");
    if done == count {
        Ended::Done
    } else if interrupted.is_cancelled() {
        println!("Interrupted: run the command again to continue.");
        Ended::Interrupted
    } else {
        Ended::Failed
    }
}

fn jobs(fleet: &Fleet, seen: Vec<Seen>) -> Vec<Job> {
    let of_account = |seen: Seen| {
        let session = fleet.session(&seen.account).cloned();
        let (account, live) = (seen.account, seen.live);
        seen.proposals.into_iter().filter_map(move |proposal| {
            proposal.to_do()?;
            Some(Job {
                account: format!("{} ({})", proposal.account, account.spec.account_id),
                live: live.clone()?,
                session: session.clone()?,
                proposal,
            })
        })
    };
    seen.into_iter().flat_map(of_account).collect()
}

async fn work(job: Job, paint: Paint) -> bool {
    let name = format!("{}: role {}", job.account, full_name(&job.proposal.role));
    let (failure, made) = match make(&job.live, &job.session, &job.proposal).await {
        Err(error) => (Some(error.to_string()), 0),
        Ok(applied) => {
            let failed = applied
                .failed
                .map(|(change, failure)| format!("{failure} (at: {change})"));
            (failed, applied.done.len())
        }
    };
    let made = counted(made, "change");
    match &failure {
        None => println!("{}", paint.green(&format!("{name}: done, {made}"))),
        Some(why) => println!("{}", paint.red(&format!("{name}: failed after {made}: {why}"))),
    }
    failure.is_none()
}
