//! Implements `rolectl doctor`. Each file checks one part; [`check`] has the results.

mod aws;
mod check;
mod clock;
mod cluster;
mod crds;
mod network;
mod objects;
mod rights;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use self::check::{Check, has_failure, lines, summary};
use crate::cluster::Flags;
use crate::failure::Failure;
use crate::output::{Document, Format, machine};
use crate::paint::Paint;
use crate::stdio::{print, println};
use crate::waiting::request_timeout;

/// Check this machine, AWS, the cluster and the controller, and show what to do
///
/// Checks the clock, the network's variables, the AWS key and its MFA device, kept sessions, the cluster with its CRDs, your rights, the
/// controller, the MfaSessions and the AwsAccounts. Nothing is changed and no code is used. A request that takes longer than
/// --request-timeout fails its check, and a check that fails does not stop the others.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl doctor
  rolectl doctor --profile main --context prod
  rolectl doctor -o json

Exit codes: 0 no check failed, though there may be warnings, 1 a check failed, 2 wrong usage.")]
pub struct Doctor {
    /// Profile with your key, in place of the usual chain
    #[arg(long)]
    profile: Option<String>,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// The results of all checks.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Doctor")]
pub struct Report {
    checks: Vec<Check>,
}

impl Document for Report {
    const KIND: &'static str = "Doctor";
}

impl Doctor {
    pub async fn run(self, flags: &Flags) -> Result<ExitCode, Failure> {
        let ((mut checks, caller), found) = tokio::join!(
            Box::pin(aws::checks(self.profile)),
            Box::pin(cluster::checks(flags))
        );
        checks.extend(aws::cache());
        checks.extend(aws::kept(caller.as_ref(), &found.sessions));
        checks.extend(found.checks);
        let mut all = network::checks();
        all.extend(checks);
        if self.output == Format::Table {
            let paint = Paint::of_stdout();
            print!("{}", lines(&all, paint, paint.is_on()));
            println!("\n{}", summary(&all));
        } else {
            machine(self.output, &Report { checks: all.clone() })?;
        }
        Ok(ExitCode::from(u8::from(has_failure(&all))))
    }
}

/// Awaits a check, and reports its failure if it takes too long. A single request ends a little earlier, with a message of its own.
async fn bounded<T>(
    name: &'static str,
    checked: impl Future<Output = T>,
    late: impl FnOnce(Check) -> T,
) -> T {
    let bound = request_timeout() + Duration::from_secs(1);
    match tokio::time::timeout(bound, checked).await {
        Ok(done) => done,
        Err(_) => late(Check::failed(
            name,
            format!("no result within {} s", request_timeout().as_secs()),
            "check the network, or give more time with --request-timeout",
        )),
    }
}
