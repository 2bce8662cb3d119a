//! The inclusion of patterns by a search over positions (subset construction).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use super::budget::Budget;
use super::token::{Side, Token};

/// Most pairs of positions that are looked at, which bounds the memory.
const MAX_STATES: usize = 5_000;
/// Longest pattern, in tokens.
const MAX_TOKENS: usize = 2048;
/// Steps to remember one pair of positions.
const STATE: usize = 300;

/// What a pattern consumes in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Letter<'p> {
    Char(char),
    /// Any character that the outer pattern does not have.
    Other,
    Variable(&'p str),
}

/// A set of positions in the outer pattern.
type Positions = Vec<u64>;

/// What a letter does at each position of the outer pattern.
struct Moves {
    /// Positions whose token takes it and ends.
    ending: Positions,
    /// Positions of stars that take it.
    staying: Positions,
}

const WORD: usize = u64::BITS as usize;

fn add(positions: &mut Positions, at: usize) {
    if let Some(word) = positions.get_mut(at / WORD) {
        *word |= 1 << (at % WORD);
    }
}

fn has(positions: &Positions, at: usize) -> bool {
    positions
        .get(at / WORD)
        .is_some_and(|word| word & (1 << (at % WORD)) != 0)
}

/// Returns the positions after those that are in both sets.
fn after<'s>(one: &'s Positions, other: &'s Positions) -> impl Iterator<Item = u64> + 's {
    one.iter().zip(other).scan(0, |carry, (one, other)| {
        let both = one & other;
        let shifted = (both << 1) | *carry;
        *carry = both >> (WORD - 1);
        Some(shifted)
    })
}

/// Adds the positions after stars, which may end without a letter.
fn closed(mut positions: Positions, stars: &Positions) -> Positions {
    let ended: Positions = after(&positions, stars).collect();
    for (word, more) in positions.iter_mut().zip(ended) {
        *word |= more;
    }
    positions
}

impl Moves {
    fn of(outer: Side<'_>, letter: Letter<'_>, words: usize) -> Self {
        let (mut ending, mut staying) = (vec![0; words], vec![0; words]);
        for (at, token) in outer.tokens.iter().enumerate() {
            let is_stopped =
                outer.is_limited(at) && matches!(letter, Letter::Char(':') | Letter::Variable(_));
            match (token, letter) {
                (Token::Char(c), Letter::Char(letter)) if *c == letter => add(&mut ending, at),
                (Token::Variable(name), Letter::Variable(letter)) if **name == *letter => {
                    add(&mut ending, at);
                }
                // The value of a variable can have any length, so that `?` takes none.
                (Token::One, Letter::Char(_) | Letter::Other) if !is_stopped => add(&mut ending, at),
                (Token::Many, _) if !is_stopped => add(&mut staying, at),
                _ => {}
            }
        }
        Self { ending, staying }
    }

    fn from(&self, reached: &Positions, stars: &Positions) -> Positions {
        let stayed = reached.iter().zip(&self.staying).map(|(one, other)| one & other);
        let next = after(reached, &self.ending)
            .zip(stayed)
            .map(|(one, other)| one | other);
        closed(next.collect(), stars)
    }
}

/// Returns true if every text of `inner` is one of `outer`: for each position in the inner pattern, it computes the positions in the outer one
/// that a text can lead to.
pub fn is_included_by_subsets(outer: Side<'_>, inner: Side<'_>, budget: &Budget) -> bool {
    let (length, end) = (outer.tokens.len(), inner.tokens.len());
    if length > MAX_TOKENS || end > MAX_TOKENS {
        return false;
    }
    let words = length / WORD + 1;
    let letters = outer
        .tokens
        .iter()
        .chain(inner.tokens)
        .filter_map(|token| match token {
            Token::Char(c) => Some(Letter::Char(*c)),
            Token::Variable(name) => Some(Letter::Variable(name)),
            Token::One | Token::Many => None,
        });
    let mut moves: BTreeMap<Letter<'_>, Moves> = BTreeMap::new();
    for letter in letters.chain([Letter::Char(':'), Letter::Other]) {
        if let Entry::Vacant(missing) = moves.entry(letter) {
            if !budget.spend(length) {
                return false;
            }
            missing.insert(Moves::of(outer, letter, words));
        }
    }
    let mut stars = vec![0; words];
    for (at, token) in outer.tokens.iter().enumerate() {
        if *token == Token::Many {
            add(&mut stars, at);
        }
    }
    let mut first = vec![0; words];
    add(&mut first, 0);
    let begin = (0, closed(first, &stars));
    let mut seen = HashSet::from([begin.clone()]);
    let mut todo = vec![begin];
    while let Some((at, reached)) = todo.pop() {
        if at == end && !has(&reached, length) {
            return false;
        }
        let mut next = vec![];
        let token = inner.get(at);
        if token == Some(&Token::Many) {
            next.push((at + 1, reached.clone()));
        }
        for (letter, moves) in &moves {
            let after = match (token, letter) {
                (Some(Token::Char(c)), Letter::Char(letter)) if c == letter => at + 1,
                (Some(Token::Variable(name)), Letter::Variable(letter)) if **name == **letter => at + 1,
                // A star stands for characters. A variable is a letter where the pattern names it.
                (Some(Token::One | Token::Many), Letter::Char(_) | Letter::Other)
                    if !(inner.is_limited(at) && *letter == Letter::Char(':')) =>
                {
                    at + usize::from(token == Some(&Token::One))
                }
                _ => continue,
            };
            next.push((after, moves.from(&reached, &stars)));
        }
        if !budget.spend(next.len().saturating_mul(STATE + words)) || seen.len() > MAX_STATES {
            return false;
        }
        todo.extend(next.into_iter().filter(|state| seen.insert(state.clone())));
    }
    true
}
