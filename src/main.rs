//! The program: words in, exit code out. The one place where an error is printed.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match oc_netobserv::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(line) = error.line() {
                // A closed terminal is no reason to panic on the way out.
                let _ = writeln!(std::io::stderr(), "{}", netobserv_contract::plain::lines(&line));
            }
            ExitCode::from(error.exit_code())
        }
    }
}
