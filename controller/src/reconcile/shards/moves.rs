//! Which shards a replica claims and gives back. Pure.

/// What a replica does to come to its part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    pub(super) claim: Vec<usize>,
    pub(super) give_back: Vec<usize>,
}

/// Its part is the number of shards by the number of replicas; what does not divide falls to the first ones, in the
/// order of their names.
pub(super) fn moves(held: &[bool], free: &[bool], replicas: &[String], me: &str) -> Moves {
    let count = replicas.len().max(1);
    let place = replicas.iter().position(|r| r == me).unwrap_or(count - 1);
    let part = held.len() / count + usize::from(place < held.len() % count);
    let mine: Vec<usize> = (0..held.len()).filter(|n| held.get(*n) == Some(&true)).collect();
    if mine.len() > part {
        return Moves {
            give_back: mine.into_iter().skip(part).collect(),
            ..Moves::default()
        };
    }
    // Each begins elsewhere, so that they do not all want the same one.
    let start = place * held.len() / count;
    let order = (0..held.len()).map(|n| (n + start) % held.len());
    let open = order.filter(|n| free.get(*n) == Some(&true) && held.get(*n) == Some(&false));
    Moves {
        claim: open.take(part - mine.len()).collect(),
        ..Moves::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|n| format!("replica-{n}")).collect()
    }

    proptest! {
        /// Replicas that come and go, each looking in its turn: in the end all is held, by one each, in fair parts.
        #[test]
        fn all_shards_come_to_be_held_in_fair_parts(count in 1_usize..20, first in 1_usize..6, then in 1_usize..6) {
            let mut owner: Vec<Option<usize>> = vec![None; count];
            for living in [first, then] {
                for o in &mut owner {
                    *o = o.filter(|r| *r < living);
                }
                for round in 0..4 * living {
                    let me = round % living;
                    let held: Vec<bool> = owner.iter().map(|o| *o == Some(me)).collect();
                    let free: Vec<bool> = owner.iter().map(Option::is_none).collect();
                    let moves = moves(&held, &free, &names(living), &format!("replica-{me}"));
                    for n in moves.give_back { owner[n] = None; }
                    for n in moves.claim {
                        prop_assert!(owner[n].is_none());
                        owner[n] = Some(me);
                    }
                }
                prop_assert!(owner.iter().all(Option::is_some));
                let parts: Vec<usize> = (0..living).map(|r| owner.iter().filter(|o| **o == Some(r)).count()).collect();
                prop_assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
            }
        }
    }
}
