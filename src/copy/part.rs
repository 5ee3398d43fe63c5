//! A file that is on its way: what of a compressed stream is good, and whether all of it is there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};

use crate::digest::hexadecimal;

/// Read at once.
const BLOCK: usize = 1 << 16;
const ENDING: &str = ".part";

/// A file until it is whole: hidden, in the folder where it belongs, under a name that cannot be known before, locked and
/// readable by this user alone. It stays when it is dropped, for another try.
#[derive(Debug)]
pub(super) struct Part(NamedTempFile);

impl Part {
    /// What an earlier try has left of the file that belongs at `place`, else a new one.
    pub(super) fn open(place: &Path) -> io::Result<Self> {
        let (folder, name) = (place.parent().unwrap_or(Path::new("")), place.file_name().unwrap_or_default());
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let prefix = format!(".{}.", name.to_string_lossy());
        let is_part = |name: &str| name.starts_with(&prefix) && name.ends_with(ENDING);
        for entry in folder.read_dir()?.flatten() {
            if entry.file_name().to_str().is_some_and(is_part)
                && let Some(part) = Self::of_earlier_try(&entry.path())
            {
                return Ok(part);
            }
        }
        let mut options = tempfile::Builder::new();
        let part = options.prefix(&prefix).suffix(ENDING).append(true).disable_cleanup(true).tempfile_in(folder)?;
        #[cfg(unix)]
        part.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        // Where the file system knows no locks, two copies at the same moment have two parts anyway.
        let _ = part.as_file().try_lock();
        Ok(Self(part))
    }

    /// A file of this user that no other user can change, and that no other copy is filling.
    fn of_earlier_try(path: &Path) -> Option<Self> {
        let file = open_own(path).ok()?;
        file.try_lock().ok()?;
        let mut path = TempPath::try_from_path(path).ok()?;
        path.disable_cleanup(true);
        Some(Self(NamedTempFile::from_parts(file, path)))
    }

    /// The file, to write at its end.
    pub(super) fn file(&mut self) -> &mut File {
        self.0.as_file_mut()
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves what came for another try; if nothing did, nothing stays.
    pub(super) fn leave(self) {
        if self.0.as_file().metadata().is_ok_and(|found| found.len() == 0) {
            let _ = std::fs::remove_file(self.0.path());
        }
    }

    /// Gives the whole file the first of these names that nothing has.
    pub(super) fn finish(self, names: impl Iterator<Item = PathBuf>) -> io::Result<PathBuf> {
        let mut part = self.0;
        for name in names {
            match part.persist_noclobber(&name) {
                Ok(_) => return Ok(name),
                Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => part = taken.file,
                Err(failed) => return Err(failed.error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

#[cfg(unix)]
fn open_own(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};

    use nix::fcntl::OFlag;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).append(true).custom_flags(flags.bits()).open(path)?;
    let found = file.metadata()?;
    let own = found.is_file() && found.nlink() == 1 && found.uid() == nix::unistd::geteuid().as_raw();
    if !own || found.mode() & 0o022 != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

#[cfg(not(unix))]
fn open_own(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).open(path)
}

/// Appends what can be unpacked of a stream, at most `most` bytes. Gives their number, and what is wrong with the rest.
pub(super) fn append(mut stream: File, part: &mut File, most: u64) -> io::Result<(u64, Option<String>)> {
    stream.seek(SeekFrom::Start(0))?;
    let mut unpacked = MultiGzDecoder::new(io::BufReader::with_capacity(BLOCK, stream));
    let (mut block, mut came) = (vec![0; BLOCK], 0);
    loop {
        let read = match unpacked.read(&mut block) {
            Ok(0) => return Ok((came, None)),
            Ok(read) => read,
            Err(error) if came == 0 && error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok((0, Some("nothing came".to_owned())));
            }
            Err(error) => return Ok((came, Some(format!("the stream is damaged: {error}")))),
        };
        let good = usize::try_from(most - came).unwrap_or(usize::MAX).min(read);
        part.write_all(&block[..good])?;
        came += good as u64;
        if good < read {
            return Ok((came, Some("more data arrived than the file has".to_owned())));
        }
    }
}

/// The file has this size and this digest, in hexadecimal.
pub(super) fn is_whole(file: &mut File, size: u64, sha256: &str) -> io::Result<bool> {
    if file.metadata()?.len() != size {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(0))?;
    let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK]);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(&block[..read]);
    }
    Ok(hexadecimal(hash).eq_ignore_ascii_case(sha256))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    fn appended(stream: &[u8], most: u64) -> (u64, Option<String>, Vec<u8>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(stream).unwrap();
        let mut part = tempfile::tempfile().unwrap();
        let (came, damage) = append(file, &mut part, most).unwrap();
        let mut text = Vec::new();
        part.seek(SeekFrom::Start(0)).unwrap();
        part.read_to_end(&mut text).unwrap();
        (came, damage, text)
    }

    #[test]
    fn a_stream_cut_anywhere_gives_a_good_beginning() {
        let text: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(n) / 7) as u8).collect();
        let stream = packed(&text);
        for cut in (0..stream.len()).step_by(stream.len() / 20) {
            let (came, damage, good) = appended(&stream[..cut], text.len() as u64);
            assert_eq!(came, good.len() as u64);
            assert!(damage.is_some() && text.starts_with(&good), "cut at {cut}");
        }
        assert_eq!(appended(&stream, text.len() as u64), (text.len() as u64, None, text.clone()));
    }

    #[test]
    fn garbage_and_too_much_are_told() {
        assert!(appended(b"hello", 5).1.is_some());
        assert_eq!(appended(b"", 5).1.as_deref(), Some("nothing came"));
        let (came, damage, text) = appended(&packed(b"hello"), 2);
        assert_eq!((came, text.as_slice()), (2, &b"he"[..]));
        assert!(damage.is_some());
    }

    #[test]
    fn size_and_digest_must_both_fit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let whole = |size, digest| is_whole(&mut File::open(&path).unwrap(), size, digest).unwrap();
        assert!(whole(3, digest) && !whole(4, digest) && !whole(3, "00"));
    }

    #[test]
    fn a_part_is_taken_up_again_and_gets_a_free_name() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x.json");
        let mut part = Part::open(&place).unwrap();
        part.file().write_all(b"abc").unwrap();
        let (path, other) = (part.path().to_owned(), Part::open(&place).unwrap());
        assert_ne!(other.path(), path, "two copies at the same moment");
        drop(part);
        other.leave();
        std::fs::write(&place, "mine").unwrap();
        let again = Part::open(&place).unwrap();
        assert_eq!(again.path(), path);
        let names = ["x.json", "x-2.json"].map(|name| dir.path().join(name));
        assert_eq!(again.finish(names.clone().into_iter()).unwrap(), names[1]);
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(&place).as_str(), read(&names[1]).as_str()), ("mine", "abc"));
        assert_eq!(dir.path().read_dir().unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn what_others_have_put_there_is_left_alone() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (place, victim) = (dir.path().join("x.json"), dir.path().join("victim"));
        std::fs::write(&victim, "precious").unwrap();
        symlink(&victim, dir.path().join(".x.json.part")).unwrap();
        symlink(&victim, dir.path().join(".x.json.planted.part")).unwrap();
        std::fs::hard_link(&victim, dir.path().join(".x.json.linked.part")).unwrap();
        let open_to_all = dir.path().join(".x.json.open.part");
        std::fs::write(&open_to_all, "planted").unwrap();
        std::fs::set_permissions(&open_to_all, std::fs::Permissions::from_mode(0o666)).unwrap();
        let mut part = Part::open(&place).unwrap();
        part.file().write_all(b"abc").unwrap();
        assert_eq!(part.file().metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        part.finish(std::iter::once(place.clone())).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "abc");
    }
}
