//! Waiting times between attempts: exponential, with jitter.

use std::time::Duration;

use rand::RngExt;

/// Delays drawn at random below a ceiling that doubles with each attempt.
///
/// Full jitter after <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Starts with a ceiling of `first`, which doubles up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, ceiling: first }
    }

    /// The next delay: at most `longest`, and at least a tenth of the current ceiling, so that a row of
    /// failures cannot become a hot loop.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = ceiling.saturating_mul(2).min(self.longest);
        ceiling.mul_f64(rand::rng().random_range(0.1..=1.0))
    }

    /// Starts over at the first ceiling; to be called after a success.
    pub fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn delays_grow_but_stay_within_the_longest(first in 1u64..1000, factor in 1u64..1000, attempts in 1usize..40) {
            let first = Duration::from_millis(first);
            let longest = first * u32::try_from(factor).unwrap();
            let mut backoff = Backoff::new(first, longest);
            for _ in 0..attempts {
                let delay = backoff.next_delay();
                prop_assert!(delay <= longest);
                prop_assert!(delay >= first / 11);
            }
            backoff.reset();
            prop_assert!(backoff.next_delay() <= first);
        }
    }
}
