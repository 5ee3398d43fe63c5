//! Ctrl-C, SIGTERM and SIGHUP become a message on a channel: everything else happens in the normal flow of the program.

/// Calls `note` for each signal, on a thread of its own. Once a process.
///
/// # Errors
///
/// The handler could not be installed.
pub fn listen(note: impl Fn() + Send + 'static) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(note)
}
