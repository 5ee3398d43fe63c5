//! A collector that was killed could not give the terminal back: then this program does.

use std::io::{IsTerminal as _, Write as _, stdout};

/// Ends mouse reports, shows the cursor, and leaves the alternate screen.
const PLAIN: &str = "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?25h\x1b[?1049l";

/// Makes the terminal what a shell expects, if there is one.
pub fn give_back() {
    if !stdout().is_terminal() {
        return;
    }
    // A terminal that is gone needs nothing.
    let _ = stdout().write_all(PLAIN.as_bytes()).and_then(|()| stdout().flush());
    #[cfg(unix)]
    cook();
}

/// Lines and echo again.
#[cfg(unix)]
#[allow(clippy::disallowed_methods, reason = "this module is a part of the plugin's door to other programs")]
fn cook() {
    let _ = duct::cmd("stty", ["sane"]).stderr_null().unchecked().run();
}
