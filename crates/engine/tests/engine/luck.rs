//! Decides, from a seed, which calls go wrong: one, some, or all from one on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use transload_store::Kind;
use transload_store::layers::{Call, Schedule, Trouble};

/// More calls than any run makes that comes to an end: beyond it somebody tries for ever.
const CALLS_MAX: u64 = 200_000;

/// Pseudo-random numbers from a seed (`SplitMix64`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// Where a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Source,
    Target,
    Journal,
    Disk,
}

pub(crate) const PLACES: [Place; 4] = [Place::Source, Place::Target, Place::Journal, Place::Disk];

/// Which calls of a place go wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plague {
    /// None.
    Calm,
    /// The call of this number, from 0.
    Once(Place, u64),
    /// One in so many, wherever.
    Often(u64),
    /// All from this number on, as on a disk that died.
    From(Place, u64),
}

/// What goes wrong in one run. It counts the calls of all places.
#[derive(Debug)]
pub(crate) struct Luck {
    seed: u64,
    plague: Plague,
    calls: [AtomicU64; PLACES.len()],
    struck: AtomicU64,
    lied: AtomicBool,
    journal_lied: AtomicBool,
}

impl Luck {
    pub(crate) fn new(seed: u64, plague: Plague) -> Self {
        Self {
            seed,
            plague,
            calls: Default::default(),
            struck: AtomicU64::new(0),
            lied: AtomicBool::new(false),
            journal_lied: AtomicBool::new(false),
        }
    }

    /// How many calls were made at a place.
    pub(crate) fn calls(&self, place: Place) -> u64 {
        self.calls[place as usize].load(Ordering::SeqCst)
    }

    /// How many calls went wrong.
    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::SeqCst)
    }

    /// Whether a call said something else than what happened.
    pub(crate) fn lied(&self) -> bool {
        self.lied.load(Ordering::SeqCst)
    }

    /// Whether the journal read or kept something else than what was written.
    pub(crate) fn journal_lied(&self) -> bool {
        self.journal_lied.load(Ordering::SeqCst)
    }

    /// Notes that a call lies.
    pub(crate) fn lie(&self, place: Place) {
        self.lied.store(true, Ordering::SeqCst);
        if place == Place::Journal {
            self.journal_lied.store(true, Ordering::SeqCst);
        }
    }

    /// Whether a disk that died can't lie any more.
    pub(crate) fn only_fails(&self) -> bool {
        matches!(self.plague, Plague::From(..))
    }

    /// Dice for how this call goes wrong, when it does.
    pub(crate) fn strikes(&self, place: Place) -> Option<Dice> {
        let number = self.calls[place as usize].fetch_add(1, Ordering::SeqCst);
        assert!(number < CALLS_MAX, "{place:?} is asked again and again");
        let mixed = self.seed ^ (number << 3 | place as u64).wrapping_mul(0x2545_f491_4f6c_dd1d);
        let mut dice = Dice(mixed);
        let strikes = match self.plague {
            Plague::Calm => false,
            Plague::Once(at, wanted) => at == place && wanted == number,
            Plague::Often(one_in) => dice.roll(one_in) == 0,
            Plague::From(at, first) => at == place && first <= number,
        };
        if strikes {
            self.struck.fetch_add(1, Ordering::SeqCst);
        }
        strikes.then_some(dice)
    }
}

/// What the stores of one side suffer.
pub(crate) struct Side(pub(crate) std::sync::Arc<Luck>, pub(crate) Place);

impl Schedule for Side {
    fn trouble(&self, _call: Call, _number: u64) -> Option<Trouble> {
        let Self(luck, place) = self;
        let mut dice = luck.strikes(*place)?;
        let fails = [
            Trouble::Fails(Kind::Io),
            Trouble::Fails(Kind::NoSpace),
            Trouble::FailsForNow(Kind::HelperLost),
            Trouble::FailsAfterwards(Kind::HelperLost),
            Trouble::Fails(Kind::Corrupt),
        ];
        let lies = [Trouble::Forgets, Trouble::FlipsBit, Trouble::EndsEarly, Trouble::Skips];
        let all = fails.len() + if luck.only_fails() { 0 } else { lies.len() };
        let pick = usize::try_from(dice.roll(all as u64)).unwrap();
        if pick >= fails.len() {
            luck.lie(*place);
        }
        fails.iter().chain(&lies).nth(pick).copied()
    }
}
