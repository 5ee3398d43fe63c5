//! Logs when all nodes capture. No agent sees what comes before that: to show a fault, wait for this line.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use crate::counts::Counts;

/// How often the agents are checked.
const LOOK: Duration = Duration::from_millis(100);

/// Logs it once this many nodes watch their interfaces; never when the number is not known.
pub(crate) fn tell_when_all_capture(expected: u64, counts: Arc<Counts>) {
    if expected == 0 {
        return;
    }
    tokio::spawn(async move {
        while counts.capturing() < expected {
            tokio::time::sleep(LOOK).await;
        }
        match expected {
            1 => info!("1 of 1 node captures"),
            nodes => info!("{nodes} of {nodes} nodes capture"),
        }
    });
}
