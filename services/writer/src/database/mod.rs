//! Postgres as the writer uses it: connections, transactions, the database's clock, errors that quote no
//! value.

mod barrier;
mod blame;
mod clock;
mod error;
mod session;
mod transaction;

pub(crate) use barrier::barrier;
pub(crate) use blame::{Blame, Origin, blame, blame_at, blame_for_input, is_transient};
pub(crate) use clock::Clock;
pub(crate) use error::{DbError, ServerError};
pub(crate) use session::{Database, Session, within};
pub(crate) use transaction::Transaction;
