//! The components of a pipeline on this machine, each against the real thing.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod embedded_queue;
#[cfg(test)]
mod throw_away_postgres;
