//! Keeps what is in memory, clear text and keys among it, out of core dumps and out of other processes' reach.

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// From now on this process leaves no core dump, whatever limits and the kernel's `core_pattern` say, and only a process
/// with `CAP_SYS_PTRACE` can look into its memory, also one of the same user.
pub(crate) fn keep_private() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) })?;
    // A limit is not asked for where cores go to a program.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_process_leaves_no_core() {
        keep_private().unwrap();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        #[cfg(target_os = "linux")]
        {
            let dumpable = rustix::process::dumpable_behavior().unwrap();
            assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);
        }
    }
}
