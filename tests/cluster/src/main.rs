//! `oc` and `kubectl` of the cluster for tests; called as `... pod-init FILE` it becomes the first process of a pod.

use std::process::ExitCode;

use netobserv_test_cluster::{oc, pod};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let result = match (words.next().as_deref(), words.next()) {
        (Some("hold-pipes"), Some(pid)) => oc::hold_pipes(&pid).map(|()| 0),
        (Some("keep-pipes"), Some(pid)) => {
            pid.parse().map(oc::keep_pipes).map(|()| 0).map_err(|error| format!("{pid}: {error}"))
        }
        (Some("pod-init"), Some(file)) => pod::become_pod(file.as_ref()).map(|_| 0),
        _ => oc::run(std::env::args().skip(1)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
