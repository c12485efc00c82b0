//! Limits on the pace and what workers wait for, in words.

use bytesize::ByteSize;
use transload_observe::{PaceLimits, Wait, WaitReason, WaitTime};

/// `read none, write 20.0 MiB/s, cpu 50 %`
pub(crate) fn limits(limits: &PaceLimits) -> String {
    let rate = |reason| limit(limits, reason).unwrap_or_else(|| "none".into());
    format!(
        "read {}, write {}, cpu {}",
        rate(WaitReason::ReadLimit),
        rate(WaitReason::WriteLimit),
        rate(WaitReason::CpuLimit)
    )
}

/// `write limit 20.0 MiB/s, 37 % of the last 10 s`; several are joined, none is an empty text.
pub(crate) fn waits(limits: &PaceLimits, waits: &[Wait]) -> String {
    let one = |wait: &Wait| {
        // A limit that was lifted meanwhile has no figure any more.
        let figure = limit(limits, wait.reason).map(|limit| format!(" {limit}"));
        format!(
            "{}{}, {} % of the last {} s",
            wait.reason,
            figure.unwrap_or_default(),
            wait.percent,
            wait.window_seconds
        )
    };
    waits.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// `workers waited 12.345 s for the write limit`, one a line; nothing where nobody waited.
pub(crate) fn wait_times(times: &[WaitTime]) -> Vec<String> {
    let one = |time: &WaitTime| {
        let (seconds, millis) = (time.waited_millis / 1_000, time.waited_millis % 1_000);
        format!("workers waited {seconds}.{millis:03} s for the {}, all added up", time.reason)
    };
    times.iter().map(one).collect()
}

fn limit(limits: &PaceLimits, reason: WaitReason) -> Option<String> {
    let rate = |rate: u64| (rate > 0).then(|| format!("{}/s", ByteSize(rate)));
    match reason {
        WaitReason::ReadLimit => rate(limits.read_bytes_per_second_max),
        WaitReason::WriteLimit => rate(limits.write_bytes_per_second_max),
        WaitReason::CpuLimit => {
            (limits.cpu_percent_max > 0).then(|| format!("{} %", limits.cpu_percent_max))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_waits_are_said_in_full() {
        let some = PaceLimits {
            read_bytes_per_second_max: 0,
            write_bytes_per_second_max: 20 << 20,
            cpu_percent_max: 50,
        };
        assert_eq!(limits(&some), "read none, write 20.0 MiB/s, cpu 50 %");
        let wait = |reason, percent| Wait { reason, percent, window_seconds: 10 };
        let both = [wait(WaitReason::WriteLimit, 37), wait(WaitReason::ReadLimit, 2)];
        assert_eq!(
            waits(&some, &both),
            "write limit 20.0 MiB/s, 37 % of the last 10 s; read limit, 2 % of the last 10 s"
        );
        assert_eq!(waits(&some, &[]), "");
        let time = WaitTime { reason: WaitReason::CpuLimit, waited_millis: 12_345 };
        let said = ["workers waited 12.345 s for the cpu limit, all added up"];
        assert_eq!(wait_times(&[time]), said);
    }
}
