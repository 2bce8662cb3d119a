//! Patterns with the wildcards `*` and `?` of IAM.

/// Returns true if `text` matches a
/// [pattern of IAM](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html#reference_policies_elements_resource_wildcards):
/// `*` is any number of characters, `?` is one character. The comparison is case-sensitive.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // `reach[i]` is true if the characters of the pattern so far match the first i characters of the text.
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

/// Returns the part of a value before the first wildcard (`*`, `?`) or policy variable (`${`).
pub fn fixed_prefix(value: &str) -> &str {
    let end = value.find(['*', '?']).into_iter().chain(value.find("${")).min();
    value.get(..end.unwrap_or(value.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_number_of_characters_and_a_question_mark_one() {
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
