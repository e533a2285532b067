//! Generates `src/veilpost.v1.rs` from the contract, or with `--check` compares it; `./run` runs it. protox
//! compiles the contract, so that no protoc is needed on the machine.
//!
//! The file is checked in because the compiler of the contract takes longer to compile than the services.

use std::path::Path;

use prost_types::field_descriptor_proto::Type;
use prost_types::{FieldDescriptorProto, FileDescriptorSet};

const FILE: &str = "veilpost.v1.rs";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir()?;
    generate(package, directory.path())?;
    let generated = std::fs::read_to_string(directory.path().join(FILE))?;
    let file = package.join("src").join(FILE);
    if std::env::args().any(|argument| argument == "--check") {
        let checked_in = std::fs::read_to_string(&file)?;
        return if checked_in == generated { Ok(()) } else { Err(format!("{FILE} is out of date").into()) };
    }
    Ok(std::fs::write(file, generated)?)
}

fn generate(package: &Path, directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut descriptors = protox::compile(["veilpost/v1/veilpost.proto"], [package])?;
    // A message within a message is bytes on the wire; `masked/mod.rs` says why they are left as such.
    let records = field(&mut descriptors, "MaskedBatch", "records").ok_or("a masked batch has no records")?;
    records.set_type(Type::Bytes);
    records.type_name = None;
    tonic_prost_build::configure()
        .out_dir(directory)
        .emit_rerun_if_changed(false)
        .codec_path("crate::Codec")
        .bytes(".veilpost.v1.RawRecord.body")
        .bytes(".veilpost.v1.MaskedBatch.records")
        .skip_debug([
            ".veilpost.v1.RawRecord",
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
