//! What policies make of records.

use proptest::prelude::*;
use sha2::{Digest, Sha512};

use veilpost_proto::v1::value::Kind;

use super::*;
use crate::transform::KeyedDigest;

const SHA512_ABC: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                          2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

/// Clear text that must appear in nothing but what the policy copies.
const MARK: &str = "mark-7731";

fn mask(columns: &str) -> Mask {
    let policy = Policy::parse(&format!("table = 't'\n{columns}"), "p.toml").unwrap();
    Mask::new(&policy, &keys()).unwrap()
}

fn keys() -> HmacKeys {
    HmacKeys::parse(&format!("k1={}", "0b".repeat(32)).into(), "keys").unwrap()
}

fn default_mask() -> Mask {
    Mask::new(&Policy::load(None).unwrap(), &HmacKeys::default()).unwrap()
}

/// Records without any field are stored.
const STORE: &str = "unknown_record = 'store'\n";

/// A mask of one column that has `transform` done to `/f`.
fn on_field(transform: &str) -> Mask {
    mask(&format!("{STORE}[[column]]\nname = 'c'\nsource = '/f'\ntransform = '{transform}'\n"))
}

fn keyed_on_field() -> Mask {
    mask(&format!(
        "{STORE}[[column]]\nname='c'\nsource='/f'\ntransform='hmac-sha512'\ndomain='d'\nkey='k1'\n"
    ))
}

fn sha512(text: &str) -> String {
    const_hex::encode(Sha512::digest(text))
}

fn record(body: &[u8]) -> RawRecord {
    RawRecord {
        message_id: "m-1".to_owned(),
        body: Some(body.to_vec().into()),
        sent_timestamp_ms: 1_700_000_000_123,
        ..RawRecord::default()
    }
}

fn now() -> Timestamp {
    "2026-11-22T23:59:59.9Z".parse().unwrap()
}

fn values(mask: &Mask, body: &str) -> Result<Vec<Option<Kind>>, Rejected> {
    let masked = mask.apply(&record(body.as_bytes()), now())?;
    Ok(masked.record.values.into_iter().map(|value| value.kind).collect())
}

fn value(mask: &Mask, body: &str) -> Result<Option<Kind>, Reason> {
    values(mask, body).map(|mut values| values.remove(0)).map_err(|rejected| rejected.reason)
}

#[allow(clippy::unnecessary_wraps, reason = "stands for a column's value")]
fn text(text: &str) -> Option<Kind> {
    Some(Kind::Text(text.to_owned()))
}

#[allow(clippy::unnecessary_wraps, reason = "stands for a column's value")]
fn number(text: &str) -> Option<Kind> {
    Some(Kind::Number(text.to_owned()))
}

#[test]
fn a_login_event_becomes_the_row_of_the_default_table() {
    let body = r#"{"user_id":"u1","app_version":"23.0.1","device_type":"android","ip":"abc","locale":"RU","device_id":"abc"}"#;
    let expected = [
        text("u1"),
        text("android"),
        text(SHA512_ABC),
        text(SHA512_ABC),
        text("RU"),
        number("23"),
        text("2026-11-22"),
    ];
    assert_eq!(values(&default_mask(), body).unwrap(), expected);
}

#[test]
fn objects_without_any_field_are_rows_of_null() {
    for body in ["{}", r#"{"foo":"x"}"#, r#"{"user_id":null,"ip":null,"app_version":null}"#] {
        let mask = default_mask();
        let masked = mask.apply(&record(body.as_bytes()), now()).ok().unwrap();
        assert!(masked.unreadable_versions.is_empty(), "{body}: NULL without a warning");
        let row = [None, None, None, None, None, None, text("2026-11-22")];
        assert_eq!(values(&default_mask(), body).unwrap(), row, "{body}");
    }
}

#[test]
fn objects_without_any_field_are_rejected_where_the_policy_says_so() {
    let mask = mask(
        "unknown_record='reject'\n[[column]]\nname='c'\nsource='/f'\ntransform='copy'\n\
                     [[column]]\nname='i'\ntransform='message-id'\n[[column]]\nname='w'\nsource=''\ntransform='copy'\n",
    );
    assert_eq!(value(&mask, "{}"), Err(Reason::UnknownRecord));
    assert_eq!(value(&mask, r#"{"g":"x"}"#), Err(Reason::UnknownRecord));
    assert_eq!(value(&mask, r#"{"f":null}"#), Err(Reason::UnknownRecord), "null is as good as absent");
    assert_eq!(value(&mask, r#"{"f":""}"#), Ok(text("")));
    assert_eq!(value(&mask, "{"), Err(Reason::NotJson));
}

#[test]
fn scalars_are_copied_in_the_text_of_the_producer() {
    let copy = on_field("copy");
    for json in ["0", "-0", "1.0", "1E5", "1e400", "123456789012345678901234567890"] {
        assert_eq!(value(&copy, &format!(r#"{{"f": {json} }}"#)), Ok(number(json)));
    }
    assert_eq!(value(&copy, r#"{"f":true}"#), Ok(Some(Kind::Boolean(true))));
    assert_eq!(value(&copy, r#"{"f":false}"#), Ok(Some(Kind::Boolean(false))));
    assert_eq!(value(&copy, r#"{"f":""}"#), Ok(text("")), "empty text is not NULL");
    assert_eq!(value(&copy, r#"{"f":"\ud83d\ude00\/\n\u0041"}"#), Ok(text("😀/\nA")));
    assert_eq!(value(&copy, r#"{"f":"null"}"#), Ok(text("null")));
}

#[test]
fn objects_and_arrays_are_copied_as_json_and_refused_where_a_scalar_is_needed() {
    for json in ["{}", "[]", r#"{"a": [1.0, "x"]}"#, "[null]"] {
        let body = format!(r#"{{"f": {json} }}"#);
        assert_eq!(value(&on_field("copy"), &body), Ok(Some(Kind::Json(json.to_owned()))));
        for mask in [on_field("sha512"), on_field("major-version"), keyed_on_field()] {
            assert_eq!(value(&mask, &body), Err(Reason::NotAScalar));
        }
    }
}

#[test]
fn digests_are_of_the_text_that_the_producer_wrote() {
    for (json, written) in
        [("\"abc\"", "abc"), ("\"\\u0061bc\"", "abc"), ("1.0", "1.0"), ("1E5", "1E5"), ("true", "true")]
    {
        let body = format!(r#"{{"f":{json}}}"#);
        assert_eq!(value(&on_field("sha512"), &body), Ok(text(&sha512(written))), "{json}");
        let keyed = KeyedDigest::new("k1", &vec![0x0b; 32].into(), "d").digest(written);
        assert_eq!(value(&keyed_on_field(), &body), Ok(text(&keyed)), "{json}");
    }
    for mask in [on_field("sha512"), keyed_on_field()] {
        assert_eq!(value(&mask, r#"{"f":null}"#), Ok(None), "nothing to hash");
    }
}

#[test]
fn u0000_is_refused_in_copied_text_only() {
    let body = r#"{"f":"a\u0000b"}"#;
    assert_eq!(value(&on_field("copy"), body), Err(Reason::NulInText));
    assert_eq!(value(&on_field("sha512"), body), Ok(text(&sha512("a\0b"))));
    assert_eq!(value(&on_field("major-version"), body), Ok(None));
    assert_eq!(value(&on_field("copy"), r#"{"g":"\u0000"}"#), Ok(None), "unknown fields are ignored");
}

#[test]
fn what_is_no_version_is_null_with_a_warning_that_names_the_column() {
    let mask = on_field("major-version");
    for (json, expected, warnings) in [
        ("\"23.0.1\"", number("23"), 0),
        ("23", number("23"), 0),
        ("23.7", number("23"), 0),
        ("null", None, 0),
        ("\"beta\"", None, 1),
        ("\"\"", None, 1),
        ("true", None, 1),
        ("1E5", None, 1),
    ] {
        let masked = mask.apply(&record(format!(r#"{{"f":{json}}}"#).as_bytes()), now()).ok().unwrap();
        assert_eq!(masked.record.values[0].kind, expected, "{json}");
        assert_eq!(masked.unreadable_versions, vec!["c"; warnings], "{json}");
    }
}

#[test]
fn bodies_that_are_no_object_each_have_their_reason() {
    let mask = default_mask();
    let reason = |record: RawRecord| mask.apply(&record, now()).err().map(|rejected| rejected.reason);
    assert_eq!(reason(RawRecord::default()), Some(Reason::NoBody));
    assert_eq!(reason(record(b"")), Some(Reason::NotJson));
    assert_eq!(reason(record(b"not json")), Some(Reason::NotJson));
    assert_eq!(reason(record(b"\xff{}")), Some(Reason::NotJson));
    assert_eq!(reason(record(br#"{"x":"\ud800"}"#)), Some(Reason::NotJson));
    assert_eq!(reason(record(b"[{}]")), Some(Reason::NotAnObject));
    assert_eq!(reason(record(b"null")), Some(Reason::NotAnObject));
}

#[test]
fn what_is_known_without_the_body_is_in_utc() {
    let mask = mask(
        "[[column]]\nname='a'\ntransform='ingest-date'\n[[column]]\nname='b'\ntransform='sent-date'\n\
         [[column]]\nname='c'\ntransform='sent-timestamp'\n[[column]]\nname='d'\ntransform='message-id'\n",
    );
    let expected = [text("2026-11-22"), text("2023-11-14"), text("2023-11-14T22:13:20.123Z"), text("m-1")];
    assert_eq!(values(&mask, "{}").unwrap(), expected);
}

#[test]
fn a_sent_time_beyond_all_calendars_is_null_and_travels_on() {
    let mask = mask(
        "[[column]]\nname='b'\ntransform='sent-date'\n[[column]]\nname='c'\ntransform='sent-timestamp'\n",
    );
    for sent in [i64::MIN, i64::MAX] {
        let record = RawRecord { sent_timestamp_ms: sent, ..record(b"{}") };
        let masked = mask.apply(&record, now()).ok().unwrap().record;
        assert_eq!(masked.sent_timestamp_ms, sent);
        assert!(masked.values.iter().all(|value| value.kind.is_none()));
    }
}

#[test]
fn a_key_that_is_not_there_is_named_with_its_place_in_the_policy() {
    let text =
        "table='t'\n[[column]]\nname='c'\nsource='/f'\ntransform='hmac-sha512'\ndomain='d'\nkey='k2'\n";
    let error = Mask::new(&Policy::parse(text, "p.toml").unwrap(), &keys()).unwrap_err().to_string();
    assert!(error.starts_with("p.toml:7:5: ") && error.contains("k2"), "{error}");
}

#[test]
fn no_rejection_shows_a_value() {
    let body = format!(r#"{{"user_id":"{MARK}\u0000","ip":["{MARK}"],"{MARK}":1}}"#);
    let rejected = values(&default_mask(), &body).unwrap_err();
    assert_eq!(rejected.reason, Reason::NulInText);
    assert_eq!(rejected.detail, "column user_id, copy: U+0000 in text");
    for body in
        [body, format!("{{\"{MARK}\"}}"), format!("\"{MARK}\""), format!(r#"{{"ip":{{"{MARK}":1}}}}"#)]
    {
        let rejected = values(&default_mask(), &body).unwrap_err();
        assert!(!format!("{rejected:?}").contains(MARK), "{rejected:?}");
    }
}

#[test]
fn a_rejection_names_column_step_and_rule_and_no_value() {
    let field = |keys: &str| mask(&format!("[[column]]\nname = 'c'\nsource = '/f'\n{keys}\n"));
    for (keys, reason, detail) in [
        ("transform='ip-prefix'", Reason::InvalidValue, "column c, ip-prefix: not an IP address"),
        (
            "transform='copy'\nnormalize=['trim','ip']",
            Reason::InvalidValue,
            "column c, ip: not an IP address",
        ),
        (
            "transform='sha512'\nnormalize=['digits']",
            Reason::InvalidValue,
            "column c, digits: a letter, or a digit other than 0 to 9",
        ),
        ("transform='email-domain'", Reason::InvalidValue, "column c, email-domain: not an e-mail address"),
        ("transform='epoch-s'", Reason::InvalidValue, "column c, epoch-s: not a number"),
        (
            "transform='date'\nformat='%F'",
            Reason::InvalidValue,
            "column c, date: not in the format of the policy, or no such day or time",
        ),
        (
            "transform='boolean'",
            Reason::InvalidValue,
            "column c, boolean: neither true nor false to this policy",
        ),
        (
            "transform='copy'\nwithout=['/a']",
            Reason::InvalidValue,
            "column c, copy: a scalar where `without` needs an object or array",
        ),
    ] {
        let rejected = values(&field(keys), &format!(r#"{{"f":"{MARK}"}}"#)).unwrap_err();
        assert_eq!((rejected.reason, rejected.detail.as_str()), (reason, detail), "{keys}");
    }
    let partial = field("transform='partial'\nkeep_last=1");
    assert_eq!(value(&partial, r#"{"f":"ab\u0000"}"#), Err(Reason::NulInText));
    assert_eq!(value(&partial, r#"{"f":"\u0000ab"}"#), Ok(text("**b")), "U+0000 is masked");
    assert_eq!(value(&field("transform='partial'\nkeep_last=1"), r#"{"f":[]}"#), Err(Reason::NotAScalar));
}

#[test]
fn a_default_stands_for_absent_null_and_empty_and_is_not_transformed() {
    let field = |keys: &str| mask(&format!("{STORE}[[column]]\nname = 'c'\nsource = '/f'\n{keys}\n"));
    let digest = field("transform='sha512'\ndefault='none'\nempty='null'\nnormalize=['trim','email']");
    for body in ["{}", r#"{"f":null}"#, r#"{"f":""}"#, r#"{"f":" \t"}"#] {
        assert_eq!(value(&digest, body), Ok(text("none")), "{body}");
    }
    assert_eq!(value(&digest, r#"{"f":" a@B.de "}"#), Ok(text(&sha512("a@b.de"))));
    assert_eq!(value(&digest, r#"{"f":false}"#), Err(Reason::InvalidValue), "false is not empty");
    for (default, kind) in [
        ("0x10", number("16")),
        ("-1_000", number("-1000")),
        ("+1_0.50", number("10.50")),
        ("12345678901234567890123.10", number("12345678901234567890123.10")),
        ("1e40", number("1e40")),
        ("true", Some(Kind::Boolean(true))),
        ("''", text("")),
    ] {
        assert_eq!(
            value(&field(&format!("transform='copy'\ndefault={default}")), "{}"),
            Ok(kind),
            "{default}"
        );
    }
    let kept = field("transform='copy'\ndefault='none'");
    assert_eq!(value(&kept, r#"{"f":""}"#), Ok(text("")), "empty is null only where the policy says so");
}

#[test]
fn an_empty_version_that_counts_as_null_is_no_unreadable_one() {
    let columns = "[[column]]\nname='c'\nsource='/f'\ntransform='major-version'\nempty='null'\n";
    let mask = mask(&format!("{STORE}{columns}"));
    for (body, warnings) in [(r#"{"f":""}"#, 0), (r#"{"f":"beta"}"#, 1), ("{}", 0)] {
        let masked = mask.apply(&record(body.as_bytes()), now()).ok().unwrap();
        assert_eq!(masked.unreadable_versions.len(), warnings, "{body}");
    }
    let copied = on_field("copy");
    assert!(copied.apply(&record(br#"{"f":null}"#), now()).ok().unwrap().unreadable_versions.is_empty());
}

#[test]
fn the_trace_is_that_of_the_producer_or_the_default() {
    let of = |keys: &str, traceparent: Option<&str>| {
        let mask = mask(&format!("[[column]]\nname='c'\ntransform='trace-id'\n{keys}"));
        let producer = traceparent.map(|text| veilpost_proto::v1::TraceContext {
            traceparent: text.to_owned(),
            tracestate: String::new(),
        });
        let record = RawRecord { producer, ..record(b"{}") };
        mask.apply(&record, now()).ok().unwrap().record.values.remove(0).kind
    };
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(of("", Some(traceparent)), text("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(of("", Some("x")), None);
    assert_eq!(of("", None), None);
    assert_eq!(of("default='none'", None), text("none"));
}

#[test]
fn days_are_those_of_the_time_zone() {
    let mask = mask(
        "[[column]]\nname='a'\ntransform='ingest-date'\ntimezone='Europe/Berlin'\n\
         [[column]]\nname='b'\ntransform='sent-date'\ntimezone='America/Los_Angeles'\n",
    );
    assert_eq!(values(&mask, "{}").unwrap(), [text("2026-11-23"), text("2023-11-14")]);
}

proptest! {
    #[test]
    fn no_record_makes_it_panic(body: Option<Vec<u8>>, sent: i64, id: String, now in -377_000_000_000_i64..253_000_000_000) {
        let record = RawRecord { body: body.map(Into::into), sent_timestamp_ms: sent, message_id: id, ..RawRecord::default() };
        drop(default_mask().apply(&record, Timestamp::from_second(now).unwrap()));
    }

    #[test]
    fn hashed_fields_never_travel_in_the_clear(ip in "mark-[a-z]{8}", device in "mark-[a-z]{8}") {
        let body = format!(r#"{{"ip":"{ip}","device_id":"{device}","other":"{ip}","user_id":"u"}}"#);
        let mask = default_mask();
        let masked = mask.apply(&record(body.as_bytes()), now()).ok().unwrap();
        let sent = format!("{:?}", masked.record);
        prop_assert!(!sent.contains(&ip) && !sent.contains(&device));
    }
}
