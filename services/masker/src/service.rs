//! The masker from start to end: reads policy and keys, serves readers and sends to writers.

use std::ffi::OsString;
use std::process::ExitCode;

use tokio::sync::mpsc;
use veilpost_proto::v1::masker_server::MaskerServer;
use veilpost_runtime::{ByteBudget, Lifecycle, ToWriter, bind, run_link, serve_grpc};

use crate::grpc::MaskerService;
use crate::mask::Mask;
use crate::metrics;
use crate::policy::{Policy, check, warnings};
use crate::settings::{Invocation, Settings};

/// Batches that wait for the link to take them. One is enough, because the tasks that bring them wait too.
const WAITING_BATCHES: usize = 1;

/// The process of the masker: reads its command line, whose first argument is the name of the program, and
/// runs until the service is drained. Ends the process with exit status 2 when the command line is wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Invocation::parse_from(arguments) {
        Invocation::Check(settings) => check(settings.policy.as_deref()),
        Invocation::Serve(settings) => {
            let (common, admin_address) = (settings.common.clone(), settings.admin_address);
            veilpost_runtime::run("masker", &common, admin_address, async move |life| {
                serve(*settings, life).await
            })
        }
    }
}

/// Serves readers until the service drains and every batch that was taken is answered.
///
/// # Errors
/// When the settings, the policy or the keys are wrong, the address is taken, or the server or the link
/// fails.
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
    let (link, to_send) = mpsc::channel(WAITING_BATCHES);
    let service = MaskerService::new(mask, link, ByteBudget::new(settings.in_flight_bytes), life.clone());
    let to_writer = ToWriter { target: policy.target() };
    let link_life = life.clone();
    life.spawn(
        "link",
        async move { run_link(to_writer, to_send, &settings.link, identity, &link_life).await },
    );
    life.set_ready(true);
    serve_grpc(MaskerServer::new(service), listener, admission, &life).await
}
