//! `copy`: the field as the producer wrote it.

use veilpost_proto::v1::Reason;
use veilpost_proto::v1::value::Kind;

use super::storable::storable_text;
use crate::body::Field;

pub(super) fn copy(field: Field<'_>) -> Result<Kind, Reason> {
    Ok(match field {
        Field::Text(text) => storable_text(text.into_owned())?,
        Field::Number(number) => Kind::Number(number.to_owned()),
        Field::Boolean(boolean) => Kind::Boolean(boolean),
        Field::Json(json) => Kind::Json(json.to_owned()),
    })
}
