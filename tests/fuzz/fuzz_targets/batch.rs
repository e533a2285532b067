//! Batches, decoded and made ready for their commit.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|encoded: &[u8]| veilpost_writer::fuzzing::batch(encoded));
