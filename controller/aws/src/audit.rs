//! The audit log: a line for each write to a role in AWS.
//!
//! It says who wrote what and whether the role allows more after it. It has no text of a document and no secret, but for the first part
//! of a policy that makes a role wider.

use std::collections::VecDeque;

use rolectl_core::bounded::display;
use rolectl_core::names::RoleKey;
use rolectl_core::role::{Change, ObservedRole};
use rolectl_core::widening::{Verdict, VerdictKind, place_of, state_digest, verdicts};

use crate::account::Account;
use crate::error::{AwsFailure, Class};
use crate::session::OpenSession;

/// Target of the lines, which a log filter can name.
const TARGET: &str = "rolectl::audit";
/// Length of the longest description of what is wider, in bytes.
const WIDENS: usize = 256;

/// Logs the changes of one plan, in their order.
pub struct Audit<'a> {
    role: &'a RoleKey,
    account: &'a Account,
    operator: &'a str,
    /// Nobody reads the lines otherwise, and what they show is not computed.
    is_on: bool,
    /// The verdicts of the changes that are not made yet.
    verdicts: VecDeque<Verdict>,
    /// Digest of the role as it is.
    digest: String,
}

impl<'a> Audit<'a> {
    /// Logs changes for this object, which are made on this session.
    pub fn new(role: &'a RoleKey, account: &'a Account, session: &'a OpenSession) -> Self {
        Self {
            role,
            account,
            operator: session.user_name(),
            is_on: tracing::enabled!(target: TARGET, tracing::Level::INFO),
            verdicts: VecDeque::new(),
            digest: String::new(),
        }
    }

    /// Judges the changes that are to be made, in this order.
    pub fn judge(&mut self, role: Option<&ObservedRole>, changes: &[Change]) {
        if self.is_on {
            let policies = self.account.policies();
            let place = place_of(&self.account.spec, &policies);
            self.verdicts = verdicts(role, changes, place).into();
            self.digest = state_digest(role);
        }
    }

    /// Logs that the next change is made, and the role is now this one.
    pub fn made(&mut self, change: &Change, role: Option<&ObservedRole>) {
        if self.is_on {
            let after = state_digest(role);
            self.log(change, &after, "ok");
            self.digest = after;
            self.verdicts.pop_front();
        }
    }

    /// Logs that the next change failed. It stays the next one.
    pub fn failed(&self, change: &Change, failure: &AwsFailure) {
        if !self.is_on {
            return;
        }
        // AWS may have made one call of several.
        let has_several_calls = matches!(
            change,
            Change::AddInstanceProfile(_) | Change::RemoveInstanceProfile(..)
        );
        match failure.class {
            _ if has_several_calls => self.log(change, "?", "unknown"),
            Class::NotMade => {}
            Class::Transient => self.log(change, "?", "unknown"),
            _ => self.log(change, &self.digest, "failed"),
        }
    }

    fn log(&self, change: &Change, after: &str, outcome: &str) {
        let verdict = self.verdicts.front();
        let kind = verdict.map_or(VerdictKind::Same, Verdict::kind);
        let first = verdict
            .and_then(Verdict::widening)
            .and_then(|more| more.atoms.first());
        // Without `%` the text is quoted, and its control characters are escaped.
        let widens = first.map(|atom| display(atom, WIDENS));
        tracing::info!(
            target: TARGET,
            role = %self.role,
            account = %self.account.name,
            account_id = %self.account.spec.account_id,
            operation = %change.operation(),
            verdict = %kind.as_str(),
            widens,
            operator = %self.operator,
            before = %self.digest,
            after = %after,
            outcome = %outcome,
            "write"
        );
    }
}
