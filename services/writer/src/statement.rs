//! The SQL that stores records: one statement is one transaction.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgBindIterExt, PgHasArrayType, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{Arguments, AssertSqlSafe, Encode, Postgres, Type};
use uuid::Uuid;

use crate::catalogue::{Column, Table, Target};
use crate::database::{DbError, Session, within};
use crate::ledger::{Key, slot_of};
use crate::record::Record;

/// The two ways of storing records of one target.
#[derive(Debug)]
pub(crate) struct Statements {
    /// Fails as a whole when a key is already in the ledger.
    plain: Arc<str>,
    /// Stores the records whose keys are new, and says which they were.
    skipping: Arc<str>,
}

/// Which of the two statements to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Skipping,
}

impl Statements {
    pub(crate) fn new(table: &Table, columns: &[Column]) -> Self {
        let rows = Rows::new(table, columns, 3);
        let Rows { into, .. } = &rows;
        let keys = "INSERT INTO veilpost.ledger (slot, key) SELECT unnest($1::int2[]), unnest($2::uuid[])";
        let plain = format!("WITH keys AS ({keys}) {}", rows.insert());
        let given = rows.list(|index, array, _| format!("{array} AS c{index}"));
        // Only values of fresh records are cast: what a copy holds is not judged.
        let values = rows.list(|index, _, cast| format!("CAST(given.c{index} AS {cast})"));
        let skipping = format!(
            "WITH fresh AS ({keys} ON CONFLICT DO NOTHING RETURNING key), \
             given AS (SELECT unnest($2::uuid[]) AS key, {given}), \
             stored AS (INSERT INTO {into} SELECT {values} FROM given JOIN fresh ON fresh.key = given.key) \
             SELECT key FROM fresh"
        );
        Self { plain: plain.into(), skipping: skipping.into() }
    }

    fn sql(&self, form: Form) -> Arc<str> {
        Arc::clone(match form {
            Form::Plain => &self.plain,
            Form::Skipping => &self.skipping,
        })
    }
}

/// The parts of a statement that are about rows and not about keys.
struct Rows {
    /// The table and its columns.
    into: String,
    /// For each column an array, a row for each element, and the type that the elements are cast to. `unnest` in the list
    /// of a SELECT hands rows on one by one; in FROM it would keep all of them aside first.
    columns: Vec<(String, String)>,
}

impl Rows {
    /// Values travel as text, in parameters from `first` on, and are cast to the column's base type without its length; the
    /// assignment to the column then refuses what is too long, where a cast with the length would cut it.
    fn new(table: &Table, columns: &[Column], first: usize) -> Self {
        let names: Vec<_> = columns.iter().map(|column| quoted(&column.name)).collect();
        let into = format!("{}.{} ({})", quoted(&table.schema), quoted(&table.name), names.join(", "));
        let arrays = (first..).map(|parameter| format!("unnest(${parameter}::text[])"));
        let columns = arrays.zip(columns.iter().map(|column| column.cast.clone())).collect();
        Self { into, columns }
    }

    fn insert(&self) -> String {
        let values = self.list(|_, array, cast| format!("CAST({array} AS {cast})"));
        format!("INSERT INTO {} SELECT {values}", self.into)
    }

    /// What `item` makes of each column's position, array and type, as a list.
    fn list(&self, item: impl Fn(usize, &str, &str) -> String) -> String {
        let columns = self.columns.iter().enumerate();
        let items: Vec<_> = columns.map(|(index, (array, cast))| item(index, array, cast)).collect();
        items.join(", ")
    }
}

/// A name as an identifier in SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Which keys a statement found to be new.
#[derive(Debug)]
pub(crate) enum Fresh {
    All,
    Only(HashSet<Key>),
}

impl Fresh {
    pub(crate) fn contains(&self, key: &Key) -> bool {
        match self {
            Self::All => true,
            Self::Only(keys) => keys.contains(key),
        }
    }
}

/// Stores all records and their keys, or nothing; returns the keys that were new.
///
/// The records' keys must be distinct and sorted: statements that insert keys in the same order cannot deadlock, and a
/// key that is twice in one statement would be stored twice.
pub(crate) async fn insert(
    session: &mut Session,
    statements: &Statements,
    records: &[&Record],
    form: Form,
) -> Result<Fresh, DbError> {
    assert!(records.is_sorted_by(|one, next| one.key < next.key), "keys are distinct and sorted");
    let columns = records.first().map_or(0, |record| record.columns());
    let query = bind(statements.sql(form), records, columns);
    let deadline = session.deadline();
    match form {
        Form::Plain => {
            within(deadline, query.execute(session.connection())).await?;
            Ok(Fresh::All)
        }
        Form::Skipping => {
            let rows = within(deadline, query.fetch_all(session.connection())).await?;
            let keys = rows.iter().map(|row| sqlx::Row::try_get::<Uuid, _>(row, 0).map(Key::from));
            Ok(Fresh::Only(keys.collect::<Result<_, _>>()?))
        }
    }
}

/// Does all that storing does, but without a row.
pub(crate) async fn insert_nothing(session: &mut Session, target: &Target) -> Result<(), DbError> {
    let query = bind(target.statements.sql(Form::Plain), &[], target.columns.len());
    let deadline = session.deadline();
    within(deadline, query.execute(session.connection())).await.map(|_| ())
}

fn bind<'query>(
    sql: Arc<str>,
    records: &'query [&Record],
    columns: usize,
) -> Query<'query, Postgres, PgArguments> {
    let slots = records.iter().map(|record| slot_of(record.sent_ms));
    let keys = records.iter().map(|record| record.key.uuid());
    let mut arguments = PgArguments::default();
    arguments.reserve(columns + 2, arguments_bytes(records, columns));
    let query =
        sqlx::query_with(AssertSqlSafe(sql), arguments).bind(slots.bind_iter()).bind(keys.bind_iter());
    bind_rows(query, records, columns)
}

/// About how many bytes the arguments of a statement take: grown step by step, the memory for them would be copied more than
/// once.
fn arguments_bytes(records: &[&Record], columns: usize) -> usize {
    /// Of an array.
    const HEADER: usize = 24;
    /// Each element has its length before it.
    const LENGTH: usize = 4;
    let keys = size_of::<Uuid>() + size_of::<i16>() + 2 * LENGTH;
    let rows: usize = records.iter().map(|record| record.bytes() + keys + columns * LENGTH).sum();
    rows + (columns + 2) * HEADER
}

fn bind_rows<'query>(
    mut query: Query<'query, Postgres, PgArguments>,
    records: &'query [&Record],
    columns: usize,
) -> Query<'query, Postgres, PgArguments> {
    assert!(records.iter().all(|record| record.columns() == columns), "unnest would pad what is missing");
    for column in 0..columns {
        let inputs = records.iter().map(move |record| record.input(column).map(Text));
        query = query.bind(inputs.bind_iter());
    }
    query
}

/// Text that is bytes to us, so that nobody has to see again that it is UTF-8.
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

/// Stores rows without their keys, which no service ever does: benchmarks learn from it what the ledger costs.
pub(crate) async fn insert_without_ledger(
    session: &mut Session,
    target: &Target,
    records: &[&Record],
) -> Result<(), DbError> {
    let sql = Rows::new(&target.table, &target.columns, 1).insert();
    let query = bind_rows(sqlx::query(AssertSqlSafe(sql)), records, target.columns.len());
    let deadline = session.deadline();
    within(deadline, query.execute(session.connection())).await.map(|_| ())
}

/// Lets Postgres judge values as input of the column's type without a word in its log; returns the positions that it
/// refuses, with the SQLSTATE.
pub(crate) async fn refused_inputs(
    session: &mut Session,
    column: &Column,
    values: &[&str],
) -> Result<Vec<(usize, String)>, DbError> {
    const SQL: &str = "
        SELECT n, error FROM (
            SELECT n, veilpost.input_error(value, $2::bigint::oid, $3) AS error
            FROM unnest($1::text[]) WITH ORDINALITY AS u(value, n)
        ) judged WHERE error IS NOT NULL";
    let query = sqlx::query_as::<_, (i64, String)>(SQL)
        .bind(values)
        .bind(i64::from(column.type_oid))
        .bind(column.typmod);
    let deadline = session.deadline();
    let rows = within(deadline, query.fetch_all(session.connection())).await?;
    Ok(rows.into_iter().map(|(n, error)| (usize::try_from(n - 1).unwrap_or(usize::MAX), error)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::tests::{column, table};
    use proptest::prelude::*;
    use veilpost_proto::v1;

    fn statements(column_name: &str) -> Statements {
        let table = table(vec![column(column_name)]);
        let wanted = v1::Target { table: "logins".into(), columns: vec![column_name.to_owned()] };
        Target::resolve(&table, &wanted).unwrap().statements
    }

    #[test]
    fn both_statements_cast_without_length_and_assign() {
        let Statements { plain, skipping } = statements("locale");
        for (sql, value) in [(&plain, "unnest($3::text[])"), (&skipping, "given.c0")] {
            let insert = format!(r#"INSERT INTO "public"."logins" ("locale") SELECT CAST({value} AS text)"#);
            assert!(sql.contains(&insert), "{sql}");
        }
        assert!(!plain.contains("ON CONFLICT"));
        assert!(skipping.contains("ON CONFLICT DO NOTHING"));
    }

    proptest! {
        #[test]
        fn a_name_never_leaves_its_quotes(name in "[a\"; ]{1,20}") {
            let quoted = quoted(&name);
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert_eq!(inner.replace("\"\"", "").matches('"').count(), 0);
            prop_assert_eq!(inner.replace("\"\"", "\""), name);
        }
    }
}
