//! The shapes of events, and the outcome of each.

use serde_json::{Value, json};
use veilpost_proto::v1::Reason;

use super::login::Login;

/// The outcome that an event must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedOutcome {
    Stored,
    Rejected(Reason),
}

/// How an event is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    Normal,
    NullLocale,
    OtherMessageType,
    EmptyObject,
    MissingFields,
    UnknownFields,
    UnparsableVersion,
    NumberForText,
    BooleanForText,
    RepeatedKey,
    WideText,
    CutOff,
    PlainText,
    LoneSurrogate,
    Array,
    BareText,
    ObjectForText,
    ListForText,
    OverlongText,
    VersionOutOfRange,
    NulInText,
}

/// In characters, as the default table has it.
const LOCALE_WIDTH: usize = 32;

impl ExpectedOutcome {
    /// The reason as messages in the dead-letter queue have it; none for a stored event.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Stored => None,
            Self::Rejected(reason) => Some(reason.name()),
        }
    }
}

impl Shape {
    /// Every odd shape, stored and rejected ones in turn.
    pub const ODD: [Self; 20] = [
        Self::NullLocale,
        Self::CutOff,
        Self::UnparsableVersion,
        Self::OverlongText,
        Self::OtherMessageType,
        Self::Array,
        Self::NumberForText,
        Self::ObjectForText,
        Self::EmptyObject,
        Self::NulInText,
        Self::UnknownFields,
        Self::PlainText,
        Self::WideText,
        Self::BareText,
        Self::MissingFields,
        Self::LoneSurrogate,
        Self::BooleanForText,
        Self::ListForText,
        Self::RepeatedKey,
        Self::VersionOutOfRange,
    ];

    /// The odd shapes in turn, over and over.
    pub(super) fn nth_odd(number: u64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|number| Self::ODD.get(number % Self::ODD.len()))
            .copied()
            .unwrap_or(Self::NullLocale)
    }

    /// The outcome of this shape under the rules for bodies.
    pub fn expected_outcome(self) -> ExpectedOutcome {
        match self {
            Self::CutOff | Self::PlainText | Self::LoneSurrogate => {
                ExpectedOutcome::Rejected(Reason::NotJson)
            }
            Self::Array | Self::BareText => ExpectedOutcome::Rejected(Reason::NotAnObject),
            Self::ObjectForText | Self::ListForText => ExpectedOutcome::Rejected(Reason::NotAScalar),
            Self::OverlongText => ExpectedOutcome::Rejected(Reason::TextTooLong),
            Self::VersionOutOfRange => ExpectedOutcome::Rejected(Reason::OutOfRange),
            Self::NulInText => ExpectedOutcome::Rejected(Reason::NulInText),
            _ => ExpectedOutcome::Stored,
        }
    }

    pub(super) fn body(self, login: &Login) -> String {
        match self {
            Self::OtherMessageType => json!({ "foo": "x" }).to_string(),
            Self::EmptyObject => "{}".to_owned(),
            Self::MissingFields => json!({ "user_id": login.user_id, "app_version": "7" }).to_string(),
            Self::NumberForText => written_as_number(login),
            Self::RepeatedKey => repeated_key(login),
            Self::CutOff => cut_off(login),
            Self::PlainText => format!("user {} logged in", login.user_id),
            Self::LoneSurrogate => with(login, "locale", &json!("?")).replace('?', "\\ud800"),
            Self::Array => json!([login.json()]).to_string(),
            Self::BareText => json!(login.user_id).to_string(),
            _ => self
                .changed_field(login)
                .map_or_else(|| login.text(), |(name, value)| with(login, name, &value)),
        }
    }

    fn changed_field(self, login: &Login) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::NullLocale => ("locale", Value::Null),
            Self::UnknownFields => ("session", json!({ "id": login.user_id, "tags": ["beta", 7, null] })),
            Self::UnparsableVersion => ("app_version", json!("latest")),
            Self::BooleanForText => ("device_type", json!(true)),
            Self::WideText => ("locale", json!("ж".repeat(LOCALE_WIDTH))),
            Self::ObjectForText => ("ip", json!({ "v4": login.ip })),
            Self::ListForText => ("device_type", json!([login.device_type])),
            Self::OverlongText => ("locale", json!("x".repeat(LOCALE_WIDTH + 1))),
            Self::VersionOutOfRange => ("app_version", json!("4294967296.0.1")),
            Self::NulInText => ("locale", json!("R\0U")),
            _ => return None,
        })
    }
}

fn with(login: &Login, name: &str, value: &Value) -> String {
    let mut body = login.json();
    if let Some(fields) = body.as_object_mut() {
        fields.insert(name.to_owned(), value.clone());
    }
    body.to_string()
}

/// More digits than a double holds: what is stored must be what was written.
fn written_as_number(login: &Login) -> String {
    with(login, "user_id", &json!("?")).replace("\"?\"", "12345678901234567890.50")
}

fn repeated_key(login: &Login) -> String {
    with(login, "device_type", &json!(login.device_type)).replacen('{', r#"{"device_type":"first","#, 1)
}

fn cut_off(login: &Login) -> String {
    let body = login.text();
    body.split_inclusive(',').take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    fn body(shape: Shape) -> String {
        shape.body(&Login::random(&mut Xoshiro256PlusPlus::seed_from_u64(1)))
    }

    #[test]
    fn only_shapes_that_are_not_json_fail_to_parse() {
        for shape in Shape::ODD {
            let parses = serde_json::from_str::<Value>(&body(shape)).is_ok();
            assert_eq!(
                parses,
                shape.expected_outcome() != ExpectedOutcome::Rejected(Reason::NotJson),
                "{shape:?}"
            );
        }
    }

    #[test]
    fn only_shapes_that_are_no_object_parse_as_something_else() {
        for shape in Shape::ODD {
            if let Ok(value) = serde_json::from_str::<Value>(&body(shape)) {
                assert_eq!(
                    value.is_object(),
                    shape.expected_outcome() != ExpectedOutcome::Rejected(Reason::NotAnObject),
                    "{shape:?}"
                );
            }
        }
    }

    #[test]
    fn half_of_the_odd_shapes_are_rejected() {
        let rejected =
            Shape::ODD.iter().filter(|shape| shape.expected_outcome() != ExpectedOutcome::Stored).count();
        assert_eq!(rejected, Shape::ODD.len() / 2);
    }

    #[test]
    fn reasons_read_as_in_the_dead_letter_queue() {
        assert_eq!(Shape::ObjectForText.expected_outcome().reason(), Some("not-a-scalar"));
        assert_eq!(Shape::Normal.expected_outcome().reason(), None);
    }

    #[test]
    fn every_shape_has_a_body_of_its_own() {
        let bodies: std::collections::HashSet<String> = Shape::ODD.into_iter().map(body).collect();
        assert_eq!(bodies.len(), Shape::ODD.len());
        assert!(!bodies.contains(&body(Shape::Normal)));
    }

    #[test]
    fn wide_text_fills_its_column_exactly_in_characters() {
        let value: Value = serde_json::from_str(&body(Shape::WideText)).unwrap();
        assert_eq!(value["locale"].as_str().unwrap().chars().count(), LOCALE_WIDTH);
    }

    #[test]
    fn a_repeated_key_comes_first_with_another_value() {
        let body = body(Shape::RepeatedKey);
        assert_eq!(body.matches("\"device_type\"").count(), 2);
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_ne!(value["device_type"], "first");
    }
}
