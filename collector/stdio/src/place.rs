//! Where a stream leads: the descriptor itself, past the locks and the buffer of the standard library, which a blocked writer holds.

#[cfg(unix)]
pub(crate) use unix::Place;
#[cfg(not(unix))]
pub(crate) use windows::Place;

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io::{self, Write as _};
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt as _;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    /// A descriptor that is written to.
    pub(crate) struct Place {
        file: File,
        /// It is a pipe: the kernel knows whether somebody can read it.
        is_pipe: bool,
    }

    impl Place {
        pub(crate) fn stdout() -> io::Result<Self> {
            io::stdout().as_fd().try_clone_to_owned().map(|fd| Self::of(fd.into()))
        }

        pub(crate) fn stderr() -> io::Result<Self> {
            io::stderr().as_fd().try_clone_to_owned().map(|fd| Self::of(fd.into()))
        }

        pub(crate) fn of(file: File) -> Self {
            let is_pipe = file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
            Self { file, is_pipe }
        }

        /// Writes all of it, also where the other end of a terminal or socket was set not to block.
        pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
            while !bytes.is_empty() {
                match self.file.write(bytes) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => bytes = &bytes[count..],
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for_room(),
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }

        pub(crate) fn has_lost_its_reader(&self) -> bool {
            // Linux reports POLLERR, others POLLHUP; neither needs to be asked for.
            let lost = PollFlags::POLLERR | PollFlags::POLLHUP;
            self.is_pipe && self.poll(PollFlags::empty(), PollTimeout::ZERO).intersects(lost)
        }

        fn wait_for_room(&self) {
            let _ = self.poll(PollFlags::POLLOUT, PollTimeout::NONE);
        }

        fn poll(&self, events: PollFlags, time: PollTimeout) -> PollFlags {
            let mut fds = [PollFd::new(self.file.as_fd(), events)];
            let _ = poll(&mut fds, time);
            fds[0].revents().unwrap_or(PollFlags::empty())
        }
    }
}

#[cfg(not(unix))]
mod windows {
    use std::io::{self, Write};

    /// A handle that is written to.
    pub(crate) struct Place(Box<dyn Write + Send>);

    impl Place {
        #[allow(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
        pub(crate) fn stdout() -> io::Result<Self> {
            Ok(Self(Box::new(io::stdout())))
        }

        #[allow(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
        pub(crate) fn stderr() -> io::Result<Self> {
            Ok(Self(Box::new(io::stderr())))
        }

        pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.write_all(bytes)?;
            self.0.flush()
        }

        /// A write says so.
        pub(crate) fn has_lost_its_reader(&self) -> bool {
            false
        }
    }
}
