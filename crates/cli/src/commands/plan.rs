//! `transload plan`: what a migration would do, and what earlier plans said.

use crate::args::{PlanCommand, PlanHistory, Swap, Wish};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{pace, settlement, text};
use bytesize::ByteSize;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use transload_engine::{
    Cadence, Error, Fate, Kind, Outcome, Plan, PlanEntry, PlanRequest, PlannedDatabase,
    PlannedVerify, Preflight, Result, SwapMethod, make_plan, plan_diff, plan_log, read_invariants,
    state_dir_of,
};

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    digest: String,
    plan: Plan,
    preflight: Preflight,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &PlanCommand) -> Result<Exit> {
    match &args.history {
        Some(PlanHistory::Log { home }) => return log(context, home),
        Some(PlanHistory::Diff { home, before, after }) => {
            return diff(context, home, *before, *after);
        }
        None => {}
    }
    let home = args.home.as_deref().unwrap_or_else(|| Path::new("."));
    let (watch, screen) = context.watch()?;
    let profiles = context.profiles();
    let plan =
        make_plan(&request(context, home, &args.wish)?, &profiles, context.engines(), &watch);
    screen.finish();
    let plan = plan?;
    let mut migration = context.migration(home, &profiles, &watch)?;
    migration.accept(plan.clone())?;
    let preflight = migration.preflight()?;
    let may_begin = preflight.may_begin();
    let document =
        Document { schema: "transload.plan.v1", digest: plan.digest()?, plan, preflight };
    context.print(&document, || text(&document.plan, &document.preflight));
    Ok(if may_begin { Exit::Done } else { Exit::Refused })
}

/// What the arguments ask for.
pub(crate) fn request(context: &Context, home: &Path, wish: &Wish) -> Result<PlanRequest> {
    if wish.to.is_none() && wish.layout.is_none() && wish.trim().is_none() {
        let what = "say which engine with --to ENGINE, which layout with --layout NAME, or what to \
                    leave out with --drop NAME, --keep-heights N, --keep-versions N or --drop-orphans";
        return Err(Error::new(Kind::Usage, "read the arguments", what));
    }
    Ok(PlanRequest {
        layout: wish.layout.clone(),
        trim: wish.trim(),
        bad_records: wish.bad_records.planned(),
        only: (!wish.only.is_empty()).then(|| wish.only.clone()),
        limits: wish.pace.within(context.limits()),
        target_dir: wish.target_dir.clone(),
        swap: match wish.swap {
            Swap::Exchange => SwapMethod::Exchange,
            Swap::Rename => SwapMethod::Rename,
        },
        accept_weaker: wish.accept_weaker.clone(),
        verify: PlannedVerify {
            trust_height: wish.trust.trust_height,
            trust_hash: wish.trust.trust_hash.map(|hash| hex::encode(hash.0)),
            versions: wish.versions.clone(),
        },
        cadence: Cadence {
            block_interval_millis: wish.block_interval,
            signed_blocks_window: wish.signed_blocks_window,
        },
        node_binary: wish.node_binary.clone(),
        invariants: match &wish.invariants {
            Some(path) => read_invariants(path)?,
            None => Vec::new(),
        },
        ..PlanRequest::new(home, wish.to)
    })
}

/// A plan for people.
pub(crate) fn text(plan: &Plan, preflight: &Preflight) -> String {
    let mut text = format!("plan for {} -> {}\n\n", plan.home.path.display(), plan.aim());
    for database in &plan.databases {
        let fate = match database.fate {
            Fate::Moves if database.from == plan.engine => format!("{}", database.from),
            Fate::Moves => format!("{} -> {}", database.from, plan.engine),
            Fate::HasTheEngine => format!("{}, stays: it has the engine", database.from),
            Fate::StaysWithItsEngine => {
                format!("{}, stays: no config key governs it", database.from)
            }
            Fate::NotAskedFor => format!("{}, stays: not asked for", database.from),
        };
        let size = ByteSize(database.bytes_on_disk).to_string();
        let _ = writeln!(text, "  {:<24}{size:>12}  {fate}", database.name);
        if let Some(layout) = &database.to_layout {
            let _ = writeln!(text, "  {:<24}{:>12}  {} -> {layout}", "", "", database.layout);
        }
        if database.trimmed {
            let _ = writeln!(text, "  {:<24}{:>12}  {}", "", "", trimmed(database));
        }
        for transform in &database.transforms {
            let _ = writeln!(text, "  {:<24}{:>12}  {}", "", "", text::transform(transform));
        }
        for weakness in &database.weaker {
            let _ = writeln!(text, "  {:<24}  accepted: the target doesn't promise {weakness}", "");
        }
    }
    for snapshot in &plan.home.snapshots {
        let about = text::state_snapshot(snapshot);
        let _ = writeln!(text, "  state-sync snapshot     {about}, stays where it is");
    }
    let estimate = &plan.estimate;
    let _ = write!(
        text,
        "\nspace   {} needed beside the databases\n\
         time    about {} s to copy, {} s to read both sides back, {} s for the chain's checks\n\
         stop    {}\n\
         basis   {}\n\n",
        ByteSize(estimate.staging_bytes_needed),
        estimate.copy_seconds,
        estimate.verify_seconds,
        estimate.certify_seconds,
        estimate.stop_note,
        estimate.basis
    );
    if plan.limits.pace().any() {
        let _ = writeln!(text, "limits  {}", pace::limits(&plan.limits.pace()));
    }
    if let Some(planned) = &plan.bad_records {
        let _ = writeln!(text, "records {}", settlement::planned(planned));
    }
    for edit in &plan.config {
        let (file, key) = (edit.path.display(), &edit.key);
        let _ = match edit.old.as_deref() {
            Some(old) if old == edit.new => {
                writeln!(text, "config  {file}: {key} stays {old}, guarded during the swap")
            }
            old => {
                let old = old.unwrap_or("(absent)");
                writeln!(text, "config  {file}: {key} {old} -> {}", edit.new)
            }
        };
    }
    for notice in &plan.home.notices {
        let _ = writeln!(text, "notice  {notice}");
    }
    for result in &preflight.results {
        let mark = match result.outcome {
            Outcome::Passed => continue,
            Outcome::Failed => "FAILED ",
            Outcome::Warning => "warning",
            Outcome::Skipped => "skipped",
        };
        let _ = writeln!(text, "{mark} {}: {}", result.name, result.text);
        if let Some(next) = &result.next {
            let _ = writeln!(text, "        next: {next}");
        }
    }
    let passed =
        preflight.results.iter().filter(|result| result.outcome == Outcome::Passed).count();
    let _ = writeln!(text, "preflight: {passed} of {} checks passed", preflight.results.len());
    text
}

/// What is left out of a database, each kind of it once.
fn trimmed(database: &PlannedDatabase) -> String {
    let mut words: Vec<&str> = Vec::new();
    for table in database.tables.iter().filter(|table| !table.becomes.starts_with("carried")) {
        if !words.contains(&table.becomes.as_str()) {
            words.push(&table.becomes);
        }
    }
    words.join("; ")
}

#[derive(Serialize)]
struct LogDocument {
    schema: &'static str,
    plans: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    number: u32,
    digest: String,
    path: String,
    made_unix_seconds: String,
    about: String,
}

fn log(context: &Context, home: &Path) -> Result<Exit> {
    let plans = plan_log(&state_dir_of(home))?
        .into_iter()
        .map(|plan| Entry {
            number: plan.number,
            digest: plan.digest,
            path: plan.path.display().to_string(),
            made_unix_seconds: plan.made_unix_seconds.to_string(),
            about: plan.about,
        })
        .collect();
    let document = LogDocument { schema: "transload.plan-log.v1", plans };
    context.print(&document, || {
        let mut text = String::new();
        for plan in &document.plans {
            let _ = writeln!(text, "{:>4}  {}  {}", plan.number, &plan.digest[..16], plan.about);
        }
        text
    });
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct DiffDocument {
    schema: &'static str,
    changes: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    field: String,
    before: Option<String>,
    after: Option<String>,
}

fn diff(context: &Context, home: &Path, before: u32, after: u32) -> Result<Exit> {
    let plans = plan_log(&state_dir_of(home))?;
    let read = |number: u32| {
        let entry: Option<&PlanEntry> = plans.iter().find(|plan| plan.number == number);
        let entry = entry.ok_or_else(|| {
            Error::new(Kind::Refused, "find the plan", format!("there is no plan {number}"))
                .next("`transload plan log HOME` lists the plans")
        })?;
        Plan::read(&entry.path)
    };
    let changes = plan_diff(&read(before)?, &read(after)?)?
        .into_iter()
        .map(|change| Change { field: change.field, before: change.before, after: change.after })
        .collect();
    let document = DiffDocument { schema: "transload.plan-diff.v1", changes };
    context.print(&document, || {
        let mut text = String::new();
        for change in &document.changes {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".into());
            let _ = writeln!(
                text,
                "{}: {} -> {}",
                change.field,
                value(&change.before),
                value(&change.after)
            );
        }
        text
    });
    Ok(Exit::Done)
}
