//! A policy that has been read and checked.

use veilpost_proto::v1::Target;
use veilpost_runtime::Feature;

use super::on_conflict::ConflictRule;
use crate::body::{BodyRule, Source};
use crate::transform::{Transform, ValueRules};

/// Which field of a body becomes which column of which table, and how. Columns have distinct names, and there
/// is at least one.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Tells one policy's text from another's.
    pub(crate) digest: String,
    pub(crate) table: String,
    pub(crate) unknown_record: UnknownRecord,
    /// How the records are taken out of a body.
    pub(crate) body: BodyRule,
    /// What happens to a row whose business key is in the table already; without, its message is rejected.
    pub(crate) on_conflict: Option<ConflictRule>,
    pub(crate) columns: Vec<ColumnRule>,
}

/// What becomes of a body that has none of the policy's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UnknownRecord {
    /// A row whose policy fields are NULL.
    Store,
    Reject,
}

/// One column of the table, and how it gets its value.
#[derive(Clone, Debug)]
pub(crate) struct ColumnRule {
    pub(crate) name: String,
    pub(crate) transform: Transform,
    pub(crate) rules: ValueRules,
    /// The transform's name in policies.
    pub(crate) transform_name: &'static str,
    /// The transform's options as the policy gives them: names and values.
    pub(crate) options: Vec<(&'static str, String)>,
}

impl Policy {
    /// What streams to the writer are opened with.
    pub fn target(&self) -> Target {
        let columns = self.columns.iter().map(|column| column.name.clone()).collect();
        let on_conflict = self.on_conflict.as_ref().map(ConflictRule::to_contract);
        Target { table: self.table.clone(), columns, on_conflict }
    }

    /// What a writer must know to store what the policy makes.
    pub fn needs(&self) -> Vec<Feature> {
        let rows = self.body.records.iter().map(|_| Feature::Rows);
        rows.chain(self.on_conflict.iter().map(|_| Feature::Upserts)).collect()
    }

    /// What happens to a row whose business key is in the table already, in words; `None` where the policy
    /// does not say.
    pub fn conflict_rule(&self) -> Option<String> {
        self.on_conflict.as_ref().map(ToString::to_string)
    }
}

impl ColumnRule {
    /// Whether the value is from a field of the record, and not from all of it or from what is around it.
    pub(crate) fn reads_a_field(&self) -> bool {
        matches!(self.transform.source(), Some(Source::Record(pointer)) if !pointer.is_whole_body())
    }

    /// Whether the value is from what was around the record.
    pub(super) fn reads_the_envelope(&self) -> bool {
        matches!(self.transform.source(), Some(Source::Envelope(_)))
    }
}
