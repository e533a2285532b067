//! Where words go: results to standard output, everything else to standard error.

use std::io::Write;

/// One line about what is going on.
pub(super) fn say(line: &str) {
    let mut error = std::io::stderr().lock();
    writeln!(error, "{line}").ok();
}

/// A result. Standard output that is closed is nobody's loss: the exit status says the same.
pub(super) fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).ok();
}
