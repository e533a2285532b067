//! Compiles the contract with protox, so that no protoc is needed on the machine.

use prost_types::field_descriptor_proto::Type;
use prost_types::{FieldDescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=veilpost");
    let mut descriptors = protox::compile(["veilpost/v1/veilpost.proto"], ["."])?;
    // A message within a message is bytes on the wire; `masked/mod.rs` says why they are left as such.
    let records = field(&mut descriptors, "MaskedBatch", "records").ok_or("a masked batch has no records")?;
    records.set_type(Type::Bytes);
    records.type_name = None;
    tonic_prost_build::configure()
        .codec_path("crate::Codec")
        .bytes(".veilpost.v1.RawRecord.body")
        .bytes(".veilpost.v1.Attribute.binary")
        .bytes(".veilpost.v1.MaskedBatch.records")
        .skip_debug([
            ".veilpost.v1.RawRecord",
            ".veilpost.v1.Attribute",
            ".veilpost.v1.MaskedBatch",
            ".veilpost.v1.MaskedRecord",
            ".veilpost.v1.Value",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}

fn field<'a>(
    descriptors: &'a mut FileDescriptorSet,
    message: &str,
    field: &str,
) -> Option<&'a mut FieldDescriptorProto> {
    let messages = descriptors.file.iter_mut().flat_map(|file| &mut file.message_type);
    let message = messages.into_iter().find(|known| known.name() == message)?;
    message.field.iter_mut().find(|known| known.name() == field)
}
