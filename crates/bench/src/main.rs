//! Benchmarks in pairs: each figure stands beside a peer or a raw limit from the same run.
//!
//! ```text
//! cargo run --release -p transload-bench -- --records 5000000 --shape iavl
//! ```
//!
//! A database is generated with goleveldb from a seed. Then, round by round and in turn: the
//! canonical engines in a plain loop (iterate, batch-write, no sync), the same with large synced
//! batches, a scan and a sorted ingest (what one thread can reach at most), and `transload
//! convert` with its full verification. What counts are the ratios of the medians.
//!
//! With `--home HOME --layout NAME` it pairs a change of layout with the plain move instead.

mod layouts;
mod measure;
mod memory;

use clap::Parser;
use measure::{Figure, median};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use transload_store::{KeyRange, Scan, SourceOptions};

#[derive(Parser)]
#[command(about = "Pairs Transload with the canonical engines on generated databases")]
struct Arguments {
    /// Records to generate
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Shape of the records: `iavl` (about 130 bytes) or `blocks` (4 KiB and 700 bytes)
    #[arg(long, default_value = "iavl")]
    shape: String,
    /// Seed of the generator
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds; the medians are compared
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The transload program
    #[arg(long, default_value = "transload")]
    transload: PathBuf,
    /// The peer: bench/peer, built with `go build`
    #[arg(long, required_unless_present = "home")]
    peer: Option<PathBuf>,
    /// Folder for the databases; it needs about five times their size
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A home on goleveldb that no node uses: it is migrated to Pebble and rolled back
    #[arg(long, requires = "layout")]
    home: Option<PathBuf>,
    /// The layout that the home's databases change to
    #[arg(long, requires = "home")]
    layout: Option<String>,
    /// The node's program, where the home's config doesn't tell that it reads the layout
    #[arg(long, requires = "home")]
    node_binary: Option<PathBuf>,
    /// Moves only this database of the home; may be given several times
    #[arg(long, requires = "home")]
    only: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (&arguments.home, &arguments.layout) {
        (Some(home), Some(layout)) => layouts::run(&arguments, home, layout),
        _ => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    // Without a reader there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}

type Result<T> = std::result::Result<T, String>;

fn run(arguments: &Arguments) -> Result<()> {
    let failed = |error: std::io::Error| error.to_string();
    let dir = match &arguments.dir {
        Some(dir) => tempfile::tempdir_in(dir).map_err(failed)?,
        None => tempfile::tempdir().map_err(failed)?,
    };
    let source = dir.path().join("source");
    let generated = peer(
        arguments,
        &[
            "gen".as_ref(),
            source.as_ref(),
            arguments.shape.as_ref(),
            arguments.records.to_string().as_ref(),
            arguments.seed.to_string().as_ref(),
        ],
    )?;
    say(&format!(
        "{} records of shape {}, {} bytes, seed {}",
        generated.records, arguments.shape, generated.bytes, arguments.seed
    ));
    let names =
        ["goleveldb scan", "transload scan", "plain loop", "synced loop", "ingest", "transload"];
    let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    let mut peak_bytes = 0;
    for round in 0..arguments.rounds {
        let fresh = |name: &str| dir.path().join(format!("{name}-{round}"));
        let (plain, synced, ingest, ours) =
            (fresh("plain"), fresh("synced"), fresh("ingest"), fresh("ours"));
        let on = |command: &str, target: &Path| {
            peer(arguments, &[command.as_ref(), source.as_ref(), target.as_ref()])
        };
        let figures = [
            peer(arguments, &["scan".as_ref(), source.as_ref()])?,
            scan(&source, dir.path())?,
            on("loop", &plain)?,
            on("synced", &synced)?,
            on("ingest", &ingest)?,
            convert(arguments, &source, &ours)?,
        ];
        for (index, figure) in figures.iter().enumerate() {
            if (figure.records, figure.bytes) != (generated.records, generated.bytes) {
                return Err(format!("{} saw other records than were generated", names[index]));
            }
            seconds[index].push(figure.seconds);
            peak_bytes = peak_bytes.max(figure.peak_bytes);
        }
        for target in [plain, synced, ingest, ours] {
            std::fs::remove_dir_all(target).map_err(failed)?;
        }
    }
    report(&names, &mut seconds, peak_bytes);
    Ok(())
}

fn report(names: &[&str], seconds: &mut [Vec<f64>], peak_bytes: u64) {
    let medians: Vec<f64> = seconds.iter_mut().map(|runs| median(runs)).collect();
    say(&format!("\n{:<16}{:>10}", "median", "seconds"));
    for (name, median) in names.iter().zip(&medians) {
        say(&format!("{name:<16}{median:>10.3}"));
    }
    say("\nratios (above 1: transload is faster)");
    for (what, peer, ours) in [
        ("scan: goleveldb / transload", 0, 1),
        ("verified copy: plain loop / transload", 2, 5),
        ("verified copy: synced loop / transload", 3, 5),
        ("verified copy: scan + ingest in one thread / transload", 4, 5),
    ] {
        say(&format!("{what:<56}{:>6.2}", medians[peer] / medians[ours]));
    }
    if peak_bytes > 0 {
        say(&format!(
            "\nverified copy: peak anonymous memory {} MiB, all processes together",
            peak_bytes >> 20
        ));
    }
}

fn peer(arguments: &Arguments, words: &[&std::ffi::OsStr]) -> Result<Figure> {
    let program = arguments.peer.as_deref().ok_or("there is no --peer")?;
    let output = Command::new(program)
        .args(words)
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Figure::from_peer(&output.stdout)
}

/// One thread through our own reader.
fn scan(source: &Path, scratch: &Path) -> Result<Figure> {
    let failed = |error: transload_store::Error| error.to_string();
    let options =
        SourceOptions { scratch_dir: scratch.to_owned(), space: None, memory_bytes_max: 64 << 20 };
    measure::timed(|| {
        let store = transload_drivers::leveldb::open(source, &options).map_err(failed)?;
        let snapshot = store.snapshot().map_err(failed)?;
        let mut scan = Scan::new(&*snapshot, &KeyRange::all()).map_err(failed)?;
        while scan.next().map_err(failed)?.is_some() {}
        let receipt = scan.receipt().map_err(failed)?;
        Ok((receipt.entries, receipt.bytes))
    })
}

/// Conversion with full verification, as a whole process.
fn convert(arguments: &Arguments, source: &Path, target: &Path) -> Result<Figure> {
    let mut peak_bytes = 0;
    let figure = measure::timed(|| {
        let mut command = Command::new(&arguments.transload);
        command.arg("convert").arg(source).args(["--to", "pebble1", "--json"]).arg(target);
        let (output, seen_bytes) = memory::run(&mut command)?;
        peak_bytes = seen_bytes;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        measure::entries_and_bytes(&output.stdout)
    })?;
    Ok(Figure { peak_bytes, ..figure })
}
