//! A second masker, as simple as possible, with which the real one must agree. It knows each body before it
//! is written as JSON.

#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use proptest::prelude::*;
use sha2::{Digest, Sha512};
use veilpost_masker::{HmacKeys, Mask, Policy};
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{RawRecord, Reason};

const POLICY: &str = include_str!("every_transform.toml");

fn mask() -> Mask {
    let keys = HmacKeys::parse(&format!("k1={}", "0b".repeat(32)).into(), "keys").unwrap();
    Mask::new(&Policy::parse(POLICY, "every_transform.toml").unwrap(), &keys).unwrap()
}

/// A body before it is written.
#[derive(Clone, Debug)]
enum Json {
    Null,
    Boolean(bool),
    /// As it is spelled.
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The JSON text; with `escaped`, every character of a text is escaped.
    fn written(&self, escaped: bool) -> String {
        let all = |parts: Vec<String>| parts.join(" , ");
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Number(spelled) => spelled.clone(),
            Self::Text(text) => quoted(text, escaped),
            Self::Array(items) => {
                format!("[ {}]", all(items.iter().map(|item| item.written(escaped)).collect()))
            }
            Self::Object(members) => {
                let member = |(name, value): &(String, Self)| {
                    format!("{}: {}", quoted(name, !escaped), value.written(escaped))
                };
                format!("{{{} }}", all(members.iter().map(member).collect()))
            }
        }
    }

    /// The value that the names lead to; of equal names the last one counts.
    fn at(&self, path: &[&str]) -> Option<&Self> {
        let Some((name, rest)) = path.split_first() else { return Some(self) };
        match self {
            Self::Object(members) => members.iter().rev().find(|(own, _)| own == name)?.1.at(rest),
            Self::Array(items) => items.get(name.parse::<usize>().ok()?)?.at(rest),
            _ => None,
        }
    }

    /// The text that is hashed; `None` for what cannot be hashed.
    fn scalar(&self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text.clone()),
            Self::Boolean(boolean) => Some(boolean.to_string()),
            Self::Null | Self::Array(_) | Self::Object(_) => None,
        }
    }
}

fn quoted(text: &str, escaped: bool) -> String {
    if !escaped {
        return serde_json::to_string(text).unwrap();
    }
    let units: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{}\"", units.concat())
}

/// RFC 2104 by hand, with the key of [`mask`]: 32 bytes of 0x0b.
fn hmac(message: &[u8]) -> String {
    let pad = |byte: u8| -> Vec<u8> { (0..128).map(|at| if at < 32 { 0x0b ^ byte } else { byte }).collect() };
    let inner = Sha512::digest([pad(0x36), message.to_vec()].concat());
    const_hex::encode(Sha512::digest([pad(0x5c), inner.to_vec()].concat()))
}

fn copied(value: Option<&Json>, escaped: bool) -> Result<Option<Kind>, Reason> {
    Ok(match value {
        None | Some(Json::Null) => None,
        Some(Json::Text(text)) if text.contains('\0') => return Err(Reason::NulInText),
        Some(Json::Text(text)) => Some(Kind::Text(text.clone())),
        Some(Json::Number(spelled)) => Some(Kind::Number(spelled.clone())),
        Some(Json::Boolean(boolean)) => Some(Kind::Boolean(*boolean)),
        Some(container) => Some(Kind::Json(container.written(escaped))),
    })
}

fn hashed(value: Option<&Json>, hash: impl Fn(&str) -> String) -> Result<Option<Kind>, Reason> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(value) => Ok(Some(Kind::Text(hash(&value.scalar().ok_or(Reason::NotAScalar)?)))),
    }
}

fn version(value: Option<&Json>) -> Result<Option<Kind>, Reason> {
    let text = match value {
        None | Some(Json::Null) => return Ok(None),
        Some(value) => value.scalar().ok_or(Reason::NotAScalar)?,
    };
    // Small numbers are enough here. Integers of any size are tested beside the code.
    let number = text.split('.').next().and_then(|major| major.parse::<i128>().ok());
    Ok(number.map(|number| Kind::Number(number.to_string())))
}

#[allow(clippy::unnecessary_wraps, reason = "stands for a column's value")]
fn text(text: &str) -> Option<Kind> {
    Some(Kind::Text(text.to_owned()))
}

/// What [`mask`] must make of a body: one value for each column of `every_transform.toml`.
fn expected(body: &Json, escaped: bool) -> Result<Vec<Option<Kind>>, Reason> {
    if !matches!(body, Json::Object(_)) {
        return Err(Reason::NotAnObject);
    }
    let sha512 = |text: &str| const_hex::encode(Sha512::digest(text));
    Ok(vec![
        copied(Some(body), escaped)?,
        copied(body.at(&["a"]), escaped)?,
        copied(body.at(&["a", "a", "0", "a"]), escaped)?,
        hashed(body.at(&["b"]), sha512)?,
        hashed(body.at(&["c"]), |text| format!("k1.{}", hmac(&[b"d\0", text.as_bytes()].concat())))?,
        version(body.at(&["d"]))?,
        text("2026-11-29"),
        text("1970-01-02"),
        text("1970-01-02T00:00:00.007Z"),
        text("m1"),
    ])
}

/// A body from which every column gets a value.
fn full() -> Json {
    let text = |text: &str| Json::Text(text.to_owned());
    let object = |members: Vec<(&str, Json)>| {
        Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let deep = object(vec![("a", text("deep"))]);
    object(vec![
        ("a", object(vec![("a", Json::Array(vec![deep]))])),
        ("b", text("b")),
        ("c", Json::Number("7".to_owned())),
        ("d", text("12.3")),
    ])
}

fn json() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,4})?",
    ];
    let leaf = prop_oneof![
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::Boolean),
        2 => number.prop_map(Json::Number),
        3 => prop_oneof![any::<String>(), "[0-9]{1,3}(\\.[0-9]{0,2}){0,2}", "[a\0\"\\\\\u{1f600}]{0,6}"].prop_map(Json::Text),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let member = (prop::sample::select(&["a", "b", "c", "d", "0", "é"][..]), inner.clone());
        prop_oneof![
            4 => prop::collection::vec(member, 0..6)
                .prop_map(|members| Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())),
            1 => prop::collection::vec(inner, 0..3).prop_map(Json::Array),
        ]
    })
}

/// What the masker makes of a body, as [`expected`] says it.
fn masked(body: &Json, escaped: bool) -> Result<Vec<Option<Kind>>, Reason> {
    let record = RawRecord {
        message_id: "m1".to_owned(),
        sent_timestamp_ms: 86_400_007,
        body: Some(body.written(escaped).into()),
        ..RawRecord::default()
    };
    let mask = mask();
    let masked = mask.apply(&record, "2026-11-29T23:59:59Z".parse().unwrap());
    let values = masked.map(|masked| masked.record.values.into_iter().map(|value| value.kind).collect());
    values.map_err(|rejected| rejected.reason)
}

#[test]
fn every_column_gets_its_value_from_a_full_body() {
    let (masked, expected) = (masked(&full(), false).unwrap(), expected(&full(), false).unwrap());
    assert_eq!(expected.len(), masked.len(), "`expected` has one value for each column");
    for (number, (masked, expected)) in masked.into_iter().zip(expected).enumerate() {
        assert!(expected.is_some(), "`full` gives the column at {number} no value");
        assert_eq!(masked, expected, "the column at {number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_masker_does_what_the_naive_one_does(body in json(), escaped: bool) {
        prop_assert_eq!(masked(&body, escaped), expected(&body, escaped));
    }
}
