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
    after_help = "Writes DIR/ca, and certificate.pem, key.pem and ca.pem into DIR/reader, DIR/masker and DIR/writer. \
    Give each service its own directory, and give DIR/ca to nobody. A second run renews certificates that have less than \
    a third of their time left; running services load new files by themselves. The CA's key lies beside the \
    certificates, which is good enough for a trial. In production use cert-manager or your own CA."
)]
pub(crate) struct CertificatesSettings {
    /// Directory for the files
    directory: PathBuf,

    /// Further host names and addresses of the masker, separated by commas; masker, localhost, 127.0.0.1 and
    /// ::1 are always included
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    masker_hosts: Vec<String>,

    /// Further host names and addresses of the writer; writer, localhost, 127.0.0.1 and ::1 are always
    /// included
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    writer_hosts: Vec<String>,

    /// How long a new certificate is valid
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,

    /// Also replace certificates that are still good; the CA stays
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
