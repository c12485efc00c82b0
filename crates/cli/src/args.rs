//! The command line: every command, option and example that `--help` shows.

mod bad_records;
mod pace;

use bad_records::BadRecordsWish;
use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use pace::{NewPace, Pace, ReadPace};
use std::path::PathBuf;
use std::str::FromStr;
use transload_engine::PlannedTrim;
use transload_model::engine::Engine;
use transload_store::Weakness;

/// Moves a node's state from one storage engine to another and proves that nothing changed.
///
/// Nothing of the old database is deleted before you say `transload finalize`, and until then
/// `transload rollback` brings it back.
#[derive(Debug, Parser)]
#[command(
    name = "transload",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = EXIT_CODES
)]
pub(crate) struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  2  the command line is wrong
  3  refused before anything was changed
  4  a difference or an invalid certificate was found
  5  stopped midway; `transload resume HOME` goes on
  6  the outcome is unknown: a person must look
  7  nothing wrong was found, but a check was skipped, or a bad record was left out";

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Print one JSON document to standard output (documented in docs/formats/json.md)
    #[arg(long, global = true)]
    pub json: bool,
    /// Colours: never when standard error is no terminal, unless `always`
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Threads that read and hash [default: the machine's cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Upper bound for caches and buffers
    #[arg(long, global = true, default_value = "256MiB", value_name = "SIZE", value_parser = memory)]
    pub memory: u64,
    /// About how much is read, copied, verified and retried as one piece: large enough that its
    /// overhead vanishes, small enough that a retry costs little; never more than an eighth of
    /// --memory. A migration that is under way keeps its plan's
    #[arg(long, global = true, default_value = "16MiB", value_name = "SIZE", value_parser = chunk)]
    pub chunk: u64,
    /// The Go helper that speaks to Go engines (goleveldb, Pebble, bbolt, BadgerDB)
    /// [default: transload-gostore beside this program]
    #[arg(long, global = true, env = "TRANSLOAD_GOSTORE", value_name = "PATH")]
    pub gostore: Option<PathBuf>,
    /// Folder for linked snapshots and joins [default: HOME/.transload, else the system's
    /// folder for temporary files]
    #[arg(long, global = true, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Least memory that a run can work with: two workers with a 4 MiB chunk each and small caches.
const MEMORY_BYTES_MIN: u64 = 64 << 20;

fn memory(text: &str) -> Result<u64, String> {
    size(text, MEMORY_BYTES_MIN)
}

fn chunk(text: &str) -> Result<u64, String> {
    size(text, transload_engine::CHUNK_BYTES_MIN)
}

fn size(text: &str, bytes_min: u64) -> Result<u64, String> {
    let size = ByteSize::from_str(text)
        .map_err(|_| format!("{text:?} is no size; write 256MiB or 1GiB"))?
        .as_u64();
    if size < bytes_min {
        return Err(format!("at least {}", ByteSize(bytes_min)));
    }
    Ok(size)
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a home holds: databases, engines, tables, heights, hashes
    #[command(after_help = "Examples:\n  transload inspect ~/.gaia\n  \
        transload inspect ~/.gaia --quick\n  transload inspect ~/.gaia --json | jq .tables")]
    Inspect(Inspect),
    /// List the engines of this build, and what is missing
    #[command(after_help = "Example:\n  transload engines")]
    Engines,
    /// Compute the root of every table and of the whole dataset
    #[command(after_help = "Examples:\n  transload root ~/.gaia\n  \
        transload root ~/.gaia/data/blockstore.db --json")]
    Root(Target),
    /// Recompute what the chain signed, and compare
    #[command(after_help = "Examples:\n  transload verify ~/.gaia\n  \
        transload verify ~/.gaia --trust-height 100 --trust-hash 5E1F...\n  \
        transload verify ~/.gaia --read-limit 50MiB --cpu-limit 50%")]
    Verify(Verify),
    /// Compare two homes or two databases, key by key where they differ
    #[command(after_help = "Example:\n  transload diff ~/.gaia /backup/gaia")]
    Diff(Diff),
    /// Prove that one record is in the dataset
    #[command(after_help = "Example:\n  transload prove ~/.gaia blockstore/meta \
        0000000000000064 > height-100.json")]
    Prove(Prove),
    /// Check a proof that `prove` wrote, offline
    #[command(after_help = "Example:\n  transload check height-100.json --root 3b0c...")]
    Check(Check),
    /// Convert one database to another engine and verify the copy; the source stays as it is
    #[command(after_help = "Examples:\n  transload convert data/blockstore.db --to pebble1 \
        /mnt/new/blockstore.db\n  transload convert chain.db --to sqlite chain.sqlite\n  \
        transload convert chain.db --to sqlite chain.sqlite --write-limit 20MiB")]
    Convert(Convert),
    /// Write the plan of a migration, and show what earlier plans said
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "Examples:\n  transload plan ~/.gaia --to pebble1\n  \
            transload plan ~/.gaia --layout v2\n  transload plan ~/.gaia --drop tx_index\n  transload plan ~/.gaia --keep-heights 100000\n  transload plan ~/.gaia --keep-versions 100\n  transload plan ~/.gaia --drop-orphans\n  \
            transload plan ~/.gaia --to pebble1 --repair-from /mnt/other-node\n  transload plan log ~/.gaia\n  transload plan diff ~/.gaia 1 2\n\n\
            Nothing is copied or changed; the plan is kept in HOME/.transload."
    )]
    Plan(PlanCommand),
    /// Plan, copy, verify, ask, swap: the whole way to another engine or key layout
    #[command(after_help = "Examples:\n  transload migrate ~/.gaia --to pebble1\n  \
        transload migrate ~/.gaia --to pebble1 --yes\n  \
        transload migrate ~/.gaia --layout v2\n  \
        transload migrate ~/.gaia --to pebble1 --layout v2\n  \
        transload migrate ~/.gaia --to pebble1 --drop tx_index\n  \
        transload migrate ~/.gaia --to pebble1 --keep-heights 100000\n  \
        transload migrate ~/.gaia --layout iavl-1 --keep-versions 100\n  \
        transload migrate ~/.gaia --to pebble1 --drop-orphans\n  \
        transload migrate ~/.gaia --to pebble1 --bad-records quarantine\n  \
        transload migrate ~/.gaia --to pebble1 --repair-from /mnt/other-node\n  \
        transload migrate ~/.gaia --to pebble1 --read-limit 50MiB --cpu-limit 50%\n\n\
        Stop the node first. Nothing of the old databases is deleted: `transload rollback HOME` \
        brings them back until you say `transload finalize HOME`.")]
    Migrate(Migrate),
    /// Show where a migration stands, chunk by chunk
    #[command(after_help = "Examples:\n  transload status ~/.gaia\n  \
        transload status ~/.gaia --follow\n  transload status ~/.gaia --wait\n\n\
        Chunk map: . to do, c being worked on, d copied, h copied and slow or tried again, \
        v verified, x failed.")]
    Status(Status),
    /// Ask a running migration to stop at the next good place
    #[command(after_help = "Example:\n  transload halt ~/.gaia")]
    Halt(OfHome),
    /// Show or change the limits on the pace of a running migration
    #[command(after_help = "Examples:\n  transload throttle ~/.gaia\n  \
        transload throttle ~/.gaia --read 20MiB --write 20MiB --cpu 50\n  \
        transload throttle ~/.gaia --read none\n\n\
        A limit that isn't named stays as it is. Changes hold at once, and later runs of the \
        migration keep them; `transload status HOME` shows what is waited for.")]
    Throttle(Throttle),
    /// Go on with a migration that was stopped or killed
    #[command(after_help = "Examples:\n  transload resume ~/.gaia\n  \
        transload resume ~/.gaia --write-limit 20MiB")]
    Resume(Resume),
    /// Go back to the old databases
    #[command(after_help = "Example:\n  transload rollback ~/.gaia\n\n\
        Stop the node first. Refused where going back could lose blocks or sign twice; the \
        text says why and what to do instead.")]
    Rollback(Confirmed),
    /// Free the old databases, when you are sure: there is no way back afterwards
    #[command(after_help = "Example:\n  transload finalize ~/.gaia\n\n\
        The new databases are read through and checked first, under a running node too. If \
        anything is wrong with them nothing is freed.")]
    Finalize(Confirmed),
    /// Write a redacted archive that helps somebody else to see what is wrong
    #[command(after_help = "Example:\n  transload doctor ~/.gaia support.tar\n\n\
        The archive holds plan, status, journal events, file names and sizes; no keys, no \
        values, no signer state.")]
    Doctor(Doctor),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  transload completions bash > \
        /etc/bash_completion.d/transload")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages to a folder
    #[command(after_help = "Example:\n  transload man /usr/local/share/man/man1")]
    Man {
        /// The folder; it must exist
        dir: PathBuf,
    },
}

/// A home or a single database.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// A node's home, or the folder or file of one database
    pub path: PathBuf,
    /// Keyspace of a single database (column family, named database, table)
    #[arg(long, value_name = "NAME")]
    pub space: Option<String>,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// What to look at
    #[command(flatten)]
    pub target: Target,
    /// Don't read the databases through: no record counts, no roots
    #[arg(long)]
    pub quick: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// What to verify
    #[command(flatten)]
    pub target: Target,
    /// Where trust comes from
    #[command(flatten)]
    pub trust: Trust,
    /// State versions to recompute: all, latest, or a list such as 100,200
    #[arg(long, default_value = "all", value_name = "WHICH", value_parser = versions)]
    pub versions: transload_store::VersionChoice,
    /// How fast it may go
    #[command(flatten)]
    pub pace: ReadPace,
}

/// A header that the user trusts.
#[derive(Clone, Debug, Args)]
pub(crate) struct Trust {
    /// A height whose header hash you know from somebody you trust
    #[arg(long, requires = "trust_hash", value_name = "HEIGHT")]
    pub trust_height: Option<u64>,
    /// The header hash at that height, 64 hex digits
    #[arg(long, requires = "trust_height", value_name = "HASH", value_parser = hash)]
    pub trust_hash: Option<Hash>,
}

/// A hash given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(pub [u8; 32]);

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// One side
    pub left: PathBuf,
    /// The other side
    pub right: PathBuf,
    /// Name at most this many keys a table
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub keys: usize,
}

/// Arguments of `prove`.
#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// A node's home, or a single database
    pub path: PathBuf,
    /// The table, as `transload root` lists it
    pub table: String,
    /// The canonical key in hex (docs/chains.md says how keys are made)
    pub key: String,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The proof's file; `-` for standard input
    pub proof: PathBuf,
    /// The dataset root that you trust, 64 hex digits
    #[arg(long, value_name = "HASH", value_parser = hash)]
    pub root: Hash,
}

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// The database to read: a folder or a file
    pub source: PathBuf,
    /// The engine to write
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    pub to: Engine,
    /// Where the new database shall stand; nothing may be there yet
    pub target: PathBuf,
    /// Keyspace of the source (column family, named database, table)
    #[arg(long, value_name = "NAME")]
    pub space: Option<String>,
    /// Keyspace of the target [default: the engine's own]
    #[arg(long, value_name = "NAME")]
    pub target_space: Option<String>,
    /// Accept that the target promises less in this way; `transload engines` lists promises
    #[arg(long, value_name = "NAME", value_parser = weakness)]
    pub accept_weaker: Vec<Weakness>,
    /// How fast it may go
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// What a migration shall do.
#[derive(Clone, Debug, Args)]
pub(crate) struct Wish {
    /// The engine to move to
    #[arg(long, value_name = "ENGINE", value_parser = engine, required_unless_present_any = ["layout", "drop", "keep_heights", "keep_versions", "drop_orphans"])]
    pub(crate) to: Option<Engine>,
    /// The layout to go to: v1 or v2 for the stores of a CometBFT 1.x node, iavl-1 for an
    /// application's state that is in the form of IAVL 0.x; alone, or together with --to
    #[arg(long, value_name = "NAME")]
    pub(crate) layout: Option<String>,
    /// Leave this out: tx_index, the index of transactions, which `cometbft reindex-event`
    /// rebuilds from blocks and their results; alone, or together with --to and --layout
    #[arg(long, value_name = "NAME")]
    pub(crate) drop: Vec<String>,
    /// Keep only the last N heights: of block store and state as the node's own pruning would,
    /// and of the index, which a node doesn't prune; refused where evidence, the application, a
    /// state-sync snapshot, a data companion or --trust-height needs more
    #[arg(long, value_name = "N")]
    pub(crate) keep_heights: Option<u64>,
    /// Keep only the last N versions of an application's state (application.db of a Cosmos SDK
    /// node, IAVL 1.x; with --layout iavl-1 also 0.x), as its own pruning would leave it; refused
    /// where a state-sync snapshot, --trust-height or --versions needs more
    #[arg(long, value_name = "N")]
    pub(crate) keep_versions: Option<u64>,
    /// Leave out of an application's state (application.db of a Cosmos SDK node, IAVL 0.x and 1.x)
    /// what no kept version reaches: nodes, and orphan records whose node isn't there then; not
    /// together with --keep-versions
    #[arg(long)]
    pub(crate) drop_orphans: bool,
    /// What to do with records that are missing or wrong
    #[command(flatten)]
    pub(crate) bad_records: BadRecordsWish,
    /// Move only this database (may be given more than once) [default: all that the config's
    /// engine keys govern]
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Build the new databases in this folder, which may be on another volume
    #[arg(long, value_name = "DIR")]
    pub(crate) target_dir: Option<PathBuf>,
    /// How paths change place: `exchange` leaves no moment without a database; `rename` is for
    /// file systems without it, and a node started in that moment would make an empty database
    #[arg(long, value_enum, default_value_t = Swap::Exchange, value_name = "HOW")]
    pub(crate) swap: Swap,
    /// Accept that the target promises less in this way
    #[arg(long, value_name = "NAME", value_parser = weakness)]
    pub(crate) accept_weaker: Vec<Weakness>,
    /// Where trust comes from
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// State versions to recompute: all, latest, or a list such as 100,200
    #[arg(long, default_value = "all", value_name = "WHICH", value_parser = versions)]
    pub(crate) versions: transload_store::VersionChoice,
    /// In how many blocks your chain jails a validator that misses too many; the plan says what
    /// the stop means
    #[arg(long, value_name = "N")]
    pub(crate) signed_blocks_window: Option<u64>,
    /// The chain's block interval in milliseconds [default: from the latest headers]
    #[arg(long, value_name = "MS")]
    pub(crate) block_interval: Option<u64>,
    /// The node's program: its build info tells whether that very node can open the target
    /// [default: the version in the home's config tells]
    #[arg(long, value_name = "PATH")]
    pub(crate) node_binary: Option<PathBuf>,
    /// A TOML file of invariants that must hold at the end of every phase; see
    /// docs/formats/plan.md
    #[arg(long, value_name = "FILE")]
    pub(crate) invariants: Option<PathBuf>,
    /// How fast it may go
    #[command(flatten)]
    pub(crate) pace: Pace,
}

impl Wish {
    /// What is to be left out; `None` when everything is carried.
    pub(crate) fn trim(&self) -> Option<PlannedTrim> {
        let trim = PlannedTrim {
            drop: self.drop.clone(),
            keep_heights: self.keep_heights,
            first_height: None,
            keep_versions: self.keep_versions,
            first_version: None,
            drop_orphans: self.drop_orphans,
        };
        (trim != PlannedTrim::default()).then_some(trim)
    }
}

/// How paths change place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Swap {
    /// In one step.
    Exchange,
    /// In three renames.
    Rename,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanCommand {
    /// Looks at earlier plans
    #[command(subcommand)]
    pub(crate) history: Option<PlanHistory>,
    /// The node's home
    #[arg(required = true)]
    pub(crate) home: Option<PathBuf>,
    /// What to plan
    #[command(flatten)]
    pub(crate) wish: Wish,
}

/// Earlier plans.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanHistory {
    /// List the plans made for a home
    Log {
        /// The node's home
        home: PathBuf,
    },
    /// Show what differs between two plans
    Diff {
        /// The node's home
        home: PathBuf,
        /// Number of the earlier plan, as `plan log` lists it
        before: u32,
        /// Number of the later plan
        after: u32,
    },
}

/// Arguments of `migrate`.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// The node's home
    pub(crate) home: PathBuf,
    /// What to do
    #[command(flatten)]
    pub(crate) wish: Wish,
    /// Don't ask before the swap
    #[arg(long)]
    pub(crate) yes: bool,
    /// Go on in the background, safe from a lost terminal; `transload status HOME --follow`
    /// shows how it goes. Without --yes it stops before the swap
    #[arg(long)]
    pub(crate) detach: bool,
    /// What `--detach` starts
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub(crate) detached: bool,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The node's home
    pub(crate) home: PathBuf,
    /// Go on showing it until the migration stops or ends
    #[arg(long, conflicts_with = "wait")]
    pub(crate) follow: bool,
    /// Wait until the node, which you start, has made a block on the new databases, and check
    /// them with that block
    #[arg(long)]
    pub(crate) wait: bool,
    /// The node's RPC address
    #[arg(long, default_value = "http://127.0.0.1:26657", value_name = "URL")]
    pub(crate) rpc: String,
    /// Wait at most so many seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

/// A home.
#[derive(Debug, Args)]
pub(crate) struct OfHome {
    /// The node's home
    pub(crate) home: PathBuf,
}

/// A home and a yes.
#[derive(Debug, Args)]
pub(crate) struct Confirmed {
    /// The node's home
    pub(crate) home: PathBuf,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The node's home
    pub(crate) home: PathBuf,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// How fast it may go; without these as fast as before
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// Arguments of `throttle`.
#[derive(Debug, Args)]
pub(crate) struct Throttle {
    /// The node's home
    pub(crate) home: PathBuf,
    /// The limits to change
    #[command(flatten)]
    pub(crate) pace: NewPace,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The node's home
    pub(crate) home: PathBuf,
    /// The archive to write; nothing may be there yet
    pub(crate) archive: PathBuf,
}

fn weakness(text: &str) -> Result<Weakness, String> {
    Weakness::ALL.into_iter().find(|weakness| weakness.name() == text).ok_or_else(|| {
        let names: Vec<&str> = Weakness::ALL.iter().map(|weakness| weakness.name()).collect();
        format!("{text:?} is none of {}", names.join(", "))
    })
}

fn hash(text: &str) -> Result<Hash, String> {
    transload_model::proof::hash_from_hex(text)
        .map(Hash)
        .ok_or_else(|| "a hash has 64 hex digits".to_owned())
}

fn versions(text: &str) -> Result<transload_store::VersionChoice, String> {
    use transload_store::VersionChoice;
    match text {
        "all" => Ok(VersionChoice::All),
        "latest" => Ok(VersionChoice::Latest),
        list => list
            .split(',')
            .map(|version| version.trim().parse())
            .collect::<Result<_, _>>()
            .map(VersionChoice::Listed)
            .map_err(|_| "write all, latest, or numbers such as 100,200".to_owned()),
    }
}

/// An engine's name on the command line.
///
/// # Errors
/// The list of known names.
pub(crate) fn engine(text: &str) -> Result<Engine, String> {
    text.parse().map_err(|error: transload_model::engine::UnknownEngine| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
