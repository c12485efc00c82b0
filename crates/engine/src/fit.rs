//! Whether a target can hold what a source has: keys and values within its limits, and promises
//! no weaker than the source's unless somebody accepted that.

use crate::error::{Error, Kind, Result};
use crate::watch::Watch;
use transload_model::report::printable_key;
use transload_store::{Driver, Guarantees, KEY_BYTES_MAX, KeyRange, Snapshot, Walk, Weakness};

/// A key is quoted up to this many characters: the longest seen has 70,021 bytes.
const QUOTED_CHARS_MAX: usize = 120;

/// The promises that the source makes and the target doesn't, except those in `accepted`.
///
/// # Errors
/// [`Kind::Refused`] when one remains.
pub fn accept_weaker(
    source: &Guarantees,
    target: &Guarantees,
    accepted: &[Weakness],
) -> Result<Vec<Weakness>> {
    let weaker = source.weaknesses_of(target);
    let open: Vec<&str> = weaker
        .iter()
        .filter(|weakness| !accepted.contains(weakness))
        .map(|weakness| weakness.name())
        .collect();
    if open.is_empty() {
        return Ok(weaker);
    }
    Err(Error::new(
        Kind::Refused,
        "compare the guarantees",
        "the target promises less than the source",
    )
    .with("weaker", open.join(", "))
    .next(format!("--accept-weaker {}", open.join(" --accept-weaker "))))
}

/// Whether the target takes shorter keys than every store of the seam carries; only then is a
/// reading of the whole source needed before the copy.
///
/// Limits on values alone ask for none: they begin at 256 MiB, no node is known to write values
/// that come near, and the copy names a longer one with its key and changes nothing.
#[must_use]
pub fn needs_a_look(target: &Guarantees) -> bool {
    target.key_bytes_max < KEY_BYTES_MAX
}

/// Reads the whole source and refuses the first key or value that a target of `driver` can't take.
///
/// # Errors
/// [`Kind::Refused`] naming the key; those of reading.
pub fn refuse_what_does_not_fit(
    source: &dyn Snapshot,
    driver: &dyn Driver,
    watch: &Watch,
) -> Result<()> {
    let (_, target) = driver.target_profile();
    let fault = |error| Error::reading("look for long keys", error);
    let mut scan = Walk::new(source, &KeyRange::all()).map_err(fault)?;
    let mut seen: u64 = 0;
    while let Some((key, value)) = scan.next().map_err(fault)? {
        seen += 1;
        if seen.is_multiple_of(65_536) {
            watch.go_on("look for long keys")?;
        }
        let (what, lengths) = if let Some(why) = driver.refuses_key(key) {
            (why, None)
        } else if key.len() > target.key_bytes_max {
            let what = "a key is longer than the target takes";
            (what, Some((key.len(), target.key_bytes_max)))
        } else if value.len() > target.value_bytes_max {
            let what = "a value is longer than the target takes";
            (what, Some((value.len(), target.value_bytes_max)))
        } else {
            continue;
        };
        let quoted: String = printable_key(key).chars().take(QUOTED_CHARS_MAX).collect();
        let mut error = Error::new(Kind::Refused, "look for long keys", what).with("key", quoted);
        if let Some((length, limit)) = lengths {
            error = error.with("bytes", length.to_string()).with("limit", limit.to_string());
        }
        return Err(error.next("choose another engine; `transload engines` lists them"));
    }
    scan.end().map_err(fault)
}
