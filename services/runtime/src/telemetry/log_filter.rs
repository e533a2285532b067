//! Which log lines appear: what `--log` asks for, within what may be logged at all.

use std::str::FromStr;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Libraries whose lines may be logged, each with its least serious level. Whoever adds one has read all
/// texts that it logs up to this level, and knows that they hold no value, body, key, password or URL. Of
/// these, the exporter's errors name the gRPC code and what the connection failed with, never what the
/// collector says.
const KNOWN_LIBRARIES: [(&str, Level); 1] = [("opentelemetry_sdk", Level::WARN)];

/// Which log lines appear: a level, and levels of single targets, such as `info,veilpost_reader=debug`.
///
/// Without a level for all, everything that no target names stays at `info`.
///
/// ```
/// use veilpost_runtime::LogFilter;
///
/// assert!("info,veilpost_reader=debug".parse::<LogFilter>().is_ok());
/// assert!("verbose".parse::<LogFilter>().is_err(), "not a level");
/// assert!("info,h2=debug".parse::<LogFilter>().is_err(), "a library's lines are never logged");
/// ```
#[derive(Clone, Debug)]
pub struct LogFilter(Targets);

impl LogFilter {
    pub(super) fn targets(&self) -> Targets {
        self.0.clone()
    }
}

impl FromStr for LogFilter {
    type Err = String;

    /// # Errors
    ///
    /// When a part of `text` is neither a level nor a target of Veilpost with its level. The message shows
    /// the part and what to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut all, mut targets) = (None, Targets::new());
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None if all.is_some() && level(part).is_ok() => {
                    return Err(format!("`{part}` is a second level for all lines"));
                }
                None => all = Some(level(part)?),
                Some((target, of_target)) => {
                    targets = targets.with_target(own_target(target.trim())?, level(of_target.trim())?);
                }
            }
        }
        Ok(Self(targets.with_default(all.unwrap_or(LevelFilter::INFO))))
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let known = [
        ("off", LevelFilter::OFF),
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    let found = known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, level)| level).ok_or_else(|| {
        format!(
            "`{text}` is not a level; write off, error, warn, info, debug or trace, and single targets as \
             info,veilpost_reader=debug"
        )
    })
}

fn own_target(target: &str) -> Result<&str, String> {
    let is_path = target.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
    if is_path && (is_own(target, "veilpost") || known_library(target).is_some()) {
        return Ok(target);
    }
    Err(format!(
        "`{target}` is not a part of Veilpost, and lines of libraries are never logged; write a target such as \
         veilpost_reader"
    ))
}

/// Whether an event may be logged at all, whatever the filter is: everything of Veilpost's own, and of
/// libraries only what is known to be harmless. Libraries quote bodies, receipt handles, ids of access keys,
/// parameters of database URLs and notices of Postgres.
pub(super) fn is_loggable(service: &str, metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let least_serious = if is_own(target, service) { Some(Level::TRACE) } else { known_library(target) };
    metadata.is_event() && least_serious.is_some_and(|least_serious| *metadata.level() <= least_serious)
}

/// Whether the target is in one of Veilpost's crates, or in the crate that is named as the service is: a
/// source that somebody else wrote.
fn is_own(target: &str, service: &str) -> bool {
    let of_crate = target.split("::").next().unwrap_or_default();
    of_crate == "veilpost" || of_crate.starts_with("veilpost_") || of_crate == service.replace('-', "_")
}

fn known_library(target: &str) -> Option<Level> {
    let of_crate = target.split("::").next().unwrap_or_default();
    KNOWN_LIBRARIES.iter().find(|(library, _)| *library == of_crate).map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::{FilterExt, filter_fn};
    use tracing_subscriber::layer::{Layer, SubscriberExt};

    fn logged(filter: &str, event: impl Fn() -> bool) -> bool {
        let targets = filter.parse::<LogFilter>().unwrap().targets();
        let loggable = filter_fn(|metadata| is_loggable("file-reader", metadata));
        let layer = tracing_subscriber::fmt::layer().with_filter(targets.and(loggable));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), event)
    }

    macro_rules! event {
        ($target:literal, $level:ident) => {
            || tracing::event_enabled!(target: $target, Level::$level)
        };
    }

    #[test]
    fn libraries_are_silent_at_every_level_whatever_the_filter_asks_for() {
        for filter in ["info", "trace", "TRACE,veilpost_reader=trace"] {
            assert!(!logged(filter, event!("sqlx::query", ERROR)));
            assert!(!logged(filter, event!("sqlx::postgres::notice", WARN)));
            assert!(!logged(filter, event!("sqlx_postgres::options::parse", WARN)));
            assert!(!logged(filter, event!("aws_config::imds::region", ERROR)));
            assert!(!logged(filter, event!("aws_smithy_runtime", WARN)));
            assert!(!logged(filter, event!("h2::codec", TRACE)));
            assert!(!logged(filter, event!("rustls", WARN)));
            assert!(!logged(filter, event!("log", ERROR)));
            assert!(!logged(filter, event!("veilpostgres", ERROR)));
            assert!(!logged(filter, event!("opentelemetry_otlp", WARN)));
            assert!(logged(filter, event!("opentelemetry_sdk", WARN)));
        }
        assert!(!logged("trace", event!("opentelemetry_sdk", INFO)));
    }

    #[test]
    fn own_lines_appear_from_the_level_that_is_asked_for() {
        assert!(logged("info", event!("veilpost_reader::receive", INFO)));
        assert!(!logged("info", event!("veilpost_reader::receive", DEBUG)));
        assert!(logged("warn, veilpost_reader = Trace", event!("veilpost_reader::receive", TRACE)));
        assert!(!logged("warn, veilpost_reader = Trace", event!("veilpost_runtime", INFO)));
        assert!(!logged("off", event!("veilpost", ERROR)));
        assert!(logged("info", event!("file_reader", INFO)), "a service of another crate");
    }

    #[test]
    fn a_level_of_one_target_silences_no_other() {
        assert!(logged("veilpost_masker=debug", event!("veilpost_reader", INFO)));
        assert!(logged("veilpost_masker=off", event!("veilpost_reader", ERROR)));
        assert!(!logged("veilpost_masker=off", event!("veilpost_masker", ERROR)));
    }

    #[test]
    fn what_is_neither_a_level_nor_an_own_target_is_refused_by_name() {
        let wrong = [
            ("loud", "loud"),
            ("", "``"),
            ("info,", "``"),
            (",", "``"),
            ("inof", "inof"),
            ("info;debug", "info;debug"),
            ("info debug", "info debug"),
            ("info,debug", "debug"),
            ("5", "`5`"),
            ("veilpost_reader", "veilpost_reader"),
            ("veilpost=loud", "loud"),
            ("veilpost_reader=", "``"),
            ("=debug", "``"),
            ("info,h2=debug", "h2"),
            ("sqlx::query=trace", "sqlx::query"),
            ("veilpost_reader[receive{id=1}]=debug", "veilpost_reader[receive{id"),
            ("veilpost_reader=debug=trace", "debug=trace"),
        ];
        for (text, named) in wrong {
            let refusal = text.parse::<LogFilter>().unwrap_err();
            assert!(refusal.contains(named), "{text}: {refusal}");
        }
    }
}
