//! Validators' signatures as a chain's commits hold them: the same keys height after height.
//!
//! The pair is one thread that verifies each signature alone, by the rules of releases before
//! 0.38, and one that gathers them into batches, by ZIP-215.

use crate::measure::{self, median};
use crate::{Result, say};
use ed25519_dalek::{Signer as _, SigningKey};
use transload_chains::cometbft::signature::{Ed25519Rules, Signatures};
use transload_chains::cometbft::wire::validators::KeyKind;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Validators that sign each height
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    validators: u16,
    /// Heights
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    heights: u32,
    /// Rounds; the medians are compared
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// A vote's bytes that are signed are about as long.
const MESSAGE_BYTES: usize = 120;

struct Signed {
    key: [u8; 32],
    message: [u8; MESSAGE_BYTES],
    signature: [u8; 64],
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let all = sign(arguments);
    let names = ["one at a time", "in batches"];
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..arguments.rounds.max(1) {
        for (runs, rules) in seconds.iter_mut().zip([Ed25519Rules::Strict, Ed25519Rules::Zip215]) {
            runs.push(measure::timed(|| verify(&all, rules))?.seconds);
        }
    }
    let medians = seconds.map(|mut runs| median(&mut runs));
    say(&format!(
        "{} signatures of {} validators, one thread\n\n{:<16}{:>24}",
        all.len(),
        arguments.validators,
        "median",
        "microseconds a signature"
    ));
    for (name, median) in names.iter().zip(medians) {
        say(&format!("{name:<16}{:>24.2}", median * 1e6 / all.len() as f64));
    }
    say(&format!("\nratio: one at a time / in batches{:>8.2}", medians[0] / medians[1]));
    Ok(())
}

fn sign(arguments: &Arguments) -> Vec<Signed> {
    let keys: Vec<SigningKey> = (0..arguments.validators)
        .map(|number| {
            let mut seed = [7; 32];
            seed[..2].copy_from_slice(&number.to_be_bytes());
            SigningKey::from_bytes(&seed)
        })
        .collect();
    let mut all = Vec::new();
    for height in 0..arguments.heights {
        for key in &keys {
            let mut message = [8; MESSAGE_BYTES];
            message[..4].copy_from_slice(&height.to_be_bytes());
            let signature = key.sign(&message).to_bytes();
            all.push(Signed { key: key.verifying_key().to_bytes(), message, signature });
        }
    }
    all
}

fn verify(all: &[Signed], rules: Ed25519Rules) -> Result<(u64, u64)> {
    let mut signatures = Signatures::new(rules);
    for (number, one) in all.iter().enumerate() {
        signatures
            .push(KeyKind::Ed25519, &one.key, &one.message, &one.signature, number)
            .map_err(|_| "Ed25519 is no known kind of key")?;
    }
    let (checked, wrong) = signatures.finish();
    if checked != all.len() as u64 || !wrong.is_empty() {
        return Err(format!("{checked} of {} were checked, {} wrong", all.len(), wrong.len()));
    }
    Ok((checked, checked * MESSAGE_BYTES as u64))
}
