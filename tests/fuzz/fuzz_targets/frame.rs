//! gRPC messages of each kind, as a peer sends them.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use veilpost_proto::frame::decode;
use veilpost_proto::v1::{MaskedBatch, RawBatch, Receipt};

fuzz_target!(|message: &[u8]| {
    let message = Bytes::copy_from_slice(message);
    drop((
        decode::<RawBatch>(message.clone()),
        decode::<MaskedBatch>(message.clone()),
        decode::<Receipt>(message),
    ));
});
