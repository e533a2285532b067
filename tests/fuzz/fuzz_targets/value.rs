//! One value for a column of each kind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use veilpost_writer::fuzzing;

fuzz_target!(|text: &str| fuzzing::texts(text));
