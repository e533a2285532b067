//! Rows whose business key is in the table already: ignored, or updated by what is newer.

use tonic::{Code, Status};
use veilpost_proto::v1::{ConflictAction, MaskedRecord, OnConflict, Reason, Target, Value};

use crate::masker::{
    DUPLICATE, MaskerStream, REJECTED, STORED, names, null, number, only_rejection, record, text,
};
use crate::running_writer::RunningWriter;
use crate::test_database::TestDatabase;

/// A status of `bad` is refused.
pub(crate) const ORDERS: &str =
    "CREATE TABLE orders (id text UNIQUE, at integer, status text CHECK (status <> 'bad'))";

pub(crate) const IGNORE: (ConflictAction, &str) = (ConflictAction::Ignore, "");
pub(crate) const UPDATE: (ConflictAction, &str) = (ConflictAction::Update, "");
pub(crate) const NEWEST: (ConflictAction, &str) = (ConflictAction::Update, "at");

impl RunningWriter {
    /// Opens a stream to table `orders` with columns id, at and status.
    pub(crate) async fn open_orders(
        &self,
        (action, newer_by): (ConflictAction, &str),
    ) -> Result<MaskerStream, Status> {
        self.open_keyed(&["id", "at", "status"], &["id"], action, newer_by).await
    }

    async fn open_keyed(
        &self,
        columns: &[&str],
        key: &[&str],
        action: ConflictAction,
        newer_by: &str,
    ) -> Result<MaskerStream, Status> {
        let on_conflict =
            Some(OnConflict { key: names(key), action: action.into(), newer_by: newer_by.to_owned() });
        self.open_target(Target { table: "orders".to_owned(), columns: names(columns), on_conflict }).await
    }
}

/// A message with one row; `at` is NULL when it is empty.
pub(crate) fn order(message: &str, id: &str, at: &str, status: &str) -> MaskedRecord {
    record(message, row(id, at, status).to_vec())
}

pub(crate) fn row(id: &str, at: &str, status: &str) -> [Value; 3] {
    let or_null = |value: &str, made: Value| if value.is_empty() { null() } else { made };
    [or_null(id, text(id)), or_null(at, number(at)), text(status)]
}

async fn orders_with(setup: &str) -> (TestDatabase, RunningWriter) {
    let database = TestDatabase::with(setup).await;
    let writer = database.ready_writer(&["--table", "orders"]).await;
    (database, writer)
}

/// Every row, as `id status`.
async fn stored(database: &TestDatabase) -> String {
    let rows = "SELECT string_agg(concat_ws(' ', id, status), ', ' ORDER BY id, status) FROM orders";
    database.text(rows).await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_ignore_the_first_row_of_a_key_stays() {
    let (database, writer) = orders_with(ORDERS).await;
    let mut stream = writer.open_orders(IGNORE).await.unwrap();
    let batch =
        [order("z", "k1", "1", "first"), order("a", "k1", "2", "second"), order("m", "k2", "", "only")];
    assert_eq!(stream.store(batch.to_vec()).await.outcomes, [STORED; 3]);
    assert_eq!(stored(&database).await, "k1 first, k2 only");
    let later = vec![order("n", "k2", "9", "later"), batch[0].clone(), order("o", "k3", "1", "new")];
    assert_eq!(stream.store(later).await.outcomes, [STORED, DUPLICATE, STORED]);
    assert_eq!(stored(&database).await, "k1 first, k2 only, k3 new");
    assert_eq!(database.count("veilpost.ledger").await, 5, "a row that is ignored has its key");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_update_the_last_row_of_a_key_stays() {
    let (database, writer) = orders_with(ORDERS).await;
    let mut stream = writer.open_orders(UPDATE).await.unwrap();
    let batch =
        [order("z", "k1", "5", "first"), order("a", "k1", "2", "second"), order("m", "k2", "1", "only")];
    assert_eq!(stream.store(batch.to_vec()).await.outcomes, [STORED; 3]);
    assert_eq!(stored(&database).await, "k1 second, k2 only");
    let later = vec![order("n", "k2", "", "later"), batch[0].clone(), batch[1].clone()];
    assert_eq!(stream.store(later).await.outcomes, [STORED, DUPLICATE, DUPLICATE]);
    assert_eq!(stored(&database).await, "k1 second, k2 later", "a redelivery updates nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_newer_by_only_a_greater_value_replaces() {
    let (database, writer) = orders_with(ORDERS).await;
    let mut stream = writer.open_orders(NEWEST).await.unwrap();
    for (message, at, status, expected) in [
        ("1", "", "null", "k null"),
        ("2", "", "null again", "k null"),
        ("3", "5", "five", "k five"),
        ("4", "4", "four", "k five"),
        ("5", "5", "five again", "k five"),
        ("6", "", "late null", "k five"),
        ("7", "10", "ten", "k ten"),
    ] {
        assert_eq!(stream.store(vec![order(message, "k", at, status)]).await.outcomes, [STORED]);
        assert_eq!(stored(&database).await, expected, "after {status}");
    }
}

/// As if each message had been stored alone, in the order of arrival.
#[tokio::test(flavor = "multi_thread")]
async fn within_a_batch_the_newest_row_wins_and_of_equals_the_first() {
    let (database, writer) = orders_with(ORDERS).await;
    let mut stream = writer.open_orders(NEWEST).await.unwrap();
    let batch = vec![
        order("z1", "k1", "3", "three"),
        order("y1", "k1", "", "null"),
        order("x1", "k1", "7", "seven"),
        order("w1", "k1", "7", "seven again"),
        order("v1", "k1", "5", "five"),
        order("z2", "k2", "", "null"),
        order("a2", "k2", "", "null again"),
        order("z3", "k3", "10", "ten"),
        order("a3", "k3", "9", "nine"),
    ];
    assert_eq!(stream.store(batch).await.outcomes, [STORED; 9]);
    assert_eq!(stored(&database).await, "k1 seven, k2 null, k3 ten");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_one_message_may_have_one_key() {
    let (database, writer) = orders_with(ORDERS).await;
    let rows = |id: &str| [row(id, "1", "old"), row(id, "3", "newest"), row(id, "2", "between")].concat();
    for (rule, expected) in [(NEWEST, "newest"), (UPDATE, "between"), (IGNORE, "old")] {
        let mut stream = writer.open_orders(rule).await.unwrap();
        let message = MaskedRecord { rows: Some(3), ..record(expected, rows(expected)) };
        assert_eq!(stream.store(vec![message]).await.outcomes, [STORED]);
        assert_eq!(
            database.count(&format!("orders WHERE id = '{expected}' AND status = '{expected}'")).await,
            1
        );
    }
    assert_eq!(database.count("orders").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn null_in_a_key_equals_nothing() {
    let setup = "CREATE TABLE orders (id text, region text, at integer, status text, UNIQUE (id, region))";
    let (database, writer) = orders_with(setup).await;
    let columns = ["region", "at", "status", "id"];
    for (action, newer_by) in [IGNORE, UPDATE, NEWEST] {
        let mut stream = writer.open_keyed(&columns, &["id", "region"], action, newer_by).await.unwrap();
        let message = |number: usize, region: Value| {
            let values = vec![region, crate::masker::number("1"), text("new"), text("k")];
            record(format!("{action:?} {newer_by} {number}"), values)
        };
        let batch =
            vec![message(1, null()), message(2, text("eu")), message(3, null()), message(4, text("eu"))];
        assert_eq!(stream.store(batch).await.outcomes, [STORED; 4]);
    }
    assert_eq!(database.count("orders WHERE region IS NULL").await, 6);
    assert_eq!(database.count("orders WHERE region = 'eu'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn null_equals_null_where_the_index_says_so() {
    let database = TestDatabase::with("").await;
    if database.text("SELECT (current_setting('server_version_num')::int < 150000)::text").await == "true" {
        return;
    }
    database.sql("CREATE TABLE orders (id text UNIQUE NULLS NOT DISTINCT, at integer, status text)").await;
    let writer = database.ready_writer(&["--table", "orders"]).await;
    let mut stream = writer.open_orders(NEWEST).await.unwrap();
    let batch = vec![order("1", "", "1", "old"), order("2", "", "3", "new"), order("3", "", "2", "between")];
    assert_eq!(stream.store(batch).await.outcomes, [STORED; 3]);
    assert_eq!(stored(&database).await, "new");
}

/// Keys that differ as texts, and are one in the table.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_equal_when_the_table_holds_them_for_equal() {
    for (type_name, one, other) in [
        ("numeric(5,1)", "1.04", "1.01"),
        ("numeric", "1.0", "1.00"),
        ("timestamptz(0)", "2026-11-29T10:15:00.1Z", "2026-11-29T11:15:00.2+01:00"),
        ("money", "1.001", "1.002"),
        ("char(5)", "a", "a  "),
        ("text COLLATE nocase", "Ann", "aNN"),
        ("inet", "::1", "0::1"),
        ("lowered", "1.04", "1.01"),
        ("integer[]", "{1, 2}", "{1,2}"),
        ("boolean", "yes", "true"),
    ] {
        let types =
            "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                     CREATE DOMAIN lowered AS numeric(5,1)";
        let table = format!("CREATE TABLE orders (id {type_name} UNIQUE, at integer, status text)");
        let (database, writer) = orders_with(&format!("{types}; {table}")).await;
        let mut stream = writer.open_orders(NEWEST).await.unwrap();
        let value = |id: &str| match id.strip_prefix('{') {
            Some(elements) => crate::masker::json(&format!("[{}]", elements.trim_end_matches('}'))),
            None => text(id),
        };
        let message = |name, id, at, status: &str| record(name, vec![value(id), number(at), text(status)]);
        let batch = vec![
            message("1", one, "2", "new"),
            message("2", other, "1", "old"),
            message("3", one, "1", "old"),
        ];
        assert_eq!(stream.store(batch).await.outcomes, [STORED; 3], "{type_name}");
        assert_eq!(database.text("SELECT string_agg(status, ' ') FROM orders").await, "new", "{type_name}");
        assert_eq!(stream.store(vec![message("4", other, "3", "newest")]).await.outcomes, [STORED]);
        assert_eq!(
            database.text("SELECT string_agg(status, ' ') FROM orders").await,
            "newest",
            "{type_name}"
        );
    }
}

/// By the order of the column's type, and of values as the table holds them.
#[tokio::test(flavor = "multi_thread")]
async fn newer_is_what_the_columns_type_says() {
    for (type_name, older, newer) in [
        ("integer", "9", "10"),
        ("text", "10", "9"),
        ("varchar(8)", "10", "9"),
        ("timestamptz", "2026-11-29T10:00:00+05:00", "2026-11-29T09:00:00Z"),
        ("date", "2026-11-29", "infinity"),
        ("mood", "sad", "glad"),
        ("citext", "a", "B"),
        ("int4range", "[1,2)", "[1,3)"),
        ("lowered", "9", "10"),
        ("uuid", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-00000000000a"),
    ] {
        let types = "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN lowered AS integer";
        let database = TestDatabase::with(types).await;
        sqlx::raw_sql("CREATE EXTENSION citext")
            .execute(&mut database.connect_as_admin().await)
            .await
            .unwrap();
        database.sql(&format!("CREATE TABLE orders (id text UNIQUE, at {type_name}, status text)")).await;
        let writer = database.ready_writer(&["--table", "orders"]).await;
        let mut stream = writer.open_orders(NEWEST).await.unwrap();
        let message = |name, id, at, status| record(name, vec![text(id), text(at), text(status)]);
        for (batch, id) in [(1, "together"), (2, "apart")] {
            let new = message(format!("{batch} new"), id, newer, "new");
            let old = message(format!("{batch} old"), id, older, "old");
            let last = message(format!("{batch} last"), id, older, "old");
            if batch == 1 {
                assert_eq!(stream.store(vec![old, new, last]).await.outcomes, [STORED; 3], "{type_name}");
            } else {
                for one in [old, new, last] {
                    assert_eq!(stream.store(vec![one]).await.outcomes, [STORED], "{type_name}");
                }
            }
        }
        assert_eq!(stored(&database).await, "apart new, together new", "{type_name}");
    }
}

/// A row that gives way to another one of its batch is judged as it would be alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_superseded_is_judged_all_the_same() {
    let (database, writer) = orders_with(ORDERS).await;
    for rule in [NEWEST, UPDATE, IGNORE] {
        let mut stream = writer.open_orders(rule).await.unwrap();
        let name = |number: usize| format!("{rule:?} {number}");
        let batch = vec![
            order(&name(1), "k", "5", "good"),
            order(&name(2), "k", "1", "bad"),
            order(&name(3), "k", "6", "good"),
        ];
        let receipt = stream.store(batch).await;
        assert_eq!(receipt.outcomes, [STORED, REJECTED, STORED], "{rule:?}");
        assert_eq!(only_rejection(&receipt).0, Reason::Constraint);
        assert_eq!(stored(&database).await, "k good");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_rejected_message_remains_and_nothing_gives_way_to_it() {
    let (database, writer) = orders_with(ORDERS).await;
    let mut stream = writer.open_orders(NEWEST).await.unwrap();
    let rows = [row("k1", "9", "newest"), row("k2", "9", "newest"), row("k3", "9", "bad")].concat();
    let poison = MaskedRecord { rows: Some(3), ..record("poison", rows) };
    let mut batch = vec![order("1", "k1", "1", "old"), order("2", "k2", "1", "old"), poison];
    batch.extend((0..20).map(|number| order(&format!("more {number}"), "k1", "2", "new")));
    let receipt = stream.store(batch).await;
    let mut expected = [STORED; 23];
    expected[2] = REJECTED;
    assert_eq!(receipt.outcomes, expected);
    assert_eq!(stored(&database).await, "k1 new, k2 old");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_unique_constraint_rejects_as_ever() {
    let setup = "CREATE TABLE orders (id text UNIQUE, at integer, status text CONSTRAINT one_each UNIQUE)";
    let (database, writer) = orders_with(setup).await;
    for rule in [NEWEST, IGNORE] {
        let mut stream = writer.open_orders(rule).await.unwrap();
        let name = |number: usize| format!("{rule:?} {number}");
        stream.store(vec![order(&name(1), "k1", "1", "taken")]).await;
        let receipt = stream.store(vec![order(&name(2), "k2", "1", "taken")]).await;
        assert_eq!(receipt.outcomes, [REJECTED]);
        assert!(only_rejection(&receipt).1.contains("one_each"), "{receipt:?}");
    }
    assert_eq!(stored(&database).await, "k1 taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_rule_a_second_row_of_a_key_is_rejected_as_ever() {
    let (database, writer) = orders_with(ORDERS).await;
    let mut stream = writer.open("orders", &["id", "at", "status"]).await.unwrap();
    stream.store(vec![order("1", "k", "1", "first")]).await;
    assert_eq!(stream.store(vec![order("2", "k", "2", "second")]).await.outcomes, [REJECTED]);
    assert_eq!(stored(&database).await, "k first");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_table_keep_their_own_rules() {
    let (database, writer) = orders_with(ORDERS).await;
    let mut ignoring = writer.open_orders(IGNORE).await.unwrap();
    let mut updating = writer.open_orders(UPDATE).await.unwrap();
    let mut plain = writer.open("orders", &["id", "at", "status"]).await.unwrap();
    plain.store(vec![order("0", "k", "0", "zero")]).await;
    for round in 0..20 {
        let name = |which: &str| format!("{which} {round}");
        ignoring.send(vec![order(&name("ignored"), "k", "1", "ignored")]).await;
        updating.send(vec![order(&name("updated"), "k", "1", "updated")]).await;
        plain.send(vec![order(&name("plain"), "k", "1", "plain")]).await;
        assert_eq!(ignoring.receipt().await.unwrap().outcomes, [STORED]);
        assert_eq!(updating.receipt().await.unwrap().outcomes, [STORED]);
        assert_eq!(plain.receipt().await.unwrap().outcomes, [REJECTED]);
        assert_eq!(stored(&database).await, "k updated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_tables_take_rules_as_well() {
    let setup = "CREATE TABLE orders (id text, region text, status text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
                 CREATE TABLE eu PARTITION OF orders FOR VALUES IN ('eu'); CREATE TABLE us PARTITION OF orders DEFAULT";
    let (database, writer) = orders_with(setup).await;
    let columns = ["id", "region", "status"];
    let mut stream =
        writer.open_keyed(&columns, &["id", "region"], ConflictAction::Update, "status").await.unwrap();
    let message = |name, region, status| record(name, vec![text("k"), text(region), text(status)]);
    let batch = vec![
        message("1", "eu", "1"),
        message("2", "us", "2"),
        message("3", "eu", "3"),
        message("4", "us", "1"),
    ];
    assert_eq!(stream.store(batch).await.outcomes, [STORED; 4]);
    assert_eq!(stream.store(vec![message("5", "us", "4")]).await.outcomes, [STORED]);
    assert_eq!(stored(&database).await, "k 3, k 4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_needs_a_unique_index_that_serves() {
    for (index, served) in [
        ("", false),
        ("CREATE INDEX ON orders (id)", false),
        ("CREATE UNIQUE INDEX ON orders (id) WHERE at > 1", false),
        ("CREATE UNIQUE INDEX ON orders (lower(id))", false),
        ("CREATE UNIQUE INDEX ON orders (id, at)", false),
        ("ALTER TABLE orders ADD UNIQUE (id) DEFERRABLE", false),
        (
            "CREATE UNIQUE INDEX ON orders (id); ALTER TABLE orders ADD UNIQUE (id) DEFERRABLE INITIALLY DEFERRED",
            false,
        ),
        ("CREATE UNIQUE INDEX ON orders (id COLLATE nocase)", false),
        ("CREATE UNIQUE INDEX ON orders (id) INCLUDE (at)", true),
        ("CREATE UNIQUE INDEX ON orders (id text_pattern_ops DESC)", true),
        ("ALTER TABLE orders ADD PRIMARY KEY (id)", true),
    ] {
        let collation =
            "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
        let setup = format!("{collation}; CREATE TABLE orders (id text, at integer, status text); {index}");
        let (database, writer) = orders_with(&setup).await;
        let opened = writer.open_orders(NEWEST).await;
        if served {
            let batch = vec![order("1", "k", "1", "old"), order("2", "k", "2", "new")];
            assert_eq!(opened.unwrap().store(batch).await.outcomes, [STORED; 2], "{index}");
            assert_eq!(stored(&database).await, "k new");
        } else {
            let refused = opened.err().expect(index);
            assert_eq!(refused.code(), Code::FailedPrecondition, "{index}");
            assert!(refused.message().starts_with("on_conflict: "), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_that_a_refusal_names_makes_the_target_fit_and_its_loss_ends_the_stream() {
    let setup = r#"CREATE TABLE orders (id text, "Region" text, at integer, status text)"#;
    let (database, writer) = orders_with(setup).await;
    let columns = ["id", "Region", "at", "status"];
    let open = || writer.open_keyed(&columns, &["Region", "id"], ConflictAction::Update, "at");
    let refused = open().await.err().unwrap();
    let create = refused.message().split('`').nth(1).unwrap().to_owned();
    assert_eq!(create, r#"CREATE UNIQUE INDEX ON public.orders ("Region", id)"#);
    database.sql(&create).await;
    let mut stream = open().await.unwrap();
    let message = |name| record(name, vec![text("k"), text("eu"), number("1"), text("new")]);
    assert_eq!(stream.store(vec![message("1")]).await.outcomes, [STORED]);
    database.sql(r#"DROP INDEX "orders_Region_id_idx""#).await;
    stream.send(vec![message("2")]).await;
    assert_eq!(stream.end().await, Code::FailedPrecondition);
    assert_eq!(database.count("veilpost.ledger").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_without_an_order_cannot_say_what_is_newer() {
    for type_name in ["json", "point", "xml", "text[]"] {
        let setup = format!("CREATE TABLE orders (id text UNIQUE, at {type_name}, status text)");
        let (_database, writer) = orders_with(&setup).await;
        let refused = writer.open_orders(NEWEST).await.err().unwrap();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{type_name}");
        assert!(refused.message().contains("column at cannot be newer_by"), "{refused}");
        assert!(writer.open_orders(UPDATE).await.is_ok(), "{type_name}");
    }
}
