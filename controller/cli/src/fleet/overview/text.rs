//! Writes a plan for people, in the manner of Terraform.

use std::fmt::Write as _;

use super::Overview;
use super::role_line::{Action, RoleLine};
use crate::paint::Paint;

impl Overview {
    /// Returns the changes of each account and role as text. Leaves out accounts and roles without any.
    pub fn text(&self, paint: Paint) -> String {
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
                role.write(&mut text, paint);
            }
            text.push('\n');
        }
        text
    }
}

impl RoleLine {
    /// Writes the role, its reason and its changes.
    fn write(&self, text: &mut String, paint: Paint) {
        let (sign, what) = match self.action {
            Action::Change if self.is_enforced() => {
                ('!', "is refused, and what the account denies is detached")
            }
            Action::Create => ('+', "is to be created"),
            Action::Change => ('~', "is to be changed"),
            Action::Delete => ('-', "is to be deleted"),
            Action::Release => ('~', "stays, without our owner tag"),
            Action::None => (' ', "is right"),
            Action::Report => ('~', "differs, and drift: Report leaves it so"),
            Action::Refused => ('!', "is refused"),
        };
        let called = if self.role_name == self.name {
            String::new()
        } else {
            format!(" as {}", self.role_name)
        };
        let line = format!("{sign} role {}/{}{called} {what}", self.namespace, self.name);
        let _ = writeln!(text, "  {}", paint.by_sign(&line));
        if let (Some(reason), Some(message)) = (self.reason, &self.message) {
            let _ = writeln!(text, "      {reason}: {message}");
        }
        if let Some(kept) = &self.kept {
            let _ = writeln!(text, "      {kept}");
        }
        for change in &self.changes {
            let _ = writeln!(text, "      {}", paint.by_sign(&change.change));
            for detail in &change.details {
                let _ = writeln!(text, "          {}", paint.by_sign(detail));
            }
        }
    }
}
