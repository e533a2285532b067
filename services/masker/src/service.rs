//! The masker's service: policy and keys at start, then the server upstream and the link downstream.

use tokio::sync::mpsc;
use veilpost_proto::v1::masker_server::MaskerServer;
use veilpost_runtime::{Lifecycle, ToWriter, bind, run_link, serve_grpc};

use crate::grpc::Streams;
use crate::mask::Mask;
use crate::metrics;
use crate::policy::model::Policy;
use crate::policy::personal_data::warnings;
use crate::settings::Settings;

/// Batches that wait for the link to take them. One is enough: their tasks wait in turn.
const WAITING_PARCELS: usize = 1;

/// Serves readers until the service drains and everything taken is answered.
pub async fn serve(settings: Settings, life: Lifecycle) -> anyhow::Result<()> {
    settings.link.check(&settings.tls)?;
    let policy = Policy::load(settings.policy.policy.as_deref())?;
    let mask = Mask::new(&policy, &settings.hmac_keys()?)?;
    for warning in warnings(&policy) {
        tracing::warn!("{warning}");
    }
    metrics::describe();
    let identity = settings.tls.open(&life)?;
    let admission = identity.clone().map(|identity| identity.admitting(&settings.tls_callers)).transpose()?;
    let listener = bind(settings.listen_address).await?;
    let (link, parcels) = mpsc::channel(WAITING_PARCELS);
    let streams = Streams::new(mask, link, settings.in_flight_bytes, life.clone());
    let to_writer = ToWriter { target: policy.target() };
    let link_life = life.clone();
    life.spawn(
        "link",
        async move { run_link(to_writer, parcels, &settings.link, identity, &link_life).await },
    );
    life.set_ready(true);
    serve_grpc(MaskerServer::new(streams), listener, admission, &life).await
}
