//! Every transform that a policy can name, and how its `[[column]]` is read.

use std::ops::Range;

use super::entry::ColumnEntry;
use super::problem::{PolicyProblem, PolicyText};
use crate::body::Pointer;
use crate::transform::{
    FieldTransform, HmacSha512, KeyName, KeylessTransform, MessageTransform, Transform, is_key_id,
};

/// A transform as policies write it.
pub(super) struct TransformSyntax {
    pub(super) name: &'static str,
    /// The options that it takes.
    pub(super) options: &'static [&'static str],
    pub(super) read: Read,
}

pub(super) type Read = fn(&GivenTransform<'_>) -> Result<Transform, PolicyProblem>;

/// Every transform, in the order in which error messages list them.
pub(super) const TRANSFORMS: &[TransformSyntax] = &[
    syntax("copy", &[], |given| given.keyless(KeylessTransform::Copy)),
    syntax("sha512", &[], |given| given.keyless(KeylessTransform::Sha512)),
    syntax("hmac-sha512", &["domain", "key"], hmac_sha512),
    syntax("major-version", &[], |given| given.keyless(KeylessTransform::MajorVersion)),
    syntax("ingest-date", &[], |given| given.message(MessageTransform::IngestDate)),
    syntax("sent-date", &[], |given| given.message(MessageTransform::SentDate)),
    syntax("sent-timestamp", &[], |given| given.message(MessageTransform::SentTimestamp)),
    syntax("message-id", &[], |given| given.message(MessageTransform::MessageId)),
];

const fn syntax(name: &'static str, options: &'static [&'static str], read: Read) -> TransformSyntax {
    TransformSyntax { name, options, read }
}

/// The names that `transform` can have, for error messages.
pub(super) fn known_transforms() -> String {
    TRANSFORMS.iter().map(|syntax| syntax.name).collect::<Vec<_>>().join(", ")
}

/// The transform that an entry gives, with everything that its reading needs.
pub(super) struct GivenTransform<'a> {
    pub(super) entry: &'a ColumnEntry,
    pub(super) text: PolicyText<'a>,
    pub(super) name: &'static str,
    /// Where `transform` is.
    pub(super) at: Range<usize>,
}

impl GivenTransform<'_> {
    fn keyless(&self, how: KeylessTransform) -> Result<Transform, PolicyProblem> {
        self.field(FieldTransform::Keyless(how))
    }

    /// A transform of the field that `source` names.
    fn field(&self, how: FieldTransform) -> Result<Transform, PolicyProblem> {
        let name = self.name;
        let Some(source) = &self.entry.source else {
            let what = format!("transform = {name:?} needs a `source`, such as source = \"/device/id\"");
            return Err(PolicyProblem::new(&self.at, what));
        };
        let at = source.span();
        let source = Pointer::parse(source.get_ref()).map_err(|what| PolicyProblem::new(&at, what))?;
        if source.is_whole_body() && !how.takes_objects() {
            let what = format!(
                "source = \"\" is the whole body, an object, and {name:?} needs a scalar; name a field"
            );
            return Err(PolicyProblem::new(&at, what));
        }
        Ok(Transform::Field { source, how })
    }

    /// A transform of what is known without the body.
    fn message(&self, what: MessageTransform) -> Result<Transform, PolicyProblem> {
        match &self.entry.source {
            Some(given) => {
                let why = "has no place here: the value is not from the body";
                Err(useless("source", &given.span(), self.name, why))
            }
            None => Ok(Transform::Message(what)),
        }
    }

    fn needs(&self, what: &str) -> PolicyProblem {
        PolicyProblem::new(&self.at, format!("transform = {:?} needs {what}", self.name))
    }
}

pub(super) fn useless(key: &str, at: &Range<usize>, transform: &str, why: &str) -> PolicyProblem {
    PolicyProblem::new(at, format!("`{key}` with transform = {transform:?}: it {why}; remove it"))
}

fn hmac_sha512(given: &GivenTransform<'_>) -> Result<Transform, PolicyProblem> {
    let ColumnEntry { domain, key, .. } = given.entry;
    let domain = domain.as_ref().ok_or_else(|| {
        given.needs(
            "a `domain`, a name for the kind of value, such as \"ip\": \
             equal values of one domain get equal digests",
        )
    })?;
    let key = key.as_ref().ok_or_else(|| given.needs("a `key`, the id of the key to use, such as \"k1\""))?;
    if domain.get_ref().is_empty() || domain.get_ref().contains('\0') {
        return Err(PolicyProblem::new(&domain.span(), "a domain is not empty and has no U+0000"));
    }
    if !is_key_id(key.get_ref()) {
        let what = format!("{:?} is not a key id; an id has 1 to 32 of A-Z a-z 0-9 _ -", key.get_ref());
        return Err(PolicyProblem::new(&key.span(), what));
    }
    let key = KeyName { id: key.get_ref().clone(), place: given.text.place(key.span().start) };
    given.field(FieldTransform::HmacSha512(HmacSha512 { domain: domain.get_ref().clone(), key }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transform_is_in_the_test_policy_the_documents_and_the_shipped_policy() {
        let documents = include_str!("../../../../docs/policy.md");
        let every = include_str!("../../tests/every_transform.toml");
        let shipped = include_str!("../../../../deploy/policies/user_logins.toml");
        for TransformSyntax { name, .. } in TRANSFORMS {
            let (row, entry) = (format!("`{name}`"), format!("transform = \"{name}\""));
            let rows = documents.lines().filter(|line| line.starts_with('|'));
            assert!(rows.clone().any(|line| line.contains(&row)), "no table in docs/policy.md has {row}");
            assert!(every.lines().any(|line| line == entry), "tests/every_transform.toml has no {entry}");
            let listed = |line: &str| line.trim_start_matches(['#', ' ']).split(' ').next() == Some(*name);
            assert!(shipped.lines().any(listed), "the list in user_logins.toml has no {name}");
        }
    }

    #[test]
    fn every_option_of_a_transform_can_be_given() {
        let entry: ColumnEntry = toml::from_str("name = 'c'").unwrap();
        let options: Vec<_> = entry.options().into_iter().map(|(option, _)| option).collect();
        for option in TRANSFORMS.iter().flat_map(|syntax| syntax.options) {
            assert!(options.contains(option), "ColumnEntry::options has no {option}");
        }
    }
}
