//! The pieces that the demo is made of, each against the real thing, and the demo itself.

#[cfg(test)]
mod dead_letters;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod embedded_queue;
#[cfg(test)]
mod throw_away_postgres;
