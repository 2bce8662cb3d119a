//! The entries of a status, from what the actors have reported, and the events about them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::ResourceExt as _;
use kube::runtime::events::EventType;
use rolectl_crds::{AccountStatus, AwsAccount, Reason};

use rolectl_aws::actor::report::{Finding, Goal, RoleIdentity, RoleInAccount, RoleReport};
use rolectl_core::bounded::clip;
use rolectl_core::conditions::ready_reason;
use rolectl_core::status::CHANGE;

use super::super::events;
use super::Pass;
use super::assign::Assignments;
use super::reports::Answer;

/// Reason of the event about corrected drift.
const DRIFT_CORRECTED: &str = "DriftCorrected";

/// The answers of all accounts.
pub(super) type Answers = HashMap<Arc<str>, Answer>;

impl Pass<'_> {
    /// The entries of the accounts in our part.
    pub(super) fn entries_of(&self, assignments: &Assignments, answers: &Answers) -> Vec<AccountStatus> {
        let goals = assignments.goals.iter();
        let asked = goals.filter_map(|(account, goal)| self.answered(account, *goal, answers));
        let asked = asked.map(|entry| self.in_turn(entry));
        let mut entries: Vec<AccountStatus> = asked.collect();
        entries.extend(assignments.said.iter().cloned());
        entries
    }

    /// The entry of an account by its actor's answer. `None`: nothing of the role is there.
    pub(super) fn answered(
        &self,
        account: &AwsAccount,
        goal: Goal,
        answers: &Answers,
    ) -> Option<AccountStatus> {
        let generation = self.role.metadata.generation;
        let answer = answers.get(account.metadata.name.as_deref()?);
        let report = answer
            .filter(|answer| answer.goal == goal)
            .and_then(|answer| answer.report.as_ref())
            .filter(|report| report.generation == generation);
        let is_answered = answer.is_some_and(|answer| answer.is_answered);
        match report.map(|report| &report.finding) {
            Some(Finding::Waits(what)) => Some(self.unchanged(account, what)),
            Some(Finding::Gone) if is_answered => None,
            Some(Finding::State(state)) => Some(self.entry_of(account, state)),
            None | Some(Finding::Gone) => Some(self.unchanged(account, "under way")),
        }
    }

    /// The account's entry. What the status has of the role there is kept.
    pub(super) fn entry(
        &self,
        account: &AwsAccount,
        state: Reason,
        message: Option<String>,
    ) -> AccountStatus {
        let name = account.name_any();
        let prior = self.prior(&name);
        AccountStatus {
            account_id: Some(account.spec.account_id.clone()),
            state,
            arn: prior.and_then(|p| p.arn.clone()),
            role_id: prior.and_then(|p| p.role_id.clone()),
            instance_profiles: prior.map(|p| p.instance_profiles.clone()).unwrap_or_default(),
            message,
            changes: vec![],
            approval: None,
            observed_generation: self.role.metadata.generation,
            last_applied_generation: prior.and_then(|p| p.last_applied_generation),
            name,
        }
    }

    fn entry_of(&self, account: &AwsAccount, reported: &RoleInAccount) -> AccountStatus {
        let RoleInAccount {
            state,
            message,
            changes,
            identity,
            in_sync,
            is_restricted: _,
            approval,
        } = reported;
        let mut entry = self.entry(account, *state, message.clone());
        entry.changes.clone_from(changes);
        entry.approval.clone_from(approval);
        if *state == Reason::SessionLocked {
            // What was to be changed is still to be changed.
            let prior = self.prior(&entry.name);
            entry.changes = prior.map(|p| p.changes.clone()).unwrap_or_default();
        }
        if let RoleIdentity::Known(role) = identity {
            let (arn, role_id) = role.clone().unzip();
            (entry.arn, entry.role_id) = (arn, role_id);
        }
        if let Some(profiles) = in_sync {
            entry.instance_profiles.clone_from(profiles);
            entry.last_applied_generation = self.role.metadata.generation;
        }
        entry
    }

    /// Nothing new can be said yet: what was said of this generation is still true.
    pub(super) fn unchanged(&self, account: &AwsAccount, waiting_for: &str) -> AccountStatus {
        let is_of_this_generation = |s: &&AccountStatus| {
            s.observed_generation == self.role.metadata.generation && s.state != Reason::SessionLocked
        };
        let prior = self.prior(&account.name_any()).filter(is_of_this_generation);
        prior
            .cloned()
            .unwrap_or_else(|| self.entry(account, Reason::Progressing, Some(waiting_for.to_owned())))
    }

    /// Writes the status with these entries, then publishes the events about what is new in them.
    pub(super) async fn publish(
        &self,
        entries: Vec<AccountStatus>,
        answers: &Answers,
    ) -> Result<(), super::Error> {
        let done = self.write_entries(&entries, false).await?;
        self.publish_done(&done, self.done_reason());
        self.publish_found(&entries, answers);
        let changed: HashSet<&str> = done.iter().map(|(account, _)| account.as_str()).collect();
        for entry in &entries {
            let before = self.prior(&entry.name).map(|p| p.state);
            if before != Some(entry.state) || changed.contains(entry.name.as_str()) {
                self.context.recount(&entry.name);
            }
        }
        Ok(())
    }

    fn done_reason(&self) -> &'static str {
        let prior = self.role.status.as_ref();
        let was_in_sync = prior.and_then(|p| p.observed_generation) == self.role.metadata.generation
            && prior.and_then(|p| ready_reason(&p.conditions)) == Some(Reason::InSync.as_str());
        if was_in_sync { DRIFT_CORRECTED } else { "Applied" }
    }

    /// Publishes what was done in each account.
    pub(super) fn publish_done(&self, done: &[(String, String)], reason: &str) {
        // Somebody else has changed the role: an operator may have to look at what was removed.
        let type_ = || match reason {
            DRIFT_CORRECTED => EventType::Warning,
            _ => EventType::Normal,
        };
        for (action, note) in events::about_changes(done) {
            events::publish(self.context, self.role, type_(), reason, &action, &note);
        }
    }

    /// Publishes what the fresh reports have found: lint warnings, restrictions from outside, and drift that is not corrected.
    fn publish_found(&self, entries: &[AccountStatus], answers: &Answers) {
        let fresh: Vec<(&str, &RoleReport)> = answers
            .iter()
            .filter(|(_, answer)| answer.is_fresh)
            .filter_map(|(account, answer)| Some((&**account, answer.report.as_ref()?)))
            .collect();
        if let Some((_, report)) = fresh.iter().find(|(_, report)| !report.warnings.is_empty()) {
            self.publish_warnings(&report.warnings);
        }
        let entries: HashMap<&str, &AccountStatus> =
            entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        for (account, report) in &fresh {
            let Finding::State(state) = &report.finding else {
                continue;
            };
            let Some(entry) = entries.get(account).filter(|entry| entry.state == state.state) else {
                continue;
            };
            if state.is_restricted {
                self.publish_restricted(entry);
            }
            if state.state == Reason::Drifted && !self.has_reported_drift(entry) {
                self.publish_drifted(entry);
            }
        }
        let revisions = fresh
            .iter()
            .map(|(account, report)| (Arc::from(*account), report.revision))
            .collect();
        self.context.reports.published(&self.key, &revisions);
    }

    /// Publishes what the author of the spec may not have meant, once for each generation.
    fn publish_warnings(&self, warnings: &[String]) {
        let seen = self.role.status.as_ref().and_then(|s| s.observed_generation);
        if seen == self.role.metadata.generation || !self.context.newly_warned(self.role) {
            return;
        }
        let note = warnings.join("; ");
        let role = self.role;
        events::publish(
            self.context,
            role,
            EventType::Warning,
            "PolicyWarning",
            "Lint",
            &note,
        );
    }

    /// Publishes an event when somebody has restricted the role from outside.
    fn publish_restricted(&self, entry: &AccountStatus) {
        let Some(message) = &entry.message else { return };
        if self.prior(&entry.name).and_then(|prior| prior.message.as_ref()) == Some(message) {
            return;
        }
        let note = format!("{}: {message}", entry.name);
        let action = events::action("Keep", &entry.name);
        events::publish(
            self.context,
            self.role,
            EventType::Warning,
            "Restricted",
            &action,
            &note,
        );
    }

    /// Returns true if the status has this difference already. One that is not shown there is taken for the same.
    fn has_reported_drift(&self, entry: &AccountStatus) -> bool {
        let reported = self
            .prior(&entry.name)
            .filter(|p| p.state == Reason::Drifted && p.observed_generation == self.role.metadata.generation);
        reported.is_some_and(|reported| {
            let is_shown = reported.account_id.is_some();
            let changes = entry.changes.iter().map(|change| clip(change, CHANGE));
            !is_shown || changes.eq(reported.changes.iter().map(String::as_str))
        })
    }

    fn publish_drifted(&self, entry: &AccountStatus) {
        let account = &entry.name;
        let note = format!(
            "{account}: drift detected; not corrected because spec.drift is Report: {}",
            entry.changes.join("; ")
        );
        let action = events::action("Drift", account);
        events::publish(
            self.context,
            self.role,
            EventType::Warning,
            "Drifted",
            &action,
            &note,
        );
    }

    /// Publishes that the role stays in an account although its object no longer wants it there.
    pub(super) fn publish_left(&self, account: &str) {
        let note = format!(
            "{account}: drift: Report never writes, so role {} stays there as it is",
            self.role_name()
        );
        let action = events::action("Leave", account);
        events::publish(self.context, self.role, EventType::Normal, "Left", &action, &note);
    }
}
