//! Message bodies, as the masker reads and masks them.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use veilpost_masker::{Mask, untrusted};

static MASK: LazyLock<Mask> = LazyLock::new(untrusted::mask);

fuzz_target!(|body: &[u8]| untrusted::body(&MASK, body));
