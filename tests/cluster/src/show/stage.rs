//! What the audience has before it: the terminal, its two last lines for captions while a program has the rest of it, and lines.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::time::{Duration, Instant};

use crossterm::terminal;
use netobserv_testkit::wait_for;
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};

use crate::{Failure, go_on};

/// Lines that are kept for captions.
const CAPTION: u16 = 2;
/// Between two letters of somebody who types, and for a whole line at most.
const LETTER: Duration = Duration::from_millis(15);
const LINE: Duration = Duration::from_millis(1_300);
/// What takes a terminal back from a program that was stopped: screen, cursor, mouse, paste, colours.
const GIVE_BACK: &str = "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[0m";

/// The terminal, or whatever stands in its place.
pub(crate) struct Stage {
    live: Option<Live>,
    styled: bool,
}

struct Live {
    before: Termios,
    caption: String,
    /// A program has the alternate screen.
    taken: bool,
    /// The program may have drawn over the caption.
    dirty: bool,
}

impl Stage {
    /// Live when both ends are a terminal.
    pub(crate) fn open() -> Self {
        let live = stdout().is_terminal().then(quiet_terminal).flatten();
        let styled = live.is_some() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { live, styled }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Width and height for a program that has the terminal.
    pub(crate) fn size() -> (u16, u16) {
        let (width, height) = terminal::size().unwrap_or((120, 40));
        (width.max(20), height.saturating_sub(CAPTION).max(10))
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.styled { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn heading(&self, text: &str) -> Result<(), Failure> {
        self.line(&self.styled("1", &format!("\n== {text}")))
    }

    pub(crate) fn note(&self, text: &str) -> Result<(), Failure> {
        self.line(&self.styled("2", text))
    }

    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        go_on()?;
        Ok(writeln!(stdout(), "{text}")?)
    }

    /// A command line, as somebody types it.
    pub(crate) fn command(&self, line: &str) -> Result<(), Failure> {
        let mut out = stdout();
        write!(out, "\n{} ", self.styled("1;32", "$"))?;
        if self.live.is_none() {
            return self.line(line);
        }
        let begun = Instant::now();
        for letter in line.chars() {
            write!(out, "{letter}")?;
            if begun.elapsed() < LINE {
                out.flush()?;
                pass(LETTER)?;
            }
        }
        self.line("")
    }

    /// From now on this stands below the program; without a terminal, in a line of its own.
    pub(crate) fn caption(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.live {
            Some(live) => {
                (live.caption, live.dirty) = (text.to_owned(), true);
                Ok(())
            }
            None => self.line(&format!("-- {text}")),
        }
    }

    /// Hands on what a program drew; with nothing new, draws the caption where the program may have been over it.
    pub(crate) fn hand_on(&mut self, bytes: &[u8], taken: bool) -> std::io::Result<()> {
        let mut out = stdout();
        let Some(live) = &mut self.live else { return out.write_all(bytes) };
        live.taken = taken;
        live.dirty |= !bytes.is_empty();
        out.write_all(bytes)?;
        // A program's bytes may end in the middle of something; when it is silent they do not.
        if bytes.is_empty() && taken && live.dirty {
            live.dirty = false;
            write!(out, "{}", drawn(&live.caption, terminal::size()?))?;
        }
        out.flush()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let Some(live) = &self.live else { return };
        if live.taken {
            let _ = write!(stdout(), "{GIVE_BACK}").and_then(|()| stdout().flush());
        }
        // What was typed during the show, and what the terminal answered to questions of the program.
        let _ = tcflush(stdin(), FlushArg::TCIFLUSH);
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &live.before);
    }
}

/// Keys are not shown; Ctrl-C is still a signal.
fn quiet_terminal() -> Option<Live> {
    let before = tcgetattr(stdin()).ok()?;
    let mut quiet = before.clone();
    quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON);
    tcsetattr(stdin(), SetArg::TCSANOW, &quiet).ok()?;
    Some(Live { before, caption: String::new(), taken: false, dirty: false })
}

/// A caption in the last lines of a terminal, with the cursor where it was afterwards.
fn drawn(text: &str, (width, height): (u16, u16)) -> String {
    let room = usize::from(width).saturating_sub(2);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("a first line");
        if line.chars().count() + word.chars().count() < room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!(" {word}"));
        }
    }
    let mut drawn = "\x1b7".to_owned();
    for row in 0..CAPTION {
        let line: String = lines.get(usize::from(row)).into_iter().flat_map(|line| line.chars().take(room)).collect();
        let at = height.saturating_sub(CAPTION) + row + 1;
        drawn += &format!("\x1b[{at};1H\x1b[0;7m{line:width$}", width = usize::from(width));
    }
    drawn + "\x1b8"
}

/// Time in which the audience reads.
pub(crate) fn pass(time: Duration) -> Result<(), Failure> {
    let end = Instant::now() + time;
    let mut going = Ok(());
    let _ = wait_for(time, || {
        going = go_on();
        going.is_err() || Instant::now() >= end
    });
    going
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caption_has_the_last_two_lines_and_gives_the_cursor_back() {
        let mut screen = vt100::Parser::new(6, 20, 0);
        screen.process(b"program\x1b[2;3H");
        screen.process(drawn("one two three four five six seven eight", (20, 6)).as_bytes());
        let lines: Vec<_> = screen.screen().rows(0, 20).map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(lines, ["program", "", "", "", " one two three", " four five six"]);
        assert_eq!(screen.screen().cursor_position(), (1, 2));
    }
}
