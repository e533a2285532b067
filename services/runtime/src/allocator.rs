//! Where every binary's memory comes from.

use tikv_jemallocator::Jemalloc;

/// What one task allocates another often frees: a body on its way, a record after its receipt. On that glibc's malloc spends a
/// fifth of the services' time, and jemalloc a small part of it. docs/performance.md has what was compared.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;
