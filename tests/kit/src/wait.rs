//! Waits until a condition holds.

use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Asks until the answer is `Ok`. After a minute the last `Err` becomes the error.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(found) => return Ok(found),
            Err(obstacle) if begun.elapsed() > PATIENCE => {
                anyhow::bail!("{what} did not come true: {obstacle}")
            }
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}
