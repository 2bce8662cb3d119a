//! The values of a statement, of which few are ever compared as patterns.

use std::cell::OnceCell;

use super::budget::Budget;
use super::pattern::{Kind, Pattern};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Pattern(Kind),
    /// A condition value in which `*` and `?` are characters.
    Literal,
}

/// A value of an element or of a condition. It is parsed where its first characters do not decide.
#[derive(Debug)]
pub struct Text<'a> {
    written: &'a str,
    form: Form,
    has_variables: bool,
    pattern: OnceCell<Pattern>,
}

impl<'a> Text<'a> {
    /// `has_variables` is true in documents of version 2012-10-17.
    pub const fn of(written: &'a str, form: Form, has_variables: bool) -> Self {
        Self {
            written,
            form,
            has_variables,
            pattern: OnceCell::new(),
        }
    }

    pub const fn as_str(&self) -> &'a str {
        self.written
    }

    const fn kind(&self) -> Kind {
        match self.form {
            Form::Pattern(kind) => kind,
            Form::Literal => Kind::Text,
        }
    }

    pub fn pattern(&self, budget: &Budget) -> &Pattern {
        self.pattern.get_or_init(|| {
            budget.spend(self.written.len());
            match self.form {
                Form::Pattern(kind) => Pattern::parse(self.written, kind, self.has_variables),
                Form::Literal => Pattern::literal(self.written, self.has_variables),
            }
        })
    }

    /// Returns true if everything matches the value.
    pub fn is_everything(&self, budget: &Budget) -> bool {
        self.form != Form::Literal
            && self.written.starts_with('*')
            && self.pattern(budget).is_everything(self.kind())
    }

    /// Returns true if everything that `inner` matches is matched by this value, too. False if that cannot be shown.
    pub fn covers(&self, inner: &Self, budget: &Budget) -> bool {
        if self.is_equal(inner) {
            return budget.spend(1);
        }
        !self.differs_early(inner, budget)
            && !budget.is_used_up()
            && self
                .pattern(budget)
                .covers(inner.pattern(budget), self.kind(), budget)
    }

    /// Returns true if nothing matches both values. False if that cannot be shown.
    pub fn is_disjoint(&self, other: &Self, budget: &Budget) -> bool {
        if self.is_equal(other) || !budget.spend(1) {
            return false;
        }
        // An ARN must be complete.
        (self.kind() != Kind::Arn && self.differs_early(other, budget))
            || self
                .pattern(budget)
                .is_disjoint(other.pattern(budget), self.kind(), budget)
    }

    fn is_equal(&self, other: &Self) -> bool {
        self.written == other.written && self.form == other.form && self.has_variables == other.has_variables
    }

    /// Returns true if the values differ in a character before the first that may begin a wildcard or a variable.
    fn differs_early(&self, other: &Self, budget: &Budget) -> bool {
        let is_caseless = self.form == Form::Pattern(Kind::Action);
        let fold = |byte: u8| {
            if is_caseless {
                byte.to_ascii_lowercase()
            } else {
                byte
            }
        };
        let pairs = self.written.bytes().zip(other.written.bytes()).enumerate();
        for (at, (one, other)) in pairs {
            let is_special = |byte: u8| matches!(byte, b'*' | b'?' | b'$');
            let is_decided = is_special(one) || is_special(other);
            if is_decided || fold(one) != fold(other) {
                budget.spend(1 + at / 4);
                return !is_decided;
            }
        }
        false
    }
}
