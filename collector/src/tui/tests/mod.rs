//! Pictures of the screen at fixed sizes, and what keys do, with time and data that never change.

mod keys;
mod pictures;
mod rows;
mod scenes;
mod world;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The keys of a word: `a`, `Up`, `C-c`, `S-Right`, `A-3`; another word is typed.
pub(super) fn events(word: &str) -> Vec<KeyEvent> {
    let (modifiers, name) = match word.split_once('-') {
        Some(("C", name)) if !name.is_empty() => (KeyModifiers::CONTROL, name),
        Some(("S", name)) if !name.is_empty() => (KeyModifiers::SHIFT, name),
        Some(("A", name)) if !name.is_empty() => (KeyModifiers::ALT, name),
        _ => (KeyModifiers::NONE, word),
    };
    let code = match name {
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "Left" => KeyCode::Left,
        "Right" => KeyCode::Right,
        "PgUp" => KeyCode::PageUp,
        "PgDn" => KeyCode::PageDown,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "BackTab" => KeyCode::BackTab,
        "Back" => KeyCode::Backspace,
        "Del" => KeyCode::Delete,
        "Space" => KeyCode::Char(' '),
        "F1" => KeyCode::F(1),
        text => return text.chars().map(|c| KeyEvent::new(KeyCode::Char(c), modifiers)).collect(),
    };
    vec![KeyEvent::new(code, modifiers)]
}
