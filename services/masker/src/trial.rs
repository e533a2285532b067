//! Tries a policy on samples, before it runs: with the very code that masks, and with advice.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value as Json;
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{RawRecord, Value};
use veilpost_runtime::BadSettings;

use crate::body::{BodyReader, Source};
use crate::mask::{Mask, Masked, Rejected};
use crate::policy::{Policy, personal_kind, suggestion, warnings};
use crate::transform::{FieldTransform, HmacKeys, KeylessTransform, Transform};

/// The most pointers of samples that are remembered, to suggest one for a pointer that leads nowhere.
const MOST_POINTERS: usize = 500;

/// A policy on trial.
///
/// ```
/// use veilpost_masker::{HmacKeys, Policy, Trial};
/// use veilpost_proto::v1::RawRecord;
///
/// let policy = "table = 't'\n[[column]]\nname = 'id'\nsource = '/user_id'\ntransform = 'copy'\n";
/// let mut trial = Trial::new(Policy::parse(policy, "p.toml")?, &HmacKeys::default())?;
/// let message = RawRecord { body: Some(r#"{"userId": "u1"}"#.into()), ..RawRecord::default() };
/// let tried = trial.apply(&message, jiff::Timestamp::now());
/// assert_eq!(tried.err().unwrap().reason.name(), "unknown-record");
/// assert!(trial.advice()[0].contains("did you mean \"/userId\"?"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Trial {
    policy: Policy,
    mask: Mask,
    reader: Option<BodyReader>,
    records: usize,
    /// By column: how many records do not have its field.
    absent: BTreeMap<usize, usize>,
    /// By column: what its copied values look like.
    personal: BTreeMap<usize, &'static str>,
    pointers: BTreeSet<String>,
    guesses: BTreeSet<&'static str>,
}

/// The rows of a message.
pub type TriedMessage = Vec<Vec<TriedColumn>>;

/// One value of a row. It may be clear text, if the policy copies it.
#[allow(missing_debug_implementations, reason = "holds what producers wrote")]
pub struct TriedColumn {
    /// The table's column.
    pub name: String,
    /// How the policy makes it.
    pub transform: &'static str,
    /// `None` is NULL.
    pub value: Option<Kind>,
}

impl Trial {
    /// Prepares a policy.
    ///
    /// # Errors
    /// When the policy names a key that is not among `keys`.
    pub fn new(policy: Policy, keys: &HmacKeys) -> Result<Self, BadSettings> {
        let mask = Mask::new(&policy, keys)?;
        let reader = BodyReader::new(&policy.body);
        let (absent, personal) = (BTreeMap::new(), BTreeMap::new());
        let (pointers, guesses) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { policy, mask, reader, records: 0, absent, personal, pointers, guesses })
    }

    /// Masks one message, as the masker does; `now` is the time of ingestion.
    ///
    /// # Errors
    /// When the message can never be stored. The error never shows a value.
    pub fn apply(&mut self, message: &RawRecord, now: Timestamp) -> Result<TriedMessage, Rejected> {
        let body = message.body.clone().unwrap_or_default();
        self.look_at(&body);
        let Masked { record, guess, .. } = self.mask.apply(message, now)?;
        self.guesses.extend(guess);
        for values in record.values.chunks(self.policy.columns.len()) {
            self.note_personal(values);
        }
        let mut values = record.values.into_iter().map(|value| value.kind);
        let rows = record.rows.unwrap_or(1);
        let row = |_| {
            let columns = self.policy.columns.iter().zip(values.by_ref());
            columns
                .map(|(rule, value)| TriedColumn {
                    name: rule.name.clone(),
                    transform: rule.transform_name,
                    value,
                })
                .collect()
        };
        Ok((0..rows).map(row).collect())
    }

    /// What the samples so far, and the policy itself, give reason to say. No line shows a value.
    pub fn advice(&self) -> Vec<String> {
        let mut advice: Vec<String> =
            self.guesses.iter().map(|guess| format!("a message is unknown: {guess}")).collect();
        for (column, count) in &self.absent {
            let Some(rule) = self.policy.columns.get(*column) else { continue };
            let Some(source) = rule.transform.source() else { continue };
            let of = self.records;
            let nearest = match source {
                Source::Record(pointer) if *count == of => self.nearest(pointer.as_str()),
                _ => String::new(),
            };
            advice.push(format!(
                "column {}: {source} is absent from {count} of {of} records{nearest}",
                rule.name
            ));
        }
        for (column, kind) in &self.personal {
            if let Some(rule) = self.policy.columns.get(*column) {
                let (name, transform) = (&rule.name, rule.transform_name);
                advice.push(format!(
                    "column {name}, {transform}: a value looks like {kind}, and is stored in clear text"
                ));
            }
        }
        advice.extend(warnings(&self.policy));
        advice
    }

    /// Notes which fields are absent, and which others are there.
    fn look_at(&mut self, body: &[u8]) {
        let texts: Vec<Vec<u8>> = match &self.reader {
            None => vec![body.to_vec()],
            Some(reader) => {
                let opened = reader.open(body);
                let elements = opened.as_ref().ok().and_then(|opened| reader.elements(opened).ok());
                elements.into_iter().flatten().map(|element| element.text.as_bytes().to_vec()).collect()
            }
        };
        for text in texts {
            if let Ok(record @ Json::Object(_)) = serde_json::from_slice(&text) {
                self.look_at_record(&record);
            }
        }
    }

    fn look_at_record(&mut self, record: &Json) {
        self.records += 1;
        for (column, rule) in self.policy.columns.iter().enumerate() {
            if let Some(source @ Source::Record(_)) = rule.transform.source()
                && find(record, &source.names()).is_none()
            {
                *self.absent.entry(column).or_default() += 1;
            }
        }
        let mut pointers = Vec::new();
        collect(record, &mut String::new(), &mut pointers);
        let room = MOST_POINTERS.saturating_sub(self.pointers.len());
        self.pointers.extend(pointers.into_iter().take(room));
    }

    /// The pointer of the samples that is most like `pointer`, or one that has the same last name.
    fn nearest(&self, pointer: &str) -> String {
        let last = |pointer: &str| pointer.rsplit('/').next().unwrap_or_default().to_lowercase();
        let same_name = self.pointers.iter().find(|known| last(known) == last(pointer));
        match same_name {
            Some(known) => format!(" (did you mean {known:?}?)"),
            None => suggestion(pointer, self.pointers.iter().map(String::as_str)),
        }
    }

    fn note_personal(&mut self, row: &[Value]) {
        for (column, (rule, value)) in self.policy.columns.iter().zip(row).enumerate() {
            if let Some(kind) =
                value.kind.as_ref().filter(|_| is_clear_text(&rule.transform)).and_then(kind_in)
            {
                self.personal.insert(column, kind);
            }
        }
    }
}

impl HmacKeys {
    /// Keys for a trial: every key that `policy` names has bytes that anybody can compute, so digests tell
    /// nothing of those that are stored later, and are the same in each trial.
    pub fn for_trial(policy: &Policy) -> Self {
        let named = policy.columns.iter().filter_map(|rule| match &rule.transform {
            Transform::Field { how: FieldTransform::HmacSha512(keyed), .. } => Some(keyed.key.id.as_str()),
            _ => None,
        });
        Self::of_trial(named)
    }
}

fn is_clear_text(transform: &Transform) -> bool {
    use KeylessTransform::{Copy, CopyWithout};
    matches!(transform, Transform::Field { how: FieldTransform::Keyless(Copy | CopyWithout(_)), .. })
}

/// What a value, or a text within it, looks like.
fn kind_in(value: &Kind) -> Option<&'static str> {
    match value {
        Kind::Text(text) | Kind::Number(text) => personal_kind(text),
        Kind::Boolean(_) => None,
        Kind::Json(json) => serde_json::from_str(json).ok().and_then(|json: Json| kind_within(&json)),
    }
}

fn kind_within(json: &Json) -> Option<&'static str> {
    match json {
        Json::String(text) => personal_kind(text),
        Json::Array(items) => items.iter().find_map(kind_within),
        Json::Object(members) => members.values().find_map(kind_within),
        Json::Null | Json::Bool(_) | Json::Number(_) => None,
    }
}

/// What the names lead to; `None` for null too.
fn find<'a>(json: &'a Json, names: &[String]) -> Option<&'a Json> {
    let found = names.iter().try_fold(json, |json, name| match json {
        Json::Object(members) => members.get(name),
        Json::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    });
    found.filter(|found| !found.is_null())
}

/// The pointers to all values, those within arrays excepted.
fn collect(json: &Json, prefix: &mut String, pointers: &mut Vec<String>) {
    let Json::Object(members) = json else { return };
    for (name, value) in members {
        let length = prefix.len();
        prefix.push('/');
        prefix.push_str(&name.replace('~', "~0").replace('/', "~1"));
        pointers.push(prefix.clone());
        collect(value, prefix, pointers);
        prefix.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(policy: &str) -> Trial {
        let policy = Policy::parse(&format!("table = 't'\n{policy}"), "p.toml").unwrap();
        let keys = HmacKeys::for_trial(&policy);
        Trial::new(policy, &keys).unwrap()
    }

    fn copy(name: &str, source: &str) -> String {
        format!("[[column]]\nname = '{name}'\nsource = '{source}'\ntransform = 'copy'\n")
    }

    fn apply(trial: &mut Trial, body: &str) -> Result<TriedMessage, Rejected> {
        let message = RawRecord { body: Some(body.to_owned().into()), ..RawRecord::default() };
        trial.apply(&message, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn rows_are_those_of_the_masker() {
        let mut trial = trial(&format!("[body]\nrecords = '/r'\n{}", copy("a", "/a")));
        let rows = apply(&mut trial, r#"{"r": [{"a": "x"}, {"a": null, "b": 1}]}"#);
        assert!(rows.is_err(), "the second record has no field of the policy");
        let rows = apply(&mut trial, r#"{"r": [{"a": "x"}, {"a": 2}]}"#).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0][0].name.as_str(), &rows[0][0].value), ("a", &Some(Kind::Text("x".to_owned()))));
    }

    #[test]
    fn a_pointer_that_leads_nowhere_is_answered_with_one_that_is_there() {
        let columns = [copy("id", "/id"), copy("mail", "/customer/emial"), copy("city", "/city")].concat();
        let mut trial = trial(&columns);
        apply(&mut trial, r#"{"id": 1, "customer": {"email": "x"}, "address": {"city": "y"}}"#).unwrap();
        let advice = trial.advice().join("\n");
        assert!(advice.contains("column mail: /customer/emial is absent from 1 of 1 records"), "{advice}");
        assert!(advice.contains("did you mean \"/customer/email\"?"), "{advice}");
        assert!(advice.contains("did you mean \"/address/city\"?"), "{advice}");
        assert!(!advice.contains("column id:"), "{advice}");
    }

    #[test]
    fn personal_data_is_known_by_its_value_wherever_it_is_copied_from() {
        let columns = [copy("a", "/a"), copy("b", "/b"), copy("c", "/c")].concat();
        let mut trial = trial(&columns);
        apply(&mut trial, r#"{"a": "ann@example.org", "b": {"x": ["4111 1111 1111 1111"]}, "c": "ios"}"#)
            .unwrap();
        let advice = trial.advice().join("\n");
        assert!(advice.contains("column a, copy: a value looks like an e-mail address"), "{advice}");
        assert!(advice.contains("column b, copy: a value looks like a card number"), "{advice}");
        assert!(!advice.contains("column c"), "{advice}");
        assert!(!advice.contains("ann@") && !advice.contains("4111"), "no value is repeated: {advice}");
    }

    #[test]
    fn a_policy_with_keys_is_tried_without_the_real_ones() {
        let policy = "[[column]]\nname='c'\nsource='/c'\ntransform='hmac-sha512'\ndomain='d'\nkey='k1'\n";
        let digest =
            |trial: &mut Trial| match apply(trial, r#"{"c": "x"}"#).unwrap().remove(0).remove(0).value {
                Some(Kind::Text(text)) => text,
                _ => String::new(),
            };
        let (one, other) = (digest(&mut trial(policy)), digest(&mut trial(policy)));
        assert!(one.starts_with("k1.") && one == other, "{one}");
    }
}
