//! The writer's spans, named by OpenTelemetry's conventions for RPC and databases. They exist only while
//! traces are exported.

use tonic::Status;
use tracing::Span;
use tracing::field::Empty;
use veilpost_proto::v1::MaskedBatch;
use veilpost_runtime::numbers::to_i64;
use veilpost_runtime::telemetry;

use crate::catalogue::Table;
use crate::database::DbError;

/// The span of one batch, from its arrival until its receipt, within the trace that the batch carries.
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
        veilpost.batch.records = to_i64(batch.records.len()),
    );
    telemetry::parent(&span, batch.trace.as_ref());
    span
}

/// The span of one statement and its commit. It belongs to the trace of its first batch, and is linked with
/// its other batches in both directions.
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
        db.operation.batch.size = to_i64(rows),
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

/// Notes that a batch gets no receipt, because its stream ends.
pub(crate) fn refused(span: &Span, status: &Status) {
    telemetry::call_failed(span, status);
    telemetry::lasts_until_now(span);
}

/// Notes the result of one statement.
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
