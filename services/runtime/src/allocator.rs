//! The memory allocator of every binary.

use tikv_jemallocator::Jemalloc;

/// One task often frees what another has allocated: a body on its way, a record after its receipt. glibc's
/// malloc spends a fifth of the services' time on that, jemalloc a small part of it. docs/performance.md has
/// the comparison.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;
