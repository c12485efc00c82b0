//! Engines, a disk and a journal's file whose calls go wrong as [`Luck`] has it.

use crate::files::FileEngines;
use crate::luck::{Luck, Place, Side};
use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use transload_engine::{Disk, RealDisk};
use transload_model::engine::Engine;
use transload_store::layers::Fault;
use transload_store::{
    Capabilities, Driver, EngineStatus, Engines, Guarantees, Holder, Recognised, Result,
    SourceOptions, Store, TargetOptions,
};

/// What a failing disk says: EIO, ENOSPC, EROFS, EDQUOT.
const ERRNOS: [i32; 4] = [5, 28, 30, 122];

fn failure(pick: u64) -> io::Error {
    io::Error::from_raw_os_error(ERRNOS[usize::try_from(pick).unwrap() % ERRNOS.len()])
}

/// Engines whose stores fail and lie.
pub(crate) struct AilingEngines {
    inner: Arc<FileEngines>,
    drivers: Vec<AilingDriver>,
}

struct AilingDriver {
    inner: Arc<FileEngines>,
    engine: Engine,
    luck: Arc<Luck>,
}

impl AilingEngines {
    pub(crate) fn new(inner: &Arc<FileEngines>, luck: &Arc<Luck>) -> Self {
        let driver =
            |engine| AilingDriver { inner: Arc::clone(inner), engine, luck: Arc::clone(luck) };
        Self { inner: Arc::clone(inner), drivers: Engine::ALL.into_iter().map(driver).collect() }
    }
}

impl AilingDriver {
    fn ails(&self, store: Box<dyn Store>, place: Place) -> Box<dyn Store> {
        Box::new(Fault::new(store, Arc::new(Side(Arc::clone(&self.luck), place))))
    }
}

impl Driver for AilingDriver {
    fn engine(&self) -> Engine {
        self.engine
    }

    fn target_profile(&self) -> (Capabilities, Guarantees) {
        self.inner.driver(self.engine).unwrap().target_profile()
    }

    fn open_source(&self, path: &Path, options: &SourceOptions) -> Result<Box<dyn Store>> {
        let store = self.inner.driver(self.engine)?.open_source(path, options)?;
        Ok(self.ails(store, Place::Source))
    }

    fn create_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        let store = self.inner.driver(self.engine)?.create_target(path, options)?;
        Ok(self.ails(store, Place::Target))
    }

    fn reopen_target(&self, path: &Path, options: &TargetOptions) -> Result<Box<dyn Store>> {
        let store = self.inner.driver(self.engine)?.reopen_target(path, options)?;
        Ok(self.ails(store, Place::Target))
    }
}

impl Engines for AilingEngines {
    fn recognise(&self, path: &Path) -> Result<Recognised> {
        self.inner.recognise(path)
    }

    fn driver(&self, engine: Engine) -> Result<&dyn Driver> {
        self.inner.driver(engine)?;
        Ok(self.drivers.iter().find(|driver| driver.engine == engine).unwrap())
    }

    fn status(&self) -> Vec<EngineStatus> {
        self.inner.status()
    }

    fn holder(&self, path: &Path) -> Result<Option<Holder>> {
        self.inner.holder(path)
    }
}

/// The swap's disk: a call isn't made and fails, or is made and fails, or is made by half.
pub(crate) struct AilingDisk(pub(crate) Arc<Luck>);

impl AilingDisk {
    fn call(&self, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let Some(mut dice) = self.0.strikes(Place::Disk) else { return act() };
        if !self.0.only_fails() && dice.roll(2) == 0 {
            act()?;
        }
        Err(failure(dice.roll(4)))
    }
}

impl Disk for AilingDisk {
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.call(|| RealDisk.exchange(one, other))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| RealDisk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|| RealDisk.link(from, to))
    }

    fn write(&self, path: &Path, bytes: &[u8], like: Option<&Path>) -> io::Result<()> {
        let Some(mut dice) = self.0.strikes(Place::Disk) else {
            return RealDisk.write(path, bytes, like);
        };
        let kept = usize::try_from(dice.roll(bytes.len() as u64 + 2)).unwrap();
        match bytes.get(..kept) {
            Some(part) => fs::write(path, part)?,
            None if !self.0.only_fails() => RealDisk.write(path, bytes, like)?,
            None => {}
        }
        Err(failure(dice.roll(4)))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(|| RealDisk.remove_file(path))
    }

    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        self.call(|| RealDisk.create_dir(folder))
    }

    fn remove_dir(&self, folder: &Path) -> io::Result<()> {
        self.call(|| RealDisk.remove_dir(folder))
    }

    fn set_modified(&self, folder: &Path, modified: SystemTime) -> io::Result<()> {
        self.call(|| RealDisk.set_modified(folder, modified))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.call(|| RealDisk.sync_dir(folder))
    }
}

/// The file below the journal. It takes no lock: nobody else is there.
#[derive(Debug)]
pub(crate) struct AilingFile {
    file: FileBackend,
    luck: Arc<Luck>,
}

impl AilingFile {
    pub(crate) fn open(path: &Path, luck: &Arc<Luck>) -> std::result::Result<Self, DatabaseError> {
        let luck = Arc::clone(luck);
        if let Some(mut dice) = luck.strikes(Place::Journal) {
            return Err(failure(dice.roll(4)).into());
        }
        let mut options = fs::File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self { file: FileBackend::new(file)?, luck })
    }

    fn call<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(mut dice) = self.luck.strikes(Place::Journal) else { return act() };
        if !self.luck.only_fails() && dice.roll(2) == 0 {
            act()?;
        }
        Err(failure(dice.roll(4)))
    }
}

impl StorageBackend for AilingFile {
    fn len(&self) -> io::Result<u64> {
        self.call(|| self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let Some(mut dice) = self.luck.strikes(Place::Journal) else {
            return self.file.read(offset, out);
        };
        if !self.luck.only_fails() && dice.roll(2) == 0 {
            self.file.read(offset, out)?;
            let at = usize::try_from(dice.roll(out.len() as u64)).unwrap();
            out[at] ^= 1 << dice.roll(8);
            self.luck.lie(Place::Journal);
            return Ok(());
        }
        Err(failure(dice.roll(4)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(|| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(|| self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let Some(mut dice) = self.luck.strikes(Place::Journal) else {
            return self.file.write(offset, data);
        };
        if !self.luck.only_fails() {
            let kept = usize::try_from(dice.roll(data.len() as u64 + 1)).unwrap();
            self.file.write(offset, &data[..kept])?;
        }
        Err(failure(dice.roll(4)))
    }
}
