//! CPU time of processes and threads in seconds, as Linux counts it.

use veilpost_local::numbers::float;

/// Linux counts CPU time for others to see in hundredths of a second, on every architecture.
const TICKS_A_SECOND: f64 = 100.0;

/// The CPU time that a process has used, with all its children, ended ones and running ones.
pub(crate) fn cpu_of(pid: i32) -> anyhow::Result<f64> {
    let own = Stat::read(&pid.to_string()).ok_or_else(|| anyhow::anyhow!("no process {pid} in /proc"))?;
    let entries = std::fs::read_dir("/proc")?.flatten();
    let others = entries.filter_map(|entry| Stat::read(entry.file_name().to_str()?));
    let children: u64 = others.filter(|stat| stat.parent == pid).map(|stat| stat.ticks).sum();
    Ok(float(own.ticks + children) / TICKS_A_SECOND)
}

/// The CPU time of this process and of its children that have ended.
pub(crate) fn own_cpu() -> anyhow::Result<f64> {
    let own = Stat::read("self").ok_or_else(|| anyhow::anyhow!("/proc/self/stat cannot be read"))?;
    Ok(float(own.ticks) / TICKS_A_SECOND)
}

/// The CPU time of the calling thread, to the nanosecond.
pub(crate) fn thread_cpu() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().and_then(|first| first.parse().ok());
    let nanoseconds = nanoseconds.ok_or_else(|| anyhow::anyhow!("schedstat has no number"))?;
    Ok(float(nanoseconds) / 1e9)
}

struct Stat {
    parent: i32,
    ticks: u64,
}

impl Stat {
    fn read(process: &str) -> Option<Self> {
        process.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(())?;
        Self::parse(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// proc(5): the name in brackets may hold anything, so counting begins behind it.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>());
        Some(Self { parent, ticks: ticks.sum::<Result<_, _>>().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_childrens_time_is_summed_whatever_the_name() {
        let text = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 127));
    }

    #[test]
    fn work_of_this_thread_is_seen() {
        let before = thread_cpu().unwrap();
        let sum = (0..3_000_000_u64).fold(0_u64, |sum, next| std::hint::black_box(sum ^ next));
        std::hint::black_box(sum);
        assert!(thread_cpu().unwrap() > before);
        assert!(cpu_of(i32::try_from(std::process::id()).unwrap()).is_ok());
    }
}
