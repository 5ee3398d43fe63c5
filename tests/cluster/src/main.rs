//! `oc` and `kubectl` of the cluster for tests; called as `... pod-init FILE` it becomes the first process of a pod.

use std::process::ExitCode;

use netobserv_test_cluster::{oc, pod};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let result = match (words.next().as_deref(), words.next()) {
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
