//! Patterns of actions, resources and condition values: whether one covers another, and whether two have nothing in common.
//!
//! A pattern is a sequence of characters, `?` (one character), `*` (any characters) and policy variables. The value of a variable is not
//! known, but the same in both documents, because they are compared for the same request. Both questions are answered exactly for patterns
//! without variables, by a search over pairs of positions (subset construction), which is bounded: beyond the bound the answer is no.

use std::collections::{BTreeSet, HashSet, VecDeque};

/// Most pairs of positions that are looked at.
const MAX_STATES: usize = 20_000;
/// Longest pattern, in tokens.
const MAX_TOKENS: usize = 2048;
/// Colons in front of the last segment of an ARN.
const ARN_COLONS: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Token {
    Char(char),
    One,
    Many,
    /// A policy variable with its name, such as `aws:username`.
    Variable(String),
}

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(Vec<Token>);

impl Pattern {
    /// Parses a pattern. `has_variables` is true in documents of version 2012-10-17: in those of 2008-10-17 `${` is text.
    pub fn parse(text: &str, kind: Kind, has_variables: bool) -> Self {
        // Every action has a service.
        let text = if kind == Kind::Action && text == "*" {
            "*:*"
        } else {
            text
        };
        let pattern = Self(tokens(text, true, has_variables));
        if kind == Kind::Action {
            pattern.folded()
        } else {
            pattern
        }
    }

    /// A text in which `*` and `?` are characters, as `StringEquals` takes it.
    pub fn literal(text: &str, has_variables: bool) -> Self {
        Self(tokens(text, false, has_variables))
    }

    /// Returns the pattern in lower case.
    pub fn folded(self) -> Self {
        let folded = self.0.into_iter().map(|token| match token {
            Token::Char(c) => Token::Char(c.to_ascii_lowercase()),
            other => other,
        });
        Self(folded.collect())
    }

    /// Returns true if everything matches the pattern.
    pub fn is_everything(&self, kind: Kind) -> bool {
        match self.0.as_slice() {
            [Token::Many] => true,
            [Token::Many, Token::Char(':'), Token::Many] => kind == Kind::Action,
            _ => false,
        }
    }

    /// Returns true if everything that `inner` matches is matched by this pattern, too. False if that cannot be shown.
    ///
    /// AWS's documents leave open if a `*` in a segment of an ARN reaches beyond the segment, so that it is shown for both readings.
    pub fn covers(&self, inner: &Self, kind: Kind) -> bool {
        if self == inner || self.is_everything(kind) {
            return true;
        }
        // An ARN that is not complete is completed by AWS in a way of its own.
        let is_complete = || kind != Kind::Arn || (self.is_arn() && inner.is_arn());
        match self.compared_by_prefix(inner, kind) {
            Some(is_covered) if !is_covered => false,
            Some(_) => is_complete(),
            None => {
                is_complete()
                    && is_included(&self.0, &inner.0, false)
                    && (kind != Kind::Arn || is_included(&self.0, &inner.0, true))
            }
        }
    }

    /// Returns true if nothing matches both patterns. False if that cannot be shown.
    pub fn is_disjoint(&self, other: &Self, kind: Kind) -> bool {
        // An ARN that is not complete is completed by AWS, and then matches more.
        let is_known = |pattern: &Self| kind != Kind::Arn || pattern.is_arn() || pattern.is_everything(kind);
        if !is_known(self) || !is_known(other) {
            return false;
        }
        if self.differs_early(other) {
            return true;
        }
        let (own, others) = (without_variables(&self.0), without_variables(&other.0));
        if own.len().saturating_mul(others.len()) > MAX_STATES * 10 {
            return false;
        }
        let alphabet = alphabet(&own, &others);
        let mut seen = HashSet::from([(0, 0)]);
        let mut queue = VecDeque::from([(0, 0)]);
        while let Some((i, j)) = queue.pop_front() {
            if i == own.len() && j == others.len() {
                return false;
            }
            let mut next = vec![];
            // A star may end without a character.
            if own.get(i) == Some(&Token::Many) {
                next.push((i + 1, j));
            }
            if others.get(j) == Some(&Token::Many) {
                next.push((i, j + 1));
            }
            for letter in &alphabet {
                if let (Some(i), Some(j)) = (step(&own, i, letter, false), step(&others, j, letter, false)) {
                    next.push((i, j));
                }
            }
            queue.extend(next.into_iter().filter(|pair| seen.insert(*pair)));
        }
        true
    }

    /// Compares patterns of which no more than the characters at their beginning need a look, which are most.
    fn compared_by_prefix(&self, inner: &Self, kind: Kind) -> Option<bool> {
        let (outer, inner) = (&self.0, &inner.0);
        let mut colons = 0;
        for at in 0.. {
            match (outer.get(at), inner.get(at)) {
                (Some(Token::Char(a)), Some(Token::Char(b))) if a == b => colons += usize::from(*a == ':'),
                // The text ends before the pattern does, or goes another way.
                (Some(Token::Char(_)) | None, Some(_)) | (Some(Token::Char(_) | Token::One), None) => {
                    return Some(false);
                }
                (None, None) => return Some(true),
                // In the last segment of an ARN, and in other texts, a star takes all that follows.
                (Some(Token::Many), _)
                    if at + 1 == outer.len() && (kind != Kind::Arn || colons >= ARN_COLONS) =>
                {
                    return Some(true);
                }
                _ => return None,
            }
        }
        None
    }

    /// Returns true if two patterns differ in a character before the first wildcard or variable of either.
    fn differs_early(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        pairs
            .find_map(|pair| match pair {
                (Token::Char(a), Token::Char(b)) if a == b => None,
                (Token::Char(_), Token::Char(_)) => Some(true),
                _ => Some(false),
            })
            .unwrap_or_default()
    }

    pub fn is_arn(&self) -> bool {
        let colons = self.0.iter().filter(|token| **token == Token::Char(':')).count();
        colons >= ARN_COLONS
    }
}

fn tokens(text: &str, has_wildcards: bool, has_variables: bool) -> Vec<Token> {
    let mut tokens = vec![];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let variable = rest
            .strip_prefix("${")
            .filter(|_| has_variables)
            .and_then(|inside| inside.split_once('}'));
        if let Some((name, after)) = variable {
            tokens.push(match name {
                // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars
                "*" => Token::Char('*'),
                "?" => Token::Char('?'),
                "$" => Token::Char('$'),
                name => Token::Variable(variable_name(name)),
            });
            rest = after;
            continue;
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '*' if has_wildcards && tokens.last() == Some(&Token::Many) => {}
            '*' if has_wildcards => tokens.push(Token::Many),
            '?' if has_wildcards => tokens.push(Token::One),
            c => tokens.push(Token::Char(c)),
        }
    }
    tokens
}

/// Returns the name of a variable in lower case, with its default value as written: `${aws:username, 'Anybody'}`.
fn variable_name(inside: &str) -> String {
    match inside.split_once(',') {
        Some((name, default)) => format!("{},{default}", name.to_ascii_lowercase()),
        None => inside.to_ascii_lowercase(),
    }
}

/// Variables can have any value.
fn without_variables(tokens: &[Token]) -> Vec<Token> {
    let replaced = tokens.iter().map(|token| match token {
        Token::Variable(_) => Token::Many,
        other => other.clone(),
    });
    replaced.collect()
}

/// What a pattern consumes in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Letter {
    Char(char),
    /// Any character that neither pattern has.
    Other,
    Variable(String),
}

/// Returns the letters between which two patterns distinguish.
fn alphabet(one: &[Token], other: &[Token]) -> Vec<Letter> {
    let chars: BTreeSet<char> = one
        .iter()
        .chain(other)
        .filter_map(|token| match token {
            Token::Char(c) => Some(*c),
            _ => None,
        })
        .chain([':'])
        .collect();
    let variables: BTreeSet<&String> = one
        .iter()
        .chain(other)
        .filter_map(|token| match token {
            Token::Variable(name) => Some(name),
            _ => None,
        })
        .collect();
    let chars = chars.into_iter().map(Letter::Char);
    let variables = variables.into_iter().map(|name| Letter::Variable(name.clone()));
    chars.chain([Letter::Other]).chain(variables).collect()
}

/// Returns the position after a letter, or `None` if the token at this position does not take it. `in_segment` is true if wildcards end at
/// a colon there.
fn step(tokens: &[Token], at: usize, letter: &Letter, in_segment: bool) -> Option<usize> {
    // The value of a variable can have colons.
    let is_stopped = in_segment && matches!(letter, Letter::Char(':') | Letter::Variable(_));
    match (tokens.get(at)?, letter) {
        (Token::Char(c), Letter::Char(letter)) if c == letter => Some(at + 1),
        (Token::Variable(name), Letter::Variable(letter)) if name == letter => Some(at + 1),
        // The value of a variable can have any length, so that `?` takes none.
        (Token::One, Letter::Char(_) | Letter::Other) if !is_stopped => Some(at + 1),
        (Token::Many, _) if !is_stopped => Some(at),
        _ => None,
    }
}

/// For each position, whether it is in front of the last segment of an ARN.
fn segments(tokens: &[Token]) -> Vec<bool> {
    let mut colons = 0;
    let mut all: Vec<bool> = tokens
        .iter()
        .map(|token| {
            colons += usize::from(*token == Token::Char(':'));
            colons < ARN_COLONS
        })
        .collect();
    all.push(false);
    all
}

/// Adds the positions that are reached without a letter.
fn closure(tokens: &[Token], positions: BTreeSet<usize>) -> BTreeSet<usize> {
    let mut all = positions.clone();
    let mut queue: Vec<usize> = positions.into_iter().collect();
    while let Some(at) = queue.pop() {
        if tokens.get(at) == Some(&Token::Many) && all.insert(at + 1) {
            queue.push(at + 1);
        }
    }
    all
}

/// Returns true if every text of `inner` is one of `outer`. With `by_segments` a wildcard in a segment of an ARN ends at the next colon.
fn is_included(outer: &[Token], inner: &[Token], by_segments: bool) -> bool {
    if outer.len() > MAX_TOKENS || inner.len() > MAX_TOKENS {
        return false;
    }
    let alphabet = alphabet(outer, inner);
    let (outer_segments, inner_segments) = (segments(outer), segments(inner));
    let limit = |all: &[bool], at: usize| by_segments && all.get(at).copied().unwrap_or_default();
    let start = (0, closure(outer, BTreeSet::from([0])));
    let mut seen = HashSet::from([start.clone()]);
    let mut queue = VecDeque::from([start]);
    while let Some((at, reached)) = queue.pop_front() {
        if at == inner.len() && !reached.contains(&outer.len()) {
            return false;
        }
        if seen.len() > MAX_STATES {
            return false;
        }
        let mut next = vec![];
        if inner.get(at) == Some(&Token::Many) {
            next.push((at + 1, reached.clone()));
        }
        for letter in &alphabet {
            // A star stands for characters. A variable is a letter where the pattern names it.
            if matches!(letter, Letter::Variable(_)) && !matches!(inner.get(at), Some(Token::Variable(_))) {
                continue;
            }
            let Some(after) = step(inner, at, letter, limit(&inner_segments, at)) else {
                continue;
            };
            let outer_after = reached
                .iter()
                .filter_map(|position| step(outer, *position, letter, limit(&outer_segments, *position)));
            next.push((after, closure(outer, outer_after.collect())));
        }
        queue.extend(next.into_iter().filter(|state| seen.insert(state.clone())));
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::glob::matches;

    fn covers(outer: &str, inner: &str, kind: Kind) -> bool {
        Pattern::parse(outer, kind, true).covers(&Pattern::parse(inner, kind, true), kind)
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
                one.is_disjoint(&other, Kind::Text),
                is_disjoint,
                "{one:?} {other:?}"
            );
            assert_eq!(
                other.is_disjoint(&one, Kind::Text),
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
            let covered = parse(&one).covers(&parse(&other), Kind::Text);
            let disjoint = parse(&one).is_disjoint(&parse(&other), Kind::Text);
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
