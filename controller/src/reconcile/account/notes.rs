//! What the reconciles of an account keep from one to the next.

use std::collections::HashMap;

use parking_lot::Mutex;
use rolectl_crds::RoleCounts;
use tokio::time::Instant;

use rolectl_aws::actor::inputs::Inputs;

use super::deletion::Lists;
use super::status::Counted;

/// The notes about all accounts, by name.
#[derive(Default)]
pub struct AccountNotes(Mutex<HashMap<String, Note>>);

#[derive(Default)]
struct Note {
    /// The object that acts for the AWS account in place of this one.
    acting: Option<String>,
    /// Hash of the reconcile annotation.
    forced: Option<u64>,
    /// Hash of the annotation that names roles to forget.
    forgets: Option<u64>,
    /// What roles were woken for last.
    inputs: Option<Inputs>,
    /// Number of the last sweep that was reported, of the actor with this number.
    sweep: Option<(u64, u64)>,
    /// Owners without object that were reported.
    orphans: Vec<String>,
    /// The counts are to be made again.
    recount: bool,
    /// What the last status shows of the roles. The cached status may trail it.
    counted: Option<Counted>,
    lists: Lists,
}

impl AccountNotes {
    /// The object that acts in place of this account.
    pub fn acting(&self, account: &str) -> Option<String> {
        self.0.lock().get(account)?.acting.clone()
    }

    /// Another object acts in place of this account from now on, or none.
    pub fn set_acting(&self, account: &str, acting: Option<String>) {
        self.0.lock().entry(account.to_owned()).or_default().acting = acting;
    }

    /// Returns true if the reconcile annotation has another hash than before. The first look after a start is no request.
    pub fn is_newly_forced(&self, account: &str, hash: u64) -> bool {
        let mut notes = self.0.lock();
        let before = notes.entry(account.to_owned()).or_default().forced.replace(hash);
        before.is_some_and(|before| before != hash)
    }

    /// Returns true if the annotation that names roles to forget has another hash than before.
    pub fn set_forgets(&self, account: &str, hash: u64) -> bool {
        let mut notes = self.0.lock();
        notes.entry(account.to_owned()).or_default().forgets.replace(hash) != Some(hash)
    }

    /// Returns true if what roles depend on has changed.
    pub fn set_inputs(&self, account: &str, inputs: Inputs) -> bool {
        let mut notes = self.0.lock();
        let note = notes.entry(account.to_owned()).or_default();
        if note.inputs.as_ref() == Some(&inputs) {
            return false;
        }
        note.inputs = Some(inputs);
        true
    }

    /// Returns true if no status has shown this sweep of this actor.
    pub fn is_new_sweep(&self, account: &str, sweep: (u64, u64)) -> bool {
        self.0
            .lock()
            .get(account)
            .is_none_or(|note| note.sweep != Some(sweep))
    }

    /// Records that a status shows this sweep.
    pub fn set_sweep(&self, account: &str, sweep: (u64, u64)) {
        self.0.lock().entry(account.to_owned()).or_default().sweep = Some(sweep);
    }

    /// Returns true if these orphans differ from those that were reported last.
    pub fn set_orphans(&self, account: &str, orphans: &[String]) -> bool {
        let mut notes = self.0.lock();
        let note = notes.entry(account.to_owned()).or_default();
        if note.orphans == orphans {
            return false;
        }
        note.orphans = orphans.to_vec();
        true
    }

    /// The counts are to be made again. Returns true if that was noted already.
    pub fn set_recount(&self, account: &str) -> bool {
        let mut notes = self.0.lock();
        std::mem::replace(&mut notes.entry(account.to_owned()).or_default().recount, true)
    }

    /// Returns true if the counts are to be made again, once.
    pub fn take_recount(&self, account: &str) -> bool {
        let mut notes = self.0.lock();
        notes
            .get_mut(account)
            .is_some_and(|note| std::mem::take(&mut note.recount))
    }

    /// The counts of the last report.
    pub fn counts(&self, account: &str) -> RoleCounts {
        self.counted(account)
            .map(|counted| counted.counts)
            .unwrap_or_default()
    }

    /// What the last report shows of the roles.
    pub fn counted(&self, account: &str) -> Option<Counted> {
        self.0.lock().get(account)?.counted.clone()
    }

    /// Records what a report shows of the roles.
    pub fn set_counted(&self, account: &str, counted: Counted) {
        self.0.lock().entry(account.to_owned()).or_default().counted = Some(counted);
    }

    /// Returns true if all roles may be listed for the deletion of the account.
    pub fn may_list(&self, account: &str, now: Instant) -> bool {
        self.0
            .lock()
            .get(account)
            .is_none_or(|note| note.lists.may_list(now))
    }

    /// A list has shown a role that needs the account.
    pub fn listed_in_vain(&self, account: &str, now: Instant) {
        self.0
            .lock()
            .entry(account.to_owned())
            .or_default()
            .lists
            .was_in_vain(now);
    }

    /// This process does not look after the account any more.
    pub fn forget(&self, account: &str) {
        self.0.lock().remove(account);
    }
}
