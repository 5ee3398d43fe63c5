//! The program; everything is in the library.

use std::process::ExitCode;

/// Rows are made by one thread and let go by others, several 100,000 times a second, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    netobserv_collector::run(std::env::args_os())
}
