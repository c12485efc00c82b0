//! What an operator, or whoever reaches the folder, hands to the engine: plans and requests.

use serde_json::Value;
use transload_engine::{Answer, Plan, Request, check_pace};
use transload_observe::PaceLimits;

/// A plan: what is taken is written as a text that says the same, and nothing in it leads out of
/// the folders that it names.
pub(crate) fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(plan) = Plan::parse(text) else { return };
    let canonical = plan.text().expect("what was text is text");
    let again = Plan::parse(&canonical).expect("a plan's own text is a plan");
    assert_eq!(again, plan);
    assert_eq!(again.digest().expect("it has a text"), plan.digest().expect("it has a text"));
    let folder = plan.attempt_dir(1);
    for one in plan.moves(1) {
        for path in [&one.target, &one.kept] {
            assert!(path.starts_with(&folder), "{path:?}");
            assert!(path.components().all(|part| part.as_os_str() != "..") || folder_climbs(&plan));
        }
    }
}

/// Whether the folder itself is named so, which is the operator's choice.
fn folder_climbs(plan: &Plan) -> bool {
    plan.places.staging_dir.components().any(|part| part.as_os_str() == "..")
}

pub(crate) fn plan_seeds() -> Vec<Vec<u8>> {
    vec![include_bytes!("../../testdata/plan.toml").to_vec()]
}

/// A line at the control socket, and a line that it answered.
pub(crate) fn control(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    if let Ok(request) = serde_json::from_str::<Request>(line) {
        let text = serde_json::to_string(&request).expect("a request has a text");
        assert_eq!(serde_json::from_str::<Request>(&text).expect("it is read again"), request);
        if let Request::Throttle(change) = request {
            match change.of(PaceLimits::default()) {
                Ok(limits) => assert!(check_pace(limits).is_ok(), "{limits:?}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    if let Ok(answer) = serde_json::from_str::<Answer>(line) {
        let text = serde_json::to_string(&answer).expect("an answer has a text");
        let again: Value = serde_json::from_str(&text).expect("it is JSON");
        let read: Answer = serde_json::from_str(&text).expect("it is read again");
        // As JSON, for a fraction that is no number is not equal to itself.
        assert_eq!(serde_json::to_value(read).expect("it has a text"), again);
    }
}

pub(crate) fn control_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"command":"halt"}"#,
        r#"{"command":"status"}"#,
        r#"{"command":"throttle"}"#,
        r#"{"command":"throttle","read_bytes_per_second_max":"8388608","cpu_percent_max":50}"#,
        r#"{"command":"throttle","write_bytes_per_second_max":"0"}"#,
        r#"{"answer":"halting"}"#,
        r#"{"answer":"refused","why":"cpu_percent_max is 101"}"#,
        r#"{"answer":"throttle","limits":{"read_bytes_per_second_max":"1048576","write_bytes_per_second_max":"0","cpu_percent_max":0},"waits":[]}"#,
    ]
    .iter()
    .map(|line| line.as_bytes().to_vec())
    .collect()
}
