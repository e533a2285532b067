//! Gives back what could not be settled before the end.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use veilpost_runtime::Lifecycle;

use crate::delivery::ReceiptHandle;
use crate::in_flight::InFlight;
use crate::queue::{MAX_ENTRIES, Queue};

/// Calls that are on their way at once: there is little time.
const SLOTS: usize = 16;

/// What calls under way get once the service aborts.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// Resolves when calls that are still under way after an abort are no longer waited for: what they were to settle is
/// given back instead, and is a duplicate when it comes again.
pub(crate) async fn last_calls_over(lifecycle: &Lifecycle) {
    lifecycle.aborting().await;
    tokio::time::sleep(LAST_CALLS).await;
}

/// Shows at once whatever is still in flight, so that another reader need not wait for its visibility to run out.
/// Tried once, and not for long once the service aborts: what SQS does not take comes back when its visibility runs out.
pub(crate) async fn give_back(queue: &Queue, in_flight: &InFlight, lifecycle: &Lifecycle) {
    let left = in_flight.pick(|number, delivery| Some((number, delivery.handle.clone())));
    if left.is_empty() {
        return;
    }
    let show = |batch: &[_]| {
        batch.iter().map(|(_, handle): &(_, ReceiptHandle)| (handle.clone(), Duration::ZERO)).collect()
    };
    let batches: Vec<Vec<_>> = left.chunks(MAX_ENTRIES).map(show).collect();
    let calls = stream::iter(batches).map(|batch| async move { returned(queue, &batch).await });
    let returned = calls.buffer_unordered(SLOTS).take_until(Box::pin(last_calls_over(lifecycle)));
    let returned: usize = returned.fold(0, |sum, some| async move { sum + some }).await;
    let numbers: Vec<_> = left.iter().map(|(number, _)| *number).collect();
    drop(in_flight.remove(&numbers));
    metrics::counter!("veilpost_reader_settled_total", "action" => "return")
        .increment(u64::try_from(returned).unwrap_or_default());
    tracing::info!(returned, failed = left.len() - returned, "gave back what was in flight");
}

async fn returned(queue: &Queue, batch: &[(ReceiptHandle, Duration)]) -> usize {
    let answers = queue.extend(batch).await.unwrap_or_default();
    answers.iter().filter(|answer| answer.is_ok()).count()
}
