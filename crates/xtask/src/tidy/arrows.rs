//! Arrows between crates go down only, none sideways in a layer.

use serde_json::Value;
use std::collections::BTreeMap;

/// The layer of every crate; an arrow goes to a lower layer only.
const LAYERS: &[(&str, u8)] = &[
    ("transload-model", 0),
    ("transload-store", 1),
    ("transload-codec", 1),
    ("transload-observe", 1),
    ("transload-drivers", 2),
    ("transload-chains", 2),
    ("transload-engine", 3),
    ("transload", 5),
    ("xtask", 6),
    ("transload-bench", 6),
    ("transload-fuzz", 6),
];

/// Arrows that go down and are forbidden all the same: the engine is handed drivers and
/// profiles, so that it can't depend on one.
const FORBIDDEN: &[(&str, &str)] =
    &[("transload-engine", "transload-drivers"), ("transload-engine", "transload-chains")];

/// What `cargo metadata` shows that must not be.
pub(super) fn faults(metadata: &Value) -> Vec<String> {
    let layers: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let mut faults = Vec::new();
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    if packages.is_empty() {
        faults.push("cargo metadata names no crate".to_owned());
    }
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(layer) = layers.get(name) else {
            faults.push(format!("crate {name} has no layer in crates/xtask/src/tidy/arrows.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let Some(below) = layers.get(to) else { continue };
            // Tests of a lower crate may borrow from a higher one only where cargo allows a
            // circle; the house doesn't.
            if below >= layer || FORBIDDEN.contains(&(name, to)) {
                faults.push(format!("crate {name} (layer {layer}) must not use {to} ({below})"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn uses(name: &str, dependency: &str) -> Value {
        json!({"packages": [{"name": name, "dependencies": [{"name": dependency}]}]})
    }

    #[test]
    fn an_arrow_up_sideways_or_to_a_handed_in_crate_is_a_fault() {
        for (from, to) in [
            ("transload-model", "transload-store"),
            ("transload-store", "transload-codec"),
            ("transload-drivers", "transload-chains"),
            ("transload-engine", "transload-drivers"),
            ("transload-engine", "transload-chains"),
            ("transload-chains", "transload"),
        ] {
            assert_eq!(faults(&uses(from, to)).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn an_arrow_down_or_out_of_the_house_is_fine() {
        for (from, to) in
            [("transload-engine", "transload-store"), ("transload", "transload-drivers")]
        {
            assert!(faults(&uses(from, to)).is_empty(), "{from} -> {to}");
        }
        assert!(faults(&uses("transload-model", "sha2")).is_empty());
    }

    #[test]
    fn a_crate_without_a_layer_is_a_fault() {
        assert_eq!(faults(&uses("transload-surprise", "sha2")).len(), 1);
        assert_eq!(faults(&json!({"packages": []})).len(), 1);
    }
}
