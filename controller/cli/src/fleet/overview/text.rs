//! Writes a plan for people, in the manner of Terraform.

use std::fmt::Write as _;

use super::Overview;
use super::role_line::{Action, RoleLine};
use crate::output::{counted, printable};
use crate::paint::Paint;

/// How many lines about one change are shown.
const FOLDED: usize = 40;

impl Overview {
    /// Returns the changes of each account and role as text. Leaves out accounts and roles without any. Long documents are folded unless
    /// `full`.
    pub fn text(&self, paint: Paint, full: bool) -> String {
        let mut text = String::new();
        for account in &self.accounts {
            let quiet = account.failure.is_none() && account.roles.iter().all(RoleLine::is_quiet);
            if quiet {
                continue;
            }
            let _ = writeln!(
                text,
                "{}",
                paint.bold(&format!("account {} ({})", account.account, account.account_id))
            );
            if let Some(failure) = &account.failure {
                let _ = writeln!(text, "  {}", paint.red(&format!("! not read: {failure}")));
            }
            for role in account.roles.iter().filter(|role| !role.is_quiet()) {
                role.write(&mut text, paint, full);
            }
            text.push('\n');
        }
        text
    }
}

impl RoleLine {
    /// Writes the role, its reason and its changes.
    fn write(&self, text: &mut String, paint: Paint, full: bool) {
        let (sign, what) = match self.action {
            Action::Change if self.is_enforced() => (
                '!',
                "is refused; managed policies that the account denies will be detached",
            ),
            Action::Create => ('+', "will be created"),
            Action::Change => ('~', "will be changed"),
            Action::Delete => ('-', "will be deleted"),
            Action::Release => ('~', "will be released: it stays in AWS without the owner tag"),
            Action::None => (' ', "is in sync"),
            Action::Absent => (' ', "does not exist in AWS: there is nothing to delete"),
            Action::Foreign => ('!', "is not owned by this IamRole and will not be deleted"),
            Action::Report => ('~', "differs; not corrected because spec.drift is Report"),
            Action::Refused => ('!', "is refused"),
        };
        let called = if self.role_name == self.name {
            String::new()
        } else {
            format!(" as {}", self.role_name)
        };
        let line = format!("{sign} role {}/{}{called} {what}", self.namespace, self.name);
        let _ = writeln!(text, "  {}", paint.by_sign(&line));
        match (self.reason, &self.message) {
            (Some(reason), Some(message)) => {
                let _ = writeln!(text, "      {reason}: {}", printable(message));
            }
            (None, Some(message)) => {
                let _ = writeln!(text, "      {}", printable(message));
            }
            (_, None) => {}
        }
        if let Some(kept) = &self.kept {
            let _ = writeln!(text, "      {}", printable(kept));
        }
        for change in &self.changes {
            let _ = writeln!(text, "      {}", paint.by_sign(&printable(&change.line)));
            let shown = if full { usize::MAX } else { FOLDED };
            for detail in change.details.iter().take(shown) {
                let _ = writeln!(text, "          {}", paint.by_sign(&printable(detail)));
            }
            let more = change.details.len().saturating_sub(shown);
            if more > 0 {
                let _ = writeln!(
                    text,
                    "          … {}: --full shows them",
                    counted(more, "more line")
                );
            }
        }
    }
}
