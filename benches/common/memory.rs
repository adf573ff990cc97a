//! What the operating system says about a process's memory and time; zeros where it does not tell (it is Linux that
//! does).

use std::fs;

/// Resident memory now, in bytes.
pub(crate) fn resident() -> u64 {
    status("self", "VmRSS:")
}

/// The most resident memory there was since [`forget_peak`], in bytes.
pub(crate) fn peak() -> u64 {
    status("self", "VmHWM:")
}

/// From here on, the peak is counted anew. Where that is not allowed, the peak is that of the whole life.
pub(crate) fn forget_peak() {
    let _not_allowed = fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that another process had resident, in bytes.
pub(crate) fn peak_of(process: u32) -> u64 {
    status(&process.to_string(), "VmHWM:")
}

fn status(process: &str, field: &str) -> u64 {
    kilobytes(&format!("/proc/{process}/status"), field)
}

fn kilobytes(path: &str, field: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The memory of the machine, in bytes.
pub(crate) fn of_the_machine() -> u64 {
    kilobytes("/proc/meminfo", "MemTotal:")
}

/// Processor time of this thread.
pub(crate) fn thread_seconds() -> f64 {
    nanoseconds("/proc/thread-self/schedstat") as f64 / 1e9
}

/// Processor time of all threads of another process that are still there.
pub(crate) fn processor_seconds(process: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let times = threads.map(|thread| nanoseconds(&format!("{}/schedstat", thread.path().display())));
    times.sum::<u64>() as f64 / 1e9
}

fn nanoseconds(path: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
