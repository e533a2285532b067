//! How one column gets its value.

use ::metrics::Counter;
use veilpost_proto::v1::value::Kind;
use veilpost_runtime::BadSettings;

use super::rejection::Rejected;
use super::scope::{Place, Scope, Trees};
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
    Field(Place, ReadyTransform),
    Message(MessageTransform),
}

impl ColumnMask {
    /// Fails when `keys` do not hold the key that the column names.
    pub(super) fn new(rule: &ColumnRule, trees: &mut Trees, keys: &HmacKeys) -> Result<Self, BadSettings> {
        let transform = match &rule.transform {
            Transform::Field { source, how } => ColumnTransform::Field(trees.add(source), how.ready(keys)?),
            Transform::Message(what) => ColumnTransform::Message(what.clone()),
        };
        let (name, transform_name, rules) = (rule.name.clone(), rule.transform_name, rule.rules.clone());
        Ok(Self { absent: metrics::absent(&name), name, transform_name, transform, rules })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The column's value; `None` is NULL.
    pub(super) fn value(&self, scope: &Scope<'_>) -> Result<Option<Kind>, Rejected> {
        let value = match &self.transform {
            ColumnTransform::Field(place, transform) => {
                scope.get(place).and_then(|field| self.rules.value(transform, field))
            }
            ColumnTransform::Message(transform) => {
                let value = transform.apply(scope.message, scope.now).map_err(Fault::from);
                value.map(|value| value.or_else(|| self.rules.default.clone()))
            }
        };
        value.map_err(|fault| Rejected::column(fault, &self.name, self.transform_name))
    }

    /// Whether the field that the value is from is there and not null.
    pub(super) fn has_field(&self, scope: &Scope<'_>) -> bool {
        matches!(&self.transform, ColumnTransform::Field(place, _) if scope.has(place))
    }

    /// Whether the field that the value is from is there and no transform could be made of it.
    pub(super) fn is_unreadable(&self, scope: &Scope<'_>) -> bool {
        matches!(&self.transform, ColumnTransform::Field(place, transform)
            if transform.may_give_null() && scope.get(place).is_ok_and(|field| self.rules.has_value(field)))
    }

    /// Counts a record without the field that the value is from.
    pub(super) fn count_absent(&self) {
        if let ColumnTransform::Field(..) = &self.transform {
            self.absent.increment(1);
        }
    }

    /// Whether the value is from a field of the record, and not from all of it.
    pub(super) fn is_of_a_field(&self) -> bool {
        matches!(&self.transform, ColumnTransform::Field(Place::Record(id), _) if !id.is_whole_body())
    }

    /// Whether the value is from a message attribute.
    pub(super) fn is_of_an_attribute(&self) -> bool {
        matches!(&self.transform, ColumnTransform::Field(Place::Attribute(_), _))
    }
}
