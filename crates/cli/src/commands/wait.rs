//! `transload status --wait`: until the node has made a block on the new databases, and that
//! block is in order.
//!
//! Transload never starts or stops a node; it asks the node's RPC how high it is, and then reads
//! the databases under the running node.

use crate::args::Status as Arguments;
use crate::context::Context;
use crate::exit::Exit;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use transload_engine::phase::{Phase, State};
use transload_engine::{Error, Kind, Result, SoakCheck, Watch, current_plan, state_dir_of};
use transload_model::report::CheckCount;

/// How often the node is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A node that doesn't answer within this time is asked again later.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A status is a few kilobytes; what answers with more is no node.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    height_at_swap: String,
    height_now: String,
    catching_up: bool,
    /// What was checked of the databases with the new block; none once the soak is over.
    checks: Vec<CheckCount>,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Arguments) -> Result<Exit> {
    let plan = current_plan(&state_dir_of(&args.home))?;
    let (watch, screen) = context.watch()?;
    screen.finish();
    soaks(context.begun_migration(&args.home, &context.profiles(), &watch)?.state()?)?;
    let at_swap = plan.home.height_last.unwrap_or(0);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(ANSWER_WITHIN)).build().into();
    let url = format!("{}/status", args.rpc.trim_end_matches('/'));
    let began = Instant::now();
    loop {
        let answer = ask(&agent, &url);
        if let Ok((height, catching_up)) = answer
            && height > at_swap
        {
            let look = look(context, args, &watch)?;
            // What the node says may be ahead of what it has written.
            let is_written = look.as_ref().is_none_or(SoakCheck::has_proven_itself);
            if is_written {
                let document = Document {
                    schema: "transload.wait.v1",
                    height_at_swap: at_swap.to_string(),
                    height_now: height.to_string(),
                    catching_up,
                    checks: look
                        .and_then(|look| look.verdict)
                        .map_or_else(Vec::new, |verdict| verdict.checks),
                };
                context.print(&document, || text(&document));
                return Ok(Exit::Done);
            }
        }
        watch.go_on("wait for the node")?;
        if began.elapsed() >= Duration::from_secs(args.timeout) {
            let last = match answer {
                Ok((height, _)) => format!("the node is still at height {height}"),
                Err(why) => format!("the node doesn't answer: {why}"),
            };
            return Err(Error::new(Kind::Stopped, "wait for the node", last)
                .with("rpc", url)
                .next("look at the node's log; `transload rollback HOME` goes back"));
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// Looks at the databases as the node has left them. Nothing to look at once the soak is over.
fn look(context: &Context, args: &Arguments, watch: &Watch) -> Result<Option<SoakCheck>> {
    let profiles = context.profiles();
    let mut migration = context.begun_migration(&args.home, &profiles, watch)?;
    if soaks(migration.state()?)? { migration.check_soak().map(Some) } else { Ok(None) }
}

/// Whether the new databases still soak; refused where the node is on its old ones.
fn soaks(state: State) -> Result<bool> {
    match state.phase() {
        Phase::Soaking => Ok(true),
        Phase::Finalized => Ok(false),
        _ => {
            let what = format!("the migration is {state}: the node isn't on new databases");
            Err(Error::new(Kind::Refused, "wait for the node", what).next(state.next_step()))
        }
    }
}

fn text(document: &Document) -> String {
    let note = if document.catching_up { ", catching up with its peers" } else { "" };
    let mut text = format!(
        "the node is at height {}, after {} at the swap{note}\n",
        document.height_now, document.height_at_swap
    );
    if !document.checks.is_empty() {
        let checked: u64 = document.checks.iter().map(|check| check.checked).sum();
        let _ = writeln!(
            text,
            "the databases with the new block are in order: {checked} things checked in {} checks",
            document.checks.len()
        );
    }
    text
}

/// The node's height and whether it is catching up.
fn ask(agent: &ureq::Agent, url: &str) -> std::result::Result<(u64, bool), String> {
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let text = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string()
        .map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    // CometBFT answers JSON-RPC even to plain GET; 0.34 and later have the same fields.
    let sync = &answer["result"]["sync_info"];
    let height = sync["latest_block_height"]
        .as_str()
        .and_then(|height| height.parse().ok())
        .ok_or("the answer has no height")?;
    Ok((height, sync["catching_up"].as_bool().unwrap_or(false)))
}
