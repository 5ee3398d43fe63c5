//! Compiles the .proto files with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/pbflow.proto", "proto/genericmap.proto", "proto/packets.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().btree_map(".").bytes(".netobserv.PacketBatch.payload").compile_fds(descriptors)?;
    Ok(())
}
