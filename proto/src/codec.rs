//! Gets messages on and off a stream.

use std::marker::PhantomData;

use bytes::{Buf, BufMut};
use prost::Message;
use tonic::Status;
use tonic::codec::{self, DecodeBuf, EncodeBuf};

use crate::frame::{self, Frame};

/// tonic's codec for Protobuf, except that each message is handled as a whole.
///
/// A message is taken off the connection's buffer at once before it is decoded: field by field would cost as
/// much as all the rest of decoding. And the buffer that it is encoded into has room for all of it from the
/// start: growing step by step would copy most of it again.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> codec::Codec for Codec<T, U>
where
    T: Message + 'static,
    U: Frame + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encoder<T>;
    type Decoder = Decoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        Encoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decoder::default()
    }
}

/// Messages of up to this many bytes are copied off the connection's buffer. A message that is a part of the
/// buffer would keep all of it in memory, together with larger messages that came before.
const COPIED: usize = 256 * 1024;

/// Encodes a message of any size; tonic refuses a message beyond its own limit.
///
/// # Errors
///
/// `INTERNAL` when the buffer is too small, which does not happen: it has been made large enough.
pub fn encode<T: Message>(message: &T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
    buffer.reserve(message.encoded_len());
    message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
}

/// [`encode`] for messages that are sent once and not kept.
#[derive(Debug)]
pub struct Encoder<T>(PhantomData<T>);

impl<T> Default for Encoder<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message> codec::Encoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        encode(&message, buffer)
    }
}

/// Decodes messages; one that would take too much memory ends the stream with `INVALID_ARGUMENT`.
#[derive(Debug)]
pub struct Decoder<U>(PhantomData<U>);

impl<U> Default for Decoder<U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<U: Frame> codec::Decoder for Decoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let length = buffer.remaining();
        let message = if length <= COPIED {
            let mut copy = Vec::with_capacity(length);
            copy.put(buffer);
            copy.into()
        } else {
            buffer.copy_to_bytes(length)
        };
        frame::decode(message).map(Some)
    }
}
