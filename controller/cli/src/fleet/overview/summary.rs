//! Counts the actions of a plan.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::role_line::{Action, RoleLine};
use crate::output::counted;

/// Number of roles by planned action, and of accounts that could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PlanSummary")]
pub struct Summary {
    pub create: usize,
    pub change: usize,
    pub delete: usize,
    pub release: usize,
    pub unchanged: usize,
    pub absent: usize,
    pub foreign: usize,
    pub report: usize,
    pub refused: usize,
    pub failed_accounts: usize,
}

impl Summary {
    /// Counts a role.
    pub(super) fn add(&mut self, role: &RoleLine) {
        *match role.action {
            Action::Create => &mut self.create,
            Action::Change => &mut self.change,
            Action::Delete => &mut self.delete,
            Action::Release => &mut self.release,
            Action::None => &mut self.unchanged,
            Action::Absent => &mut self.absent,
            Action::Foreign => &mut self.foreign,
            Action::Report => &mut self.report,
            Action::Refused => &mut self.refused,
        } += 1;
        self.refused += usize::from(role.is_enforced());
    }

    /// Returns true if the plan has changes.
    pub const fn changes(&self) -> bool {
        self.create + self.change + self.delete + self.release > 0
    }

    /// Returns true if a role is refused or an account could not be read.
    pub const fn fails(&self) -> bool {
        self.refused + self.failed_accounts > 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} to create, {} to change, {} to delete",
            self.create, self.change, self.delete
        )?;
        for (count, what) in [
            (self.release, "to release"),
            (self.unchanged, "unchanged"),
            (self.absent, "absent"),
            (self.foreign, "not owned"),
            (self.report, "only reported"),
            (self.refused, "refused"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if self.failed_accounts > 0 {
            write!(f, ", {} not read", counted(self.failed_accounts, "account"))?;
        }
        Ok(())
    }
}
