//! The terminal as it was: a collector that was killed, or an `oc` behind which one was, could not give it back, so this
//! program does.

use std::io::{IsTerminal as _, Write as _, stdout};

use crate::progress::is_dumb;

/// Ends mouse reports, shows the cursor, and leaves the alternate screen.
const PLAIN: &str = "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?25h\x1b[?1049l";

/// How the terminal was before a program took it; nothing where there is none.
#[derive(Debug, Default)]
pub struct Terminal {
    /// As `stty` writes it.
    modes: Option<String>,
}

impl Terminal {
    /// Looks at the terminal as it is now.
    #[must_use]
    pub fn probe() -> Self {
        Self { modes: if stdout().is_terminal() { modes() } else { None } }
    }

    /// Makes it what it was, if there is one.
    pub fn give_back(&self) {
        if !stdout().is_terminal() {
            return;
        }
        // A terminal that is gone needs nothing.
        if !is_dumb() {
            let _ = stdout().write_all(PLAIN.as_bytes()).and_then(|()| stdout().flush());
        }
        #[cfg(unix)]
        set(self.modes.as_deref().unwrap_or("sane"));
    }
}

/// Puts a line on the last row of a screen that another program has, and leaves the cursor where it is.
pub(crate) fn note(line: &str) {
    let line = netobserv_contract::plain::line(line);
    // 7 and 8 keep and restore the cursor; 999 is below every last row; without ?7 a long line is cut.
    let text = format!("\x1b7\x1b[999;1H\x1b[2K\x1b[?7l\x1b[7m{line}\x1b[0m\x1b[?7h\x1b8");
    let _ = netobserv_stdio::stdout().write(text);
}

/// `stty` asks and sets the terminal on its standard input, which is ours.
#[cfg(unix)]
#[allow(clippy::disallowed_methods, reason = "this module is part of the only place where the plugin starts programs")]
fn modes() -> Option<String> {
    let modes = duct::cmd("stty", ["-g"]).stderr_null().read().ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ":=-".contains(c);
    (!modes.is_empty() && modes.chars().all(plain)).then_some(modes)
}

#[cfg(not(unix))]
fn modes() -> Option<String> {
    None
}

#[cfg(unix)]
#[allow(clippy::disallowed_methods, reason = "this module is part of the only place where the plugin starts programs")]
fn set(modes: &str) {
    let _ = duct::cmd("stty", [modes]).stderr_null().unchecked().run();
}
