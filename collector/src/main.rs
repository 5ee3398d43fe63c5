//! The program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    netobserv_collector::run(std::env::args_os())
}
