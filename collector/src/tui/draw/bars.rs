//! Bars, sparklines and braille graphs, as text.

/// A bar of `width` characters of which this share is full.
pub(super) fn bar(share: f64, width: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

/// One character for each of the last `width` values.
pub(super) fn sparkline(values: &[u64], width: usize) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = &values[values.len().saturating_sub(width)..];
    let most = last.iter().copied().max().unwrap_or(0);
    let step = |value: u64| match (u128::from(value) * 7).checked_div(u128::from(most)) {
        Some(step) if value > 0 => STEPS[step as usize],
        _ => ' ',
    };
    let text: String = last.iter().map(|value| step(*value)).collect();
    format!("{}{text}", " ".repeat(width - last.len()))
}

/// A graph in braille, the newest value at the right: two values and four steps a character.
pub(super) struct Braille {
    width: usize,
    height: usize,
    cells: Vec<u8>,
}

/// Dots of a braille character, from the lowest up, left and right (Unicode, U+2800).
const DOTS: [[u8; 4]; 2] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];

impl Braille {
    /// `filled`: from the bottom up to the value, else only the value. `most` is the value at the top.
    pub(super) fn new(values: &[u64], most: u64, width: usize, height: usize, filled: bool) -> Self {
        let mut graph = Self { width, height, cells: vec![0; width * height] };
        let last = &values[values.len().saturating_sub(width * 2)..];
        for (index, value) in last.iter().enumerate().filter(|(_, value)| **value > 0) {
            let x = width * 2 - last.len() + index;
            let dots = height * 4;
            let top = (u128::from(*value) * dots as u128).div_ceil(u128::from(most.max(1))) as usize;
            let top = top.clamp(1, dots) - 1;
            for y in (if filled { 0 } else { top })..=top {
                graph.dot(x, y);
            }
        }
        graph
    }

    fn dot(&mut self, x: usize, y: usize) {
        let row = self.height - 1 - y / 4;
        self.cells[row * self.width + x / 2] |= DOTS[x % 2][y % 4];
    }

    /// The character at a place, the top left one first; `None` where there is no dot.
    pub(super) fn at(&self, x: usize, y: usize) -> Option<char> {
        let dots = self.cells[y * self.width + x];
        char::from_u32(0x2800 + u32::from(dots)).filter(|_| dots != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(graph: &Braille) -> Vec<String> {
        let row = |y| (0..graph.width).map(|x| graph.at(x, y).unwrap_or(' ')).collect();
        (0..graph.height).map(row).collect()
    }

    #[test]
    fn bars_fill_up() {
        assert_eq!((bar(0.0, 4), bar(0.5, 4), bar(9.0, 4)), ("░░░░".into(), "██░░".into(), "████".into()));
    }

    #[test]
    fn sparklines_show_the_last_values() {
        assert_eq!(sparkline(&[9, 0, 7, 1], 3), " █▂");
        assert_eq!(sparkline(&[u64::MAX], 3), "  █");
        assert_eq!(sparkline(&[0, 0], 2), "  ");
    }

    #[test]
    fn graphs_grow_from_the_bottom_at_the_right() {
        let graph = Braille::new(&[8, 4, 1], 8, 2, 2, true);
        assert_eq!(text(&graph), ["⢸ ", "⢸⣇"]);
    }
}
