//! Clocks of pods that can be set, each by itself: a library that stands before the C library in the programs of the pods
//! changes what they take for the time of day. No clock of this machine is touched. Programs that are linked statically, as
//! in the image, have no place for it: what they would do is the same code.

use std::fs;
use std::path::PathBuf;

use netobserv_test_cluster::Cluster;
use netobserv_testkit::Run;

/// The clocks of all pods of a cluster.
pub(crate) struct Clocks {
    folder: PathBuf,
}

impl Clocks {
    /// Gives a clock to each pod that starts from now on.
    #[track_caller]
    pub(crate) fn install(cluster: &Cluster) -> Self {
        let folder = cluster.world().shared();
        let (source, library) =
            (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster_world/clock_shim.rs"), folder.join("clock.so"));
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let words = ["--edition=2024", "--crate-type=cdylib", "-Copt-level=1", "-o"];
        Run::new(rustc).args(words).arg(&library).arg(source).output();
        let clock = format!("{}/clock-{{pod}}", folder.display());
        cluster.pod_env(&[("LD_PRELOAD", &library.to_string_lossy()), ("TEST_CLOCK", &clock)]);
        Self { folder }
    }

    /// Sets the clock of a pod: so many seconds from the true time.
    pub(crate) fn set(&self, pod: &str, seconds: i64) {
        let (file, new) = (self.folder.join(format!("clock-{pod}")), self.folder.join("clock.new"));
        fs::write(&new, seconds.to_string()).expect("a clock");
        fs::rename(new, file).expect("a clock");
    }
}
