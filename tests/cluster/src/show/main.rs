//! `scripts/demo.sh --cluster`: a capture in the cluster on one machine as a show, from `Setting up...` to cleaned up. On a
//! terminal the screen is live and somebody seems to type; elsewhere it is lines. It ends by itself, and after Ctrl-C as well, and
//! leaves nothing but the files that were copied.

mod capture;
mod stage;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use stage::Stage;

/// Somebody wants it to end.
static STOP: AtomicBool = AtomicBool::new(false);

/// Why the show does not reach its end.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("interrupted; the cluster is taken down")]
    Interrupted,
    #[error("waited in vain for {what}:\n{shown}")]
    Waited { what: String, shown: String },
    #[error("the capture ended before {what}:\n{shown}")]
    Ended { what: String, shown: String },
    #[error("`{line}` ended with exit code {code}: {said}")]
    Command { line: String, code: i32, said: String },
    #[error("the capture has left files that are not as they should be: {0}")]
    Files(String),
    #[error("something is left in the cluster: {0}")]
    Left(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// `Err` from the moment on at which somebody wants it to end.
fn go_on() -> Result<(), Failure> {
    if STOP.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) }
}

fn main() -> ExitCode {
    if let Err(error) = ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed)) {
        eprintln!("error: cannot catch signals: {error}");
        return ExitCode::FAILURE;
    }
    // A folder other than ./output for the files: what a test asks for.
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let mut stage = Stage::open();
    let played = story::play(&mut stage, folder);
    drop(stage);
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, Failure::Interrupted) { 130 } else { 1 })
        }
    }
}
