//! A file that is there when it is complete, and not before.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use netobserv_contract::files;

/// A file that is written under another name. Dropped without [`Output::keep`], it is removed.
pub(super) struct Output {
    path: PathBuf,
    partial: PathBuf,
}

impl Output {
    /// For a file at `path`, which is none of `inputs`.
    ///
    /// # Errors
    /// When it is one of them, or a directory.
    pub(super) fn at(path: &Path, inputs: &[PathBuf]) -> anyhow::Result<Self> {
        let real = |path: &Path| path.canonicalize().ok();
        if inputs.iter().any(|input| real(path).is_some_and(|one| Some(one) == real(input))) {
            bail!("{} is the file to read: choose another one with -o", path.display());
        }
        if path.is_dir() {
            bail!("{} is a directory: name a file in it", path.display());
        }
        let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        partial.push(".part");
        Ok(Self { path: path.to_owned(), partial: path.with_file_name(partial) })
    }

    /// Where it is to be written.
    pub(super) fn partial(&self) -> &Path {
        &self.partial
    }

    /// The empty file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn create(&self) -> anyhow::Result<File> {
        match std::fs::remove_file(&self.partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => files::create(&self.partial),
        }
        .with_context(|| self.cannot())
    }

    /// What precedes the reason when it cannot be written.
    pub(super) fn cannot(&self) -> String {
        format!("cannot write {}", self.path.display())
    }

    /// It is complete.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        std::fs::rename(&self.partial, &self.path).with_context(|| self.cannot())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = std::fs::remove_file(&self.partial);
    }
}
