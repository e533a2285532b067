//! JSON arrays into array columns, and JSON objects into hstore.
//!
//! The literals are those of <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO> and
//! <https://www.postgresql.org/docs/current/hstore.html#HSTORE-EXTERNAL-REP>: every text stands in quotation
//! marks, so that nothing in it means anything.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use veilpost_proto::masked::ValueRef;
use veilpost_proto::v1::Reason;

use super::convert_one;
use super::verdict::{Input, ValueRejection, Verdict};
use crate::catalogue::{ColumnKind, TableColumn};

/// The elements of a JSON array, each judged for the type of the array's elements.
pub(super) fn array(given: ValueRef<'_>, column: &TableColumn) -> Verdict {
    let ValueRef::Json(json) = given else { return Verdict::invalid("not a JSON array") };
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else {
        return Verdict::invalid("an object where an array is needed");
    };
    let mut literal = String::with_capacity(json.len() + 2);
    let mut is_sure = true;
    for (index, element) in elements.into_iter().enumerate() {
        literal.push(if index == 0 { '{' } else { ',' });
        match convert_element(element.get(), column) {
            Ok(None) => literal.push_str("NULL"),
            Ok(Some((text, sure))) => {
                is_sure &= sure;
                push_quoted(&mut literal, &text);
            }
            Err(ValueRejection { reason, rule }) => {
                return Verdict::reject(reason, format!("at position {index} of the array: {rule}"));
            }
        }
    }
    if literal.is_empty() {
        literal.push('{');
    }
    literal.push('}');
    if is_sure { Verdict::Accept(Input::Made(literal)) } else { Verdict::Unsure(Input::Made(literal)) }
}

/// The input of one element, and whether the type surely takes it; `None` for null.
fn convert_element(raw: &str, column: &TableColumn) -> Result<Option<(String, bool)>, ValueRejection> {
    let is_json = matches!(column.kind, ColumnKind::Json | ColumnKind::Jsonb);
    let unquoted;
    let given = match raw.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b'"') => {
            unquoted = unquote(raw)?;
            ValueRef::Text(&unquoted)
        }
        Some(b't') => ValueRef::Boolean(true),
        Some(b'f') => ValueRef::Boolean(false),
        Some(b'[') if !is_json => {
            let rule = "an array within the array, and arrays have one dimension here".into();
            return Err(ValueRejection { reason: Reason::NotAScalar, rule });
        }
        Some(b'[' | b'{') => ValueRef::Json(raw),
        _ => ValueRef::Number(raw),
    };
    let (input, is_sure) = match convert_one(given, column) {
        Verdict::Accept(input) => (input, true),
        Verdict::Unsure(input) => (input, false),
        Verdict::Reject(rejection) => return Err(rejection),
    };
    let text = match input {
        Input::Made(text) => text,
        Input::AsGiven => given.text().unwrap_or_default().to_owned(),
    };
    Ok(Some((text, is_sure)))
}

/// The keys and values of a JSON object, whose values are scalars. Of equal keys the last one counts.
pub(super) fn hstore(given: ValueRef<'_>) -> Verdict {
    let ValueRef::Json(json) = given else { return Verdict::invalid("not a JSON object") };
    let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
        return Verdict::invalid("an array where an object is needed");
    };
    let mut literal = String::with_capacity(json.len());
    for (key, value) in members {
        let value = match value.get().as_bytes().first() {
            Some(b'n') => None,
            Some(b'{' | b'[') => {
                return Verdict::reject(Reason::NotAScalar, "an object or array within the object");
            }
            Some(b'"') => match unquote(value.get()) {
                Ok(text) => Some(text),
                Err(ValueRejection { reason, rule }) => return Verdict::reject(reason, rule),
            },
            _ => Some(value.get().to_owned()),
        };
        if key.contains('\0') {
            return Verdict::reject(Reason::NulInText, "U+0000 in text");
        }
        if !literal.is_empty() {
            literal.push(',');
        }
        push_quoted(&mut literal, &key);
        literal.push_str("=>");
        match value {
            Some(value) => push_quoted(&mut literal, &value),
            None => literal.push_str("NULL"),
        }
    }
    Verdict::Accept(Input::Made(literal))
}

/// The text of a JSON string.
fn unquote(raw: &str) -> Result<String, ValueRejection> {
    match serde_json::from_str::<String>(raw) {
        Ok(text) if text.contains('\0') => {
            Err(ValueRejection { reason: Reason::NulInText, rule: "U+0000 in text".into() })
        }
        Ok(text) => Ok(text),
        Err(_) => Err(ValueRejection { reason: Reason::InvalidValue, rule: "not JSON".into() }),
    }
}

fn push_quoted(literal: &mut String, text: &str) {
    literal.push('"');
    for part in text.split_inclusive(['"', '\\']) {
        match part.strip_suffix(['"', '\\']) {
            Some(before) => {
                literal.push_str(before);
                literal.push('\\');
                literal.push_str(part.get(before.len()..).unwrap_or_default());
            }
            None => literal.push_str(part),
        }
    }
    literal.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::TextLimit;
    use crate::catalogue::fixtures::column;

    fn of(kind: ColumnKind) -> TableColumn {
        TableColumn { kind, is_array: true, ..column("tags") }
    }

    fn texts() -> TableColumn {
        of(ColumnKind::Text { limit: TextLimit::Characters(3) })
    }

    fn made(verdict: Verdict) -> String {
        match verdict {
            Verdict::Accept(Input::Made(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    fn rejection(verdict: Verdict) -> (Reason, String) {
        match verdict {
            Verdict::Reject(rejection) => (rejection.reason, rejection.rule.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_json_array_becomes_the_literal_of_an_array() {
        for (json, literal) in [
            ("[]", "{}"),
            (r#"["a", "b"]"#, r#"{"a","b"}"#),
            (r#"[null, "null", "NULL", ""]"#, ""),
            (r#"["\"", "\\", ",", "{}"]"#, r#"{"\"","\\",",","{}"}"#),
            ("[1, 1.0]", r#"{"1","1.0"}"#),
        ] {
            let verdict = array(ValueRef::Json(json), &texts());
            if literal.is_empty() {
                assert_eq!(rejection(verdict).0, Reason::TextTooLong, "{json}");
            } else {
                assert_eq!(made(verdict), literal, "{json}");
            }
        }
        let integers = of(ColumnKind::Integer { least: 0, greatest: 9 });
        assert_eq!(made(array(ValueRef::Json("[1, null, 2.0]"), &integers)), r#"{"1",NULL,"2"}"#);
        let json = of(ColumnKind::Json);
        assert_eq!(made(array(ValueRef::Json(r#"[{"a": [1]}, "b"]"#), &json)), r#"{"{\"a\": [1]}","\"b\""}"#);
    }

    #[test]
    fn what_is_no_array_of_such_elements_is_rejected_with_its_position() {
        let integers = of(ColumnKind::Integer { least: 0, greatest: 9 });
        for (json, reason, position) in [
            ("[1, 10]", Reason::OutOfRange, "position 1"),
            ("[1, [2]]", Reason::NotAScalar, "position 1"),
            ("[{\"a\": 1}]", Reason::NotAScalar, "position 0"),
            ("[1, 2, \"\\u0000\"]", Reason::NulInText, "position 2"),
        ] {
            let (found, rule) = rejection(array(ValueRef::Json(json), &integers));
            assert!(found == reason && rule.contains(position), "{json}: {found:?}, {rule}");
        }
        for given in
            [ValueRef::Text("{1}"), ValueRef::Number("1"), ValueRef::Boolean(true), ValueRef::Json("{}")]
        {
            assert_eq!(rejection(array(given, &integers)).0, Reason::InvalidValue, "{given:?}");
        }
    }

    #[test]
    fn an_array_is_unsure_when_an_element_is() {
        let others = of(ColumnKind::Other);
        assert_eq!(
            array(ValueRef::Json("[\"x\"]"), &others),
            Verdict::Unsure(Input::Made("{\"x\"}".to_owned()))
        );
        assert_eq!(made(array(ValueRef::Json("[]"), &others)), "{}");
    }

    #[test]
    fn a_json_object_becomes_the_literal_of_an_hstore() {
        for (json, literal) in [
            ("{}", ""),
            (r#"{"b": "x", "a": 1, "n": null, "t": true}"#, r#""a"=>"1","b"=>"x","n"=>NULL,"t"=>"true""#),
            (r#"{"a\"": "\\"}"#, r#""a\""=>"\\""#),
            (r#"{"a": 1, "a": 2}"#, r#""a"=>"2""#),
        ] {
            assert_eq!(made(hstore(ValueRef::Json(json))), literal, "{json}");
        }
        assert_eq!(rejection(hstore(ValueRef::Json(r#"{"a": {}}"#))).0, Reason::NotAScalar);
        assert_eq!(rejection(hstore(ValueRef::Json(r#"{"a\u0000": 1}"#))).0, Reason::NulInText);
        assert_eq!(rejection(hstore(ValueRef::Json("[1]"))).0, Reason::InvalidValue);
        assert_eq!(rejection(hstore(ValueRef::Text("a=>1"))).0, Reason::InvalidValue);
    }

    proptest! {
        #[test]
        fn quoting_is_undone_by_dropping_backslashes(text in "[\"\\\\a,{}]{0,20}") {
            let mut literal = String::new();
            push_quoted(&mut literal, &text);
            let mut inner = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap().chars();
            let mut read = String::new();
            while let Some(next) = inner.next() {
                prop_assert_ne!(next, '"');
                read.push(if next == '\\' { inner.next().unwrap() } else { next });
            }
            prop_assert_eq!(read, text);
        }
    }
}
