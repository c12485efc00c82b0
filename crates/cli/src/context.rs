//! What every command needs: engines, profiles, limits, a scratch folder, and where to print.

use crate::args::{Color, Common};
use crate::output::progress::Screen;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use transload_chains::cometbft::{CometBft, CometBftWithNode};
use transload_drivers::{BuiltIn, BuiltInConfig};
use transload_engine::{
    Cancel, Error, FileSwap, Journal, Kind, Limits, Migration, OpenHome, OpenOptions, Result,
    StepHook, TallyOptions, Watch, World, state_dir_of,
};
use transload_store::Profile;

/// The surroundings of one command.
pub(crate) struct Context {
    common: Common,
    engines: Arc<BuiltIn>,
    swapper: FileSwap,
    cometbft: Box<dyn Profile>,
    hook: StepHook,
    lost: Mutex<Option<std::io::Error>>,
}

impl Context {
    /// Surroundings as the options say. With a `node_binary` its build info decides what the
    /// node can open.
    ///
    /// # Errors
    /// [`Kind::Refused`] when the node's program has no build info.
    pub(crate) fn new(common: &Common, node_binary: Option<&Path>, hook: StepHook) -> Result<Self> {
        let gostore_helper = common.gostore.clone().or_else(helper_beside_this_program);
        let engines = Arc::new(BuiltIn::new(BuiltInConfig { gostore_helper }));
        let cometbft: Box<dyn Profile> = match node_binary {
            None => Box::new(CometBft),
            Some(path) => Box::new(CometBftWithNode::new(path).map_err(|error| {
                Error::store(Kind::Refused, "look into the node's program", error)
                    .next("give the program itself, not a script that starts it")
            })?),
        };
        Ok(Self {
            common: common.clone(),
            swapper: FileSwap::new(engines.clone()),
            engines,
            cometbft,
            hook,
            lost: Mutex::new(None),
        })
    }

    /// The engines of this build.
    pub(crate) fn engines(&self) -> &BuiltIn {
        &self.engines
    }

    /// The chain profiles, in the order in which they look at a path.
    pub(crate) fn profiles(&self) -> [&dyn Profile; 1] {
        [&*self.cometbft]
    }

    /// How many threads work.
    pub(crate) fn workers(&self) -> usize {
        self.common.workers.map_or_else(
            || std::thread::available_parallelism().map_or(1, usize::from),
            usize::from,
        )
    }

    /// Upper bound for caches and buffers.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.common.memory
    }

    /// How large a piece is; several are held at a time.
    fn chunk_bytes(&self) -> u64 {
        self.common.chunk.min(self.memory_bytes_max() / 8)
    }

    /// How databases are scanned.
    pub(crate) fn tally_options(&self) -> TallyOptions {
        TallyOptions { workers: self.workers(), chunk_bytes: self.chunk_bytes() }
    }

    /// The limits of a copy.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory_bytes_max: self.memory_bytes_max(),
            chunk_bytes: self.chunk_bytes(),
            workers: u32::try_from(self.workers()).unwrap_or(u32::MAX),
            batch_bytes_max: self.chunk_bytes().min(4 << 20),
            ..Limits::DEFAULT
        }
    }

    /// What a long operation is handed: a screen, and signals that ask it to stop cleanly.
    ///
    /// # Errors
    /// [`Kind::Refused`] when no signal handler can be set.
    pub(crate) fn watch(&self) -> Result<(Watch, Arc<Screen>)> {
        let cancel = Cancel::new();
        crate::signals::ask_on_signal(&cancel)?;
        let screen = Arc::new(Screen::new());
        let watch = Watch::new(screen.clone(), cancel, Arc::clone(&self.hook));
        Ok((watch, screen))
    }

    /// Opens the migration of a home and becomes its owner.
    ///
    /// # Errors
    /// Those of [`Migration::open`].
    pub(crate) fn migration<'a>(
        &'a self,
        home: &Path,
        profiles: &'a [&'a dyn Profile],
        watch: &Watch,
    ) -> Result<Migration<'a>> {
        let world = World { profiles, engines: &*self.engines, swapper: &self.swapper };
        Migration::open(home, world, watch)
    }

    /// As [`Context::migration`], of a home in which one has begun: nothing is made elsewhere.
    ///
    /// # Errors
    /// [`Kind::Refused`] when none has; those of [`Migration::open`].
    pub(crate) fn begun_migration<'a>(
        &'a self,
        home: &Path,
        profiles: &'a [&'a dyn Profile],
        watch: &Watch,
    ) -> Result<Migration<'a>> {
        let state_dir = state_dir_of(home);
        // Where attempts are there without a journal, opening says what is wrong.
        let has_any = Journal::path_in(&state_dir).exists() || state_dir.join("attempts").exists();
        if home.is_dir() && !has_any {
            return Err(Error::nothing_begun(&state_dir));
        }
        self.migration(home, profiles, watch)
    }

    /// Asks a person on the terminal; `yes` answers for them.
    ///
    /// # Errors
    /// One of kind `otherwise` when the answer isn't yes, or when there is nobody to ask.
    pub(crate) fn confirm(&self, question: &str, yes: bool, otherwise: Kind) -> Result<()> {
        if yes {
            return Ok(());
        }
        let declined = |why: &str| {
            Error::new(otherwise, "ask for a yes", why.to_owned())
                .next("call again with --yes, or answer yes on a terminal")
        };
        let mut input = std::io::stdin();
        if !input.is_terminal() {
            return Err(declined("there is no terminal to ask on"));
        }
        let _ = write!(std::io::stderr(), "{question} [yes/no] ");
        let mut answer = String::new();
        // A line of yes or no is short; the rest of a longer one doesn't matter.
        let read =
            std::io::BufRead::read_line(&mut std::io::BufReader::new(&mut input), &mut answer);
        match read {
            Ok(_) if answer.trim() == "yes" => Ok(()),
            _ => Err(declined("the answer was not yes")),
        }
    }

    /// Whether to print JSON.
    pub(crate) fn json(&self) -> bool {
        self.common.json
    }

    /// Whether standard error takes colours.
    pub(crate) fn colour(&self) -> bool {
        match self.common.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stderr().is_terminal(),
        }
    }

    /// A folder that goes away with the command: in `--scratch`, else in the `.transload` of the
    /// home at `path`, if there is one or if the system's folder is on another volume, else the
    /// system's.
    ///
    /// # Errors
    /// [`Kind::Refused`] when it can't be made.
    pub(crate) fn scratch(&self, path: &Path) -> Result<tempfile::TempDir> {
        if let Some(dir) = self.named_scratch()? {
            return Ok(dir);
        }
        let system = std::env::temp_dir();
        // A home that may not be written to is read from elsewhere.
        match scratch_in_home(path, &system).and_then(|dir| make_scratch(&dir).ok()) {
            Some(dir) => Ok(dir),
            None => make_scratch(&system),
        }
    }

    /// A folder that goes away with the command in `--scratch`, where that is given.
    ///
    /// # Errors
    /// [`Kind::Refused`] when it can't be made.
    pub(crate) fn named_scratch(&self) -> Result<Option<tempfile::TempDir>> {
        self.common.scratch.as_deref().map(make_scratch).transpose()
    }

    /// Opens the home or database at `path`.
    ///
    /// # Errors
    /// Those of [`OpenHome::open`].
    pub(crate) fn open(
        &self,
        path: &Path,
        space: Option<&str>,
        scratch: &Path,
    ) -> Result<OpenHome<'_>> {
        let options = OpenOptions {
            scratch_dir: scratch.to_owned(),
            memory_bytes_max: self.memory_bytes_max(),
            space: space.map(str::to_owned),
        };
        OpenHome::open(path, &self.profiles(), &*self.engines, &options)
    }

    /// Prints a document, or `text` without `--json`.
    pub(crate) fn print(&self, document: &impl serde::Serialize, text: impl FnOnce() -> String) {
        if self.json() {
            self.print_json(document);
        } else {
            self.write(text().as_bytes());
        }
    }

    /// Writes to standard output. A reader that went away (`| head`) is no failure of ours.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let mut output = std::io::stdout().lock();
        match output.write_all(bytes).and_then(|()| output.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
                lost.get_or_insert(error);
            }
            _ => {}
        }
    }

    /// Why standard output, or a part of it, couldn't be written.
    pub(crate) fn lost(&self) -> Option<std::io::Error> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Prints a JSON document.
    pub(crate) fn print_json(&self, document: &impl serde::Serialize) {
        if let Ok(mut json) = serde_json::to_vec_pretty(document) {
            json.push(b'\n');
            self.write(&json);
        }
    }
}

fn helper_beside_this_program() -> Option<PathBuf> {
    let helper = std::env::current_exe().ok()?.with_file_name("transload-gostore");
    helper.is_file().then_some(helper)
}

fn make_scratch(dir: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("transload-").tempdir_in(dir).map_err(|error| {
        Error::new(Kind::Refused, "make a scratch folder", error.to_string())
            .next("give a folder that can be written with --scratch DIR")
    })
}

/// A running node's files are linked, which takes a folder on their own volume.
fn scratch_in_home(home: &Path, system: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let data = std::fs::metadata(home.join("data")).ok()?;
    let own = state_dir_of(home);
    let elsewhere = std::fs::metadata(system).is_ok_and(|system| system.dev() != data.dev());
    if elsewhere && !own.exists() {
        std::fs::create_dir(&own).ok()?;
    }
    own.is_dir().then_some(own)
}
