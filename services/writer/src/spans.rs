//! The writer's spans, named after OpenTelemetry's conventions for RPC and databases. They exist only while traces are
//! exported.

use tonic::Status;
use tracing::Span;
use tracing::field::Empty;
use veilpost_proto::v1::MaskedBatch;
use veilpost_runtime::telemetry;

use crate::catalogue::Table;
use crate::database::DbError;

/// One batch from its arrival until its receipt, within the trace that it carries.
pub(crate) fn write(batch: &MaskedBatch) -> Span {
    let span = tracing::info_span!(
        "veilpost.v1.Writer/Write",
        otel.kind = "server",
        otel.status_code = Empty,
        error.type = Empty,
        rpc.system.name = "grpc",
        rpc.method = "veilpost.v1.Writer/Write",
        rpc.response.status_code = Empty,
        veilpost.pipeline = batch.pipeline,
        veilpost.batch.records = count(batch.records.len()),
    );
    telemetry::parent(&span, batch.trace.as_ref());
    span
}

/// One statement and its commit. It belongs to the trace of the first batch that it serves, and is linked with the others in
/// both directions.
pub(crate) fn commit<'a>(table: &Table, rows: usize, batches: impl Iterator<Item = &'a Span>) -> Span {
    let mut batches = batches;
    let Some(first) = batches.next().filter(|first| !first.is_disabled()) else { return Span::none() };
    let span = tracing::info_span!(
        parent: first,
        "INSERT",
        otel.name = format!("INSERT {}.{}", table.schema, table.name),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        db.system.name = "postgresql",
        db.operation.name = "INSERT",
        db.collection.name = format!("{}.{}", table.schema, table.name),
        db.operation.batch.size = count(rows),
        db.response.status_code = Empty,
    );
    for batch in batches {
        telemetry::link(&span, batch);
    }
    span
}

/// Notes that a batch has its receipt.
pub(crate) fn answered(span: &Span) {
    span.record("rpc.response.status_code", "OK");
    telemetry::lasts_until_now(span);
}

/// Notes that a batch gets none: its stream ends.
pub(crate) fn refused(span: &Span, status: &Status) {
    telemetry::call_failed(span, status);
    telemetry::lasts_until_now(span);
}

/// Notes on `span` what became of one statement.
pub(crate) fn committed<T>(span: &Span, result: &Result<T, DbError>) {
    if let Err(error) = result {
        match error {
            DbError::Server(error) => {
                span.record("db.response.status_code", error.sqlstate.as_str());
                telemetry::failed(span, &error.sqlstate);
            }
            other => telemetry::failed(span, other.label()),
        }
    }
}

fn count(records: usize) -> i64 {
    i64::try_from(records).unwrap_or(i64::MAX)
}
