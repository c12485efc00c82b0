//! Results and parameters of one height, against the headers that commit to them.

use super::checks;
use super::height::Heights;
use crate::cometbft::layout::state as table;
use crate::cometbft::wire::block::BlockMeta;
use crate::cometbft::wire::results::Results;
use crate::cometbft::wire::shapes;
use crate::cometbft::wire::state::{HashedParams, ParamsInfo};
use transload_model::merkle::Hash;
use transload_store::Result;

impl Heights<'_, '_> {
    /// The parameters that hold at `height`, and the results of the height below it.
    pub(super) fn check_results(&mut self, height: u64, meta: &BlockMeta<'_>) -> Result<()> {
        self.check_params(height, meta)?;
        let Some(below) = height.checked_sub(1).filter(|below| *below >= self.ctx.first) else {
            return Ok(());
        };
        if self.state.is_none() {
            return Ok(());
        }
        let Some(value) = self.take_results(below)? else {
            self.outcome.results_missing += 1;
            return Ok(());
        };
        self.count(checks::RESULTS_HASH, 1);
        match results_with_hash(&value, meta.header.last_results_hash) {
            Some(results) => {
                if let Some(app_hash) = results.app_hash {
                    self.count(checks::APP_HASH, 1);
                    if app_hash != meta.header.app_hash {
                        let what = format!(
                            "the results say app hash {}, the header of height {height} says {}",
                            hex::encode(app_hash),
                            hex::encode(meta.header.app_hash)
                        );
                        self.state_finding(checks::APP_HASH, table::RESULTS, below, what);
                    }
                }
            }
            None => {
                let what =
                    format!("the results don't have the root in the header of height {height}");
                self.state_finding(checks::RESULTS_HASH, table::RESULTS, below, what);
            }
        }
        Ok(())
    }

    /// The results of a height, as stored; they aren't kept.
    pub(super) fn take_results(&mut self, height: u64) -> Result<Option<Vec<u8>>> {
        if let Some(stored) = self.results.remove(&height) {
            return Ok(stored);
        }
        match &mut self.state {
            Some(state) => state.at(table::RESULTS, height),
            None => Ok(None),
        }
    }

    fn check_params(&mut self, height: u64, meta: &BlockMeta<'_>) -> Result<()> {
        let Some(state) = &mut self.state else {
            self.outcome.verdict.skip(checks::CONSENSUS_HASH, 1, "the home has no state.db");
            return Ok(());
        };
        let stored = state.at(table::PARAMS, height)?;
        self.count(checks::CONSENSUS_HASH, 1);
        let wrong = |this: &mut Self, what: String| {
            this.state_finding(checks::CONSENSUS_HASH, table::PARAMS, height, what);
        };
        let Some(value) = stored else {
            wrong(self, "the record of the height's parameters is missing".to_owned());
            return Ok(());
        };
        self.count(checks::CANONICAL, 1);
        if let Err(deviation) = shapes::PARAMS_INFO.check(&value) {
            self.state_finding(checks::CANONICAL, table::PARAMS, height, deviation.to_string());
        }
        match self.params_hash(height, &value)? {
            Ok(hash) if hash == meta.header.consensus_hash => {}
            Ok(_) => wrong(self, "the parameters don't have the hash in the header".to_owned()),
            Err(what) => wrong(self, what),
        }
        Ok(())
    }

    /// Where parameters didn't change, only the height at which they did is stored.
    fn params_hash(
        &mut self,
        height: u64,
        value: &[u8],
    ) -> Result<std::result::Result<Hash, String>> {
        let hashed = |value: &[u8]| -> std::result::Result<(HashedParams, u64), String> {
            let info = ParamsInfo::decode(value).map_err(|error| error.to_string())?;
            let params = HashedParams::decode(info.params).map_err(|error| error.to_string())?;
            Ok((params, u64::try_from(info.last_height_changed).unwrap_or(0)))
        };
        let (params, changed) = match hashed(value) {
            Ok(found) => found,
            Err(what) => return Ok(Err(what)),
        };
        // A block of no bytes is allowed by no parameters: such a record has none.
        if params != HashedParams::default() {
            return Ok(Ok(params.hash()));
        }
        if let Some((at, hash)) = self.params
            && at == changed
        {
            return Ok(Ok(hash));
        }
        if changed >= height {
            return Ok(Err(format!("it has no parameters and points to height {changed}")));
        }
        let Some(state) = &self.ctx.state else { return Ok(Err("no state store".to_owned())) };
        let Some(value) = state.at(table::PARAMS, changed)? else {
            return Ok(Err(format!("it points to height {changed}, whose record is missing")));
        };
        Ok(match hashed(&value) {
            Ok((params, _)) => {
                let hash = params.hash();
                self.params = Some((changed, hash));
                Ok(hash)
            }
            Err(what) => Err(what),
        })
    }
}

/// The results in whichever of their two forms has this hash.
pub(super) fn results_with_hash<'a>(value: &'a [u8], hash: &[u8]) -> Option<Results<'a>> {
    [Results::decode(value), Results::decode_finalize(value)]
        .into_iter()
        .flatten()
        .find(|results| results.hash().is_ok_and(|found| found == hash))
}
