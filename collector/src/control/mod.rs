//! How a capture in a pod is observed and ended from outside: by small files next to its own, so that a program started by
//! `oc exec` needs no connection to the one that captures, and can also report that that one was killed.

pub mod command;
mod earlier;
mod running;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use netobserv_contract::files::create_folder;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

pub use earlier::Earlier;
pub use running::{Asked, Running};

/// Folder below the output folder where a capture reports its state. Not one of its files.
pub const STATE_DIR: &str = ".capture";
/// In that folder: an object whose `state` is `waiting`, `capturing` or `finished`.
pub const STATE_FILE: &str = "state.json";
/// Touched by every program that still wants the capture.
const LEASE: &str = "lease";
/// Made by a program that wants the capture to end.
const FINISH: &str = "finish";
/// What of the files was fetched, a path a line.
const FETCHED: &str = "fetched";
/// Secrets of TLS connections, sent from outside.
const KEYLOG: &str = "keylog";
/// Locked while the capture runs: so a killed one is known.
const LOCK: &str = "lock";

/// Where a capture stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// There is none yet.
    #[default]
    Waiting,
    /// It captures, or finishes its files.
    Capturing,
    /// The files are as they will stay.
    Finished,
}

/// What a capture reports of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Where it stands.
    pub state: Phase,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// Seconds without a renewal after which the capture is no longer wanted; none without a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_s: Option<u64>,
    /// Seconds for which finished files are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_s: Option<u64>,
    /// Seconds until the end of a capture that continued after its limit, from its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time_s: Option<u64>,
    /// Flows of a file for which there was no time, at the end, to fill in names that came late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unnamed_flows: Option<u64>,
    /// The files of each of its processes, below the output folder: of flows the JSON file, of packets the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Times without a process, in words, where one was killed and the next one continued.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<String>,
}

/// The small files of one output folder.
#[derive(Clone, Debug)]
pub struct Control {
    dir: PathBuf,
}

impl Control {
    /// Those of this output folder. Nothing is made yet.
    pub fn of(output: &Path) -> Self {
        Self { dir: output.join(STATE_DIR) }
    }

    /// The state of the capture. One that was killed has finished, and reports so.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn status(&self) -> io::Result<Status> {
        let mut status = self.written()?;
        if status.state == Phase::Capturing && !self.is_locked()? {
            // It may have ended between the two looks.
            status = self.written()?;
            if status.state == Phase::Capturing {
                status.state = Phase::Finished;
                status.reason = Some("the collector was killed".into());
            }
        }
        Ok(status)
    }

    fn written(&self) -> io::Result<Status> {
        match fs::read(self.dir.join(STATE_FILE)) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Status::default()),
            Err(error) => Err(error),
        }
    }

    /// Reports that the session is still wanted.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn renew(&self) -> io::Result<()> {
        self.make()?;
        let file = open(&self.dir.join(LEASE))?;
        file.set_modified(SystemTime::now())
    }

    /// When the session was renewed last, by the clock of the file system.
    pub fn renewed(&self) -> Option<SystemTime> {
        fs::metadata(self.dir.join(LEASE)).and_then(|file| file.modified()).ok()
    }

    /// Asks the capture to drain and end.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn ask_to_finish(&self) -> io::Result<()> {
        self.make()?;
        open(&self.dir.join(FINISH)).map(drop)
    }

    /// Asks it because the pod is being removed.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn ask_to_finish_with_the_pod(&self) -> io::Result<()> {
        self.make()?;
        fs::write(self.dir.join(FINISH), running::WITH_THE_POD)
    }

    /// Records that a program fetches the files, and which one came to its end.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn note_fetched(&self, path: Option<&Path>) -> io::Result<()> {
        self.make()?;
        let mut file = OpenOptions::new().create(true).append(true).open(self.dir.join(FETCHED))?;
        path.map_or(Ok(()), |path| writeln!(file, "{}", path.display()))
    }

    /// The files that were fetched to their end; `None` when none was requested.
    pub fn fetched(&self) -> Option<BTreeSet<String>> {
        let text = fs::read_to_string(self.dir.join(FETCHED)).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }

    /// Where the secrets are that were sent.
    pub fn keylog(&self) -> PathBuf {
        self.dir.join(KEYLOG)
    }

    /// Adds lines to the secrets, for the capture alone to read.
    ///
    /// # Errors
    /// When the folder is not writable, or there would be more than `most` bytes.
    pub fn add_secrets(&self, lines: &[u8], most: u64) -> io::Result<()> {
        self.make()?;
        let mut file = open(&self.keylog())?;
        if file.metadata()?.len() + lines.len() as u64 > most {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes of secrets")));
        }
        file.write_all(lines)
    }

    /// Forgets the secrets that were sent.
    pub fn forget_secrets(&self) {
        // There may be none.
        let _ = fs::remove_file(self.keylog());
    }

    /// Who asked, in a word of ours; `None` when there was no request.
    fn asked_to_finish(&self) -> Option<String> {
        let file = self.dir.join(FINISH);
        // One that another user made may not be ours to read: to be there is enough.
        file.exists().then(|| fs::read_to_string(file).unwrap_or_default())
    }

    fn write(&self, status: &Status) -> io::Result<()> {
        let (path, new) = (self.dir.join(STATE_FILE), self.dir.join("state.new"));
        let file = open(&new)?;
        file.set_len(0)?;
        (&file).write_all(&serde_json::to_vec(status)?)?;
        fs::rename(new, path)
    }

    fn make(&self) -> io::Result<()> {
        create_folder(&self.dir)
    }

    fn is_locked(&self) -> io::Result<bool> {
        let file = match File::open(self.dir.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(false),
            Err((_, Errno::EWOULDBLOCK)) => Ok(true),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    fn lock(&self) -> io::Result<Flock<File>> {
        let file = open(&self.dir.join(LOCK))?;
        // Those who look hold it for a moment, shared.
        for _ in 0..50 {
            match Flock::lock(file.try_clone()?, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((_, Errno::EWOULDBLOCK)) => std::thread::sleep(Duration::from_millis(10)),
                Err((_, errno)) => return Err(errno.into()),
            }
        }
        Err(io::Error::other("another capture runs there"))
    }
}

/// Opens a file for its owner alone, to write at its end.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_seen_from_outside_and_so_is_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::of(dir.path());
        assert_eq!(control.status().unwrap(), Status::default());
        assert!(!control.dir.exists(), "a look makes nothing");
        let running =
            Running::begin(control.clone(), Status { session: "ab".into(), ..Status::default() }, None).unwrap();
        assert_eq!(control.status().unwrap().state, Phase::Capturing);
        assert!(Running::begin(control.clone(), Status::default(), None).is_err(), "one at a time");
        running.end("reached 5m");
        let status = control.status().unwrap();
        assert_eq!(
            (status.state, status.reason.as_deref(), status.session.as_str()),
            (Phase::Finished, Some("reached 5m"), "ab")
        );
    }

    #[test]
    fn a_killed_capture_has_finished() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::of(dir.path());
        drop(Running::begin(control.clone(), Status::default(), None).unwrap());
        let status = control.status().unwrap();
        assert_eq!((status.state, status.reason.as_deref()), (Phase::Finished, Some("the collector was killed")));
    }

    #[test]
    fn secrets_are_for_the_capture_alone_and_bounded() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let control = Control::of(dir.path());
        control.add_secrets(b"A 01 02\n", 16).unwrap();
        control.add_secrets(b"A 03 04\n", 16).unwrap();
        assert!(control.add_secrets(b"A\n", 16).is_err());
        assert_eq!(fs::read(control.keylog()).unwrap(), b"A 01 02\nA 03 04\n");
        assert_eq!(fs::metadata(control.keylog()).unwrap().permissions().mode() & 0o777, 0o600);
        control.forget_secrets();
        control.forget_secrets();
        assert!(!control.keylog().exists());
    }

    #[test]
    fn what_is_asked_of_one_capture_is_not_asked_of_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::of(dir.path());
        control.ask_to_finish().unwrap();
        let _running = Running::begin(control.clone(), Status::default(), None).unwrap();
        assert_eq!(control.asked_to_finish(), None);
    }
}
