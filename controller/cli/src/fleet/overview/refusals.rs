//! The refused roles of a plan by reason, for its end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Overview;
use crate::paint::Paint;

/// Number of roles that are named for one reason.
const NAMED: usize = 5;

impl Overview {
    /// Returns a line for each reason for which roles are refused, and for the accounts that could not be read.
    pub fn refusals(&self, paint: Paint) -> String {
        let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for account in &self.accounts {
            for role in account.roles.iter().filter(|role| role.is_refused()) {
                let reason = role.reason.map_or_else(String::new, |reason| reason.to_string());
                let name = format!("{}/{} in {}", role.namespace, role.name, account.account);
                refused.entry(reason).or_default().push(name);
            }
            if account.failure.is_some() {
                let accounts = refused.entry("not read".to_owned()).or_default();
                accounts.push(account.account.clone());
            }
        }
        let mut text = String::new();
        for (reason, names) in refused {
            let mut named: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
            let more = format!("and {} more", names.len().saturating_sub(NAMED));
            if names.len() > NAMED {
                named.push(&more);
            }
            let line = format!("! {} {reason}: {}", names.len(), named.join(", "));
            let _ = writeln!(text, "{}", paint.by_sign(&line));
        }
        text
    }
}
