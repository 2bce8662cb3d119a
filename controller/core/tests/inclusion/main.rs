//! Inclusion of policies against an evaluator of AWS's decision logic that shares no code with it.
//!
//! `world` evaluates every request of a small world. `documents` draws documents and mutates them. The pairs of a run are drawn from pools of
//! documents that have the same world. A run of another length or seed:
//!
//! ```text
//! INCLUSION_PAIRS=10000000 INCLUSION_SEED=7 cargo test -p rolectl-core --test inclusion -- random --nocapture
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy does not recognize the helpers of an integration test as test code"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "positions in small tables, and shares in percent"
)]
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a run is given its length by the environment, and prints its figures"
)]

mod documents;
mod random;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use rolectl_core::policy::PolicyDocument;
use rolectl_core::policy::inclusion::{Attached, Budget, Parsed, Policies, Unread, includes, inclusion_of};

use documents::{Mutation, Side};
use random::Random;
use world::{Bits, OWN, UNREAD, World};

/// Documents of one world.
const POOL: usize = 3000;
/// Documents of a family: one and its mutants.
const FAMILY: usize = 6;

#[derive(Default)]
struct Count {
    pairs: u64,
    shown: u64,
    included: u64,
}

impl Count {
    fn add(&mut self, is_shown: bool, is_included: bool) {
        self.pairs += 1;
        self.shown += u64::from(is_shown);
        self.included += u64::from(is_included);
    }

    fn print(&self, what: &str) {
        let missed = self.included - self.shown;
        let share = |part: u64| 100.0 * part as f64 / self.included.max(1) as f64;
        println!(
            "{what}: {} pairs, {} included, {} of them not shown ({:.2} %)",
            self.pairs,
            self.included,
            missed,
            share(missed)
        );
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn of_random_pairs_none_is_shown_to_be_included_that_allows_a_request_more() {
    let pairs = setting("INCLUSION_PAIRS", 200_000);
    let mut random = Random::new(setting("INCLUSION_SEED", 1));
    let (mut related, mut unrelated) = (Count::default(), Count::default());
    let mut mutations: BTreeMap<Mutation, Count> = BTreeMap::new();
    let start = Instant::now();
    let mut done = 0;
    while done < pairs {
        let world = World::draw(&mut random);
        let count = (pairs - done).min(100_000);
        pool(
            &world,
            count,
            &mut random,
            &mut related,
            &mut unrelated,
            &mut mutations,
        );
        done += count;
    }
    println!(
        "{done} pairs in {:.1} s, no false inclusion",
        start.elapsed().as_secs_f64()
    );
    related.print("related documents");
    unrelated.print("unrelated documents");
    for (mutation, count) in &mutations {
        count.print(&format!("{mutation:?}"));
    }
    // A comparison that shows nothing is sound, too.
    assert!(
        related.shown * 10 > related.included * 8,
        "few inclusions are shown"
    );
}

fn pool(
    world: &World,
    pairs: u64,
    random: &mut Random,
    related: &mut Count,
    unrelated: &mut Count,
    mutations: &mut BTreeMap<Mutation, Count>,
) {
    let mut sides: Vec<(Side, Option<Mutation>)> = vec![];
    while sides.len() < POOL {
        let base = Side::draw(world, random);
        for _ in 1..FAMILY {
            let (mutant, mutation) = base.mutated(world, random);
            sides.push((mutant, Some(mutation)));
        }
        sides.push((base, None));
    }
    let documents: Vec<Vec<PolicyDocument>> = sides.iter().map(|(side, _)| side.documents()).collect();
    let policies: Vec<Policies<'_>> = sides
        .iter()
        .zip(&documents)
        .map(|((side, _), documents)| policies(side, documents))
        .collect();
    let parsed: Vec<Parsed<'_>> = policies.iter().map(Policies::parsed).collect();
    let allowed: Vec<Bits> = sides.iter().map(|(side, _)| world.allowed(side)).collect();
    let not_denied: Vec<Bits> = sides.iter().map(|(side, _)| world.not_denied(side)).collect();
    for _ in 0..pairs {
        let outer = random.below(sides.len());
        let is_related = random.chance(60);
        let inner = if is_related {
            outer - outer % FAMILY + random.below(FAMILY)
        } else {
            random.below(sides.len())
        };
        let attached = match random.below(10) {
            0 => Attached::Alone,
            1..4 => Attached::AsPermissions,
            _ => Attached::AsTrust(OWN),
        };
        let is_shown = includes(&parsed[outer], &parsed[inner], attached, &Budget::default());
        let through_resource = || not_denied[inner].more_than(&not_denied[outer]);
        let more = allowed[inner].more_than(&allowed[outer]).or_else(|| {
            (attached == Attached::AsPermissions)
                .then(through_resource)
                .flatten()
        });
        assert!(
            !is_shown || more.is_none(),
            "{} is allowed by the inner side only\n{:#?}\nouter: {}\ninner: {}",
            world.request(more.unwrap_or_default()),
            world,
            shown(&sides[outer].0, &documents[outer]),
            shown(&sides[inner].0, &documents[inner]),
        );
        let counts = if is_related {
            &mut *related
        } else {
            &mut *unrelated
        };
        counts.add(is_shown, more.is_none());
        if let (None, Some(mutation), true) = (sides[outer].1, sides[inner].1, is_related) {
            mutations
                .entry(mutation)
                .or_default()
                .add(is_shown, more.is_none());
        }
        if random.chance(1) {
            let whole = inclusion_of(&policies[outer], &policies[inner], attached, &Budget::default());
            assert_eq!(
                whole.is_shown(),
                is_shown,
                "the two forms of the comparison differ"
            );
            assert!(
                includes(&parsed[outer], &parsed[outer], attached, &Budget::default()),
                "a side includes itself"
            );
        }
    }
}

fn policies<'a>(side: &Side, documents: &'a [PolicyDocument]) -> Policies<'a> {
    let unread = UNREAD.iter().zip(side.unread).filter(|(_, has)| *has);
    Policies {
        called: "the outer side",
        documents: documents.iter().map(|document| (None, document)).collect(),
        unread: unread
            .map(|(unread, _)| Unread {
                name: unread.name,
                may_allow: unread.may_allow,
                may_deny: unread.may_deny,
            })
            .collect(),
    }
}

fn shown(side: &Side, documents: &[PolicyDocument]) -> String {
    let texts: Vec<String> = documents.iter().map(PolicyDocument::pretty).collect();
    format!("{} unread {:?}", texts.join("\n"), side.unread)
}

/// Inclusion of what is shown: what the first includes of the second, and the second of the third, the first allows of the third.
#[test]
fn inclusion_is_transitive_and_keeps_with_a_deny_more_or_an_allow_less() {
    let mut random = Random::new(3);
    for _ in 0..20 {
        let world = World::draw(&mut random);
        for _ in 0..300 {
            let base = Side::draw(&world, &mut random);
            let (one, _) = base.mutated(&world, &mut random);
            let (two, _) = one.mutated(&world, &mut random);
            let narrower = base.narrowed(&world, &mut random);
            let all = [&base, &one, &two, &narrower].map(|side| (side, side.documents()));
            let all = all.each_ref().map(|(side, documents)| policies(side, documents));
            let parsed = all.each_ref().map(Policies::parsed);
            let has = |outer: usize, inner: usize| {
                includes(
                    &parsed[outer],
                    &parsed[inner],
                    Attached::AsTrust(OWN),
                    &Budget::default(),
                )
            };
            assert!(has(0, 3), "{base:#?} {narrower:#?}");
            let allowed = [&base, &one, &two].map(|side| world.allowed(side));
            if has(0, 1) && has(1, 2) {
                assert!(allowed[2].more_than(&allowed[0]).is_none());
            }
            if has(0, 1) && has(1, 0) {
                assert!(allowed[0] == allowed[1], "{base:#?} {one:#?}");
            }
        }
    }
}
