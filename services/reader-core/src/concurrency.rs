//! How many calls of one kind are made at once: as many as what they bring is worth. Without I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::real;

/// A round of observation lasts at least so long, and for as many calls as may be made at once.
const ROUND: Duration = Duration::from_millis(50);

/// Demand must have been low for one to two of these before fewer calls are allowed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Calls are busy and full to this part of what they could be when their number is right. Within the band around it
/// the number stays: a change always leads into the band, so that it does not swing.
const RIGHT: f64 = 0.6;
const TOO_FEW: f64 = 0.75;
const TOO_MANY: f64 = 0.4;

/// What a call brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Haul {
    /// What it could have brought.
    pub(crate) room: usize,
    pub(crate) brought: usize,
    /// How much of that was waiting already when the call was made; the rest came while the call waited for it.
    pub(crate) waited: usize,
}

/// The number of calls at once, between a fewest and a most.
///
/// By Little's law `rate × latency / size` calls are under way on average when each brings `size`. This demand is what
/// is observed, as the calls under way times the part of their room that they fill, and the number allowed follows it.
/// It grows within a round, and only when what calls bring was waiting for them: more calls would bring nothing more
/// otherwise. It shrinks after [`PATIENCE`].
#[derive(Debug)]
pub(crate) struct Pace {
    fewest: usize,
    most: usize,
    allowed: usize,
    under_way: usize,
    /// Until when `round.busy` is counted.
    counted: Instant,
    round: Round,
    /// The greatest demand since `since`, and in the time of patience before.
    peak: f64,
    last_peak: f64,
    since: Instant,
}

#[derive(Debug)]
struct Round {
    began: Instant,
    /// Seconds that calls were under way, added up.
    busy: f64,
    calls: usize,
    haul: Haul,
}

impl Round {
    fn begin(now: Instant) -> Self {
        Self { began: now, busy: 0.0, calls: 0, haul: Haul::default() }
    }
}

impl Pace {
    /// Begins with `fewest`; at least one call is always allowed.
    pub(crate) fn between(fewest: usize, most: usize, now: Instant) -> Self {
        let most = most.max(1);
        let fewest = fewest.clamp(1, most);
        Self {
            fewest,
            most,
            allowed: fewest,
            under_way: 0,
            counted: now,
            round: Round::begin(now),
            peak: 0.0,
            last_peak: 0.0,
            since: now,
        }
    }

    /// How many calls may be under way now. When there are more, they are to be awaited, not cancelled.
    pub(crate) fn allowed(&self) -> usize {
        self.allowed
    }

    pub(crate) fn began(&mut self, now: Instant) {
        self.count(now);
        self.under_way += 1;
    }

    /// A call that began has ended.
    pub(crate) fn ended(&mut self, haul: Haul, now: Instant) {
        self.count(now);
        self.under_way = self.under_way.saturating_sub(1);
        self.round.calls += 1;
        self.round.haul.room += haul.room;
        self.round.haul.brought += haul.brought;
        self.round.haul.waited += haul.waited;
        if self.round.calls >= self.allowed && now.duration_since(self.round.began) >= ROUND {
            self.judge(now);
        }
    }

    /// Calls beyond the number allowed, which were made when it was greater, are no sign that they are needed.
    fn count(&mut self, now: Instant) {
        let calls = self.under_way.min(self.allowed);
        self.round.busy += real(calls) * now.duration_since(self.counted).as_secs_f64();
        self.counted = now;
    }

    fn judge(&mut self, now: Instant) {
        let Round { began, busy, haul, .. } = std::mem::replace(&mut self.round, Round::begin(now));
        let seconds = now.duration_since(began).as_secs_f64();
        let demand = busy / seconds * real(haul.brought) / real(haul.room.max(1));
        self.peak = self.peak.max(demand);
        if demand > TOO_FEW * real(self.allowed) && haul.waited * 2 > haul.brought {
            self.allowed = self.right(demand).max(self.allowed);
        }
        if now.duration_since(self.since) >= PATIENCE {
            let peak = self.peak.max(self.last_peak);
            if peak < TOO_MANY * real(self.allowed) {
                self.allowed = self.right(peak).min(self.allowed);
            }
            (self.last_peak, self.peak, self.since) = (self.peak, 0.0, now);
        }
    }

    /// The right number of calls for a demand.
    fn right(&self, demand: f64) -> usize {
        let enough = (self.fewest..self.most).find(|calls| demand <= RIGHT * real(*calls));
        enough.unwrap_or(self.most)
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

    /// A queue into which messages flow evenly, and calls of one latency that take up to ten of them, or wait.
    struct Flow {
        rate: f64,
        latency: f64,
        /// When the first message that nobody has taken was sent, in seconds.
        next: f64,
        start: Instant,
        now: f64,
        /// When calls under way end, and what they bring; in whole nanoseconds, for their order.
        ends: BinaryHeap<Reverse<(u64, usize, usize)>>,
        pace: Pace,
        calls: usize,
    }

    impl Flow {
        fn new(rate: f64, latency: f64, pace: Pace, start: Instant) -> Self {
            let ends = BinaryHeap::new();
            Self { rate, latency, next: 0.0, start, now: 0.0, ends, pace, calls: 0 }
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
            let (mut brought, mut waited) = (0, 0);
            if served <= patience {
                while brought < SIZE && self.next <= served {
                    waited += usize::from(self.next <= self.now);
                    brought += 1;
                    self.next += step;
                }
            }
            let end = served.min(patience) + self.latency / 2.0;
            let nanos = u64::try_from(Duration::from_secs_f64(end).as_nanos()).unwrap();
            self.ends.push(Reverse((nanos, brought, waited)));
            self.pace.began(self.at(self.now));
            self.calls += 1;
        }

        /// Runs for so many seconds and gives the numbers that were allowed meanwhile.
        fn run(&mut self, seconds: f64) -> Vec<usize> {
            let until = self.now + seconds;
            let mut allowed = Vec::new();
            loop {
                while self.ends.len() < self.pace.allowed() {
                    self.call();
                }
                let Some(Reverse((end, brought, waited))) = self.ends.peek().copied() else { break };
                if Duration::from_nanos(end).as_secs_f64() > until {
                    break;
                }
                self.ends.pop();
                self.now = Duration::from_nanos(end).as_secs_f64();
                self.pace.ended(Haul { room: SIZE, brought, waited }, self.at(self.now));
                allowed.push(self.pace.allowed());
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

    fn flow(rate: f64, latency_ms: f64, most: usize) -> Flow {
        let start = Instant::now();
        Flow::new(rate, latency_ms / 1000.0, Pace::between(1, most, start), start)
    }

    #[test]
    fn the_number_is_near_what_littles_law_says_for_1_20_and_100_ms() {
        for (latency, little) in [(1.0, 1), (20.0, 20), (100.0, 100)] {
            let mut flow = flow(10_000.0, latency, 1000);
            flow.run(20.0);
            let allowed = flow.pace.allowed();
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
        assert_eq!((flow.pace.allowed(), flow.calls), (1, 10));
        (flow.rate, flow.next) = (10_000.0, flow.now);
        flow.run(LONG_POLL + 2.0);
        assert!(flow.pace.allowed() >= 20);
    }

    #[test]
    fn calls_that_fail_are_no_reason_for_more() {
        let start = Instant::now();
        let mut pace = Pace::between(2, 64, start);
        for round in 1..100 {
            pace.began(start + ROUND * round);
            pace.ended(Haul { room: 10, ..Haul::default() }, start + ROUND * (round + 1));
            assert_eq!(pace.allowed(), 2);
        }
    }

    #[test]
    fn calls_that_have_to_wait_for_what_they_bring_are_no_reason_for_more() {
        let start = Instant::now();
        let mut pace = Pace::between(1, 64, start);
        for round in 1..100 {
            pace.began(start + ROUND * round);
            pace.ended(Haul { room: 10, brought: 10, waited: 3 }, start + ROUND * (round + 1));
            assert_eq!(pace.allowed(), 1);
        }
    }

    proptest! {
        #[test]
        fn whatever_calls_bring_the_number_stays_within_its_bounds(
            fewest in 0usize..20,
            most in 0usize..200,
            calls in prop::collection::vec((0u64..3000, any::<bool>(), 0usize..=12, 0usize..=12, 0usize..=12), 0..300),
        ) {
            let mut now = Instant::now();
            let mut pace = Pace::between(fewest, most, now);
            let (low, high) = (fewest.clamp(1, most.max(1)), most.max(1));
            for (pause, begins, room, brought, waited) in calls {
                now += Duration::from_millis(pause);
                if begins { pace.began(now) } else { pace.ended(Haul { room, brought, waited }, now) }
                prop_assert!((low..=high).contains(&pace.allowed()));
            }
        }

        #[test]
        fn an_even_flow_is_kept_up_with_and_the_number_comes_to_rest(
            rate in 1.0f64..5000.0,
            latency_ms in 1.0f64..120.0,
        ) {
            let mut flow = flow(rate, latency_ms, 1000);
            flow.run(15.0);
            let allowed = flow.run(15.0);
            let (least, greatest) = (allowed.iter().min(), allowed.iter().max());
            prop_assert_eq!(least, greatest, "{} calls by Little's law", flow.little());
            let little = flow.little();
            prop_assert!(real(flow.pace.allowed()) >= little.floor());
            prop_assert!(real(flow.pace.allowed()) <= 3.0 * little + 2.0);
        }
    }
}
