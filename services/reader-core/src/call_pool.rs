//! Runs batched calls side by side, without ever waiting for a batch to fill.

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use metrics::Gauge;
use tokio::sync::mpsc;
use tokio::time::Instant;
use veilpost_runtime::Lifecycle;

use crate::concurrency::{Haul, Pace};
use crate::metrics::real;
use crate::queue::MAX_ENTRIES;

/// Calls `attempt` with batches of what arrives, as many at once as `pace` allows, until `arriving` is closed and all is
/// done; `allowed` shows how many that are.
///
/// When a slot is free it takes what `take` cuts from the front of the queue, which is at least one item. What an
/// attempt gives back is queued again. Once the service aborts, attempts under way are awaited and the rest is
/// dropped.
pub(crate) async fn run<T, F>(
    mut pace: Pace,
    allowed: Gauge,
    mut arriving: mpsc::Receiver<Vec<T>>,
    mut take: impl FnMut(&mut VecDeque<T>) -> Vec<T>,
    attempt: impl Fn(Vec<T>) -> F,
    lifecycle: &Lifecycle,
) where
    F: Future<Output = Vec<T>>,
{
    let mut waiting = VecDeque::new();
    let mut calls = FuturesUnordered::new();
    let mut open = true;
    loop {
        if lifecycle.is_aborting() {
            waiting.clear();
        }
        while calls.len() < pace.allowed() && !waiting.is_empty() {
            let batch = take(&mut waiting);
            let items = batch.len();
            pace.began(Instant::now());
            let call = attempt(batch);
            calls.push(async move { (items, call.await) });
        }
        allowed.set(real(pace.allowed()));
        tokio::select! {
            Some((items, again)) = calls.next(), if !calls.is_empty() => {
                let brought = items.saturating_sub(again.len());
                // What waits for a free slot could be in more calls.
                let waited = if waiting.is_empty() { 0 } else { brought };
                pace.ended(Haul { room: MAX_ENTRIES, brought, waited }, Instant::now());
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    fn slots(slots: usize) -> Pace {
        Pace::between(slots, slots, Instant::now())
    }

    fn up_to_three(waiting: &mut VecDeque<u32>) -> Vec<u32> {
        waiting.drain(..waiting.len().min(3)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_free_slot_takes_what_is_there_and_what_arrives_meanwhile_gathers() {
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
        tokio::join!(run(slots(1), Gauge::noop(), receiver, up_to_three, attempt, &lifecycle), produce);
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
        run(slots(2), Gauge::noop(), receiver, up_to_three, attempt, &Lifecycle::for_tests()).await;
        assert_eq!(tried.into_inner().iter().filter(|n| **n == 4).count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_slots_gets_more_of_them() {
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
        let pace = Pace::between(1, 16, Instant::now());
        run(pace, Gauge::noop(), receiver, ten, attempt, &Lifecycle::for_tests()).await;
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
        tokio::join!(run(slots(1), Gauge::noop(), receiver, up_to_three, attempt, &lifecycle), abort);
    }
}
