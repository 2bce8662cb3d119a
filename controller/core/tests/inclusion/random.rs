//! A generator of random numbers that is the same everywhere: [SplitMix64](https://prng.di.unimi.it/splitmix64.c).

pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Returns true in this share of cases, in percent.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Returns one or two different values, rarely three.
    pub fn some<T: Copy + PartialEq>(&mut self, all: &[T]) -> Vec<T> {
        let count = [1, 1, 1, 2, 2, 3][self.below(6)];
        let mut picked = vec![];
        for _ in 0..count {
            let one = self.of(all);
            if !picked.contains(&one) {
                picked.push(one);
            }
        }
        picked
    }
}
