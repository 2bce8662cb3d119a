//! What the holders of shards report to each other of a rollout.

use std::collections::BTreeMap;

use rolectl_crds::{ShardRollout, ShardWave};

use super::seen::{Progress, State};
use super::step::Step;
use super::waves::Wave;

/// Largest number of waves that a shard reports: of those with open accounts, and of those in which accounts have only failed. The first ones
/// decide.
const WAVES: usize = 64;

/// The accounts that another replica looks after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its accounts come first where the number of accounts at once is limited.
    pub goes_first: bool,
    /// Numbers of accounts by wave.
    pub waves: BTreeMap<Wave, ShardWave>,
    /// Number of accounts in which the change has begun and failed.
    pub failed: u32,
    /// Its first failure.
    pub failure: Option<String>,
}

impl Elsewhere {
    /// Returns the accounts of a shard, by its report. `targets` are the waves of its accounts: one that has not reported this generation
    /// has begun in none of them.
    pub fn of(
        goes_first: bool,
        reported: Option<&ShardRollout>,
        generation: Option<i64>,
        targets: &BTreeMap<Wave, u32>,
    ) -> Self {
        let reported = reported.filter(|reported| reported.generation == generation);
        let waves = targets.iter().map(|(wave, accounts)| {
            // Also a wave that is complete there is one that others wait for, and after which they wait.
            let waiting = if reported.is_none() { *accounts } else { 0 };
            (
                *wave,
                ShardWave {
                    waiting,
                    ..wave.empty()
                },
            )
        });
        let mut waves: BTreeMap<Wave, ShardWave> = waves.collect();
        let counts = reported.iter().flat_map(|reported| &reported.waves);
        waves.extend(counts.map(|counts| (Wave::of(counts), *counts)));
        Self {
            goes_first,
            waves,
            failed: reported.map_or(0, |reported| reported.failed),
            failure: reported.and_then(|reported| reported.failure.clone()),
        }
    }
}

/// Returns what a shard reports of its accounts for the others, with the present decision: an account that is told to begin counts as one
/// that is being changed. `locked`: accounts are unavailable because their session is locked.
pub fn report_of(
    accounts: &[Progress],
    steps: &BTreeMap<String, Step>,
    generation: Option<i64>,
    locked: bool,
) -> ShardRollout {
    let mut waves: BTreeMap<Wave, ShardWave> = BTreeMap::new();
    let mut first: Option<(&Progress, &String)> = None;
    let mut failed = 0;
    for account in accounts {
        if matches!(account.state, State::Done | State::Unavailable) {
            continue;
        }
        let counts = waves.entry(account.wave).or_insert_with(|| account.wave.empty());
        let goes = steps.get(&account.name) == Some(&Step::Go);
        match &account.state {
            State::Working => counts.working += 1,
            State::Failed {
                message, has_begun, ..
            } => {
                *(if *has_begun {
                    &mut failed
                } else {
                    &mut counts.failed
                }) += 1;
                counts.retrying += u32::from(goes);
                if first.is_none_or(|(before, _)| account.key() < before.key()) {
                    first = Some((account, message));
                }
            }
            State::Done | State::Unavailable | State::Waiting if goes => counts.working += 1,
            State::Done | State::Unavailable | State::Waiting => counts.waiting += 1,
        }
    }
    ShardRollout {
        generation,
        waves: bounded(waves.into_values()),
        failed,
        failure: first.map(|(account, message)| account.failure(message)),
        locked,
    }
}

/// Returns the first waves. What is under way or has failed in the others counts in the last of them, so that the limits of a rollout
/// still count it. Accounts that wait there are reported later.
fn bounded(waves: impl Iterator<Item = ShardWave>) -> Vec<ShardWave> {
    let (open, failed): (Vec<_>, Vec<_>) = waves.partition(|counts| counts.waiting + counts.working > 0);
    let mut kept = vec![];
    for waves in [open, failed] {
        let mut waves = waves.into_iter();
        let mut first: Vec<ShardWave> = waves.by_ref().take(WAVES).collect();
        if let Some(last) = first.last_mut() {
            for more in waves {
                last.working = last.working.saturating_add(more.working);
                last.failed = last.failed.saturating_add(more.failed);
                last.retrying = last.retrying.saturating_add(more.retrying);
            }
        }
        kept.append(&mut first);
    }
    kept.sort_by_key(Wave::of);
    kept
}
