//! Suggestions for misspelled words.

/// Longest word, in bytes, for which a suggestion is looked up. The comparison takes time in proportion to the length.
const MAX_WORD: usize = 128;

/// Returns the entry of `known` that is most similar to `word`, if one is similar enough to be what the author meant.
///
/// The similarity is the Damerau-Levenshtein distance without regard to ASCII case.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let word = word.to_ascii_lowercase();
    known
        .map(|k| (strsim::damerau_levenshtein(&word, &k.to_ascii_lowercase()), k))
        .filter(|(distance, k)| *distance <= 2.max(k.len() / 4) && *distance < k.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_word_has_a_suggestion_and_a_different_word_has_none() {
        for (word, suggestion) in [
            ("Efect", Some("Effect")),
            ("ACTION", Some("Action")),
            ("Resources", Some("Resource")),
            ("Something", None),
            ("", None),
        ] {
            let known = ["Effect", "Action", "Resource"];
            assert_eq!(nearest(word, known.into_iter()), suggestion, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(129), ["a"].into_iter()), None);
    }
}
