//! Text that Postgres can store.

use veilpost_proto::v1::Reason;

/// Gives `text` back; fails when it has U+0000, which Postgres cannot store.
pub(super) fn storable(text: String) -> Result<String, Reason> {
    if text.contains('\0') { Err(Reason::NulInText) } else { Ok(text) }
}
