//! The image itself: what is in it, how large it is, and that the same programs give the same bytes.

mod image_world;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use image_world::Image;
use netobserv_testkit::{Run, require_privileged};
use serde_json::json;

/// The most that the project promises.
const MOST_BYTES: u64 = 20 << 20;

#[test]
fn the_image_holds_two_programs_and_no_more() {
    require_privileged!();
    let Some(image) = Image::find("the_image_holds_two_programs_and_no_more") else { return };
    let mut files: Vec<_> = tree(&image.root(), &image.root());
    files.sort();
    let expected = [
        "bin",
        "bin/sleep",
        "bin/tar",
        "etc",
        "etc/nsswitch.conf",
        "netobserv-agent",
        "netobserv-collector",
        "network-observability-cli",
        "output",
        "tmp",
    ];
    assert_eq!(files, expected);
    let output = fs::metadata(image.root().join("output")).unwrap();
    assert_eq!((output.uid(), output.permissions().mode() & 0o7777), (65532, 0o777));
    assert!(image.compressed() < MOST_BYTES, "{} bytes", image.compressed());
}

#[test]
fn the_image_says_what_it_is() {
    require_privileged!();
    let Some(image) = Image::find("the_image_says_what_it_is") else { return };
    let version = env!("CARGO_PKG_VERSION");
    let config = &image.config["config"];
    assert_eq!(config["User"], "65532");
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], version);
    assert_eq!(config["Labels"]["org.opencontainers.image.title"], "netobserv-cli");
    assert_eq!(config["WorkingDir"], "/");
    assert_eq!(image.config["os"], "linux");
    assert_eq!(image.names["org.opencontainers.image.ref.name"], version);
    assert_eq!(image.names["io.containerd.image.name"], json!(format!("ghcr.io/netobserv-rs/netobserv-cli:{version}")));
}

#[test]
fn the_same_programs_give_the_same_bytes() {
    require_privileged!();
    let Some(image) = Image::find("the_same_programs_give_the_same_bytes") else { return };
    let dir = tempfile::tempdir().unwrap();
    let built = ["one", "two"].map(|name| {
        let output = dir.path().join(name);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build-images.sh");
        Run::new(script).arg("--bin-dir").arg(image.root()).arg("--output").arg(&output).output();
        fs::read(output).unwrap()
    });
    assert!(built[0] == built[1]);
}

fn tree(root: &Path, folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.flat_map(|path| {
        let below = if path.is_dir() { tree(root, &path) } else { Vec::new() };
        let own = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        std::iter::once(own).chain(below)
    });
    names.collect()
}
