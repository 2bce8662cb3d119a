//! Instance profiles that this process created or tagged recently.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long after a write to an instance profile a read may still show the state before the write.
const PROFILE_GRACE: Duration = Duration::from_mins(1);

/// Instance profiles whose owner tag a read may not show yet, by name in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentProfiles(HashMap<String, (String, Instant)>);

impl RecentProfiles {
    /// Records that this process gave the profile this owner tag, and removes the expired records.
    pub(super) fn tagged(&mut self, profile: &str, owner: &str, now: Instant) {
        self.0
            .retain(|_, (_, at)| now.saturating_duration_since(*at) < PROFILE_GRACE);
        self.0.insert(profile.to_lowercase(), (owner.to_owned(), now));
    }

    /// Removes the record of a profile.
    pub(super) fn remove(&mut self, profile: &str) {
        self.0.remove(&profile.to_lowercase());
    }

    /// Returns true if this process gave the profile this owner tag within the last minute.
    pub(super) fn has(&self, profile: &str, owner: &str, now: Instant) -> bool {
        let found = self.0.get(&profile.to_lowercase());
        found.is_some_and(|(by, at)| by == owner && now.saturating_duration_since(*at) < PROFILE_GRACE)
    }
}
