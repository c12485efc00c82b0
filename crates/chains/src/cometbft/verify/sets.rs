//! Validator sets by height, and whose turn it is to propose.

use super::{Ctx, checks};
use crate::cometbft::layout::state as table;
use crate::cometbft::wire::shapes;
use crate::cometbft::wire::validators::{
    CHECKPOINT_INTERVAL, KeyKind, PublicKey, ValidatorSet, ValidatorsInfo,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use transload_model::merkle::Hash;
use transload_store::Result;

/// Sets kept decoded at a time: a range of heights uses one or two.
const SETS_KEPT: usize = 4;

/// What is wrong with the record of a height by itself, and which check says so: bytes that no
/// node writes, or a set where a node writes only the height of the last change.
pub(super) fn record_faults(height: u64, value: &[u8]) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    if let Err(deviation) = shapes::VALIDATORS_INFO.check(value) {
        faults.push((checks::CANONICAL, deviation.to_string()));
    }
    if let Ok(info) = ValidatorsInfo::decode(value)
        && info.set_raw.is_some()
        && !height.is_multiple_of(CHECKPOINT_INTERVAL)
        && u64::try_from(info.last_height_changed) != Ok(height)
    {
        let what = format!(
            "the record has a set of its own and says that it changed at height {}",
            info.last_height_changed
        );
        faults.push((checks::VALIDATORS_HASH, what));
    }
    faults
}

/// A validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) address: Vec<u8>,
    pub(super) kind: KeyKind,
    pub(super) key: Vec<u8>,
    pub(super) power: i64,
    priority: i64,
}

/// A stored validator set.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) stored_at: u64,
    pub(super) hash: Hash,
    /// `None` when powers aren't positive or overflow.
    pub(super) total: Option<u64>,
    pub(super) members: Vec<Member>,
    proposer: Option<Vec<u8>>,
    /// Whether every address is the hash of its key.
    pub(super) addresses_hold: bool,
    /// Whether proposer and sum are those of the members.
    pub(super) holds_together: bool,
}

impl Set {
    pub(super) fn of(set: &ValidatorSet<'_>, stored_at: u64) -> Self {
        let addresses_hold = set.validators.iter().all(|validator| {
            validator.key.address().is_none_or(|address| address == validator.address)
        });
        let members = set
            .validators
            .iter()
            .map(|validator| Member {
                address: validator.address.to_vec(),
                kind: validator.key.kind,
                key: validator.key.bytes.to_vec(),
                power: validator.power,
                priority: validator.priority,
            })
            .collect();
        Self {
            stored_at,
            hash: set.hash(),
            total: set.total_power(),
            members,
            proposer: set.proposer.map(<[u8]>::to_vec),
            addresses_hold,
            holds_together: set.holds_together(),
        }
    }

    /// Whether a set stored elsewhere has the same members, and what no hash covers of it follows
    /// from them.
    pub(super) fn is_same(&self, other: &ValidatorSet<'_>) -> bool {
        let addresses = other.validators.iter().map(|validator| validator.address);
        other.hash() == self.hash
            && other.holds_together()
            && addresses.eq(self.members.iter().map(|member| member.address.as_slice()))
    }

    pub(super) fn member(&self, address: &[u8]) -> Option<&Member> {
        self.members.iter().find(|member| member.address == address)
    }
}

/// Why there is no set for a height.
pub(super) enum NoSet {
    /// The record of the height itself is missing.
    NoRecord,
    /// The record points to one without a set, or isn't readable.
    Broken(String),
}

/// Looks sets up as the node does.
#[derive(Default)]
pub(super) struct Sets {
    kept: BTreeMap<u64, Arc<Set>>,
}

impl Sets {
    /// The set of `height`: in its own record, else where that record points.
    pub(super) fn at(
        &mut self,
        ctx: &Ctx<'_>,
        height: u64,
    ) -> Result<std::result::Result<Arc<Set>, NoSet>> {
        let stored = match &ctx.state {
            Some(state) => state.at(table::VALIDATORS, height)?,
            None => None,
        };
        self.of(ctx, height, stored.as_deref())
    }

    /// The same, where the record of `height` was read.
    pub(super) fn of(
        &mut self,
        ctx: &Ctx<'_>,
        height: u64,
        stored: Option<&[u8]>,
    ) -> Result<std::result::Result<Arc<Set>, NoSet>> {
        let (Some(state), Some(value)) = (&ctx.state, stored) else {
            return Ok(Err(NoSet::NoRecord));
        };
        let info = match ValidatorsInfo::decode(value) {
            Ok(info) => info,
            Err(error) => return Ok(Err(NoSet::Broken(error.to_string()))),
        };
        if let Some(raw) = info.set_raw {
            return Ok(self.keep(raw, height));
        }
        let Some(stored_at) = info.stored_at(height).filter(|stored| *stored < height) else {
            let what = format!(
                "it has no set and points to height {}, which isn't below it",
                info.last_height_changed
            );
            return Ok(Err(NoSet::Broken(what)));
        };
        if let Some(set) = self.kept.get(&stored_at) {
            return Ok(Ok(Arc::clone(set)));
        }
        let Some(value) = state.at(table::VALIDATORS, stored_at)? else {
            let what = format!("it points to height {stored_at}, whose record is missing");
            return Ok(Err(NoSet::Broken(what)));
        };
        match ValidatorsInfo::decode(&value) {
            Ok(ValidatorsInfo { set_raw: Some(raw), .. }) => Ok(self.keep(raw, stored_at)),
            Ok(_) => {
                let what = format!("it points to height {stored_at}, whose record has no set");
                Ok(Err(NoSet::Broken(what)))
            }
            Err(error) => Ok(Err(NoSet::Broken(error.to_string()))),
        }
    }

    fn keep(&mut self, raw: &[u8], stored_at: u64) -> std::result::Result<Arc<Set>, NoSet> {
        if let Some(set) = self.kept.get(&stored_at) {
            return Ok(Arc::clone(set));
        }
        let set = ValidatorSet::decode(raw).map_err(|error| NoSet::Broken(error.to_string()))?;
        let set = Arc::new(Set::of(&set, stored_at));
        while self.kept.len() >= SETS_KEPT {
            self.kept.pop_first();
        }
        self.kept.insert(stored_at, Arc::clone(&set));
        Ok(set)
    }
}

/// The rotation of proposers: which validator proposes in round 0 of a height, and who would in
/// later rounds (CometBFT `ValidatorSet.IncrementProposerPriority`).
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    stored_at: u64,
    height: u64,
    set: Arc<Set>,
    priorities: Vec<i64>,
    proposer: Option<usize>,
}

impl Rotation {
    /// At `height`, from the set that holds there.
    pub(super) fn at(set: &Arc<Set>, height: u64) -> Self {
        let proposer = set
            .proposer
            .as_ref()
            .and_then(|address| set.members.iter().position(|m| m.address == *address));
        let mut rotation = Self {
            stored_at: set.stored_at,
            height: set.stored_at,
            set: Arc::clone(set),
            priorities: set.members.iter().map(|member| member.priority).collect(),
            proposer,
        };
        while rotation.height < height {
            rotation.step();
            rotation.height += 1;
        }
        rotation
    }

    /// The rotation of the next height, whose set this is.
    pub(super) fn follow(self, set: &Arc<Set>, height: u64) -> Self {
        if set.stored_at == self.stored_at && self.height < height {
            let mut next = self;
            while next.height < height {
                next.step();
                next.height += 1;
            }
            next
        } else {
            Self::at(set, height)
        }
    }

    /// Whether `address` proposes in one of the rounds 0 to `round`; `None` when so many rounds
    /// were played that everybody had a turn several times over.
    pub(super) fn had_a_turn(&self, address: &[u8], round: u32) -> bool {
        let proposes = |rotation: &Self| {
            rotation.proposer.is_some_and(|index| rotation.set.members[index].address == address)
        };
        if proposes(self) {
            return true;
        }
        let mut later = self.clone();
        for _ in 0..round {
            later.step();
            if proposes(&later) {
                return true;
            }
        }
        false
    }

    fn step(&mut self) {
        let (Some(total), false) = (
            self.set.total.and_then(|total| i64::try_from(total).ok()),
            self.priorities.is_empty(),
        ) else {
            self.proposer = None;
            return;
        };
        self.rescale(total.saturating_mul(2));
        let sum: i128 = self.priorities.iter().map(|priority| i128::from(*priority)).sum();
        let count = self.priorities.len() as i128;
        let average = i64::try_from(sum.div_euclid(count)).unwrap_or(0);
        for (priority, member) in self.priorities.iter_mut().zip(&self.set.members) {
            *priority = priority.saturating_sub(average).saturating_add(member.power);
        }
        let chosen = (0..self.priorities.len()).max_by(|a, b| {
            // The highest priority; among equals the lowest address.
            let order = self.priorities[*a].cmp(&self.priorities[*b]);
            order.then_with(|| self.set.members[*b].address.cmp(&self.set.members[*a].address))
        });
        if let Some(chosen) = chosen {
            self.priorities[chosen] = self.priorities[chosen].saturating_sub(total);
        }
        self.proposer = chosen;
    }

    fn rescale(&mut self, window: i64) {
        let (Some(highest), Some(lowest)) =
            (self.priorities.iter().max(), self.priorities.iter().min())
        else {
            return;
        };
        let difference = i128::from(*highest) - i128::from(*lowest);
        let window = i128::from(window);
        if window > 0 && difference > window {
            let ratio = (difference + window - 1) / window;
            let ratio = i64::try_from(ratio).unwrap_or(i64::MAX);
            for priority in &mut self.priorities {
                *priority /= ratio;
            }
        }
    }
}

/// Keys and powers after `updates`, as the hash of a new set in the order that the chain gives
/// it: by power, then by address.
pub(super) fn hash_after(set: &Set, updates: &[(PublicKey<'_>, i64)]) -> Option<Hash> {
    use crate::cometbft::wire::validators::Validator;
    let mut powers: BTreeMap<Vec<u8>, (KeyKind, Vec<u8>, i64)> =
        set.members.iter().map(|m| (m.address.clone(), (m.kind, m.key.clone(), m.power))).collect();
    for (key, power) in updates {
        let address = key.address()?.to_vec();
        if *power == 0 {
            powers.remove(&address);
        } else {
            powers.insert(address, (key.kind, key.bytes.to_vec(), *power));
        }
    }
    let mut validators: Vec<Validator<'_>> = powers
        .iter()
        .map(|(address, (kind, bytes, power))| Validator {
            address,
            key: PublicKey { kind: *kind, bytes },
            power: *power,
            priority: 0,
        })
        .collect();
    validators.sort_by(|a, b| b.power.cmp(&a.power).then_with(|| a.address.cmp(b.address)));
    Some(ValidatorSet { validators, ..ValidatorSet::default() }.hash())
}
