//! TLS to other systems: Postgres and SQS.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use sqlx::Executor;
use veilpost_local::certificates::{Authority, CertificateRequest, IssuedCertificate};
use veilpost_testkit::{Pki, Stack, TlsProxy};

use super::pipeline::says;

fn server(names: &[&str]) -> CertificateRequest {
    CertificateRequest {
        names: names.iter().map(ToString::to_string).collect(),
        client: false,
        ..CertificateRequest::default()
    }
}

/// Turns TLS on in the test's Postgres.
async fn secure(stack: &Stack, issued: &IssuedCertificate) {
    let data = stack.postgres.directory().join("data");
    let owner = std::fs::metadata(&data).unwrap();
    for (name, text) in [("server.crt", &issued.certificate), ("server.key", &issued.key)] {
        let file = data.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let mut database = stack.database().await.unwrap();
    database.execute("ALTER SYSTEM SET ssl = 'on'").await.unwrap();
    database.execute("SELECT pg_reload_conf()").await.unwrap();
}

fn verified(stack: &Stack, ca: &std::path::Path) -> String {
    let url = stack.postgres.url().replace("sslmode=disable", "sslmode=verify-full");
    format!("{url}&sslrootcert={}", ca.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_verifies_postgres_to_the_name() {
    let mut stack = Stack::bare().await.unwrap();
    let pki = Pki::new().unwrap();
    secure(&stack, &pki.ca.issue(&server(&["127.0.0.1"])).unwrap()).await;
    let ca = stack.file("ca.pem", pki.ca.certificate()).unwrap();
    let url = verified(&stack, &ca);
    stack.start_writer(&[("--database-url", &url)]).await.unwrap();
    stack.stop().await.unwrap();

    let other = stack.file("other.pem", Authority::new("Other CA").unwrap().certificate()).unwrap();
    let url = verified(&stack, &other);
    let writer = stack.launch_writer(&[("--database-url", &url)]).await.unwrap();
    says(&writer, &["no connection to Postgres", "UnknownIssuer"]).await;

    secure(&stack, &pki.ca.issue(&server(&["database.example"])).unwrap()).await;
    let url = verified(&stack, &ca);
    let writer = stack.launch_writer(&[("--database-url", &url)]).await.unwrap();
    says(&writer, &["no connection to Postgres", "not valid for name", "database.example"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_without_tls_is_refused_where_tls_is_wanted() {
    let mut stack = Stack::bare().await.unwrap();
    let ca = stack.file("ca.pem", Authority::new("CA").unwrap().certificate()).unwrap();
    let url = verified(&stack, &ca);
    let writer = stack.launch_writer(&[("--database-url", &url)]).await.unwrap();
    says(&writer, &["no connection to Postgres", "TLS failed", "server does not support TLS"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_trusts_the_ca_bundle_and_nobody_else() {
    let mut stack = Stack::bare().await.unwrap();
    let pki = Pki::new().unwrap();
    let proxy = TlsProxy::before(stack.queue.address(), &pki.ca.issue(&server(&["127.0.0.1"])).unwrap())
        .await
        .unwrap();
    let endpoint = format!("https://{}", proxy.address());
    let downstream = [("--downstream", "http://127.0.0.1:1")];

    let ca = stack.file("ca.pem", pki.ca.certificate()).unwrap();
    stack.variables = vec![("AWS_CA_BUNDLE".to_owned(), ca.display().to_string())];
    stack.start_reader_at(&endpoint, &downstream).await.unwrap();

    // Without the bundle the system's CAs count, wherever those are.
    stack.variables = vec![("SSL_CERT_FILE".to_owned(), ca.display().to_string())];
    stack.start_reader_at(&endpoint, &downstream).await.unwrap();

    let other = stack.file("other.pem", Authority::new("Other CA").unwrap().certificate()).unwrap();
    stack.variables = vec![("AWS_CA_BUNDLE".to_owned(), other.display().to_string())];
    let reader = stack.launch_reader_at(&endpoint, &downstream).await.unwrap();
    says(&reader, &["cannot reach the endpoint", "UnknownIssuer"]).await;

    let named = TlsProxy::before(stack.queue.address(), &pki.ca.issue(&server(&["queue.example"])).unwrap())
        .await
        .unwrap();
    stack.variables = vec![("AWS_CA_BUNDLE".to_owned(), ca.display().to_string())];
    let reader = stack.launch_reader_at(&format!("https://{}", named.address()), &downstream).await.unwrap();
    says(&reader, &["cannot reach the endpoint", "not valid for name", "queue.example"]).await;
    stack.stop().await.unwrap();
}
