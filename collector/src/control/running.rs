//! The side of the capture itself.

use std::fs::{self, File};
use std::io;
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::Flock;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::{Control, FINISH, Phase, Status};

/// How often the small files are checked.
const LOOK: Duration = Duration::from_millis(200);
/// Who asks for the end when the pod is being removed.
pub(super) const WITH_THE_POD: &str = "with the pod";
/// How often a capture leaves a sign of life, for the case that it is killed.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// A capture that can be observed and ended from outside.
pub struct Running {
    control: Control,
    status: Status,
    lease: Option<Lease>,
    began: Instant,
    _lock: Flock<File>,
}

/// Why a capture is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It was requested.
    Finish,
    /// Its pod is being removed.
    Removed,
    /// The lease was not renewed.
    Lease(Duration),
}

/// A lease: known by changes of the file's time, measured by our own clock, so that a clock that is set does not end a capture.
struct Lease {
    time: Duration,
    seen: Option<SystemTime>,
    renewed: Instant,
}

impl Lease {
    fn is_over(&mut self, renewed: Option<SystemTime>, now: Instant) -> bool {
        if renewed != self.seen {
            (self.seen, self.renewed) = (renewed, now);
        }
        now.duration_since(self.renewed) >= self.time
    }
}

impl Running {
    /// Begins: from now on the capture can be seen.
    ///
    /// # Errors
    /// When the folder is not writable, or another capture runs there.
    pub fn begin(control: Control, status: Status, lease: Option<Duration>) -> io::Result<Self> {
        control.make()?;
        let lock = control.lock()?;
        match fs::remove_file(control.dir.join(FINISH)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let lease = lease.map(|time| Lease { time, seen: control.renewed(), renewed: Instant::now() });
        let status =
            Status { state: Phase::Capturing, lease_s: lease.as_ref().map(|lease| lease.time.as_secs()), ..status };
        control.write(&status)?;
        control.is_alive(Duration::ZERO);
        Ok(Self { control, status, lease, began: Instant::now(), _lock: lock })
    }

    /// The capture began earlier, in another process.
    #[must_use]
    pub fn since(self, began: Instant) -> Self {
        self.control.is_alive(began.elapsed());
        Self { began, ..self }
    }

    /// Whether it outlives its terminal.
    pub fn has_lease(&self) -> bool {
        self.lease.is_some()
    }

    /// Returns when the capture is to end.
    pub async fn asked(&mut self) -> Asked {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = Instant::now();
        loop {
            looks.tick().await;
            if said.elapsed() >= SIGN_OF_LIFE {
                self.control.is_alive(self.began.elapsed());
                said = Instant::now();
            }
            if let Some(by) = self.control.asked_to_finish() {
                return if by == WITH_THE_POD { Asked::Removed } else { Asked::Finish };
            }
            let renewed = self.control.renewed();
            if let Some(lease) = &mut self.lease
                && lease.is_over(renewed, Instant::now())
            {
                return Asked::Lease(lease.time);
            }
        }
    }

    /// The capture continues until it has taken this long.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn lasts(&mut self, time: Duration) -> io::Result<()> {
        self.status.max_time_s = Some(time.as_secs());
        self.control.write(&self.status)
    }

    /// For so many flows of a file there was no time to fill in names that came late.
    pub fn lacks_names(&mut self, flows: u64) {
        self.status.unnamed_flows = (flows > 0).then_some(flows);
    }

    /// The files are finished.
    pub fn end(mut self, reason: &str) {
        self.status.state = Phase::Finished;
        self.status.reason = Some(reason.to_owned());
        if let Err(error) = self.control.write(&self.status) {
            warn!("cannot record that the capture has ended: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_over_when_its_file_did_not_change_for_long_enough() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut lease = Lease { time: second * 60, seen: None, renewed: start };
        let file = |seconds| Some(SystemTime::UNIX_EPOCH + second * seconds);
        assert!(!lease.is_over(None, start + second * 59));
        assert!(!lease.is_over(file(9), start + second * 59));
        assert!(!lease.is_over(file(9), start + second * 118));
        // A clock that is set back is a change as well.
        assert!(!lease.is_over(file(1), start + second * 118));
        assert!(lease.is_over(file(1), start + second * 178));
    }
}
