//! A gRPC codec for shared messages, so that a sender keeps a batch until its receipt arrives without copying
//! it.

use std::marker::PhantomData;
use std::sync::Arc;

use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use veilpost_proto::Decoder;
use veilpost_proto::frame::Frame;

pub(super) struct SharedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> SharedCodec<T, U> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SharedCodec<T, U>
where
    T: Message + 'static,
    U: Frame + 'static,
{
    type Encode = Arc<T>;
    type Decode = U;
    type Encoder = SharedEncoder<T>;
    type Decoder = Decoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        SharedEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decoder::default()
    }
}

pub(super) struct SharedEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for SharedEncoder<T> {
    type Item = Arc<T>;
    type Error = Status;

    fn encode(&mut self, item: Arc<T>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        veilpost_proto::encode(&*item, buffer)
    }
}
