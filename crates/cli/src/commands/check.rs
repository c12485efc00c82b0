//! `transload check`: checks a record's proof, offline.

use crate::args::Check;
use crate::context::Context;
use crate::exit::Exit;
use serde::Serialize;
use std::io::Read;
use std::path::Path;
use transload_engine::{Error, Kind, Result};
use transload_model::proof::RecordProof;

/// A proof carries one value and a few dozen hashes; more is no proof of ours.
const PROOF_BYTES_MAX: u64 = 4 << 30;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    valid: bool,
    table: String,
    key: String,
    dataset_root: String,
    reason: Option<String>,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Check) -> Result<Exit> {
    let text = read(&args.proof)?;
    let proof: RecordProof = serde_json::from_str(&text).map_err(|error| {
        Error::new(Kind::Refused, "read the proof", error.to_string())
            .next("give a file that `transload prove` wrote")
    })?;
    let outcome = proof.check(&args.root.0);
    let document = Document {
        schema: "transload.check.v1",
        valid: outcome.is_ok(),
        table: proof.table.to_string(),
        key: proof.key.clone(),
        dataset_root: hex::encode(args.root.0),
        reason: outcome.as_ref().err().map(ToString::to_string),
    };
    context.print(&document, || match &document.reason {
        None => format!(
            "valid: table {} holds key {} with this value under root {}\n",
            document.table, document.key, document.dataset_root
        ),
        Some(reason) => format!("NOT VALID: {reason}\n"),
    });
    Ok(if outcome.is_ok() { Exit::Done } else { Exit::Difference })
}

fn read(path: &Path) -> Result<String> {
    let failed = |error: std::io::Error| {
        Error::new(Kind::Refused, "read the proof", error.to_string())
            .with("path", path.display().to_string())
    };
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(PROOF_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(PROOF_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}
