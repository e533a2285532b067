//! The memory allocator of every binary: jemalloc where the feature of that name is on, else the system's.
//!
//! One task often frees what another has allocated: a body on its way, a record after its receipt. glibc's
//! malloc spends a fifth of the services' time on that, jemalloc a small part of it. docs/performance.md has
//! the comparison.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static JEMALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What the first log line says.
pub(crate) const NAME: &str = if cfg!(feature = "jemalloc") { "jemalloc" } else { "system" };
