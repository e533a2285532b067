//! The policy: which field of a body becomes which column, and how.

use std::path::Path;

use anyhow::Context;
use veilpost_proto::v1::Target;
use veilpost_runtime::BadSettings;

use crate::body::pointer::Pointer;
use crate::policy::file;

/// A checked policy. Its columns have distinct names and there is at least one.
#[derive(Clone, Debug)]
pub struct Policy {
    pub table: String,
    pub unknown_record: UnknownRecord,
    pub columns: Vec<Column>,
}

/// What becomes of a body that has none of the policy's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownRecord {
    /// A row whose policy fields are NULL.
    #[default]
    Store,
    Reject,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub transform: Transform,
}

/// Where a column's value comes from.
#[derive(Clone, Debug)]
pub enum Transform {
    Field { source: Pointer, rule: FieldRule },
    Message(MessageRule),
}

/// What is done to a field of the body.
#[derive(Clone, Debug)]
pub enum FieldRule {
    Copy,
    Sha512,
    HmacSha512 { domain: String, key: KeyName },
    MajorVersion,
}

/// A key's id, and the place in the policy that names it.
#[derive(Clone, Debug)]
pub struct KeyName {
    pub id: String,
    pub place: String,
}

/// What is known of a message without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRule {
    IngestDate,
    SentDate,
    SentTimestamp,
    MessageId,
}

impl Policy {
    /// The policy in `file`, or the one that Veilpost comes with.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else { return Ok(Self::default_table()?) };
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .with_context(|| BadSettings(format!("cannot read --policy {name}")))?;
        Ok(Self::parse(&text, &name)?)
    }

    fn default_table() -> Result<Self, BadSettings> {
        Self::parse(
            include_str!("../../../../deploy/policies/user_logins.toml"),
            "user_logins.toml (built in)",
        )
    }

    /// Reads a policy; `name` stands for the file in errors, each of which begins with `name:line:column`.
    pub fn parse(text: &str, name: &str) -> Result<Self, BadSettings> {
        file::read(text, name)
    }

    /// What streams to the writer are opened with.
    pub fn target(&self) -> Target {
        let columns = self.columns.iter().map(|column| column.name.clone()).collect();
        Target { table: self.table.clone(), columns }
    }
}

impl Transform {
    /// As the policy file writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Field { rule, .. } => rule.name(),
            Self::Message(rule) => rule.name(),
        }
    }

    pub fn source(&self) -> Option<&Pointer> {
        match self {
            Self::Field { source, .. } => Some(source),
            Self::Message(_) => None,
        }
    }
}

impl FieldRule {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Sha512 => "sha512",
            Self::HmacSha512 { .. } => "hmac-sha512",
            Self::MajorVersion => "major-version",
        }
    }
}

impl MessageRule {
    pub fn name(self) -> &'static str {
        match self {
            Self::IngestDate => "ingest-date",
            Self::SentDate => "sent-date",
            Self::SentTimestamp => "sent-timestamp",
            Self::MessageId => "message-id",
        }
    }
}
