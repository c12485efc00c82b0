//! The process that gets a signal: transload's own command line with a hook that counts.

use rustix::process::{Signal, getpid, kill_process};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

/// Handlers run in a thread of their own; by then it has heard a signal that can be handled.
const HEARD: Duration = Duration::from_millis(20);

/// First argument of a doomed process; then follow the signal's number, the step to get it at
/// (0: none), the file that the steps' names go to, and transload's command line.
pub(crate) const MARK: &str = "--doomed";

/// Runs transload's command line until the step, if it comes.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [_, signal, step, names, command_line @ ..] = arguments else { return ExitCode::FAILURE };
    let signal = Signal::from_named_raw(signal.parse().unwrap()).unwrap();
    let signal_at: u64 = step.parse().unwrap();
    let names = std::fs::File::options().create(true).append(true).open(names).unwrap();
    let seen = Mutex::new((0_u64, names));
    let hook = move |name: &str| {
        let mut seen = seen.lock().unwrap();
        seen.0 += 1;
        writeln!(seen.1, "{name}").unwrap();
        if seen.0 == signal_at {
            kill_process(getpid(), signal).unwrap();
            // It is on its way; no further step may happen before it arrives.
            if signal == Signal::KILL {
                loop {
                    std::thread::park();
                }
            }
            std::thread::sleep(HEARD);
        }
    };
    let words = std::iter::once("transload".into()).chain(command_line.iter().map(Into::into));
    ExitCode::from(transload::run_with_hook(words, Arc::new(hook)).code())
}
