//! The words of a tar command line: bundled letters with or without a dash, and the few long options that callers use.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Write an archive to standard output.
    Create,
    /// Read one from standard input.
    Extract,
    /// Name the members of one from standard input.
    List,
}

/// A command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// What to do.
    pub(super) action: Action,
    /// Folder that paths start from.
    pub(super) dir: PathBuf,
    /// Files and folders to pack.
    pub(super) paths: Vec<PathBuf>,
    /// Follow symbolic links when packing.
    pub(super) follow: bool,
    /// Name each member on standard error.
    pub(super) verbose: bool,
    /// Give files the time of now.
    pub(super) touch: bool,
    /// Give files exactly the archive's permissions, whatever the umask.
    pub(super) same_permissions: bool,
}

#[derive(Default)]
struct Reading {
    action: Option<Action>,
    archive: Option<OsString>,
    dir: PathBuf,
    paths: Vec<PathBuf>,
    follow: bool,
    verbose: bool,
    touch: bool,
    same_permissions: bool,
}

impl Words {
    /// Reads the words behind `tar`.
    pub(super) fn read(words: Vec<OsString>) -> Result<Self, String> {
        let mut words = VecDeque::from(words);
        let mut reading = Reading::default();
        // The traditional form: the first word needs no dash.
        if let Some(first) = words.front()
            && !first.as_bytes().starts_with(b"-")
        {
            let letters = words.pop_front().unwrap_or_default();
            reading.letters(letters.as_bytes(), &mut words)?;
        }
        let mut only_paths = false;
        while let Some(word) = words.pop_front() {
            match word.as_bytes() {
                _ if only_paths => reading.paths.push(word.into()),
                b"--" => only_paths = true,
                [b'-', b'-', long @ ..] => reading.long(&String::from_utf8_lossy(long), &mut words)?,
                [b'-', letters @ ..] if !letters.is_empty() => reading.letters(letters, &mut words)?,
                _ => reading.paths.push(word.into()),
            }
        }
        reading.finish()
    }
}

impl Reading {
    fn letters(&mut self, letters: &[u8], words: &mut VecDeque<OsString>) -> Result<(), String> {
        for letter in letters {
            match letter {
                b'c' => self.act(Action::Create)?,
                b'x' => self.act(Action::Extract)?,
                b't' => self.act(Action::List)?,
                b'f' => self.archive = Some(value("f", words)?),
                b'C' => self.enter(value("C", words)?),
                b'b' => drop(value("b", words)?),
                b'h' => self.follow = true,
                b'v' => self.verbose = true,
                b'm' => self.touch = true,
                b'p' => self.same_permissions = true,
                // The owner of what is unpacked is always the user who unpacks.
                b'o' => {}
                other => return Err(format!("invalid option -- '{}'", char::from(*other))),
            }
        }
        Ok(())
    }

    fn long(&mut self, option: &str, words: &mut VecDeque<OsString>) -> Result<(), String> {
        let (name, given) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let mut value = || given.map_or_else(|| value(name, words), |given| Ok(given.into()));
        match name {
            "create" => self.act(Action::Create)?,
            "extract" | "get" => self.act(Action::Extract)?,
            "list" => self.act(Action::List)?,
            "file" => self.archive = Some(value()?),
            "directory" => {
                let dir = value()?;
                self.enter(dir);
            }
            "dereference" => self.follow = true,
            "verbose" => self.verbose = true,
            "touch" => self.touch = true,
            "same-permissions" | "preserve-permissions" => self.same_permissions = true,
            "no-same-permissions" => self.same_permissions = false,
            "no-same-owner" | "numeric-owner" => {}
            other => return Err(format!("unrecognized option '--{other}'")),
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        if self.action.replace(action).is_some_and(|before| before != action) {
            return Err("You may not specify more than one '-ctx' option".into());
        }
        Ok(())
    }

    /// A second folder counts from the first.
    fn enter(&mut self, dir: OsString) {
        self.dir.push(dir);
    }

    fn finish(self) -> Result<Words, String> {
        let action = self.action.ok_or("You must specify one of the '-ctx' options")?;
        if self.archive.is_some_and(|archive| archive != "-") {
            return Err("only standard output and standard input can be the archive: use f -".into());
        }
        if action == Action::Create && self.paths.is_empty() {
            return Err("Cowardly refusing to create an empty archive".into());
        }
        if action != Action::Create && !self.paths.is_empty() {
            return Err("single members cannot be chosen: the whole archive is taken".into());
        }
        let Self { dir, paths, follow, verbose, touch, same_permissions, .. } = self;
        Ok(Words { action, dir, paths, follow, verbose, touch, same_permissions })
    }
}

fn value(option: &str, words: &mut VecDeque<OsString>) -> Result<OsString, String> {
    words.pop_front().ok_or_else(|| format!("option requires an argument -- '{option}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Words, String> {
        Words::read(line.split_whitespace().map(Into::into).collect())
    }

    #[test]
    fn the_calls_of_oc_are_understood() {
        let words = read("cf - /output/flow").unwrap();
        assert_eq!((words.action, words.paths), (Action::Create, vec!["/output/flow".into()]));
        let words = read("--no-same-permissions --no-same-owner -xmf - -C /tmp/in").unwrap();
        assert_eq!((words.action, words.dir, words.touch), (Action::Extract, "/tmp/in".into(), true));
        let words = read("-C /output -c .").unwrap();
        assert_eq!((words.dir, words.paths), ("/output".into(), vec![".".into()]));
        let words = read("-C /output -ox").unwrap();
        assert_eq!((words.action, words.touch), (Action::Extract, false));
        assert_eq!(read("cfC - /a -- -b").unwrap().paths, [PathBuf::from("-b")]);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for wrong in ["", "cf", "cf - ", "xcf - a", "zcf - a", "cf a.tar b", "xf - one", "cf - --exclude=a b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
