//! Takes the event out of what services put around it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::decode::Encoding;
use super::field_tree::{FieldId, FieldTree};
use super::field_value::FieldValue;
use super::flaw::BodyFlaw;
use super::pointer::Pointer;

/// How the event is taken out of a body, one step after the other. All of it is optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BodyRule {
    pub(crate) steps: Vec<Step>,
    /// Where the array of records is in the event; the whole event when the pointer is empty.
    pub(crate) records: Option<Pointer>,
    /// The most records of one message.
    pub(crate) max_records: usize,
    /// Whether a body without the envelope counts as the event itself.
    pub(crate) allow_unwrapped: bool,
}

impl BodyRule {
    /// Whether there may be JSON around a record.
    pub(crate) fn has_envelope(&self) -> bool {
        let unwraps = self.steps.iter().any(|step| matches!(step, Step::Unwrap(_)));
        unwraps || self.records.as_ref().is_some_and(|records| !records.is_whole_body())
    }
}

/// One step on the way from the body to the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Decode(Encoding),
    Unwrap(Envelope),
}

/// What is around an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// A notification of Amazon SNS: the event is the text `Message`.
    /// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
    Sns,
    /// An event of Amazon EventBridge: the event is the object `detail`.
    /// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html>
    EventBridge,
    /// A JSON object with the event, as a text or as an object, at this place.
    At(Pointer),
}

impl Envelope {
    /// The name in policies.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Sns => "sns".to_owned(),
            Self::EventBridge => "eventbridge".to_owned(),
            Self::At(pointer) => pointer.as_str().to_owned(),
        }
    }

    /// The places that an object must have to be this envelope; the event is at the last one.
    fn places(&self) -> Vec<&str> {
        match self {
            Self::Sns => vec!["/Type", "/TopicArn", "/Message"],
            Self::EventBridge => vec!["/detail-type", "/source", "/detail"],
            Self::At(pointer) => vec![pointer.as_str()],
        }
    }
}

/// A [`BodyRule`] that can be applied.
#[derive(Debug)]
pub(crate) struct BodyReader {
    steps: Vec<ReadyStep>,
    records: Option<(Pointer, FieldTree, FieldId)>,
    max_records: usize,
    allow_unwrapped: bool,
}

#[derive(Debug)]
enum ReadyStep {
    Decode(Encoding),
    /// The whole body is a JSON text that holds the event.
    Unquote,
    Unwrap {
        name: String,
        tree: FieldTree,
        places: Vec<FieldId>,
    },
}

/// A body that has been opened.
pub(crate) struct Opened<'a> {
    /// The JSON texts around the event, from the outside in.
    pub(crate) around: Vec<Cow<'a, [u8]>>,
    pub(crate) event: Cow<'a, [u8]>,
}

/// One record of an event.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) text: &'a str,
    /// The JSON text whose array it is in; `None` when the record is not within another text.
    pub(crate) around: Option<&'a str>,
}

impl BodyReader {
    /// `None` when the body itself is the event and the record.
    pub(crate) fn new(rule: &BodyRule) -> Option<Self> {
        let BodyRule { steps, records, max_records, allow_unwrapped } = rule;
        let ready = |step: &Step| match step {
            Step::Decode(encoding) => ReadyStep::Decode(*encoding),
            Step::Unwrap(Envelope::At(pointer)) if pointer.is_whole_body() => ReadyStep::Unquote,
            Step::Unwrap(envelope) => {
                let mut tree = FieldTree::new();
                let places = envelope.places().into_iter().filter_map(|place| Pointer::parse(place).ok());
                let places = places.map(|place| tree.add(&place)).collect();
                ReadyStep::Unwrap { name: envelope.name(), tree, places }
            }
        };
        let records = records.as_ref().map(|pointer| {
            let mut tree = FieldTree::new();
            let place = tree.add(pointer);
            (pointer.clone(), tree, place)
        });
        let is_needed = !steps.is_empty() || records.is_some();
        is_needed.then(|| Self {
            steps: steps.iter().map(ready).collect(),
            records,
            max_records: *max_records,
            allow_unwrapped: *allow_unwrapped,
        })
    }

    /// Whether a message may have any number of records.
    pub(crate) fn has_records(&self) -> bool {
        self.records.is_some()
    }

    /// Takes all envelopes off.
    pub(crate) fn open<'a>(&self, body: &'a [u8]) -> Result<Opened<'a>, BodyFlaw> {
        let mut opened = Opened { around: Vec::new(), event: Cow::Borrowed(body) };
        for step in &self.steps {
            match step {
                ReadyStep::Decode(encoding) => match encoding.decode(&opened.event) {
                    Ok(decoded) => opened.event = decoded.into(),
                    Err(BodyFlaw::NotDecodable(_)) if self.allow_unwrapped => {}
                    Err(flaw) => return Err(flaw),
                },
                ReadyStep::Unquote => match serde_json::from_slice::<String>(&opened.event) {
                    Ok(event) => opened.event = event.into_bytes().into(),
                    Err(_) if self.allow_unwrapped => {}
                    Err(_) => return Err(BodyFlaw::NotWrapped(String::new())),
                },
                ReadyStep::Unwrap { name, tree, places } => match unwrap(tree, places, &opened.event) {
                    Ok(inner) => opened.around.push(std::mem::replace(&mut opened.event, inner.into())),
                    Err(_) if self.allow_unwrapped => {}
                    Err(Unwrapping::NotJson) => return Err(BodyFlaw::NotJson),
                    Err(Unwrapping::NotWrapped) => return Err(BodyFlaw::NotWrapped(name.clone())),
                },
            }
        }
        Ok(opened)
    }

    /// The records of an opened body, in order.
    pub(crate) fn elements<'a>(&self, opened: &'a Opened<'_>) -> Result<Vec<Element<'a>>, BodyFlaw> {
        let text = std::str::from_utf8(&opened.event).map_err(|_| BodyFlaw::NotJson)?;
        let Some((pointer, tree, place)) = &self.records else {
            return Ok(vec![Element { text, around: None }]);
        };
        let (mut elements, mut is_json) = (Vec::new(), false);
        for event in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
            let event = event.map_err(|_| BodyFlaw::NotJson)?.get();
            if pointer.is_whole_body() && event.starts_with('{') {
                elements.push(Element { text: event, around: None });
            } else {
                let around = (!pointer.is_whole_body()).then_some(event);
                let array = if pointer.is_whole_body() {
                    Some(event)
                } else {
                    let body = tree.find(event.as_bytes())?;
                    body.raw(*place)
                };
                let array = array.filter(|array| array.starts_with('['));
                let array = array.ok_or_else(|| BodyFlaw::NotAnArray(pointer.as_str().to_owned()))?;
                let within = first_elements(array, self.max_records + 1).map_err(|_| BodyFlaw::NotJson)?;
                elements.extend(within.into_iter().map(|record| Element { text: record.get(), around }));
            }
            if elements.len() > self.max_records {
                return Err(BodyFlaw::TooManyRecords(self.max_records));
            }
            is_json = true;
        }
        if is_json { Ok(elements) } else { Err(BodyFlaw::NotJson) }
    }
}

/// The first `most` elements of a JSON array. The rest is read and not kept, however many there are.
fn first_elements(array: &str, most: usize) -> serde_json::Result<Vec<&RawValue>> {
    let mut json = serde_json::Deserializer::from_str(array);
    let elements = json.deserialize_seq(FirstElements(most))?;
    json.end()?;
    Ok(elements)
}

struct FirstElements(usize);

impl<'de> Visitor<'de> for FirstElements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.0 {
            let Some(element) = array.next_element()? else { return Ok(elements) };
            elements.push(element);
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

enum Unwrapping {
    NotJson,
    NotWrapped,
}

/// The event in an envelope.
fn unwrap(tree: &FieldTree, places: &[FieldId], text: &[u8]) -> Result<Vec<u8>, Unwrapping> {
    let body = tree.find(text).map_err(|flaw| match flaw {
        BodyFlaw::NotAnObject => Unwrapping::NotWrapped,
        _ => Unwrapping::NotJson,
    })?;
    let is_envelope = places.iter().all(|place| body.has(*place));
    let event = places.last().filter(|_| is_envelope).and_then(|place| body.get(*place).ok().flatten());
    match event {
        Some(FieldValue::Text(text)) => Ok(text.into_owned().into_bytes()),
        Some(FieldValue::Json(json)) => Ok(json.as_bytes().to_vec()),
        _ => Err(Unwrapping::NotWrapped),
    }
}

#[cfg(test)]
mod tests {
    use super::first_elements;

    #[test]
    fn no_more_elements_are_kept_than_are_asked_for() {
        let array = format!("[{}0]", "0,".repeat(100_000));
        let elements = first_elements(&array, 3).unwrap();
        assert!(elements.len() == 3 && elements.capacity() < 10);
        assert_eq!(first_elements("[1, {}]", 3).unwrap().len(), 2);
        for bad in ["[1, 2", "[1, 2] 3", "[1 2]", "{}"] {
            assert!(first_elements(bad, 1).is_err(), "{bad}: the rest is read too");
        }
    }
}
