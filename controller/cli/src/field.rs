//! The path of a field in an object.

use std::fmt;

/// The path of a field, from the object down. The path of the object itself is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field(Vec<String>);

impl Field {
    /// Returns the path of a key or of an item of a list, by its number.
    pub fn child(&self, step: impl fmt::Display) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.to_string());
        Self(steps)
    }

    /// Returns the path that a message has: `spec.tags`, `spec.assumeRolePolicy.Statement[0].Action`.
    pub fn parse(text: &str) -> Self {
        let steps = text.split(['.', '[']).map(|step| step.trim_end_matches(']'));
        Self(steps.filter(|step| !step.is_empty()).map(str::to_owned).collect())
    }

    /// Returns the path with another one below it.
    pub fn join(mut self, below: Self) -> Self {
        self.0.extend(below.0);
        self
    }

    /// Returns true for the path of the object itself.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns this path and all above it as JSON pointers, the longest first.
    pub fn pointers(&self) -> impl Iterator<Item = String> {
        (0..=self.0.len()).rev().map(|length| {
            let steps = self.0.iter().take(length);
            steps.fold(String::new(), |pointer, step| {
                pointer + "/" + &step.replace('~', "~0").replace('/', "~1")
            })
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            if step.bytes().all(|b| b.is_ascii_digit()) {
                write!(f, "[{step}]")?;
            } else if n == 0 {
                f.write_str(step)?;
            } else {
                write!(f, ".{step}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_kubernetes_writes_it() {
        let text = "spec.assumeRolePolicy.Statement[0].Action";
        let field = Field::parse(text);
        assert_eq!(field.to_string(), text);
        assert_eq!(
            field.pointers().nth(1).as_deref(),
            Some("/spec/assumeRolePolicy/Statement/0")
        );
        assert_eq!(field.pointers().last().as_deref(), Some(""));
        assert_eq!(
            Field::default().child("a/b").pointers().next().as_deref(),
            Some("/a~1b")
        );
    }
}
