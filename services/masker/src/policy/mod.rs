//! The policy: which field of a body becomes which column, and how.

mod body;
mod check_command;
mod column;
mod entry;
mod file;
mod given;
mod model;
mod nearest;
mod on_conflict;
#[cfg(test)]
mod option_tests;
mod personal_data;
mod personal_values;
mod problem;
mod read_options;
#[cfg(test)]
mod tests;
mod transforms;
mod validate;
mod value_rules;

pub(crate) use body::MOST_RECORDS;
pub(crate) use check_command::check;
pub use model::Policy;
pub(crate) use model::{ColumnRule, UnknownRecord};
pub(crate) use nearest::suggestion;
pub(crate) use personal_data::warnings;
pub(crate) use personal_values::personal_kind;
