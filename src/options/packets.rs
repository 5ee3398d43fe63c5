//! What is special about a capture of packets: how much of each is kept, and how they are written.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;

use super::{Capture, OptionError, not_allowed, number, switch};
use crate::cli::{FlowsArgs, values};

/// A smaller file would explain more than it holds.
const MIN_FILE_SIZE: u64 = 100_000;
/// What the agents understand.
const SNAPLEN: std::ops::RangeInclusive<u32> = 64..=65_560;

/// Where secrets of TLS connections are written while the capture runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keylog {
    /// A file of this machine.
    File(PathBuf),
    /// A file in a pod of the cluster.
    Pod {
        /// Namespace of the pod.
        namespace: String,
        /// The pod.
        pod: String,
        /// The file, from the root of the pod's first container.
        path: String,
    },
}

/// One capture of packets; every value is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PacketSettings {
    /// Bytes of each packet; `None` for whole packets.
    pub snaplen: Option<u32>,
    /// Capture without any filter.
    pub all: bool,
    /// `every`, `flow` or `none`.
    pub comments: Option<String>,
    /// `first` or `all`.
    pub sightings: Option<String>,
    /// `pcapng` or `pcap`.
    pub format: Option<String>,
    /// Packets go to standard output.
    pub to_stdout: bool,
    /// Secrets of TLS connections.
    pub keylog: Option<Keylog>,
    /// Bytes of one file.
    pub max_file_size: Option<NonZeroU64>,
    /// Files to keep.
    pub max_files: Option<NonZeroU32>,
}

impl PacketSettings {
    /// Checks the words.
    ///
    /// # Errors
    ///
    /// A value is not allowed, or there is no filter and no `--all`.
    pub fn new(words: &FlowsArgs, capture: &Capture) -> Result<Self, OptionError> {
        let (packets, local) = (&words.packets, super::is_local(words)?);
        let settings = Self {
            snaplen: packets.snaplen.as_deref().map(snaplen).transpose()?,
            all: switch("all", packets.all.as_deref(), false)?,
            comments: one_of("comments", packets.comments.as_deref(), &values::COMMENTS)?,
            sightings: one_of("sightings", packets.sightings.as_deref(), &values::SIGHTINGS)?,
            format: one_of("format", packets.format.as_deref(), &values::FORMATS)?,
            to_stdout: one_of("write", packets.write.as_deref(), &["-"])?.is_some(),
            keylog: packets.tls_keylog.as_deref().map(|text| keylog(text, local)).transpose()?,
            max_file_size: packets.max_file_size.as_deref().map(file_size).transpose()?,
            max_files: packets.max_files.as_deref().map(|n| number("max-files", n, NonZeroU32::MAX)).transpose()?,
        };
        settings.check(packets.max_files.as_deref(), capture)?;
        Ok(settings)
    }

    fn check(&self, max_files: Option<&str>, capture: &Capture) -> Result<(), OptionError> {
        if capture.rules.json.is_none() && !self.all && capture.explain.is_none() {
            let filter = capture.expression.clone();
            return Err(filter.map_or(OptionError::NoFilter, OptionError::AllForCollector));
        }
        if let (Some(files), None) = (max_files, self.max_file_size) {
            return Err(not_allowed("max-files", files, "it together with --max-file-size"));
        }
        if self.to_stdout && self.max_file_size.is_some() {
            return Err(not_allowed("write", "-", "it without --max-file-size: there are no files"));
        }
        if let (Some("pcap"), Some(_)) = (self.format.as_deref(), &self.keylog) {
            return Err(not_allowed("format", "pcap", "pcapng, because pcap cannot hold the secrets of --tls-keylog"));
        }
        Ok(())
    }

    /// What the collector is args, the key log aside.
    #[must_use]
    pub fn collector_args(&self) -> Vec<String> {
        let mut args = vec![];
        args.extend(self.comments.as_ref().map(|comments| format!("--comments={comments}")));
        args.extend(self.sightings.as_ref().map(|sightings| format!("--sightings={sightings}")));
        args.extend(self.format.as_ref().map(|format| format!("--format={format}")));
        args.extend(self.to_stdout.then(|| "--write=-".to_owned()));
        args.extend(self.max_file_size.map(|bytes| format!("--max-file-size={bytes}")));
        args.extend(self.max_files.map(|files| format!("--max-files={files}")));
        args
    }

    /// What the agents are args.
    #[must_use]
    pub fn agent_env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![];
        env.extend(self.snaplen.map(|bytes| ("SNAPLEN", bytes.to_string())));
        env.extend(self.all.then(|| ("PCA_ALL", "true".to_owned())));
        env
    }
}

fn one_of(option: &'static str, text: Option<&str>, allowed: &[&str]) -> Result<Option<String>, OptionError> {
    match text {
        Some(text) if !allowed.contains(&text) => Err(not_allowed(option, text, allowed.join(" or "))),
        text => Ok(text.map(str::to_owned)),
    }
}

fn snaplen(text: &str) -> Result<u32, OptionError> {
    let bytes = number::<NonZeroU32>("snaplen", text, NonZeroU32::MAX).ok().map(NonZeroU32::get);
    let allowed = || format!("a whole number of bytes from {} to {}", SNAPLEN.start(), SNAPLEN.end());
    bytes.filter(|bytes| SNAPLEN.contains(bytes)).ok_or_else(|| not_allowed("snaplen", text, allowed()))
}

fn file_size(text: &str) -> Result<NonZeroU64, OptionError> {
    let size = number("max-file-size", text, NonZeroU64::MAX).ok().filter(|size| size.get() >= MIN_FILE_SIZE);
    size.ok_or_else(|| {
        not_allowed("max-file-size", text, format!("a whole number of bytes from {MIN_FILE_SIZE} to {}", u64::MAX))
    })
}

/// A file, or `namespace/pod:/path` where there is a cluster. A file may come into being later, but not where there is no folder.
fn keylog(text: &str, local: bool) -> Result<Keylog, OptionError> {
    if let Some(keylog) = in_pod(text).filter(|_| !local) {
        return Ok(keylog);
    }
    let path = std::path::absolute(text).map_err(|_| not_allowed("tls-keylog", text, "the name of a file"))?;
    let folder = path.parent().is_some_and(std::path::Path::is_dir);
    if folder && !path.is_dir() {
        return Ok(Keylog::File(path));
    }
    let pod = if local { "" } else { ", or NAMESPACE/POD:/PATH" };
    Err(not_allowed("tls-keylog", text, format!("a file in a folder that exists{pod}")))
}

fn in_pod(text: &str) -> Option<Keylog> {
    let (name, path) = text.split_once(":/")?;
    let (namespace, pod) = name.split_once('/')?;
    let is_name = |name: &str| {
        let ends = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        ends && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
    };
    let (namespace, pod) = (namespace.to_owned(), pod.to_owned());
    (is_name(&namespace) && is_name(&pod)).then(|| Keylog::Pod { namespace, pod, path: format!("/{path}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Request, read};

    fn settings(words: &[&str]) -> Result<PacketSettings, String> {
        let words = ["oc-netobserv", "packets", "--local"].iter().chain(words).map(Into::into);
        let Ok(Request::Packets(words)) = read(words) else { panic!("packets") };
        let capture = Capture::new(words.as_ref(), true).map_err(|error| error.to_string())?;
        PacketSettings::new(&words, &capture).map_err(|error| error.to_string())
    }

    #[test]
    fn a_filter_is_needed_unless_all_is_meant() {
        assert!(settings(&[]).unwrap_err().starts_with("At least one eBPF filter must be set"));
        assert_eq!(settings(&["--all"]).unwrap().agent_env(), [("PCA_ALL", "true".to_owned())]);
        assert_eq!(settings(&["tcp,80", "--snaplen=128"]).unwrap().agent_env(), [("SNAPLEN", "128".to_owned())]);
    }

    #[test]
    fn the_collector_is_told_what_was_typed() {
        let words = [
            "--port=80",
            "--comments=none",
            "--max-file-size=1000000",
            "--max-files=3",
            "--format=pcap",
            "--sightings=all",
        ];
        let args = settings(&words).unwrap().collector_args();
        assert_eq!(
            args,
            ["--comments=none", "--sightings=all", "--format=pcap", "--max-file-size=1000000", "--max-files=3"]
        );
        assert_eq!(settings(&["--port=80", "-w", "-"]).unwrap().collector_args(), ["--write=-"]);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (words, named) in [
            (&["--max-files=2"][..], "--max-files=2 is not valid: use it together with --max-file-size"),
            (&["-w", "-", "--max-file-size=1000000"], "--write=- is not valid"),
            (&["-w", "file"], "--write=file is not valid: use -"),
            (&["--format=pcap", "--tls-keylog=keys"], "--format=pcap is not valid: use pcapng"),
            (&["--tls-keylog=/no/such/folder/keys"], "--tls-keylog=/no/such/folder/keys is not valid"),
            (&["--max-file-size=5"], "from 100000 to"),
            (&["--comments=some"], "--comments=some is not valid: use every or flow or none"),
            (&["--sightings=none"], "--sightings=none is not valid: use first or all"),
        ] {
            let words: Vec<&str> = words.iter().copied().chain(["--port=80"]).collect();
            let error = settings(&words).unwrap_err();
            assert!(error.contains(named), "{words:?}: {error}");
        }
    }

    #[test]
    fn secrets_come_from_a_file_or_from_a_pod() {
        let pod = Keylog::Pod { namespace: "shop".into(), pod: "client-1".into(), path: "/tmp/keys".into() };
        assert_eq!(keylog("shop/client-1:/tmp/keys", false).unwrap(), pod);
        let file = std::path::absolute("Cargo.toml").unwrap();
        assert_eq!(keylog("Cargo.toml", false).unwrap(), Keylog::File(file));
        for (text, local) in [("shop/client-1:/tmp/keys", true), ("shop/client-1:keys", false), ("-a/b:/c", false)] {
            assert!(keylog(text, local).unwrap_err().to_string().contains("a file in a folder"), "{text}");
        }
    }
}
