//! `rolectl plan`

use std::process::ExitCode;

use clap::Args;
use rolectl_aws::actor::report::Goal;

use crate::cluster;
use crate::failure::Failure;
use crate::fleet::{self, FailOn, Overview, Paint, Purpose};
use crate::output::{Format, machine};
use crate::stdio::print;

/// Show what would be done, and do nothing
///
/// Reads every account that a role names and shows, by the controller's own plan, what it would change there: roles of
/// the cluster, or of files that are not applied yet. Accounts and sessions that are not in the files come from the
/// cluster; where the files have them all, none is needed.
///
/// The session is the one that `rolectl unlock` stored, if you may read it; else one that your code opens. That is kept in
/// ~/.cache/rolectl until it ends, readable for you only.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl plan                               what is in the cluster
  rolectl plan roles/ --account prod         files that are not applied yet
  rolectl plan roles/ --fail-on widening     in a pipeline: fails if a role would allow more
  kustomize build . | rolectl plan - --detailed-exitcode -o json

Exit codes: 0 looked at everything, 1 failed, or a role is refused or an account cannot be read, 2 wrong usage.
With --detailed-exitcode: 0 nothing to do, 1 as above or wrong usage, 2 changes.
With --fail-on: 3 instead of 0 or of 2 for changes, if a role widens. 1 takes precedence.")]
pub struct Plan {
    #[command(flatten)]
    fleet: fleet::FleetFlags,
    /// Tell by the exit code whether anything is to be done
    #[arg(long)]
    detailed_exitcode: bool,
    /// End with exit code 3 if a change widens a role. What is only reported (drift: Report) does not count
    #[arg(long, value_name = "WHAT")]
    fail_on: Option<FailOn>,
    /// Show every line of long documents
    #[arg(long, conflicts_with = "summary")]
    full: bool,
    /// Show only how many roles would change, and which are refused
    #[arg(long)]
    summary: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Exit code if a role widens and `--fail-on` asks for it.
pub const WIDENS: u8 = 3;

impl Plan {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        let detailed = self.detailed_exitcode;
        let done = self.look(flags).await;
        // A file that cannot be read must not look like changes.
        done.map_err(|failure| if detailed { failure.plain() } else { failure })
    }

    async fn look(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        let fleet = self.fleet.fleet(flags, Purpose::Show).await?;
        let seen = fleet.look(Goal::Keep).await;
        fleet.tell_left_out();
        let overview = Overview::of(&seen);
        match self.output {
            Format::Table => {
                let paint = Paint::of_stdout();
                if !self.summary {
                    print!("{}", overview.text(paint, self.full));
                }
                print!("{}", overview.refusals(paint));
                print!("{}", overview.summary.lines());
            }
            format => machine(format, &overview)?,
        }
        Ok(match (overview.summary.fails(), overview.summary.changes()) {
            (true, _) => ExitCode::from(1),
            _ if overview.summary.has(self.fail_on) => ExitCode::from(WIDENS),
            (false, true) if self.detailed_exitcode => ExitCode::from(2),
            _ => ExitCode::SUCCESS,
        })
    }
}
