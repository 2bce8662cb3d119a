//! Implements `rolectl diff`.

use std::process::ExitCode;

use clap::Args;
use rolectl_aws::actor::report::Goal;

use super::describe::read_role;
use super::plan::WIDENS;
use crate::cluster;
use crate::failure::Failure;
use crate::fleet::{self, FailOn, FleetFlags, Overview, Purpose};
use crate::mfa::CodeFlags;
use crate::named::{Named, ObjectArgs};
use crate::output::{Format, machine};
use crate::paint::Paint;
use crate::stdio::print;

/// Show what differs between a role of the cluster and AWS now, statement by statement
///
/// It is `rolectl plan` for one role of the cluster. For files that are not applied yet, use `rolectl plan PATH`.
///
/// The session is the one that `rolectl unlock` stored, if you may read it; else one that your code opens.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl diff role/app -n platform
  rolectl diff role app -n platform -o json

Exit codes, as those of kubectl diff: 0 nothing differs, 1 something differs, 2 failed, refused, or wrong usage.
With --fail-on: 3 instead of 1 if the role widens. 2 takes precedence.")]
pub struct Diff {
    #[command(flatten)]
    object: ObjectArgs,
    /// Name of the cluster in owner tags. Default: the name that the controller reports
    #[arg(long, env = "ROLECTL_CLUSTER_NAME", hide_env_values = true)]
    cluster_name: Option<String>,
    /// End with exit code 3 if a change widens the role. What is only reported (drift: Report) does not count
    #[arg(long, value_name = "WHAT")]
    fail_on: Option<FailOn>,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    code: CodeFlags,
}

impl Diff {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        // 1 means that something differs.
        self.differs(flags).await.map_err(|failure| failure.with_code(2))
    }

    async fn differs(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        let Named::Role(name) = self.object.named()? else {
            return Err(Failure::new("only a role can differ", "name one: role/NAME"));
        };
        let role = read_role(&flags.client().await?, &name).await?;
        let fleet = FleetFlags::of_role(&role, self.cluster_name, self.code)
            .fleet(flags, Purpose::Show)
            .await?;
        let seen = fleet.look(Goal::Keep).await;
        fleet.tell_left_out();
        let overview = Overview::of(&seen);
        if self.output == Format::Table {
            let paint = Paint::of_stdout();
            print!("{}{}", overview.text(paint, true), overview.refusals(paint));
            print!("{}", overview.summary.lines());
        } else {
            machine(self.output, &overview)?;
        }
        if let Some(failure) = fleet::unread(&seen) {
            return Err(failure);
        }
        // What is only reported differs, too.
        let differs = overview.summary.changes() || overview.summary.report > 0;
        Ok(match (overview.summary.fails(), differs) {
            (true, _) => ExitCode::from(2),
            _ if overview.summary.has(self.fail_on) => ExitCode::from(WIDENS),
            (false, true) => ExitCode::from(1),
            (false, false) => ExitCode::SUCCESS,
        })
    }
}
