//! Messages with a size limit. Input that others wrote is quoted in conditions, events and errors, and none of these
//! may grow with the input.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

/// Number of problems that a message lists; the others are only counted.
pub const LISTED: usize = 3;
/// Largest message about one object in one account, in bytes.
pub const MESSAGE: usize = 1024;
/// Share of [`MESSAGE`] that one problem may take, in bytes. Leaves room for separators and the count.
const EACH: usize = (MESSAGE - 64) / LISTED;

/// The first problems of a list, and how many more there are. At most [`MESSAGE`] bytes.
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

/// `text`, cut at `limit` bytes. What was cut ends in an ellipsis.
pub fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len()));
    Cow::Owned(format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default()))
}

/// Formats a value into at most `limit` bytes without building the whole text first.
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

/// Takes one piece more than fits, so that the cut can be seen.
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
        for (all, says) in [
            (&[][..], ""),
            (&["a"], "a"),
            (&["a", "b", "c"], "a; b; c"),
            (&["a", "b", "c", "d"], "a; b; c; and 1 more problem"),
            (&["a", "b", "c", "d", "e"], "a; b; c; and 2 more problems"),
        ] {
            assert_eq!(problems(all), says);
        }
    }

    #[test]
    fn what_is_cut_shows_it() {
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
