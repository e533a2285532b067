//! How many calls of one kind are made at once: as many as their yield is worth. Pure arithmetic, no I/O.

use std::time::Duration;

use tokio::time::Instant;
use veilpost_runtime::numbers::to_f64;

/// A round of observation lasts at least this long, and for at least as many calls as may be under way at
/// once.
const ROUND: Duration = Duration::from_millis(50);

/// Demand must have been low for one to two of these before fewer calls are allowed.
const PATIENCE: Duration = Duration::from_secs(1);

/// The right utilisation: calls under way, times the part of their room that they fill, divided by the calls
/// allowed. Between the two bounds the number of calls stays. A change always leads between them, so that the
/// number does not swing.
const RIGHT: f64 = 0.6;
const TOO_FEW_CALLS: f64 = 0.75;
const TOO_MANY_CALLS: f64 = 0.4;

/// What one call carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallYield {
    /// How many items the call had room for.
    pub room: usize,
    /// How many items it carried.
    pub items: usize,
    /// How many of those were waiting already when the call was made; the others came while it waited for
    /// them.
    pub were_waiting: usize,
}

/// The number of calls that may be under way at once, between a minimum and a maximum.
///
/// By Little's law, `rate × latency / size` calls are under way on average when each carries `size` items.
/// This demand is observed, as the calls under way times the part of their room that they fill, and the
/// number allowed follows it. The number grows within 50 ms, and only when items were waiting for the calls:
/// otherwise more calls would carry nothing more. It shrinks after one to two seconds of low demand.
#[derive(Debug)]
pub struct AdaptiveConcurrency {
    min: usize,
    max: usize,
    allowed: usize,
    under_way: usize,
    /// Until when `round.busy` is counted.
    counted: Instant,
    round: Round,
    /// The greatest demand since `since`, and in the time of patience before that.
    peak: f64,
    last_peak: f64,
    since: Instant,
}

#[derive(Debug)]
struct Round {
    began: Instant,
    /// Seconds that calls were under way, added up over the calls.
    busy: f64,
    calls: usize,
    carried: CallYield,
}

impl Round {
    fn begin(now: Instant) -> Self {
        Self { began: now, busy: 0.0, calls: 0, carried: CallYield::default() }
    }
}

impl AdaptiveConcurrency {
    /// Starts at `min`. At least one call is always allowed, and never more than `max`.
    pub fn between(min: usize, max: usize, now: Instant) -> Self {
        let max = max.max(1);
        let min = min.clamp(1, max);
        Self {
            min,
            max,
            allowed: min,
            under_way: 0,
            counted: now,
            round: Round::begin(now),
            peak: 0.0,
            last_peak: 0.0,
            since: now,
        }
    }

    /// How many calls may be under way now. When more are, await them and do not cancel them.
    pub fn allowed(&self) -> usize {
        self.allowed
    }

    /// A call has begun. `now` must not be earlier than in the call before, here and in [`Self::ended`].
    pub fn began(&mut self, now: Instant) {
        self.count(now);
        self.under_way += 1;
    }

    /// A call that began has ended, well or not.
    pub fn ended(&mut self, carried: CallYield, now: Instant) {
        self.count(now);
        self.under_way = self.under_way.saturating_sub(1);
        self.round.calls += 1;
        self.round.carried.room += carried.room;
        self.round.carried.items += carried.items;
        self.round.carried.were_waiting += carried.were_waiting;
        if self.round.calls >= self.allowed && now.duration_since(self.round.began) >= ROUND {
            self.adapt(now);
        }
    }

    /// Counts the time that calls were under way. Calls beyond the number allowed do not count: they were
    /// made when it was greater, and do not show that it is too small now.
    fn count(&mut self, now: Instant) {
        let calls = self.under_way.min(self.allowed);
        self.round.busy += to_f64(calls) * now.duration_since(self.counted).as_secs_f64();
        self.counted = now;
    }

    fn adapt(&mut self, now: Instant) {
        let Round { began, busy, carried, .. } = std::mem::replace(&mut self.round, Round::begin(now));
        let seconds = now.duration_since(began).as_secs_f64();
        let demand = busy / seconds * to_f64(carried.items) / to_f64(carried.room.max(1));
        self.peak = self.peak.max(demand);
        if demand > TOO_FEW_CALLS * to_f64(self.allowed) && carried.were_waiting * 2 > carried.items {
            self.allowed = self.right(demand).max(self.allowed);
        }
        if now.duration_since(self.since) >= PATIENCE {
            let peak = self.peak.max(self.last_peak);
            if peak < TOO_MANY_CALLS * to_f64(self.allowed) {
                self.allowed = self.right(peak).min(self.allowed);
            }
            (self.last_peak, self.peak, self.since) = (self.peak, 0.0, now);
        }
    }

    /// The right number of calls for a demand.
    fn right(&self, demand: f64) -> usize {
        let enough = (self.min..self.max).find(|calls| demand <= RIGHT * to_f64(*calls));
        enough.unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;
    use proptest::prelude::*;

    const SIZE: usize = 10;
    const LONG_POLL: f64 = 10.0;

    /// A queue into which messages flow evenly, and calls of one latency that take up to ten of them, or
    /// wait.
    struct Flow {
        rate: f64,
        latency: f64,
        /// When the first message that nobody has taken was sent, in seconds.
        next: f64,
        start: Instant,
        now: f64,
        /// When calls under way end, and what they carry; in whole nanoseconds, for their order.
        ends: BinaryHeap<Reverse<(u64, usize, usize)>>,
        concurrency: AdaptiveConcurrency,
        calls: usize,
    }

    impl Flow {
        fn new(rate: f64, latency: f64, concurrency: AdaptiveConcurrency, start: Instant) -> Self {
            let ends = BinaryHeap::new();
            Self { rate, latency, next: 0.0, start, now: 0.0, ends, concurrency, calls: 0 }
        }

        fn at(&self, seconds: f64) -> Instant {
            self.start + Duration::from_secs_f64(seconds)
        }

        /// Half a latency after it is made a call is at the queue.
        fn call(&mut self) {
            let there = self.now + self.latency / 2.0;
            let patience = there + LONG_POLL;
            let step = if self.rate > 0.0 { 1.0 / self.rate } else { f64::INFINITY };
            let served = there.max(self.next);
            let (mut items, mut were_waiting) = (0, 0);
            if served <= patience {
                while items < SIZE && self.next <= served {
                    were_waiting += usize::from(self.next <= self.now);
                    items += 1;
                    self.next += step;
                }
            }
            let end = served.min(patience) + self.latency / 2.0;
            let nanos = u64::try_from(Duration::from_secs_f64(end).as_nanos()).unwrap();
            self.ends.push(Reverse((nanos, items, were_waiting)));
            self.concurrency.began(self.at(self.now));
            self.calls += 1;
        }

        /// Runs for this many seconds and returns the numbers that were allowed meanwhile.
        fn run(&mut self, seconds: f64) -> Vec<usize> {
            let until = self.now + seconds;
            let mut allowed = Vec::new();
            loop {
                while self.ends.len() < self.concurrency.allowed() {
                    self.call();
                }
                let Some(Reverse((end, items, were_waiting))) = self.ends.peek().copied() else { break };
                if Duration::from_nanos(end).as_secs_f64() > until {
                    break;
                }
                self.ends.pop();
                self.now = Duration::from_nanos(end).as_secs_f64();
                self.concurrency.ended(CallYield { room: SIZE, items, were_waiting }, self.at(self.now));
                allowed.push(self.concurrency.allowed());
            }
            self.now = until;
            allowed
        }

        fn backlog(&self) -> f64 {
            (self.now - self.next).max(0.0) * self.rate
        }

        /// Calls under way by Little's law when each is full.
        fn little(&self) -> f64 {
            self.rate * self.latency / 10.0
        }
    }

    fn flow(rate: f64, latency_ms: f64, max: usize) -> Flow {
        let start = Instant::now();
        Flow::new(rate, latency_ms / 1000.0, AdaptiveConcurrency::between(1, max, start), start)
    }

    #[test]
    fn the_number_is_near_what_littles_law_says_for_1_20_and_100_ms() {
        for (latency, little) in [(1.0, 1), (20.0, 20), (100.0, 100)] {
            let mut flow = flow(10_000.0, latency, 1000);
            flow.run(20.0);
            let allowed = flow.concurrency.allowed();
            assert!((little..=little * 5 / 2 + 1).contains(&allowed), "{allowed} calls for {latency} ms");
            assert!(flow.backlog() < 10_000.0 * 0.2, "{} are waiting", flow.backlog());
        }
    }

    #[test]
    fn an_empty_queue_is_left_to_one_long_poll_and_a_full_one_soon_has_many() {
        let mut flow = flow(10_000.0, 20.0, 64);
        flow.run(10.0);
        flow.rate = 0.0;
        flow.next = f64::INFINITY;
        flow.run(60.0);
        flow.calls = 0;
        flow.run(100.0);
        assert_eq!((flow.concurrency.allowed(), flow.calls), (1, 10));
        (flow.rate, flow.next) = (10_000.0, flow.now);
        flow.run(LONG_POLL + 2.0);
        assert!(flow.concurrency.allowed() >= 20);
    }

    #[test]
    fn calls_that_fail_are_no_reason_for_more() {
        let start = Instant::now();
        let mut concurrency = AdaptiveConcurrency::between(2, 64, start);
        for round in 1..100 {
            concurrency.began(start + ROUND * round);
            concurrency.ended(CallYield { room: 10, ..CallYield::default() }, start + ROUND * (round + 1));
            assert_eq!(concurrency.allowed(), 2);
        }
    }

    #[test]
    fn calls_that_wait_for_their_items_are_no_reason_for_more() {
        let start = Instant::now();
        let mut concurrency = AdaptiveConcurrency::between(1, 64, start);
        for round in 1..100 {
            concurrency.began(start + ROUND * round);
            concurrency
                .ended(CallYield { room: 10, items: 10, were_waiting: 3 }, start + ROUND * (round + 1));
            assert_eq!(concurrency.allowed(), 1);
        }
    }

    proptest! {
        #[test]
        fn whatever_calls_carry_the_number_stays_within_its_bounds(
            min in 0usize..20,
            max in 0usize..200,
            calls in prop::collection::vec((0u64..3000, any::<bool>(), 0usize..=12, 0usize..=12, 0usize..=12), 0..300),
        ) {
            let mut now = Instant::now();
            let mut concurrency = AdaptiveConcurrency::between(min, max, now);
            let (low, high) = (min.clamp(1, max.max(1)), max.max(1));
            for (pause, begins, room, items, were_waiting) in calls {
                now += Duration::from_millis(pause);
                if begins { concurrency.began(now) } else { concurrency.ended(CallYield { room, items, were_waiting }, now) }
                prop_assert!((low..=high).contains(&concurrency.allowed()));
            }
        }

        #[test]
        fn an_even_flow_is_kept_up_with_and_the_number_comes_to_rest_or_swings_by_one(
            rate in 1.0f64..5000.0,
            latency_ms in 1.0f64..120.0,
        ) {
            let mut flow = flow(rate, latency_ms, 1000);
            flow.run(15.0);
            let allowed = flow.run(15.0);
            let (least, greatest) = (allowed.iter().min(), allowed.iter().max());
            let swing = greatest.zip(least).map_or(0, |(greatest, least)| greatest - least);
            prop_assert!(swing <= 1, "{least:?} to {greatest:?} calls, {} by Little's law", flow.little());
            let little = flow.little();
            prop_assert!(to_f64(flow.concurrency.allowed()) >= little.floor());
            prop_assert!(to_f64(flow.concurrency.allowed()) <= 3.0 * little + 2.0);
        }
    }
}
