//! The words of a report: what was checked, what was found, how far trust reaches.

use crate::record::TableName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Findings kept in full; beyond it they are only counted, so that a ruined database can't fill
/// the memory with its own report.
pub const FINDINGS_KEPT_MAX: usize = 1_000;

/// A named check with counts. A check that was skipped has not passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCount {
    /// The check's stable name, such as `commit_signatures`.
    pub name: String,
    /// How many things were checked (headers, signatures, nodes, ...).
    #[serde(with = "decimal")]
    pub checked: u64,
    /// How many of them failed.
    #[serde(with = "decimal")]
    pub failed: u64,
    /// How many should have been checked and were not.
    #[serde(with = "decimal")]
    pub skipped: u64,
    /// Why something was skipped, or what limits the check; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Something that is wrong, named so that a person can look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check that found it.
    pub check: String,
    /// The database, such as `blockstore.db`.
    pub database: String,
    /// The table, where one is known.
    pub table: Option<TableName>,
    /// The physical key, printable characters as they are and others as `\xNN`.
    pub key: String,
    /// Keys, in the same form, of other records of the table: where a check can't tell which of
    /// several is wrong, it may be one of these instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub perhaps: Vec<String>,
    /// The height or version concerned.
    pub height: Option<u64>,
    /// What is wrong, in one sentence without a final dot.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.database, self.what)?;
        write!(f, " (check {}", self.check)?;
        if let Some(table) = &self.table {
            write!(f, ", table {table}")?;
        }
        if !self.key.is_empty() {
            write!(f, ", key {}", self.key)?;
        }
        if let Some(height) = self.height {
            write!(f, ", height {height}")?;
        }
        f.write_str(")")
    }
}

/// A key for people: printable ASCII as it is, everything else (and `\`) as `\xNN`.
#[must_use]
pub fn printable_key(key: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(key.len());
    for byte in key {
        if (byte.is_ascii_graphic() || *byte == b' ') && *byte != b'\\' {
            text.push(char::from(*byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The key that [`printable_key`] wrote: it loses nothing. `None` for text that it doesn't write.
#[must_use]
pub fn key_of_printable(text: &str) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte != b'\\' {
            key.push(*byte);
            rest = after;
            continue;
        }
        let (b'x', digits) = after.split_first()? else { return None };
        let (digits, after) = digits.split_at_checked(2)?;
        key.extend(hex::decode(digits).ok()?);
        rest = after;
    }
    (printable_key(&key) == text).then_some(key)
}

/// How far the chain's own certificates reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Trust {
    /// No certificate was checked (a database that no profile knows).
    None,
    /// The tip's own validator set, as found, signed what is stored.
    SelfConsistent,
    /// From a genesis that lists its validators, through every change of the set.
    BySignaturesSince {
        /// First height of the unbroken chain of signatures.
        height: u64,
    },
    /// The header at `height` has the hash that the user gave.
    AnchoredByHash {
        /// The trusted height.
        height: u64,
        /// The trusted header hash, hex.
        hash: String,
    },
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::None => f.write_str("no certificate: bytes were compared, nothing more"),
            Trust::SelfConsistent => f.write_str(
                "self-consistent: signed by the validator set that the home itself names",
            ),
            Trust::BySignaturesSince { height } => {
                write!(f, "by signatures since height {height} (long-range risk applies)")
            }
            Trust::AnchoredByHash { height, hash } => {
                write!(f, "anchored by hash {hash} at height {height}")
            }
        }
    }
}

/// What a chain profile found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How far trust reaches.
    pub trust: Trust,
    /// Every check that the profile defines, in a fixed order, also those that did nothing.
    pub checks: Vec<CheckCount>,
    /// What is wrong, at most [`FINDINGS_KEPT_MAX`].
    pub findings: Vec<Finding>,
    /// What can never be authenticated here, one line each.
    pub limits: Vec<String>,
    /// What deserves a person's eye but is not wrong, one line each.
    pub notices: Vec<String>,
    /// Tables at whose records some check has looked. A table that isn't here was not looked at,
    /// whatever its class.
    #[serde(default)]
    pub covered: BTreeSet<TableName>,
}

impl Verdict {
    /// A verdict that claims nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            trust: Trust::None,
            checks: Vec::new(),
            findings: Vec::new(),
            limits: Vec::new(),
            notices: Vec::new(),
            covered: BTreeSet::new(),
        }
    }

    /// How many things failed, kept findings or not.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.checks.iter().map(|check| check.failed).sum()
    }

    /// How many things were skipped.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.checks.iter().map(|check| check.skipped).sum()
    }

    /// Counts `checked` more things under `name`.
    pub fn count(&mut self, name: &str, checked: u64) {
        self.check_mut(name).checked += checked;
    }

    /// Counts `skipped` more things under `name`, with the reason.
    pub fn skip(&mut self, name: &str, skipped: u64, why: impl Into<String>) {
        let check = self.check_mut(name);
        check.skipped += skipped;
        check.note = why.into();
    }

    /// Adds a finding and counts it as failed under its check.
    pub fn find(&mut self, finding: Finding) {
        self.check_mut(&finding.check).failed += 1;
        if self.findings.len() < FINDINGS_KEPT_MAX {
            self.findings.push(finding);
        }
    }

    /// Says that `check` looks at the records of `table`: it is covered when the check has looked
    /// at anything.
    pub fn cover(&mut self, check: &str, table: TableName) {
        if self.checks.iter().any(|one| one.name == check && one.checked > 0) {
            self.covered.insert(table);
        }
    }

    /// Takes over what another part of the same profile found.
    pub fn absorb(&mut self, other: Verdict) {
        for check in other.checks {
            let mine = self.check_mut(&check.name);
            mine.checked += check.checked;
            mine.failed += check.failed;
            mine.skipped += check.skipped;
            if mine.note.is_empty() {
                mine.note = check.note;
            }
        }
        let room = FINDINGS_KEPT_MAX.saturating_sub(self.findings.len());
        self.findings.extend(other.findings.into_iter().take(room));
        self.limits.extend(other.limits);
        self.notices.extend(other.notices);
        self.covered.extend(other.covered);
    }

    fn check_mut(&mut self, name: &str) -> &mut CheckCount {
        let index = match self.checks.iter().position(|check| check.name == name) {
            Some(index) => index,
            None => {
                self.checks.push(CheckCount { name: name.to_owned(), ..CheckCount::default() });
                self.checks.len() - 1
            }
        };
        &mut self.checks[index]
    }
}

/// u64 as a decimal string: a JSON reader that keeps numbers as doubles turned
/// 9007199254740993 into ...992.
pub mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Writes the number as a string.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    /// Reads a number from a string.
    ///
    /// # Errors
    /// When the text is no decimal u64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_printed_key_is_the_key(key in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(key_of_printable(&printable_key(&key)), Some(key));
        }
    }

    #[test]
    fn text_that_no_key_prints_as_is_no_key() {
        for text in ["\\", "\\x", "\\x4", "\\y41", "\\xzz", "\\x41", "\u{e9}", "a\\xFF"] {
            assert_eq!(key_of_printable(text), None, "{text}");
        }
        assert_eq!(key_of_printable("P:7\\x5c\\x00"), Some(b"P:7\\\0".to_vec()));
    }
}
