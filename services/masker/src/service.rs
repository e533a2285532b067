//! The masker from start to end: reads policy and keys, serves readers and sends to writers.

use std::ffi::OsString;
use std::process::ExitCode;

use veilpost_proto::v1::masker_server::MaskerServer;
use veilpost_runtime::{ByteBudget, Lifecycle, bind, serve_grpc};

use crate::grpc::MaskerService;
use crate::metrics;
use crate::policy::check;
use crate::policy_in_force::keep_ready;
use crate::policy_reload::{Links, LoadedPolicy, PolicyReload};
use crate::settings::{Invocation, Settings};

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
    metrics::describe();
    // Before anything else is tried, so that a mistake in a file is what the log ends with.
    drop(LoadedPolicy::load(&settings)?);
    let identity = settings.tls.open(&life)?;
    let admission = identity.clone().map(|identity| identity.admitting(&settings.tls_callers)).transpose()?;
    let listener = bind(settings.listen_address).await?;
    let in_flight = ByteBudget::new(settings.in_flight_bytes);
    let links = Links { settings: settings.link.clone(), identity, life: life.clone() };
    let reload = PolicyReload::start(settings, links)?;
    let policy = reload.watch();
    let service = MaskerService::new(policy.clone(), in_flight, life.clone());
    life.spawn("policy files", reload.run());
    life.spawn("readiness", keep_ready(policy, life.clone()));
    serve_grpc(MaskerServer::new(service), listener, admission, &life).await
}
