//! Our programs for the pods, out of the file of the release that holds the image: for clusters that can pull it from nowhere.
//!
//! The file is an OCI archive: a tar of an image layout (opencontainers/image-spec, image-layout.md), whose blobs are named by
//! their SHA-256. What is taken out of it is checked against that.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::digest::sha256;

/// Folder of the blobs in the archive.
const BLOBS: &str = "blobs/sha256/";
/// More than any blob of the image: a larger file is something else.
const MOST: u64 = 256 << 20;

/// Why there are no programs.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// The file cannot be read.
    #[error("{0}; expected netobserv-cli-{version}.oci.tar of the release", version = env!("CARGO_PKG_VERSION"))]
    Unreadable(#[from] io::Error),
    /// It is something else.
    #[error("this is not the image of the release: {0}")]
    Foreign(String),
    /// It holds nothing for a machine.
    #[error("the image has no programs for {wanted}, only for {there}")]
    NotFor {
        /// The machine, as images call it.
        wanted: String,
        /// What there is.
        there: String,
    },
}

/// The layers of the image, packed.
#[derive(Clone, PartialEq, Eq)]
pub struct Programs {
    /// By architecture, as images call it: amd64, arm64, ...
    layers: BTreeMap<String, Vec<u8>>,
}

/// Not the megabytes.
impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.layers.keys()).finish()
    }
}

impl Programs {
    /// Where the file is by default: in the folder of this program.
    #[must_use]
    pub fn beside_us() -> PathBuf {
        let name = format!("netobserv-cli-{}.oci.tar", env!("CARGO_PKG_VERSION"));
        let folder = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
        folder.unwrap_or_default().join(name)
    }

    /// Reads an archive.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not the image of this project.
    pub fn open(path: &Path) -> Result<Self, ProgramsError> {
        Self::read(File::open(path)?)
    }

    /// One of the machines that there are programs for, as images call it.
    pub(crate) fn machine(&self) -> &str {
        self.layers.keys().next().map_or("", String::as_str)
    }

    fn read(archive: impl Read) -> Result<Self, ProgramsError> {
        let files = Files::read(archive).map_err(|error| match error {
            // The other checks are about the file's first bytes.
            ProgramsError::Unreadable(_) => ProgramsError::Foreign("it is not a tar archive".to_owned()),
            other => other,
        })?;
        let mut layers = BTreeMap::new();
        for (arch, manifest) in files.manifests()? {
            let layer = manifest["layers"].as_array().and_then(|layers| layers.first());
            let layer = layer.ok_or_else(|| ProgramsError::Foreign("a manifest has no layer".to_owned()))?;
            layers.insert(arch, files.blob(layer)?.to_vec());
        }
        Ok(Self { layers })
    }

    /// One of the programs, for the machine that `uname -m` calls `machine`.
    ///
    /// # Errors
    ///
    /// The archive does not hold it.
    pub fn get(&self, machine: &str, program: &str) -> Result<Vec<u8>, ProgramsError> {
        let arch = architecture(machine);
        let layer = self.layers.get(arch).ok_or_else(|| ProgramsError::NotFor {
            wanted: arch.to_owned(),
            there: self.layers.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        for entry in tar::Archive::new(GzDecoder::new(layer.as_slice())).entries()? {
            let mut entry = entry?;
            if entry.path()?.as_ref() == Path::new(program) {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                return Ok(bytes);
            }
        }
        Err(ProgramsError::Foreign(format!("it contains no {program} for {arch}")))
    }
}

/// What images call the machine that Linux calls by another name; most have one name only.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The files of the archive, by name.
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn read(archive: impl Read) -> Result<Self, ProgramsError> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            if !entry.header().entry_type().is_file() || !(name == "index.json" || name.starts_with(BLOBS)) {
                continue;
            }
            if entry.size() > MOST {
                return Err(ProgramsError::Foreign(format!("{name} has {} bytes", entry.size())));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            files.insert(name, bytes);
        }
        Ok(Self(files))
    }

    /// The manifest of each architecture. An image of one architecture has no list of them.
    fn manifests(&self) -> Result<Vec<(String, Value)>, ProgramsError> {
        let index =
            self.0.get("index.json").ok_or_else(|| ProgramsError::Foreign("it has no index.json".to_owned()))?;
        let top = json(index)?["manifests"][0].clone();
        let manifest = json(self.blob(&top)?)?;
        let Some(platforms) = manifest["manifests"].as_array() else {
            return Ok(vec![(self.architecture_of(&manifest)?, manifest)]);
        };
        let of = |platform: &Value| {
            let manifest = json(self.blob(platform)?)?;
            Ok((self.architecture_of(&manifest)?, manifest))
        };
        platforms.iter().map(of).collect()
    }

    fn architecture_of(&self, manifest: &Value) -> Result<String, ProgramsError> {
        let config = json(self.blob(&manifest["config"])?)?;
        Ok(config["architecture"].as_str().unwrap_or_default().to_owned())
    }

    /// The content that a descriptor names.
    fn blob(&self, descriptor: &Value) -> Result<&[u8], ProgramsError> {
        let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).unwrap_or("?");
        let bytes = self.0.get(&format!("{BLOBS}{digest}"));
        let bytes = bytes.ok_or_else(|| ProgramsError::Foreign(format!("blob {digest} is missing")))?;
        if sha256(bytes) == digest {
            Ok(bytes)
        } else {
            Err(ProgramsError::Foreign(format!("blob {digest} is damaged")))
        }
    }
}

fn json(bytes: &[u8]) -> Result<Value, ProgramsError> {
    serde_json::from_slice(bytes).map_err(|error| ProgramsError::Foreign(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    fn packed(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o755);
            tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn blob(files: &mut Vec<(String, Vec<u8>)>, bytes: Vec<u8>) -> Value {
        let digest = sha256(&bytes);
        files.push((format!("{BLOBS}{digest}"), bytes));
        json!({ "digest": format!("sha256:{digest}") })
    }

    /// An image whose programs have a known architecture.
    fn image(archs: &[&str]) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut manifests = Vec::new();
        for arch in archs {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            let programs = ["netobserv-agent", "netobserv-collector"];
            let programs = programs.map(|name| (name.to_owned(), format!("{name} {arch}").into_bytes()));
            io::Write::write_all(&mut gzip, &packed(&programs)).unwrap();
            let layer = blob(&mut files, gzip.finish().unwrap());
            let config = blob(&mut files, json!({ "architecture": arch }).to_string().into_bytes());
            let manifest = json!({ "config": config, "layers": [layer] }).to_string().into_bytes();
            manifests.push(blob(&mut files, manifest));
        }
        let top = match manifests.len() {
            1 => manifests.remove(0),
            _ => blob(&mut files, json!({ "manifests": manifests }).to_string().into_bytes()),
        };
        files.push(("index.json".into(), json!({ "manifests": [top] }).to_string().into_bytes()));
        files
    }

    #[test]
    fn programs_are_found_by_machine() {
        for archs in [&["amd64", "arm64"][..], &["amd64"]] {
            let programs = Programs::read(packed(&image(archs)).as_slice()).unwrap();
            assert_eq!(programs.get("x86_64", "netobserv-agent").unwrap(), b"netobserv-agent amd64");
            let other = programs.get("aarch64", "netobserv-collector").map_err(|error| error.to_string());
            match archs.len() {
                1 => assert_eq!(other.unwrap_err(), "the image has no programs for arm64, only for amd64"),
                _ => assert_eq!(other.unwrap(), b"netobserv-collector arm64"),
            }
            assert!(programs.get("x86_64", "bash").is_err());
        }
    }

    #[test]
    fn what_is_damaged_or_foreign_is_refused() {
        let whole = image(&["amd64"]);
        for (name, damage) in [("index.json", "no index.json"), (BLOBS, "is missing")] {
            let rest: Vec<_> = whole.iter().filter(|(file, _)| !file.starts_with(name)).cloned().collect();
            let error = Programs::read(packed(&rest).as_slice()).unwrap_err().to_string();
            assert!(error.contains(damage), "{error}");
        }
        let mut damaged = whole;
        let blobs = damaged.iter_mut().filter(|(name, _)| name.starts_with(BLOBS));
        blobs.for_each(|(_, bytes)| bytes[0] ^= 1);
        let error = Programs::read(packed(&damaged).as_slice()).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
        assert!(Programs::read(&b"hello"[..]).is_err());
    }
}
