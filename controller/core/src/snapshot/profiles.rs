//! Instance profiles that this process created, tagged, deleted or released recently.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long after a write to an instance profile a read may still show the state before the write.
const PROFILE_GRACE: Duration = Duration::from_mins(1);

/// Instance profiles of which a read may still show an earlier state, by name in lower case, with the owner that this process gave them.
/// `None`: it deleted the profile or took its tag away.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentProfiles(HashMap<String, (Option<String>, Instant)>);

impl RecentProfiles {
    /// Records that this process gave the profile this owner tag, or with `None` deleted or released it. Removes the expired records.
    pub(super) fn wrote(&mut self, profile: &str, owner: Option<&str>, now: Instant) {
        self.0
            .retain(|_, (_, at)| now.saturating_duration_since(*at) < PROFILE_GRACE);
        self.0
            .insert(profile.to_lowercase(), (owner.map(str::to_owned), now));
    }

    /// Returns true if this process gave the profile this owner tag within the last minute.
    pub(super) fn has(&self, profile: &str, owner: &str, now: Instant) -> bool {
        self.recent(profile, now)
            .is_some_and(|by| by.as_deref() == Some(owner))
    }

    /// Returns true if this process deleted or released the profile within the last minute.
    pub(super) fn was_released(&self, profile: &str, now: Instant) -> bool {
        self.recent(profile, now).is_some_and(Option::is_none)
    }

    fn recent(&self, profile: &str, now: Instant) -> Option<&Option<String>> {
        let found = self.0.get(&profile.to_lowercase());
        let recent = found.filter(|(_, at)| now.saturating_duration_since(*at) < PROFILE_GRACE);
        recent.map(|(owner, _)| owner)
    }
}
