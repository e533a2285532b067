//! The policy: which field of a body becomes which column, and how.

mod check;
mod column;
mod file;
mod model;
mod personal_data;
mod problem;
#[cfg(test)]
mod tests;

pub(crate) use check::check;
pub use model::Policy;
pub(crate) use model::{ColumnRule, UnknownRecord};
pub(crate) use personal_data::warnings;
