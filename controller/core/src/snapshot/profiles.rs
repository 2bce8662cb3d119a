//! Instance profiles that this process created, tagged, deleted or released recently.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long after a write to an instance profile a read may still show the state before the write.
const PROFILE_GRACE: Duration = Duration::from_mins(1);

/// What this process did to an instance profile moments ago, so that a read may not show it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecentProfile {
    /// It asked AWS to give the profile this owner tag, and has no answer.
    MayBelongTo(String),
    /// It gave the profile this owner tag.
    BelongsTo(String),
    /// It deleted the profile or removed its owner tag.
    Released,
}

/// Instance profiles of which a read may still show an earlier state, by name in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentProfiles(HashMap<String, (RecentProfile, Instant)>);

impl RecentProfiles {
    /// Records what this process did to the profile, or with `None` that it did nothing. Removes the expired records.
    pub(super) fn record(&mut self, profile: &str, state: Option<RecentProfile>, now: Instant) {
        self.0
            .retain(|_, (_, at)| now.saturating_duration_since(*at) < PROFILE_GRACE);
        let key = profile.to_lowercase();
        match state {
            Some(state) => self.0.insert(key, (state, now)),
            None => self.0.remove(&key),
        };
    }

    /// Returns what this process did to the profile within the last minute, and when.
    pub(super) fn get(&self, profile: &str, now: Instant) -> Option<&(RecentProfile, Instant)> {
        let found = self.0.get(&profile.to_lowercase());
        found.filter(|(_, at)| now.saturating_duration_since(*at) < PROFILE_GRACE)
    }
}
