//! What we know of an account's roles: the last sweep, and every write of ours since.
//!
//! IAM is [eventually consistent](https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_general.html#troubleshoot_general_eventual-consistency):
//! a read may be older than a write that went before it. So a write is trusted over a read: a sweep that
//! began before the write, or within [`GRACE`] after it, does not overwrite what the write left. The sweep
//! says so, and a later one looks again. Pure: time is passed in.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rolectl_crds::Reason;

use crate::role::observed::{ObservedRole, PackedRole};

/// How long after a write a read may still show the time before it.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long after a write to an instance profile a read may still show the time before it.
const PROFILE_GRACE: Duration = Duration::from_mins(1);

/// The roles of one account.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Roles that an `IamRole` names or that carry our cluster's tag, by name in lower case: IAM's names are unique
    /// without case.
    entries: HashMap<String, Entry>,
    /// Of all other roles only that they are there, by the hash of the name in lower case.
    others: HashSet<u64>,
    hasher: RandomState,
    /// Whether a sweep has completed, so that an absent entry means an absent role.
    complete: bool,
    writes: u64,
    /// What the owner tags of this cluster begin with.
    owner_prefix: String,
    /// Owner tags of this cluster, and how many roles carry each.
    owners: HashMap<Box<str>, u32>,
    /// Of the entries, those with such a tag.
    managed: u32,
    /// Of the entries, those that are roles.
    total: u32,
    /// How many of these AWS does not count against the quota, as far as it has told.
    uncounted: u32,
    /// Names in lower case of roles that are about to be made.
    reserved: HashSet<String>,
    /// Of roles whose owner tag somebody else removed: who this process last saw own them. By name in lower case.
    claims: HashMap<String, Claim>,
    /// Instance profiles that this process created or tagged moments ago, which a read need not show yet.
    profiles: HashMap<String, (String, Instant)>,
}

/// The owner tag that this process last saw on a role, and the unique id of that role.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    owner: String,
    role_id: String,
}

impl Claim {
    /// The claim that an entry with an owner tag of this cluster leaves behind.
    fn of(entry: &Entry, owner_prefix: &str) -> Option<Self> {
        let role = entry.role.as_ref()?;
        let owner = role
            .owner
            .as_ref()
            .filter(|owner| owner.starts_with(owner_prefix))?;
        Some(Self {
            owner: owner.to_string(),
            role_id: role.unpack()?.role_id,
        })
    }

    /// A claim lasts while the same role has no owner tag, and while a role is in doubt. Another role of the same name,
    /// or a new owner tag, ends it.
    fn survives(&self, now: &Entry) -> bool {
        match &now.role {
            None => now.doubtful,
            Some(role) => {
                role.owner.is_none() && role.unpack().is_some_and(|role| role.role_id == self.role_id)
            }
        }
    }
}

/// There is no room for another role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// By the account's guardrails.
    #[error(
        "the account lets rolectl manage at most {} (guardrails.maxRoles) and has {count}: delete some, or have its owner raise the limit",
        roles(*limit)
    )]
    Guardrail {
        /// The most.
        limit: u32,
        /// How many there are, those under way included.
        count: u32,
    },
    /// By AWS.
    #[error(
        "RolesQuota of the account is {} and it has {count}: delete some, or have the quota raised",
        roles(*limit)
    )]
    Quota {
        /// The most.
        limit: u32,
        /// How many there are, those under way included.
        count: u32,
    },
}

fn roles(count: u32) -> String {
    format!("{count} {}", if count == 1 { "role" } else { "roles" })
}

impl Full {
    /// The reason that a status gives for it.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Guardrail { .. } => Reason::GuardrailViolated,
            Self::Quota { .. } => Reason::QuotaExceeded,
        }
    }
}

#[derive(Debug)]
struct Entry {
    /// `None`: we deleted it.
    role: Option<Arc<PackedRole>>,
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
    /// Nothing yet, or no more than that it is there: a sweep must come first.
    Unknown,
    /// There is no such role.
    Absent,
    /// There is, and this long ago AWS showed it so.
    Present(Arc<PackedRole>, Instant),
}

impl Lookup {
    /// The role and when AWS showed it so, if there is one; `None` where nothing is known.
    pub fn known(&self) -> Option<Option<(ObservedRole, Instant)>> {
        match self {
            Self::Unknown => None,
            Self::Absent => Some(None),
            // What cannot be read again must not look like a role that is not there.
            Self::Present(role, seen) => role.unpack().map(|role| Some((role, *seen))),
        }
    }
}

/// Marks the beginning of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct SweepStart {
    writes: u64,
    at: Instant,
}

/// What a sweep found. Names are in lower case.
#[derive(Debug, Default)]
pub struct Swept {
    /// Roles that matter here, by name.
    pub roles: Vec<(String, Arc<PackedRole>)>,
    /// Names of all others.
    pub others: Vec<String>,
    /// Names that only one of AWS's two lists had: made or deleted meanwhile.
    pub unsettled: Vec<String>,
}

impl Swept {
    /// Takes in one role that matters, by its name in lower case. One that is still as it was `known` takes no memory a
    /// second time.
    pub fn add(&mut self, key: String, role: &ObservedRole, known: Option<Arc<PackedRole>>) {
        let known = known.filter(|known| known.fingerprint == role.fingerprint());
        let packed = known.unwrap_or_else(|| Arc::new(PackedRole::new(role)));
        self.roles.push((key, packed));
    }
}

/// What a sweep changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// Roles that carry an owner tag of this cluster.
    pub managed: u32,
    /// All others.
    pub unmanaged: u32,
    /// A write of ours was too fresh for this sweep to judge: look again after this time.
    pub look_again: Option<Duration>,
}

impl Snapshot {
    /// Nothing known yet. `owner_prefix` is what the owner tags of this cluster begin with.
    pub fn new(owner_prefix: &str) -> Self {
        Self {
            owner_prefix: owner_prefix.to_owned(),
            ..Self::default()
        }
    }

    /// Keeps room for a role that is about to be made, up to so many managed roles and so many in all.
    pub fn reserve(&mut self, name: &str, managed: Option<u32>, total: Option<u32>) -> Result<(), Full> {
        let key = name.to_lowercase();
        if self.reserved.contains(&key) {
            return Ok(());
        }
        let under_way = u32::try_from(self.reserved.len()).unwrap_or(u32::MAX);
        let count = self.managed + under_way;
        if let Some(limit) = managed.filter(|limit| count >= *limit) {
            return Err(Full::Guardrail { limit, count });
        }
        let count = self.count().saturating_sub(self.uncounted) + under_way;
        if let Some(limit) = total.filter(|limit| count >= *limit) {
            return Err(Full::Quota { limit, count });
        }
        self.reserved.insert(key);
        Ok(())
    }

    /// AWS counted so many roles moments before the sweep that was just merged. It need not count all that it lists.
    pub fn calibrate(&mut self, counted: u32) {
        self.uncounted = self.count().saturating_sub(counted);
    }

    /// Gives the room back: the role is made, or it failed.
    pub fn release(&mut self, name: &str) {
        self.reserved.remove(&name.to_lowercase());
    }

    /// How many roles carry an owner tag of our cluster, and how many others there are.
    pub fn counts(&self) -> (u32, u32) {
        (self.managed, self.count().saturating_sub(self.managed))
    }

    /// How many roles there are.
    fn count(&self) -> u32 {
        self.total + u32::try_from(self.others.len()).unwrap_or(u32::MAX)
    }

    /// The one way in for an entry, so that the counts stay right.
    fn put(&mut self, key: String, entry: Entry) {
        // What is made is counted as made.
        if !entry.doubtful {
            self.reserved.remove(&key);
        }
        self.others.remove(&self.hasher.hash_one(&key));
        self.follow_claim(&key, &entry);
        self.add(&entry);
        if let Some(before) = self.entries.insert(key, entry) {
            let (managed, total) = self.counts_of(&before);
            self.managed -= managed;
            self.total -= total;
            let owner = before.role.as_ref().and_then(|role| role.owner.as_ref());
            if let Some(owner) = owner
                && let Some(left) = self.owners.get_mut(owner)
            {
                *left -= 1;
                if *left == 0 {
                    self.owners.remove(owner);
                }
            }
        }
    }

    /// Keeps, makes or ends the claim to a role whose entry is about to be replaced by `now`.
    fn follow_claim(&mut self, key: &str, now: &Entry) {
        let before = self.entries.get(key);
        let made = before.and_then(|before| Claim::of(before, &self.owner_prefix));
        // Who takes the tag off in a write of its own gives the role up.
        if made.is_some() && now.written.is_some() {
            self.claims.remove(key);
            return;
        }
        let claim = made.or_else(|| self.claims.remove(key));
        if let Some(claim) = claim.filter(|claim| claim.survives(now)) {
            self.claims.insert(key.to_owned(), claim);
        }
    }

    /// The unique id of the role of this name, if it carried this owner tag when this process last saw a tag on it, and
    /// somebody else removed the tag since.
    pub fn claimed(&self, name: &str, owner: &str) -> Option<String> {
        let claim = self.claims.get(&name.to_lowercase())?;
        (claim.owner == owner).then(|| claim.role_id.clone())
    }

    /// The `IamRole` of this owner tag no longer exists: an object of the same name that comes later inherits nothing.
    pub fn end_claims(&mut self, owner: &str) {
        self.claims.retain(|_, claim| claim.owner != owner);
    }

    /// Takes over what `before`, an earlier snapshot of the same account in this process, saw of owner tags.
    pub fn inherit(&mut self, before: &Self) {
        self.claims.clone_from(&before.claims);
        let seen = before.entries.iter();
        let seen = seen.filter_map(|(key, entry)| Some((key.clone(), Claim::of(entry, &self.owner_prefix)?)));
        self.claims.extend(seen);
        self.profiles.clone_from(&before.profiles);
    }

    /// Records that this process gave an instance profile this owner tag.
    pub fn owns_profile(&mut self, profile: &str, owner: &str, now: Instant) {
        self.profiles
            .retain(|_, (_, at)| now.saturating_duration_since(*at) < PROFILE_GRACE);
        self.profiles
            .insert(profile.to_lowercase(), (owner.to_owned(), now));
    }

    /// The instance profile was deleted, or lost our owner tag by a write of ours.
    pub fn released_profile(&mut self, profile: &str) {
        self.profiles.remove(&profile.to_lowercase());
    }

    /// Whether this process gave the instance profile this owner tag so recently that a read may not show it.
    pub fn owned_profile(&self, profile: &str, owner: &str, now: Instant) -> bool {
        let found = self.profiles.get(&profile.to_lowercase());
        found.is_some_and(|(by, at)| by == owner && now.saturating_duration_since(*at) < PROFILE_GRACE)
    }

    /// Whether the account has a role of this owner, or may have one under `name`. `None` where that is to be read first.
    pub fn may_hold(&self, name: &str, owner: &str) -> Option<bool> {
        if self.holds(owner) {
            return Some(true);
        }
        let in_doubt = self
            .entries
            .get(&name.to_lowercase())
            .is_some_and(|entry| entry.doubtful);
        (self.complete && !in_doubt).then_some(false)
    }

    fn add(&mut self, entry: &Entry) {
        let (managed, total) = self.counts_of(entry);
        self.managed += managed;
        self.total += total;
        if let Some(owner) = entry.role.as_ref().and_then(|role| role.owner.as_ref())
            && self.is_ours(owner)
        {
            *self.owners.entry(owner.clone()).or_default() += 1;
        }
    }

    fn is_ours(&self, owner: &str) -> bool {
        owner.starts_with(&self.owner_prefix)
    }

    fn counts_of(&self, entry: &Entry) -> (u32, u32) {
        // In doubt a role may be there: the limits are kept all the same.
        let unknown = if entry.doubtful { (1, 1) } else { (0, 0) };
        entry.role.as_ref().map_or(unknown, |role| {
            let managed = role.owner.as_ref().is_some_and(|owner| self.is_ours(owner));
            (u32::from(managed), 1)
        })
    }

    /// What is known of the role.
    pub fn lookup(&self, name: &str) -> Lookup {
        if !self.complete {
            return Lookup::Unknown;
        }
        let key = name.to_lowercase();
        match self.entries.get(&key) {
            Some(entry) if entry.doubtful => Lookup::Unknown,
            None if self.others.contains(&self.hasher.hash_one(&key)) => Lookup::Unknown,
            None | Some(Entry { role: None, .. }) => Lookup::Absent,
            Some(Entry {
                role: Some(role),
                seen,
                ..
            }) => Lookup::Present(role.clone(), *seen),
        }
    }

    /// The role of this name (in lower case) as it was when last seen, whatever has been learnt since.
    pub fn last_seen(&self, key: &str) -> Option<Arc<PackedRole>> {
        self.entries.get(key)?.role.clone()
    }

    /// All roles that are kept.
    pub fn roles(&self) -> Vec<Arc<PackedRole>> {
        self.entries
            .values()
            .filter_map(|entry| entry.role.clone())
            .collect()
    }

    /// Whether a role carries this owner tag of our cluster.
    pub fn holds(&self, owner: &str) -> bool {
        self.owners.contains_key(owner)
    }

    /// The owner tags of our cluster that roles carry.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        self.owners.keys().map(AsRef::as_ref)
    }

    /// Whether a sweep has completed since the last [`Self::forget`].
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Records what a write of ours left.
    pub fn wrote(&mut self, name: &str, role: Option<ObservedRole>, now: Instant) {
        self.writes += 1;
        let entry = Entry {
            role: role.map(|role| Arc::new(PackedRole::new(&role))),
            written: Some((self.writes, now)),
            seen: now,
            doubtful: false,
        };
        self.put(name.to_lowercase(), entry);
    }

    /// AWS contradicted what we knew of this role: nothing is known until the next sweep.
    pub fn doubt(&mut self, name: &str, now: Instant) {
        let entry = Entry {
            role: None,
            written: None,
            seen: now,
            doubtful: true,
        };
        self.put(name.to_lowercase(), entry);
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

    /// Takes in a whole sweep.
    pub fn merge(&mut self, start: SweepStart, swept: Swept) -> Merge {
        let mut merge = Merge::default();
        let present = |(key, role): (String, Arc<PackedRole>)| {
            let entry = Entry {
                role: Some(role),
                written: None,
                seen: start.at,
                doubtful: false,
            };
            (key, entry)
        };
        let mut next: HashMap<String, Entry> = swept.roles.into_iter().map(present).collect();
        for name in &swept.unsettled {
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
        let mut claims = mem::take(&mut self.claims);
        for (key, entry) in self.entries.drain() {
            let untagged = |now: &Entry| {
                now.role
                    .as_ref()
                    .map_or(now.doubtful, |role| role.owner.is_none())
            };
            if next.get(&key).is_some_and(untagged)
                && let Some(claim) = Claim::of(&entry, &self.owner_prefix)
            {
                claims.insert(key.clone(), claim);
            }
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
        claims.retain(|key, claim| next.get(key).is_some_and(|now| claim.survives(now)));
        self.claims = claims;
        let hash = |name: &String| self.hasher.hash_one(name);
        self.others = swept
            .others
            .iter()
            .filter(|name| !next.contains_key(*name))
            .map(hash)
            .collect();
        self.owners.clear();
        (self.managed, self.total) = (0, 0);
        for entry in next.values() {
            self.add(entry);
        }
        merge.managed = self.managed;
        merge.unmanaged = self.count() - self.managed;
        self.entries = next;
        self.complete = true;
        merge
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rolectl_crds::OWNER_TAG;

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
            Lookup::Present(role, _) => Some(role.unpack()?.description),
            _ => None,
        }
    }

    fn swept(roles: &[ObservedRole], unsettled: &[&str]) -> Swept {
        let mut swept = Swept {
            unsettled: unsettled.iter().map(|name| (*name).to_owned()).collect(),
            ..Swept::default()
        };
        for role in roles {
            swept.add(role.name.to_lowercase(), role, None);
        }
        swept
    }

    #[test]
    fn before_the_first_sweep_nothing_is_known_and_after_it_what_is_not_listed_is_absent() {
        let mut s = Snapshot::new("c/");
        assert_eq!(s.lookup("app"), Lookup::Unknown);
        let start = s.begin_sweep(Instant::now());
        let merge = s.merge(start, swept(&[role("App", "a")], &[]));
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
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        let start = s.begin_sweep(now);
        s.wrote("app", Some(role("app", "new")), now + Duration::from_millis(5));
        let merge = s.merge(start, swept(&[role("app", "old")], &[]));
        assert_eq!(description(&s, "app").as_deref(), Some("new"));
        assert!(merge.look_again.is_some());
    }

    #[test]
    fn a_sweep_soon_after_a_write_trusts_the_write_and_a_later_one_trusts_aws() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        s.wrote("app", Some(role("app", "new")), now);
        let soon = s.begin_sweep(now + Duration::from_secs(4));
        assert_eq!(
            s.merge(soon, swept(&[], &[])).look_again,
            Some(Duration::from_secs(6))
        );
        assert_eq!(description(&s, "app").as_deref(), Some("new"));
        let later = s.begin_sweep(now + GRACE);
        assert_eq!(s.merge(later, swept(&[], &[])).look_again, None);
        assert_eq!(s.lookup("app"), Lookup::Absent);
    }

    #[test]
    fn a_sweep_that_has_caught_up_asks_for_no_other() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        s.wrote("app", Some(role("app", "new")), now);
        s.wrote("gone", None, now);
        let soon = s.begin_sweep(now + Duration::from_secs(1));
        assert_eq!(s.merge(soon, swept(&[role("app", "new")], &[])).look_again, None);
    }

    #[test]
    fn a_deleted_role_that_a_lagging_sweep_still_lists_stays_deleted() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        s.wrote("app", None, now);
        let soon = s.begin_sweep(now + Duration::from_secs(1));
        s.merge(soon, swept(&[role("app", "ghost")], &[]));
        assert_eq!(s.lookup("app"), Lookup::Absent);
    }

    #[test]
    fn doubt_is_not_dispelled_by_a_sweep_that_began_before_it() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        let start = s.begin_sweep(now);
        s.doubt("app", now + Duration::from_millis(5));
        assert!(
            s.merge(start, swept(&[role("app", "old")], &[]))
                .look_again
                .is_some()
        );
        assert_eq!(s.lookup("app"), Lookup::Unknown);
        let next = s.begin_sweep(now + Duration::from_secs(1));
        s.merge(next, swept(&[role("app", "now")], &[]));
        assert_eq!(description(&s, "app").as_deref(), Some("now"));
    }

    #[test]
    fn an_absence_soon_after_doubt_may_be_an_old_read() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        s.doubt("app", now);
        let soon = s.begin_sweep(now + Duration::from_secs(3));
        assert_eq!(
            s.merge(soon, swept(&[], &[])).look_again,
            Some(Duration::from_secs(7))
        );
        assert_eq!(s.lookup("app"), Lookup::Unknown);
        let later = s.begin_sweep(now + GRACE);
        s.merge(later, swept(&[], &[]));
        assert_eq!(s.lookup("app"), Lookup::Absent);
    }

    #[test]
    fn what_only_one_list_had_is_not_known_until_the_next_sweep() {
        let mut s = Snapshot::new("c/");
        let start = s.begin_sweep(Instant::now());
        assert!(s.merge(start, swept(&[], &["app"])).look_again.is_some());
        assert_eq!(s.lookup("app"), Lookup::Unknown);
    }

    #[test]
    fn a_role_in_doubt_keeps_its_place_until_aws_tells() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        assert_eq!(s.reserve("lost", Some(1), None), Ok(()));
        s.doubt("lost", now);
        s.release("lost");
        assert_eq!(
            s.reserve("other", Some(1), None),
            Err(Full::Guardrail { limit: 1, count: 1 })
        );
        let start = s.begin_sweep(now + GRACE);
        s.merge(start, swept(&[], &[]));
        assert_eq!(s.reserve("other", Some(1), None), Ok(()));
    }

    #[test]
    fn roles_that_are_made_at_once_do_not_pass_a_limit_together() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        s.wrote("one", Some(role("one", "")), now);
        assert_eq!(s.reserve("two", Some(3), None), Ok(()));
        assert_eq!(s.reserve("three", Some(3), None), Ok(()));
        assert_eq!(s.reserve("TWO", Some(3), None), Ok(()), "it has its room already");
        assert_eq!(
            s.reserve("four", Some(3), None),
            Err(Full::Guardrail { limit: 3, count: 3 })
        );
        s.wrote("two", Some(role("two", "")), now);
        s.release("two");
        assert_eq!(
            s.reserve("four", Some(3), None),
            Err(Full::Guardrail { limit: 3, count: 3 })
        );
        s.release("three");
        assert_eq!(
            s.reserve("four", Some(3), None),
            Ok(()),
            "what failed gives its room back"
        );
        s.wrote("one", None, now);
        assert_eq!(
            s.reserve("five", Some(3), Some(2)),
            Err(Full::Quota { limit: 2, count: 2 })
        );
        let start = s.begin_sweep(now + GRACE);
        s.merge(start, swept(&[], &[]));
        assert_eq!(s.reserve("five", Some(3), Some(2)), Ok(()), "a sweep counts anew");
    }

    fn untagged(role_id: &str) -> ObservedRole {
        let mut role = role("app", "");
        role.tags.clear();
        role.role_id = role_id.into();
        role
    }

    fn sweep(s: &mut Snapshot, at: Instant, roles: &[ObservedRole]) {
        let start = s.begin_sweep(at);
        s.merge(start, swept(roles, &[]));
    }

    #[test]
    fn a_role_that_this_process_never_saw_with_a_tag_is_claimed_by_nobody() {
        let mut s = Snapshot::new("c/");
        sweep(&mut s, Instant::now(), &[untagged("AROA1")]);
        assert_eq!(s.claimed("app", "c/ns/app"), None);
    }

    #[test]
    fn a_removed_owner_tag_is_remembered_over_sweeps_by_the_unique_id_and_for_its_owner_only() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        sweep(&mut s, now, &[role("app", "")]);
        assert_eq!(s.claimed("app", "c/ns/app"), None, "the tag itself decides");
        for n in 1..4 {
            sweep(&mut s, now + GRACE * n, &[untagged("AROA1")]);
            assert_eq!(s.claimed("APP", "c/ns/app").as_deref(), Some("AROA1"));
            assert_eq!(s.claimed("app", "c/ns/other"), None);
        }
        s.forget();
        s.doubt("app", now + GRACE * 4);
        sweep(&mut s, now + GRACE * 6, &[untagged("AROA1")]);
        assert_eq!(s.claimed("app", "c/ns/app").as_deref(), Some("AROA1"));
        sweep(&mut s, now + GRACE * 7, &[untagged("AROA2")]);
        assert_eq!(
            s.claimed("app", "c/ns/app"),
            None,
            "another role of the same name"
        );
        sweep(&mut s, now + GRACE * 8, &[untagged("AROA1")]);
        assert_eq!(s.claimed("app", "c/ns/app"), None);
    }

    #[test]
    fn a_claim_ends_with_a_new_tag_with_the_role_and_with_a_tag_that_we_took_off_ourselves() {
        let now = Instant::now();
        let claimed = || {
            let mut s = Snapshot::new("c/");
            sweep(&mut s, now, &[role("app", "")]);
            sweep(&mut s, now + GRACE, &[untagged("AROA1")]);
            s
        };
        let mut foreign = untagged("AROA1");
        foreign.tags = BTreeMap::from([(OWNER_TAG.into(), "other/ns/app".into())]);
        for then in [vec![foreign], vec![]] {
            let mut s = claimed();
            sweep(&mut s, now + GRACE * 2, &then);
            sweep(&mut s, now + GRACE * 3, &[untagged("AROA1")]);
            assert_eq!(s.claimed("app", "c/ns/app"), None, "{then:?}");
        }
        let mut s = claimed();
        s.wrote("app", Some(untagged("AROA1")), now + GRACE * 2);
        assert!(s.claimed("app", "c/ns/app").is_some(), "a repair has begun");
        s.wrote("app", Some(role("app", "")), now + GRACE * 2);
        s.wrote("app", Some(untagged("AROA1")), now + GRACE * 2);
        assert_eq!(s.claimed("app", "c/ns/app"), None, "retained");
        sweep(&mut s, now + GRACE * 4, &[untagged("AROA1")]);
        assert_eq!(s.claimed("app", "c/ns/app"), None);
        let mut s = claimed();
        s.end_claims("c/ns/app");
        assert_eq!(s.claimed("app", "c/ns/app"), None);
    }

    #[test]
    fn a_claim_outlives_a_change_of_the_accounts_spec() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        sweep(&mut s, now, &[role("app", "")]);
        let mut next = Snapshot::new("c/");
        next.inherit(&s);
        sweep(&mut next, now + GRACE, &[untagged("AROA1")]);
        assert_eq!(next.claimed("app", "c/ns/app").as_deref(), Some("AROA1"));
    }

    #[test]
    fn whether_an_account_has_a_role_of_an_owner_is_not_known_before_a_sweep_nor_in_doubt() {
        let mut s = Snapshot::new("c/");
        let now = Instant::now();
        assert_eq!(s.may_hold("app", "c/ns/app"), None);
        sweep(&mut s, now, &[]);
        assert_eq!(s.may_hold("app", "c/ns/app"), Some(false));
        s.doubt("app", now);
        assert_eq!(s.may_hold("app", "c/ns/app"), None);
        s.wrote("app", Some(role("app", "")), now);
        assert_eq!(s.may_hold("app", "c/ns/app"), Some(true));
    }
}
