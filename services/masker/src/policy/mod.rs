//! The policy: which field of a body becomes which column, and how.

mod check_command;
mod column;
mod entry;
mod file;
mod model;
mod personal_data;
mod problem;
#[cfg(test)]
mod tests;
mod transforms;
mod validate;

pub(crate) use check_command::check;
pub use model::Policy;
pub(crate) use model::{ColumnRule, UnknownRecord};
pub(crate) use personal_data::warnings;
