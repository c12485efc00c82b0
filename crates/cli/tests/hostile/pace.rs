//! Limits on the pace of a migration that runs: seen in the status, changed from beside, heard at
//! once, kept in the report.

use crate::homes::{Copy, Outcome, helper, transload};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Everything here takes seconds; what takes longer doesn't end.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// The home has about 4 MiB of keys and values: at 64 KiB a second it would take minutes.
const SLOW: &str = "64KiB";

/// A migration in another process, which doesn't outlive the test.
struct Running(Child);

impl Running {
    fn of(copy: &Copy) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_transload"))
            .arg("migrate")
            .arg(copy.home())
            .args(["--to", "pebble1", "--yes", "--json", "--write-limit", SLOW])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Its exit code and its document.
    fn end(mut self) -> (Option<i32>, Value) {
        let code = until("the migration ends", || self.0.try_wait().unwrap()).code();
        let document = serde_json::from_reader(self.0.stdout.take().unwrap()).unwrap();
        (code, document)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(began.elapsed() < ENDS_WITHIN, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn call(copy: &Copy, command: &str, options: &[&str]) -> Outcome {
    let home = copy.home();
    let mut arguments = vec![command, home.to_str().unwrap()];
    arguments.extend(options);
    transload(&arguments)
}

/// What the status says of the pace, once the home has one.
fn pace(copy: &Copy) -> Value {
    call(copy, "status", &["--json"]).document()["pace"].clone()
}

fn waits_for(pace: &Value, reason: &str) -> bool {
    pace["waits"].as_array().into_iter().flatten().any(|wait| {
        let percent = wait["percent"].as_u64().unwrap();
        wait["reason"] == reason && (1..=100).contains(&percent)
    })
}

#[test]
fn limits_are_changed_while_it_runs_and_the_status_says_what_is_waited_for() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp");
    let running = Running::of(&copy);
    until("it waits for the write limit", || waits_for(&pace(&copy), "write_limit").then_some(()));
    let text = call(&copy, "status", &[]).shown;
    assert!(text.contains("limits: read none, write 64.0 KiB/s, cpu none"), "{text}");
    assert!(text.contains("waiting: write limit 64.0 KiB/s, "), "{text}");

    let other = call(&copy, "throttle", &["--read", "20MiB", "--cpu", "90%", "--json"]);
    assert_eq!(other.code, 0, "{}", other.said);
    let document = other.document();
    assert_eq!(document["schema"], "transload.throttle.v1");
    let expected = [
        ("read_bytes_per_second_max", Value::from("20971520")),
        ("write_bytes_per_second_max", Value::from("65536")),
        ("cpu_percent_max", Value::from(90)),
    ];
    for (name, value) in &expected {
        assert_eq!(document[name], *value, "{name}");
    }
    until("the status shows the change", || {
        let pace = pace(&copy);
        expected.iter().all(|(name, value)| pace[name] == *value).then_some(())
    });
    let shown = call(&copy, "throttle", &[]).shown;
    assert!(shown.contains("limits: read 20.0 MiB/s, write 64.0 KiB/s, cpu 90 %"), "{shown}");

    let lifted = call(&copy, "throttle", &["--write", "none", "--json"]);
    assert_eq!(lifted.document()["write_bytes_per_second_max"], Value::Null, "{}", lifted.said);
    let (code, document) = running.end();
    assert_eq!(code, Some(0), "{document}");
    let waits = document["report"]["waits"].as_array().unwrap();
    let write = waits.iter().find(|wait| wait["reason"] == "write_limit").unwrap();
    let millis: u64 = write["waited_millis"].as_str().unwrap().parse().unwrap();
    assert!(millis > 0, "{write}");

    let late = call(&copy, "throttle", &["--write", "20MiB"]);
    assert_eq!(late.code, 3);
    assert!(late.said.contains("no transload runs on this home"), "{}", late.said);
}

#[test]
fn a_halt_is_heard_by_workers_that_wait_and_resume_takes_other_limits() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of("cosmos-simapp");
    let running = Running::of(&copy);
    until("it waits for the write limit", || waits_for(&pace(&copy), "write_limit").then_some(()));
    assert_eq!(call(&copy, "halt", &[]).code, 0);
    let (code, document) = running.end();
    assert_eq!(code, Some(5), "{document}");
    let status = call(&copy, "status", &["--json"]).document();
    assert_eq!((&status["phase"], &status["halted"]), (&"copying".into(), &true.into()));
    assert_eq!(status["pace"]["write_bytes_per_second_max"], "65536", "they stay");
    let resumed = call(&copy, "resume", &["--yes", "--json", "--write-limit", "none"]);
    assert_eq!(resumed.code, 0, "{}", resumed.said);
    assert_eq!(pace(&copy)["write_bytes_per_second_max"], Value::Null);
}
