//! The path of a field in an object.

use std::fmt;

use crate::output::printable;

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

    /// Returns the keys and indexes of the path.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Keys come from files, and are printed without control characters.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().map(|step| printable(step)).enumerate() {
            if step.bytes().all(|b| b.is_ascii_digit()) {
                write!(f, "[{step}]")?;
            } else if n == 0 {
                f.write_str(&step)?;
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
        let steps: Vec<&str> = field.steps().collect();
        assert_eq!(steps, ["spec", "assumeRolePolicy", "Statement", "0", "Action"]);
        assert_eq!(Field::default().child("a").child("1").to_string(), "a[1]");
    }
}
