//! Pauses between the attempts of a call that fails.

use std::time::Duration;

use veilpost_runtime::{Backoff, Lifecycle};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Pauses before the items of a call are tried again; `failures` says how often each has failed so far.
///
/// The item that has failed most often counts: the pause is up to 200 ms after its first failure, up to 10 s
/// after many. Returns at once when there are no items, and when the service aborts. Cancel safe.
pub async fn pause_before_retry(failures: impl Iterator<Item = u32>, lifecycle: &Lifecycle) {
    let Some(failures) = failures.max() else { return };
    tokio::select! {
        () = tokio::time::sleep(delay(failures)) => {}
        () = lifecycle.aborting() => {}
    }
}

fn delay(failures: u32) -> Duration {
    let ceiling = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
    Backoff::new(ceiling, LONGEST).next_delay()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_are_never_zero() {
        assert!(delay(0) <= FIRST);
        assert!((0..50).all(|failures| delay(failures) <= LONGEST && delay(failures) > Duration::ZERO));
        assert!(delay(u32::MAX) >= LONGEST / 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_cuts_the_pause_short() {
        let lifecycle = Lifecycle::for_tests();
        lifecycle.start_abort();
        let before = tokio::time::Instant::now();
        pause_before_retry([50].into_iter(), &lifecycle).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
}
