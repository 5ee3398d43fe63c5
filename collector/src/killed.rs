//! An earlier process of the same capture, which was killed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A capture whose process was killed.
#[derive(Clone, Debug)]
pub struct Killed {
    /// How long ago the capture began.
    pub elapsed: Duration,
    /// Files that it has made, below the output folder.
    pub files: Vec<PathBuf>,
    /// The times without a process, in words, the latest last.
    pub outages: Vec<String>,
}

impl Killed {
    /// When the capture began, by the clock of this process.
    pub(crate) fn began(&self) -> Option<Instant> {
        Instant::now().checked_sub(self.elapsed)
    }

    /// Lines of the summary: the times without a process, and the files from before.
    pub(crate) fn lines(&self, what: &str) -> Vec<String> {
        let outages = self.outages.iter().map(|outage| {
            format!(
                "the collector was killed and started again: it was away {outage}, and {what} of the second before may be missing"
            )
        });
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        let files = (!files.is_empty()).then(|| format!("what came before is in {}", files.join(", ")));
        outages.chain(files).collect()
    }
}

/// When a capture began, possibly in an earlier process.
pub(crate) fn began(killed: Option<&Killed>) -> Instant {
    killed.and_then(Killed::began).unwrap_or_else(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_that_is_older_than_the_machine_is_no_trouble() {
        let killed = Killed { elapsed: Duration::MAX, files: vec![], outages: vec![] };
        assert!(began(Some(&killed)).elapsed() < Duration::from_secs(60));
    }
}
