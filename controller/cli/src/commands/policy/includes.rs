//! Implements `rolectl policy includes`.

use std::process::ExitCode;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_core::policy::inclusion::{Excess, inclusion};

use super::document;
use crate::failure::Failure;
use crate::output::{Document, Format, counted, machine, printable};
use crate::stdio::println;
use crate::values::account_id;

/// Show that a document allows all that another allows
///
/// OUTER includes INNER if every request that INNER allows is allowed by OUTER, too. The answer is computed here, without AWS, and is
/// never yes where it is not so. Where it cannot be shown, the parts of INNER are named that may allow more: an action, a resource and a
/// principal of a statement. Conditions count: a statement with more or stronger conditions allows less.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl policy includes ceiling.json role.json
  git show main:trust.yaml | rolectl policy includes - trust.yaml --trust-of 222222222222

Exit codes: 0 INNER is shown to allow no more, 1 it may allow more, 2 one is not a policy.")]
pub struct Includes {
    /// The document that is to allow all; `-` is stdin
    outer: String,
    /// The document that is compared; `-` is stdin
    inner: String,
    /// They are trust policies of a role in this account
    ///
    /// In another account a principal also needs a policy of its own, so that the account as a whole includes its users and roles. In the
    /// role's own account a named user or role needs none, and is more.
    #[arg(long, value_name = "ACCOUNT_ID", value_parser = account_id)]
    trust_of: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Whether a document allows no more than another.
#[derive(Serialize, JsonSchema)]
pub struct PolicyInclusion {
    /// True if the inner document is shown to allow no more than the outer one.
    included: bool,
    /// The first parts of the inner document that may allow more.
    excess: Vec<Excess>,
    /// Number of all such parts.
    count: usize,
}

impl Document for PolicyInclusion {
    const KIND: &'static str = "PolicyInclusion";
}

impl Includes {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        if self.outer == "-" && self.inner == "-" {
            return Err(Failure::new(
                "both documents are to come from stdin",
                "give a file for one of them",
            )
            .usage());
        }
        let (outer, inner) = (document(&self.outer)?, document(&self.inner)?);
        let found = inclusion(&outer, &inner, self.trust_of.as_deref());
        let included = found.is_shown();
        if self.output == Format::Table {
            if included {
                println!("included");
            }
            for excess in &found.excess {
                println!("{}", printable(&excess.to_string()));
            }
            if found.count > found.excess.len() {
                println!("... {} in all", counted(found.count, "part"));
            }
        } else {
            let (excess, count) = (found.excess, found.count);
            machine(
                self.output,
                &PolicyInclusion {
                    included,
                    excess,
                    count,
                },
            )?;
        }
        Ok(if included {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(1)
        })
    }
}
