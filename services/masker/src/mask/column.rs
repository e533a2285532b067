//! How one column gets its value.

use ::metrics::Counter;
use jiff::Timestamp;
use veilpost_proto::v1::RawRecord;
use veilpost_proto::v1::value::Kind;
use veilpost_runtime::BadSettings;

use super::rejection::Rejected;
use crate::body::{Body, FieldId, FieldTree};
use crate::fault::Fault;
use crate::metrics;
use crate::policy::ColumnRule;
use crate::transform::{HmacKeys, MessageTransform, ReadyTransform, Transform, ValueRules};

/// One column of the policy, ready to be applied.
#[derive(Debug)]
pub(super) struct ColumnMask {
    name: String,
    transform_name: &'static str,
    transform: ColumnTransform,
    rules: ValueRules,
    absent: Counter,
}

#[derive(Debug)]
enum ColumnTransform {
    Field(FieldId, ReadyTransform),
    Message(MessageTransform),
}

impl ColumnMask {
    /// Fails when `keys` do not hold the key that the column names.
    pub(super) fn new(
        rule: &ColumnRule,
        fields: &mut FieldTree,
        keys: &HmacKeys,
    ) -> Result<Self, BadSettings> {
        let transform = match &rule.transform {
            Transform::Field { source, how } => ColumnTransform::Field(fields.add(source), how.ready(keys)?),
            Transform::Message(what) => ColumnTransform::Message(what.clone()),
        };
        let (name, transform_name, rules) = (rule.name.clone(), rule.transform_name, rule.rules.clone());
        Ok(Self { absent: metrics::absent(&name), name, transform_name, transform, rules })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The column's value; `None` is NULL.
    pub(super) fn value(
        &self,
        body: &Body<'_>,
        record: &RawRecord,
        now: Timestamp,
    ) -> Result<Option<Kind>, Rejected> {
        let value = match &self.transform {
            ColumnTransform::Field(id, transform) => {
                body.get(*id).map_err(Fault::from).and_then(|field| self.rules.value(transform, field))
            }
            ColumnTransform::Message(transform) => {
                let value = transform.apply(record, now).map_err(Fault::from);
                value.map(|value| value.or_else(|| self.rules.default.clone()))
            }
        };
        value.map_err(|fault| Rejected::column(fault, &self.name, self.transform_name))
    }

    /// Whether the field that the value is from is there and not null.
    pub(super) fn has_field(&self, body: &Body<'_>) -> bool {
        matches!(&self.transform, ColumnTransform::Field(id, _) if body.has(*id))
    }

    /// Whether the field that the value is from is there and no transform could be made of it.
    pub(super) fn is_unreadable(&self, body: &Body<'_>) -> bool {
        matches!(&self.transform, ColumnTransform::Field(id, transform)
            if transform.may_give_null() && body.get(*id).is_ok_and(|field| self.rules.has_value(field)))
    }

    /// Counts a record without the field that the value is from.
    pub(super) fn count_absent(&self) {
        if let ColumnTransform::Field(..) = &self.transform {
            self.absent.increment(1);
        }
    }

    /// Whether the value is from the whole body.
    pub(super) fn is_whole_body(&self) -> bool {
        matches!(&self.transform, ColumnTransform::Field(id, _) if id.is_whole_body())
    }
}
