//! TLS to a real Postgres: whose certificate counts, and what is said of one that does not.

use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Parser;
use veilpost_runtime::{BadSettings, Lifecycle};
use veilpost_testkit::{Authority, CertificateRequest, TlsPostgres};
use veilpost_writer::{Arguments, WriterCommand, migrate};

/// Migrates the database of this URL; the error is what the process would end with.
async fn reach(url: &str) -> Result<(), anyhow::Error> {
    let arguments = Arguments::try_parse_from(["veilpost-writer", "migrate", "--database-url", url]).unwrap();
    let Some(WriterCommand::Migrate(settings)) = arguments.command else { panic!("not migrate") };
    let done = tokio::time::timeout(Duration::from_mins(1), migrate(settings, Lifecycle::for_tests())).await;
    done.expect("what cannot mend itself ends a migration")
}

async fn refusal(url: &str) -> String {
    let error = reach(url).await.expect_err(url);
    format!("{error:#}")
}

fn request(names: &[&str]) -> CertificateRequest {
    CertificateRequest {
        names: names.iter().map(ToString::to_string).collect(),
        ..CertificateRequest::default()
    }
}

fn file(directory: &Path, name: &str, content: &[u8]) -> String {
    let file = directory.join(name);
    std::fs::write(&file, content).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_server_of_a_ca_in_the_file_is_trusted_and_only_under_its_own_name() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, others) = (Authority::new("ours").unwrap(), Authority::new("others").unwrap());
    // The same name with another key.
    let namesake = Authority::new("ours").unwrap();
    let of_ours = file(directory.path(), "ours.pem", ours.certificate().as_bytes());
    let of_others = file(directory.path(), "others.pem", others.certificate().as_bytes());
    let of_both = [others.certificate(), namesake.certificate(), ours.certificate()].concat();
    let of_both = file(directory.path(), "both.pem", of_both.as_bytes());
    let postgres = TlsPostgres::start(&ours.issue(&request(&["localhost"])).unwrap()).await.unwrap();
    let url = |host: &str, mode: &str, roots: &str| {
        postgres.url(host, &format!("sslmode={mode}&sslrootcert={roots}"))
    };
    for (host, mode, roots) in [
        ("localhost", "verify-full", &of_ours),
        ("localhost", "verify-full", &of_both),
        ("127.0.0.1", "verify-ca", &of_ours),
        ("127.0.0.1", "require", &of_ours),
    ] {
        reach(&url(host, mode, roots)).await.unwrap_or_else(|error| panic!("{host} {mode}: {error:#}"));
    }
    let wrong_name = refusal(&url("127.0.0.1", "verify-full", &of_ours)).await;
    assert!(wrong_name.contains("not for the name 127.0.0.1"), "{wrong_name}");
    assert!(wrong_name.contains("sslmode=verify-full"), "{wrong_name}");
    // `require` with a file verifies as well, as in libpq.
    for mode in ["verify-full", "verify-ca", "require"] {
        let foreign = refusal(&url("localhost", mode, &of_others)).await;
        let expected = format!("is of none of the CAs in sslrootcert {of_others}");
        assert!(foreign.contains(&expected) && foreign.contains("localhost:"), "{foreign}");
    }
    let of_namesake = file(directory.path(), "namesake.pem", namesake.certificate().as_bytes());
    let foreign = refusal(&url("localhost", "verify-ca", &of_namesake)).await;
    assert!(foreign.contains("none of the CAs"), "{foreign}");
    let system = refusal(&postgres.url("localhost", "sslmode=verify-full")).await;
    assert!(system.contains("none of the CAs in this machine's"), "{system}");
    // Without verification the connection is encrypted all the same.
    reach(&postgres.url("127.0.0.1", "sslmode=require")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_expired_or_is_its_own_ca_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours").unwrap();
    let roots = file(directory.path(), "ours.pem", ours.certificate().as_bytes());
    let (now, hour) = (SystemTime::now(), Duration::from_hours(1));
    let names = request(&["localhost"]);
    let old = CertificateRequest { not_before: now - 2 * hour, not_after: now - hour, ..names.clone() };
    let early = CertificateRequest { not_before: now + hour, not_after: now + 2 * hour, ..names.clone() };
    let postgres = TlsPostgres::start(&ours.issue(&old).unwrap()).await.unwrap();
    let url = postgres.url("localhost", &format!("sslmode=verify-full&sslrootcert={roots}"));
    let said = refusal(&url).await;
    assert!(said.contains("has expired"), "{said}");
    postgres.exchange(&ours.issue(&early).unwrap()).await.unwrap();
    let said = refusal(&url).await;
    assert!(said.contains("is not valid yet"), "{said}");
    let mut own = ours.issue(&names).unwrap();
    (own.certificate, own.key) = (ours.certificate().to_owned(), ours.key());
    postgres.exchange(&own).await.unwrap();
    let said = refusal(&url).await;
    assert!(said.contains("cannot be used") && said.contains("its own CA"), "{said}");
    postgres.exchange(&ours.issue(&names).unwrap()).await.unwrap();
    reach(&url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_cas_that_is_missing_empty_or_no_pem_is_named_whatever_the_mode() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours").unwrap();
    let broken = authority.certificate().replace("MII", "MIJ");
    let key = authority.key();
    let files = [
        (directory.path().join("missing.pem").display().to_string(), "cannot read"),
        (directory.path().display().to_string(), "cannot read"),
        (file(directory.path(), "empty.pem", b""), "is empty"),
        (file(directory.path(), "der.crt", &[0x30, 0x82, 0xff, 0xfe, 0x00]), "no certificate in PEM"),
        (file(directory.path(), "text.pem", b"a CA\n"), "no certificate in PEM"),
        (file(directory.path(), "key.pem", key.as_bytes()), "no certificate in PEM"),
        (file(directory.path(), "broken.pem", broken.as_bytes()), "certificate 1"),
    ];
    for (file, expected) in files {
        for mode in ["sslmode=verify-full&", "sslmode=verify-ca&", "sslmode=require&", "sslmode=prefer&", ""]
        {
            let url = format!("postgres://u:s3cret@127.0.0.1:1/d?{mode}sslrootcert={file}");
            let error = reach(&url).await.unwrap_err();
            assert!(error.downcast_ref::<BadSettings>().is_some(), "{error:#}");
            let said = format!("{error:#}");
            assert!(
                said.contains(&format!("sslrootcert {file}")) && said.contains(expected),
                "{mode}: {said}"
            );
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_named_with_the_mode_that_asks_for_it() {
    let database = crate::test_database::TestDatabase::with("").await;
    let url = database.url();
    let (before, _) = url.split_once('?').unwrap();
    let place = format!("127.0.0.1:{}", database.postgres.port());
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = refusal(&format!("{before}?sslmode={mode}")).await;
        for expected in [&*place, "has no TLS", &*format!("sslmode={mode}"), "ssl = on"] {
            assert!(said.contains(expected), "{expected} is not in: {said}");
        }
    }
    reach(&format!("{before}?sslmode=prefer")).await.unwrap();
}
