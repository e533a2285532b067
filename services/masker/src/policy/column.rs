//! Reads one `[[column]]` of a policy: its name, its source, and its transform with options.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::model::ColumnRule;
use super::problem::{PolicyProblem, PolicyText};
use crate::body::Pointer;
use crate::transform::{
    FieldTransform, HmacSha512, KeyName, KeylessTransform, MessageTransform, Transform, is_key_id,
};

/// Postgres cuts off what is longer in an identifier.
const MAX_NAME_BYTES: usize = 63;

/// All keys that a `[[column]]` can have. Those after `transform` are the options of some transforms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnEntry {
    name: Option<Spanned<String>>,
    source: Option<Spanned<String>>,
    transform: Option<Spanned<String>>,
    domain: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
}

/// A transform as policies write it.
struct TransformSyntax {
    name: &'static str,
    /// The options that it takes.
    options: &'static [&'static str],
    read: Read,
}

type Read = fn(&GivenTransform<'_>) -> Result<Transform, PolicyProblem>;

/// Every transform, in the order in which error messages list them.
const TRANSFORMS: &[TransformSyntax] = &[
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
fn known_transforms() -> String {
    TRANSFORMS.iter().map(|syntax| syntax.name).collect::<Vec<_>>().join(", ")
}

/// The transform that an entry gives, with everything that its reading needs.
struct GivenTransform<'a> {
    entry: &'a ColumnEntry,
    text: PolicyText<'a>,
    name: &'static str,
    /// Where `transform` is.
    at: Range<usize>,
}

/// An option as an entry gives it.
struct GivenOption {
    at: Range<usize>,
    value: String,
}

impl ColumnEntry {
    /// Checks an entry; gives the column and where its name is.
    pub(super) fn check(
        entry: Spanned<Self>,
        text: PolicyText<'_>,
    ) -> Result<(Range<usize>, ColumnRule), PolicyProblem> {
        let at = entry.span();
        let entry = entry.into_inner();
        let Some(name) = &entry.name else {
            let what = "this [[column]] has no `name`; write the name of a column of the table";
            return Err(PolicyProblem::new(&at, what));
        };
        let at = name.span();
        let name = name.get_ref();
        if !is_identifier(name) {
            let what = format!("{name:?} is not a column name; a name has 1 to {MAX_NAME_BYTES} bytes");
            return Err(PolicyProblem::new(&at, what));
        }
        let rule = entry.rule(name.clone(), &at, text)?;
        Ok((at, rule))
    }

    fn rule(
        &self,
        name: String,
        at: &Range<usize>,
        text: PolicyText<'_>,
    ) -> Result<ColumnRule, PolicyProblem> {
        let Some(given) = &self.transform else {
            let what = format!("this column has no `transform`; the known ones are {}", known_transforms());
            return Err(PolicyProblem::new(at, what));
        };
        let at = given.span();
        let Some(syntax) = TRANSFORMS.iter().find(|syntax| syntax.name == given.get_ref()) else {
            let what =
                format!("unknown transform {:?}; the known ones are {}", given.get_ref(), known_transforms());
            return Err(PolicyProblem::new(&at, what));
        };
        let options = self.options_of(syntax)?;
        let transform = (syntax.read)(&GivenTransform { entry: self, text, name: syntax.name, at })?;
        Ok(ColumnRule { name, transform, transform_name: syntax.name, options })
    }

    /// Every option that a transform can have, in the order in which they are shown.
    fn options(&self) -> [(&'static str, Option<GivenOption>); 2] {
        [("domain", given_option(self.domain.as_ref())), ("key", given_option(self.key.as_ref()))]
    }

    /// The options that are given; each must be one of the transform's.
    fn options_of(&self, transform: &TransformSyntax) -> Result<Vec<(&'static str, String)>, PolicyProblem> {
        let mut options = Vec::new();
        for (option, given) in self.options() {
            let Some(GivenOption { at, value }) = given else { continue };
            if !transform.options.contains(&option) {
                let takers = TRANSFORMS.iter().filter(|syntax| syntax.options.contains(&option));
                let takers: Vec<_> = takers.map(|syntax| format!("{:?}", syntax.name)).collect();
                let why = format!("belongs to transform = {}", takers.join(" or "));
                return Err(useless(option, &at, transform.name, &why));
            }
            options.push((option, value));
        }
        Ok(options)
    }
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

fn given_option<T: ToString>(option: Option<&Spanned<T>>) -> Option<GivenOption> {
    option.map(|given| GivenOption { at: given.span(), value: given.get_ref().to_string() })
}

fn useless(key: &str, at: &Range<usize>, transform: &str, why: &str) -> PolicyProblem {
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

/// Whether Postgres takes `name` as it is.
pub(super) fn is_identifier(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::TRANSFORMS;

    #[test]
    fn the_policy_of_every_transform_has_every_transform() {
        let policy = include_str!("../../tests/every_transform.toml");
        for transform in TRANSFORMS {
            let line = format!("transform = {:?}", transform.name);
            assert!(policy.lines().any(|own| own == line), "tests/every_transform.toml has no {line}");
        }
    }
}
