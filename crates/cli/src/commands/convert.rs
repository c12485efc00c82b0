//! `transload convert`: one database to another engine.

use crate::args::Convert;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::pace;
use bytesize::ByteSize;
use serde::Serialize;
use transload_engine::{Conversion, ConvertRequest, Result, convert, refuse_inside_the_source};
use transload_observe::WaitTime;
use transload_store::Weakness;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    source: String,
    target: String,
    from: String,
    to: String,
    entries: String,
    bytes: String,
    chunks: String,
    dataset_root: String,
    weaker: Vec<Weakness>,
    copy_seconds: f64,
    verify_seconds: f64,
    waits: Vec<WaitTime>,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Convert) -> Result<Exit> {
    refuse_inside_the_source(&args.source, &args.target)?;
    let scratch = context.named_scratch()?;
    let request = ConvertRequest {
        source: args.source.clone(),
        source_space: args.space.clone(),
        engine: args.to,
        target: args.target.clone(),
        target_space: args.target_space.clone(),
        limits: args.pace.within(context.limits()),
        accepted: args.accept_weaker.clone(),
        scratch_dir: scratch.as_ref().map(|folder| folder.path().to_owned()),
    };
    let (watch, screen) = context.watch()?;
    let conversion = convert(&request, context.engines(), &watch);
    screen.finish();
    let conversion = conversion?;
    let document = document(args, &conversion);
    context.print(&document, || text(&document, &conversion));
    Ok(Exit::Done)
}

fn document(args: &Convert, conversion: &Conversion) -> Document {
    Document {
        schema: "transload.convert.v1",
        source: args.source.display().to_string(),
        target: args.target.display().to_string(),
        from: conversion.from.to_string(),
        to: conversion.to.to_string(),
        entries: conversion.entries.to_string(),
        bytes: conversion.bytes.to_string(),
        chunks: conversion.chunks.to_string(),
        dataset_root: hex::encode(conversion.dataset.root()),
        weaker: conversion.weaker.clone(),
        copy_seconds: conversion.copy_time.as_secs_f64(),
        verify_seconds: conversion.verify_time.as_secs_f64(),
        waits: conversion.waits.clone(),
    }
}

fn text(document: &Document, conversion: &Conversion) -> String {
    let mut text = format!(
        "{} -> {}: {} entries, {} in {} chunks\n\
         copied in {:.1} s, both sides read back and compared in {:.1} s\n\
         dataset root {}\n",
        document.from,
        document.to,
        document.entries,
        ByteSize(conversion.bytes),
        document.chunks,
        document.copy_seconds,
        document.verify_seconds,
        document.dataset_root
    );
    for line in pace::wait_times(&document.waits) {
        text.push_str(&format!("{line}\n"));
    }
    for weakness in &document.weaker {
        text.push_str(&format!("accepted: the target doesn't promise {weakness}\n"));
    }
    text.push_str("only bytes were compared: a single database carries no signatures\n");
    text
}
