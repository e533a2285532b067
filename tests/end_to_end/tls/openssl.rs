//! The same masker with another TLS client: OpenSSL's, where that is installed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use veilpost_local::certificates::Role;
use veilpost_testkit::{CertificateFiles, Pki};

use super::masker::masker;

/// What `openssl s_client` says of a connection; nothing without OpenSSL.
async fn s_client(
    address: SocketAddr,
    ca: &Path,
    own: Option<&CertificateFiles>,
    more: &[&str],
) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-alpn", "h2", "-verify_return_error"]);
    command.args(["-verify_hostname", "masker", "-CAfile"]).arg(ca).args(more);
    if let Some(own) = own {
        command.arg("-cert").arg(own.certificate()).arg("-key").arg(own.key());
    }
    // It reads the server's answer to the certificate only while it waits for what to send.
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
    Some(tokio::task::spawn_blocking(move || all_it_says(child)).await.unwrap())
}

/// Closes its input after a second, which ends it.
fn all_it_says(mut child: std::process::Child) -> String {
    let input = child.stdin.take().unwrap();
    let closer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        drop(input);
    });
    let output = child.wait_with_output().unwrap();
    closer.join().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_is_accepted_with_a_certificate_and_refused_without() {
    let pki = Pki::new().unwrap();
    let masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    let reader = pki.files_of(Role::Reader).unwrap();
    let ca = reader.ca();
    let Some(said) = s_client(masker.address, &ca, Some(&reader), &[]).await else { return };
    for expected in ["Verification: OK", "TLSv1.3", "ALPN protocol: h2"] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!said.contains("alert"), "{said}");
    let said = s_client(masker.address, &ca, None, &[]).await.unwrap();
    assert!(said.contains("alert certificate required"), "{said}");
    masker.refusal("connection", "no-certificate").await;
    let said = s_client(masker.address, &ca, Some(&reader), &["-tls1_2"]).await.unwrap();
    assert!(said.contains("alert protocol version"), "{said}");
    masker.refusal("connection", "other").await;
}
