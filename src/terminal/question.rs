//! A question to the person at the terminal. No user there, or no answer, counts as the answer that loses nothing.

use std::io::{self, BufRead as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use netobserv_contract::plain;

use crate::progress;
use crate::signal::Interrupts;

/// Between two checks for a signal.
const TICK: Duration = Duration::from_millis(50);

/// True for yes. `otherwise` without a terminal, at the end of the input, and when a signal comes instead of an answer.
pub(crate) fn ask(question: &str, otherwise: bool, interrupts: &Interrupts) -> bool {
    if !progress::has_terminal() {
        return otherwise;
    }
    let before = interrupts.number();
    let (sender, answers) = channel();
    // It stays behind in its read when a signal is the answer; it holds nothing up.
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    print(question);
    loop {
        match answers.recv_timeout(TICK) {
            Ok(line) => match answer(&line) {
                Some(answer) => return answer,
                None => print(&format!("Please answer yes or no.\n{question}")),
            },
            Err(RecvTimeoutError::Timeout) if !interrupts.beyond(before) => {}
            Err(_) => {
                print("\n");
                return otherwise;
            }
        }
    }
}

fn answer(line: &str) -> Option<bool> {
    match line.trim().chars().next() {
        Some('y' | 'Y') => Some(true),
        Some('n' | 'N') => Some(false),
        _ => None,
    }
}

fn print(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(plain::lines(text).as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_letter_counts() {
        for (line, expected) in [
            ("yes", Some(true)),
            (" Y", Some(true)),
            ("no", Some(false)),
            ("Nope", Some(false)),
            ("", None),
            ("?", None),
        ] {
            assert_eq!(answer(line), expected, "{line}");
        }
    }

    #[test]
    fn without_a_terminal_nobody_is_asked() {
        // Tests have no terminal on both ends.
        if !progress::has_terminal() {
            assert!(ask("?", true, &Interrupts::default()));
            assert!(!ask("?", false, &Interrupts::default()));
        }
    }
}
