//! What we know of an account's roles: the last sweep, and every write of ours since.
//!
//! IAM is [eventually consistent](https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html#troubleshoot_general_eventual-consistency):
//! a read may be older than a write that went before it. So a write is trusted over a read: a sweep that
//! began before the write, or within [`GRACE`] after it, does not overwrite what the write left. The sweep
//! says so, and a later one looks again. Pure: time is passed in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rolectl_crds::OWNER_TAG;
use tokio::time::Instant;

use crate::role::ObservedRole;

/// How long after a write a read may still show the time before it.
pub const GRACE: Duration = Duration::from_secs(10);

/// The roles of one account.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// By name in lower case: IAM's names are unique without case.
    entries: HashMap<String, Entry>,
    /// Whether a sweep has completed, so that an absent entry means an absent role.
    complete: bool,
    writes: u64,
}

#[derive(Debug)]
struct Entry {
    /// `None`: we deleted it.
    role: Option<Arc<ObservedRole>>,
    /// Number and time of our last write.
    written: Option<(u64, Instant)>,
    /// When AWS last showed or confirmed it.
    seen: Instant,
    /// The next sweep must tell; until then nothing is known.
    doubtful: bool,
}

/// What is known of one role.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// Nothing yet: a sweep must come first.
    Unknown,
    /// There is no such role.
    Absent,
    /// There is, and this long ago AWS showed it so.
    Present(Arc<ObservedRole>, Instant),
}

/// Marks the beginning of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct SweepStart {
    writes: u64,
    at: Instant,
}

/// What a sweep changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// Roles that carry an owner tag of `owner_prefix`.
    pub managed: u32,
    /// All others.
    pub unmanaged: u32,
    /// A write of ours was too fresh for this sweep to judge: look again after this time.
    pub look_again: Option<Duration>,
}

impl Snapshot {
    /// What is known of the role.
    pub fn lookup(&self, name: &str) -> Lookup {
        if !self.complete {
            return Lookup::Unknown;
        }
        match self.entries.get(&name.to_lowercase()) {
            Some(entry) if entry.doubtful => Lookup::Unknown,
            None | Some(Entry { role: None, .. }) => Lookup::Absent,
            Some(Entry {
                role: Some(role),
                seen,
                ..
            }) => Lookup::Present(role.clone(), *seen),
        }
    }

    /// Names of the roles that carry this owner tag.
    pub fn owned_by(&self, owner: &str) -> Vec<String> {
        let carries = |role: &&Arc<ObservedRole>| role.tags.get(OWNER_TAG).is_some_and(|tag| tag == owner);
        self.entries
            .values()
            .filter_map(|e| e.role.as_ref())
            .filter(carries)
            .map(|r| r.name.clone())
            .collect()
    }

    /// Owner tags that begin with `prefix`.
    pub fn owners(&self, prefix: &str) -> Vec<String> {
        let tags = self
            .entries
            .values()
            .filter_map(|e| e.role.as_ref()?.tags.get(OWNER_TAG));
        tags.filter(|tag| tag.starts_with(prefix)).cloned().collect()
    }

    /// Whether a sweep has completed since the last [`Self::forget`].
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Records what a write of ours left.
    pub fn wrote(&mut self, name: &str, role: Option<ObservedRole>, now: Instant) {
        self.writes += 1;
        let entry = Entry {
            role: role.map(Arc::new),
            written: Some((self.writes, now)),
            seen: now,
            doubtful: false,
        };
        self.entries.insert(name.to_lowercase(), entry);
    }

    /// AWS contradicted what we knew of this role: nothing is known until the next sweep.
    pub fn doubt(&mut self, name: &str, now: Instant) {
        self.entries.insert(
            name.to_lowercase(),
            Entry {
                role: None,
                written: None,
                seen: now,
                doubtful: true,
            },
        );
    }

    /// AWS confirmed that the role is still the one we know.
    pub fn confirmed(&mut self, name: &str, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&name.to_lowercase()) {
            entry.seen = now;
        }
    }

    /// Time has passed unwatched (a locked session): everything must be swept anew.
    pub fn forget(&mut self) {
        self.complete = false;
    }

    /// Call before the first page is asked for.
    pub const fn begin_sweep(&self, now: Instant) -> SweepStart {
        SweepStart {
            writes: self.writes,
            at: now,
        }
    }

    /// Takes in a whole sweep. `unsettled` are names that only one of the two lists had: made or deleted meanwhile.
    pub fn merge(
        &mut self,
        start: SweepStart,
        roles: Vec<ObservedRole>,
        unsettled: &[String],
        owner_prefix: &str,
    ) -> Merge {
        let mut merge = Merge::default();
        let mut next: HashMap<String, Entry> = roles
            .into_iter()
            .map(|role| {
                let key = role.name.to_lowercase();
                (
                    key,
                    Entry {
                        role: Some(Arc::new(role)),
                        written: None,
                        seen: start.at,
                        doubtful: false,
                    },
                )
            })
            .collect();
        for name in unsettled {
            next.insert(
                name.to_lowercase(),
                Entry {
                    role: None,
                    written: None,
                    seen: start.at,
                    doubtful: true,
                },
            );
            merge.look_again = Some(GRACE);
        }
        let mut look_again = merge.look_again;
        // Never at once, so that sweeps do not chase each other.
        let mut later = |left: Duration| {
            let left = left.max(Duration::from_secs(1));
            look_again = Some(look_again.map_or(left, |other: Duration| other.max(left)));
        };
        for (key, entry) in self.entries.drain() {
            if entry.doubtful {
                // Doubt that came while the sweep ran stays. Soon after, an absence may be an old read.
                let age = start.at.checked_duration_since(entry.seen);
                let may_lag = age.is_some_and(|age| age < GRACE) && !next.contains_key(&key);
                if age.is_none() || may_lag {
                    later(GRACE.saturating_sub(age.unwrap_or(GRACE)));
                    next.insert(key, entry);
                }
                continue;
            }
            let Some((number, at)) = entry.written else {
                continue;
            };
            let age = start.at.saturating_duration_since(at);
            if number <= start.writes && age >= GRACE {
                continue;
            }
            // Same content: the read has caught up with the write, and nothing is left to wait for.
            let caught_up = next.get(&key).map(|e| (&e.role, e.doubtful)) == Some((&entry.role, false))
                || (entry.role.is_none() && !next.contains_key(&key));
            if !caught_up {
                later(GRACE.saturating_sub(age));
            }
            next.insert(key, entry);
        }
        merge.look_again = look_again;
        next.retain(|_, entry| entry.role.is_some() || entry.written.is_some() || entry.doubtful);
        self.entries = next;
        self.complete = true;
        for role in self.entries.values().filter_map(|e| e.role.as_ref()) {
            if role
                .tags
                .get(OWNER_TAG)
                .is_some_and(|tag| tag.starts_with(owner_prefix))
            {
                merge.managed += 1;
            } else {
                merge.unmanaged += 1;
            }
        }
        merge
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::role::observed::ObservedDocument;

    fn role(name: &str, description: &str) -> ObservedRole {
        ObservedRole {
            name: name.into(),
            arn: String::new(),
            role_id: "AROA1".into(),
            path: "/".into(),
            description: description.into(),
            max_session_duration: 3600,
            trust: ObservedDocument::Unreadable(String::new()),
            managed_policies: BTreeSet::new(),
            inline_policies: BTreeMap::new(),
            permissions_boundary: None,
            tags: BTreeMap::from([(OWNER_TAG.into(), "c/ns/app".into())]),
            instance_profiles: BTreeSet::new(),
        }
    }

    fn description(snapshot: &Snapshot, name: &str) -> Option<String> {
        match snapshot.lookup(name) {
            Lookup::Present(role, _) => Some(role.description.clone()),
            _ => None,
        }
    }

    #[test]
    fn before_the_first_sweep_nothing_is_known_and_after_it_what_is_not_listed_is_absent() {
        let mut s = Snapshot::default();
        assert_eq!(s.lookup("app"), Lookup::Unknown);
        let start = s.begin_sweep(Instant::now());
        let merge = s.merge(start, vec![role("App", "a")], &[], "c/");
        assert_eq!((merge.managed, merge.unmanaged, merge.look_again), (1, 0, None));
        assert_eq!(
            description(&s, "aPP").as_deref(),
            Some("a"),
            "names are unique without case"
        );
        assert_eq!(s.lookup("other"), Lookup::Absent);
    }

    #[test]
    fn a_sweep_that_began_before_a_write_does_not_undo_it() {
        let mut s = Snapshot::default();
        let now = Instant::now();
        let start = s.begin_sweep(now);
        s.wrote("app", Some(role("app", "new")), now + Duration::from_millis(5));
        let merge = s.merge(start, vec![role("app", "old")], &[], "c/");
        assert_eq!(description(&s, "app").as_deref(), Some("new"));
        assert!(merge.look_again.is_some());
    }

    #[test]
    fn a_sweep_soon_after_a_write_trusts_the_write_and_a_later_one_trusts_aws() {
        let mut s = Snapshot::default();
        let now = Instant::now();
        s.wrote("app", Some(role("app", "new")), now);
        let soon = s.begin_sweep(now + Duration::from_secs(4));
        assert_eq!(
            s.merge(soon, vec![], &[], "c/").look_again,
            Some(Duration::from_secs(6))
        );
        assert_eq!(description(&s, "app").as_deref(), Some("new"));
        let later = s.begin_sweep(now + GRACE);
        assert_eq!(s.merge(later, vec![], &[], "c/").look_again, None);
        assert_eq!(s.lookup("app"), Lookup::Absent);
    }

    #[test]
    fn a_sweep_that_has_caught_up_asks_for_no_other() {
        let mut s = Snapshot::default();
        let now = Instant::now();
        s.wrote("app", Some(role("app", "new")), now);
        s.wrote("gone", None, now);
        let soon = s.begin_sweep(now + Duration::from_secs(1));
        assert_eq!(
            s.merge(soon, vec![role("app", "new")], &[], "c/").look_again,
            None
        );
    }

    #[test]
    fn a_deleted_role_that_a_lagging_sweep_still_lists_stays_deleted() {
        let mut s = Snapshot::default();
        let now = Instant::now();
        s.wrote("app", None, now);
        let soon = s.begin_sweep(now + Duration::from_secs(1));
        s.merge(soon, vec![role("app", "ghost")], &[], "c/");
        assert_eq!(s.lookup("app"), Lookup::Absent);
    }

    #[test]
    fn doubt_is_not_dispelled_by_a_sweep_that_began_before_it() {
        let mut s = Snapshot::default();
        let now = Instant::now();
        let start = s.begin_sweep(now);
        s.doubt("app", now + Duration::from_millis(5));
        assert!(
            s.merge(start, vec![role("app", "old")], &[], "c/")
                .look_again
                .is_some()
        );
        assert_eq!(s.lookup("app"), Lookup::Unknown);
        let next = s.begin_sweep(now + Duration::from_secs(1));
        s.merge(next, vec![role("app", "now")], &[], "c/");
        assert_eq!(description(&s, "app").as_deref(), Some("now"));
    }

    #[test]
    fn an_absence_soon_after_doubt_may_be_an_old_read() {
        let mut s = Snapshot::default();
        let now = Instant::now();
        s.doubt("app", now);
        let soon = s.begin_sweep(now + Duration::from_secs(3));
        assert_eq!(
            s.merge(soon, vec![], &[], "c/").look_again,
            Some(Duration::from_secs(7))
        );
        assert_eq!(s.lookup("app"), Lookup::Unknown);
        let later = s.begin_sweep(now + GRACE);
        s.merge(later, vec![], &[], "c/");
        assert_eq!(s.lookup("app"), Lookup::Absent);
    }

    #[test]
    fn what_only_one_list_had_is_not_known_until_the_next_sweep() {
        let mut s = Snapshot::default();
        let start = s.begin_sweep(Instant::now());
        assert!(s.merge(start, vec![], &["app".into()], "c/").look_again.is_some());
        assert_eq!(s.lookup("app"), Lookup::Unknown);
    }
}
