//! Releases what could not be settled before the end, so that other readers get it at once.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use veilpost_reader_core::last_calls_over;
use veilpost_reader_core::metrics::SETTLED;
use veilpost_runtime::{Lifecycle, numbers};

use crate::limits::MAX_ENTRIES;
use crate::message::SqsInFlight;
use crate::queue::Queue;
use crate::receipt_handle::ReceiptHandle;

/// How many calls are under way at once. There is little time.
const CALLS: usize = 16;

/// Makes everything that is still in flight visible in the queue.
///
/// Each message is tried once, and calls under way are no longer awaited soon after the service aborts. A
/// message that SQS did not release comes back when its visibility timeout runs out.
pub(crate) async fn release(queue: &Queue, in_flight: &SqsInFlight, lifecycle: &Lifecycle) {
    let left = in_flight.pick(|number, delivery| Some((number, delivery.message.handle.clone())));
    if left.is_empty() {
        return;
    }
    let visible_now = |batch: &[_]| {
        batch.iter().map(|(_, handle): &(_, ReceiptHandle)| (handle.clone(), Duration::ZERO)).collect()
    };
    let batches: Vec<Vec<_>> = left.chunks(MAX_ENTRIES).map(visible_now).collect();
    let calls = stream::iter(batches).map(|batch| async move { release_batch(queue, &batch).await });
    let released = calls.buffer_unordered(CALLS).take_until(Box::pin(last_calls_over(lifecycle)));
    let released: usize = released.fold(0, |sum, some| async move { sum + some }).await;
    let numbers: Vec<_> = left.iter().map(|(number, _)| *number).collect();
    drop(in_flight.remove(&numbers));
    metrics::counter!(SETTLED, "action" => "release").increment(numbers::to_u64(released));
    tracing::info!(released, failed = left.len() - released, "released what was in flight");
}

/// How many messages were released.
async fn release_batch(queue: &Queue, batch: &[(ReceiptHandle, Duration)]) -> usize {
    let results = queue.change_visibility(batch).await.unwrap_or_default();
    results.iter().filter(|result| result.is_ok()).count()
}
