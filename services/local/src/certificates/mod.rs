//! Certificates for trials: a CA of one's own, and what it issues to the services.

mod authority;
mod folder;
mod role;

pub use authority::{Authority, Issued, Wish};
pub use folder::{Folder, Made, Term};
pub use role::Role;
