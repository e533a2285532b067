//! The policy: which field of a body becomes which column, and how.

pub(crate) mod check;
mod file;
pub(crate) mod model;
pub(crate) mod personal_data;
