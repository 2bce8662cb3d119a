//! The state of one role name, and which of it outlives a sweep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sweep::{GRACE, SweepStart};
use crate::role::observed::{ObservedRole, PackedRole};

/// The state of one role name: what AWS last showed, or what a write of this process left.
#[derive(Debug)]
pub(super) struct Entry {
    /// The role. `None` if this process deleted it, or if the entry is invalidated.
    pub role: Option<Arc<PackedRole>>,
    /// Number and time of this process's last write that AWS confirmed. `None` if a sweep has shown the role since.
    pub written: Option<(u64, Instant)>,
    /// When AWS last showed or confirmed the entry.
    pub seen: Instant,
    /// True if AWS contradicted the entry. The role may or may not exist until the next sweep.
    pub invalidated: bool,
}

/// What a merge does with an entry that was there before the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterSweep {
    /// The result of the sweep replaces the entry. If a duration is given, the read may be older than a write without an answer, and
    /// the next sweep is due after it.
    Replaced(Option<Duration>),
    /// The entry stays, because the read may be older than it. If a duration is given, the next sweep is due after it.
    Kept(Option<Duration>),
}

impl Entry {
    /// Returns the entry of a role that a sweep listed.
    pub(super) const fn listed(role: Arc<PackedRole>, at: Instant) -> Self {
        Self {
            role: Some(role),
            written: None,
            seen: at,
            invalidated: false,
        }
    }

    /// Returns the entry that write `number` of this process left. `None` means that the role was deleted.
    pub(super) const fn written(role: Option<Arc<PackedRole>>, number: u64, at: Instant) -> Self {
        Self {
            role,
            written: Some((number, at)),
            seen: at,
            invalidated: false,
        }
    }

    /// Returns an entry without information about the role until the next sweep. `written` is the last confirmed write before.
    pub(super) const fn invalidated(at: Instant, written: Option<(u64, Instant)>) -> Self {
        Self {
            role: None,
            written,
            seen: at,
            invalidated: true,
        }
    }

    /// Returns the owner tag of the role.
    pub(super) fn owner(&self) -> Option<&str> {
        self.role.as_ref()?.owner.as_deref()
    }

    /// Returns when the entry was written or invalidated, if a read that begins at `now` may show the state before.
    pub(super) fn unshown_since(&self, now: Instant) -> Option<Instant> {
        let written = self.written.map(|(_, at)| at);
        let at = written.max(self.invalidated.then_some(self.seen))?;
        (now.saturating_duration_since(at) < GRACE).then_some(at)
    }

    /// Returns what a merge does with this entry. `read` is what the sweep found under the same name.
    pub(super) fn after_sweep(&self, start: SweepStart, read: Option<&Self>) -> AfterSweep {
        let written = self.written.map(|(number, at)| {
            let age = start.at.saturating_duration_since(at);
            (age, number <= start.writes && age >= GRACE)
        });
        if self.invalidated {
            // A sweep that began before the invalidation decides nothing.
            let Some(age) = start.at.checked_duration_since(self.seen) else {
                return AfterSweep::Kept(Some(Duration::ZERO));
            };
            // Soon after it, an absence may be an old read, and so may a role without an owner, whose tag had no answer. So may any role,
            // if AWS confirmed a write moments before.
            let has_no_owner = read.is_none_or(|read| read.owner().is_none());
            let is_too_early = has_no_owner || written.is_some_and(|(_, is_shown)| !is_shown);
            return if age < GRACE && is_too_early {
                AfterSweep::Kept(Some(GRACE.saturating_sub(age)))
            } else {
                AfterSweep::Replaced((age < GRACE).then(|| GRACE.saturating_sub(age)))
            };
        }
        let Some((age, is_shown)) = written else {
            return AfterSweep::Replaced(None);
        };
        if is_shown {
            return AfterSweep::Replaced(None);
        }
        let has_caught_up = match read {
            Some(read) => !read.invalidated && read.role == self.role,
            None => self.role.is_none(),
        };
        AfterSweep::Kept((!has_caught_up).then(|| GRACE.saturating_sub(age)))
    }
}

/// The state of one role, as far as a snapshot can tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The snapshot cannot tell, or only that the role exists: a sweep must come first.
    Unknown,
    /// The account has no role of this name.
    Absent,
    /// The account has the role. The instant is when AWS last showed or confirmed it.
    Present(Arc<PackedRole>, Instant),
}

impl Lookup {
    /// Returns the role and when AWS showed it, `Some(None)` if there is no such role, and `None` if the snapshot cannot tell.
    pub fn known(&self) -> Option<Option<(ObservedRole, Instant)>> {
        match self {
            Self::Unknown => None,
            Self::Absent => Some(None),
            // A role that cannot be unpacked must not look like a role that does not exist.
            Self::Present(role, seen) => role.unpack().map(|role| Some((role, *seen))),
        }
    }
}
