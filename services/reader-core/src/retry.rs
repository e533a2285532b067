//! Pauses between attempts.

use std::time::Duration;

use veilpost_runtime::{Backoff, Lifecycle};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Rests after the `tries`-th failed attempt, longer each time; no longer than until the service aborts.
pub(crate) async fn rest(tries: u32, lifecycle: &Lifecycle) {
    tokio::select! {
        () = tokio::time::sleep(delay(tries)) => {}
        () = lifecycle.aborting() => {}
    }
}

fn delay(tries: u32) -> Duration {
    let ceiling = FIRST.saturating_mul(1 << tries.min(10)).min(LONGEST);
    Backoff::new(ceiling, LONGEST).next_delay()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_are_never_nothing() {
        assert!(delay(0) <= FIRST);
        assert!((0..50).all(|tries| delay(tries) <= LONGEST && delay(tries) > Duration::ZERO));
        assert!(delay(u32::MAX) >= LONGEST / 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_cuts_the_rest_short() {
        let lifecycle = Lifecycle::for_tests();
        lifecycle.start_abort();
        let before = tokio::time::Instant::now();
        rest(50, &lifecycle).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
}
