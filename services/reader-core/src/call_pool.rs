//! Makes batched calls side by side, without ever waiting for a batch to fill.

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use metrics::Gauge;
use tokio::sync::mpsc;
use tokio::time::Instant;
use veilpost_runtime::{Lifecycle, numbers};

use crate::concurrency::{AdaptiveConcurrency, CallYield};

/// Calls of one kind that carry several items each.
#[derive(Debug)]
pub struct CallPool<'a> {
    /// How many calls are under way at once.
    pub concurrency: AdaptiveConcurrency,
    /// Shows how many calls may be under way.
    pub allowed: Gauge,
    /// How many items one call has room for.
    pub call_items: usize,
    /// Its abort ends the retries.
    pub lifecycle: &'a Lifecycle,
}

impl<'a> CallPool<'a> {
    /// A pool with always the same number of calls under way, which no metric shows.
    #[must_use]
    pub fn fixed(calls: usize, call_items: usize, lifecycle: &'a Lifecycle) -> Self {
        let concurrency = AdaptiveConcurrency::between(calls, calls, Instant::now());
        Self { concurrency, allowed: Gauge::noop(), call_items, lifecycle }
    }

    /// Calls `attempt` with batches of what arrives, until `arriving` is closed and everything is done.
    ///
    /// When another call is allowed, `take` cuts its batch from the front of what waits: at least one item.
    /// The items that an attempt returns are queued again, behind the others. Once the service aborts,
    /// attempts under way are awaited and what waits is dropped. Dropping the future drops the attempts under
    /// way.
    pub async fn run<T, F>(
        mut self,
        mut arriving: mpsc::Receiver<Vec<T>>,
        mut take: impl FnMut(&mut VecDeque<T>) -> Vec<T>,
        attempt: impl Fn(Vec<T>) -> F,
    ) where
        F: Future<Output = Vec<T>>,
    {
        let mut waiting = VecDeque::new();
        let mut calls = FuturesUnordered::new();
        let mut open = true;
        loop {
            if self.lifecycle.is_aborting() {
                waiting.clear();
            }
            while calls.len() < self.concurrency.allowed() && !waiting.is_empty() {
                let batch = take(&mut waiting);
                let items = batch.len();
                self.concurrency.began(Instant::now());
                let call = attempt(batch);
                calls.push(async move { (items, call.await) });
            }
            self.allowed.set(numbers::to_f64(self.concurrency.allowed()));
            tokio::select! {
                Some((items, again)) = calls.next(), if !calls.is_empty() => {
                    let items = items.saturating_sub(again.len());
                    self.ended(items, waiting.is_empty());
                    waiting.extend(again);
                }
                more = arriving.recv(), if open => match more {
                    Some(more) => waiting.extend(more),
                    None => open = false,
                },
                else => return,
            }
        }
    }

    /// Items that wait for a call could have been in another one.
    fn ended(&mut self, items: usize, none_wait: bool) {
        let were_waiting = if none_wait { 0 } else { items };
        self.concurrency.ended(CallYield { room: self.call_items, items, were_waiting }, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    fn pool(min: usize, max: usize, lifecycle: &Lifecycle) -> CallPool<'_> {
        let concurrency = AdaptiveConcurrency::between(min, max, Instant::now());
        CallPool { concurrency, allowed: Gauge::noop(), call_items: 10, lifecycle }
    }

    fn up_to_three(waiting: &mut VecDeque<u32>) -> Vec<u32> {
        waiting.drain(..waiting.len().min(3)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_takes_what_is_there_and_what_arrives_meanwhile_gathers() {
        let (sender, receiver) = mpsc::channel(10);
        let batches = RefCell::new(Vec::new());
        let attempt = |batch: Vec<u32>| {
            batches.borrow_mut().push(batch);
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Vec::new()
            }
        };
        let produce = async {
            sender.send(vec![1]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            sender.send(vec![2, 3]).await.unwrap();
            sender.send(vec![4, 5]).await.unwrap();
            drop(sender);
        };
        let lifecycle = Lifecycle::for_tests();
        tokio::join!(pool(1, 1, &lifecycle).run(receiver, up_to_three, attempt), produce);
        assert_eq!(batches.into_inner(), [vec![1], vec![2, 3, 4], vec![5]]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_attempt_gives_back_is_tried_again() {
        let (sender, receiver) = mpsc::channel(10);
        sender.send(vec![1, 2, 3, 4]).await.unwrap();
        drop(sender);
        let tried = RefCell::new(Vec::new());
        let attempt = |batch: Vec<u32>| {
            let first = !tried.borrow().contains(&4);
            tried.borrow_mut().extend(&batch);
            async move { if first { batch.into_iter().filter(|n| *n == 4).collect() } else { Vec::new() } }
        };
        pool(2, 2, &Lifecycle::for_tests()).run(receiver, up_to_three, attempt).await;
        assert_eq!(tried.into_inner().iter().filter(|n| **n == 4).count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn items_that_wait_for_calls_get_more_of_them() {
        let (sender, receiver) = mpsc::channel(10);
        sender.send(vec![1; 10_000]).await.unwrap();
        drop(sender);
        let (under_way, most) = (Cell::new(0), Cell::new(0));
        let attempt = |_: Vec<u32>| async {
            under_way.set(under_way.get() + 1);
            most.set(most.get().max(under_way.get()));
            tokio::time::sleep(Duration::from_millis(20)).await;
            under_way.set(under_way.get() - 1);
            Vec::new()
        };
        let ten = |waiting: &mut VecDeque<u32>| waiting.drain(..waiting.len().min(10)).collect();
        pool(1, 16, &Lifecycle::for_tests()).run(receiver, ten, attempt).await;
        assert_eq!(most.get(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_ends_endless_retries() {
        let (sender, receiver) = mpsc::channel(10);
        sender.send(vec![1]).await.unwrap();
        drop(sender);
        let lifecycle = Lifecycle::for_tests();
        let attempt = |batch: Vec<u32>| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            batch
        };
        let abort = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            lifecycle.start_abort();
        };
        tokio::join!(pool(1, 1, &lifecycle).run(receiver, up_to_three, attempt), abort);
    }
}
