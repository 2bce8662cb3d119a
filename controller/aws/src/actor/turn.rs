//! A visit of an account that waits for its turn in a rollout.

use std::collections::BTreeSet;

use rolectl_core::role::Change;
use rolectl_core::role::narrowing::made_at_once;
use rolectl_core::rollout::{narrows_at_once, needs_turn};
use rolectl_crds::Reason;

use super::propose::Proposed;
use super::report::{Finding, Goal, RoleIdentity, RoleInAccount, Turn};
use super::role_state::{Left, Outcome};
use super::visit::{Visit, Visited, shown};

impl Visit {
    /// Returns true if the changes are those of a generation for which it is not the turn of this account. The generation is that of the
    /// object as it is now, so that an earlier turn applies nothing newer. What enforces a guardrail is no change of the spec.
    pub(super) fn waits_for_turn(&self, proposed: &Proposed) -> bool {
        let waits = match self.assignment.turn {
            Turn::Waits => true,
            Turn::Of(generation) if generation == self.role.metadata.generation => false,
            // The object is newer than the assignment.
            Turn::Of(_) | Turn::Free => needs_turn(&self.role, &self.account),
        };
        waits && self.assignment.goal == Goal::Keep && !proposed.is_enforced()
    }

    /// Makes those changes that an account makes before its turn, and reports the others as pending.
    pub(super) async fn change_in_part(&self, mut proposed: Proposed) -> Visited {
        let observed = proposed.observed.as_ref().filter(|_| proposed.is_ours);
        let at_once = match observed {
            Some(observed) if narrows_at_once(&self.role) => made_at_once(observed, &proposed.plan.changes),
            _ => BTreeSet::new(),
        };
        let identity = observed.map(|role| (role.arn.clone(), role.role_id.clone()));
        let (now, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut proposed.plan.changes)
            .into_iter()
            .enumerate()
            .partition(|(index, _)| at_once.contains(index));
        let rest: Vec<Change> = rest.into_iter().map(|(_, change)| change).collect();
        proposed.plan.changes = now.into_iter().map(|(_, change)| change).collect();
        if rest.is_empty() {
            return self.change(proposed).await;
        }
        // An approval is used when all of its changes are made.
        proposed.granted = None;
        if proposed.plan.is_empty() {
            return Self::rolling_out(proposed.left(&self.role), RoleIdentity::Known(identity), &rest);
        }
        let visited = self.change(proposed).await;
        match (&visited.outcome, &visited.finding) {
            (Outcome::InSync(left), Finding::State(state)) => {
                let rolling = Self::rolling_out(*left, state.identity.clone(), &rest);
                Visited {
                    done: visited.done,
                    ..rolling
                }
            }
            _ => visited,
        }
    }

    fn rolling_out(left: Left, identity: RoleIdentity, pending: &[Change]) -> Visited {
        let role = RoleInAccount {
            changes: shown(pending),
            identity,
            ..RoleInAccount::new(Reason::RollingOut, "waits for its turn")
        };
        Visited::state(Outcome::Differs(left), role)
    }
}
