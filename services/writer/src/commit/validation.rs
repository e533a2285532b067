//! Validates in Postgres, before anything is stored, the values that only Postgres can judge.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tonic::Status;
use veilpost_proto::v1::Reason;

use super::commit_batch::CommitBatch;
use super::retrying_session::RetryingSession;
use crate::catalogue::TableColumn;
use crate::database::{Blame, DbError, ServerError, Session, blame, blame_for_input, within};
use crate::metrics::{self, Cause};
use crate::record::RecordOutcome;
use crate::target::ResolvedTarget;

/// So often a value alone may time out before its records are left.
const TIMEOUTS: u32 = 3;

/// Answers with the position of each value that the column's type refuses, and the SQLSTATE. Postgres logs
/// none of it.
const INPUT_ERRORS: &str = "
    SELECT judged.n, judged.error FROM (
        SELECT given.n, veilpost.input_error(given.value, $2::pg_catalog.int8::pg_catalog.oid, $3::pg_catalog.int4) AS error
        FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS given(value, n)
    ) judged WHERE judged.error IS NOT NULL";

/// Rejects the records whose values Postgres does not take, before a statement contains them: Postgres logs
/// the values of a statement that fails.
pub(super) async fn validate_in_postgres(
    session: &mut RetryingSession,
    batch: &mut CommitBatch,
) -> Result<(), Status> {
    let target = Arc::clone(&batch.target);
    for (index, column) in target.columns.iter().enumerate() {
        let values: Vec<_> = batch.unsure_values(index).into_iter().collect();
        if !values.is_empty() {
            let outcomes = validate_column(session, &target, column, values).await?;
            batch.settle_at(outcomes);
        }
    }
    Ok(())
}

/// A value, with the indexes of the records that have it.
type UnsureValue<'batch> = (&'batch str, Vec<usize>);

/// Values of one column that are validated by one statement.
struct ValueGroup<'batch> {
    values: Vec<UnsureValue<'batch>>,
    /// How often validation timed out since this is a single value.
    timeouts: u32,
}

/// The outcomes, by index, of the records that cannot be stored. A group that times out is halved; a single
/// value that keeps timing out while the database works is left.
async fn validate_column(
    session: &mut RetryingSession,
    target: &ResolvedTarget,
    column: &TableColumn,
    values: Vec<UnsureValue<'_>>,
) -> Result<HashMap<usize, RecordOutcome>, Status> {
    let mut outcomes = HashMap::new();
    let mut groups = VecDeque::from([ValueGroup { values, timeouts: 0 }]);
    while let Some(mut group) = groups.pop_front() {
        match try_validate(session, column, &group.texts()).await {
            Ok(refused) => outcomes.extend(group.rejected(column, refused)),
            Err(error) if blame(&error) != Blame::Cancelled => {
                session.wait_after(&error, target).await?;
                groups.push_front(group);
            }
            Err(error) if group.values.len() > 1 => {
                session.wait_after(&error, target).await?;
                group.halves().into_iter().rev().for_each(|half| groups.push_front(half));
            }
            Err(error) => {
                group.timeouts += 1;
                if group.timeouts >= TIMEOUTS && takes_rows(session, target).await? {
                    outcomes.extend(group.left(&error));
                } else {
                    session.wait_after(&error, target).await?;
                    groups.push_back(group);
                }
            }
        }
    }
    Ok(outcomes)
}

async fn takes_rows(session: &mut RetryingSession, target: &ResolvedTarget) -> Result<bool, Status> {
    match session.probe(target).await {
        Ok(check) => check.map(|()| true),
        Err(error) => session.wait_after(&error, target).await.map(|()| false),
    }
}

/// A value that Postgres refuses, by its position among those asked about.
type RefusedValue = (usize, Reason, ServerError);

/// Finds the values that are refused for what they are. An error that may not be about the value is left to
/// the insert; an error that is surely not about it, such as a full memory, fails the validation as a whole.
async fn try_validate(
    session: &mut RetryingSession,
    column: &TableColumn,
    values: &[&str],
) -> Result<Vec<RefusedValue>, DbError> {
    let session = session.session().await?;
    let mut refused = Vec::new();
    for (position, sqlstate) in input_errors(session, column, values).await? {
        let error = ServerError::with_sqlstate(sqlstate);
        match blame_for_input(&error) {
            Blame::Record(reason) => refused.push((position, reason, error)),
            Blame::Undecided => {}
            _ => return Err(error.into()),
        }
    }
    Ok(refused)
}

async fn input_errors(
    session: &mut Session,
    column: &TableColumn,
    values: &[&str],
) -> Result<Vec<(usize, String)>, DbError> {
    let query = sqlx::query_as::<_, (i64, String)>(INPUT_ERRORS)
        .bind(values)
        .bind(i64::from(column.type_oid))
        .bind(column.typmod);
    let deadline = session.deadline();
    let rows = within(deadline, query.fetch_all(session.connection())).await?;
    Ok(rows.into_iter().map(|(n, error)| (usize::try_from(n - 1).unwrap_or(usize::MAX), error)).collect())
}

impl ValueGroup<'_> {
    fn texts(&self) -> Vec<&str> {
        self.values.iter().map(|(value, _)| *value).collect()
    }

    fn halves(mut self) -> [Self; 2] {
        let second = self.values.split_off(self.values.len() / 2);
        [self, Self { values: second, timeouts: 0 }]
    }

    /// The outcomes of the records that have one of the refused values.
    fn rejected(&self, column: &TableColumn, refused: Vec<RefusedValue>) -> HashMap<usize, RecordOutcome> {
        let mut outcomes = HashMap::new();
        for (position, reason, error) in refused {
            let detail = format!("column {}: {}", column.name, error.input_detail(&column.type_name));
            let outcome = RecordOutcome::Rejected(reason, detail);
            let records = self.values.get(position).map(|(_, records)| records).into_iter().flatten();
            outcomes.extend(records.map(|record| (*record, outcome.clone())));
        }
        outcomes
    }

    fn left(&self, error: &DbError) -> HashMap<usize, RecordOutcome> {
        tracing::warn!(
            error = error.to_string(),
            "Postgres takes too long to validate a value; its records are left in the queue"
        );
        let records = self.values.iter().flat_map(|(_, records)| records);
        let left = records.map(|record| (*record, RecordOutcome::Left));
        left.inspect(|_| metrics::left(Cause::Undecided)).collect()
    }
}
