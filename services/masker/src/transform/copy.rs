//! `copy`: the field as the producer wrote it.

use veilpost_proto::v1::Reason;
use veilpost_proto::v1::value::Kind;

use super::storable::storable_text;
use super::without::Without;
use crate::body::FieldValue;
use crate::fault::Fault;

pub(super) fn copy(field: FieldValue<'_>) -> Result<Kind, Reason> {
    Ok(match field {
        FieldValue::Text(text) => storable_text(text.into_owned())?,
        FieldValue::Number(number) => Kind::Number(number.to_owned()),
        FieldValue::Boolean(boolean) => Kind::Boolean(boolean),
        FieldValue::Json(json) => Kind::Json(json.to_owned()),
    })
}

/// An object or array without the values that the policy leaves out. A scalar is rejected: what is to be left
/// out could be in it.
pub(super) fn copy_without(field: &FieldValue<'_>, without: &Without) -> Result<Kind, Fault> {
    match field {
        FieldValue::Json(json) => Ok(Kind::Json(without.of(json))),
        _ => Err(Fault::invalid("a scalar where `without` needs an object or array")),
    }
}
