//! Counts the actions of a plan.

use std::fmt;

use clap::ValueEnum;
use rolectl_core::widening::VerdictKind;
use schemars::JsonSchema;
use serde::Serialize;

use super::role_line::{Action, RoleLine};
use crate::output::counted;

/// Which planned changes end a verb with exit code 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A role is created, or may allow more than before.
    Widening,
    /// A role that exists may allow more than before.
    WideningExisting,
}

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
    /// Roles that are created, or may allow more than before. What is only reported does not count.
    pub widen: usize,
    /// Roles that exist and may allow more than before.
    pub widen_existing: usize,
    /// Roles that allow less than before, or are deleted, and may allow nothing more.
    pub narrow: usize,
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
        match role.verdict() {
            VerdictKind::Widens => {
                self.widen += 1;
                self.widen_existing += usize::from(role.action != Action::Create);
            }
            VerdictKind::Narrows => self.narrow += 1,
            VerdictKind::Same => {}
        }
    }

    /// Returns true if a change of this kind is planned.
    pub fn has(&self, which: Option<FailOn>) -> bool {
        which.is_some_and(|which| match which {
            FailOn::Widening => self.widen > 0,
            FailOn::WideningExisting => self.widen_existing > 0,
        })
    }

    /// Returns the last lines of a plan.
    pub fn lines(&self) -> String {
        let verdicts = match (self.widen, self.narrow) {
            (0, 0) => return format!("Plan: {self}.\n"),
            (0, 1) => "1 role narrows".to_owned(),
            (0, narrow) => format!("{narrow} roles narrow"),
            (widen, narrow) => {
                let widens = if widen == 1 { "widens" } else { "widen" };
                let narrows = match narrow {
                    0 => String::new(),
                    1 => ", 1 narrows".to_owned(),
                    narrow => format!(", {narrow} narrow"),
                };
                format!("{} {widens}{narrows}", counted(widen, "role"))
            }
        };
        format!("Plan: {self}.\n{verdicts}.\n")
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
