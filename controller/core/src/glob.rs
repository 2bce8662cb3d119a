//! Patterns with the wildcards `*` and `?` of IAM.

use std::str::Chars;

/// Returns true if `text` matches a
/// [pattern of IAM](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html#reference_policies_elements_resource_wildcards):
/// `*` is any number of characters, `?` is one character. The comparison is case-sensitive.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What follows the last star, and the text from where it is tried. A later star takes all that an earlier one could.
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (mut rest, mut more) = (pattern.clone(), text.clone());
        match (rest.next(), more.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((rest.clone(), text.clone()));
                pattern = rest;
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (pattern, text) = (rest, more);
                continue;
            }
            _ => {}
        }
        let Some((rest, from)) = &mut star else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        (pattern, text) = (rest.clone(), from.clone());
    }
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
            ("*ab", "aab", true),
            ("*a?*b", "aab", true),
            ("*a?b", "ab", false),
            ("a*", "a", true),
            ("*", "", true),
            ("ä?*", "äöü", true),
            ("a", "*", false),
        ] {
            assert_eq!(matches(pattern, text), matched, "{pattern} {text}");
        }
    }
}
