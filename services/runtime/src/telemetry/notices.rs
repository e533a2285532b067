//! Whether Postgres sent a warning with a statement, and nothing of what it says.
//!
//! A commit whose wait for a synchronous standby is cancelled succeeds with a mere warning. sqlx hands
//! notices on as events only. Their texts may quote values, so no layer but this one ever sees them.

use std::cell::Cell;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// The target of sqlx's events about notices.
const TARGET: &str = "sqlx::postgres::notice";

tokio::task_local! {
    static IS_WARNED: Cell<bool>;
}

/// Runs a statement, and tells whether Postgres sent a warning meanwhile.
///
/// It sees nothing in a process without the layer of [`watch_notices`], which every service has. Dropping
/// the future drops the statement.
pub async fn watch_warnings<T>(statement: impl Future<Output = T>) -> (T, bool) {
    let watched = async {
        let result = statement.await;
        (result, IS_WARNED.with(Cell::get))
    };
    IS_WARNED.scope(Cell::new(false), watched).await
}

/// Installs the layer for [`watch_warnings`] alone, for tests that run a service in their own process.
///
/// # Errors
///
/// When the process already has a subscriber.
pub fn watch_notices() -> anyhow::Result<()> {
    Ok(tracing_subscriber::registry().with(layer()).try_init()?)
}

fn is_notice(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}

pub(super) fn layer<S>() -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let warnings = filter_fn(|metadata| is_notice(metadata) && *metadata.level() <= Level::WARN)
        .with_max_level_hint(LevelFilter::WARN);
    Notices.with_filter(warnings).boxed()
}

struct Notices;

impl<S: Subscriber> Layer<S> for Notices {
    /// Events outside of [`watch_warnings`] are nobody's.
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        let _unwatched = IS_WARNED.try_with(|is_warned| is_warned.set(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_warnings_of_postgres_within_the_statement_count() {
        let _installed = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer()));
        tracing::warn!(target: TARGET, "before");
        assert!(!watch_warnings(async {}).await.1);
        let ((), warned) = watch_warnings(async { tracing::info!(target: TARGET, "a mere notice") }).await;
        assert!(!warned);
        assert!(!watch_warnings(async { tracing::warn!("of somebody else") }).await.1);
        let (value, warned) = watch_warnings(async {
            tokio::task::yield_now().await;
            tracing::warn!(target: TARGET, "canceling wait for synchronous replication");
            7
        })
        .await;
        assert_eq!((value, warned), (7, true));
        assert!(!watch_warnings(async {}).await.1, "each statement has its own");
    }
}
