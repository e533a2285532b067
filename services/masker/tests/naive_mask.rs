//! A second masker, as simple as possible, with which the real one must agree. It knows each body before it
//! is written as JSON.

#![allow(clippy::unwrap_used, reason = "a test's helpers")]

#[path = "naive_mask/values.rs"]
mod values;

use proptest::prelude::*;
use sha2::{Digest, Sha512};
use veilpost_masker::{HmacKeys, Mask, Policy};
use veilpost_proto::v1::value::Kind;
use veilpost_proto::v1::{RawRecord, Reason, TraceContext};

use values::{boolean, day, domain, email, epoch, ip, network, normal, partial, phone, time};

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

    /// The JSON text as [`Self::written`] writes it, less what the paths lead to and the commas that are too
    /// many.
    fn written_without<'p>(&self, paths: &[&'p [&'p str]], escaped: bool) -> String {
        let inside = |name: &str| -> Vec<&'p [&'p str]> {
            let below = |path: &&'p [&'p str]| path.split_first().filter(|(first, _)| **first == name);
            paths.iter().filter_map(below).map(|(_, rest)| rest).collect()
        };
        let named: Vec<(String, String, &Self)> = match self {
            Self::Array(items) => {
                items.iter().enumerate().map(|(at, item)| (at.to_string(), String::new(), item)).collect()
            }
            Self::Object(members) => {
                let key = |name: &str| format!("{}: ", quoted(name, !escaped));
                members.iter().map(|(name, value)| (name.clone(), key(name), value)).collect()
            }
            _ => return self.written(escaped),
        };
        let array = matches!(self, Self::Array(_));
        let last = named.len().saturating_sub(1);
        let mut parts = Vec::new();
        for (at, (name, key, value)) in named.iter().enumerate() {
            let inside = inside(name);
            if inside.contains(&&[][..]) {
                continue;
            }
            let before = if at > 0 || array { " " } else { "" };
            let after = if at < last || !array { " " } else { "" };
            parts.push(format!("{before}{key}{}{after}", value.written_without(&inside, escaped)));
        }
        match (array, named.is_empty()) {
            (true, true) => "[ ]".to_owned(),
            (true, false) => format!("[{}]", parts.join(",")),
            (false, true) => "{ }".to_owned(),
            (false, false) => format!("{{{}}}", parts.join(",")),
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
        text("4bf92f3577b34da6a3ce929d0e0e4736"),
        text("2026-11-30"),
        rest(body.at(&["rest"]), escaped)?,
        scalar(body.at(&["normal"]), |text| Ok(normal(text)))?
            .filter(|normal| !normal.is_empty())
            .map_or(text("none"), |normal| text(&normal)),
        of_text(body.at(&["ip"]), network)?,
        of_text(body.at(&["ip"]), |text| Ok(sha512(&ip(text)?.to_string())))?,
        of_text(body.at(&["phone"]), phone)?,
        of_text(body.at(&["phone"]), |text| Ok(partial(text)))?,
        of_text(body.at(&["phone"]), |_| Ok("[redacted]".to_owned()))?,
        of_text(body.at(&["mail"]), email)?,
        of_text(body.at(&["mail"]), domain)?,
        of_text(body.at(&["seconds"]), |text| epoch(text, 1000))?,
        of_text(body.at(&["milliseconds"]), |text| epoch(text, 1))?,
        of_text(body.at(&["day"]), day)?,
        of_text(body.at(&["time"]), time)?,
        flag(body.at(&["flag"]))?,
    ])
}

/// What `make` makes of the text of a scalar; `None` for absent and null.
fn scalar(
    value: Option<&Json>,
    make: impl Fn(&str) -> Result<String, Reason>,
) -> Result<Option<String>, Reason> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(value) => make(&value.scalar().ok_or(Reason::NotAScalar)?).map(Some),
    }
}

fn of_text(
    value: Option<&Json>,
    make: impl Fn(&str) -> Result<String, Reason>,
) -> Result<Option<Kind>, Reason> {
    Ok(scalar(value, make)?.map(Kind::Text))
}

fn flag(value: Option<&Json>) -> Result<Option<Kind>, Reason> {
    let flag = match value {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Boolean(flag)) => *flag,
        Some(value) => boolean(&value.scalar().ok_or(Reason::NotAScalar)?)?,
    };
    Ok(Some(Kind::Boolean(flag)))
}

/// A copy without `/a/b` and `/0`.
fn rest(value: Option<&Json>, escaped: bool) -> Result<Option<Kind>, Reason> {
    match value {
        None | Some(Json::Null) => Ok(None),
        Some(value @ (Json::Array(_) | Json::Object(_))) => {
            Ok(Some(Kind::Json(value.written_without(&[&["a", "b"], &["0"]], escaped))))
        }
        Some(_) => Err(Reason::InvalidValue),
    }
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
        ("rest", object(vec![("a", object(vec![("b", text("secret")), ("c", text("open"))]))])),
        ("normal", text(" E\u{301}A ")),
        ("ip", text("::ffff:203.0.113.7")),
        ("phone", text("+49 170/1234567")),
        ("mail", text("Ann@EXAMPLE.org")),
        ("seconds", Json::Number("1700000000.125".to_owned())),
        ("milliseconds", text("1700000000125")),
        ("day", text("29.11.2026")),
        ("time", text("2026-11-29 10:15")),
        ("flag", text("JA")),
    ])
}

/// Members with the names that only some transforms read, with values that these do something with.
fn special() -> impl Strategy<Value = Vec<(String, Json)>> {
    let texts = [
        ("normal", "[ \tAae\u{301}]{0,5}"),
        (
            "ip",
            r"[0-9]{1,3}(\.0?[0-9]{1,2}){3}|(::ffff:|2001:db8::)[0-9a-fA-F]{1,4}(:[0-9]{1,2})?|::ffff:1\.02\.3\.4",
        ),
        ("phone", r"\+?[0-9]{1,3}[ /-]?[0-9]{0,9}x?"),
        ("mail", r"[a-zB]{0,3}@{1,2}[a-zB]{0,3}(\.[a-zB]{1,3}){0,2}"),
        ("seconds", r"(0|-?[1-9][0-9]{0,12})(\.[0-9]{3})?"),
        ("milliseconds", r"(0|-?[1-9][0-9]{0,15})(\.[0-9]{3})?"),
        ("day", r"[0-3][0-9]\.[01][0-9]\.(0000|[0-9]{4})"),
        ("time", r"20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]"),
        ("flag", "[jJ][aA]|NEIN|nein|0|1|2"),
    ];
    let member = |(name, texts): (&'static str, &'static str)| {
        let number = name.contains("seconds");
        let spelled = texts.prop_map(move |text| if number { Json::Number(text) } else { Json::Text(text) });
        let odd = prop_oneof![
            Just(Json::Null),
            Just(Json::Boolean(true)),
            Just(Json::Array(Vec::new())),
            Just(Json::Text(String::new())),
            Just(Json::Text("x".to_owned())),
        ];
        let value = prop_oneof![12 => spelled, 6 => texts.prop_map(Json::Text), 1 => odd];
        let value = value.prop_map(move |value| (name.to_owned(), value));
        prop::option::weighted(0.3, value)
    };
    let rest = prop::option::of(json().prop_map(|value| ("rest".to_owned(), value)));
    (texts.map(member).to_vec(), rest)
        .prop_map(|(members, rest)| members.into_iter().chain([rest]).flatten().collect())
}

/// A body with members of both kinds.
fn body() -> impl Strategy<Value = Json> {
    (json(), special(), any::<bool>()).prop_map(|(body, special, first)| match body {
        Json::Object(members) if first => Json::Object(special.into_iter().chain(members).collect()),
        Json::Object(members) => Json::Object(members.into_iter().chain(special).collect()),
        other => other,
    })
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
        producer: Some(TraceContext {
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
            ..TraceContext::default()
        }),
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
    fn the_masker_does_what_the_naive_one_does(body in body(), escaped: bool) {
        prop_assert_eq!(masked(&body, escaped), expected(&body, escaped));
    }
}
