//! The marked keys of rejected messages: the SQL that inserts and finds them.

use std::collections::{BTreeSet, HashMap};

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use veilpost_proto::v1::Reason;

use super::{Key, slot_of};
use crate::database::{DbError, Session, within};

/// Inserts the keys that the ledger does not have, each with its mark, and gives those; one NULL when there
/// are none. Like the statement that skips known keys, it writes to the log in either case, so that its
/// commit waits for a synchronous standby: a key that it knows may be on the primary alone until then.
const CLAIM: &str = "
    WITH fresh AS (
        INSERT INTO veilpost.ledger (slot, key, rejected)
        SELECT pg_catalog.unnest($1::pg_catalog.int2[]), pg_catalog.unnest($2::pg_catalog.uuid[]),
               pg_catalog.unnest($3::pg_catalog.int2[])
        ON CONFLICT DO NOTHING RETURNING key)
    SELECT fresh.key
    FROM pg_catalog.pg_logical_emit_message(true, 'veilpost'::pg_catalog.text, ''::pg_catalog.text)
    LEFT JOIN fresh ON true";

/// The marks of those keys that have one.
const MARKS: &str = "
    SELECT l.key, l.rejected FROM veilpost.ledger l
    WHERE l.slot OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int2[])
      AND l.key OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.uuid[])
      AND l.rejected IS NOT NULL";

/// A key and when its message was sent, in milliseconds since the Unix epoch.
pub(crate) type SentKey = (Key, i64);

/// Inserts the keys with the numbers of their reasons, and returns those that were new. The keys must be
/// distinct and sorted, as in every statement that inserts keys.
pub(crate) async fn claim(
    session: &mut Session,
    claims: &[(SentKey, Reason)],
) -> Result<BTreeSet<Key>, DbError> {
    assert!(claims.is_sorted_by(|((one, _), _), ((next, _), _)| one < next), "keys are distinct and sorted");
    let reasons: Vec<i16> = claims.iter().map(|(_, reason)| number(*reason)).collect();
    let query = sqlx::query(CLAIM)
        .bind(slots(claims.iter().map(|(key, _)| key)))
        .bind(uuids(claims.iter().map(|(key, _)| key)))
        .bind(reasons);
    let deadline = session.deadline();
    let rows = within(deadline, query.fetch_all(session.connection())).await?;
    let keys = rows.iter().map(|row| row.try_get::<Option<Uuid>, _>(0).transpose());
    Ok(keys.flatten().map(|key| key.map(Key::from)).collect::<Result<_, _>>()?)
}

/// The reasons of those keys that were rejected. It sees what was committed before it began, so it must
/// follow the statement that found the keys known.
pub(crate) async fn marks(session: &mut Session, keys: &[SentKey]) -> Result<HashMap<Key, Reason>, DbError> {
    let query = sqlx::query(MARKS).bind(slots(keys)).bind(uuids(keys));
    let deadline = session.deadline();
    let rows = within(deadline, query.fetch_all(session.connection())).await?;
    Ok(rows.iter().map(mark).collect::<Result<_, _>>()?)
}

fn mark(row: &PgRow) -> Result<(Key, Reason), sqlx::Error> {
    let (key, number): (Uuid, i16) = (row.try_get(0)?, row.try_get(1)?);
    // A newer writer may know more reasons.
    Ok((Key::from(key), Reason::try_from(i32::from(number)).unwrap_or(Reason::Unspecified)))
}

fn number(reason: Reason) -> i16 {
    i16::try_from(i32::from(reason)).unwrap_or_default()
}

fn slots<'a>(keys: impl IntoIterator<Item = &'a SentKey>) -> Vec<i16> {
    keys.into_iter().map(|(_, sent_ms)| slot_of(*sent_ms)).collect()
}

fn uuids<'a>(keys: impl IntoIterator<Item = &'a SentKey>) -> Vec<Uuid> {
    keys.into_iter().map(|(key, _)| key.uuid()).collect()
}
