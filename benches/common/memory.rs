//! What the operating system says about this process's memory; zeros where it does not tell (it is Linux that does).

use std::fs;

/// Resident memory now, in bytes.
pub(crate) fn resident() -> u64 {
    status("VmRSS:")
}

/// The most resident memory there was since [`forget_peak`], in bytes.
pub(crate) fn peak() -> u64 {
    status("VmHWM:")
}

/// From here on, the peak is counted anew. Where that is not allowed, the peak is that of the whole life.
pub(crate) fn forget_peak() {
    let _not_allowed = fs::write("/proc/self/clear_refs", "5");
}

fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The memory of the machine, in bytes.
pub(crate) fn of_the_machine() -> u64 {
    let status = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
