//! The whole pipeline over TLS, and what a service says that gets no stream.

use std::time::{Duration, SystemTime};

use veilpost_local::certificates::{Authority, CertificateRequest, Role};
use veilpost_local::process::ServiceProcess;
use veilpost_testkit::{CertificateFiles, Pki, Stack, eventually};

use super::masker::{LoneMasker, masker};

/// A stack whose services are to speak TLS.
pub(super) async fn stack() -> Stack {
    let mut stack = Stack::bare().await.unwrap();
    stack.pki = Some(Pki::new().unwrap());
    stack
}

pub(super) fn files(stack: &Stack, role: Role) -> CertificateFiles {
    stack.pki.as_ref().unwrap().files_of(role).unwrap()
}

/// Waits for a log line that has all of `words`, and gives how many there are.
pub(super) async fn says(service: &ServiceProcess, words: &[&str]) -> usize {
    let ask = async || {
        let log = std::fs::read_to_string(service.log_file()).unwrap();
        match log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count() {
            0 => Err(format!("{words:?} is not in the log, which ends: {}", service.log_tail())),
            count => Ok(count),
        }
    };
    eventually("a log line", ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_passes_over_mutual_tls() {
    let mut stack = stack().await;
    let writer = stack.start_writer(&[]).await.unwrap();
    // The name is checked, not the address that it resolves to.
    let downstream = format!("https://localhost:{}", writer.port());
    stack.start_masker(&[("--downstream", &downstream)]).await.unwrap();
    stack.start_reader(&[]).await.unwrap();
    stack.send_logins("user-", 500).await.unwrap();
    stack.queue_is_empty().await.unwrap();
    assert_eq!(stack.rows().await.unwrap(), 500);
    for service in stack.maskers.iter_mut().chain(&mut stack.writers) {
        assert!(
            service.metrics().await.unwrap().sum("veilpost_tls_certificate_expiry_timestamp_seconds", &[])
                > 1e9
        );
        let log = std::fs::read_to_string(service.log_file()).unwrap();
        assert!(!log.contains("refused") && !log.contains("cannot"), "{log}");
    }
    stack.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masker_that_the_writer_does_not_admit_says_so_and_tries_calmly() {
    let mut stack = stack().await;
    stack.start_writer(&[("--tls-callers", "veilpost-other")]).await.unwrap();
    let masker = stack.launch_masker(&[]).await.unwrap();
    stack.maskers.push(masker);
    says(&stack.writers[0], &["call refused", "wrong-role", "DNS:veilpost-masker", "127.0.0.1:"]).await;
    let lines =
        says(&stack.maskers[0], &["cannot open a stream", "PermissionDenied", "veilpost-other"]).await;
    assert_eq!(lines, 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let refused = stack.writers[0].metrics().await.unwrap().sum("veilpost_tls_refused_total", &[]);
    assert!((1.0..=15.0).contains(&refused), "{refused}");
    let log = std::fs::read_to_string(stack.writers[0].log_file()).unwrap();
    assert_eq!(log.matches("call refused").count(), 1, "{log}");
}

/// A masker as a client of another one that has `server`'s files; gives it once it has tried. Its first try
/// may end before it has been told why, so the server, which is given too, has to live for further ones.
async fn client_of(pki: &Pki, server: Option<&CertificateFiles>, host: &str) -> [LoneMasker; 2] {
    let server = masker(pki, server, &[]).await;
    let downstream = format!("https://{host}:{}", server.address.port());
    let client = pki.files_named("client", &Role::Masker.request(&[])).unwrap();
    let client = masker(pki, Some(&client), &[("--downstream", &downstream)]).await;
    says(&client.service, &["cannot open a stream"]).await;
    [client, server]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_says_what_is_wrong_with_a_server() {
    let pki = Pki::new().unwrap();
    let now = SystemTime::now();
    let good = Role::Masker.request(&[]);

    let elsewhere = CertificateRequest { names: vec!["elsewhere".to_owned()], ..good.clone() };
    let elsewhere = pki.files_named("elsewhere", &elsewhere).unwrap();
    let [client, _server] = client_of(&pki, Some(&elsewhere), "localhost").await;
    says(&client.service, &["wrong-name", "certified for `localhost`", "DNS:elsewhere"]).await;

    let expired = CertificateRequest {
        not_before: now - Duration::from_hours(2),
        not_after: now - Duration::from_hours(1),
        ..good.clone()
    };
    let expired = pki.files_named("expired", &expired).unwrap();
    let [client, _server] = client_of(&pki, Some(&expired), "localhost").await;
    says(&client.service, &["cannot open a stream", "expired", "DNS:veilpost-masker"]).await;

    let strange = pki.files_named("strange", &good).unwrap();
    strange.replace(&Authority::new("Other CA").unwrap().issue(&good).unwrap()).unwrap();
    let [client, _server] = client_of(&pki, Some(&strange), "localhost").await;
    says(&client.service, &["cannot open a stream", "unknown-ca"]).await;

    let [client, _server] = client_of(&pki, None, "localhost").await;
    says(&client.service, &["cannot open a stream", "not-tls"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_says_that_its_own_certificate_is_refused() {
    let pki = Pki::new().unwrap();
    let trusting = pki.files_of(Role::Masker).unwrap();
    trusting.trust(&[&Authority::new("Other CA").unwrap()]).unwrap();
    let [client, _server] = client_of(&pki, Some(&trusting), "localhost").await;
    says(&client.service, &["cannot open a stream", "this service's own certificate", "UnknownCA"]).await;
}
