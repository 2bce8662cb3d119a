//! Patterns with `*` and `?`, as IAM has them.

/// Whether `text` matches an IAM pattern: `*` is any run of characters, `?` is one.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Row by row over the pattern: `reach[i]` says whether the pattern so far can end before text[i].
    let mut reach = vec![false; text.len() + 1];
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    for p in pattern {
        let mut next = vec![false; text.len() + 1];
        let mut any = false;
        for (i, slot) in next.iter_mut().enumerate() {
            let here = reach.get(i).copied().unwrap_or_default();
            any |= here;
            let before = i
                .checked_sub(1)
                .and_then(|j| Some((reach.get(j).copied()?, text.get(j).copied()?)));
            *slot = match p {
                '*' => any,
                '?' => before.is_some_and(|(ok, _)| ok),
                c => before.is_some_and(|(ok, t)| ok && t == c),
            };
        }
        reach = next;
    }
    reach.last().copied().unwrap_or_default()
}

/// What stands before the first wildcard or policy variable.
pub fn fixed_prefix(value: &str) -> &str {
    let end = value.find(['*', '?']).into_iter().chain(value.find("${")).min();
    value.get(..end.unwrap_or(value.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_iam() {
        for (pattern, text, matched) in [
            ("app-*", "app-x", true),
            ("app-*", "ap", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*", "abc", true),
            ("", "a", false),
            ("a*b*c", "a1b2c", true),
        ] {
            assert_eq!(matches(pattern, text), matched, "{pattern} {text}");
        }
    }
}
