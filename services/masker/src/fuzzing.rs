//! What must hold for any input, as functions for the fuzz targets in `tests/fuzz` and for the tests below.

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use veilpost_proto::v1::{RawRecord, Reason};

use crate::mask::Mask;
use crate::policy::{Policy, warnings};
use crate::transform::HmacKeys;

const EVERY_TRANSFORM: &str = include_str!("../tests/every_transform.toml");

/// A mask with every transform.
pub fn mask() -> Mask {
    let keys =
        HmacKeys::parse(&format!("k1={}", "0b".repeat(32)).into(), "keys").expect("the key is well-formed");
    let policy = Policy::parse(EVERY_TRANSFORM, "p").expect("the policy is well-formed");
    Mask::new(&policy, &keys).expect("the key is there")
}

/// A body is masked, or it is rejected for a reason that `serde_json` sees too.
pub fn body(mask: &Mask, body: &[u8]) {
    let record = RawRecord { body: Some(body.to_vec().into()), ..RawRecord::default() };
    let rejected = mask.apply(&record, Timestamp::UNIX_EPOCH).err().map(|rejected| rejected.reason);
    match serde_json::from_slice::<TopLevel>(body) {
        Ok(TopLevel::Object) => {
            let of_fields = [Reason::NotAScalar, Reason::NulInText, Reason::InvalidValue, Reason::OutOfRange];
            let known = rejected.is_none_or(|reason| of_fields.contains(&reason));
            assert!(known, "an object, and {rejected:?}");
        }
        Ok(TopLevel::Other) => assert_eq!(rejected, Some(Reason::NotAnObject)),
        // The only JSON that `serde_json` refuses.
        Err(error) if error.to_string().starts_with("number out of range") => {}
        Err(_) => assert_eq!(rejected, Some(Reason::NotJson)),
    }
}

/// What JSON is at its top. `serde_json` reads all of it, and nothing is kept. Its own `Value` does not serve
/// here: it takes an object with the key `$serde_json::private::RawValue` for something else.
enum TopLevel {
    Object,
    Other,
}

impl<'de> Deserialize<'de> for TopLevel {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(TopLevelVisitor)
    }
}

struct TopLevelVisitor;

impl<'de> Visitor<'de> for TopLevelVisitor {
    type Value = TopLevel;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<TopLevel, E> {
        Ok(TopLevel::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<TopLevel, E> {
        Ok(TopLevel::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<TopLevel, E> {
        Ok(TopLevel::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<TopLevel, E> {
        Ok(TopLevel::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<TopLevel, E> {
        Ok(TopLevel::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<TopLevel, E> {
        Ok(TopLevel::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TopLevel, A::Error> {
        while items.next_element::<TopLevel>()?.is_some() {}
        Ok(TopLevel::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<TopLevel, A::Error> {
        while members.next_entry::<String, TopLevel>()?.is_some() {}
        Ok(TopLevel::Object)
    }
}

/// A policy is read, or it is refused with the place of each problem.
pub fn policy(text: &str) {
    match Policy::parse(text, "p") {
        Ok(policy) => {
            assert!(!policy.columns.is_empty() && policy.target().columns.len() == policy.columns.len());
            drop((warnings(&policy), Mask::new(&policy, &HmacKeys::default())));
        }
        Err(error) => assert!(
            error.0.lines().all(|line| line.starts_with("p:")) || error.0.starts_with("p:"),
            "{error}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1 << 20;

    /// One mebibyte of the worst of each kind.
    fn hostile() -> Vec<(&'static str, Vec<u8>)> {
        let fill = |unit: &str| unit.repeat(MIB / unit.len());
        let text = |name: &'static str, text: String| (name, text.into_bytes());
        vec![
            text("deep arrays", fill("[")),
            text("deep objects", fill("{\"a\":")),
            text("deep in a field", format!("{{\"a\":{}", fill("["))),
            text("balanced depth", format!("{{\"a\":{}{}}}", "[".repeat(MIB / 2), "]".repeat(MIB / 2))),
            text("many keys", format!("{{{}\"a\":1}}", fill("\"x\":0,"))),
            text("many duplicates", format!("{{{}\"a\":1}}", fill("\"a\":{\"a\":[{}]},"))),
            text("many elements", format!("{{\"a\":{{\"a\":[{}0]}}}}", fill("0,"))),
            text("a long key", format!("{{\"{}\":1}}", fill("a"))),
            text("a long text", format!("{{\"a\":\"{}\"}}", fill("a"))),
            text("escapes", format!("{{\"a\":\"{}\"}}", fill("\\u0061"))),
            text("escaped quotes", format!("{{\"a\":\"{}\"}}", fill("\\\""))),
            text("backslashes", format!("{{\"a\":\"{}", fill("\\"))),
            text("pairs of surrogates", format!("{{\"b\":\"{}\"}}", fill("\\ud83d\\ude00"))),
            text("lone surrogates", format!("{{\"b\":\"{}\"}}", fill("\\ud83d"))),
            text("a hundred thousand digits", format!("{{\"d\":{}}}", "9".repeat(100_000))),
            text("a mebibyte of digits", format!("{{\"d\":\"{}\"}}", fill("9"))),
            text("a huge exponent", format!("{{\"d\":1e{}}}", "9".repeat(100_000))),
            text("many decimal places", format!("{{\"c\":0.{}1}}", fill("0"))),
            text("a long domain", format!("{{\"mail\":\"a@{}.org\"}}", fill("ä"))),
            text("many labels", format!("{{\"mail\":\"a@{}org\"}}", fill("ä."))),
            text("a long local part", format!("{{\"mail\":\"{}@a.org\"}}", fill("\\\""))),
            text("a long address", format!("{{\"ip\":\"{}\"}}", fill("::1."))),
            text("accents", format!("{{\"normal\":\"a{}\"}}", fill("\u{301}\u{323}"))),
            text("long digits of seconds", format!("{{\"seconds\":0.{}}}", fill("9"))),
            text("a huge power of seconds", format!("{{\"seconds\":1e{}}}", fill("9"))),
            text("seconds after seconds", format!("{{\"time\":\"{}\"}}", fill("60"))),
            text("a long phone number", format!("{{\"phone\":\"{}\"}}", fill("0-"))),
            text(
                "much to leave out",
                format!("{{\"rest\":{{{}\"a\":{{\"b\":1}}}}}}", fill("\"a\":{\"b\":1},")),
            ),
            text("deep in what is left", format!("{{\"rest\":[1,{}{}]}}", "[".repeat(120), "]".repeat(120))),
            text("spaces", format!("{}{{}}", fill(" "))),
            text("commas", fill(",")),
            ("not UTF-8", [b"{\"a\":\"".to_vec(), vec![0xff; MIB]].concat()),
            ("half a character", b"{\"a\":\"\xe2\x82\"}".to_vec()),
            ("zeros", vec![0; MIB]),
        ]
    }

    #[test]
    fn a_mebibyte_of_the_worst_is_judged_at_once() {
        let mask = mask();
        for (what, bytes) in hostile() {
            let begun = Instant::now();
            body(&mask, &bytes);
            // Milliseconds; what grows with the square of the size would take minutes.
            assert!(begun.elapsed() < Duration::from_secs(20), "{what} took {:?}", begun.elapsed());
        }
    }

    #[test]
    fn a_key_that_means_something_to_the_parser_is_a_key_like_others() {
        let mask = mask();
        for value in ["1.0", "null", "\"[1]\"", "\"no JSON\"", "{}"] {
            body(&mask, format!(r#"{{"$serde_json::private::RawValue":{value},"a":1}}"#).as_bytes());
        }
    }

    #[test]
    fn policies_of_the_worst_are_refused_at_once() {
        for (_, bytes) in hostile() {
            policy(&String::from_utf8_lossy(&bytes));
        }
        for unit in [
            "[[column]]\n",
            "[[column]]\nx=1\n",
            "[[column]]\ntransform=\"coyp\"\n",
            "[a.",
            "a.",
            "x = [",
            "x = {a=",
            "\"\"\"",
            "[[column.a]]\n",
            "name = 'x'\n",
        ] {
            policy(&unit.repeat(10_000));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_masked_or_rejected(bytes: Vec<u8>) {
            body(&mask(), &bytes);
        }

        #[test]
        fn what_looks_like_json_is_masked_or_rejected(text in r#"(\{"[abcd]":)?[\[\]{}":,\\uda0-9nultrefs.eE+ -]{0,64}\}?"#) {
            body(&mask(), text.as_bytes());
        }

        #[test]
        fn what_looks_like_a_policy_is_read_or_refused(
            lines in prop::collection::vec(r#"(\[\[?column\]?\]|table|name|source|transform|domain|key|unknown_record|normalize|empty|default|without|v4|v6|keep_first|keep_last|mask|value|format|timezone|true|false|on_conflict|do|newer_by)?( = )?['"\[{]?(copy|sha512|hmac-sha512|major-version|message-id|ip-prefix|partial|redact|date|timestamp|boolean|trim|email|null|ignore|update|\{key=\['a'\], do='update'\}|[0-9]{1,3}|%[a-zA-Z]|Europe/Berlin|/[ab~01]{0,3}|\PC{0,8})['"\]}]?"#, 0..12),
        ) {
            policy(&lines.join("\n"));
        }
    }
}
