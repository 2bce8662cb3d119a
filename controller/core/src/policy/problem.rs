//! What is wrong with a policy document, in a bounded form.

use std::fmt;

use crate::bounded;

/// One thing that is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path within the document, empty for the document itself.
    pub at: String,
    /// What is wrong, and what to write instead.
    pub what: String,
}

impl Problem {
    /// Both texts are clipped, because they quote the document.
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

/// Text or JSON that is no policy document. Holds at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError(pub Vec<Problem>);

impl PolicyError {
    pub(super) fn of(at: &str, what: impl Into<String>) -> Self {
        Self(vec![Problem::new(at, what)])
    }
}

/// The first problems and the number of the others: the text has a limit, the list has none.
impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bounded::problems(&self.0))
    }
}
impl std::error::Error for PolicyError {}
