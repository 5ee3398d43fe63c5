//! `state`, `renew`, `finish` and `keylog`: what the plugin starts in the pod next to the capture. All but the last print the state of the
//! capture as JSON.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;

use super::{Control, Phase};
use crate::packets::keylog;

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Prints the state of the capture and changes nothing: a capture in the background has no lease that could be renewed.
#[derive(Debug, Parser)]
#[command(name = "state")]
pub struct State {
    /// Folder of the files
    #[arg(long, default_value = "./output")]
    output_dir: PathBuf,
}

/// Reports that the session is still wanted.
#[derive(Debug, Parser)]
#[command(name = "renew")]
pub struct Renew {
    /// Folder of the files
    #[arg(long, default_value = "./output")]
    output_dir: PathBuf,
}

/// Ends the capture and waits until its files are finished.
#[derive(Debug, Parser)]
#[command(name = "finish")]
pub struct Finish {
    /// Folder of the files
    #[arg(long, default_value = "./output")]
    output_dir: PathBuf,
    /// How long to wait for the files
    #[arg(long, default_value = "10m", value_parser = crate::cli::duration)]
    timeout: Duration,
}

/// Hands secrets of TLS connections from standard input to the capture, whole lines of a key log.
#[derive(Debug, Parser)]
#[command(name = "keylog")]
pub struct Keylog {
    /// Folder of the files
    #[arg(long, default_value = "./output")]
    output_dir: PathBuf,
}

impl Keylog {
    /// Does it.
    ///
    /// # Errors
    /// When the folder is not writable, or there are too many.
    pub fn run(&self) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        io::stdin()
            .lock()
            .take(keylog::MOST_BYTES as u64 + 1)
            .read_to_end(&mut lines)
            .context("cannot read secrets")?;
        let control = Control::of(&self.output_dir);
        let added = control.add_secrets(&lines, keylog::MOST_BYTES as u64);
        added.with_context(|| format!("cannot keep secrets in {}", self.output_dir.display()))
    }
}

impl State {
    /// Does it.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn run(&self) -> anyhow::Result<()> {
        print(&Control::of(&self.output_dir))
    }
}

impl Renew {
    /// Does it.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn run(&self) -> anyhow::Result<()> {
        let control = Control::of(&self.output_dir);
        control.renew().with_context(|| format!("cannot renew the lease in {}", self.output_dir.display()))?;
        print(&control)
    }
}

impl Finish {
    /// Does it.
    ///
    /// # Errors
    /// When the folder is not writable, or the files take too long.
    pub fn run(&self) -> anyhow::Result<()> {
        let (control, start) = (Control::of(&self.output_dir), Instant::now());
        if control.status()?.state != Phase::Capturing {
            return print(&control);
        }
        control.ask_to_finish().with_context(|| format!("cannot end the capture in {}", self.output_dir.display()))?;
        while control.status()?.state == Phase::Capturing {
            if start.elapsed() > self.timeout {
                bail!(
                    "the capture still writes its files after {} s: ask again, or give it a longer --timeout",
                    start.elapsed().as_secs()
                );
            }
            sleep(LOOK);
        }
        print(&control)
    }
}

fn print(control: &Control) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &control.status()?)?;
    Ok(writeln!(out)?)
}
