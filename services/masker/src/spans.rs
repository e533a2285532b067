//! The masker's spans.

use tracing::Span;
use tracing::field::Empty;
use veilpost_proto::v1::RawBatch;
use veilpost_runtime::{numbers, telemetry};

/// The span of the work on `batch`, within the trace that it carries.
pub(crate) fn batch(batch: &RawBatch) -> Span {
    let span = tracing::info_span!(
        "veilpost.v1.Masker/Mask",
        otel.kind = "server",
        otel.status_code = Empty,
        error.type = Empty,
        rpc.system.name = "grpc",
        rpc.method = "veilpost.v1.Masker/Mask",
        rpc.response.status_code = Empty,
        veilpost.pipeline = batch.pipeline,
        veilpost.batch.records = numbers::to_i64(batch.records.len()),
    );
    telemetry::parent(&span, batch.trace.as_ref());
    span
}

/// Notes on the current span that its batch is answered.
pub(crate) fn batch_answered() {
    Span::current().record("rpc.response.status_code", "OK");
}
