//! The benchmark's command line as a program.

use std::process::Command;

fn bench(arguments: &[&str]) -> (bool, String) {
    let program = env!("CARGO_BIN_EXE_veilpost-bench");
    let output = Command::new(program).args(arguments).output().expect("the program starts");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn executables_that_are_not_there_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (success, said) = bench(&["--smoke", "--binaries", directory.path().to_str().unwrap()]);
    assert!(!success && said.contains("veilpost-reader is not in"), "{said}");
}
