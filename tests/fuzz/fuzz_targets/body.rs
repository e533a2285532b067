//! Message bodies, as the masker reads and masks them.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use veilpost_masker::{Mask, fuzzing};

static MASK: LazyLock<Mask> = LazyLock::new(fuzzing::mask);

fuzz_target!(|body: &[u8]| fuzzing::body(&MASK, body));
