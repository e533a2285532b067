//! Waiting times between attempts: exponential, with full jitter.

use std::time::Duration;

use rand::RngExt;

/// Delays drawn evenly from zero to a ceiling that doubles with each attempt.
///
/// Full jitter after <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    ceiling: Duration,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, ceiling: first }
    }

    /// The next delay; never longer than `longest`, and never shorter than a tenth of the current ceiling, so that
    /// a row of failures cannot become a hot loop.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = ceiling.saturating_mul(2).min(self.longest);
        ceiling.mul_f64(rand::rng().random_range(0.1..=1.0))
    }

    /// Starts over after a success.
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
