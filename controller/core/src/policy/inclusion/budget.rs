//! The limit of the work of a verdict.

use std::cell::Cell;

/// Steps of one verdict. A step takes about 8 ns, so that the longest verdict takes less than 100 ms.
const STEPS: usize = 6_500_000;

/// The steps that are left to one verdict, however many comparisons it needs.
///
/// Whoever writes a policy chooses how much work its comparison is. Each step of a comparison is counted, and where none is left, nothing more
/// is shown: the answer is that the policies are too complex to compare. It depends on no clock, so that it is the same in every process.
#[derive(Debug)]
pub struct Budget(Cell<usize>);

impl Default for Budget {
    fn default() -> Self {
        Self::of(STEPS)
    }
}

impl Budget {
    /// Returns a budget of this many steps.
    pub const fn of(steps: usize) -> Self {
        Self(Cell::new(steps))
    }

    /// Takes steps. Returns false if there are not as many, and none is left then.
    pub fn spend(&self, steps: usize) -> bool {
        let left = self.left().saturating_sub(steps);
        self.0.set(left);
        left > 0
    }

    /// Returns true if no step is left, so that what is not shown yet cannot be shown.
    pub const fn is_used_up(&self) -> bool {
        self.left() == 0
    }

    /// Returns the steps that are left.
    pub const fn left(&self) -> usize {
        self.0.get()
    }
}
