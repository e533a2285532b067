//! A real PgBouncer between the writer and Postgres.

use clap::Parser;
use veilpost_runtime::Lifecycle;
use veilpost_testkit::PgBouncer;
use veilpost_writer::{Arguments, Writer, WriterCommand, migrate};

use crate::masker::{DUPLICATE, STORED, record, text};
use crate::test_database::TestDatabase;

async fn pooler(database: &TestDatabase, pool_mode: &str) -> PgBouncer {
    PgBouncer::start(pool_mode, database.postgres.port(), &database.name).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_in_session_mode_is_as_good_as_postgres_itself() {
    let database = TestDatabase::with("").await;
    let pooler = pooler(&database, "session").await;
    let writer = TestDatabase::start_writer_at(&pooler.url(&database.name), &[]);
    writer.wait_until_ready().await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let records = |from: usize| (from..from + 50).map(|id| record(id, vec![text("a")])).collect::<Vec<_>>();
    assert_eq!(stream.store(records(0)).await.outcomes, [STORED; 50]);
    let again = stream.store(records(25)).await.outcomes;
    assert_eq!(again[..25], [DUPLICATE; 25]);
    assert_eq!(again[25..], [STORED; 25]);
    assert_eq!(database.count("user_logins").await, 75);
    writer.stop().await;
    // A second start finds connections that the pool has kept.
    let writer = TestDatabase::start_writer_at(&pooler.url(&database.name), &[]);
    writer.wait_until_ready().await;
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_mixes_sessions_is_refused_at_the_start_and_its_mode_is_named() {
    for pool_mode in ["transaction", "statement"] {
        let database = TestDatabase::with("").await;
        database.migrate(&[]).await.unwrap();
        let pooler = pooler(&database, pool_mode).await;
        let url = pooler.url(&database.name);
        // Again and again: prepared statements of earlier clients stay in the pool.
        for run in 0..3 {
            let arguments = ["veilpost-writer", "migrate", "--database-url", &url];
            let Some(WriterCommand::Migrate(settings)) =
                Arguments::try_parse_from(arguments).unwrap().command
            else {
                panic!("not migrate")
            };
            let refused = [
                migrate(settings, Lifecycle::for_tests()).await,
                start(&url, &["--migrate", "false"]).await,
                start(&url, &[]).await,
            ];
            for refused in refused {
                let said = format!("{:#}", refused.unwrap_err());
                for expected in ["pool_mode = transaction or statement", "pool_mode = session"] {
                    assert!(said.contains(expected), "{pool_mode}, run {run}: {said}");
                }
            }
        }
    }
}

/// Runs a writer that must end at its start.
async fn start(url: &str, more: &[&str]) -> anyhow::Result<()> {
    let own = ["veilpost-writer", "--database-url", url, "--listen-address", "127.0.0.1:0"];
    let settings = Arguments::try_parse_from([&own, more].concat()).unwrap().settings;
    let running = Writer::new(settings)?.run(Lifecycle::for_tests());
    tokio::time::timeout(std::time::Duration::from_mins(1), running).await.expect("it ends by itself")
}
