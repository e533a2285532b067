//! A producer that sends each change of an order: the table has the newest state of each.

use veilpost_testkit::{Stack, eventually};

const TABLE: &str =
    "CREATE TABLE orders (order_id text PRIMARY KEY, status text NOT NULL, updated_at timestamptz,
    masked_email text)";

const POLICY: &str = r#"
table = "orders"
on_conflict = { key = ["order_id"], do = "update", newer_by = "updated_at" }

[[column]]
name = "order_id"
source = "/id"
transform = "copy"

[[column]]
name = "status"
source = "/status"
transform = "copy"

[[column]]
name = "updated_at"
source = "/updated_at"
transform = "copy"

[[column]]
name = "masked_email"
source = "/email"
normalize = ["trim", "lowercase", "email"]
transform = "sha512"
"#;

fn event(id: usize, minute: usize, status: &str) -> String {
    let updated_at = format!("2026-11-29T10:{minute:02}:00Z");
    serde_json::json!({"id": format!("o{id}"), "status": status, "updated_at": updated_at, "email": "a@example.org"})
        .to_string()
}

async fn stack_with(policy: &str) -> Stack {
    let mut stack = Stack::bare().await.unwrap();
    let mut database = stack.database().await.unwrap();
    sqlx::raw_sql(TABLE).execute(&mut database).await.unwrap();
    let policy = stack.file("orders.toml", policy).unwrap();
    stack.start_writer(&[("--table", "orders")]).await.unwrap();
    stack.start_masker(&[("--policy", policy.to_str().unwrap())]).await.unwrap();
    stack
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_has_its_newest_state_whatever_the_order_of_its_events() {
    let mut stack = stack_with(POLICY).await;
    for id in 0..40 {
        for minute in [2, 0, 3, 1, 3] {
            let status = if minute == 3 { "shipped" } else { "open" };
            stack.send(&event(id, minute, status)).await.unwrap();
        }
    }
    stack.start_reader(&[]).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    let newest =
        "SELECT count(*) FROM orders WHERE status = 'shipped' AND updated_at = '2026-11-29T10:03:00Z'";
    assert_eq!(stack.count(newest).await.unwrap(), 40);
    assert_eq!(stack.count("SELECT count(*) FROM orders").await.unwrap(), 40);
    assert_eq!(stack.count("SELECT count(*) FROM veilpost.ledger").await.unwrap(), 200);
    let metrics = stack.writers[0].metrics().await.unwrap();
    let stored = metrics.sum("veilpost_writer_records_total", &[("outcome", "stored")]);
    assert!((stored - 200.0).abs() < f64::EPSILON, "{stored} stored");
    // Of an order's five events one to four are newer than all before.
    let superseded = metrics.sum("veilpost_writer_rows_superseded_total", &[]);
    assert!((40.0..=160.0).contains(&superseded), "{superseded} superseded");
    assert!(stack.dead_letters().await.unwrap().is_empty());
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_ignores_counts_each_row_that_gives_way() {
    let rule = "do = \"update\", newer_by = \"updated_at\"";
    let mut stack = stack_with(&POLICY.replace(rule, "do = \"ignore\"")).await;
    stack.start_reader(&[]).await.unwrap();
    stack.send(&event(1, 0, "first")).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    for minute in 1..=3 {
        stack.send(&event(1, minute, "later")).await.unwrap();
    }
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.count("SELECT count(*) FROM orders WHERE status = 'first'").await.unwrap(), 1);
    let superseded =
        stack.writers[0].metrics().await.unwrap().sum("veilpost_writer_rows_superseded_total", &[]);
    assert!((superseded - 3.0).abs() < f64::EPSILON, "{superseded} superseded");
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_the_index_is_refused_and_served_once_it_is_there() {
    let mut stack = Stack::bare().await.unwrap();
    let mut database = stack.database().await.unwrap();
    let without_key = TABLE.replace("PRIMARY KEY", "");
    sqlx::raw_sql(sqlx::AssertSqlSafe(without_key)).execute(&mut database).await.unwrap();
    let policy = stack.file("orders.toml", POLICY).unwrap();
    stack.start_writer(&[("--table", "orders")]).await.unwrap();
    let mut masker = stack.launch_masker(&[("--policy", policy.to_str().unwrap())]).await.unwrap();
    let create = "CREATE UNIQUE INDEX ON public.orders (order_id)";
    let ask = async || {
        let log = std::fs::read_to_string(masker.log_file()).map_err(|error| error.to_string())?;
        log.contains(create).then_some(()).ok_or(log)
    };
    eventually("the refusal with its remedy", ask).await.unwrap();
    sqlx::raw_sql("CREATE UNIQUE INDEX ON public.orders (order_id)").execute(&mut database).await.unwrap();
    masker.ready().await.unwrap();
    stack.maskers.push(masker);
    stack.stop().await.unwrap();
}
