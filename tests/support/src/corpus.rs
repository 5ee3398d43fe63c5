//! Feeds the places that read foreign bytes with the inputs that `fuzz/corpus` keeps, and with some that differ a little: what a
//! test can do of fuzzing without instrumentation.

use std::fs;
use std::path::{Path, PathBuf};

/// Inputs that are made of each that is kept.
const CHANGED: u32 = 100;

/// A place that reads bytes, by the name of its folder.
pub type Place = (&'static str, fn(&[u8]));

/// Feeds each place with its inputs.
///
/// # Panics
/// When a place does, with the input, and when one has no inputs.
pub fn feed(places: &[Place]) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, place) in places {
        let folder = corpus.join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut inputs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "no inputs in {}", folder.display());
        for path in inputs {
            let bytes = fs::read(&path).expect("an input");
            let mut random = Random(1);
            for number in 0..=CHANGED {
                let input = if number == 0 { bytes.clone() } else { changed(&bytes, &mut random) };
                let _told = Told(&path, &input);
                place(&input);
            }
        }
    }
}

/// Tells the input if it makes a place panic.
struct Told<'a>(&'a Path, &'a [u8]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with {}, as \"{}\"", self.0.display(), self.1.escape_ascii());
        }
    }
}

/// Cut, with other bytes, or with a part twice.
fn changed(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut input = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(input.len().max(1));
        match random.below(4) {
            0 => input.truncate(at),
            1 if !input.is_empty() => input[at] = random.below(256) as u8,
            2 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            _ => {
                let part = input[at.min(input.len())..].to_vec();
                input.extend(part);
            }
        }
    }
    input
}

/// Numbers that are the same in every run (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}
