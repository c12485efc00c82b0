//! What was settled before the copy, for people.

use std::fmt::Write as _;
use transload_engine::{
    BadRecords, PlannedSettlement, ReportSettlement, Settled, StatusSettlement,
};

/// What a plan does with bad records, in one line.
pub(crate) fn planned(planned: &PlannedSettlement) -> String {
    let rest = match planned.policy {
        BadRecords::Stop => "nothing begins when one is found",
        BadRecords::Quarantine => "they are listed, exported and left out",
    };
    match &planned.repair_from {
        None => format!("bad records are looked for before the copy; {rest}"),
        Some(peer) => format!(
            "bad records are looked for before the copy, and taken from {} where every check \
             then passes; of others {rest}",
            peer.display()
        ),
    }
}

/// What became of each record.
pub(crate) fn report(settlement: &ReportSettlement) -> String {
    if settlement.records.is_empty() {
        return "bad records: none was found in the source before the copy\n".into();
    }
    let mut text = String::new();
    for record in &settlement.records {
        let _ = match &record.settled {
            Settled::Quarantined => writeln!(text, "LEFT OUT  {}", record.about()),
            Settled::Repaired(value) => writeln!(
                text,
                "repaired  {}; {} bytes from the peer, SHA-256 {}",
                record.about(),
                value.bytes,
                value.sha256
            ),
        };
    }
    if let Some(peer) = &settlement.peer {
        let _ = writeln!(text, "peer: {}", peer.display());
    }
    let (path, digest) = (settlement.path.display(), &settlement.digest);
    let _ = writeln!(text, "settlement: {path}, SHA-256 {digest}");
    text
}

/// The same in one line.
pub(crate) fn status(settlement: &StatusSettlement) -> String {
    format!(
        "bad records: {} left out, {} taken from a peer; {}",
        settlement.quarantined,
        settlement.repaired,
        settlement.path.display()
    )
}
