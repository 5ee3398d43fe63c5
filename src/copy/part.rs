//! A file that is on its way: what of a compressed stream is good, and whether all of it is there.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

/// Read at once.
const BLOCK: usize = 1 << 16;

/// Where a file is kept until it is whole: hidden, in the same folder, so that it can be renamed.
pub(super) fn name(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.part"))
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
            return Ok((came, Some("more came than there is".to_owned())));
        }
    }
}

/// The file has this size and this digest, in hexadecimal.
pub(super) fn is_whole(path: &Path, size: u64, sha256: &str) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != size {
        return Ok(false);
    }
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

/// The digest of these bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(Sha256::new().chain_update(bytes))
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
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
        assert!(is_whole(&path, 3, digest).unwrap());
        assert!(!is_whole(&path, 4, digest).unwrap() && !is_whole(&path, 3, "00").unwrap());
        assert_eq!(name(&path), dir.path().join(".x.part"));
    }
}
