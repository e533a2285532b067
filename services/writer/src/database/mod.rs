//! Postgres as the writer uses it: connections, transactions, the database's clock, errors that quote no
//! value.

mod address;
mod barrier;
mod blame;
mod clock;
mod connecting;
mod error;
mod quoting;
mod search_path;
mod session;
mod tls;
mod transaction;
mod url;
mod words;

pub use address::connect_options;
pub(crate) use barrier::barrier;
pub(crate) use blame::{Blame, Origin, blame, blame_at, blame_for_input, is_transient};
pub(crate) use clock::{Clock, host_now_ms};
pub(crate) use error::{DbError, ServerError};
pub(crate) use quoting::{literal, quoted};
pub(crate) use session::{Database, NOW_MS, QueryOf, Session, within};
pub(crate) use transaction::Transaction;
