//! Compiles the contract with protox, so that no protoc is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=veilpost");
    let descriptors = protox::compile(["veilpost/v1/veilpost.proto"], ["."])?;
    tonic_prost_build::configure()
        .codec_path("crate::Codec")
        .bytes(".veilpost.v1.RawRecord.body")
        .skip_debug([".veilpost.v1.RawRecord", ".veilpost.v1.MaskedRecord", ".veilpost.v1.Value"])
        .compile_fds(descriptors)?;
    Ok(())
}
