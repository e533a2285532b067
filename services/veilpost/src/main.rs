//! The `veilpost` command.
fn main() {}
