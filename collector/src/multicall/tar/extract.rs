//! Unpacks an archive below one folder, and never outside of it.

use std::io::{self, Read, Write};
use std::path::Path;

use tar::Archive;

use super::Outcome;
use super::words::Words;

/// Unpacks what `input` holds into the words' folder. A member that cannot be made is reported, the rest continues.
///
/// # Errors
/// When `input` is no archive, or ends in the middle.
pub(super) fn extract(words: &Words, input: impl Read) -> io::Result<Outcome> {
    let dir = if words.dir.as_os_str().is_empty() { Path::new(".") } else { &words.dir };
    if !dir.is_dir() {
        return Err(io::Error::other(format!("{}: Cannot open: it is not a folder", dir.display())));
    }
    let mut archive = Archive::new(input);
    archive.set_preserve_mtime(!words.touch);
    archive.set_preserve_permissions(words.same_permissions);
    archive.set_overwrite(true);
    let mut outcome = Outcome::default();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        if words.verbose {
            let _ = writeln!(io::stderr(), "{}", name.display());
        }
        match entry.unpack_in(dir) {
            Ok(true) => {}
            Ok(false) => outcome.fail(&format!("{}: Member name leads out of the folder: skipped", name.display())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(error),
            Err(error) => outcome.fail(&format!("{}: Cannot unpack: {}", name.display(), reason(&error))),
        }
    }
    // An archive ends before its input does: tar fills its last record up, and who writes into a pipe that is closed
    // before that dies of SIGPIPE.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(outcome)
}

/// Names the members.
///
/// # Errors
/// When `input` is no archive, or `out` takes no more.
pub(super) fn list(input: impl Read, mut out: impl Write) -> io::Result<Outcome> {
    for entry in Archive::new(input).entries()? {
        writeln!(out, "{}", entry?.path()?.display())?;
    }
    Ok(Outcome::default())
}

/// The innermost error: the outer ones repeat the path.
fn reason(error: &io::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
