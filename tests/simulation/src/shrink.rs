//! Makes a schedule that breaks an invariant smaller.

use std::time::Duration;

use crate::kubernetes::objects::AccountSetup;
use crate::run::violation;
use crate::schedule::{AMPLE, Schedule};

/// Leaves out whatever the violation of the same invariant does not need: events, replicas, late caches, quotas, setups of accounts.
pub fn shrink(schedule: &Schedule) -> Schedule {
    let Some(broken) = violation(schedule) else {
        return schedule.clone();
    };
    let fails = |smaller: &Schedule| violation(smaller).is_some_and(|it| it.invariant == broken.invariant);
    let mut smallest = schedule.clone();
    let simpler: [fn(&mut Schedule); 5] = [
        |it| it.cache_lags.truncate(1),
        |it| it.cache_lags.fill(Duration::ZERO),
        |it| it.limits = AMPLE,
        |it| it.accounts = [AccountSetup::default(); 2],
        |it| it.afterwards.clear(),
    ];
    for simplify in simpler {
        let mut smaller = smallest.clone();
        simplify(&mut smaller);
        if smaller != smallest && fails(&smaller) {
            smallest = smaller;
        }
    }
    // The number of the call that a fault hits may change without an event, so one round is not always enough.
    loop {
        let before = smallest.events.len() + smallest.afterwards.len();
        for events in [
            (|it| &mut it.afterwards) as fn(&mut Schedule) -> &mut Vec<_>,
            |it| &mut it.events,
        ] {
            let mut place = events(&mut smallest).len();
            while place > 0 {
                place -= 1;
                let mut smaller = smallest.clone();
                events(&mut smaller).remove(place);
                if fails(&smaller) {
                    smallest = smaller;
                }
            }
        }
        if smallest.events.len() + smallest.afterwards.len() == before {
            return smallest;
        }
    }
}
