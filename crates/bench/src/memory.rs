//! How much anonymous memory a program and its helper processes hold together.

use crate::Result;
use std::fs::read_to_string;
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Between two looks. A peak that lasts less can be missed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs `command` to its end, and gives what it printed with the most anonymous memory
/// (`RssAnon`: heap and stacks; no page cache, no mapped program text) that it and all processes
/// below it were seen to hold at once, in bytes.
pub(crate) fn run(command: &mut Command) -> Result<(Output, u64)> {
    let failed = |error: std::io::Error| error.to_string();
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let (stdout, stderr) = (drained(child.stdout.take()), drained(child.stderr.take()));
    let mut peak_bytes = 0;
    let status = loop {
        peak_bytes = peak_bytes.max(anonymous_bytes(child.id()));
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    if peak_bytes == 0 {
        return Err("no memory was seen: is /proc there?".into());
    }
    let text = |thread: std::thread::JoinHandle<_>| thread.join().unwrap_or_default();
    Ok((Output { status, stdout: text(stdout), stderr: text(stderr) }, peak_bytes))
}

/// Reads a pipe to its end beside the looks, so that it never fills up.
fn drained<R: Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A broken pipe ends the output; what came is what is judged.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// 0 for a process that is gone.
fn anonymous_bytes(process: u32) -> u64 {
    let own = read_to_string(format!("/proc/{process}/status"))
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        })
        .map_or(0, |kibibytes| kibibytes * 1024);
    own + children(process).into_iter().map(anonymous_bytes).sum::<u64>()
}

/// The processes that any thread of `process` has started.
fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|process| process.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_child_of_the_child_is_counted() {
        // The inner shell holds 32 MiB in a variable while it sleeps.
        let inner = "x=$(head -c 33554432 /dev/zero | tr '\\0' a); sleep 0.3; echo ${#x}";
        let script = format!("sh -c '{}'; true", inner.replace('\'', "'\\''"));
        let (output, peak_bytes) = run(Command::new("sh").arg("-c").arg(script)).unwrap();
        assert_eq!(output.stdout, b"33554432\n");
        assert!(peak_bytes > 32 << 20, "{peak_bytes}");
    }
}
