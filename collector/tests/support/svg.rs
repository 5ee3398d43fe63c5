//! A terminal's screen as an SVG picture.

use std::fmt::Write as _;

/// Size of a character, and the room around the whole.
const CELL: (f32, f32) = (8.4, 18.0);
const EDGE: f32 = 14.0;
const FONT: f32 = 14.0;

/// Colours of a terminal, light or dark.
pub struct Palette {
    pub paper: &'static str,
    pub ink: &'static str,
    /// The eight colours of a terminal.
    pub colours: [&'static str; 8],
}

/// A dark terminal.
pub const DARK: Palette = Palette {
    paper: "#1b1f27",
    ink: "#d8dee9",
    colours: ["#3b4252", "#ff6b74", "#8fd98a", "#ebcb8b", "#81a1c1", "#d59ad8", "#7fd1e0", "#e5e9f0"],
};

/// A light terminal.
pub const LIGHT: Palette = Palette {
    paper: "#fbfbf8",
    ink: "#24292f",
    colours: ["#24292f", "#c4232f", "#1f7a34", "#8a6100", "#1f5fb0", "#8a3aa8", "#0b7285", "#57606a"],
};

/// Draws a screen.
pub fn draw(screen: &vt100::Screen, palette: &Palette) -> String {
    let mut svg = head(screen.size(), 0, palette);
    (0..screen.size().0).for_each(|row| svg.push_str(&draw_row(screen, row, palette)));
    svg.push_str("</svg>\n");
    svg
}

/// The beginning of a picture: as large as a screen of this size and some more rows.
pub(super) fn head((rows, columns): (u16, u16), more: u16, palette: &Palette) -> String {
    let (width, height) = (f32::from(columns) * CELL.0 + 2.0 * EDGE, f32::from(rows + more) * CELL.1 + 2.0 * EDGE);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"{FONT}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{}\"/>\n",
        palette.paper
    )
}

/// Draws a row where it is on the screen.
pub(super) fn draw_row(screen: &vt100::Screen, row: u16, palette: &Palette) -> String {
    let mut svg = String::new();
    runs(screen, row).iter().for_each(|run| run.draw(&mut svg, row, palette));
    svg
}

/// Draws a line of text at a row, which may lie below the screen.
pub(super) fn draw_caption(text: &str, row: u16, palette: &Palette) -> String {
    let mut svg = String::new();
    let look = Look { colour: vt100::Color::Idx(3), inverse: false, bold: true, dim: false };
    Run { at: 0, text: text.to_owned(), look }.draw(&mut svg, row, palette);
    svg
}

/// Characters of a row that look alike.
struct Run {
    at: u16,
    text: String,
    look: Look,
}

#[derive(Clone, Copy, PartialEq)]
struct Look {
    colour: vt100::Color,
    inverse: bool,
    bold: bool,
    dim: bool,
}

fn runs(screen: &vt100::Screen, row: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..screen.size().1 {
        let Some(cell) = screen.cell(row, column) else { continue };
        let look = Look { colour: cell.fgcolor(), inverse: cell.inverse(), bold: cell.bold(), dim: cell.dim() };
        let text = if cell.has_contents() { cell.contents() } else { " " };
        match runs.last_mut() {
            Some(run) if run.look == look => run.text.push_str(text),
            _ => runs.push(Run { at: column, text: text.to_owned(), look }),
        }
    }
    runs
}

impl Run {
    fn draw(&self, svg: &mut String, row: u16, palette: &Palette) {
        let (x, y) = (EDGE + f32::from(self.at) * CELL.0, EDGE + f32::from(row) * CELL.1);
        let width = self.text.chars().count() as f32 * CELL.0;
        let colour = match self.look.colour {
            vt100::Color::Idx(index) => palette.colours[usize::from(index) % 8],
            _ => palette.ink,
        };
        if self.look.inverse {
            let (w, h) = (width, CELL.1);
            let _ =
                writeln!(svg, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{colour}\"/>");
        }
        if self.text.trim().is_empty() {
            return;
        }
        let ink = if self.look.inverse { palette.paper } else { colour };
        let bold = if self.look.bold { " font-weight=\"bold\"" } else { "" };
        let dim = if self.look.dim { " opacity=\"0.55\"" } else { "" };
        let base = y + CELL.1 * 0.74;
        let text = self.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{base:.1}\" fill=\"{ink}\"{bold}{dim} textLength=\"{width:.1}\" xml:space=\"preserve\">{text}</text>"
        );
    }
}
