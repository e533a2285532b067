//! TLS settings that cannot work.

use std::process::Command;

use veilpost_local::certificates::Role;
use veilpost_testkit::{CertificateFiles, Pki, binary};

/// Runs a masker that must refuse its settings, and returns what it writes.
fn refusal(files: &[(&str, String)], downstream: &str) -> String {
    let output = Command::new(binary("veilpost-masker").unwrap())
        .args([
            "--admin-address",
            "127.0.0.1:0",
            "--listen-address",
            "127.0.0.1:0",
            "--downstream",
            downstream,
        ])
        .args(files.iter().flat_map(|(flag, file)| [*flag, file.as_str()]))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

#[test]
fn two_of_three_files_are_refused() {
    let flags = Pki::new().unwrap().files_of(Role::Masker).unwrap().flags();
    assert!(refusal(&flags[..2], "https://127.0.0.1:1").contains("all three"));
}

#[test]
fn the_downstreams_scheme_has_to_fit() {
    let pki = Pki::new().unwrap();
    let flags = pki.files_of(Role::Masker).unwrap().flags();
    assert!(refusal(&flags, "http://127.0.0.1:1").contains("write https://host:port"));
    assert!(refusal(&[], "https://127.0.0.1:1").contains("needs --tls-certificate"));
}

#[test]
fn unusable_files_are_named() {
    let pki = Pki::new().unwrap();
    let broken = |name: &str, spoil: &dyn Fn(&CertificateFiles)| {
        let files = pki.files_named(name, &Role::Masker.request(&[])).unwrap();
        spoil(&files);
        refusal(&files.flags(), "https://127.0.0.1:1")
    };
    let said = broken("missing", &|files| std::fs::remove_file(files.key()).unwrap());
    assert!(said.contains("cannot read --tls-key") && said.contains("missing/key.pem"), "{said}");
    let other = pki.ca.issue(&Role::Masker.request(&[])).unwrap();
    let said = broken("foreign", &|files| std::fs::write(files.key(), &other.key).unwrap());
    assert!(said.contains("is not the key of --tls-certificate"), "{said}");
    let said = broken("empty", &|files| std::fs::write(files.ca(), "").unwrap());
    assert!(said.contains("holds no certificate"), "{said}");
    let said = broken("swapped", &|files| {
        std::fs::copy(files.certificate(), files.key()).unwrap();
    });
    assert!(said.contains("holds no private key"), "{said}");
}
