//! Encrypted values, their plaintexts, wraps and keys: the first byte says which of them the rest is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use veilpost_encryption::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    match (which, std::str::from_utf8(rest)) {
        (b'v', Ok(text)) => fuzzing::value(text),
        (b'k', Ok(text)) => fuzzing::key(text),
        (b'w', _) => fuzzing::wrap(rest),
        (b'p', _) => fuzzing::plaintext(rest),
        _ => {}
    }
});
