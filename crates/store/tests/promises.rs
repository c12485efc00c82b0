//! A store that promises more than it holds is found out, for each promise; one that promises
//! less passes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod liar;

use liar::{Liars, Lie};
use std::panic::{AssertUnwindSafe, catch_unwind};
use transload_store::contract::{self, Subject as _, attack};
use transload_store::{Guarantees, Isolation, Processes, Weakness};

/// Crashes of each store: enough that every lie is told.
const ROUNDS: u64 = 16;
const SEED: u64 = 7;

const LIES: [(Lie, Weakness); 6] = [
    (Lie::TearsBatches, Weakness::AtomicBatch),
    (Lie::ForgetsWhatWasSynced, Weakness::DurableSync),
    (Lie::LosesAWriteInTheMiddle, Weakness::OrderedWrites),
    (Lie::ServesDamagedBytes, Weakness::Checksummed),
    (Lie::MovesItsSnapshots, Weakness::Isolation),
    (Lie::ShowsHalfABatchBeside, Weakness::Processes),
];

/// What the attack said when it found a promise broken.
fn found_out(subject: &Liars) -> Option<String> {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(|| attack(subject, ROUNDS, SEED)));
    std::panic::set_hook(quiet);
    let words = outcome.err()?;
    let owned = words.downcast_ref::<String>().cloned();
    owned.or_else(|| words.downcast_ref::<&str>().map(|text| (*text).to_owned()))
}

fn without(mut promised: Guarantees, promise: Weakness) -> Guarantees {
    match promise {
        Weakness::AtomicBatch => promised.atomic_batch = false,
        Weakness::DurableSync => promised.durable_sync = false,
        Weakness::OrderedWrites => promised.ordered_writes = false,
        Weakness::Checksummed => promised.checksummed = false,
        Weakness::Isolation => promised.isolation = Isolation::None,
        Weakness::Processes => promised.processes = Processes::One,
    }
    promised
}

#[test]
fn a_store_that_keeps_every_promise_withstands_the_attack() {
    let honest = Liars::new(Lie::None);
    assert!(contract::run(&honest).len() > 15);
    assert_eq!(attack(&honest, ROUNDS, SEED), Weakness::ALL);
}

#[test]
fn a_store_that_promises_more_than_it_holds_is_found_out_by_name() {
    for (lie, promise) in LIES {
        let said = found_out(&Liars::new(lie));
        let said = said.unwrap_or_else(|| panic!("{lie:?} was believed"));
        assert!(said.starts_with(promise.name()), "{lie:?}: {said}");
    }
}

#[test]
fn a_store_that_promises_no_more_than_it_holds_is_let_be() {
    for (lie, promise) in LIES {
        let mut modest = Liars::new(lie);
        let promised = without(modest.target().unwrap().guarantees(), promise);
        modest.promise(promised);
        let expected: Vec<Weakness> =
            Weakness::ALL.into_iter().filter(|other| *other != promise).collect();
        assert_eq!(attack(&modest, ROUNDS, SEED), expected, "{lie:?}");
    }
}
