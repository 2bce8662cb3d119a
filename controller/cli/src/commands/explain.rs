//! Implements `rolectl explain`.

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_crds::Reason;

use crate::failure::Failure;
use crate::objects::NOT_SEEN as NOT_SEEN_REASON;
use crate::output::{Document, Format, List, machine, table};
use crate::stdio::println;

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

/// What a reason means.
#[derive(Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "Reason")]
pub struct Explained {
    reason: &'static str,
    meaning: &'static str,
    cure: &'static str,
    /// True if the controller waits until a user acts.
    stalled: bool,
    /// True if the controller retries.
    reconciling: bool,
}

/// The reason that `rolectl status` shows for an object without a condition. It appears in no status, so it is no `Reason`.
const NOT_SEEN: Explained = Explained {
    reason: NOT_SEEN_REASON,
    meaning: "No controller has written a status yet.",
    cure: "Wait some seconds. If it stays, check that the controller runs and serves this namespace and this session: `rolectl status` warns if none is running, `kubectl logs -n rolectl-system deployment/rolectl-controller` says more.",
    stalled: false,
    reconciling: false,
};

fn explained(reason: Reason) -> Explained {
    Explained {
        reason: reason.as_str(),
        meaning: reason.meaning(),
        cure: reason.cure(),
        stalled: reason.is_stalled(),
        reconciling: reason.is_reconciling(),
    }
}

impl Document for Explained {
    const KIND: &'static str = "Reason";
}

impl Document for List<Explained> {
    const KIND: &'static str = "ReasonList";
}

impl Explain {
    pub fn run(&self) -> Result<(), Failure> {
        let Some(name) = &self.reason else {
            let all = Reason::ALL.iter().copied().map(explained);
            let all: Vec<Explained> = all.chain([NOT_SEEN]).collect();
            if self.output != Format::Table {
                return machine(self.output, &List { items: all });
            }
            let rows = all
                .iter()
                .map(|e| vec![e.reason.to_string(), e.meaning.to_owned()]);
            println!("{}", table(&["REASON", "MEANING"], rows.collect()));
            return Ok(());
        };
        let named = Reason::named(name).map(explained);
        let Some(e) = named.or_else(|| name.eq_ignore_ascii_case(NOT_SEEN.reason).then_some(NOT_SEEN)) else {
            return Err(Failure::new(
                format!("there is no reason {name}"),
                "see all with `rolectl explain`",
            )
            .usage());
        };
        if self.output != Format::Table {
            return machine(self.output, &e);
        }
        let course = match (e.stalled, e.reconciling) {
            (true, _) => "The controller waits until you act.",
            (_, true) => "The controller retries.",
            _ => "The controller has nothing more to do.",
        };
        println!(
            "{}\n\n  {}\n  {course}\n\n  What to do: {}",
            e.reason, e.meaning, e.cure
        );
        Ok(())
    }
}
