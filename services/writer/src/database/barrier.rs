//! A transaction that runs nobody's code, and whose commit waits for everything before it.

use super::{DbError, Session};

/// Writes a small record to the write-ahead log. Its commit returns once a synchronous standby has it, and so
/// everything that was committed before. No trigger and no function of others runs in it: what Postgres warns
/// of is the commit itself.
pub(crate) async fn barrier(session: &mut Session) -> Result<(), DbError> {
    session
        .control(
            "SELECT pg_catalog.pg_logical_emit_message(true, 'veilpost'::pg_catalog.text, ''::pg_catalog.text)",
        )
        .await
}
