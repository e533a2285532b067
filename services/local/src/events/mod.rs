//! Synthetic login events: the same seed gives the same bodies, and each event has its expected outcome.

mod login;
mod shape;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use login::Login;
pub use shape::{ExpectedOutcome, Shape};

/// The seed whose first hundred events the demo sends.
pub const DEFAULT_SEED: u64 = 1;

/// The default number of odd events in a million: every fifth, so that a hundred events have every shape.
pub const DEFAULT_ODD_PER_MILLION: u64 = 200_000;

const MILLION: u64 = 1_000_000;

/// One synthetic event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleEvent {
    pub shape: Shape,
    pub body: String,
    /// The outcome under the default policy and the default table.
    pub expected_outcome: ExpectedOutcome,
}

/// A reproducible sequence of events. Each event depends on the seed, the share of odd events and its number
/// only.
#[derive(Clone, Copy, Debug)]
pub struct SampleEvents {
    seed: u64,
    odd_per_million: u64,
}

impl SampleEvents {
    /// A share above a million is a million: every event is odd.
    pub fn new(seed: u64, odd_per_million: u64) -> Self {
        Self { seed, odd_per_million: odd_per_million.min(MILLION) }
    }

    pub fn event(&self, number: u64) -> SampleEvent {
        let shape = self.shape(number);
        SampleEvent {
            shape,
            body: shape.body(&self.login(number)),
            expected_outcome: shape.expected_outcome(),
        }
    }

    /// The event's shape alone, which costs less than the event.
    pub fn shape(&self, number: u64) -> Shape {
        self.odd_before(number).map_or(Shape::Normal, Shape::nth_odd)
    }

    /// Every eighth event has the address and device of an earlier one, so that equal digests appear.
    fn login(&self, number: u64) -> Login {
        let mut login = Login::random(&mut self.random(0, number));
        if number % 8 == 5 {
            login.take_device_of(&Login::random(&mut self.random(0, number - 4)));
        }
        login
    }

    /// How many odd events precede this one, if it is odd itself.
    ///
    /// The sequence is cut into windows that hold one odd event each, at a random place: the share is exact
    /// over any length and nothing has to be remembered.
    fn odd_before(&self, number: u64) -> Option<u64> {
        let window = mul_div(number, self.odd_per_million, MILLION);
        let start = self.window_start(window)?;
        let length = self.window_start(window + 1)? - start;
        let odd = start + self.random(1, window).random_range(0..length.max(1));
        (odd == number).then_some(window)
    }

    /// The first number whose window this is; none when there are no odd events at all.
    fn window_start(&self, window: u64) -> Option<u64> {
        (window * MILLION)
            .checked_add(self.odd_per_million.checked_sub(1)?)?
            .checked_div(self.odd_per_million)
    }

    fn random(&self, stream: u64, number: u64) -> Xoshiro256PlusPlus {
        let mixed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ (stream << 63);
        Xoshiro256PlusPlus::seed_from_u64(mixed.wrapping_add(number))
    }
}

fn mul_div(number: u64, factor: u64, divisor: u64) -> u64 {
    u64::try_from(u128::from(number) * u128::from(factor) / u128::from(divisor)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn bodies(events: SampleEvents, count: u64) -> Vec<String> {
        (0..count).map(|number| events.event(number).body).collect()
    }

    fn odd_among(events: SampleEvents, count: u64) -> usize {
        (0..count).filter(|&number| events.shape(number) != Shape::Normal).count()
    }

    #[test]
    fn the_same_seed_gives_the_same_bodies_and_another_seed_others() {
        let default = SampleEvents::new(DEFAULT_SEED, DEFAULT_ODD_PER_MILLION);
        assert_eq!(bodies(default, 500), bodies(default, 500));
        assert_ne!(bodies(default, 500), bodies(SampleEvents::new(2, DEFAULT_ODD_PER_MILLION), 500));
    }

    #[test]
    fn the_first_event_of_the_default_seed_is_pinned() {
        let event = SampleEvents::new(DEFAULT_SEED, DEFAULT_ODD_PER_MILLION).event(0);
        let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
        assert_eq!(body["user_id"], "de94ecb4-10bc-4466-aa11-61690fd154bf");
    }

    #[test]
    fn a_hundred_events_of_any_seed_have_every_shape_and_are_mostly_normal() {
        for seed in 0..20 {
            let events = SampleEvents::new(seed, DEFAULT_ODD_PER_MILLION);
            let shapes: HashSet<Shape> = (0..100).map(|number| events.shape(number)).collect();
            assert!(Shape::ODD.iter().all(|shape| shapes.contains(shape)), "seed {seed} lacks a shape");
            assert_eq!(odd_among(events, 100), 20, "seed {seed}");
        }
    }

    #[test]
    fn the_share_of_odd_events_is_exact() {
        for (odd_per_million, expected) in
            [(0, 0), (1_000, 10), (333_333, 3_333), (500_000, 5_000), (MILLION, 10_000)]
        {
            let found = odd_among(SampleEvents::new(7, odd_per_million), 10_000);
            assert!(found.abs_diff(expected) <= 1, "{odd_per_million} gave {found}");
        }
    }

    #[test]
    fn some_events_share_address_and_device() {
        let events = SampleEvents::new(DEFAULT_SEED, 0);
        let pairs: HashSet<(String, String)> = (0..100)
            .map(|number| serde_json::from_str::<serde_json::Value>(&events.event(number).body).unwrap())
            .map(|body| (body["ip"].to_string(), body["device_id"].to_string()))
            .collect();
        assert_eq!(pairs.len(), 88);
    }
}
