//! What a file is at this moment: device, inode, length and content, as a hold names it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use holdpoint_approval_web::plan::{Content, Digest, FileId, FileRef};
use sha2::{Digest as _, Sha256};

use crate::files;

/// Which directory `path` leads to now.
pub(crate) fn of_directory(path: &Path) -> io::Result<FileId> {
    let found = fs::metadata(path)?;
    Ok(FileId { dev: found.dev(), ino: found.ino() })
}

/// The file that `path` leads to now. The content is read through one descriptor, whose identity is what is named.
pub(crate) fn of_file(path: &Path) -> io::Result<FileRef> {
    let file = files::open_regular(path)?;
    let found = file.metadata()?;
    let mut hasher = Sha256::new();
    let len = io::copy(&mut (&file).take(u64::MAX), &mut HashWriter(&mut hasher))?;
    let sha256 = Digest::from(<[u8; 32]>::from(hasher.finalize()));
    Ok(FileRef { path: path.into(), dev: found.dev(), ino: found.ino(), sha256, len })
}

/// What a regular file holds from `offset` on, when that is at most `limit` bytes, the first `head` of them as they are. The
/// file's own offset does not move.
pub(crate) fn rest_of(file: &File, offset: u64, limit: u64, head: usize) -> io::Result<Option<Content>> {
    let (mut hasher, mut first, mut len) = (Sha256::new(), Vec::new(), 0);
    let mut block = vec![0; 64 << 10];
    loop {
        let read = match file.read_at(&mut block, offset + len)? {
            0 => break,
            length => &block[..length],
        };
        len += read.len() as u64;
        if len > limit {
            return Ok(None);
        }
        first.extend(&read[..read.len().min(head - first.len())]);
        hasher.update(read);
    }
    Ok(Some(Content { len, sha256: Digest::from(<[u8; 32]>::from(hasher.finalize())), head: first.as_slice().into() }))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{of_file, rest_of};
    use holdpoint_approval_web::plan::Digest;
    use std::io::{Seek, SeekFrom};

    #[test]
    fn a_file_is_named_by_its_content_and_its_inode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "one").unwrap();
        let before = of_file(&path).unwrap();
        assert_eq!((before.len, before.sha256), (3, Digest::of(b"one")));
        std::fs::write(&path, "two").unwrap();
        let after = of_file(&path).unwrap();
        assert_eq!(before.ino, after.ino);
        assert_ne!(before.sha256, after.sha256);
        assert!(of_file(dir.path()).is_err());
    }

    #[test]
    fn looking_ahead_does_not_move_the_offset() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"0123456789").unwrap();
        file.seek(SeekFrom::Start(4)).unwrap();
        let rest = rest_of(&file, 4, 6, 3).unwrap().unwrap();
        assert_eq!((rest.len, rest.sha256, rest.head.as_bytes()), (6, Digest::of(b"456789"), &b"456"[..]));
        assert_eq!(rest_of(&file, 4, 5, 3).unwrap(), None);
        assert_eq!(file.stream_position().unwrap(), 4);
    }
}
