//! What policies with `[body]` make of messages: envelopes, encodings, arrays.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{Attribute, attribute};

use super::*;

const COLUMN: &str = "[[column]]\nname = 'a'\nsource = '/a'\ntransform = 'copy'\n";

fn mask(body: &str) -> Mask {
    let policy = format!("table = 't'\n[body]\n{body}\n{COLUMN}");
    Mask::new(&Policy::parse(&policy, "p.toml").unwrap(), &HmacKeys::default()).unwrap()
}

fn apply<'m>(mask: &'m Mask, body: &str) -> Result<Masked<'m>, Rejected> {
    let record = RawRecord { body: Some(body.to_owned().into()), ..RawRecord::default() };
    mask.apply(&record, Timestamp::UNIX_EPOCH)
}

/// The numbers in the column of each row.
fn rows(mask: &Mask, body: &str) -> Result<Vec<String>, Rejected> {
    let Masked { record, .. } = apply(mask, body)?;
    assert_eq!(record.rows.map_or(1, numbers::to_usize), record.values.len(), "one column");
    let number = |value: Value| match value.kind {
        Some(Kind::Number(number)) => number,
        other => panic!("{other:?} is no number"),
    };
    Ok(record.values.into_iter().map(number).collect())
}

fn reason(mask: &Mask, body: &str) -> Reason {
    apply(mask, body).err().map(|rejected| rejected.reason).unwrap_or_default()
}

/// What SNS delivers by default.
fn sns(message: &str) -> String {
    json!({"Type": "Notification", "MessageId": "i", "TopicArn": "arn:aws:sns:eu-west-1:1:t",
           "Message": message, "Timestamp": "2026-11-29T10:15:00.000Z"})
    .to_string()
}

#[test]
fn an_event_is_taken_out_of_its_envelope() {
    let eventbridge =
        json!({"version": "0", "detail-type": "d", "source": "s", "detail": {"a": 1}}).to_string();
    let quoted = json!(r#"{"a": 1}"#).to_string();
    let nested = sns(&eventbridge);
    let encoded = STANDARD.encode(r#"{"a": 1}"#);
    for (rule, body) in [
        ("unwrap = 'sns'", sns(r#"{"a": 1}"#)),
        ("unwrap = 'eventbridge'", eventbridge.clone()),
        ("unwrap = ['sns', 'eventbridge']", nested),
        ("unwrap = '/x/y'", json!({"x": {"y": r#"{"a": 1}"#}}).to_string()),
        ("unwrap = '/x'", json!({"x": {"a": 1}}).to_string()),
        ("unwrap = ''", quoted),
        ("decode = ['base64']", encoded.clone()),
        ("decode = ['base64']\nunwrap = 'sns'", STANDARD.encode(sns(r#"{"a": 1}"#))),
        ("unwrap = ['/data', 'base64']", json!({"data": encoded}).to_string()),
    ] {
        assert_eq!(rows(&mask(rule), &body).unwrap(), ["1"], "{rule}");
    }
}

#[test]
fn each_element_of_an_array_becomes_a_row() {
    for (rule, body, expected) in [
        ("records = '/Records'", r#"{"Records": [{"a": 1}, {"a": 2}]}"#, vec!["1", "2"]),
        ("records = '/x/y'", r#"{"x": {"y": [{"a": 1}]}}"#, vec!["1"]),
        ("records = ''", r#"[{"a": 1}, {"a": 2}, {"a": 3}]"#, vec!["1", "2", "3"]),
        ("records = ''", r#"{"a": 7}"#, vec!["7"]),
        ("records = ''", "{\"a\": 1}\n{\"a\": 2}\n", vec!["1", "2"]),
        ("records = ''", "{\"a\": 1}{\"a\": 2}", vec!["1", "2"]),
        ("records = ''", "[{\"a\": 1}] [{\"a\": 2}] {\"a\": 3}", vec!["1", "2", "3"]),
        ("records = '/r'", "{\"r\": [{\"a\": 1}]} {\"r\": [{\"a\": 2}]}", vec!["1", "2"]),
        ("records = ''", "[]", vec![]),
    ] {
        assert_eq!(rows(&mask(rule), body).unwrap(), expected, "{rule}: {body}");
    }
    assert_eq!(
        rows(&mask("unwrap = 'sns'\nrecords = ''"), &sns(r#"[{"a": 1}, {"a": 2}]"#)).unwrap(),
        ["1", "2"]
    );
}

#[test]
fn only_a_policy_with_an_array_says_how_many_rows_there_are() {
    let number = |rule: &str, body: &str| apply(&mask(rule), body).ok().unwrap().record.rows;
    assert_eq!(number("", r#"{"a": 1}"#), None);
    assert_eq!(number("unwrap = ''", r#""{\"a\": 1}""#), None);
    assert_eq!(number("records = ''", r#"{"a": 1}"#), Some(1));
    assert_eq!(number("records = ''", "[]"), Some(0));
}

#[test]
fn whatever_is_wrong_has_a_reason_of_its_own() {
    for (rule, body, expected) in [
        ("unwrap = 'sns'", r#"{"a": 1}"#, Reason::NotWrapped),
        ("unwrap = 'sns'", "[1]", Reason::NotWrapped),
        ("unwrap = 'sns'", "no JSON", Reason::NotJson),
        ("unwrap = 'sns'", &sns("no JSON"), Reason::NotJson),
        ("unwrap = 'sns'", &sns("[1]"), Reason::NotAnObject),
        (
            "unwrap = 'eventbridge'",
            r#"{"detail-type": "d", "source": "s", "detail": null}"#,
            Reason::NotWrapped,
        ),
        ("unwrap = '/x'", r#"{"x": 1}"#, Reason::NotWrapped),
        ("unwrap = ''", r#"{"a": 1}"#, Reason::NotWrapped),
        ("decode = ['base64']", r#"{"a": 1}"#, Reason::NotDecodable),
        ("decode = ['base64', 'gzip']", "Zm9v", Reason::NotDecodable),
        ("records = '/r'", r#"{"a": 1}"#, Reason::NotAnArray),
        ("records = '/r'", r#"{"r": {"a": 1}}"#, Reason::NotAnArray),
        ("records = ''", "7", Reason::NotAnArray),
        ("records = ''", "", Reason::NotJson),
        ("records = ''", "[{\"a\": 1}", Reason::NotJson),
        ("records = ''", "{\"a\": 1} x", Reason::NotJson),
        ("records = ''", "[1]", Reason::NotAnObject),
        ("records = ''\nmax_records = 2", "[{\"a\": 1}, {\"a\": 1}, {\"a\": 1}]", Reason::TooManyRecords),
        ("records = ''", "[{\"a\": 1}, {\"b\": 1}]", Reason::UnknownRecord),
        ("", r#""{\"a\": 1}""#, Reason::NotAnObject),
    ] {
        assert_eq!(reason(&mask(rule), body), expected, "{rule}: {body}");
    }
}

#[test]
fn a_rejection_names_the_element_and_what_the_body_looks_like() {
    let detail =
        |rule: &str, body: &str| apply(&mask(rule), body).err().map(|rejected| rejected.detail).unwrap();
    let nul = "[{\"a\": 1}, {\"a\": \"\\u0000\"}]";
    assert_eq!(detail("records = ''", nul), "element 1, column a, copy: U+0000 in text");
    assert!(detail("", &sns("{}")).ends_with("unwrap = \"sns\""));
    assert!(detail("", "{\"a\": 1}\n{\"a\": 2}").ends_with("records = \"\""));
}

#[test]
fn raw_and_wrapped_messages_share_a_queue_where_the_policy_says_so() {
    let mask = mask("unwrap = 'sns'\nallow_unwrapped = true");
    assert_eq!(rows(&mask, &sns(r#"{"a": 1}"#)).unwrap(), ["1"]);
    assert_eq!(rows(&mask, r#"{"a": 2}"#).unwrap(), ["2"]);
}

#[test]
fn a_policy_with_arrays_needs_a_writer_that_takes_them() {
    let needs = |body: &str| {
        let policy = format!("table = 't'\n[body]\n{body}\n{COLUMN}");
        Policy::parse(&policy, "p.toml").unwrap().needs()
    };
    assert_eq!(needs("unwrap = 'sns'"), []);
    assert_eq!(needs("records = ''"), [veilpost_runtime::Feature::Rows]);
}

#[test]
fn every_mistake_in_body_is_said_at_once_and_where() {
    let policy = format!(
        "table = 't'\n[body]\ndecode = ['base46']\nunwrap = ['snss', 7]\nrecords = 'Records'\nmax_records = 0\n{COLUMN}"
    );
    let error = Policy::parse(&policy, "p.toml").unwrap_err().to_string();
    for (line, what) in [
        (3, "base64, gzip, zstd"),
        (4, "sns, eventbridge"),
        (4, "a text"),
        (5, "/Records"),
        (6, "max_records"),
    ] {
        let found =
            error.lines().any(|said| said.contains(&format!("p.toml:{line}:")) && said.contains(what));
        assert!(found, "line {line}, {what}: {error}");
    }
    for (body, what) in
        [("max_records = 5", "without `records`"), ("allow_unwrapped = true", "nothing is wrapped")]
    {
        let policy = format!("table = 't'\n[body]\n{body}\n{COLUMN}");
        assert!(Policy::parse(&policy, "p.toml").unwrap_err().to_string().contains(what), "{body}");
    }
}

/// A policy of one text column.
fn text_mask(head: &str, column: &str) -> Mask {
    let policy = format!("table = 't'\n{head}\n[[column]]\nname = 'c'\ntransform = 'copy'\n{column}\n");
    Mask::new(&Policy::parse(&policy, "p.toml").unwrap(), &HmacKeys::default()).unwrap()
}

fn texts(mask: &Mask, body: &str, attributes: &[Attribute]) -> Result<Vec<Option<String>>, Rejected> {
    let attributes = attributes.to_vec();
    let record = RawRecord { body: Some(body.to_owned().into()), attributes, ..RawRecord::default() };
    let text = |value: Value| match value.kind {
        Some(Kind::Text(text)) => Some(text),
        _ => None,
    };
    Ok(mask.apply(&record, Timestamp::UNIX_EPOCH)?.record.values.into_iter().map(text).collect())
}

fn attribute(name: &str, value: attribute::Value) -> Attribute {
    Attribute { name: name.to_owned(), value: Some(value) }
}

#[test]
fn a_value_may_be_from_a_message_attribute() {
    let mask = text_mask("", "attribute = 'tenant'");
    assert!(mask.reads_attributes());
    let tenant = attribute("tenant", attribute::Value::Text("acme".to_owned()));
    let other = attribute("other", attribute::Value::Text("x".to_owned()));
    assert_eq!(texts(&mask, "{}", &[other.clone(), tenant]).unwrap(), [Some("acme".to_owned())]);
    assert_eq!(texts(&mask, "{}", &[other]).unwrap(), [None]);
    let binary = attribute("tenant", attribute::Value::Binary("acme".into()));
    let rejected = texts(&mask, "{}", &[binary]).unwrap_err();
    assert!(rejected.reason == Reason::InvalidValue && !rejected.detail.contains("acme"), "{rejected}");
}

#[test]
fn a_value_may_be_from_what_is_around_the_record() {
    let topic = text_mask("[body]\nunwrap = 'sns'", "envelope = '/TopicArn'");
    assert!(!topic.reads_attributes());
    assert_eq!(texts(&topic, &sns("{}"), &[]).unwrap(), [Some("arn:aws:sns:eu-west-1:1:t".to_owned())]);
    let region = text_mask("[body]\nunwrap = 'sns'\nrecords = '/r'", "envelope = '/region'");
    let event = json!({"region": "eu", "TopicArn": "inner", "r": [{}, {}]}).to_string();
    assert_eq!(texts(&region, &sns(&event), &[]).unwrap(), vec![Some("eu".to_owned()); 2]);
    let both = text_mask("[body]\nunwrap = 'sns'\nrecords = '/r'", "envelope = '/TopicArn'");
    assert_eq!(texts(&both, &sns(&event), &[]).unwrap(), vec![Some("inner".to_owned()); 2]);
    let outer = json!({"r": [{}]}).to_string();
    assert_eq!(texts(&both, &sns(&outer), &[]).unwrap(), [Some("arn:aws:sns:eu-west-1:1:t".to_owned())]);
}

#[test]
fn each_of_several_events_is_around_its_own_records() {
    let mask = text_mask("[body]\nrecords = '/r'", "envelope = '/e'");
    let body = r#"{"e": "one", "r": [{}, {}]} {"r": [{}]} {"e": "three", "r": [{}]}"#;
    let one = Some("one".to_owned());
    assert_eq!(texts(&mask, body, &[]).unwrap(), [one.clone(), one, None, Some("three".to_owned())]);
}

#[test]
fn a_source_that_cannot_be_is_refused_with_the_policy() {
    let refused = |head: &str, column: &str| {
        let policy = format!("table = 't'\n{head}\n[[column]]\nname = 'c'\ntransform = 'copy'\n{column}\n");
        Policy::parse(&policy, "p.toml").unwrap_err().to_string()
    };
    assert!(refused("", "envelope = '/x'").contains("nothing is around the record"));
    assert!(refused("[body]\nrecords = ''", "envelope = '/x'").contains("nothing is around the record"));
    assert!(refused("", "attribute = ''").contains("1 to 256 bytes"));
    assert!(refused("", "attribute = 'traceparent'").contains("trace-id"));
    assert!(refused("", "attribute = 'a'\nsource = '/a'").contains("not several"));
    assert!(refused("", "").contains("an `attribute`"));
}

proptest! {
    #[test]
    fn rows_are_the_elements_in_their_order_however_they_travel(numbers in prop::collection::vec(any::<u32>(), 0..40)) {
        let elements: Vec<_> = numbers.iter().map(|number| json!({"a": number})).collect();
        let expected: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        let lines = elements.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let array = json!(elements).to_string();
        prop_assert_eq!(rows(&mask("records = ''"), &array).unwrap(), expected.clone());
        prop_assert_eq!(rows(&mask("records = '/r'"), &json!({"r": elements}).to_string()).unwrap(), expected.clone());
        prop_assert_eq!(rows(&mask("unwrap = 'sns'\nrecords = ''"), &sns(&array)).unwrap(), expected.clone());
        if !numbers.is_empty() {
            prop_assert_eq!(rows(&mask("records = ''"), &lines).unwrap(), expected);
        }
    }

    #[test]
    fn no_body_makes_it_panic(body in "\\PC{0,60}", number in 0usize..4) {
        let rule = ["unwrap = ['sns', 'base64', 'gzip']", "records = ''", "decode = ['base64', 'zstd']", "unwrap = ''"][number];
        drop(apply(&mask(rule), &body));
    }
}
