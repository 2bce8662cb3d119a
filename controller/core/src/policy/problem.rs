//! The problems of a policy document.

use std::fmt;

use crate::bounded;

/// One problem of a policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path within the document, such as `Statement[0].Action`. Empty for the document itself.
    pub at: String,
    /// The problem and what to write instead.
    pub what: String,
}

impl Problem {
    /// Returns a problem. Both texts are clipped, because they quote the document.
    pub(super) fn new(at: &str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self {
            at: bounded::clip(at, 256).into_owned(),
            what: bounded::clip(&what, 512).into_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{} {}", self.at, self.what)
        }
    }
}

/// The error for a text or a JSON value that is not a policy document. It has at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(pub Vec<Problem>);

impl PolicyError {
    pub(super) fn of(at: &str, what: impl Into<String>) -> Self {
        Self(vec![Problem::new(at, what)])
    }
}

/// Writes the first problems and the number of the others. The text has a limit, the list has none.
impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bounded::problems(&self.0))
    }
}
impl std::error::Error for PolicyError {}
