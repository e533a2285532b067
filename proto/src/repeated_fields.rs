//! Which fields of the contract's messages repeat, and what each element takes in memory.

use std::mem::size_of;

use crate::frame::{Frame, MASKED_RECORD_BYTES, Repeated};
use crate::v1::{Attribute, MaskedBatch, RawBatch, RawRecord, Receipt, Rejection};

const fn repeated<T>(number: u64, within: &'static [Repeated]) -> Repeated {
    Repeated { number, bytes: size_of::<T>(), within }
}

/// The key's columns in the target's `on_conflict`.
const KEY: Repeated = Repeated { number: 3, bytes: 0, within: &[repeated::<String>(1, &[])] };

impl Frame for RawBatch {
    const REPEATED: &'static [Repeated] = &[repeated::<RawRecord>(3, &[repeated::<Attribute>(7, &[])])];
}

impl Frame for MaskedBatch {
    const REPEATED: &'static [Repeated] = &[
        Repeated { number: 3, bytes: MASKED_RECORD_BYTES, within: &[] },
        // The target itself occurs once; its columns repeat, and so do those of its key.
        Repeated { number: 5, bytes: 0, within: &[repeated::<String>(2, &[]), KEY] },
        // The writer makes as much of a rejected record as of a masked one.
        Repeated { number: 7, bytes: MASKED_RECORD_BYTES, within: &[] },
    ];
}

impl Frame for Receipt {
    const REPEATED: &'static [Repeated] = &[repeated::<Rejection>(3, &[])];
}
