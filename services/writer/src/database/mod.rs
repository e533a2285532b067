//! Postgres as the writer sees it: connections, the database's clock, errors that quote nothing.

mod clock;
mod error;
mod session;
mod sqlstate;

pub(crate) use clock::Clock;
pub(crate) use error::{DbError, ServerError};
pub(crate) use session::{Database, Session, within};
pub(crate) use sqlstate::{Owner, is_transient, owner, owner_of_input};
