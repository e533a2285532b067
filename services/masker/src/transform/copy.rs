//! `copy`: the field as the producer wrote it.

use veilpost_proto::v1::Reason;
use veilpost_proto::v1::value::Kind;

use super::storable::storable_text;
use crate::body::FieldValue;

pub(super) fn copy(field: FieldValue<'_>) -> Result<Kind, Reason> {
    Ok(match field {
        FieldValue::Text(text) => storable_text(text.into_owned())?,
        FieldValue::Number(number) => Kind::Number(number.to_owned()),
        FieldValue::Boolean(boolean) => Kind::Boolean(boolean),
        FieldValue::Json(json) => Kind::Json(json.to_owned()),
    })
}
