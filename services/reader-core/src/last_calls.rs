//! How long calls that are still under way are awaited at the end of the process.

use std::time::Duration;

use veilpost_runtime::Lifecycle;

/// How long calls under way are still awaited once the service aborts.
pub const LAST_CALLS: Duration = Duration::from_secs(1);

/// Resolves [`LAST_CALLS`] after the service has begun to abort. What an unfinished call was to settle is
/// released instead; if the call succeeds after all, the message is a duplicate when it comes again. Cancel
/// safe.
pub async fn last_calls_over(lifecycle: &Lifecycle) {
    lifecycle.aborting().await;
    tokio::time::sleep(LAST_CALLS).await;
}
