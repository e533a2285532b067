//! The one error that callers tell apart: settings that can never work.

/// A setting that cannot work, however often the service is started: the process ends with exit status 2.
///
/// Return it as an [`anyhow::Error`], with or without context; [`crate::run`] finds it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSettings(pub String);
