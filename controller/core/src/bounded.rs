//! Messages with a size limit. Conditions, events and errors quote input of other people and must not grow with that input.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

/// Number of problems that a message lists. It only counts the others.
pub const LISTED: usize = 3;
/// Length of the longest message about one object in one account, in bytes.
pub const MESSAGE: usize = 1024;
/// Length of the longest problem in a message, in bytes. Leaves room for the separators and the count.
const EACH: usize = (MESSAGE - 64) / LISTED;

/// Returns the first problems of a list and the number of the others, in at most [`MESSAGE`] bytes.
pub fn problems<T: Display>(all: &[T]) -> String {
    let mut message = String::new();
    for (n, problem) in all.iter().take(LISTED).enumerate() {
        let separator = if n == 0 { "" } else { "; " };
        message.push_str(separator);
        message.push_str(&display(problem, EACH));
    }
    match all.len().saturating_sub(LISTED) {
        0 => {}
        1 => message.push_str("; and 1 more problem"),
        more => {
            // Writing to a String cannot fail.
            let _ = write!(message, "; and {more} more problems");
        }
    }
    message
}

/// Returns `text` in at most `limit` bytes. A text that was cut ends in `...`.
pub fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len()));
    Cow::Owned(format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default()))
}

/// Formats a value in at most `limit` bytes without allocating the whole text. A text that was cut ends in `...`.
pub fn display(value: &impl Display, limit: usize) -> String {
    let mut writer = Limited {
        text: String::new(),
        limit,
    };
    // An error here means that the limit was reached; the text is clipped below.
    let _ = write!(writer, "{value}");
    clip(&writer.text, limit).into_owned()
}

const ELLIPSIS: &str = "...";

/// A writer that accepts one character more than the limit, so that [`clip`] sees that the text is too long.
struct Limited {
    text: String,
    limit: usize,
}

impl fmt::Write for Limited {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = (self.limit + 1).saturating_sub(self.text.len());
        let end = piece.ceil_char_boundary(room);
        self.text.push_str(piece.get(..end).unwrap_or(piece));
        if self.text.len() > self.limit {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_lists_the_first_problems_and_counts_the_others() {
        for (all, message) in [
            (&[][..], ""),
            (&["a"], "a"),
            (&["a", "b", "c"], "a; b; c"),
            (&["a", "b", "c", "d"], "a; b; c; and 1 more problem"),
            (&["a", "b", "c", "d", "e"], "a; b; c; and 2 more problems"),
        ] {
            assert_eq!(problems(all), message);
        }
    }

    #[test]
    fn a_text_that_was_cut_ends_in_an_ellipsis() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("abcdefg", 6), "abc...");
        assert_eq!(clip("ééé", 5), "é...");
        assert_eq!(display(&"abcdef", 6), "abcdef");
        assert_eq!(display(&"abcdefg", 6), "abc...");
    }

    proptest! {
        #[test]
        fn a_message_is_bounded_whatever_it_quotes(all in prop::collection::vec("\\PC{0,2000}", 0..9)) {
            prop_assert!(problems(&all).len() <= MESSAGE);
        }

        #[test]
        fn a_clipped_text_fits(text in "\\PC{0,40}", limit in 3_usize..60) {
            prop_assert!(clip(&text, limit).len() <= limit);
            prop_assert_eq!(display(&text, limit), clip(&text, limit));
        }
    }
}
