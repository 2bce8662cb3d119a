//! Which changes of a plan are made at once, and which wait for somebody.

pub use super::compare::after;
use super::compare::{Place, only_removes, widening};
pub use super::digest::Subject;
use super::digest::{change_digests, digest};
use super::verdict::Widening;
use crate::policy::inclusion::Budget;
use crate::role::access::common;
use crate::role::order::simulate;
use crate::role::{Change, DocumentDiff, ObservedRole};

/// A plan that is divided into what is made now and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// The changes that are made now. After each of them the role allows no more than before all of them.
    pub now: Vec<Change>,
    /// The changes that wait.
    pub waiting: Vec<Change>,
    /// What the waiting changes may allow.
    pub widening: Widening,
}

impl Hold {
    /// Returns a digest of each waiting change.
    pub fn change_digests(&self) -> Vec<String> {
        change_digests(&self.waiting)
    }

    /// Returns the digest that an approval of the waiting changes names.
    pub fn digest(&self, subject: Subject<'_>) -> String {
        digest(subject, &self.waiting, &self.widening)
    }
}

/// Returns true if the role is never wider than before, after each change and at the end. The order of a plan does not ensure that, because it
/// does not use the documents of managed policies.
pub fn is_never_wider(
    before: Option<&ObservedRole>,
    changes: &[Change],
    place: Place<'_>,
    budget: &Budget,
) -> bool {
    let lengths = (1..=changes.len()).rev();
    let mut steps = lengths.filter_map(|length| changes.get(..length));
    steps.all(|made| widening(before, after(before, made).as_ref(), place, budget).is_none())
}

/// Divides the changes of a plan: those that only narrow the role are made now. A trust policy that both narrows and widens is first set to
/// what the old and the new one have in common.
pub fn narrow_now(
    before: Option<&ObservedRole>,
    changes: &[Change],
    place: Place<'_>,
    budget: &Budget,
) -> Hold {
    let goal = after(before, changes);
    // A deletion is made as a whole: AWS deletes only a role that has no policies.
    if goal.is_none() {
        return Hold {
            now: changes.to_vec(),
            ..Hold::default()
        };
    }
    let (mut now, mut waiting) = (vec![], without_replaced(changes));
    let mut state = before.cloned();
    let narrows =
        |next: Option<&ObservedRole>| before.is_some() && widening(before, next, place, budget).is_none();
    let only_removes = |state: Option<&ObservedRole>, change: &Change| {
        state.is_some_and(|state| only_removes(state, change, place.policies))
    };
    // A change may narrow only after one that follows it, such as the removal of a Deny of what is no longer allowed.
    loop {
        let mut left = vec![];
        let made = now.len();
        for change in waiting {
            let next = simulate(state.clone(), &change);
            if only_removes(state.as_ref(), &change) || narrows(next.as_ref()) {
                now.push(change);
                state = next;
            } else {
                left.push(change);
            }
        }
        waiting = left;
        if now.len() == made {
            break;
        }
    }
    if let Some(change) = interim_trust(state.as_ref(), &waiting, place, budget) {
        let next = simulate(state.clone(), &change);
        if narrows(next.as_ref()) {
            now.push(change);
            state = next;
        }
    }
    // A trust policy that is closed and opened again leaves nothing behind.
    if state.as_ref() == before {
        now.clear();
    }
    Hold {
        widening: widening(state.as_ref(), goal.as_ref(), place, budget),
        now,
        waiting,
    }
}

/// Returns the changes without those that a later one replaces: a trust policy that trusts nobody meanwhile, and the deletion of an inline
/// policy that is put again. Such a change would stay until the later one is approved, or be made after it.
fn without_replaced(changes: &[Change]) -> Vec<Change> {
    let is_replaced = |at: usize, change: &Change| {
        let mut later = changes.iter().skip(at + 1);
        later.any(|later| match (change, later) {
            (Change::UpdateTrustPolicy(..), Change::UpdateTrustPolicy(..)) => true,
            (
                Change::DeleteInlinePolicy(name) | Change::PutInlinePolicy(name, ..),
                Change::DeleteInlinePolicy(other) | Change::PutInlinePolicy(other, ..),
            ) => name == other,
            _ => false,
        })
    };
    let kept = changes
        .iter()
        .enumerate()
        .filter(|(at, change)| !is_replaced(*at, change));
    kept.map(|(_, change)| change.clone()).collect()
}

/// Makes all changes of a plan wait.
pub fn hold_all(
    before: Option<&ObservedRole>,
    changes: &[Change],
    place: Place<'_>,
    budget: &Budget,
) -> Hold {
    Hold {
        now: vec![],
        waiting: changes.to_vec(),
        widening: widening(before, after(before, changes).as_ref(), place, budget),
    }
}

/// Returns the change of the trust policy to what the old one and the waiting one have in common, if that is less than the old one.
fn interim_trust(
    state: Option<&ObservedRole>,
    waiting: &[Change],
    place: Place<'_>,
    budget: &Budget,
) -> Option<Change> {
    let state = state?;
    let wanted = waiting.iter().rev().find_map(|change| match change {
        Change::UpdateTrustPolicy(document, _) => Some(document),
        _ => None,
    })?;
    let interim = common(&state.trust, wanted)?;
    let diff = DocumentDiff::between(&state.trust, &interim);
    let change = Change::UpdateTrustPolicy(interim, diff);
    let next = simulate(Some(state.clone()), &change);
    (!widening(next.as_ref(), Some(state), place, budget).is_none()).then_some(change)
}
