//! What the actors have reported of each role, and what they were asked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rolectl_crds::Reason;
use tokio::time::Instant;

use rolectl_aws::actor::ActorHandle;
use rolectl_aws::actor::report::{Assignment, Finding, Goal, RoleIdentity, RoleReport, Turn};
use rolectl_core::names::RoleKey;

use super::rolling::RolloutMemory;

/// How long a status waits for the last of its accounts, and how much longer for each account of the role: each makes the status
/// larger. The pause doubles while accounts are still awaited.
const INTERIM: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(20));
/// How long the first status waits while no account has answered, so that it would only say that work is under way. A thousand roles that are
/// created together must not have two statuses each.
const UNDER_WAY: Duration = Duration::from_secs(10);
/// How long a finalizer that was just set may be missing in the cache.
const FINALIZER_LAG: Duration = Duration::from_secs(30);

/// The reports of all roles.
#[derive(Default)]
pub struct RoleReports(Mutex<HashMap<RoleKey, Record>>);

#[derive(Default)]
struct Record {
    /// The uid of the object. Another object of the same name inherits nothing.
    uid: Option<String>,
    accounts: HashMap<Arc<str>, InAccount>,
    /// How many accounts have not answered their assignment.
    awaited: usize,
    /// All accounts are assigned again with the next pass.
    is_nudged: bool,
    /// Changes that are in no event yet, with their accounts.
    done: Vec<(String, String)>,
    /// When a status is written without the accounts that are still awaited, and how long it waits.
    interim: Option<(Instant, Duration)>,
    revisions: u64,
    finalizer: Option<Instant>,
    /// A wake-up of the role is scheduled.
    is_waking: bool,
    /// The rollout of the present generation, of a role that reaches its accounts in an order.
    rollout: Option<Box<RolloutMemory>>,
}

/// What was asked of an actor, and what it answered.
struct InAccount {
    request: Request,
    revision: u64,
    report: Option<RoleReport>,
    /// The report has not been in a status yet.
    is_fresh: bool,
}

/// What an actor is asked. The same request is not sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The actor. 0: it has not started yet.
    pub instance: u64,
    /// Generation of the object.
    pub generation: Option<i64>,
    /// The object is being deleted.
    pub is_deleting: bool,
    /// What is to become of the role.
    pub goal: Goal,
    /// The turn of the account.
    pub turn: Turn,
}

/// What is known of one account.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub goal: Goal,
    /// The last report, also of an earlier request.
    pub report: Option<RoleReport>,
    /// The last report answers the request.
    pub is_answered: bool,
    /// The report has not been in a status yet.
    pub is_fresh: bool,
}

/// When a role is to be looked at because of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At once: the last account that was awaited has answered.
    Now,
    /// In a moment, together with what others report meanwhile.
    Soon,
    /// Not at all.
    Never,
}

/// Numbers of roles.
#[derive(Debug, Default)]
pub struct Tally {
    /// By account and state.
    pub by_state: HashMap<(Arc<str>, &'static str), i64>,
    /// Roles that somebody has restricted from outside, by account.
    pub restricted: HashMap<Arc<str>, i64>,
}

impl InAccount {
    fn is_answered(&self) -> bool {
        self.report.as_ref().is_some_and(|report| {
            report.revision == self.revision && !matches!(report.finding, Finding::Waits(_))
        })
    }
}

impl RoleReports {
    /// A pass over the object with this uid begins.
    pub fn begin(&self, key: &RoleKey, uid: Option<&str>) {
        let mut roles = self.0.lock();
        let record = roles.entry(key.clone()).or_default();
        if record.uid.as_deref() != uid {
            *record = Record {
                uid: uid.map(str::to_owned),
                revisions: record.revisions,
                ..Record::default()
            };
        }
    }

    /// Asks an actor to look after the role, unless it does already for this request.
    pub fn assign(
        &self,
        key: &RoleKey,
        account: &str,
        request: Request,
        is_given_up: bool,
        actor: Option<&ActorHandle>,
    ) {
        let mut roles = self.0.lock();
        let Some(record) = roles.get_mut(key) else { return };
        let before = record.accounts.get(account);
        if before.is_some_and(|before| before.request == request) && !record.is_nudged {
            return;
        }
        record.revisions += 1;
        let was_awaited = before.is_some_and(|before| !before.is_answered());
        record.awaited += usize::from(!was_awaited);
        let (name, report) = match record.accounts.remove_entry(account) {
            Some((name, before)) => (name, before.report),
            None => (account.into(), None),
        };
        let revision = record.revisions;
        record.accounts.insert(
            name,
            InAccount {
                request,
                revision,
                report,
                is_fresh: false,
            },
        );
        if let Some(actor) = actor {
            let assignment = Assignment {
                goal: request.goal,
                revision,
                is_given_up,
                turn: request.turn,
            };
            // Under the lock: a later request must not overtake this one.
            actor.assign(key.clone(), assignment);
        }
    }

    /// All requests of a pass have been sent. Returns the accounts that were asked before and are not in `asked`: their actors no
    /// longer look after the role.
    pub fn end_requests(&self, key: &RoleKey, asked: &HashSet<String>) -> Vec<Arc<str>> {
        let mut roles = self.0.lock();
        let Some(record) = roles.get_mut(key) else {
            return vec![];
        };
        record.is_nudged = false;
        let dropped: Vec<Arc<str>> = record
            .accounts
            .keys()
            .filter(|account| !asked.contains(&***account))
            .cloned()
            .collect();
        for account in &dropped {
            if record
                .accounts
                .remove(account)
                .is_some_and(|it| !it.is_answered())
            {
                record.awaited -= 1;
            }
        }
        if record.accounts.capacity() > 2 * record.accounts.len() + 4 {
            record.accounts.shrink_to_fit();
        }
        dropped
    }

    /// All accounts of the role are to be asked again.
    pub fn nudge(&self, key: &RoleKey) {
        if let Some(record) = self.0.lock().get_mut(key) {
            record.is_nudged = true;
        }
    }

    /// One account is to be asked again.
    pub fn nudge_account(&self, key: &RoleKey, account: &str) {
        let mut roles = self.0.lock();
        let Some(record) = roles.get_mut(key) else { return };
        if let Some(found) = record.accounts.get_mut(account) {
            // No actor has this number.
            found.request.instance = 0;
        }
        if let Some(rollout) = &mut record.rollout {
            rollout.accounts.retry_now(account);
        }
    }

    /// Takes in a report.
    pub fn report(&self, account: &str, key: &RoleKey, report: RoleReport) -> Wake {
        let mut roles = self.0.lock();
        let Some(record) = roles.get_mut(key) else {
            return Wake::Never;
        };
        if !report.done.is_empty() {
            record.done.push((account.to_owned(), report.done.join("; ")));
        }
        let Some(found) = record.accounts.get_mut(account) else {
            return Wake::Never;
        };
        // It answers an earlier request; the answer to the present one follows.
        if report.revision < found.revision {
            return Wake::Never;
        }
        let was_answered = found.is_answered();
        let says_nothing_new = report.done.is_empty()
            && found.report.as_ref().is_some_and(|before| {
                (&before.finding, before.generation) == (&report.finding, report.generation)
            });
        found.report = Some(report);
        found.is_fresh = true;
        // Others may wait for this account.
        let is_rolling = record.rollout.as_ref().is_some_and(|rollout| rollout.is_running);
        match (was_answered, found.is_answered()) {
            (false, true) => {
                record.awaited -= 1;
                if record.awaited == 0 {
                    record.interim = None;
                    return Wake::Now;
                }
                if is_rolling { Wake::Soon } else { Wake::Never }
            }
            (true, false) => {
                record.awaited += 1;
                Wake::Soon
            }
            (true, true) if is_rolling => Wake::Soon,
            (true, true) if says_nothing_new || record.awaited > 0 => Wake::Never,
            (true, true) => Wake::Soon,
            (false, false) => Wake::Never,
        }
    }

    /// A wake-up of the role is about to be scheduled. Returns false if one is already.
    pub fn begin_wake(&self, key: &RoleKey) -> bool {
        let mut roles = self.0.lock();
        roles
            .get_mut(key)
            .is_some_and(|record| !std::mem::replace(&mut record.is_waking, true))
    }

    /// The wake-up takes place.
    pub fn end_wake(&self, key: &RoleKey) {
        if let Some(record) = self.0.lock().get_mut(key) {
            record.is_waking = false;
        }
    }

    /// How long the status still waits for accounts that have not answered. `None`: it is to be written now.
    pub fn wait(&self, key: &RoleKey, now: Instant) -> Option<Duration> {
        let mut roles = self.0.lock();
        let record = roles.get_mut(key)?;
        if record.awaited == 0 {
            record.interim = None;
            return None;
        }
        let accounts = u32::try_from(record.accounts.len()).unwrap_or(u32::MAX);
        let first = INTERIM.0 + INTERIM.1.saturating_mul(accounts);
        let (due, pause) = *record.interim.get_or_insert((now + first, first));
        if due > now {
            return Some(due - now);
        }
        // A status that shows an earlier generation as ready is not left so.
        let has_no_report = record.accounts.values().all(|it| it.report.is_none());
        if has_no_report && pause < UNDER_WAY {
            let rest = UNDER_WAY.saturating_sub(pause);
            record.interim = Some((now + rest, UNDER_WAY));
            return Some(rest);
        }
        record.interim = Some((now + 2 * pause, 2 * pause));
        None
    }

    /// How long until the next status without the accounts that are still awaited. `None`: all have answered.
    pub fn next_interim(&self, key: &RoleKey, now: Instant) -> Option<Duration> {
        let roles = self.0.lock();
        let record = roles.get(key).filter(|record| record.awaited > 0)?;
        let (due, _) = record.interim?;
        Some(due.saturating_duration_since(now))
    }

    /// What every account of the role has answered.
    pub fn answers(&self, key: &RoleKey) -> HashMap<Arc<str>, Answer> {
        let roles = self.0.lock();
        let accounts = roles.get(key).into_iter().flat_map(|record| &record.accounts);
        let answer = |it: &InAccount| Answer {
            goal: it.request.goal,
            report: it.report.clone(),
            is_answered: it.is_answered(),
            is_fresh: it.is_fresh,
        };
        accounts.map(|(name, it)| (name.clone(), answer(it))).collect()
    }

    /// Returns true if nothing of the object that is being deleted is left in the account, by its actor.
    pub fn is_gone(&self, key: &RoleKey, account: &str) -> bool {
        let roles = self.0.lock();
        let found = roles.get(key).and_then(|record| record.accounts.get(account));
        found.is_some_and(|it| {
            it.request.is_deleting
                && it.is_answered()
                && it
                    .report
                    .as_ref()
                    .is_some_and(|report| report.finding == Finding::Gone)
        })
    }

    /// Returns true if the actor of the account has answered that nothing of the role is there.
    pub fn says_gone(&self, key: &RoleKey, account: &str) -> bool {
        let roles = self.0.lock();
        let found = roles.get(key).and_then(|record| record.accounts.get(account));
        found.is_some_and(|it| {
            it.is_answered()
                && it
                    .report
                    .as_ref()
                    .is_some_and(|report| report.finding == Finding::Gone)
        })
    }

    /// The accounts whose actors were asked about the role.
    pub fn asked_in(&self, key: &RoleKey) -> HashSet<String> {
        let roles = self.0.lock();
        let accounts = roles
            .get(key)
            .into_iter()
            .flat_map(|record| record.accounts.keys());
        accounts.map(ToString::to_string).collect()
    }

    /// The accounts in which the role may be because of what their actors were asked: to keep it there, or to remove it without an
    /// answer yet.
    pub fn kept_in(&self, key: &RoleKey) -> HashSet<String> {
        let roles = self.0.lock();
        let accounts = roles.get(key).into_iter().flat_map(|record| &record.accounts);
        let is_kept = |it: &InAccount| it.request.goal == Goal::Keep || !it.is_answered();
        let kept = accounts.filter(|(_, it)| is_kept(it));
        kept.map(|(account, _)| account.to_string()).collect()
    }

    /// What is remembered of the rollout of this generation.
    pub fn rollout(&self, key: &RoleKey, generation: Option<i64>) -> RolloutMemory {
        let roles = self.0.lock();
        let memory = roles.get(key).and_then(|record| record.rollout.as_deref());
        let memory = memory.filter(|memory| memory.generation == generation).cloned();
        memory.unwrap_or_else(|| RolloutMemory {
            generation,
            ..RolloutMemory::default()
        })
    }

    /// Remembers a rollout, or that there is none.
    pub fn set_rollout(&self, key: &RoleKey, memory: Option<RolloutMemory>) {
        if let Some(record) = self.0.lock().get_mut(key) {
            record.rollout = memory.map(Box::new);
        }
    }

    /// Takes out the changes that are in no event yet.
    pub fn take_done(&self, key: &RoleKey) -> Vec<(String, String)> {
        let mut roles = self.0.lock();
        let record = roles.get_mut(key);
        record
            .map(|record| std::mem::take(&mut record.done))
            .unwrap_or_default()
    }

    /// Records that these reports have been in a status.
    pub fn published(&self, key: &RoleKey, revisions: &HashMap<Arc<str>, u64>) {
        let mut roles = self.0.lock();
        let Some(record) = roles.get_mut(key) else { return };
        for (account, revision) in revisions {
            if let Some(it) = record.accounts.get_mut(account)
                && it
                    .report
                    .as_ref()
                    .is_some_and(|report| report.revision == *revision)
            {
                it.is_fresh = false;
            }
        }
    }

    /// Returns true if the finalizer was set so recently that the cache may not show it.
    pub fn has_finalizer(&self, key: &RoleKey, uid: Option<&str>) -> bool {
        let roles = self.0.lock();
        let record = roles.get(key).filter(|record| record.uid.as_deref() == uid);
        record
            .and_then(|record| record.finalizer)
            .is_some_and(|at| at.elapsed() < FINALIZER_LAG)
    }

    /// Records that the finalizer was set.
    pub fn set_finalizer(&self, key: &RoleKey, uid: Option<&str>) {
        let mut roles = self.0.lock();
        if let Some(record) = roles.get_mut(key).filter(|record| record.uid.as_deref() == uid) {
            record.finalizer = Some(Instant::now());
        }
    }

    /// Returns true if an actor has reported the state of the role in the account.
    pub fn has_reported(&self, key: &RoleKey, account: &str) -> bool {
        let roles = self.0.lock();
        let found = roles.get(key).and_then(|record| record.accounts.get(account));
        let report = found.and_then(|it| it.report.as_ref());
        report.is_some_and(|report| !matches!(report.finding, Finding::Waits(_)))
    }

    /// Returns true if an actor has reported the role in sync in an account that has it.
    pub fn has_role(&self, key: &RoleKey) -> bool {
        let roles = self.0.lock();
        let mut accounts = roles
            .get(key)
            .into_iter()
            .flat_map(|record| record.accounts.values());
        accounts.any(|it| {
            let finding = it.report.as_ref().map(|report| &report.finding);
            matches!(finding, Some(Finding::State(state))
                if state.in_sync.is_some() && matches!(state.identity, RoleIdentity::Known(Some(_))))
        })
    }

    /// The reported state of the role in the account.
    pub fn state_in(&self, key: &RoleKey, account: &str) -> Option<Reason> {
        let roles = self.0.lock();
        match &roles.get(key)?.accounts.get(account)?.report.as_ref()?.finding {
            Finding::State(state) => Some(state.state),
            Finding::Waits(_) | Finding::Gone => None,
        }
    }

    /// Counts the roles of all accounts by state.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let roles = self.0.lock();
        for (account, it) in roles.values().flat_map(|record| &record.accounts) {
            let Some(Finding::State(state)) = it.report.as_ref().map(|report| &report.finding) else {
                continue;
            };
            let at = (account.clone(), state.state.as_str());
            *tally.by_state.entry(at).or_default() += 1;
            *tally.restricted.entry(account.clone()).or_default() += i64::from(state.is_restricted);
        }
        tally
    }

    /// The roles that the actor of this account looks after.
    pub fn roles_in(&self, account: &str) -> Vec<RoleKey> {
        let roles = self.0.lock();
        let asked = roles
            .iter()
            .filter(|(_, record)| record.accounts.contains_key(account));
        asked.map(|(key, _)| key.clone()).collect()
    }

    /// The object is deleted. Returns the accounts whose actors looked after it.
    pub fn forget(&self, key: &RoleKey) -> Vec<Arc<str>> {
        let record = self.0.lock().remove(key);
        record
            .map(|record| record.accounts.into_keys().collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rolectl_aws::actor::report::RoleInAccount;
    use rolectl_core::rollout::{Completed, Wave};

    use super::*;

    fn request(generation: i64) -> Request {
        Request {
            instance: 1,
            generation: Some(generation),
            is_deleting: false,
            goal: Goal::Keep,
            turn: Turn::Free,
        }
    }

    fn report(revision: u64, finding: Finding) -> RoleReport {
        RoleReport {
            revision,
            generation: Some(1),
            finding,
            done: vec![],
            warnings: vec![],
        }
    }

    fn state(state: Reason) -> Finding {
        Finding::State(Box::new(RoleInAccount::new(state, "message")))
    }

    fn role() -> (RoleReports, RoleKey) {
        let (reports, key) = (RoleReports::default(), RoleKey::new("team", "app"));
        reports.begin(&key, Some("1"));
        (reports, key)
    }

    #[test]
    fn a_role_is_looked_at_once_all_its_accounts_have_answered() {
        let (reports, key) = role();
        for account in ["a", "b"] {
            reports.assign(&key, account, request(1), false, None);
        }
        let now = Instant::now();
        assert!(reports.wait(&key, now).is_some(), "two accounts are awaited");
        assert_eq!(
            reports.report("a", &key, report(1, state(Reason::InSync))),
            Wake::Never
        );
        assert_eq!(
            reports.report("b", &key, report(2, Finding::Waits("sweep"))),
            Wake::Never
        );
        assert_eq!(
            reports.report("b", &key, report(2, state(Reason::InSync))),
            Wake::Now
        );
        assert_eq!(reports.wait(&key, now), None);
        let drifted = report(2, state(Reason::Drifted));
        assert_eq!(reports.report("b", &key, drifted.clone()), Wake::Soon);
        assert_eq!(reports.report("b", &key, drifted), Wake::Never, "nothing new");
    }

    #[test]
    fn the_same_request_is_not_made_twice_unless_it_is_nudged() {
        let (reports, key) = role();
        reports.assign(&key, "a", request(1), false, None);
        reports.report("a", &key, report(1, state(Reason::InSync)));
        let is_awaited = |reports: &RoleReports| reports.wait(&key, Instant::now()).is_some();
        reports.assign(&key, "a", request(1), false, None);
        assert!(!is_awaited(&reports));
        reports.nudge(&key);
        reports.assign(&key, "a", request(1), false, None);
        reports.end_requests(&key, &["a".to_owned()].into());
        assert!(is_awaited(&reports));
        assert_eq!(
            reports.report("a", &key, report(1, state(Reason::InSync))),
            Wake::Never,
            "the answer to an earlier request"
        );
        assert!(is_awaited(&reports));
        reports.report("a", &key, report(2, state(Reason::InSync)));
        assert!(!is_awaited(&reports));
        reports.assign(&key, "a", request(2), false, None);
        assert!(is_awaited(&reports), "another generation");
    }

    #[test]
    fn an_account_that_takes_long_holds_a_status_back_for_a_while_only() {
        let (reports, key) = role();
        reports.assign(&key, "a", request(1), false, None);
        reports.assign(&key, "b", request(1), false, None);
        reports.report("b", &key, report(2, state(Reason::InSync)));
        let now = Instant::now();
        let first = reports.wait(&key, now).unwrap();
        assert!(first >= INTERIM.0 && first < UNDER_WAY);
        assert_eq!(reports.wait(&key, now + first), None, "a status without it");
        let second = reports.wait(&key, now + first).unwrap();
        assert_eq!(second, 2 * first, "ever more seldom");
    }

    #[test]
    fn while_a_rollout_runs_each_answer_wakes_the_role_because_others_wait_for_it() {
        let (reports, key) = role();
        for account in ["a", "b"] {
            reports.assign(&key, account, request(1), false, None);
        }
        let mut running = RolloutMemory {
            generation: Some(1),
            is_running: true,
            ..RolloutMemory::default()
        };
        let complete: Completed = [(Wave::default(), std::time::Instant::now())].into();
        running.accounts.decided(["c".to_owned()].into(), complete);
        reports.set_rollout(&key, Some(running));
        let in_sync = report(1, state(Reason::InSync));
        assert_eq!(reports.report("a", &key, in_sync), Wake::Soon);
        let completed = |generation| reports.rollout(&key, Some(generation)).accounts.completed().len();
        assert_eq!(completed(1), 1);
        assert_eq!(completed(2), 0, "another generation begins from the start");
    }

    #[test]
    fn an_account_whose_turn_comes_is_asked_again() {
        let (reports, key) = role();
        let waits = Request {
            turn: Turn::Waits,
            ..request(1)
        };
        reports.assign(&key, "a", waits, false, None);
        reports.report("a", &key, report(1, state(Reason::RollingOut)));
        assert_eq!(reports.wait(&key, Instant::now()), None);
        let turn = Request {
            turn: Turn::Of(Some(1)),
            ..request(1)
        };
        reports.assign(&key, "a", turn, false, None);
        assert!(reports.wait(&key, Instant::now()).is_some());
    }

    #[test]
    fn a_status_that_would_only_say_that_work_is_under_way_waits_longer() {
        let (reports, key) = role();
        reports.assign(&key, "a", request(1), false, None);
        let now = Instant::now();
        let first = reports.wait(&key, now).unwrap();
        let rest = reports.wait(&key, now + first).unwrap();
        assert_eq!(first + rest, UNDER_WAY);
        assert_eq!(reports.wait(&key, now + UNDER_WAY), None);
        let second = reports.wait(&key, now + UNDER_WAY).unwrap();
        assert_eq!(second, 2 * UNDER_WAY, "ever more seldom");
    }

    #[test]
    fn changes_are_kept_for_an_event_also_when_the_account_is_no_longer_asked() {
        let (reports, key) = role();
        reports.assign(&key, "a", request(1), false, None);
        assert_eq!(reports.end_requests(&key, &HashSet::new()), ["a".into()]);
        let late = RoleReport {
            done: vec!["+ x".to_owned(), "- y".to_owned()],
            ..report(1, state(Reason::InSync))
        };
        assert_eq!(reports.report("a", &key, late), Wake::Never);
        assert_eq!(reports.take_done(&key), [("a".to_owned(), "+ x; - y".to_owned())]);
        assert!(reports.take_done(&key).is_empty());
        assert_eq!(reports.wait(&key, Instant::now()), None, "nobody is awaited");
    }

    #[test]
    fn another_object_of_the_same_name_inherits_nothing() {
        let (reports, key) = role();
        reports.assign(&key, "a", request(1), false, None);
        reports.set_finalizer(&key, Some("1"));
        assert!(reports.has_finalizer(&key, Some("1")));
        reports.begin(&key, Some("2"));
        assert!(!reports.has_finalizer(&key, Some("2")));
        assert!(reports.answers(&key).is_empty());
    }
}
