//! Who may call a masker.

use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tonic::Code;
use veilpost_local::certificates::{Authority, CertificateRequest, Role};
use veilpost_testkit::Pki;

use super::masker::{gets_nowhere, health, masker, open};

const HOUR: Duration = Duration::from_hours(1);

fn reader() -> CertificateRequest {
    Role::Reader.request(&[])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masker_accepts_a_reader() {
    let pki = Pki::new().unwrap();
    let masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    let channel = masker.tls(&pki.ca, Some(&pki.ca.issue(&reader()).unwrap()));
    open(channel.clone()).await.unwrap();
    health(channel).await.unwrap();
    assert!(masker.lines("connection refused").is_empty() && masker.lines("call refused").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_certificate_is_refused() {
    let pki = Pki::new().unwrap();
    let mut masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    gets_nowhere(masker.tls(&pki.ca, None)).await;
    let line = masker.refusal("connection", "no-certificate").await;
    assert_eq!(line["certificate"], "none");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(masker.refused("no-certificate").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca_is_refused_also_when_that_has_the_same_name() {
    let pki = Pki::new().unwrap();
    let masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    let stranger = Authority::new("Test CA").unwrap().issue(&reader()).unwrap();
    gets_nowhere(masker.tls(&pki.ca, Some(&stranger))).await;
    let line = masker.refusal("connection", "unknown-ca").await;
    assert_eq!(line["certificate"], "DNS:veilpost-reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_expired_or_not_begun_is_refused() {
    let pki = Pki::new().unwrap();
    let masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    let now = SystemTime::now();
    let old = CertificateRequest { not_before: now - 2 * HOUR, not_after: now - HOUR, ..reader() };
    gets_nowhere(masker.tls(&pki.ca, Some(&pki.ca.issue(&old).unwrap()))).await;
    let line = masker.refusal("connection", "expired").await;
    assert_eq!(line["certificate"], "DNS:veilpost-reader");
    let early = CertificateRequest { not_before: now + HOUR, not_after: now + 2 * HOUR, ..reader() };
    gets_nowhere(masker.tls(&pki.ca, Some(&pki.ca.issue(&early).unwrap()))).await;
    masker.refusal("connection", "not-yet-valid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_another_role_may_ask_for_health_and_nothing_else() {
    let pki = Pki::new().unwrap();
    let mut masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    let other = CertificateRequest { names: vec!["veilpost-masker".to_owned()], ..reader() };
    let channel = masker.tls(&pki.ca, Some(&pki.ca.issue(&other).unwrap()));
    health(channel.clone()).await.unwrap();
    for _ in 0..5 {
        let refusal = open(channel.clone()).await.unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied);
        assert!(refusal.message().contains("veilpost-reader"), "{refusal}");
    }
    let line = masker.refusal("call", "wrong-role").await;
    assert_eq!(line["certificate"], "DNS:veilpost-masker");
    assert!((masker.refused("wrong-role").await - 5.0).abs() < 0.5, "each is counted, one is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_servers_makes_no_client() {
    let pki = Pki::new().unwrap();
    let masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    let server = CertificateRequest { server: true, client: false, ..reader() };
    gets_nowhere(masker.tls(&pki.ca, Some(&pki.ca.issue(&server).unwrap()))).await;
    masker.refusal("connection", "bad-certificate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_can_be_named_otherwise() {
    let pki = Pki::new().unwrap();
    let callers = [("--tls-callers", "spiffe://here/reader,spiffe://there/reader")];
    let masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &callers).await;
    let named =
        |name: &str| pki.ca.issue(&CertificateRequest { names: vec![name.to_owned()], ..reader() }).unwrap();
    open(masker.tls(&pki.ca, Some(&named("spiffe://there/reader")))).await.unwrap();
    let refusal = open(masker.tls(&pki.ca, Some(&named("veilpost-reader")))).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_refused_and_the_line_says_that_it_was_no_tls() {
    let pki = Pki::new().unwrap();
    let masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    gets_nowhere(masker.plain()).await;
    let line = masker.refusal("connection", "not-tls").await;
    assert_eq!(line["certificate"], "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_keep_nobody_out_and_do_not_flood_the_log() {
    let pki = Pki::new().unwrap();
    let masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(TcpStream::connect(masker.address).await.unwrap());
    }
    let channel = masker.tls(&pki.ca, Some(&pki.ca.issue(&reader()).unwrap()));
    open(channel).await.unwrap();
    masker.refusal("connection", "crowded").await;
    masker.refusal("connection", "too-slow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_callers_certificate_expires() {
    let pki = Pki::new().unwrap();
    let masker = masker(&pki, Some(&pki.files_of(Role::Masker).unwrap()), &[]).await;
    let brief = CertificateRequest { not_after: SystemTime::now() + Duration::from_secs(5), ..reader() };
    let mut stream = open(masker.tls(&pki.ca, Some(&pki.ca.issue(&brief).unwrap()))).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(30), stream.message()).await.unwrap();
    assert!(end.is_err());
    let line = masker.refusal("open connection", "expired").await;
    assert_eq!(line["certificate"], "DNS:veilpost-reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_their_callers_ca_is_taken_away_and_others_go_on() {
    let pki = Pki::new().unwrap();
    let other = Authority::new("Other CA").unwrap();
    let files = pki.files_of(Role::Masker).unwrap();
    files.trust(&[&pki.ca, &other]).unwrap();
    let masker = masker(&pki, Some(&files), &[]).await;
    let mut leaving = open(masker.tls(&pki.ca, Some(&other.issue(&reader()).unwrap()))).await.unwrap();
    let mut staying = open(masker.tls(&pki.ca, Some(&pki.ca.issue(&reader()).unwrap()))).await.unwrap();
    files.trust(&[&pki.ca]).unwrap();
    let end = tokio::time::timeout(Duration::from_secs(30), leaving.message()).await.unwrap();
    assert!(end.is_err());
    masker.refusal("open connection", "unknown-ca").await;
    assert!(
        tokio::time::timeout(Duration::from_millis(300), staying.message()).await.is_err(),
        "it is still open"
    );
}
