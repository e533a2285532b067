//! Upkeep of the ledger's slots.

use std::time::Duration;

use crate::test_database::TestDatabase;

const FILLED: &str = "SELECT string_agg(DISTINCT slot::text, ' ') FROM veilpost.ledger";

/// The slot that rests at the database's time, and nothing near midnight; computed in SQL, apart from the
/// writer's own code.
const IDLE: &str = "
    SELECT CASE WHEN extract(hour FROM now() AT TIME ZONE 'UTC') BETWEEN 1 AND 22
           THEN (mod(floor(extract(epoch FROM now()) / 86400)::int + 2, 18))::text END";

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_empties_the_idle_slot_and_no_other() {
    let database = TestDatabase::with("").await;
    let role = database.create_writer_role().await;
    database.migrate(&["--grant-to", &role]).await.unwrap();
    database
        .sql("INSERT INTO veilpost.ledger SELECT slot, gen_random_uuid() FROM generate_series(0, 17) slot")
        .await;
    let idle = database.text(IDLE).await;
    let writers = [&role, &role].map(|role| database.start_writer_as(role, &["--migrate", "false"]));
    for writer in &writers {
        writer.wait_until_ready().await;
    }
    let everything = if idle == "NULL" { 18 } else { 17 };
    for _ in 0..300 {
        if database.text(FILLED).await.split(' ').count() == everything {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for writer in writers {
        writer.stop().await;
    }
    let filled = database.text(FILLED).await;
    let mut expected: Vec<String> =
        (0..18).map(|slot| slot.to_string()).filter(|slot| *slot != idle).collect();
    expected.sort();
    assert_eq!(filled.split(' ').collect::<Vec<_>>(), expected, "idle: {idle}");
}
