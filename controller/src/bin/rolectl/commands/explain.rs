//! `rolectl explain`

use anstream::println;
use clap::Args;
use rolectl_crds::Reason;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Format, machine, table};

/// Say what the reason of a condition means, and what to do about it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl explain                    all reasons
  rolectl explain OwnedByOther

Exit codes: 0 explained, 2 there is no such reason.")]
pub struct Explain {
    /// A reason, as `kubectl get` and `rolectl status` show it, in any case
    reason: Option<String>,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Explained {
    reason: Reason,
    meaning: &'static str,
    cure: &'static str,
    /// Nothing more happens until a user acts.
    stalled: bool,
    /// A retry comes by itself.
    reconciling: bool,
}

fn explained(reason: Reason) -> Explained {
    Explained {
        reason,
        meaning: reason.meaning(),
        cure: reason.cure(),
        stalled: reason.is_stalled(),
        reconciling: reason.is_reconciling(),
    }
}

impl Explain {
    pub fn run(&self) -> Result<(), Failure> {
        let Some(name) = &self.reason else {
            let all: Vec<Explained> = Reason::ALL.iter().copied().map(explained).collect();
            if self.output != Format::Table {
                return machine(self.output, &all);
            }
            let rows = all
                .iter()
                .map(|e| vec![e.reason.to_string(), e.meaning.to_owned()]);
            println!("{}", table(&["REASON", "MEANING"], rows.collect()));
            return Ok(());
        };
        let Some(reason) = Reason::named(name) else {
            return Err(Failure::new(
                format!("there is no reason {name}"),
                "see all with `rolectl explain`",
            )
            .usage());
        };
        let e = explained(reason);
        if self.output != Format::Table {
            return machine(self.output, &e);
        }
        let course = match (e.stalled, e.reconciling) {
            (true, _) => "Waits for you.",
            (_, true) => "Goes on by itself.",
            _ => "Comes to rest here.",
        };
        println!(
            "{reason}\n\n  {}\n  {course}\n\n  What to do: {}",
            e.meaning, e.cure
        );
        Ok(())
    }
}
