//! The memory of a process, as Linux counts it.

/// The most memory that a process has had in RAM, in bytes. None outside of Linux.
pub fn peak(pid: i32) -> Option<u64> {
    of(pid, "VmHWM:")
}

/// The memory that a process has in RAM now, in bytes. None outside of Linux.
pub fn resident(pid: i32) -> Option<u64> {
    of(pid, "VmRSS:")
}

fn of(pid: i32, field: &str) -> Option<u64> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, field)
}

fn parse(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(parse("Name:\tx\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n", "VmHWM:"), Some(12_345 * 1024));
        assert_eq!(parse("Name:\tx\n", "VmHWM:"), None);
    }
}
