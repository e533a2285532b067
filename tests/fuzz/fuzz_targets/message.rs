//! Messages from the queue, their trace contexts, and the letters that they become. Parts stand on a line
//! each.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let body = lines.next().unwrap_or_default();
    veilpost_reader::fuzzing::message(body, &lines.take(8).collect::<Vec<_>>());
});
