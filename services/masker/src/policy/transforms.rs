//! Every transform that a policy can name, and how its `[[column]]` is read.

use toml::Spanned;

use super::given::{Given, Noted};
use super::read_options::{
    boolean, copy, date, day_zone, hmac_sha512, ip_prefix, partial, redact, timestamp,
};
use crate::body::Source;
use crate::transform::FieldTransform::Keyless;
use crate::transform::{EpochUnit, FieldTransform, KeylessTransform, MessageTransform, Transform};

/// The keys that say where a value is from.
const SOURCES: [&str; 3] = ["source", "attribute", "envelope"];

/// The longest name of a message attribute.
const MAX_ATTRIBUTE_BYTES: usize = 256;

/// A transform as policies write it.
pub(super) struct TransformSyntax {
    pub(super) name: &'static str,
    /// The options that it takes and that not every transform takes.
    pub(super) options: &'static [&'static str],
    pub(super) read: Read,
}

/// Reads the options.
#[derive(Clone, Copy)]
pub(super) enum Read {
    /// Of a transform of a field.
    Field(fn(&mut Given<'_>) -> Result<FieldTransform, Noted>),
    /// Of a transform of what is known without the body.
    Message(fn(&mut Given<'_>) -> Result<MessageTransform, Noted>),
}

/// Every transform, in the order in which error messages list them.
pub(super) const TRANSFORMS: &[TransformSyntax] = &[
    field("copy", &["without"], copy),
    field("sha512", &[], |_| Ok(Keyless(KeylessTransform::Sha512))),
    field("hmac-sha512", &["domain", "key"], hmac_sha512),
    field("major-version", &[], |_| Ok(Keyless(KeylessTransform::MajorVersion))),
    field("ip-prefix", &["v4", "v6"], ip_prefix),
    field("partial", &["keep_first", "keep_last", "mask"], partial),
    field("redact", &["value"], redact),
    field("email-domain", &[], |_| Ok(Keyless(KeylessTransform::EmailDomain))),
    field("epoch-s", &[], |_| Ok(Keyless(KeylessTransform::Epoch(EpochUnit::Seconds)))),
    field("epoch-ms", &[], |_| Ok(Keyless(KeylessTransform::Epoch(EpochUnit::Milliseconds)))),
    field("date", &["format"], date),
    field("timestamp", &["format", "timezone"], timestamp),
    field("boolean", &["true", "false"], boolean),
    message("ingest-date", &["timezone"], |given| day_zone(given).map(MessageTransform::IngestDate)),
    message("sent-date", &["timezone"], |given| day_zone(given).map(MessageTransform::SentDate)),
    message("sent-timestamp", &[], |_| Ok(MessageTransform::SentTimestamp)),
    message("message-id", &[], |_| Ok(MessageTransform::MessageId)),
    message("trace-id", &[], |_| Ok(MessageTransform::TraceId)),
];

const fn field(
    name: &'static str,
    options: &'static [&'static str],
    read: fn(&mut Given<'_>) -> Result<FieldTransform, Noted>,
) -> TransformSyntax {
    TransformSyntax { name, options, read: Read::Field(read) }
}

const fn message(
    name: &'static str,
    options: &'static [&'static str],
    read: fn(&mut Given<'_>) -> Result<MessageTransform, Noted>,
) -> TransformSyntax {
    TransformSyntax { name, options, read: Read::Message(read) }
}

/// The names that `transform` can have.
pub(super) fn known_transforms() -> Vec<&'static str> {
    TRANSFORMS.iter().map(|syntax| syntax.name).collect()
}

impl Given<'_> {
    /// The transform with its options and its source.
    pub(super) fn transform(&mut self, read: Read) -> Result<Transform, Noted> {
        match read {
            Read::Field(read) => {
                let (source, how) = (self.source(), read(self));
                self.field(source?, how?)
            }
            Read::Message(read) => {
                let (sourceless, what) = (self.refuse_source(), read(self));
                sourceless.and(what.map(Transform::Message))
            }
        }
    }

    /// A transform of the field that `source` names.
    fn field(&mut self, source: Source, how: FieldTransform) -> Result<Transform, Noted> {
        if source.is_whole_record() && !how.takes_objects() {
            let name = self.transform;
            let what = format!(
                "source = \"\" is the whole body, an object, and {name:?} needs a scalar; name a field"
            );
            let at = self.entry.get("source").map_or(self.at.clone(), Spanned::span);
            return Err(self.refuse(&at, what));
        }
        Ok(Transform::Field { source, how })
    }

    /// Exactly one of the keys that say where the value is from.
    fn source(&mut self) -> Result<Source, Noted> {
        let [record, attribute, envelope] = SOURCES.map(|key| self.text(key));
        match (record?, attribute?, envelope?) {
            (Some(given), None, None) => self.pointer(&given).map(Source::Record),
            (None, Some(given), None) => self.attribute(&given),
            (None, None, Some(given)) => self.pointer(&given).map(Source::Envelope),
            (None, None, None) => {
                Err(self
                    .needs("a `source`, such as source = \"/device/id\", an `attribute` or an `envelope`"))
            }
            _ => Err(self.needs("one of `source`, `attribute` and `envelope`, and not several")),
        }
    }

    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
    fn attribute(&mut self, given: &Spanned<&str>) -> Result<Source, Noted> {
        let name = *given.get_ref();
        if name.is_empty() || name.len() > MAX_ATTRIBUTE_BYTES {
            let what =
                format!("{name:?} is no message attribute; a name has 1 to {MAX_ATTRIBUTE_BYTES} bytes");
            return Err(self.refuse(&given.span(), what));
        }
        if matches!(name, "traceparent" | "tracestate") {
            let what = "the trace context travels by itself: use transform = \"trace-id\" for its trace id";
            return Err(self.refuse(&given.span(), what));
        }
        Ok(Source::Attribute(name.to_owned()))
    }

    fn refuse_source(&mut self) -> Result<(), Noted> {
        let mut good = Ok(());
        for key in SOURCES {
            if self.entry.get(key).is_some() {
                good = Err(self.useless(key, "has no place here: the value is not from the body"));
            }
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::OPTIONS;
    use super::*;

    #[test]
    fn every_transform_is_in_the_test_policy_the_documents_and_the_shipped_policy() {
        let documents = include_str!("../../../../docs/transforms.md");
        let policies = include_str!("../../../../docs/policy.md");
        let every = include_str!("../../tests/every_transform.toml");
        let shipped = include_str!("../../../../deploy/policies/user_logins.toml");
        for TransformSyntax { name, options, .. } in TRANSFORMS {
            let (row, entry) = (format!("`{name}`"), format!("transform = \"{name}\""));
            let rows = documents.lines().filter(|line| line.starts_with('|'));
            assert!(rows.clone().any(|line| line.contains(&row)), "no table in docs/transforms.md has {row}");
            assert!(policies.contains(&row), "docs/policy.md has no {row}");
            assert!(every.lines().any(|line| line == entry), "tests/every_transform.toml has no {entry}");
            let listed = |line: &str| line.trim_start_matches(['#', ' ']).split(' ').next() == Some(*name);
            assert!(shipped.lines().any(listed), "the list in user_logins.toml has no {name}");
            for option in *options {
                let known = rows.clone().any(|line| line.contains(&format!("`{option}`")));
                assert!(known, "no table in docs/transforms.md has `{option}`");
            }
        }
    }

    #[test]
    fn every_option_of_a_transform_can_be_given() {
        for option in TRANSFORMS.iter().flat_map(|syntax| syntax.options) {
            assert!(OPTIONS.contains(option), "OPTIONS has no {option}");
        }
    }
}
