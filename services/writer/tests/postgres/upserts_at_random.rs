//! Rules for conflicts under everything at once: two writers, redeliveries, doubles, NULLs, poison.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use veilpost_proto::v1::{ConflictAction, MaskedRecord};

use crate::masker::{DUPLICATE, MaskerStream, REJECTED, STORED, record};
use crate::test_database::TestDatabase;
use crate::upserts::{IGNORE, NEWEST, ORDERS, UPDATE, row};

/// A row as the test knows it: key, time, and a status that no other row has.
#[derive(Clone, Debug)]
struct Row {
    id: &'static str,
    at: Option<i32>,
    status: String,
}

#[derive(Clone, Debug)]
struct Message {
    name: String,
    rows: Vec<Row>,
    is_poison: bool,
}

impl Message {
    fn random(number: usize, random: &mut StdRng) -> Self {
        let name = format!("m{number:03}");
        let is_poison = random.random_ratio(1, 12);
        let count = *[1, 1, 1, 2, 5].choose(random).unwrap();
        let mut rows: Vec<Row> = (0..count)
            .map(|row| Row {
                id: ["a", "b", "c", "d", "e", "f", ""].choose(random).unwrap(),
                at: random.random_ratio(4, 5).then(|| random.random_range(0..25)),
                status: format!("{name}-{row}"),
            })
            .collect();
        if is_poison {
            let poisoned = random.random_range(0..rows.len());
            // As new as can be, so that others would give way to it.
            rows[poisoned] = Row { at: Some(1000), status: "bad".to_owned(), ..rows[poisoned].clone() };
        }
        Self { name, rows, is_poison }
    }

    fn sent(&self) -> MaskedRecord {
        let at = |at: Option<i32>| at.map(|at| at.to_string()).unwrap_or_default();
        let values = self.rows.iter().flat_map(|one| row(one.id, &at(one.at), &one.status)).collect();
        MaskedRecord { rows: Some(self.rows.len().try_into().unwrap()), ..record(&self.name, values) }
    }
}

/// What may be stored: for each key the rows of which one is, and every row without a key.
fn allowed(messages: &[Message], newest_only: bool) -> (BTreeMap<&str, Vec<&str>>, Vec<&str>) {
    let good = messages.iter().filter(|message| !message.is_poison).flat_map(|message| &message.rows);
    let (keyed, keyless): (Vec<&Row>, Vec<&Row>) = good.partition(|row| !row.id.is_empty());
    let mut by_key: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in keyed {
        by_key.entry(row.id).or_default().push(row);
    }
    let by_key = by_key.into_iter().map(|(id, rows)| (id, of_key(&rows, newest_only))).collect();
    (by_key, keyless.into_iter().map(|row| row.status.as_str()).collect())
}

fn of_key<'row>(rows: &[&'row Row], newest_only: bool) -> Vec<&'row str> {
    let newest = rows.iter().map(|row| row.at).max().unwrap();
    rows.iter().filter(|row| !newest_only || row.at == newest).map(|row| row.status.as_str()).collect()
}

/// Sends all messages; each outcome is that of its message. Gives how many were stored as new.
async fn send(stream: &mut MaskerStream, messages: &[Message]) -> usize {
    let mut stored = 0;
    for batch in messages.chunks(13) {
        let outcomes = stream.store(batch.iter().map(Message::sent).collect()).await.outcomes;
        for (message, outcome) in batch.iter().zip(outcomes) {
            let expected = if message.is_poison { &[REJECTED][..] } else { &[STORED, DUPLICATE] };
            assert!(expected.contains(&outcome), "{} was {outcome}", message.name);
            stored += usize::from(outcome == STORED);
        }
    }
    stored
}

async fn whatever_comes(rule: (ConflictAction, &str), seed: u64) {
    let database = TestDatabase::with(ORDERS).await;
    let writers = [
        database.ready_writer(&["--table", "orders", "--batch-records", "20"]).await,
        database.ready_writer(&["--table", "orders", "--connections", "3"]).await,
    ];
    let mut random = StdRng::seed_from_u64(seed);
    let messages: Vec<_> = (0..150).map(|number| Message::random(number, &mut random)).collect();
    let mut streams = Vec::new();
    for writer in &writers {
        for _ in 0..2 {
            let mut copies = messages.clone();
            copies.shuffle(&mut random);
            streams.push((writer.open_orders(rule).await.unwrap(), copies));
        }
    }
    let sending: JoinSet<_> = streams
        .into_iter()
        .map(|(mut stream, copies)| async move { send(&mut stream, &copies).await })
        .collect();
    let stored: usize = sending.join_all().await.into_iter().sum();
    let good = messages.iter().filter(|message| !message.is_poison).count();
    assert_eq!(stored, good, "each message is stored once");
    let (by_key, keyless) = allowed(&messages, rule == NEWEST);
    assert_eq!(database.count("orders WHERE id IS NOT NULL").await, by_key.len());
    for (id, statuses) in by_key {
        let found = database.text(&format!("SELECT status FROM orders WHERE id = '{id}'")).await;
        assert!(
            statuses.contains(&found.as_str()),
            "{rule:?}, seed {seed}: {id} is {found}, not of {statuses:?}"
        );
    }
    let found = "SELECT COALESCE(string_agg(status, ' ' ORDER BY status), '') FROM orders WHERE id IS NULL";
    let mut expected = keyless;
    expected.sort_unstable();
    assert_eq!(database.text(found).await, expected.join(" "), "rows without a key are all there");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_each_key_has_its_newest_row() {
    for seed in 0..2 {
        whatever_comes(NEWEST, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_each_key_has_one_row_of_a_message_that_was_stored() {
    for rule in [IGNORE, UPDATE] {
        whatever_comes(rule, 11).await;
    }
}

/// Makes each row take a millisecond, so that statements at the same time meet in the middle.
const SLOWLY: &str = "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END$$;
    CREATE TRIGGER slowly BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slowly()";

/// Rows in the order of their keys wait for each other, and never in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn writers_with_the_same_keys_do_not_deadlock() {
    for rule in [IGNORE, NEWEST] {
        let database = TestDatabase::with(&format!("{ORDERS}; {SLOWLY}")).await;
        let writer = database
            .ready_writer(&["--table", "orders", "--connections", "4", "--batch-records", "100"])
            .await;
        let mut sending = JoinSet::new();
        for stream in 0..4 {
            let mut opened = writer.open_orders(rule).await.unwrap();
            sending.spawn(async move {
                let mut random = StdRng::seed_from_u64(stream);
                for batch in 0..3 {
                    let mut keys: Vec<_> = (0..100).map(|key| format!("{batch}-{key}")).collect();
                    keys.shuffle(&mut random);
                    let at = (batch + stream).to_string();
                    let messages = keys
                        .iter()
                        .map(|key| crate::upserts::order(&format!("{stream} {key}"), key, &at, "new"));
                    assert_eq!(opened.store(messages.collect()).await.outcomes, [STORED; 100]);
                }
            });
        }
        sending.join_all().await;
        writer.stop().await;
        let deadlocks = "SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(database.text(deadlocks).await, "0", "{rule:?}");
    }
}
