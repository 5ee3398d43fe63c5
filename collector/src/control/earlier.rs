//! What an earlier process of the same session has left: in a pod whose container is started again, or in which the capture is
//! started again, a killed capture continues where it was.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use super::{Control, FINISH, Phase, Status};
use crate::human;
use crate::killed::Killed;

/// Its content is for how long the capture has run, in milliseconds; its time is that of the last sign of life.
const ALIVE: &str = "alive";

/// What there is.
#[derive(Debug)]
pub enum Earlier {
    /// Nothing of this session, or a process that is at work.
    Nothing,
    /// A capture whose process was killed.
    Killed(Killed),
    /// A capture that has ended, or was asked to before it was killed.
    Over,
}

impl Control {
    /// What an earlier process of `session` has left.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn earlier(&self, session: &str) -> io::Result<Earlier> {
        let status = self.written()?;
        if status.session != session || status.state == Phase::Waiting || self.is_locked()? {
            return Ok(Earlier::Nothing);
        }
        // It may have ended between the two looks.
        let status = self.written()?;
        if status.state == Phase::Finished || self.dir.join(FINISH).exists() {
            return Ok(Earlier::Over);
        }
        Ok(Earlier::Killed(self.killed(status, SystemTime::now())))
    }

    fn killed(&self, status: Status, now: SystemTime) -> Killed {
        let file = self.dir.join(ALIVE);
        let ran = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let seen = fs::metadata(&file).and_then(|file| file.modified()).unwrap_or(now);
        // A clock that was set back makes it no shorter.
        let away = now.duration_since(seen).unwrap_or_default();
        let clock = |time: SystemTime| human::time(DateTime::<Utc>::from(time));
        let outage = format!("from {} to {} ({})", clock(seen), clock(now), human::duration(whole(away)));
        Killed {
            elapsed: Duration::from_millis(ran) + away,
            files: status.files.into_iter().map(PathBuf::from).collect(),
            outages: status.outages.into_iter().chain([outage]).collect(),
        }
    }

    /// A sign of life of a capture that has run for this long.
    pub(super) fn is_alive(&self, elapsed: Duration) {
        // Without it an outage seems longer; a full disk is reported by those who write the files.
        let _ = fs::write(self.dir.join(ALIVE), elapsed.as_millis().to_string());
    }

    /// Nothing follows on a capture that was to end before it was killed.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn close(&self) -> io::Result<()> {
        let status = self.written()?;
        if status.state == Phase::Finished {
            return Ok(());
        }
        self.write(&Status {
            state: Phase::Finished,
            reason: Some("the collector was killed at its end".into()),
            ..status
        })
    }
}

/// Milliseconds are more than is known of it.
fn whole(time: Duration) -> Duration {
    Duration::from_secs(time.as_millis().div_ceil(1000) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Running;

    fn status(files: &[&str], outages: &[&str]) -> Status {
        let text = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Status { session: "ab".into(), files: text(files), outages: text(outages), ..Status::default() }
    }

    #[test]
    fn a_killed_capture_is_known_with_its_files_and_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::of(dir.path());
        assert!(matches!(control.earlier("ab").unwrap(), Earlier::Nothing));
        let running = Running::begin(control.clone(), status(&["flow/a.json"], &["from x"]), None).unwrap();
        assert!(matches!(control.earlier("ab").unwrap(), Earlier::Nothing), "it is at work");
        control.is_alive(Duration::from_millis(61_500));
        drop(running);
        assert!(matches!(control.earlier("cd").unwrap(), Earlier::Nothing), "of another session");
        let Earlier::Killed(killed) = control.earlier("ab").unwrap() else { panic!("it was killed") };
        assert_eq!(killed.files, [PathBuf::from("flow/a.json")]);
        assert!(killed.elapsed >= Duration::from_millis(61_500), "{killed:?}");
        assert!(killed.outages.len() == 2 && killed.outages[1].starts_with("from 2"), "{killed:?}");
    }

    #[test]
    fn nothing_follows_on_a_capture_that_has_ended_or_was_to() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::of(dir.path());
        drop(Running::begin(control.clone(), status(&[], &[]), None).unwrap());
        control.ask_to_finish().unwrap();
        assert!(matches!(control.earlier("ab").unwrap(), Earlier::Over));
        control.close().unwrap();
        assert_eq!(control.status().unwrap().reason.as_deref(), Some("the collector was killed at its end"));
        Running::begin(control.clone(), status(&[], &[]), None).unwrap().end("reached 5m");
        assert!(matches!(control.earlier("ab").unwrap(), Earlier::Over));
        control.close().unwrap();
        assert_eq!(control.status().unwrap().reason.as_deref(), Some("reached 5m"));
    }

    #[test]
    fn the_time_without_a_process_counts() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::of(dir.path());
        drop(Running::begin(control.clone(), status(&[], &[]), None).unwrap());
        control.is_alive(Duration::from_secs(10));
        let later = SystemTime::now() + Duration::from_secs(5);
        let killed = control.killed(control.written().unwrap(), later);
        assert!((Duration::from_secs(15)..Duration::from_secs(75)).contains(&killed.elapsed), "{killed:?}");
        let back = control.killed(control.written().unwrap(), SystemTime::UNIX_EPOCH);
        assert_eq!(back.elapsed, Duration::from_secs(10));
    }
}
