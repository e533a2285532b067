//! A column of every type stores what Postgres takes, unchanged, and rejects the rest whole.

use veilpost_proto::v1::{Reason, Value};

use crate::masker::{REJECTED, STORED, boolean, json, null, number, only_rejection, record, text};
use crate::test_database::TestDatabase;

const KINDS: &str = "
    CREATE EXTENSION hstore;
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE DOMAIN short AS varchar(3);
    CREATE DOMAIN day AS date; CREATE DOMAIN weekday AS day; CREATE TYPE shifts AS RANGE (subtype = weekday);
    CREATE DOMAIN days AS shifts;
    CREATE DOMAIN shorter AS short CHECK (VALUE <> 'bad');
    CREATE TABLE kinds (
        c_text text, c_varchar varchar(3), c_char char(3), c_name name, c_letter \"char\", c_domain shorter,
        c_int2 smallint, c_int4 integer, c_int8 bigint, c_numeric numeric(5,2), c_wide numeric, c_float4 real,
        c_float8 double precision, c_bool boolean, c_date date, c_time time, c_timestamp timestamp,
        c_timestamptz timestamptz, c_timetz timetz, c_daterange daterange, c_tsrange tsrange,
        c_tstzmultirange tstzmultirange, c_days days, c_shifts shifts, c_interval interval, c_uuid uuid, c_json json, c_jsonb jsonb, c_bytea bytea,
        c_inet inet, c_mood mood, c_bit bit(3), c_varbit varbit(3), c_money money, c_point point, c_range int4range,
        \"c \"\"odd\" text, c_oid oid, c_macaddr macaddr, c_xml xml, c_tsvector tsvector,
        c_texts text[], c_varchars varchar(3)[], c_ints integer[], c_uuids uuid[], c_times timestamp[],
        c_zoned timestamptz[], c_inets inet[], c_jsonbs jsonb[], c_moods mood[], c_bits bit(3)[], c_hstore hstore,
        c_tsquery tsquery, c_jsonpath jsonpath, c_regclass regclass, c_regproc regproc, c_regtype regtype
    )";

/// Stores one value in one column and returns what a SELECT shows, or the reason for its rejection.
async fn try_values(cases: &[(&str, Value, Result<&str, Reason>)]) {
    let database = TestDatabase::with(KINDS).await;
    let writer = database.ready_writer(&["--table", "kinds"]).await;
    for (index, (column, value, expected)) in cases.iter().enumerate() {
        let mut stream = writer.open("kinds", &[column]).await.unwrap();
        let receipt = stream.store(vec![record(index, vec![value.clone()])]).await;
        let found = match receipt.outcomes[..] {
            [STORED] => {
                let quoted = column.replace('"', "\"\"");
                Ok(database.text(&format!("SELECT \"{quoted}\"::text FROM kinds")).await)
            }
            [REJECTED] => Err(only_rejection(&receipt).0),
            _ => panic!("{column}: {receipt:?}"),
        };
        assert_eq!(found, expected.map(str::to_owned), "{column}: {value:?}");
        database.sql("TRUNCATE kinds").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_stored_whole_or_not_at_all() {
    try_values(&[
        ("c_text", text("Zoë 🦀"), Ok("Zoë 🦀")),
        ("c_text", number("1.50e2"), Ok("1.50e2")),
        ("c_text", boolean(true), Ok("true")),
        ("c_text", null(), Ok("NULL")),
        ("c_text", text("a\0b"), Err(Reason::NulInText)),
        ("c_text", json("{}"), Err(Reason::NotAScalar)),
        ("c_varchar", text("🦀🦀🦀"), Ok("🦀🦀🦀")),
        ("c_varchar", text("abcd"), Err(Reason::TextTooLong)),
        ("c_varchar", text("abc "), Err(Reason::TextTooLong)),
        ("c_char", text("abc"), Ok("abc")),
        ("c_char", text("abcd"), Err(Reason::TextTooLong)),
        ("c_name", text(&"x".repeat(63)), Ok(&"x".repeat(63))),
        ("c_name", text(&"x".repeat(64)), Err(Reason::TextTooLong)),
        ("c_letter", text("a"), Ok("a")),
        ("c_letter", text("ab"), Err(Reason::TextTooLong)),
        ("c_domain", text("abc"), Ok("abc")),
        ("c_domain", text("abcd"), Err(Reason::TextTooLong)),
        ("c_domain", text("bad"), Err(Reason::Constraint)),
        ("c \"odd", text("x"), Ok("x")),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_never_rounded_into_integers() {
    try_values(&[
        ("c_int2", number("32767"), Ok("32767")),
        ("c_int2", number("32768"), Err(Reason::OutOfRange)),
        ("c_int4", number("23.0"), Ok("23")),
        ("c_int4", number("1e3"), Ok("1000")),
        ("c_int4", number("23.7"), Err(Reason::InvalidValue)),
        ("c_int4", text(" 42 "), Ok("42")),
        ("c_int4", text("forty"), Err(Reason::InvalidValue)),
        ("c_int4", boolean(true), Err(Reason::InvalidValue)),
        ("c_int8", number("-9223372036854775808"), Ok("-9223372036854775808")),
        ("c_int8", number("9223372036854775808"), Err(Reason::OutOfRange)),
        ("c_numeric", number("999.994"), Ok("999.99")),
        ("c_numeric", number("999.995"), Err(Reason::OutOfRange)),
        ("c_numeric", number("1000"), Err(Reason::OutOfRange)),
        ("c_wide", number("0.10000000000000000000000001"), Ok("0.10000000000000000000000001")),
        ("c_wide", number("1e131071"), Ok(&format!("1{}", "0".repeat(131_071)))),
        ("c_wide", number("1e131072"), Err(Reason::OutOfRange)),
        ("c_wide", text("NaN"), Ok("NaN")),
        ("c_float4", number("1.5"), Ok("1.5")),
        ("c_float4", number("1e39"), Err(Reason::OutOfRange)),
        ("c_float4", number("1e-50"), Err(Reason::OutOfRange)),
        ("c_float8", number("1e39"), Ok("1e+39")),
        ("c_float8", number("5e-324"), Ok("5e-324")),
        ("c_float8", number("1e309"), Err(Reason::OutOfRange)),
        ("c_money", number("12.5"), Ok("$12.50")),
        ("c_money", text("12,50"), Err(Reason::InvalidValue)),
        ("c_oid", number("7"), Ok("7")),
        ("c_bool", boolean(false), Ok("false")),
        ("c_bool", text("YES"), Ok("true")),
        ("c_bool", number("1"), Err(Reason::InvalidValue)),
        ("c_bool", text("maybe"), Err(Reason::InvalidValue)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_and_times_exist_or_are_rejected() {
    try_values(&[
        ("c_date", text("2024-02-29"), Ok("2024-02-29")),
        ("c_date", text("2023-02-30"), Err(Reason::OutOfRange)),
        ("c_date", text("2024-02-29T10:11:12Z"), Ok("2024-02-29")),
        ("c_date", text("2024-02-29T23:11:12-05:00"), Err(Reason::InvalidValue)),
        ("c_date", text("20240229"), Ok("2024-02-29")),
        ("c_date", text("infinity"), Ok("infinity")),
        ("c_date", text("Feb 29, 2024"), Err(Reason::InvalidValue)),
        ("c_date", text("29/11/2026"), Err(Reason::InvalidValue)),
        ("c_date", text("01.02.2026"), Err(Reason::InvalidValue)),
        ("c_date", text("someday"), Err(Reason::InvalidValue)),
        ("c_date", number("20240229"), Err(Reason::InvalidValue)),
        ("c_time", text("10:11:12"), Ok("10:11:12")),
        ("c_time", text("10:11:12Z"), Ok("10:11:12")),
        ("c_time", text("10:11:12+05"), Err(Reason::InvalidValue)),
        ("c_time", text("24:00:00"), Ok("24:00:00")),
        ("c_time", text("25:00"), Err(Reason::OutOfRange)),
        ("c_timetz", text("10:11:12+05:30"), Ok("10:11:12+05:30")),
        ("c_timestamp", text("2024-02-29T10:11:12+05:00"), Err(Reason::InvalidValue)),
        ("c_timestamp", text("2024-02-29t10:11:12z"), Ok("2024-02-29 10:11:12")),
        ("c_timestamptz", text("20240229T101112-0800"), Ok("2024-02-29 18:11:12+00")),
        ("c_timestamptz", text("2024-02-29T10:11:12+15:59"), Ok("2024-02-28 18:12:12+00")),
        ("c_timestamptz", text("2024-02-29T23:59:60Z"), Ok("2024-03-01 00:00:00+00")),
        ("c_timestamptz", text("2024-02-29 10:11"), Ok("2024-02-29 10:11:00+00")),
        ("c_timestamptz", text("1/2/2026 10:11"), Err(Reason::InvalidValue)),
        ("c_timestamp", text("2024-02-29T10:11:12.5Z"), Ok("2024-02-29 10:11:12.5")),
        ("c_timestamptz", text("2024-02-29T10:11:12+02:00"), Ok("2024-02-29 08:11:12+00")),
        ("c_timestamptz", text("2024-02-29T24:00:00Z"), Ok("2024-03-01 00:00:00+00")),
        ("c_timestamptz", text("2024-02-30T10:11:12Z"), Err(Reason::OutOfRange)),
        ("c_timestamptz", text("2024-02-29T10:11:12+99:00"), Err(Reason::OutOfRange)),
        ("c_interval", text("P1DT2H"), Ok("1 day 02:00:00")),
        ("c_interval", text("a while"), Err(Reason::InvalidValue)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_of_ranges_are_dates_of_the_same_kind() {
    try_values(&[
        ("c_daterange", text("[2026-02-01,2026-03-01)"), Ok("[2026-02-01,2026-03-01)")),
        ("c_daterange", text("[01/02/2026,2026-03-01)"), Err(Reason::InvalidValue)),
        ("c_daterange", text("[2026-03-01,2026-02-01)"), Err(Reason::InvalidValue)),
        ("c_tsrange", text("[2026-02-01 10:00,)"), Ok("[\"2026-02-01 10:00:00\",)")),
        ("c_tsrange", text("[2026-02-01T10:00:00+05:00,)"), Err(Reason::InvalidValue)),
        (
            "c_tstzmultirange",
            text("{[2026-02-01,\"2026-03-01 00:00+01\")}"),
            Ok("{[\"2026-02-01 00:00:00+00\",\"2026-02-28 23:00:00+00\")}"),
        ),
        ("c_tstzmultirange", text("{[2026-02-01,1/3/2026)}"), Err(Reason::InvalidValue)),
        ("c_days", text("[01/02/2026,)"), Err(Reason::InvalidValue)),
        ("c_shifts", text("[01/02/2026,)"), Err(Reason::InvalidValue)),
        ("c_shifts", text("[2026-02-01,)"), Ok("[2026-02-01,)")),
    ])
    .await;
}

/// What the database and the role set must not change what a value means.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_role_and_database_change_no_value() {
    let values = [
        ("d", "2026-02-01", "2026-02-01"),
        ("d", "20260201", "2026-02-01"),
        ("ts", "2026-02-01T10:15:00", "2026-02-01 10:15:00"),
        ("tz", "2026-02-01T10:15:00", "2026-02-01 10:15:00+00"),
        ("tz", "2026-02-01T10:15:00.25-05", "2026-02-01 15:15:00.25+00"),
        ("r", "[2026-02-01,2026-03-04)", "[2026-02-01,2026-03-04)"),
        ("i", "-1 2:03:04", "-1 days +02:03:04"),
        ("m", "1234.5", "$1,234.50"),
        ("x", "a<b/>", "a<b/>"),
    ];
    for date_style in ["SQL, DMY", "German", "Postgres, MDY", "ISO, YMD"] {
        let database = TestDatabase::with(
            "CREATE TABLE user_logins (d date, ts timestamp, tz timestamptz, r daterange, i interval, m money, x xml)",
        )
        .await;
        for setting in ["TimeZone = 'Asia/Tokyo'", "IntervalStyle = 'sql_standard'", "xmloption = document"] {
            database.sql(&format!("ALTER ROLE {} SET {setting}", database.name)).await;
        }
        database.sql(&format!("ALTER DATABASE {} SET DateStyle = '{date_style}'", database.name)).await;
        let writer = database.ready_writer(&[]).await;
        for (column, value, expected) in values {
            let mut stream = writer.open("user_logins", &[column]).await.unwrap();
            let receipt = stream.store(vec![record(format!("{column} {value}"), vec![text(value)])]).await;
            assert_eq!(receipt.outcomes, [STORED], "{value}: {receipt:?}");
            let shown = format!(
                "SELECT {column}::text FROM user_logins,
                     set_config('DateStyle', 'ISO', false) a, set_config('TimeZone', 'UTC', false) b,
                     set_config('IntervalStyle', 'postgres', false) c"
            );
            assert_eq!(database.text(&shown).await, expected, "{value} with {date_style}");
            database.sql("TRUNCATE user_logins").await;
        }
        for guess in ["29/11/2026", "11/29/2026", "01/02/2026", "1.2.2026"] {
            for column in ["d", "ts", "tz"] {
                let mut stream = writer.open("user_logins", &[column]).await.unwrap();
                let receipt =
                    stream.store(vec![record(format!("{column} {guess}"), vec![text(guess)])]).await;
                assert_eq!(only_rejection(&receipt).0, Reason::InvalidValue, "{guess}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_columns_take_everything_and_others_only_scalars() {
    try_values(&[
        ("c_json", json(r#"{"b": 1,  "a":[2]}"#), Ok(r#"{"b": 1,  "a":[2]}"#)),
        ("c_json", text("a\"b"), Ok(r#""a\"b""#)),
        ("c_json", number("1.50"), Ok("1.50")),
        ("c_jsonb", json(r#"{"b":1,"a":[2]}"#), Ok(r#"{"a": [2], "b": 1}"#)),
        ("c_jsonb", boolean(true), Ok("true")),
        ("c_jsonb", null(), Ok("NULL")),
        ("c_jsonb", json(r#"{"a":"\u0000"}"#), Err(Reason::NulInText)),
        ("c_jsonb", json(r#"["\ud83d\ude00"]"#), Ok(r#"["😀"]"#)),
        ("c_jsonb", json(r#"["\ud83d"]"#), Err(Reason::InvalidValue)),
        ("c_jsonb", json("[1e200000]"), Err(Reason::OutOfRange)),
        ("c_json", json("{"), Err(Reason::InvalidValue)),
        ("c_date", json("[]"), Err(Reason::NotAScalar)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_other_types_are_validated_by_postgres() {
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    try_values(&[
        ("c_uuid", text(uuid), Ok(uuid)),
        ("c_uuid", text(&format!("{{{uuid}}}")), Ok(uuid)),
        ("c_uuid", text("a0ee"), Err(Reason::InvalidValue)),
        ("c_bytea", text("\\x6869"), Ok("\\x6869")),
        ("c_bytea", text("\\xzz"), Err(Reason::InvalidValue)),
        ("c_inet", text("::1"), Ok("::1/128")),
        ("c_inet", text("localhost"), Err(Reason::InvalidValue)),
        ("c_mood", text("happy"), Ok("happy")),
        ("c_mood", text("furious"), Err(Reason::InvalidValue)),
        ("c_bit", text("101"), Ok("101")),
        ("c_bit", text("1011"), Err(Reason::InvalidValue)),
        ("c_varbit", text("1011"), Err(Reason::TextTooLong)),
        ("c_point", text("(1,2)"), Ok("(1,2)")),
        ("c_range", text("[1,3)"), Ok("[1,3)")),
        ("c_macaddr", text("08:00:2b:01:02:03"), Ok("08:00:2b:01:02:03")),
        ("c_xml", text("<a/>"), Ok("<a/>")),
        ("c_xml", text("<a>"), Err(Reason::InvalidValue)),
        ("c_tsvector", text("a b"), Ok("'a' 'b'")),
        ("c_tsvector", text("'a"), Err(Reason::InvalidValue)),
        ("c_tsquery", text("a &"), Err(Reason::InvalidValue)),
        ("c_jsonpath", text("$."), Err(Reason::InvalidValue)),
        ("c_regclass", text("nowhere"), Err(Reason::InvalidValue)),
        ("c_regclass", text("no.where"), Err(Reason::InvalidValue)),
        ("c_regproc", text("nothing"), Err(Reason::InvalidValue)),
        ("c_regtype", text("no type"), Err(Reason::InvalidValue)),
        ("c_regtype", text("int4"), Ok("integer")),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_arrays_fill_array_columns_element_by_element() {
    let odd = r#"["a\"b", "c\\d", "", "NULL", "{x,y}", null, "Zo\u00eb 🦀", 1.50, true]"#;
    try_values(&[
        ("c_texts", json("[]"), Ok("{}")),
        ("c_texts", json(odd), Ok(r#"{"a\"b","c\\d","","NULL","{x,y}",NULL,"Zoë 🦀",1.50,true}"#)),
        ("c_texts", null(), Ok("NULL")),
        ("c_texts", json(r#"["a\u0000"]"#), Err(Reason::NulInText)),
        ("c_texts", json(r#"[["a"]]"#), Err(Reason::NotAScalar)),
        ("c_texts", json(r#"[{"a": 1}]"#), Err(Reason::NotAScalar)),
        ("c_texts", json(r#"{"a": 1}"#), Err(Reason::InvalidValue)),
        ("c_texts", text("{a,b}"), Err(Reason::InvalidValue)),
        ("c_varchars", json(r#"["🦀🦀🦀"]"#), Ok("{🦀🦀🦀}")),
        ("c_varchars", json(r#"["abc", "abcd"]"#), Err(Reason::TextTooLong)),
        ("c_ints", json("[1, 2.0, 1e3, \"4\", null]"), Ok("{1,2,1000,4,NULL}")),
        ("c_ints", json("[2147483648]"), Err(Reason::OutOfRange)),
        ("c_ints", json("[1.5]"), Err(Reason::InvalidValue)),
        (
            "c_uuids",
            json(r#"["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"]"#),
            Ok("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"),
        ),
        ("c_uuids", json(r#"["no"]"#), Err(Reason::InvalidValue)),
        ("c_times", json(r#"["2026-11-29T10:15:00"]"#), Ok(r#"{"2026-11-29 10:15:00"}"#)),
        ("c_times", json(r#"["2026-11-29T10:15:00+05:00"]"#), Err(Reason::InvalidValue)),
        ("c_times", json(r#"["29/11/2026"]"#), Err(Reason::InvalidValue)),
        ("c_zoned", json(r#"["2026-11-29T10:15:00+05:00"]"#), Ok(r#"{"2026-11-29 05:15:00+00"}"#)),
        ("c_inets", json(r#"["203.0.113.7", "2001:db8::1"]"#), Ok("{203.0.113.7,2001:db8::1}")),
        ("c_inets", json(r#"["203.0.113.777"]"#), Err(Reason::InvalidValue)),
        ("c_jsonbs", json(r#"[{"b": 1}, [2], "x"]"#), Ok(r#"{"{\"b\": 1}",[2],"\"x\""}"#)),
        ("c_moods", json(r#"["sad"]"#), Ok("{sad}")),
        ("c_moods", json(r#"["furious"]"#), Err(Reason::InvalidValue)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_objects_fill_hstore_columns() {
    try_values(&[
        ("c_hstore", json("{}"), Ok("")),
        (
            "c_hstore",
            json(r#"{"a": "x", "b\"": null, "c": 1.50}"#),
            Ok(r#""a"=>"x", "c"=>"1.50", "b\""=>NULL"#),
        ),
        ("c_hstore", json(r#"{"a": {"b": 1}}"#), Err(Reason::NotAScalar)),
        ("c_hstore", json("[1]"), Err(Reason::InvalidValue)),
        ("c_hstore", text("a=>1"), Err(Reason::InvalidValue)),
    ])
    .await;
}
