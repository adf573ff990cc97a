//! Memory and processor time of a process, as the operating system reports them. Zeros where it does not; Linux does.

use std::fs;

/// Resident memory now, in bytes.
pub(crate) fn resident() -> u64 {
    status("self", "VmRSS:")
}

/// The peak of resident memory since [`forget_peak`], in bytes.
pub(crate) fn peak() -> u64 {
    status("self", "VmHWM:")
}

/// Resets the peak. If the system does not permit it, the peak is that of the whole run.
pub(crate) fn forget_peak() {
    let _not_allowed = fs::write("/proc/self/clear_refs", "5");
}

/// Resident memory of another process now, in bytes.
pub(crate) fn resident_of(process: u32) -> u64 {
    status(&process.to_string(), "VmRSS:")
}

/// The peak of resident memory of another process, in bytes.
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

/// The processor time of this thread, in seconds.
pub(crate) fn thread_seconds() -> f64 {
    nanoseconds("/proc/thread-self/schedstat") as f64 / 1e9
}

/// The processor time of all threads of another process that still exist, in seconds.
pub(crate) fn processor_seconds(process: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let times = threads.map(|thread| nanoseconds(&format!("{}/schedstat", thread.path().display())));
    times.sum::<u64>() as f64 / 1e9
}

fn nanoseconds(path: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
