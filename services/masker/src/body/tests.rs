//! Finding fields in bodies, compared with what `serde_json` finds.

use proptest::prelude::*;
use serde_json::Value;
use veilpost_proto::v1::Reason;

use super::{FieldTree, FieldValue, Pointer};

/// What `pointer` finds in `body`, as JSON; `None` for what becomes NULL.
fn find(body: &[u8], pointer: &str) -> Result<Option<Value>, Reason> {
    let mut fields = FieldTree::new();
    let id = fields.add(&Pointer::parse(pointer).unwrap());
    let field = fields.find(body).map_err(|flaw| flaw.reason())?.get(id)?;
    Ok(field.map(|field| match field {
        FieldValue::Text(text) => Value::String(text.into_owned()),
        FieldValue::Boolean(boolean) => Value::Bool(boolean),
        FieldValue::Number(raw) | FieldValue::Json(raw) => {
            serde_json::from_str(raw).unwrap_or_else(|_| Value::String(format!("raw {raw}")))
        }
    }))
}

fn text(body: &str, pointer: &str) -> Option<String> {
    find(body.as_bytes(), pointer).unwrap().map(|value| value.as_str().unwrap().to_owned())
}

#[test]
fn nested_bodies_are_flattened_by_pointer() {
    let body = r#"{"device":{"id":"d1","os":{"name":"x"}},"":"empty","a/b":{"~":"t"},"l":["p",["q"]]}"#;
    for (pointer, value) in [
        ("/device/id", "d1"),
        ("/device/os/name", "x"),
        ("/", "empty"),
        ("/a~1b/~0", "t"),
        ("/l/0", "p"),
        ("/l/1/0", "q"),
    ] {
        assert_eq!(text(body, pointer).as_deref(), Some(value), "{pointer}");
    }
    for pointer in ["/id", "/device/id/0", "/l/2", "/l/-", "/l/00", "/device/os/x"] {
        assert_eq!(text(body, pointer), None, "{pointer}");
    }
}

#[test]
fn the_last_of_duplicate_keys_counts_whatever_the_earlier_ones_were() {
    assert_eq!(text(r#"{"a":"1","a":"2"}"#, "/a").as_deref(), Some("2"));
    assert_eq!(text(r#"{"a":"1","\u0061":"2"}"#, "/a").as_deref(), Some("2"));
    assert_eq!(text(r#"{"d":{"id":"1"},"d":{"id":"2"}}"#, "/d/id").as_deref(), Some("2"));
    for later in [r#""x""#, "null", "{}", "[]", "7"] {
        assert_eq!(text(&format!(r#"{{"d":{{"id":"1"}},"d":{later}}}"#), "/d/id"), None, "{later}");
    }
}

#[test]
fn null_and_absent_are_the_same() {
    for body in ["{}", r#"{"a":null}"#, r#"{"b":"x"}"#, r#"{"a":"x","a":null}"#] {
        assert_eq!(find(body.as_bytes(), "/a"), Ok(None), "{body}");
    }
}

#[test]
fn what_is_no_json_is_told_from_what_is_no_object() {
    for body in ["[]", "1", "\"x\"", "null", " true\n", r#"[{"a":1}]"#, "1e400", "-0"] {
        assert_eq!(find(body.as_bytes(), "/a"), Err(Reason::NotAnObject), "{body}");
    }
    let deep_array = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let deep_field = format!(r#"{{"x":{}{}}}"#, "[".repeat(127), "]".repeat(127));
    for body in [
        "",
        " ",
        "{",
        "}",
        "{}{}",
        "{} x",
        "{\"a\":1,}",
        "{'a':1}",
        "{a:1}",
        "[1",
        "[\"\\ud800\"]",
        "\u{feff}{}",
        "{\"a\":01}",
        "{\"a\":NaN}",
        "{\"x\":\"\\ud800\"}",
        "{\"\\udc00\":1}",
        "{\"x\":\"\u{1}\"}",
        "{\"x\":\"\\q\"}",
        "\u{a0}{}",
        &deep_array,
        &deep_field,
    ] {
        assert_eq!(find(body.as_bytes(), "/a"), Err(Reason::NotJson), "{body}");
    }
    assert_eq!(find(b"{\"a\":\"\xff\"}", "/a"), Err(Reason::NotJson));
    assert_eq!(find(b"\xef\xbb\xbf{}", "/a"), Err(Reason::NotJson), "a byte order mark");
}

#[test]
fn nesting_of_127_is_still_json() {
    let body = format!(r#"{{"x":{}{},"a":"v"}}"#, "[".repeat(126), "]".repeat(126));
    assert_eq!(text(&body, "/a").as_deref(), Some("v"));
    let deepest = format!("{}\"v\"{}", r#"{"a":"#.repeat(127), "}".repeat(127));
    assert_eq!(text(&deepest, &"/a".repeat(127)).as_deref(), Some("v"));
}

#[test]
fn numbers_that_no_double_can_hold_are_json() {
    let body = br#" {"x":1e400,"a":123456789012345678901234567890.10} "#;
    let mut fields = FieldTree::new();
    let id = fields.add(&Pointer::parse("/a").unwrap());
    let found = fields.find(body).unwrap();
    assert!(matches!(found.get(id), Ok(Some(FieldValue::Number("123456789012345678901234567890.10")))));
}

#[test]
fn the_whole_body_is_its_own_text() {
    let mut fields = FieldTree::new();
    let id = fields.add(&Pointer::parse("").unwrap());
    let found = fields.find(b" {\"a\": 1.0}\n").unwrap();
    assert!(matches!(found.get(id), Ok(Some(FieldValue::Json("{\"a\": 1.0}")))));
}

const NAMES: [&str; 7] = ["a", "b", "", "0", "1", "a/b", "~"];
const POINTERS: [&str; 12] =
    ["", "/a", "/b", "/", "/0", "/1", "/a~1b", "/~0", "/a/b", "/a/0", "/a/a/a", "/b/1/a"];

fn key() -> impl Strategy<Value = String> {
    (prop::sample::select(&NAMES[..]), any::<bool>()).prop_map(|(name, escaped)| {
        let escape = |char: char| format!("\\u{:04x}", u32::from(char));
        let name: String = if escaped { name.chars().map(escape).collect() } else { name.to_owned() };
        format!("\"{name}\"")
    })
}

/// JSON texts with duplicate keys, escapes, odd spaces and every kind of value.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<String>().prop_map(|text| Value::String(text).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        prop::sample::select(
            &["null", "true", "false", "1.0", "1E5", "-0", "\"\\ud83d\\ude00\"", "\"\\/\""][..]
        )
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let space = prop::sample::select(&["", " ", "\t\r\n"][..]);
        let member = (key(), space.clone(), inner.clone())
            .prop_map(|(key, space, value)| format!("{key}{space}:{value}"));
        prop_oneof![
            3 => (prop::collection::vec(member, 0..6), space.clone())
                .prop_map(|(members, space)| format!("{space}{{{}{space}}}", members.join(","))),
            1 => (prop::collection::vec(inner, 0..4), space)
                .prop_map(|(values, space)| format!("[{}{space}]", values.join(&format!("{space},")))),
        ]
    })
}

proptest! {
    #[test]
    fn every_pointer_finds_what_serde_json_finds(body in json()) {
        let whole: Value = serde_json::from_str(&body).unwrap();
        for pointer in POINTERS {
            let expected = if whole.is_object() {
                Ok(whole.pointer(pointer).filter(|value| !value.is_null()).cloned())
            } else {
                Err(Reason::NotAnObject)
            };
            prop_assert_eq!(find(body.as_bytes(), pointer), expected, "{} in {}", pointer, body);
        }
    }

    #[test]
    fn what_serde_json_refuses_is_refused(mut body in json(), at: prop::sample::Index, byte: u8) {
        let at = at.index(body.len());
        if body.is_char_boundary(at) {
            body.insert(at, char::from(byte));
        }
        let found = find(body.as_bytes(), "/a");
        match serde_json::from_str::<Value>(&body) {
            Ok(whole) => prop_assert_eq!(found.is_ok(), whole.is_object()),
            // The one thing that serde_json refuses and that is JSON.
            Err(error) if error.to_string().starts_with("number out of range") => {}
            Err(_) => prop_assert_eq!(found, Err(Reason::NotJson), "{}", body),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body: Vec<u8>, jsonish in r#"[\[\]{}":,\\uda0-9nulltrue ]{0,64}"#) {
        for pointer in POINTERS {
            drop(find(&body, pointer));
            drop(find(jsonish.as_bytes(), pointer));
        }
    }
}
