//! How far trust reaches, what would go unnoticed, what can't be authenticated.

use super::context::Ctx;
use super::outcome::Outcome;
use super::{checks, finding};
use crate::cometbft::database;
use crate::cometbft::layout::blockstore as block_table;
use crate::cometbft::wire::block::BlockMeta;
use transload_model::report::{Trust, Verdict};
use transload_store::{Result, VerifyOptions};

/// A tip that was cut off passes every other check.
pub(super) fn check_signer(ctx: &Ctx<'_>, verdict: &mut Verdict) {
    let Some(signer) = ctx.view.home.signer else {
        let home = &ctx.view.home;
        if home.signer_unread.is_some() {
            verdict.skip(checks::SIGNER, 1, "the signer's state can't be read");
            return;
        }
        let why = match home.remote_signer {
            Some(_) => "the signer is remote: its height can't be compared with the tip",
            None => "the home has no signer's state: a cut-off tip would not be noticed",
        };
        verdict.count(checks::SIGNER, 0);
        verdict.limits.push(why.to_owned());
        return;
    };
    verdict.count(checks::SIGNER, 1);
    if signer.height > ctx.last + 1 {
        verdict.find(finding(
            checks::SIGNER,
            database::BLOCKSTORE,
            None,
            block_table::STATE_KEY,
            Some(ctx.last),
            format!(
                "the signer has signed at height {} and the tip is {}: blocks above the tip are \
                 missing",
                signer.height, ctx.last
            ),
        ));
    }
}

/// How far trust reaches; every word of it is earned by a check.
pub(super) fn trust(
    ctx: &Ctx<'_>,
    options: &VerifyOptions,
    verdict: &mut Verdict,
) -> Result<Trust> {
    verdict.count(checks::ANCHOR, 0);
    if let Some((height, hash)) = options.trust.anchor {
        if height < ctx.first_header || height > ctx.last {
            let kept = (ctx.first_header, ctx.last);
            let why = format!("height {height} isn't kept: {} to {} are", kept.0, kept.1);
            verdict.skip(checks::ANCHOR, 1, why);
        } else {
            verdict.count(checks::ANCHOR, 1);
            let stored = ctx.blocks.at(block_table::META, height)?;
            let meta = stored.as_deref().map(BlockMeta::decode);
            if let Some(Ok(meta)) = meta
                && meta.header.hash() == hash
            {
                let hash = hex::encode(hash);
                return Ok(Trust::AnchoredByHash { height, hash });
            }
            verdict.find(finding(
                checks::ANCHOR,
                database::BLOCKSTORE,
                Some(ctx.block_table(block_table::META)),
                &ctx.block_key(block_table::META, height),
                Some(height),
                format!("the header here doesn't have the trusted hash {}", hex::encode(hash)),
            ));
        }
    }
    if ctx.first == ctx.initial && genesis_names_first_validators(ctx)? {
        return Ok(Trust::BySignaturesSince { height: ctx.initial });
    }
    Ok(Trust::SelfConsistent)
}

/// Whether the genesis file lists validators, and they are those of the first header.
fn genesis_names_first_validators(ctx: &Ctx<'_>) -> Result<bool> {
    let Some(hash) = ctx.genesis.validators_hash else { return Ok(false) };
    let Some(first) = ctx.blocks.at(block_table::META, ctx.initial)? else { return Ok(false) };
    Ok(BlockMeta::decode(&first).is_ok_and(|first| first.header.validators_hash == hash))
}

pub(super) fn limits(ctx: &Ctx<'_>, outcome: &Outcome, verdict: &mut Verdict) {
    verdict.limits.extend(
        [
            "events, logs and other fields of results that no header commits to are compared, \
             not authenticated",
            "proposer priorities are covered by no hash; each proposer's turn is recomputed",
            "consensus parameters other than the largest block and its gas are compared, not \
             authenticated",
            "seen and extended commits verify, but which of the votes they hold is this node's own",
        ]
        .map(str::to_owned),
    );
    let covered = match ctx.state_height {
        Some(height) if height < ctx.last => "by the header above it",
        _ => "only by the next header, which isn't made yet",
    };
    verdict.limits.push(format!(
        "the application's hash and the results after the last block applied are certified \
         {covered}"
    ));
    if ctx.first > ctx.initial {
        verdict.limits.push(format!(
            "blocks below {} are pruned; headers and commits are kept from {}: nothing below was \
             looked at",
            ctx.first, ctx.first_header
        ));
    }
    if outcome.results_missing > 0 {
        verdict.limits.push(format!(
            "the results of {} heights aren't kept (discard_abci_responses, or pruned)",
            outcome.results_missing
        ));
    }
    if ctx.view.databases.snapshot(database::LIGHT).is_some() {
        verdict.limits.push("blocks of the light client are compared, not verified".to_owned());
    }
    if outcome.attacks > 0 {
        verdict.limits.push(format!(
            "{} light client attacks in blocks: their bytes are authenticated, their signatures \
             weren't verified",
            outcome.attacks
        ));
    }
}
