//! Patterns of actions, resources and condition values: whether one covers another, and whether two have nothing in common.
//!
//! A pattern is a sequence of characters, `?` (one character), `*` (any characters) and policy variables. The value of a variable is not
//! known, but the same in both documents: they are compared for the same request. Both questions are answered exactly for patterns
//! without variables, as long as the budget lasts. Most pairs need a walk along both. The others, which have a `?` in one and a `*` in the
//! other, need a search over pairs of positions (subset construction), which is bounded: beyond the bound the answer is no.

use super::budget::Budget;
use super::subsets::is_included_by_subsets;
use super::token::{Side, Token, tokens};

/// Colons in front of the last segment of an ARN.
const ARN_COLONS: usize = 5;

/// What a pattern is matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An action, without regard to case.
    Action,
    /// The ARN of a resource.
    Arn,
    /// A condition value.
    Text,
}

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    /// Position after the fifth colon, where the last segment of an ARN begins.
    last_segment: Option<usize>,
}

impl Pattern {
    /// Parses a pattern. `has_variables` is true in documents of version 2012-10-17: in those of 2008-10-17 `${` is text.
    pub fn parse(text: &str, kind: Kind, has_variables: bool) -> Self {
        // Every action has a service.
        let text = if kind == Kind::Action && text == "*" {
            "*:*"
        } else {
            text
        };
        let mut tokens = tokens(text, true, has_variables);
        if kind == Kind::Action {
            for token in &mut tokens {
                if let Token::Char(c) = token {
                    c.make_ascii_lowercase();
                }
            }
        }
        Self::of(tokens)
    }

    /// A text in which `*` and `?` are characters, as `StringEquals` takes it.
    pub fn literal(text: &str, has_variables: bool) -> Self {
        Self::of(tokens(text, false, has_variables))
    }

    fn of(tokens: Vec<Token>) -> Self {
        let mut colons = tokens
            .iter()
            .enumerate()
            .filter(|(_, token)| **token == Token::Char(':'));
        let last_segment = colons.nth(ARN_COLONS - 1).map(|(at, _)| at + 1);
        Self { tokens, last_segment }
    }

    /// Returns true if everything matches the pattern.
    pub fn is_everything(&self, kind: Kind) -> bool {
        match self.tokens.as_slice() {
            [Token::Many] => true,
            [Token::Many, Token::Char(':'), Token::Many] => kind == Kind::Action,
            _ => false,
        }
    }

    /// Returns true if everything that `inner` matches is matched by this pattern, too. False if that cannot be shown.
    ///
    /// AWS's documents leave open if a `*` in a segment of an ARN reaches beyond the segment, so that it is shown for both readings.
    pub fn covers(&self, inner: &Self, kind: Kind, budget: &Budget) -> bool {
        if self.is_everything(kind) || self == inner {
            return true;
        }
        if kind != Kind::Arn {
            return is_included(self.whole(), inner.whole(), budget);
        }
        // An ARN that is not complete is completed by AWS in a way of its own.
        let (Some(own), Some(other)) = (self.by_segments(), inner.by_segments()) else {
            return false;
        };
        is_included(self.whole(), inner.whole(), budget) && is_included(own, other, budget)
    }

    /// Returns true if nothing matches both patterns. False if that cannot be shown.
    pub fn is_disjoint(&self, other: &Self, kind: Kind, budget: &Budget) -> bool {
        // An ARN that is not complete is completed by AWS, and then matches more.
        let is_known = |pattern: &Self| kind != Kind::Arn || pattern.is_arn() || pattern.is_everything(kind);
        if !is_known(self) || !is_known(other) {
            return false;
        }
        let (own, others) = (self.tokens.iter(), other.tokens.iter());
        differ(own.clone().zip(others.clone()))
            || differ(own.rev().zip(others.rev()))
            || has_no_common_text(
                &without_variables(&self.tokens),
                &without_variables(&other.tokens),
                budget,
            )
    }

    /// Returns true for a complete ARN.
    pub const fn is_arn(&self) -> bool {
        self.last_segment.is_some()
    }

    fn whole(&self) -> Side<'_> {
        Side {
            tokens: &self.tokens,
            limited_to: 0,
        }
    }

    fn by_segments(&self) -> Option<Side<'_>> {
        self.last_segment.map(|limited_to| Side {
            tokens: &self.tokens,
            limited_to,
        })
    }
}

/// Returns true if two patterns differ in a character before the first wildcard or variable of either, from one end.
fn differ<'p>(mut pairs: impl Iterator<Item = (&'p Token, &'p Token)>) -> bool {
    let first = pairs.find_map(|pair| match pair {
        (Token::Char(a), Token::Char(b)) if a == b => None,
        (Token::Char(_), Token::Char(_)) => Some(true),
        _ => Some(false),
    });
    first.unwrap_or_default()
}

/// Variables can have any value.
fn without_variables(tokens: &[Token]) -> Vec<Token> {
    let mut replaced: Vec<Token> = tokens
        .iter()
        .map(|token| match token {
            Token::Variable(_) => Token::Many,
            other => other.clone(),
        })
        .collect();
    replaced.dedup_by(|one, other| *one == Token::Many && *other == Token::Many);
    replaced
}

/// Returns true if no text matches both. For each number of tokens of the one, it computes the positions in the other that are reached with
/// some common text.
fn has_no_common_text(one: &[Token], other: &[Token], budget: &Budget) -> bool {
    let width = other.len() + 1;
    let mut reached = vec![false; width];
    reach(&mut reached, 0, other);
    for token in one {
        let Some(first) = reached.iter().position(|is_reached| *is_reached) else {
            return true;
        };
        if !budget.spend(width.saturating_mul(2)) {
            return false;
        }
        let mut next = vec![false; width];
        for at in first..width {
            if *token == Token::Many {
                reach(&mut next, at, other);
                continue;
            }
            if !reached.get(at).copied().unwrap_or_default() {
                continue;
            }
            match (token, other.get(at)) {
                (_, Some(Token::Many)) => reach(&mut next, at, other),
                (Token::Char(a), Some(Token::Char(b))) if a != b => {}
                (_, Some(_)) => reach(&mut next, at + 1, other),
                (_, None) => {}
            }
        }
        reached = next;
    }
    !reached.last().copied().unwrap_or_default()
}

/// Marks a position, and that after a star, which may end without a character.
fn reach(reached: &mut [bool], at: usize, tokens: &[Token]) {
    let next = (tokens.get(at) == Some(&Token::Many)).then_some(at + 1);
    for at in [at].into_iter().chain(next) {
        if let Some(slot) = reached.get_mut(at) {
            *slot = true;
        }
    }
}

/// What the wildcards of the inner pattern stand for in a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wildcards {
    /// Everything that they match: a star of the outer pattern takes them.
    All,
    /// One character that is in neither pattern.
    OneLetter,
    /// One such character for a `?`, and nothing for a `*`.
    NoStars,
}

/// Returns true if every text of `inner` is one of `outer`.
fn is_included(outer: Side<'_>, inner: Side<'_>, budget: &Budget) -> bool {
    is_taken(outer, inner, Wildcards::All, budget)
        // Two texts of the inner pattern show for most pairs that it is not included.
        || (is_taken(outer, inner, Wildcards::OneLetter, budget)
            && is_taken(outer, inner, Wildcards::NoStars, budget)
            && is_included_by_subsets(outer, inner, budget))
}

/// Walks along both patterns: each star of the outer one takes as little as possible. That finds a way if there is one, because a later star
/// takes all that an earlier one could. Stars that end at a colon are in the segments of an ARN, which begin at the same colons.
fn is_taken(outer: Side<'_>, inner: Side<'_>, wildcards: Wildcards, budget: &Budget) -> bool {
    let (mut at, mut next) = (0, 0);
    // The last star, and up to where in the inner pattern it takes all.
    let mut star: Option<(usize, usize)> = None;
    while budget.spend(1) {
        if wildcards == Wildcards::NoStars && inner.get(next) == Some(&Token::Many) {
            next += 1;
            continue;
        }
        match (outer.get(at), inner.get(next)) {
            (None, None) => return true,
            (Some(Token::Many), _) => {
                if at + 1 == outer.tokens.len() && !outer.is_limited(at) {
                    return true;
                }
                star = Some((at, next));
                at += 1;
                continue;
            }
            (Some(_), None) => return false,
            (Some(token), Some(other))
                if takes(
                    token,
                    outer.is_limited(at),
                    other,
                    inner.is_limited(next),
                    wildcards,
                ) =>
            {
                at += 1;
                next += 1;
                continue;
            }
            _ => {}
        }
        let Some((of_star, end)) = star else {
            return false;
        };
        let is_taken = inner.get(end).is_some_and(|other| {
            takes(
                &Token::Many,
                outer.is_limited(of_star),
                other,
                inner.is_limited(end),
                wildcards,
            )
        });
        if !is_taken {
            return false;
        }
        star = Some((of_star, end + 1));
        at = of_star + 1;
        next = end + 1;
    }
    false
}

/// Returns true if a token of the outer pattern takes one of the inner pattern. Each of them may end at a colon.
fn takes(
    outer: &Token,
    outer_is_limited: bool,
    inner: &Token,
    inner_is_limited: bool,
    wildcards: Wildcards,
) -> bool {
    let has_no_colon = inner_is_limited || wildcards != Wildcards::All;
    match (outer, inner) {
        (Token::Char(a), Token::Char(b)) => a == b,
        (Token::Variable(a), Token::Variable(b)) => a == b,
        (Token::One | Token::Many, Token::Char(c)) => !outer_is_limited || *c != ':',
        (Token::One | Token::Many, Token::One) | (Token::Many, Token::Many) => {
            !outer_is_limited || has_no_colon
        }
        (Token::One, Token::Many) => wildcards == Wildcards::OneLetter,
        // The value of a variable can have any length and colons.
        (Token::Many, Token::Variable(_)) => !outer_is_limited,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::glob::matches;

    fn covers(outer: &str, inner: &str, kind: Kind) -> bool {
        let inner = Pattern::parse(inner, kind, true);
        Pattern::parse(outer, kind, true).covers(&inner, kind, &Budget::default())
    }

    #[test]
    fn a_pattern_covers_what_matches_it_and_no_more() {
        for (outer, inner, is_covered) in [
            ("*", "a", true),
            ("a*", "ab", true),
            ("a*", "a*b", true),
            ("a*", "*", false),
            ("a?", "ab", true),
            ("a?", "a*", false),
            ("a*", "a?*", true),
            ("*a*b*", "xaybz", true),
            ("*a*b*", "*ab*", true),
            ("*ab*", "*a*b*", false),
            ("?*", "*?", true),
            ("a*", "a${aws:username}", true),
            ("a?", "a${aws:username}", false),
            ("a${aws:username}*", "a${AWS:UserName}/x", true),
            ("a${aws:username}", "ab", false),
            ("${aws:username, 'X'}", "${AWS:username, 'X'}", true),
            ("${aws:username, 'X'}", "${aws:username, 'x'}", false),
            ("a*", "a${*}", true),
            ("a${*}", "ab", false),
        ] {
            assert_eq!(covers(outer, inner, Kind::Text), is_covered, "{outer} {inner}");
        }
        assert!(covers("S3:get*", "s3:GetObject", Kind::Action));
        assert!(covers("*", "s3:*", Kind::Action) && covers("*:*", "*", Kind::Action));
    }

    #[test]
    fn an_arn_is_covered_if_it_is_for_both_readings_of_a_star() {
        for (outer, inner, is_covered) in [
            ("*", "arn:aws:s3:::b/*", true),
            ("arn:aws:s3:::*", "arn:aws:s3:::b/*", true),
            ("arn:aws:iam::*:role/app-*", "arn:aws:iam::*:role/app-x", true),
            (
                "arn:aws:iam::*:role/*",
                "arn:aws:iam::222222222222:role/x:y",
                true,
            ),
            ("arn:aws:s3*", "arn:aws:s3:::b", false),
            ("arn:aws:iam::*:role/*", "arn:aws:iam::*", false),
            // Only if the star reached beyond its segment.
            ("arn:aws:*:role/x", "arn:aws:iam::222222222222:role/x", false),
        ] {
            assert_eq!(covers(outer, inner, Kind::Arn), is_covered, "{outer} {inner}");
        }
    }

    #[test]
    fn patterns_are_disjoint_if_nothing_matches_both() {
        for (one, other, is_disjoint) in [
            ("a*", "b*", true),
            ("a*", "*b", false),
            ("a?", "a", true),
            ("", "?", true),
            ("", "*", false),
            ("a${x}", "b*", true),
            ("a${x}", "ab", false),
        ] {
            let (one, other) = (
                Pattern::parse(one, Kind::Text, true),
                Pattern::parse(other, Kind::Text, true),
            );
            assert_eq!(
                one.is_disjoint(&other, Kind::Text, &Budget::default()),
                is_disjoint,
                "{one:?} {other:?}"
            );
            assert_eq!(
                other.is_disjoint(&one, Kind::Text, &Budget::default()),
                is_disjoint,
                "{one:?} {other:?}"
            );
        }
    }

    /// All texts of up to 4 letters of a small alphabet.
    fn texts() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..4 {
            last = last
                .iter()
                .flat_map(|text| ["a", "b", "c"].map(|c| format!("{text}{c}")))
                .collect();
            all.extend(last.clone());
        }
        all
    }

    proptest! {
        #[test]
        fn any_two_patterns_are_compared_as_their_texts_show(one in "[ab*?]{0,5}", other in "[ab*?]{0,5}") {
            let parse = |text: &str| Pattern::parse(text, Kind::Text, true);
            let covered = parse(&one).covers(&parse(&other), Kind::Text, &Budget::default());
            let disjoint = parse(&one).is_disjoint(&parse(&other), Kind::Text, &Budget::default());
            let mut common = false;
            for text in texts() {
                let (by_one, by_other) = (matches(&one, &text), matches(&other, &text));
                common |= by_one && by_other;
                prop_assert!(!covered || !by_other || by_one, "{one} covers {other}, and not {text}");
                prop_assert!(!(disjoint && by_one && by_other), "{one} and {other} have {text}");
            }
            // A text that both have is shorter than the two together.
            prop_assert!(common || disjoint || one.len() + other.len() > 4, "{one} {other}");
        }
    }
}
