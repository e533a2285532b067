//! The masker: applies the policy to what readers send and passes masked records on to the writers.

use std::process::ExitCode;

use veilpost_masker::{Invocation, check, serve};

fn main() -> ExitCode {
    match Invocation::parse() {
        Invocation::Check(settings) => check(settings.policy.as_deref()),
        Invocation::Serve(settings) => {
            let (common, admin_address) = (settings.common.clone(), settings.admin_address);
            veilpost_runtime::run("masker", &common, admin_address, async move |life| {
                serve(*settings, life).await
            })
        }
    }
}
