//! The program: words in, exit code out. The one place where an error is printed.

use std::process::ExitCode;

fn main() -> ExitCode {
    match oc_netobserv::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(line) = error.line() {
                oc_netobserv::progress::warn(&line);
            }
            ExitCode::from(error.exit_code())
        }
    }
}
