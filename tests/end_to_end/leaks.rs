//! Nothing that went through shows anywhere: not in logs, metrics or spans, and not in Postgres's own log
//! either.

use std::path::{Path, PathBuf};

use veilpost_testkit::{BODILESS, SqsFault, SqsFaultProxy, Stack, TraceCollector, eventually};

const DEFAULT_POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/policies/user_logins.toml");

/// A digest with a key, a type that only Postgres can judge, a type that Veilpost judges, and a document.
const FURTHER: &str = r#"
[[column]]
name = "keyed_ip"
source = "/ip"
transform = "hmac-sha512"
domain = "ip"
key = "k1"
[[column]]
name = "mood"
source = "/mood"
transform = "copy"
[[column]]
name = "score"
source = "/score"
transform = "copy"
"#;

/// The trigger raises the row's values three times before it lets the row pass, and the constraints refuse
/// rows.
const TABLE: &str = "
    CREATE TYPE mood AS ENUM ('sad');
    ALTER TABLE user_logins ADD COLUMN keyed_ip text, ADD COLUMN mood mood, ADD COLUMN score smallint,
        ADD CONSTRAINT known CHECK (locale <> 'locale-CHECK');
    CREATE SEQUENCE refusals;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.locale = 'locale-TRIGGER' AND nextval('refusals') < 4 THEN
            RAISE 'refused: %', NEW.user_id USING ERRCODE = '22023', DETAIL = NEW.user_id, HINT = NEW.user_id,
                COLUMN = 'locale', CONSTRAINT = 'c';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION refuse()";

/// The most that Postgres can be made to log.
const LOUD: &str = "
    ALTER SYSTEM SET log_statement = 'all';
    ALTER SYSTEM SET log_min_duration_statement = 0;
    ALTER SYSTEM SET log_duration = on;
    ALTER SYSTEM SET log_parameter_max_length = -1;
    ALTER SYSTEM SET log_parameter_max_length_on_error = -1;
    ALTER SYSTEM SET log_error_verbosity = 'verbose';
    ALTER SYSTEM SET log_min_messages = 'debug1';
    ALTER SYSTEM SET log_min_error_statement = 'debug1'";

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const ACCESS_KEY: &str = "AKIALEAKMEACCESS";
const SECRET_KEY: &str = "LEAKME-secret-access-key";
/// A parameter of a session that is not the writer's.
const CONTROL: &str = "control-parameter-4711";
const COLLECTOR_TOKEN: &str = "LEAKME-collector-token";

/// Values that stand nowhere else, one for each way a value can take.
const MARKS: [&str; 17] = [
    "203.0.113.77",
    "device-LEAKME",
    "LEAKME-not-json",
    "LEAKME-array",
    "LEAKME-version",
    "LEAKME-too-long",
    "LEAKME-nested",
    "LEAKME-nul",
    "LEAKME-mood",
    "LEAKME-score",
    "LEAKME-unknown-field",
    "LEAKME-unknown-name",
    "LEAKME-attribute",
    "user-LEAKME",
    "locale-LEAKME",
    "phone-LEAKME",
    "987654321987",
];

/// What the trigger writes into Postgres's log, where nobody can keep it out; nothing of Veilpost's may show
/// it.
const RAISED: &str = "user-TRIGGER";

/// One for each reason to be rejected, and three that are stored.
fn bodies() -> Vec<String> {
    let too_long = "LEAKME-too-long".repeat(20);
    let whole = r#"{"user_id":"user-LEAKME","ip":"203.0.113.77","device_id":"device-LEAKME","locale":"locale-LEAKME",
        "device_type":"phone-LEAKME","app_version":"1.2","x":"LEAKME-unknown-field","LEAKME-unknown-name":1}"#;
    vec![
        whole.to_owned(),
        BODILESS.to_owned(),
        "LEAKME-not-json".to_owned(),
        r#"["LEAKME-array"]"#.to_owned(),
        r#"{"app_version":"LEAKME-version"}"#.to_owned(),
        format!(r#"{{"user_id":"{too_long}"}}"#),
        r#"{"user_id":{"x":"LEAKME-nested"},"ip":["203.0.113.77"]}"#.to_owned(),
        r#"{"user_id":"LEAKME-nul\u0000"}"#.to_owned(),
        r#"{"mood":"LEAKME-mood"}"#.to_owned(),
        r#"{"score":"LEAKME-score"}"#.to_owned(),
        r#"{"score":987654321987}"#.to_owned(),
        r#"{"app_version":"987654321987.0"}"#.to_owned(),
        r#"{"user_id":"user-LEAKME","ip":"203.0.113.77","locale":"locale-CHECK"}"#.to_owned(),
        r#"{"user_id":"user-TRIGGER","ip":"203.0.113.77","locale":"locale-TRIGGER"}"#.to_owned(),
    ]
}

/// How many of them are stored.
const STORED: i64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_shows_in_logs_metrics_or_spans_whatever_goes_wrong() {
    let collector = TraceCollector::start().unwrap();
    let mut stack = Stack::bare().await.unwrap();
    for (name, value) in [
        ("RUST_BACKTRACE", "1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_HEADERS", &format!("authorization={COLLECTOR_TOKEN}")),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ] {
        stack.variables.push((name.to_owned(), value.to_owned()));
    }
    let loud = ("--log", "trace");
    stack.start_writer(&[loud]).await.unwrap();
    prepare(&stack).await;
    let policy = format!("{}{FURTHER}", std::fs::read_to_string(DEFAULT_POLICY).unwrap());
    let policy = stack.file("policy.toml", &policy).unwrap();
    let keys = stack.file("keys", &format!("k1={KEY}\n")).unwrap();
    let own = [loud, ("--policy", policy.to_str().unwrap()), ("--hmac-keys-file", keys.to_str().unwrap())];
    let masker = stack.start_masker(&own).await.unwrap().to_string();
    let bodies = bodies();
    for body in &bodies {
        stack.send_with(body, &[("note", "LEAKME-attribute")]).await.unwrap();
    }
    let proxy = SqsFaultProxy::before(stack.queue.address()).await.unwrap();
    proxy.arm("SendMessage", SqsFault::Unavailable, 12);
    // The writer reads the table again for this masker's columns, and needs Postgres for it.
    logged(&stack, "stream open").await;
    stack.postgres.stop().await.unwrap();
    stack.start_reader_at(&proxy.endpoint(), &[loud]).await.unwrap();
    logged(&stack, "cannot store; trying again").await;
    stack.postgres.start_again().await.unwrap();
    stack.rows_are(STORED).await.unwrap();
    logged(&stack, "cannot send to the dead-letter queue; trying again").await;
    stack.maskers[0].child().kill();
    stack.send(&bodies[0]).await.unwrap();
    stack.start_masker(&[&own[..], &[("--listen-address", &masker)]].concat()).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), STORED + 1);
    assert_eq!(stack.dead_letters().await.unwrap().len(), bodies.len() - 3);
    let mut seen = metrics(&mut stack).await;
    no_core_is_left(&stack);
    stack.maskers.remove(0);
    stack.stop().await.unwrap();
    seen.push(("spans".into(), format!("{:?}", collector.received())));
    assert!(seen.iter().any(|(_, text)| text.contains("veilpost.v1.Writer/Write")), "spans came");
    let logs = stack.logs().unwrap();
    seen.extend(logs.clone());
    only_known_parts_log(&logs);
    let handles = proxy.handles();
    assert!(handles.len() >= bodies.len());
    let password = stack.postgres.url().split(['@', ':']).nth(2).unwrap().to_owned();
    let secrets = [KEY, ACCESS_KEY, SECRET_KEY, COLLECTOR_TOKEN, &password];
    let secrets: Vec<&str> = handles.iter().map(String::as_str).chain(MARKS).chain(secrets).collect();
    for (place, text) in &seen {
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} stands in {}", place.display());
        }
        let of_postgres = place.starts_with(stack.postgres.directory());
        assert!(of_postgres || !text.contains(RAISED), "{RAISED} stands in {}", place.display());
        assert!(
            !of_postgres || text.contains(CONTROL),
            "Postgres logs parameters, or this test could not fail"
        );
    }
}

async fn prepare(stack: &Stack) {
    let mut database = stack.database().await.unwrap();
    sqlx::raw_sql(TABLE).execute(&mut database).await.unwrap();
    for setting in LOUD.split(';') {
        sqlx::raw_sql(sqlx::AssertSqlSafe(setting)).execute(&mut database).await.unwrap();
    }
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut database).await.unwrap();
    let shows = async || {
        let mut database = stack.database().await.map_err(|error| error.to_string())?;
        let control = sqlx::query("SELECT $1::text").bind(CONTROL).execute(&mut database).await;
        control.map_err(|error| error.to_string())?;
        let logs = stack.logs().map_err(|error| error.to_string())?;
        let shown = logs.iter().any(|(_, text)| text.contains(CONTROL));
        shown.then_some(()).ok_or_else(|| "no parameters in Postgres's log".to_owned())
    };
    eventually("a loud log", shows).await.unwrap();
}

/// Every line of a service is Veilpost's own, or of the library whose texts are known.
fn only_known_parts_log(logs: &[(PathBuf, String)]) {
    let lines = logs.iter().flat_map(|(_, text)| text.lines()).filter(|line| line.contains("\"target\":\""));
    let mut own = 0;
    for line in lines {
        let target = line.split("\"target\":\"").nth(1).unwrap_or_default();
        own += usize::from(target.starts_with("veilpost_"));
        assert!(target.starts_with("veilpost_") || target.starts_with("opentelemetry_sdk"), "{line}");
    }
    assert!(own > 0, "these are the services' lines");
}

/// Waits until some service says `what`.
async fn logged(stack: &Stack, what: &str) {
    let ask = async || {
        let logs = stack.logs().map_err(|error| error.to_string())?;
        let own = logs.iter().filter(|(place, _)| !place.starts_with(stack.postgres.directory()));
        let found = own.into_iter().any(|(_, text)| text.contains(what));
        found.then_some(()).ok_or_else(|| format!("no service says {what}"))
    };
    eventually("a line in a log", ask).await.unwrap();
}

/// What every service that runs says on its admin port.
async fn metrics(stack: &mut Stack) -> Vec<(PathBuf, String)> {
    let mut seen = Vec::new();
    let services = stack.readers.iter_mut().chain(stack.maskers.iter_mut().skip(1)).chain(&mut stack.writers);
    for service in services {
        let found = format!("{:?}", service.metrics().await.unwrap());
        assert!(found.contains("veilpost_build_info"), "these are its metrics");
        seen.push((Path::new("metrics").join(service.name()), found));
    }
    seen
}

fn no_core_is_left(stack: &Stack) {
    for service in stack.readers.iter().chain(stack.maskers.iter().skip(1)).chain(&stack.writers) {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.pid()));
        // Only Linux has this file.
        let Ok(limits) = limits else { continue };
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }
}
