//! From the stores' roots to CommitInfo, and from CommitInfo to the hashes in headers.

use super::records::{Root, RootKind};
use super::{Ctx, checks, finding, name};
use crate::iavl::commit::CommitInfo;
use crate::iavl::keys::{Key, NodeId, STORES_PREFIX, commit_info_key, store_prefix};
use crate::iavl::layout;
use crate::iavl::node::empty_tree_hash;
use std::collections::BTreeMap;
use transload_codec::decimal;
use transload_model::report::Verdict;
use transload_store::sort::{Sequence, SpoolReader, Spooled};
use transload_store::{KeyRange, Result, Walk};

/// What a reader of roots fetches at a time: there is one a store.
const READ_BYTES: usize = 32 << 10;

/// What the check of a store leaves for this one.
pub(super) struct StoreOutcome {
    pub(super) store: Vec<u8>,
    pub(super) roots: Spooled,
    pub(super) first_entry: Option<u64>,
    pub(super) latest: Option<u64>,
    pub(super) verdict: Verdict,
}

/// Versions that have a CommitInfo, as ranges. A scan meets decimal versions out of order, but
/// in order among those with the same number of digits.
#[derive(Default)]
struct Kept {
    by_digits: BTreeMap<u32, Vec<(u64, u64)>>,
}

impl Kept {
    fn add(&mut self, version: u64) {
        let ranges = self.by_digits.entry(decimal::digits(version)).or_default();
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(version) => *last = version,
            _ => ranges.push((version, version)),
        }
    }

    /// All ranges in order, joined where one follows the other.
    fn ranges(&self) -> Vec<(u64, u64)> {
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (first, last) in self.by_digits.values().flatten() {
            match joined.last_mut() {
                Some((_, end)) if end.checked_add(1) == Some(*first) => *end = *last,
                _ => joined.push((*first, *last)),
            }
        }
        joined
    }
}

/// Checks everything outside the stores' trees, and the roots against it.
pub(super) fn check(
    ctx: &Ctx<'_>,
    mut outcomes: Vec<StoreOutcome>,
    verdict: &mut Verdict,
) -> Result<()> {
    for outcome in &mut outcomes {
        verdict.absorb(std::mem::replace(&mut outcome.verdict, Verdict::nothing()));
    }
    check_commit_infos(ctx, verdict)?;
    check_stores(ctx, &outcomes, verdict)?;
    check_roots(ctx, &outcomes, verdict)
}

/// Scans what stands outside the stores: each CommitInfo by itself and against its header.
pub(super) fn check_commit_infos(ctx: &Ctx<'_>, verdict: &mut Verdict) -> Result<u64> {
    let mut kept = Kept::default();
    let (mut unknown, mut infos, mut uncovered) = (0_u64, 0_u64, 0_u64);
    let stores = KeyRange::prefix(STORES_PREFIX);
    let before = KeyRange { start: Vec::new(), end: Some(stores.start) };
    let after = KeyRange { start: stores.end.unwrap_or_default(), end: None };
    for range in [before, after] {
        let mut scan = Walk::new(ctx.snapshot, &range)?;
        let mut untold = 0;
        while let Some((key, value)) = scan.next()? {
            untold += (key.len() + value.len()) as u64;
            if untold > 1 << 20 {
                ctx.advance(std::mem::take(&mut untold))?;
            }
            match Key::parse(key) {
                Key::CommitInfo(version) => {
                    kept.add(version);
                    infos += 1;
                    uncovered += u64::from(!check_commit_info(ctx, key, value, version, verdict)?);
                }
                Key::Latest | Key::Prune => {}
                Key::Store { .. } | Key::Unknown => unknown += 1,
            }
        }
        scan.end()?;
        ctx.advance(untold)?;
    }
    verdict.count(checks::COMMIT_INFO, infos);
    if unknown > 0 {
        verdict.notices.push(format!(
            "application.db: {unknown} entries outside the stores that no known version writes"
        ));
    }
    if uncovered > 0 {
        verdict.limits.push(format!(
            "the application's hash of {uncovered} of {infos} versions in application.db has no \
             header to be compared with: their headers are pruned or not made yet"
        ));
    }
    check_row(ctx, &kept.ranges(), verdict);
    Ok(infos)
}

/// Whether a header covers the version.
fn check_commit_info(
    ctx: &Ctx<'_>,
    key: &[u8],
    value: &[u8],
    version: u64,
    verdict: &mut Verdict,
) -> Result<bool> {
    let mut find = |check, what: String| {
        verdict.find(finding(check, layout::COMMIT_INFO, key, Some(version), what));
    };
    let info = match CommitInfo::decode(value) {
        Ok(info) => info,
        Err(error) => {
            find(checks::ENTRY, format!("the CommitInfo can't be decoded: {error}"));
            return Ok(true);
        }
    };
    if let Err(deviation) = CommitInfo::check_canonical(value) {
        find(checks::COMMIT_INFO, format!("the CommitInfo isn't canonical: {deviation}"));
    }
    if info.version != version {
        find(checks::COMMIT_INFO, format!("the CommitInfo speaks of version {}", info.version));
    }
    for store in info.stores.iter().filter(|store| store.has_tree()) {
        if store.version != version {
            let what =
                format!("store {} is listed with version {}", name(store.name), store.version);
            find(checks::COMMIT_INFO, what);
        }
    }
    let Some(hash) = info.app_hash() else {
        find(checks::COMMIT_INFO, "the CommitInfo lists a store twice".to_owned());
        return Ok(true);
    };
    match (ctx.app_hash_of)(version)? {
        Some(certified) => {
            if certified != hash {
                let what = format!(
                    "the stores' hashes give {}, and the chain has {} as the application's hash",
                    hex::encode(hash),
                    hex::encode(&certified)
                );
                find(checks::APP_HASH, what);
            }
            verdict.count(checks::APP_HASH, 1);
            Ok(true)
        }
        None => Ok(false),
    }
}

/// Every version from the first to the last has a CommitInfo.
fn check_row(ctx: &Ctx<'_>, ranges: &[(u64, u64)], verdict: &mut Verdict) {
    for pair in ranges.windows(2) {
        let (first, last) = (pair[0].1 + 1, pair[1].0 - 1);
        let what = format!("no CommitInfo for versions {first} to {last}");
        let key = commit_info_key(first);
        verdict.find(finding(checks::COMMIT_INFO, layout::COMMIT_INFO, &key, Some(first), what));
    }
    let Some((_, last)) = ranges.last() else { return };
    match ctx.latest {
        Some(latest) if latest < *last => verdict.notices.push(format!(
            "application.db: CommitInfo goes on to version {last}, the last version committed is \
             {latest}: the application was rolled back"
        )),
        Some(latest) if latest == *last => {}
        _ => {
            let what = format!("the last version committed isn't {last}, the last CommitInfo's");
            let key = crate::iavl::keys::LATEST_KEY;
            verdict.find(finding(checks::COMMIT_INFO, layout::LATEST, key, ctx.latest, what));
        }
    }
}

/// Stores on disk against those that the last CommitInfo lists, and no version above it.
fn check_stores(ctx: &Ctx<'_>, outcomes: &[StoreOutcome], verdict: &mut Verdict) -> Result<()> {
    let Some(latest) = ctx.latest else {
        if !outcomes.is_empty() {
            let what = "there are stores, and no last version committed";
            let key = crate::iavl::keys::LATEST_KEY;
            verdict.find(finding(checks::STORES, layout::LATEST, key, None, what));
        }
        return Ok(());
    };
    let stored = ctx.snapshot.get(&commit_info_key(latest))?;
    let info = stored.as_deref().map(CommitInfo::decode).and_then(std::result::Result::ok);
    let info = info.unwrap_or_default();
    for outcome in outcomes {
        verdict.count(checks::STORES, 1);
        let prefix = store_prefix(&outcome.store);
        let store = name(&outcome.store);
        if info.store(&outcome.store).is_none() {
            // A store that was removed stays on disk as it was when it was last listed.
            let last = outcome.latest.map(commit_info_key);
            let stored = last.map(|key| ctx.snapshot.get(&key)).transpose()?.flatten();
            let last = stored.as_deref().map(CommitInfo::decode).and_then(std::result::Result::ok);
            let listed = last.is_some_and(|info| info.store(&outcome.store).is_some());
            let before = outcome.latest.is_some_and(|version| version <= latest);
            if listed || (before && was_listed(ctx, outcome)?) {
                verdict.notices.push(format!(
                    "application.db: store {store} isn't part of the application any more"
                ));
            } else {
                let what = format!("store {store} is on disk and no CommitInfo lists it");
                verdict.find(finding(checks::STORES, layout::ROOT, &prefix, None, what));
            }
        }
        match outcome.latest {
            Some(above) if above == latest + 1 => verdict.notices.push(format!(
                "application.db: store {store} has version {above}, which was never committed: \
                 the node was killed in between"
            )),
            Some(above) if above > latest => {
                let what = format!(
                    "store {store} has version {above}, and the last version committed is {latest}"
                );
                let key = [prefix.as_slice(), NodeId::new(above, 1).bytes()].concat();
                verdict.find(finding(checks::STORES, layout::ROOT, &key, Some(above), what));
            }
            _ => {}
        }
    }
    for listed in info.stores.iter().filter(|store| store.has_tree()) {
        if !outcomes.iter().any(|outcome| outcome.store == listed.name) {
            let what = format!("store {} is listed and has no entry", name(listed.name));
            let key = commit_info_key(latest);
            verdict.find(finding(checks::STORES, layout::COMMIT_INFO, &key, Some(latest), what));
        }
    }
    Ok(())
}

/// The version before a store's last one lists it: its last version is the one in which it was
/// removed.
fn was_listed(ctx: &Ctx<'_>, outcome: &StoreOutcome) -> Result<bool> {
    let Some(before) = outcome.latest.and_then(|version| version.checked_sub(1)) else {
        return Ok(false);
    };
    let stored = ctx.snapshot.get(&commit_info_key(before))?;
    let info = stored.as_deref().map(CommitInfo::decode).and_then(std::result::Result::ok);
    Ok(info.is_some_and(|info| info.store(&outcome.store).is_some()))
}

/// Merges the stores' roots by version, each version with its CommitInfo.
fn check_roots(ctx: &Ctx<'_>, outcomes: &[StoreOutcome], verdict: &mut Verdict) -> Result<()> {
    let latest_info = match ctx.latest {
        Some(latest) => ctx.snapshot.get(&commit_info_key(latest))?,
        None => None,
    };
    let latest_info =
        latest_info.as_deref().map(CommitInfo::decode).and_then(std::result::Result::ok);
    let mounted: Vec<bool> = outcomes
        .iter()
        .map(|outcome| {
            latest_info.as_ref().is_some_and(|info| info.store(&outcome.store).is_some())
        })
        .collect();
    // Stores that were removed are never pruned: they say nothing about what is kept.
    let first = outcomes.iter().zip(&mounted).filter(|(_, mounted)| **mounted);
    let first = first.filter_map(|(outcome, _)| outcome.first_entry).min();
    let mut readers = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        readers.push(outcome.roots.reader(READ_BYTES)?);
    }
    let (mut complete, mut range) = (0_u64, None::<(u64, u64)>);
    let mut present: Vec<(usize, Root)> = Vec::with_capacity(outcomes.len());
    while let Some(version) = next_version(&readers)? {
        present.clear();
        for (index, reader) in readers.iter_mut().enumerate() {
            while let Some(record) = reader.current() {
                let root = Root::parse(record)?;
                if root.version != version {
                    break;
                }
                // The node asks for the 1.x form first.
                match present.last_mut() {
                    Some((of, other)) if *of == index && other.legacy => *other = root,
                    Some((of, _)) if *of == index => {}
                    _ => present.push((index, root)),
                }
                reader.advance()?;
            }
        }
        let check = VersionCheck { ctx, outcomes, mounted: &mounted, version, first };
        if check.roots(&present, verdict)? {
            complete += 1;
            range = Some((range.map_or(version, |(first, _)| first), version));
        }
    }
    if let Some((first, last)) = range {
        verdict.notices.push(format!(
            "application.db: {complete} versions of the state are kept, from {first} to {last}"
        ));
    }
    Ok(())
}

fn next_version(readers: &[SpoolReader]) -> Result<Option<u64>> {
    let mut least = None;
    for reader in readers {
        if let Some(record) = reader.current() {
            let version = Root::parse(record)?.version;
            least = Some(least.map_or(version, |least: u64| least.min(version)));
        }
    }
    Ok(least)
}

struct VersionCheck<'a> {
    ctx: &'a Ctx<'a>,
    outcomes: &'a [StoreOutcome],
    mounted: &'a [bool],
    version: u64,
    /// The first version that certainly is kept.
    first: Option<u64>,
}

impl VersionCheck<'_> {
    /// Checks the roots of one version; whether it is kept whole.
    fn roots(&self, present: &[(usize, Root)], verdict: &mut Verdict) -> Result<bool> {
        let version = self.version;
        if self.ctx.latest.is_none_or(|latest| version > latest) {
            // Named with the stores.
            return Ok(false);
        }
        let stored = self.ctx.snapshot.get(&commit_info_key(version))?;
        let is_kept =
            present.iter().any(|(index, root)| self.mounted[*index] && root.kind != RootKind::Node)
                || self.ctx.latest == Some(version);
        let Some(stored) = stored else {
            if is_kept {
                let key = commit_info_key(version);
                let what = "the version's roots are kept, and its CommitInfo isn't there";
                let table = layout::COMMIT_INFO;
                verdict.find(finding(checks::COMMIT_INFO, table, &key, Some(version), what));
            }
            return Ok(false);
        };
        // One that can't be decoded has been found already.
        let Ok(info) = CommitInfo::decode(&stored) else { return Ok(false) };
        for (index, root) in present {
            let store = &self.outcomes[*index].store;
            let Some(listed) = info.store(store) else { continue };
            verdict.count(checks::ROOT, 1);
            let empty = root.hash == empty_tree_hash() && listed.hash.is_empty();
            if root.kind != RootKind::Broken && root.hash != listed.hash && !empty {
                let what = format!(
                    "store {}: the root of version {version} is {}, and CommitInfo has {}",
                    name(store),
                    hex::encode(root.hash),
                    hex::encode(listed.hash)
                );
                verdict.find(self.finding(store, root.legacy, what));
            }
        }
        let mut whole = true;
        for listed in info.stores.iter().filter(|store| store.has_tree()) {
            let here = |(index, _): &(usize, Root)| self.outcomes[*index].store == listed.name;
            if present.iter().any(here) {
                continue;
            }
            whole = false;
            if !is_kept {
                continue;
            }
            let what = format!(
                "store {} has no root for version {version}, which other stores have",
                name(listed.name)
            );
            if self.first == Some(version) && self.ctx.latest != Some(version) {
                verdict
                    .notices
                    .push(format!("application.db: {what}: pruning was interrupted there"));
            } else {
                verdict.find(self.finding(listed.name, false, what));
            }
        }
        Ok(whole)
    }

    fn finding(
        &self,
        store: &[u8],
        legacy: bool,
        what: String,
    ) -> transload_model::report::Finding {
        let entry = if legacy {
            [b"r".as_slice(), &self.version.to_be_bytes()].concat()
        } else {
            NodeId::new(self.version, 1).bytes().to_vec()
        };
        let key = [store_prefix(store), entry].concat();
        finding(checks::ROOT, layout::ROOT, &key, Some(self.version), what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_across_numbers_of_digits() {
        let mut kept = Kept::default();
        for version in [1, 10, 100, 101, 103, 11, 12, 2, 3, 4, 5, 6, 7, 8, 9, 97, 98, 99] {
            kept.add(version);
        }
        assert_eq!(kept.ranges(), [(1, 12), (97, 101), (103, 103)]);
    }
}
