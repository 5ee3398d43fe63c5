//! Screens one after another as an animated SVG picture: style sheets only, no script, so that it moves in an `<img>` too.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::svg::{Palette, draw_caption, draw_row, head};

/// What is shown for some seconds.
struct Frame {
    seconds: f32,
    rows: Vec<String>,
}

/// Frames that are shown one after another, and then from the beginning.
pub struct Animation {
    size: (u16, u16),
    palette: &'static Palette,
    frames: Vec<Frame>,
}

impl Animation {
    /// Without any frame.
    pub fn new(size: (u16, u16), palette: &'static Palette) -> Self {
        Self { size: (size.1, size.0), palette, frames: Vec::new() }
    }

    /// Shows this screen and, below it, a line that explains it.
    pub fn show(&mut self, screen: &vt100::Screen, caption: &str, seconds: f32) {
        let mut rows: Vec<String> = (0..self.size.0).map(|row| draw_row(screen, row, self.palette)).collect();
        rows.push(draw_caption(caption, self.size.0 + 1, self.palette));
        self.frames.push(Frame { seconds, rows });
    }

    /// How many frames it has.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// The picture. Without animation (a viewer that has none, a reader who wants none) it is the frame `still`.
    pub fn draw(&self, still: usize) -> String {
        let mut svg = head(self.size, 2, self.palette);
        // A row that several frames share is drawn once: what moves is only which group is seen.
        let mut groups: BTreeMap<Vec<bool>, String> = BTreeMap::new();
        for (row, frames) in self.rows() {
            groups.entry(frames).or_default().push_str(row);
        }
        svg.push_str("<style>\n");
        for (number, frames) in groups.keys().enumerate() {
            svg.push_str(&self.style(number, frames, still));
        }
        svg.push_str("@media (prefers-reduced-motion: reduce) { g { animation: none !important } }\n</style>\n");
        for (number, rows) in groups.values().enumerate() {
            let _ = writeln!(svg, "<g class=\"f{number}\">\n{rows}</g>");
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// Each row, with the frames that have it.
    fn rows(&self) -> BTreeMap<&str, Vec<bool>> {
        let mut rows = BTreeMap::new();
        for (at, frame) in self.frames.iter().enumerate() {
            for row in frame.rows.iter().filter(|row| !row.is_empty()) {
                rows.entry(row.as_str()).or_insert_with(|| vec![false; self.frames.len()])[at] = true;
            }
        }
        rows
    }

    /// When a group is seen.
    fn style(&self, number: usize, frames: &[bool], still: usize) -> String {
        let visibility = |seen: bool| if seen { "visible" } else { "hidden" };
        let total: f32 = self.frames.iter().map(|frame| frame.seconds).sum();
        let (mut steps, mut at, mut last) = (String::new(), 0.0, None);
        for (frame, seen) in self.frames.iter().zip(frames) {
            if last != Some(*seen) {
                let _ = write!(steps, "{:.2}% {{ visibility: {} }} ", at / total * 100.0, visibility(*seen));
            }
            (last, at) = (Some(*seen), at + frame.seconds);
        }
        let seen = visibility(frames[still]);
        format!(
            ".f{number} {{ visibility: {seen}; animation: k{number} {total:.1}s step-end infinite }}\n\
             @keyframes k{number} {{ {steps}}}\n"
        )
    }
}
