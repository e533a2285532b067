//! Runs the statement that stores records, with their values bound to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgBindIterExt, PgHasArrayType, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{Arguments, AssertSqlSafe, Encode, Postgres, Type};
use uuid::Uuid;
use veilpost_runtime::numbers::to_u64;

use crate::database::{DbError, ServerError, Session, within};
use crate::ledger::{Key, slot_of};
use crate::record::Record;
#[cfg(feature = "bench")]
use crate::target::ResolvedTarget;
use crate::target::{InsertMode, InsertStatements};

/// The keys that a statement found to be new.
#[derive(Debug)]
pub(crate) enum NewKeys {
    All,
    Only {
        keys: BTreeSet<Key>,
        /// How many rows of these keys gave way to others by the target's `on_conflict`.
        superseded: u64,
    },
}

impl NewKeys {
    /// How many of `records` records were stored.
    pub(super) fn count(&self, records: usize) -> usize {
        match self {
            Self::All => records,
            Self::Only { keys, .. } => keys.len(),
        }
    }

    /// How many rows of stored records gave way to others.
    pub(super) fn superseded(&self) -> u64 {
        match self {
            Self::All => 0,
            Self::Only { superseded, .. } => *superseded,
        }
    }
}

/// Stores all records and their keys, or nothing; returns the keys that were new.
///
/// The records' keys must be distinct and sorted: statements that insert keys in the same order cannot
/// deadlock, and a key that is twice in one statement would be stored twice. `rows` are the same records in
/// the order in which their rows are bound.
pub(crate) async fn insert(
    session: &mut Session,
    statements: &InsertStatements,
    records: &[&Record],
    rows: &[&Record],
    mode: InsertMode,
) -> Result<NewKeys, DbError> {
    assert!(records.is_sorted_by(|one, next| one.key < next.key), "keys are distinct and sorted");
    let query = bind(statements.sql(mode), records, rows, mode);
    let deadline = session.deadline();
    match mode {
        InsertMode::Plain => {
            let inserted = within(deadline, query.execute(session.connection())).await?;
            if inserted.rows_affected() == to_u64(records.len()) { Ok(NewKeys::All) } else { Err(outdated()) }
        }
        InsertMode::Skipping => {
            let rows = within(deadline, query.fetch_all(session.connection())).await?;
            if !rows.iter().all(|row| sqlx::Row::try_get(row, 1).unwrap_or(false)) {
                return Err(outdated());
            }
            let keys = rows.iter().map(|row| sqlx::Row::try_get::<Option<Uuid>, _>(row, 0).transpose());
            let keys = keys.flatten().map(|key| key.map(Key::from)).collect::<Result<_, _>>()?;
            let superseded: i64 = rows.first().map_or(Ok(0), |row| sqlx::Row::try_get(row, 2))?;
            Ok(NewKeys::Only { keys, superseded: superseded.unsigned_abs() })
        }
    }
}

/// The statement has found another definition than the known one, and has inserted nothing.
fn outdated() -> DbError {
    ServerError::with_sqlstate(ServerError::OUTDATED).into()
}

/// Stores rows without their keys, which no service ever does: the benchmark measures with it what the ledger
/// costs.
#[cfg(feature = "bench")]
pub(crate) async fn insert_without_ledger(
    session: &mut Session,
    target: &ResolvedTarget,
    records: &[&Record],
) -> Result<(), DbError> {
    let query = sqlx::query(AssertSqlSafe(target.statements.without_ledger()));
    let query = bind_rows(query, records, target.columns.len());
    let deadline = session.deadline();
    within(deadline, query.execute(session.connection())).await.map(|_| ())
}

fn bind<'query>(
    sql: Arc<str>,
    records: &'query [&Record],
    rows: &'query [&Record],
    mode: InsertMode,
) -> Query<'query, Postgres, PgArguments> {
    let columns = records.first().map_or(0, |record| record.columns());
    let slots = records.iter().map(|record| slot_of(record.sent_ms));
    let keys = records.iter().map(|record| record.key.uuid());
    let mut arguments = PgArguments::default();
    arguments.reserve(columns + 3, arguments_bytes(records, columns));
    let query =
        sqlx::query_with(AssertSqlSafe(sql), arguments).bind(slots.bind_iter()).bind(keys.bind_iter());
    let query = match mode {
        InsertMode::Plain => query,
        InsertMode::Skipping => query.bind(keys_of_rows(rows).bind_iter()),
    };
    bind_rows(query, rows, columns)
}

/// The key of each row, so that the rows of a key that is known are skipped.
fn keys_of_rows<'record>(records: &'record [&Record]) -> impl Iterator<Item = Uuid> + 'record {
    records.iter().flat_map(|record| std::iter::repeat_n(record.key.uuid(), record.rows()))
}

/// About how many bytes the arguments of a statement take. Without this, their buffer would grow step by step
/// and be copied each time.
fn arguments_bytes(records: &[&Record], columns: usize) -> usize {
    /// Of an array.
    const HEADER: usize = 24;
    /// Each element has its length before it.
    const LENGTH: usize = 4;
    let keys = size_of::<Uuid>() + size_of::<i16>() + 2 * LENGTH;
    let of_record = |record: &&Record| record.bytes() + keys + record.rows() * columns * LENGTH;
    records.iter().map(of_record).sum::<usize>() + (columns + 3) * HEADER
}

fn bind_rows<'query>(
    mut query: Query<'query, Postgres, PgArguments>,
    records: &'query [&Record],
    columns: usize,
) -> Query<'query, Postgres, PgArguments> {
    assert!(records.iter().all(|record| record.columns() == columns), "unnest would pad what is missing");
    for column in 0..columns {
        let inputs =
            records.iter().flat_map(move |record| record.inputs(column)).map(|input| input.map(Text));
        query = query.bind(inputs.bind_iter());
    }
    query
}

/// Bytes that are known to be UTF-8, bound as text without a second check.
struct Text<'record>(&'record [u8]);

impl Type<Postgres> for Text<'_> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Text<'_> {
    fn array_type_info() -> PgTypeInfo {
        <&str as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Text<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0);
        Ok(IsNull::No)
    }
}
