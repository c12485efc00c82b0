//! A file whose bytes go to the disk while more are written.
//!
//! One sync at the end of a large file keeps its writer waiting for everything that the kernel has
//! held back; here a thread syncs what is there from time to time, so that little is left.

use std::fs::File;
use std::io::{Result, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A sync begins after so many bytes: some tens of milliseconds of a common disk.
const SYNC_BYTES: u64 = 8 << 20;

/// The file, and the sync that is under way.
pub(super) struct EagerFile {
    file: Arc<File>,
    /// Written since the last sync began.
    unsynced_bytes: u64,
    /// A failed sync is told once, to whoever joins it: none is left alone.
    syncing: Option<JoinHandle<Result<()>>>,
}

impl EagerFile {
    pub(super) fn new(file: File) -> Self {
        Self { file: Arc::new(file), unsynced_bytes: 0, syncing: None }
    }

    /// Returns once everything that was written is on the disk.
    ///
    /// # Errors
    /// That of any sync since the file was made.
    pub(super) fn sync(mut self) -> Result<()> {
        self.join()?;
        self.file.sync_all()
    }

    fn join(&mut self) -> Result<()> {
        let Some(syncing) = self.syncing.take() else { return Ok(()) };
        syncing.join().unwrap_or_else(|_| Err(std::io::Error::other("the sync ended in a panic")))
    }

    fn begin_sync(&mut self) -> Result<()> {
        if self.syncing.as_ref().is_some_and(|syncing| !syncing.is_finished()) {
            return Ok(());
        }
        self.join()?;
        let file = Arc::clone(&self.file);
        let begun = std::thread::Builder::new().name("sync".into()).spawn(move || file.sync_data());
        // Without another thread the sync at the end does it all.
        self.syncing = begun.ok();
        self.unsynced_bytes = 0;
        Ok(())
    }
}

impl Write for EagerFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let written = (&*self.file).write(bytes)?;
        self.unsynced_bytes += written as u64;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.begin_sync()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_was_written_is_there_after_the_sync() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = EagerFile::new(File::create(&path).unwrap());
        let piece: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
        let pieces = 3 * SYNC_BYTES / piece.len() as u64 + 1;
        for _ in 0..pieces {
            file.write_all(&piece).unwrap();
        }
        file.sync().unwrap();
        let written = std::fs::read(&path).unwrap();
        assert_eq!(written.len() as u64, pieces * piece.len() as u64);
        assert!(written.chunks(piece.len()).all(|chunk| chunk == piece));
    }

    #[test]
    fn a_sync_that_fails_on_the_way_is_told() {
        // Nothing syncs to a pipe.
        let (_reader, writer) = std::io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let mut file = EagerFile::new(file);
        file.begin_sync().unwrap();
        while file.syncing.as_ref().is_some_and(|syncing| !syncing.is_finished()) {
            std::thread::yield_now();
        }
        // The next sync isn't begun over it, and the last one would say nothing of it.
        assert!(file.begin_sync().is_err());
        let told = file.begin_sync().and_then(|()| file.sync());
        assert!(told.is_err());
    }
}
