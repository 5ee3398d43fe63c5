//! Every way the program can fail, and the exit code of each: 2 when the words were wrong, 1 for the rest.

use std::path::PathBuf;

use crate::{background, cleanup, cli, local, options, session};

/// The capture has left no database.
#[derive(Debug, thiserror::Error)]
#[error("the capture has left no database in {}, so that there is nothing to report on", .0.display())]
pub struct NoDatabase(pub(crate) PathBuf);

/// Why the program ends without success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The words make no command line.
    #[error(transparent)]
    Words(#[from] cli::WordsError),
    /// A value is not allowed.
    #[error(transparent)]
    Option(#[from] options::OptionError),
    /// The local capture failed.
    #[error(transparent)]
    Local(#[from] local::LocalError),
    /// The capture in a cluster failed.
    #[error(transparent)]
    Session(#[from] session::SessionError),
    /// A capture without a result.
    #[error(transparent)]
    Why(#[from] NoDatabase),
    /// A command about a capture failed.
    #[error(transparent)]
    Background(#[from] background::BackgroundError),
    /// The cluster is not clean.
    #[error(transparent)]
    Cleanup(#[from] cleanup::CommandError),
    /// The output could not be written.
    #[error("cannot write standard output: {0}")]
    Output(#[source] std::io::Error),
}

impl Error {
    /// The exit code: 2 for usage, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Words(_) | Self::Option(_) => 2,
            Self::Local(error) => error.exit_code(),
            Self::Session(error) => error.exit_code(),
            Self::Why(_) | Self::Background(_) | Self::Cleanup(_) | Self::Output(_) => 1,
        }
    }

    /// The line to print; `None` when the program that failed has printed it on the same terminal already.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        match self {
            // Scripts look for these words at the start of the line.
            Self::Words(cli::WordsError::UnknownCommand(_)) => Some(self.to_string()),
            Self::Local(error) if error.is_said() => None,
            _ => Some(format!("error: {self}")),
        }
    }
}
