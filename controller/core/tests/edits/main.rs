//! Edits of roles as teams make them, each with its verdict, and mutations of the same roles that are all wider.
//!
//! ```text
//! cargo test -p rolectl-core --test edits -- --nocapture
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy does not recognize the helpers of an integration test as test code"
)]
#![allow(clippy::print_stdout, reason = "a run prints its figures")]

mod mutations;
mod notation;
mod table;

use std::collections::BTreeSet;

use rolectl_core::policy::inclusion::Budget;
use rolectl_core::widening::{ManagedPolicies, Place, Verdict, VerdictKind, verdict};

use notation::{Role, role};
use table::EDITS;

/// What is true of an edit, as its author sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Is {
    /// The role allows the same.
    Same,
    /// It allows less.
    Narrower,
    /// It allows more.
    Wider,
    /// Wider in one respect and narrower in another: wider in both directions.
    Other,
}

/// Roles of the table that allow something twice, so that more of one statement may be no more.
const REDUNDANT: &[&str] = &["allow s3:* on * ; allow s3:GetObject on arn:aws:s3:::a/*"];

fn judged(before: &Role, after: &Role) -> Verdict {
    let tags = ["team".to_owned()];
    let place = Place {
        account_id: "222222222222",
        authority_tags: &tags,
        policies: ManagedPolicies::NONE,
    };
    let budget = Budget::default();
    let found = verdict(Some(&before.observed()), Some(&after.observed()), place, &budget);
    assert!(!budget.is_used_up(), "an edit of the table is simple");
    found
}

#[test]
fn the_verdict_of_each_edit_is_sound_and_of_nearly_all_precise() {
    let mut not_shown = vec![];
    let names: BTreeSet<&str> = EDITS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), EDITS.len(), "each edit has a name of its own");
    for (name, is, before, after) in EDITS {
        let (before, after) = (role(before), role(after));
        let there = judged(&before, &after);
        let back = judged(&after, &before).kind();
        let expected = match is {
            Is::Same => (VerdictKind::Same, VerdictKind::Same),
            Is::Narrower => (VerdictKind::Narrows, VerdictKind::Widens),
            Is::Wider => (VerdictKind::Widens, VerdictKind::Narrows),
            Is::Other => (VerdictKind::Widens, VerdictKind::Widens),
        };
        // Each is looked at in both directions. What widens must say so.
        for (found, expected) in [(there.kind(), expected.0), (back, expected.1)] {
            assert!(
                found == expected || found == VerdictKind::Widens || expected == VerdictKind::Same,
                "{name}: {found:?} instead of {expected:?}"
            );
        }
        if (there.kind(), back) != expected {
            not_shown.push(*name);
        }
    }
    let precise = EDITS.len() - not_shown.len();
    println!(
        "{precise} of {} edits are judged precisely, in both directions. Not: {not_shown:#?}",
        EDITS.len()
    );
    assert!(EDITS.len() >= 100, "{}", EDITS.len());
    assert!(
        precise * 100 >= EDITS.len() * 95,
        "{precise} of {}: {not_shown:#?}",
        EDITS.len()
    );
}

#[test]
fn each_mutation_of_a_role_that_gives_more_says_so() {
    let all = EDITS.iter().flat_map(|(_, _, before, after)| [*before, *after]);
    let all: BTreeSet<&str> = all.filter(|text| !REDUNDANT.contains(text)).collect();
    let mut wrong = vec![];
    for (what, mutate) in mutations::ALL {
        let mut count = 0;
        for text in &all {
            let before = role(text);
            for after in mutate(&before) {
                if judged(&before, &after).kind() != VerdictKind::Widens {
                    wrong.push(format!("{what} of {text}: {after:?}"));
                }
                count += 1;
            }
        }
        println!("{what}: {count}");
        assert!(count >= 1, "{what}: {count}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
