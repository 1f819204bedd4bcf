//! How much memory there is.

use std::fs;

/// Assumed where the system does not tell: 4 GiB.
const UNKNOWN: u64 = 4 << 30;

/// Bytes that this process may still take without swapping: the least of what the system calls available and what the
/// control group leaves. Systems that tell neither count as having 4 GiB.
pub fn available_memory() -> u64 {
    [system_available(), control_group_left()].into_iter().flatten().min().unwrap_or(UNKNOWN)
}

/// Largest resident size of this process so far, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Bytes in words: `3.5 GiB`, `120 MiB`.
pub fn format_bytes(bytes: u64) -> String {
    const GIB: f64 = (1u64 << 30) as f64;
    let bytes = bytes as f64;
    if bytes >= GIB {
        format!("{:.1} GiB", bytes / GIB)
    } else {
        format!("{:.0} MiB", (bytes / GIB * 1024.0).ceil())
    }
}

fn system_available() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

fn control_group_left() -> Option<u64> {
    let number = |name| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

/// The number after `label` in a table of lines such as `VmHWM:   1234 kB`.
fn kibibytes(table: &str, label: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(label))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_found() {
        let table = "VmPeak:\t  10 kB\nVmHWM:\t    2048 kB\n";
        assert_eq!(kibibytes(table, "VmHWM:"), Some(2048 * 1024));
        assert_eq!(kibibytes(table, "VmSwap:"), None);
        assert_eq!(kibibytes("VmHWM: many kB", "VmHWM:"), None);
    }

    #[test]
    fn some_memory_is_always_available() {
        assert!(available_memory() > 0);
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!(format_bytes(7 << 29), "3.5 GiB");
        assert_eq!(format_bytes(120 << 20), "120 MiB");
        assert_eq!(format_bytes(1), "1 MiB");
    }
}
