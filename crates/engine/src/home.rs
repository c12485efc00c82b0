//! Opens a node home, or a single database, for reading: every engine recognised from its files
//! before anything opens it, nothing below the source changed.

use crate::error::{Error, Kind, Result};
use crate::opening::{OpenedStore, open_all, refused_or_damaged, unreadable};
use crate::pacing::Pacing;
use crate::tally::{DatabaseTally, TallyOptions, tally};
use crate::watch::Watch;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use transload_model::commitment::{Dataset, TableCommitment};
use transload_model::layout::{Layout, RawLayout};
use transload_model::record::TableName;
use transload_model::report::Verdict;
use transload_observe::{Event, Stage};
use transload_store::{
    AppState, ChainFacts, Database, DatabaseTrim, Engines, GoneEntries, Holder, Home, HomeView,
    Opener, Profile, Recognised, Reform, Snapshot, Store, VerifyOptions,
};

/// How to open.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// An existing folder; each database gets a folder of its own in it.
    pub scratch_dir: PathBuf,
    /// Upper bound for all caches and buffers of all drivers together.
    pub memory_bytes_max: u64,
    /// The keyspace to read of a single database (column family, named database, table).
    pub space: Option<String>,
}

/// One opened database.
pub struct OpenDatabase {
    /// What the profile knows of it.
    pub database: Database,
    /// What its files say.
    pub recognised: Recognised,
    /// How its entries map to records.
    pub layout: Arc<dyn Layout>,
    /// A view that doesn't move.
    pub snapshot: Arc<dyn Snapshot>,
    /// Who was writing it when it was opened.
    pub holder: Option<Holder>,
    /// What it was before [`OpenDatabase::snapshot`] became what it will be.
    pub(crate) reformed: Option<Reformed>,
    /// What it was before [`OpenDatabase::snapshot`] lost what is left out.
    pub(crate) trimmed: Option<TrimmedFrom>,
    store: Box<dyn Store>,
}

impl OpenDatabase {
    /// As it stands on the disk.
    fn whole(opened: OpenedStore, layout: Box<dyn Layout>, snapshot: Arc<dyn Snapshot>) -> Self {
        let OpenedStore { database, recognised, holder, store } = opened;
        let (reformed, trimmed) = (None, None);
        let layout = layout.into();
        Self { database, recognised, layout, snapshot, holder, reformed, trimmed, store }
    }
}

/// A database that is converted as a whole.
pub(crate) struct Reformed {
    /// By this rule; the last one, where there are several.
    pub(crate) rule: Arc<dyn Reform>,
    /// As it stands on the disk.
    pub(crate) original: Arc<dyn Snapshot>,
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
    /// What is left out on the way, where that was asked for.
    pub(crate) left_out: Option<GoneEntries>,
}

/// A database of which something is left out.
pub(crate) struct TrimmedFrom {
    /// What.
    pub(crate) trim: DatabaseTrim,
    /// As it stands on the disk.
    pub(crate) original: Arc<dyn Snapshot>,
}

impl OpenDatabase {
    /// The engine's version as its driver says it.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }
}

/// An opened home, or a single database dressed as one.
pub struct OpenHome<'a> {
    profile: Option<&'a dyn Profile>,
    home: Home,
    facts: ChainFacts,
    databases: BTreeMap<String, OpenDatabase>,
    of_one_moment: bool,
}

const NOT_OF_ONE_MOMENT: &str = "a node writes these databases without a pause, so each was read \
    as of a moment of its own: heights and roots may not fit together";

impl Opener for OpenHome<'_> {
    fn snapshot(&self, database: &str) -> Option<Arc<dyn Snapshot>> {
        self.databases.get(database).map(|open| Arc::clone(&open.snapshot))
    }
}

/// The schema id of a single database.
const RAW_SCHEMA: &str = "raw.v1";

impl<'a> OpenHome<'a> {
    /// Opens whatever is at `path`: a home that one of `profiles` recognises, else a single
    /// database.
    ///
    /// # Errors
    /// [`Kind::Refused`] when nothing usable is there, when an engine isn't recognised or not
    /// built in; [`Kind::Difference`] when stored bytes contradict themselves.
    pub fn open(
        path: &Path,
        profiles: &[&'a dyn Profile],
        engines: &dyn Engines,
        options: &OpenOptions,
    ) -> Result<Self> {
        match find_home(path, profiles)? {
            Some((profile, home)) => Self::open_recognised(profile, home, engines, options),
            None => Self::open_single(path, engines, options),
        }
    }

    /// Opens a home that a profile has recognised.
    ///
    /// # Errors
    /// As [`OpenHome::open`].
    pub fn open_recognised(
        profile: &'a dyn Profile,
        home: Home,
        engines: &dyn Engines,
        options: &OpenOptions,
    ) -> Result<Self> {
        let (stores, of_one_moment) = open_all(&home.databases, engines, options)?;
        let mut databases = BTreeMap::new();
        for opened in stores {
            let database = &opened.database;
            let named = |error: Error| error.with("database", database.name.clone());
            let snapshot = opened.store.snapshot().map_err(unreadable).map_err(named)?;
            let layout = profile
                .layout(&home, database, &*snapshot)
                .map_err(|error| named(refused_or_damaged("tell the layout", error)))?;
            databases.insert(database.name.clone(), OpenDatabase::whole(opened, layout, snapshot));
        }
        let facts = ChainFacts::default();
        let mut this = Self { profile: Some(profile), home, facts, databases, of_one_moment };
        if !of_one_moment {
            this.home.notices.push(NOT_OF_ONE_MOMENT.into());
        }
        let told = profile
            .notices(this.view())
            .map_err(|error| refused_or_damaged("look at the databases", error))?;
        this.home.notices.extend(told);
        this.facts = profile
            .facts(this.view())
            .map_err(|error| refused_or_damaged("read the chain's facts", error))?;
        Ok(this)
    }

    /// Opens a single database as one raw table.
    ///
    /// # Errors
    /// As [`OpenHome::open`].
    pub fn open_single(path: &Path, engines: &dyn Engines, options: &OpenOptions) -> Result<Self> {
        let name = path
            .file_name()
            .map_or_else(|| "database".into(), |name| name.to_string_lossy().into_owned());
        let database = Database {
            name: name.clone(),
            path: path.to_owned(),
            configured: None,
            governed_by: None,
            known: false,
        };
        let (mut stores, of_one_moment) = open_all(&[database], engines, options)?;
        let Some(opened) = stores.pop() else {
            return Err(Error::new(Kind::Refused, "open the database", "there is no database"));
        };
        let snapshot = opened.store.snapshot().map_err(unreadable)?;
        let table = TableName::new("raw")
            .map_err(|error| Error::new(Kind::Refused, "name the table", error.to_string()))?;
        let home = Home {
            profile: "raw".into(),
            software: String::new(),
            software_evidence: String::new(),
            root: path.to_owned(),
            data_dir: path.to_owned(),
            databases: vec![opened.database.clone()],
            absent: Vec::new(),
            app_state: AppState::default(),
            files: Vec::new(),
            signer: None,
            signer_unread: None,
            remote_signer: None,
            notices: Vec::new(),
        };
        let facts =
            ChainFacts { layout: "raw".into(), schema: RAW_SCHEMA.into(), ..ChainFacts::default() };
        let layout = Box::new(RawLayout::new(table));
        let databases = BTreeMap::from([(name, OpenDatabase::whole(opened, layout, snapshot))]);
        Ok(Self { profile: None, home, facts, databases, of_one_moment })
    }

    /// The home as its profile found it.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Heights, hashes, layout and schema.
    #[must_use]
    pub fn facts(&self) -> &ChainFacts {
        &self.facts
    }

    /// The home tells something else, with other records than are stored.
    pub(crate) fn now_tells(&mut self, facts: ChainFacts) {
        self.facts = facts;
    }

    /// The opened databases, by name.
    pub fn databases(&self) -> impl Iterator<Item = &OpenDatabase> {
        self.databases.values()
    }

    /// The same, to be changed.
    pub(crate) fn databases_mut(&mut self) -> impl Iterator<Item = &mut OpenDatabase> {
        self.databases.values_mut()
    }

    /// One opened database.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&OpenDatabase> {
        self.databases.get(name)
    }

    /// Holds whatever is read from now on to a pace.
    #[must_use]
    pub fn at_pace(mut self, pacing: &Pacing) -> Self {
        for open in self.databases.values_mut() {
            open.snapshot = pacing.snapshot(Arc::clone(&open.snapshot));
        }
        self
    }

    /// Reads every entry of every database and hashes it into its tables.
    ///
    /// # Errors
    /// As [`tally`], with the database named; [`Kind::Stopped`] when the watch asks to stop.
    pub fn tallies(
        &self,
        options: TallyOptions,
        watch: &Watch,
    ) -> Result<BTreeMap<String, DatabaseTally>> {
        let stage = Stage::Verifying;
        for (name, open) in &self.databases {
            watch.tell(Event::DatabaseBegan {
                stage,
                database: name.clone(),
                // How many chunks there are is known only inside; one stands for all.
                chunks: 1,
                chunks_done: 0,
                bytes_estimate: open.recognised.bytes_on_disk,
            });
        }
        let mut tallies = BTreeMap::new();
        for (name, open) in &self.databases {
            let sum = Mutex::new((0, 0));
            let report = |more_entries, more_bytes| {
                let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                *sum = (sum.0 + more_entries, sum.1 + more_bytes);
                let (entries, bytes) = *sum;
                let database = name.clone();
                watch.tell(Event::Advanced { stage, database, chunk: 0, entries, bytes });
                !watch.cancel.is_asked()
            };
            let tally = tally(&*open.snapshot, &*open.layout, options, &report)
                .map_err(|error| error.with("database", name.clone()))?;
            tallies.insert(name.clone(), tally);
        }
        Ok(tallies)
    }

    /// Puts tables of all databases into the dataset of this home.
    ///
    /// # Errors
    /// [`Kind::Refused`] when the profile gives two tables one name.
    pub fn dataset(&self, tables: Vec<TableCommitment>) -> Result<Dataset> {
        Dataset::new(self.facts.schema.clone(), tables)
            .map_err(|error| Error::new(Kind::Refused, "make the dataset", error.to_string()))
    }

    /// Recomputes what the chain signed. A database without a profile has nothing to recompute.
    ///
    /// # Errors
    /// [`Kind::Refused`] when a node writes so busily that its databases couldn't be read as of
    /// one moment; [`Kind::Difference`] when the databases can't be read whole.
    pub fn verify(
        &self,
        options: &VerifyOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Verdict> {
        if !self.of_one_moment {
            return Err(Error::new(
                Kind::Refused,
                "verify",
                "the node writes without a pause, so its databases can't be checked against each \
                 other",
            )
            .next("call again once the node has caught up with its peers, or stop it first"));
        }
        match self.profile {
            None => Ok(Verdict::nothing()),
            Some(profile) => profile
                .verify(self.view(), options, progress)
                .map_err(|error| Error::reading("verify", error)),
        }
    }

    /// The view that profiles read through.
    #[must_use]
    pub fn view(&self) -> HomeView<'_> {
        let is_written = self.databases.values().any(|open| open.holder.is_some());
        HomeView { home: &self.home, databases: self, is_written }
    }
}

/// The first profile that recognises `path`, with what it saw.
///
/// # Errors
/// [`Kind::Refused`] when there is nothing at `path` or the home isn't supported.
pub fn find_home<'a>(
    path: &Path,
    profiles: &[&'a dyn Profile],
) -> Result<Option<(&'a dyn Profile, Home)>> {
    if !path.exists() {
        return Err(Error::new(Kind::Refused, "look", "there is nothing at this path")
            .with("path", path.display().to_string())
            .next("give the node's home, the folder that holds config and data"));
    }
    for profile in profiles {
        let home = profile
            .recognise(path)
            .map_err(|error| Error::store(Kind::Refused, "recognise the home", error))?;
        if let Some(home) = home {
            return Ok(Some((*profile, home)));
        }
    }
    Ok(None)
}
