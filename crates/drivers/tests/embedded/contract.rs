//! The contract suite, for each engine.

use crate::subject::{Embedded, for_each_driver};
use transload_store::contract;

/// The parts of the suite; a part that is added must run here too.
const PARTS: usize = 22;

#[test]
fn every_embedded_engine_keeps_the_contract() {
    for_each_driver(|driver| {
        let subject = Embedded::new(driver);
        let ran = contract::run(&subject);
        assert_eq!(ran.len(), PARTS, "{}: {ran:?}", subject.engine());
    });
}
