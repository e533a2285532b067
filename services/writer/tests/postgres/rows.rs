//! Messages of several rows, and of none: all rows are stored with one key, or none is.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use veilpost_proto::v1::{MaskedRecord, Reason, Value};

use crate::masker::{DUPLICATE, REJECTED, STORED, number, only_rejection, record, text};
use crate::test_database::TestDatabase;

/// A message whose rows have these values in the only column.
fn message(id: impl std::fmt::Display, values: Vec<Value>) -> MaskedRecord {
    let rows = Some(values.len().try_into().unwrap());
    MaskedRecord { rows, ..record(id, values) }
}

fn users(id: &str, rows: usize) -> MaskedRecord {
    message(id, (0..rows).map(|row| text(&format!("{id}-{row}"))).collect())
}

const NO_BAD_USERS: &str = "CREATE TABLE user_logins (user_id text CHECK (user_id NOT LIKE 'bad%'))";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_several_rows_or_none_has_one_key() {
    let database = TestDatabase::with("").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let batch = [users("a", 3), users("b", 0), users("c", 1), record("d", vec![text("d")])];
    assert_eq!(stream.store(batch.to_vec()).await.outcomes, [STORED; 4]);
    let stored = "SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM user_logins";
    assert_eq!(database.text(stored).await, "a-0 a-1 a-2 c-0 d");
    assert_eq!(database.count("veilpost.ledger").await, 4);
    // Known keys take the other statement.
    let again = [users("a", 3), users("new", 2), users("b", 0), users("empty", 0)];
    assert_eq!(stream.store(again.to_vec()).await.outcomes, [DUPLICATE, STORED, DUPLICATE, STORED]);
    assert_eq!(database.text(stored).await, "a-0 a-1 a-2 c-0 d new-0 new-1");
    assert_eq!(database.count("veilpost.ledger").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_message_keep_their_columns_together() {
    let database = TestDatabase::with("CREATE TABLE user_logins (user_id text, n integer)").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["n", "user_id"]).await.unwrap();
    let values =
        |id: &str| (0..4).flat_map(|row| [number(&row.to_string()), text(&format!("{id}{row}"))]).collect();
    let wide = |id: &str| MaskedRecord { rows: Some(4), ..record(id, values(id)) };
    stream.store(vec![wide("x"), wide("y")]).await;
    stream.store(vec![wide("x"), wide("z")]).await;
    let rows =
        database.text("SELECT string_agg(user_id || '=' || n, ' ' ORDER BY user_id) FROM user_logins").await;
    assert_eq!(rows, "x0=0 x1=1 x2=2 x3=3 y0=0 y1=1 y2=2 y3=3 z0=0 z1=1 z2=2 z3=3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_element_among_a_hundred_rejects_its_message_and_no_other() {
    let database = TestDatabase::with(NO_BAD_USERS).await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["user_id"]).await.unwrap();
    let mut poison = users("poison", 100);
    poison.values[57] = text("bad");
    let receipt = stream.store(vec![users("one", 100), poison, users("two", 100)]).await;
    assert_eq!(receipt.outcomes, [STORED, REJECTED, STORED]);
    let (reason, detail) = only_rejection(&receipt);
    assert!(reason == Reason::Constraint && detail.contains("user_logins_user_id_check"), "{detail}");
    assert_eq!(database.count("user_logins").await, 200);
    assert_eq!(database.count("user_logins WHERE user_id LIKE 'poison%'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_postgres_validates_is_found_in_any_row() {
    let database = TestDatabase::with("CREATE TABLE user_logins (ip inet)").await;
    let writer = database.ready_writer(&[]).await;
    let mut stream = writer.open("user_logins", &["ip"]).await.unwrap();
    let good = || message("good", vec![text("203.0.113.7"), text("2001:db8::1")]);
    let bad = message("bad", vec![text("203.0.113.7"), text("203.0.113.777")]);
    let receipt = stream.store(vec![bad, good()]).await;
    assert_eq!(receipt.outcomes, [REJECTED, STORED]);
    let (reason, detail) = only_rejection(&receipt);
    assert!(reason == Reason::InvalidValue && !detail.contains("777"), "{detail}");
    assert_eq!(database.count("user_logins").await, 2);
}

/// Messages of any size, some of them poison, come in any batches, several times and on two streams at once.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_each_message_has_all_its_rows_once_or_none() {
    let database = TestDatabase::with(NO_BAD_USERS).await;
    let writers = [
        database.ready_writer(&["--batch-records", "50"]).await,
        database.ready_writer(&["--connections", "3"]).await,
    ];
    let mut random = StdRng::seed_from_u64(7);
    let mut expected = BTreeMap::new();
    let mut messages = Vec::new();
    for id in 0..120 {
        let id = format!("m{id:03}");
        let mut new = users(&id, *[0, 1, 1, 2, 7, 100].choose(&mut random).unwrap());
        let is_poison = random.random_ratio(1, 10) && !new.values.is_empty();
        if is_poison {
            *new.values.choose_mut(&mut random).unwrap() = text("bad");
        }
        expected.insert(id, if is_poison { None } else { Some(new.values.len()) });
        messages.push(new);
    }
    let mut streams = Vec::new();
    for writer in &writers {
        let mut copies = messages.clone();
        copies.shuffle(&mut random);
        streams.push((writer.open("user_logins", &["user_id"]).await.unwrap(), copies));
    }
    let [mut one, mut other] = streams.try_into().ok().unwrap();
    let send = async |(stream, copies): &mut (crate::masker::MaskerStream, Vec<MaskedRecord>)| {
        for batch in copies.chunks(17) {
            for (message, outcome) in batch.iter().zip(stream.store(batch.to_vec()).await.outcomes) {
                let is_poison = expected[&message.message_id].is_none();
                assert_eq!(outcome == REJECTED, is_poison, "{} was {outcome}", message.message_id);
            }
        }
    };
    tokio::join!(send(&mut one), send(&mut other));
    for (id, rows) in &expected {
        let stored = database.count(&format!("user_logins WHERE user_id LIKE '{id}-%'")).await;
        assert_eq!(stored, rows.unwrap_or(0), "{id}");
    }
    assert_eq!(database.count("user_logins").await, expected.values().flatten().sum::<usize>());
}
