//! The rules for bodies, row by row, as they show in the database and in the dead-letter queue.

use std::collections::BTreeMap;

use sqlx::Row;
use veilpost_testkit::Stack;

/// The default policy's columns, plus the message id, so that a row tells which message it came from, plus
/// one json column.
const POLICY: &str = r#"
table = "events"
unknown_record = "store"
[[column]]
name = "message_id"
transform = "message-id"
[[column]]
name = "user_id"
source = "/user_id"
transform = "copy"
[[column]]
name = "locale"
source = "/locale"
transform = "copy"
[[column]]
name = "masked_ip"
source = "/ip"
transform = "sha512"
[[column]]
name = "app_version"
source = "/app_version"
transform = "major-version"
[[column]]
name = "device"
source = "/device/id"
transform = "copy"
[[column]]
name = "born"
source = "/born"
transform = "copy"
[[column]]
name = "extra"
source = "/extra"
transform = "copy"
[[column]]
name = "create_date"
transform = "ingest-date"
"#;

const TABLE: &str =
    "CREATE TABLE events (message_id text, user_id varchar(8), locale varchar(32), masked_ip varchar(256),
    app_version integer, device text, born date, extra jsonb, create_date date)";

/// The expected outcome of a body: a row with these columns (all others NULL), or a dead letter with this
/// reason.
enum Expected {
    Row(&'static [(&'static str, &'static str)]),
    Rejected(&'static str),
}

use Expected::{Rejected, Row as Stored};

/// Stands for the SHA-512 of "1.2.3.4", which Postgres computes in the query.
const IP: &str = "IP";

fn cases() -> Vec<(String, Expected)> {
    let case = |body: &str, outcome| (body.to_owned(), outcome);
    let deep =
        |depth: usize| format!("{{\"user_id\":\"deep\",\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    vec![
        case(
            r#"{"user_id":"u1","locale":"RU","ip":"1.2.3.4","app_version":"23.0.1"}"#,
            Stored(&[("user_id", "u1"), ("locale", "RU"), ("masked_ip", IP), ("app_version", "23")]),
        ),
        case(r#"{"user_id":"u2","locale":null}"#, Stored(&[("user_id", "u2")])),
        case("{}", Stored(&[])),
        case(r#"{"foo":"x"}"#, Stored(&[])),
        case(r#"{"user_id":"a","user_id":"b"}"#, Stored(&[("user_id", "b")])),
        case(r#"{"user_id":{"x":1},"user_id":"b"}"#, Stored(&[("user_id", "b")])),
        case(r#"{"device":{"id":"d"},"device":5}"#, Stored(&[])),
        case(r#"{"device":{"id":"d1","other":[1,2]}}"#, Stored(&[("device", "d1")])),
        case(r#"{"user_id":1.0,"locale":true}"#, Stored(&[("user_id", "1.0"), ("locale", "true")])),
        case(r#"{"locale":1E400}"#, Stored(&[("locale", "1E400")])),
        case(r#"{"app_version":"beta"}"#, Stored(&[])),
        case(r#"{"app_version":23}"#, Stored(&[("app_version", "23")])),
        case(r#"{"app_version":"-7.1"}"#, Stored(&[("app_version", "-7")])),
        case(r#"{"user_id":"éééééééé"}"#, Stored(&[("user_id", "éééééééé")])),
        case(r#"{"user_id":"\ud83d\ude00"}"#, Stored(&[("user_id", "😀")])),
        case(r#"{"born":"2024-02-29"}"#, Stored(&[("born", "2024-02-29")])),
        case(r#"{"extra":{"a":[1,2.50]}}"#, Stored(&[("extra", r#"{"a": [1, 2.50]}"#)])),
        case(r#"{"extra":"text"}"#, Stored(&[("extra", "\"text\"")])),
        case(&deep(126), Stored(&[("user_id", "deep")])),
        case(" \n{\"user_id\":\"ws\"}\t", Stored(&[("user_id", "ws")])),
        case(&deep(127), Rejected("not-json")),
        case("not json", Rejected("not-json")),
        case(r#"{"user_id":"x""#, Rejected("not-json")),
        case(r#"{"ignored":"\ud800"}"#, Rejected("not-json")),
        case("[1,2]", Rejected("not-an-object")),
        case("\"text\"", Rejected("not-an-object")),
        case("null", Rejected("not-an-object")),
        case(r#"{"ip":{"v4":"1.2.3.4"}}"#, Rejected("not-a-scalar")),
        case(r#"{"user_id":["u"]}"#, Rejected("not-a-scalar")),
        case(r#"{"user_id":"nine chars"}"#, Rejected("text-too-long")),
        case(r#"{"user_id":"spaces    "}"#, Rejected("text-too-long")),
        case(r#"{"locale":"a\u0000b"}"#, Rejected("nul-in-text")),
        case(r#"{"app_version":"99999999999.1"}"#, Rejected("out-of-range")),
        case(r#"{"born":"2023-02-30"}"#, Rejected("out-of-range")),
        case(r#"{"born":"soon"}"#, Rejected("invalid-value")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_becomes_the_row_or_the_dead_letter_that_the_rules_say() {
    let mut stack = Stack::bare().await.unwrap();
    let mut database = stack.database().await.unwrap();
    sqlx::raw_sql(TABLE).execute(&mut database).await.unwrap();
    let policy = stack.file("policy.toml", POLICY).unwrap();
    stack.start_writer(&[("--table", "events")]).await.unwrap();
    stack.start_masker(&[("--policy", policy.to_str().unwrap())]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();

    let mut sent = BTreeMap::new();
    for (body, outcome) in cases() {
        sent.insert(stack.send(&body).await.unwrap(), (body, outcome));
    }
    stack.queue_is_empty().await.unwrap();

    let rows = "SELECT message_id, row_to_json(e)::text, masked_ip = encode(sha512('1.2.3.4'), 'hex'),
        create_date = (now() AT TIME ZONE 'UTC')::date FROM events e";
    for row in sqlx::query(rows).fetch_all(&mut database).await.unwrap() {
        let (body, outcome) = sent.remove(row.get::<&str, _>(0)).expect("one row for one message");
        let Stored(expected) = outcome else { panic!("{body} was to be rejected") };
        assert_row(&body, row.get(1), row.get(2), expected);
        assert!(row.get::<bool, _>(3), "{body}: the day of ingestion");
    }
    for letter in stack.dead_letters().await.unwrap() {
        let (body, outcome) = sent.remove(&letter.message_id).expect("one dead letter for one message");
        let Rejected(reason) = outcome else { panic!("{body} was to be stored, not {}", letter.reason) };
        assert_eq!((letter.reason.as_str(), letter.body.as_str()), (reason, body.as_str()));
        assert!(letter.sent_timestamp.parse::<u64>().is_ok());
    }
    assert!(
        sent.is_empty(),
        "neither row nor dead letter: {:?}",
        sent.values().map(|(body, _)| body).collect::<Vec<_>>()
    );
    stack.stop().await.unwrap();
}

/// Compares one row, given as JSON, with the columns that must not be NULL.
fn assert_row(body: &str, row: &str, ip_is_hashed: Option<bool>, expected: &[(&str, &str)]) {
    let mut found: BTreeMap<String, serde_json::Value> = serde_json::from_str(row).unwrap();
    for own in ["message_id", "create_date"] {
        found.remove(own);
    }
    found.retain(|_, value| !value.is_null());
    for (column, expected) in expected {
        let value = found.remove(*column).expect("a value that is not NULL");
        match (*expected, value) {
            (IP, _) => assert_eq!(ip_is_hashed, Some(true), "{body}: {column}"),
            (expected, serde_json::Value::String(text)) if *column != "extra" => {
                assert_eq!(text, expected, "{body}");
            }
            (expected, value) => {
                let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
                assert_eq!(value, expected, "{body}");
            }
        }
    }
    assert!(found.is_empty(), "{body}: {:?} should be NULL", found.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_policy_fills_the_default_table_and_keeps_duplicates_visible() {
    let mut stack = Stack::running().await.unwrap();
    stack.send_logins("user-", 20).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    let expected = "SELECT count(*) FROM user_logins WHERE user_id LIKE 'user-%' AND device_type = 'android' AND locale = 'RU'
        AND masked_ip = encode(sha512('199.172.111.135'), 'hex')
        AND masked_device_id = encode(sha512('593-47-5928'), 'hex')
        AND app_version = 2 AND create_date = (now() AT TIME ZONE 'UTC')::date";
    assert_eq!(stack.count(expected).await.unwrap(), 20);
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_policy_stores_digests_that_carry_their_key_id() {
    let mut stack = Stack::bare().await.unwrap();
    let policy = stack
        .file(
            "keyed.toml",
            "table = \"user_logins\"\n[[column]]\nname = \"masked_ip\"\nsource = \"/ip\"\ntransform = \"hmac-sha512\"\ndomain = \"ip\"\nkey = \"k1\"\n",
        )
        .unwrap();
    let keys = stack.file("keys", &format!("k1={}\n", "0b".repeat(32))).unwrap();
    stack.start_writer(&[]).await.unwrap();
    let arguments = [("--policy", policy.to_str().unwrap()), ("--hmac-keys-file", keys.to_str().unwrap())];
    stack.start_masker(&arguments).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("user-", 3).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(
        stack
            .count("SELECT count(*) FROM user_logins WHERE masked_ip ~ '^k1\\.[0-9a-f]{128}$'")
            .await
            .unwrap(),
        3
    );
    assert_eq!(stack.count("SELECT count(DISTINCT masked_ip) FROM user_logins").await.unwrap(), 1);
    stack.stop().await.unwrap();
}

/// The transforms and column types that the other tests do not have.
const TYPED: &str = r#"
table = "typed"
unknown_record = "reject"
[[column]]
name = "message_id"
transform = "message-id"
[[column]]
name = "sent_on"
transform = "sent-date"
[[column]]
name = "sent_at"
transform = "sent-timestamp"
[[column]]
name = "ratio"
source = "/ratio"
transform = "copy"
[[column]]
name = "active"
source = "/active"
transform = "copy"
[[column]]
name = "session"
source = "/session"
transform = "copy"
[[column]]
name = "amount"
source = "/amount"
transform = "copy"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn sent_times_and_typed_columns_are_filled_and_unknown_records_can_be_rejected() {
    let mut stack = Stack::bare().await.unwrap();
    let mut database = stack.database().await.unwrap();
    let table =
        "CREATE TABLE typed (message_id text, sent_on date, sent_at timestamptz, ratio double precision,
        active boolean, session uuid, amount numeric(10, 2))";
    sqlx::raw_sql(table).execute(&mut database).await.unwrap();
    let policy = stack.file("typed.toml", TYPED).unwrap();
    stack.start_writer(&[("--table", "typed")]).await.unwrap();
    stack.start_masker(&[("--policy", policy.to_str().unwrap())]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    let good =
        r#"{"ratio":1e-3,"active":true,"session":"C56A4180-65AA-42EC-A945-5FD21DEC0538","amount":12.50}"#;
    let good = stack.send(good).await.unwrap();
    let unknown = stack.send(r#"{"foo":"x"}"#).await.unwrap();
    let no_number = stack.send(r#"{"ratio":"much"}"#).await.unwrap();
    let no_truth = stack.send(r#"{"active":1}"#).await.unwrap();
    stack.queue_is_empty().await.unwrap();

    let expected = "SELECT string_agg(message_id, ',') FROM typed WHERE ratio = 0.001 AND active AND amount = 12.5
        AND session = 'c56a4180-65aa-42ec-a945-5fd21dec0538' AND abs(extract(epoch FROM now() - sent_at)) < 300
        AND sent_on = (sent_at AT TIME ZONE 'UTC')::date";
    let stored: String = sqlx::query_scalar(expected).fetch_one(&mut database).await.unwrap();
    assert_eq!(stored, good);
    let letters = stack.dead_letters().await.unwrap();
    let mut found: Vec<_> =
        letters.iter().map(|letter| (letter.reason.as_str(), letter.message_id.as_str())).collect();
    let mut wanted = vec![
        ("unknown-record", unknown.as_str()),
        ("invalid-value", no_number.as_str()),
        ("invalid-value", no_truth.as_str()),
    ];
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    let claimed = "SELECT count(*) FROM veilpost.ledger WHERE rejected IS NOT NULL";
    assert_eq!(
        stack.count(claimed).await.unwrap(),
        3,
        "the masker's rejection is claimed as the writer's are"
    );
    stack.stop().await.unwrap();
}
