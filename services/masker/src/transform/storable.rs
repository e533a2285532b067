//! Text as a value that Postgres can store.

use veilpost_proto::v1::Reason;
use veilpost_proto::v1::value::Kind;

/// `text` as a value; fails when it has U+0000, which Postgres cannot store.
pub(super) fn storable_text(text: String) -> Result<Kind, Reason> {
    if text.contains('\0') { Err(Reason::NulInText) } else { Ok(Kind::Text(text)) }
}
