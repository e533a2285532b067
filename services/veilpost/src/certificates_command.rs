//! `veilpost certificates`: a CA and a certificate for each service, for trials.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use veilpost_local::certificates::{CertificateFolder, IssuePolicy, Provided, Role};
use veilpost_local::output::print;

const DAY: Duration = Duration::from_hours(24);

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Makes DIR/ca, and certificate.pem, key.pem and ca.pem in DIR/reader, DIR/masker and DIR/writer. Give each \
                        service its own directory only, and nobody DIR/ca. Run again, it renews what has a third of its time \
                        left and leaves the rest; running services take new files over by themselves. The CA's key lies \
                        beside the certificates, which is fine for a trial. In production use cert-manager or a CA of yours."
)]
pub(crate) struct CertificatesSettings {
    /// Where to put them
    directory: PathBuf,

    /// Names and addresses by which readers reach the masker, besides masker, localhost, 127.0.0.1 and ::1;
    /// separated by commas
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    masker_hosts: Vec<String>,

    /// The same of the writer, besides writer, localhost, 127.0.0.1 and ::1
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    writer_hosts: Vec<String>,

    /// How long a new certificate is valid
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,

    /// Replace certificates that are still good, too; the CA stays
    #[arg(long)]
    renew: bool,
}

pub(crate) fn run(settings: &CertificatesSettings) -> anyhow::Result<ExitCode> {
    let folder = CertificateFolder::new(&settings.directory);
    let authority = folder.authority()?;
    let policy = IssuePolicy { validity: DAY * settings.days, renew: settings.renew };
    for role in Role::ALL {
        let hosts = match role {
            Role::Reader => &[][..],
            Role::Masker => &settings.masker_hosts,
            Role::Writer => &settings.writer_hosts,
        };
        let made = match folder.provide(&authority, role, hosts, policy)? {
            Provided::New => format!("new, valid for {} days", settings.days),
            Provided::Kept => "still good".to_owned(),
        };
        print(&format!("{}  {made}\n", folder.of(role).join("certificate.pem").display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
