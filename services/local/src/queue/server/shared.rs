//! The state behind all calls, and who waits for a change of it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::clock::Clock;
use crate::queue::state::{Account, Code, Delivery, Millis, SqsError};

/// One account, shared by all calls.
pub(in crate::queue) struct Shared {
    state: Mutex<State>,
    clock: Clock,
    /// Something is due earlier than [`Self::keep_time`] knows.
    earlier: Notify,
}

struct State {
    account: Account,
    /// Where long polls wait, by queue.
    arrivals: HashMap<String, Arc<Notify>>,
    /// When [`Shared::keep_time`] looks next.
    next_look: Millis,
}

/// What a receive asks for.
pub(super) struct Receive<'a> {
    pub(super) queue: &'a str,
    pub(super) most: usize,
    /// In milliseconds, as is `wait`. Without it, the queue's own.
    pub(super) visibility: Option<Millis>,
    pub(super) wait: Option<Millis>,
}

impl Shared {
    pub(in crate::queue) fn new() -> Self {
        let state = State { account: Account::default(), arrivals: HashMap::new(), next_look: Millis::MAX };
        Self { state: Mutex::new(state), clock: Clock::new(), earlier: Notify::new() }
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&Account) -> T) -> T {
        work(&self.state.lock().account)
    }

    /// Changes the account, and wakes those who wait for what has come of it.
    pub(in crate::queue) fn change<T>(&self, work: impl FnOnce(&mut Account, Millis) -> T) -> T {
        let mut state = self.state.lock();
        let now = self.clock.now();
        let result = work(&mut state.account, now);
        state.wake();
        if state.account.next_due(now).is_some_and(|due| due < state.next_look) {
            self.earlier.notify_one();
        }
        result
    }

    /// Does what is due when it is due, until dropped.
    pub(in crate::queue) async fn keep_time(&self) {
        loop {
            let next_look = {
                let mut state = self.state.lock();
                let now = self.clock.now();
                state.account.advance(now);
                state.wake();
                state.next_look = state.account.next_due(now).unwrap_or(Millis::MAX);
                state.next_look
            };
            if next_look == Millis::MAX {
                self.earlier.notified().await;
            } else {
                // An earlier look is one too many, no more.
                timeout_at(self.clock.instant(next_look), self.earlier.notified()).await.ok();
            }
        }
    }

    /// Receives what is there, or waits for the first messages. As at SQS, a long poll of a queue with too
    /// many messages in flight gets nothing, and a short poll gets an error.
    pub(super) async fn receive(&self, wanted: &Receive<'_>) -> Result<Vec<Delivery>, SqsError> {
        let wait = match wanted.wait {
            Some(wait) => wait,
            None => self.change(|account, _| account.wait_millis(wanted.queue))?,
        };
        let until = self.clock.instant(self.clock.now() + wait);
        loop {
            let arrivals = self.arrivals(wanted.queue);
            let mut arrival = std::pin::pin!(arrivals.notified());
            arrival.as_mut().enable();
            let received = self
                .change(|account, now| account.receive(now, wanted.queue, wanted.most, wanted.visibility));
            let may_wait = match &received {
                Ok(deliveries) => deliveries.is_empty(),
                Err(error) => error.code == Code::OverLimit,
            };
            if wait == 0 || !may_wait {
                return received;
            }
            if timeout_at(until, arrival).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    fn arrivals(&self, queue: &str) -> Arc<Notify> {
        let mut state = self.state.lock();
        if let Some(known) = state.arrivals.get(queue) {
            return Arc::clone(known);
        }
        let arrivals = Arc::new(Notify::new());
        if state.account.exists(queue) {
            state.arrivals.insert(queue.to_owned(), Arc::clone(&arrivals));
        }
        arrivals
    }
}

impl State {
    /// Wakes one long poll of each queue that can deliver, which wakes the next one in turn, and all of a
    /// queue that is gone.
    fn wake(&mut self) {
        let account = &self.account;
        self.arrivals.retain(|queue, arrivals| {
            if account.can_deliver(queue) {
                arrivals.notify_one();
            } else if !account.exists(queue) {
                arrivals.notify_waiters();
                return false;
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test's runtime ends its tasks")]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::queue::state::Content;

    fn server() -> Arc<Shared> {
        let shared = Arc::new(Shared::new());
        shared.change(|account, now| account.create(now, "q", &BTreeMap::new())).unwrap();
        let timed = Arc::clone(&shared);
        tokio::spawn(async move { timed.keep_time().await });
        shared
    }

    fn send(shared: &Shared, delay: Millis) {
        let content = Content::new("body", Vec::new(), None);
        shared.change(|account, now| account.send(now, "q", content, Some(delay))).unwrap();
    }

    async fn receive(shared: &Shared, wait: Millis, visibility: Millis) -> Result<usize, SqsError> {
        let wanted = Receive { queue: "q", most: 1, visibility: Some(visibility), wait: Some(wait) };
        shared.receive(&wanted).await.map(|deliveries| deliveries.len())
    }

    fn poll(shared: &Arc<Shared>) -> tokio::task::JoinHandle<Duration> {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let began = Instant::now();
            assert_eq!(receive(&shared, 20_000, 30_000).await.unwrap(), 1);
            began.elapsed()
        })
    }

    /// Rounding to whole milliseconds, here and in tokio's timer.
    const ROUNDING: Duration = Duration::from_millis(3);

    #[tokio::test(start_paused = true)]
    async fn a_long_poll_ends_as_soon_as_a_message_is_sent_shown_or_no_longer_delayed() {
        let shared = server();
        let poll_one = poll(&shared);
        sleep(Duration::from_secs(5)).await;
        send(&shared, 0);
        assert!(poll_one.await.unwrap() <= Duration::from_secs(5) + ROUNDING);

        // The message of the first poll becomes visible 30 s after it was received.
        let poll_two = poll(&shared);
        send(&shared, 4_000);
        assert!(poll_two.await.unwrap() <= Duration::from_secs(4) + ROUNDING);
        sleep(Duration::from_secs(15)).await;
        assert!(poll(&shared).await.unwrap() <= Duration::from_secs(11) + ROUNDING);
    }

    #[tokio::test(start_paused = true)]
    async fn one_batch_wakes_as_many_polls_as_it_has_messages() {
        let shared = server();
        let polls: Vec<_> = (0..10).map(|_| poll(&shared)).collect();
        sleep(Duration::from_secs(1)).await;
        for _ in 0..10 {
            send(&shared, 0);
        }
        for poll in polls {
            assert!(poll.await.unwrap() <= Duration::from_secs(1) + ROUNDING);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_whose_caller_has_gone_takes_no_message_from_the_others() {
        let shared = server();
        let (gone, stays) = (poll(&shared), poll(&shared));
        sleep(Duration::from_secs(1)).await;
        send(&shared, 0);
        gone.abort();
        assert!(stays.await.unwrap() <= Duration::from_secs(1) + ROUNDING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_without_a_message_ends_when_its_time_is_over() {
        let shared = server();
        let began = Instant::now();
        assert_eq!(receive(&shared, 20_000, 0).await.unwrap(), 0);
        assert!((Duration::from_secs(20)..Duration::from_secs(21)).contains(&began.elapsed()));
        assert_eq!(receive(&shared, 0, 0).await.unwrap(), 0);
        assert!(began.elapsed() < Duration::from_secs(21));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_of_a_queue_that_is_deleted_ends_with_an_error() {
        let shared = server();
        let polling = {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move { receive(&shared, 20_000, 0).await })
        };
        sleep(Duration::from_secs(1)).await;
        shared.change(|account, now| account.delete_queue(now, "q")).unwrap();
        assert_eq!(polling.await.unwrap().unwrap_err().code, Code::QueueDoesNotExist);
    }

    #[tokio::test(start_paused = true)]
    async fn with_too_many_in_flight_a_short_poll_fails_and_a_long_poll_gets_nothing() {
        let shared = server();
        for _ in 0..120_001 {
            send(&shared, 0);
        }
        let received = shared.change(|account, now| account.receive(now, "q", 120_001, Some(60_000)));
        assert_eq!(received.unwrap().len(), 120_000);
        assert_eq!(receive(&shared, 0, 0).await.unwrap_err().code, Code::OverLimit);
        assert_eq!(receive(&shared, 5_000, 0).await.unwrap(), 0);
    }
}
