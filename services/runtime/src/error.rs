//! The one error that callers tell from others: settings that can never work.

/// A setting that cannot work, however often the service is started: the process ends with exit status 2.
///
/// Return it as an [`anyhow::Error`], with or without context; [`run`](crate::run) finds it. The text names
/// the setting and what to write instead, and never shows a secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSettings(pub String);
