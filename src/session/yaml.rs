//! `--yaml`: the objects of a capture as text, for those who apply them in their own way.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use chrono::Local;
use netobserv_contract::files;

use super::{SessionError, plan};
use crate::certificates::Certificates;
use crate::manifest;
use crate::options::{Settings, YamlTarget};
use crate::preflight::Cluster;
use crate::progress::{self, Progress};

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; choose another folder with --output-dir, or --yaml=-", path.display())]
pub struct YamlError {
    path: PathBuf,
    source: io::Error,
}

/// Writes the documents, and prints what to do with them. No call is made, so the kind of cluster is not known: for `oc` it is
/// taken for OpenShift, whose objects another cluster refuses without harm to the rest.
pub(super) fn write(
    settings: &Settings,
    target: YamlTarget,
    called_as: &OsStr,
    progress: Progress,
) -> Result<(), SessionError> {
    let cli = if called_as.to_string_lossy().contains("kubectl") { "kubectl" } else { "oc" };
    let openshift = cli == "oc";
    let mut plan = plan(settings, &Cluster { scc: openshift, openshift_monitoring: openshift, ..Cluster::default() });
    plan.collector_args.retain(|arg| !arg.starts_with("--lease="));
    let text = manifest::yaml_stream(&plan, &Certificates::new(&plan, SystemTime::now())?)?;
    if target == YamlTarget::Stdout {
        progress::print(&text);
        return Ok(());
    }
    progress.print("Output YAMLs without applying...");
    let stem = format!("{}_capture_{}", settings.kind.word(), Local::now().format("%Y_%m_%d_%H_%M"));
    let path = create(settings, &stem, &text)?;
    let namespace = &plan.namespace;
    for line in [
        "Check the generated YAML file in output folder.".to_owned(),
        format!("You can create {} agents and the collector by executing:", settings.kind.word()),
        format!(" {cli} apply -f {}", path.display()),
        "And follow its progression with:".to_owned(),
        format!(" {cli} logs collector -n {namespace} -f"),
        "Copy its files and remove everything with:".to_owned(),
        format!(" {cli} netobserv copy -n {namespace}"),
        format!(" {cli} netobserv cleanup -n {namespace}"),
    ] {
        progress.print(&line);
    }
    Ok(())
}

/// A new file, readable by its owner only: it holds private keys.
fn create(settings: &Settings, stem: &str, text: &str) -> Result<PathBuf, YamlError> {
    let dir = &settings.output_dir;
    let names = std::iter::once(format!("{stem}.yml")).chain((2..).map(|n| format!("{stem}-{n}.yml")));
    let mut path = dir.clone();
    let failed = |path: &PathBuf, source| YamlError { path: path.clone(), source };
    files::create_folder(dir).map_err(|source| failed(dir, source))?;
    for name in names {
        path = dir.join(name);
        match files::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed(&path, source)),
            Ok(mut file) => {
                file.write_all(text.as_bytes()).map_err(|source| failed(&path, source))?;
                return Ok(path);
            }
        }
    }
    Ok(path)
}
