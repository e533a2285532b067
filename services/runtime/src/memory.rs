//! Keeps the process's memory, which holds clear text and keys, out of core dumps and away from other
//! processes.

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// From now on this process leaves no core dump, whatever the limits and the kernel's `core_pattern` are.
/// Only a process with `CAP_SYS_PTRACE` can read its memory, even if it belongs to the same user.
pub(crate) fn keep_private() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), ..getrlimit(Resource::Core) })?;
    // The kernel ignores the limit where `core_pattern` names a program.
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
