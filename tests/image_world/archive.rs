//! The OCI archive that scripts/build-images.sh makes, read by the rules of the image specification.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use netobserv_testkit::privilege;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Names the archive that is tested, instead of the one below target/images.
const IMAGE: &str = "NETOBSERV_IMAGE";

/// An unpacked image of this machine's architecture.
pub struct Image {
    dir: TempDir,
    /// Its configuration.
    pub config: Value,
    /// Its manifest.
    pub manifest: Value,
    /// Annotations of the top entry of its index.
    pub names: Value,
}

impl Image {
    /// The archive, if it was built and runc is here to start it; else says that the test is skipped.
    #[track_caller]
    pub fn find(test: &str) -> Option<Self> {
        let path = find(test)?;
        if which::which("runc").is_err() {
            privilege::skip(test, "needs runc");
            return None;
        }
        Some(Self::unpack(&path))
    }

    #[track_caller]
    fn unpack(path: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a folder for the image");
        let oci = dir.path().join("oci");
        tar::Archive::new(File::open(path).expect("the archive")).unpack(&oci).expect("an archive");
        let index = read(&oci.join("index.json"));
        let top = &index["manifests"][0];
        let names = top["annotations"].clone();
        let manifest = blob(&oci, top);
        let manifest = match manifest["manifests"].as_array() {
            Some(platforms) => blob(&oci, platforms.iter().find(|entry| is_native(entry)).expect("this architecture")),
            None => manifest,
        };
        let config = blob(&oci, &manifest["config"]);
        fs::create_dir(dir.path().join("root")).expect("a folder for the root");
        for (layer, diff_id) in manifest["layers"].as_array().expect("layers").iter().zip(diff_ids(&config)) {
            unpack_layer(&checked(&oci, layer), &diff_id, &dir.path().join("root"));
        }
        Self { dir, config, manifest, names }
    }

    /// Its root folder.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Compressed bytes: what a node pulls.
    pub fn compressed(&self) -> u64 {
        let layers = self.manifest["layers"].as_array().expect("layers");
        layers.iter().filter_map(|layer| layer["size"].as_u64()).sum()
    }
}

/// The archive itself, if it was built; else says that the test is skipped.
#[track_caller]
pub fn find(test: &str) -> Option<PathBuf> {
    let built = concat!("target/images/netobserv-cli-", env!("CARGO_PKG_VERSION"), ".oci.tar");
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join(built);
    let path = std::env::var_os(IMAGE).map_or_else(built, PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    privilege::skip(test, &format!("needs the image: run scripts/build-images.sh ({})", path.display()));
    None
}

fn is_native(entry: &Value) -> bool {
    let native = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    entry["platform"]["architecture"] == native
}

fn diff_ids(config: &Value) -> Vec<String> {
    let ids = config["rootfs"]["diff_ids"].as_array().expect("diff ids");
    ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

fn unpack_layer(compressed: &[u8], diff_id: &str, root: &Path) {
    let mut plain = Vec::new();
    std::io::copy(&mut GzDecoder::new(compressed), &mut plain).expect("a gzip stream");
    assert_eq!(digest(&plain), diff_id);
    let mut layer = tar::Archive::new(&plain[..]);
    layer.set_preserve_ownerships(true);
    layer.set_preserve_permissions(true);
    layer.unpack(root).expect("a layer");
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a part of the archive")).expect("JSON")
}

fn blob(oci: &Path, descriptor: &Value) -> Value {
    serde_json::from_slice(&checked(oci, descriptor)).expect("JSON")
}

/// The content that a descriptor names: its size and its digest are right.
#[track_caller]
fn checked(oci: &Path, descriptor: &Value) -> Vec<u8> {
    let name = descriptor["digest"].as_str().expect("a digest");
    let data = fs::read(oci.join("blobs").join(name.replace(':', "/"))).expect("a blob");
    assert_eq!((digest(&data).as_str(), Some(data.len() as u64)), (name, descriptor["size"].as_u64()));
    data
}

fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
