//! Conversions between kinds of numbers that saturate instead of failing, for counts and sizes.
//!
//! Metrics, spans, SQL and the contract between services each want another type for the same count. A count
//! that does not fit is so large that the nearest number that fits says the same.

/// A count or a size: an integer that is never negative.
pub trait Count: Copy {
    /// The count itself, or [`u64::MAX`] where it is larger.
    fn to_u64(self) -> u64;
}

impl Count for u32 {
    fn to_u64(self) -> u64 {
        self.into()
    }
}

impl Count for u64 {
    fn to_u64(self) -> u64 {
        self
    }
}

impl Count for usize {
    fn to_u64(self) -> u64 {
        self.try_into().unwrap_or(u64::MAX)
    }
}

/// Milliseconds and nanoseconds, as a `Duration` gives them.
impl Count for u128 {
    fn to_u64(self) -> u64 {
        self.try_into().unwrap_or(u64::MAX)
    }
}

/// `count`, or [`i32::MAX`] where it is larger.
pub fn to_i32(count: impl Count) -> i32 {
    count.to_u64().try_into().unwrap_or(i32::MAX)
}

/// `count`, or [`i64::MAX`] where it is larger; a span's attributes take this.
pub fn to_i64(count: impl Count) -> i64 {
    count.to_u64().try_into().unwrap_or(i64::MAX)
}

/// `count`, or [`u32::MAX`] where it is larger.
pub fn to_u32(count: impl Count) -> u32 {
    count.to_u64().try_into().unwrap_or(u32::MAX)
}

/// `count`, or [`u64::MAX`] where it is larger; counters take this.
pub fn to_u64(count: impl Count) -> u64 {
    count.to_u64()
}

/// `count`, or [`usize::MAX`] where it is larger.
pub fn to_usize(count: impl Count) -> usize {
    count.to_u64().try_into().unwrap_or(usize::MAX)
}

/// The float next to `count`, which is `count` itself up to 2^53; gauges and histograms take this.
#[allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts stay far below 2^53, and the nearest float is right above it"
)]
pub fn to_f64(count: impl Count) -> f64 {
    count.to_u64() as f64
}

/// The whole number next to `number`; a negative number and NaN give 0, too large a number [`u64::MAX`].
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates, and rounding is what is asked for"
)]
pub fn round_to_u64(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_fit_stay_what_they_are() {
        assert_eq!(to_i32(7_u64), 7);
        assert_eq!(to_i64(7_usize), 7);
        assert_eq!(to_u32(7_u128), 7);
        assert_eq!(to_u64(7_u32), 7);
        assert_eq!(to_usize(7_u64), 7);
        assert!((to_f64(1_u64 << 53) - 9_007_199_254_740_992.0).abs() < f64::EPSILON);
    }

    #[test]
    fn counts_that_do_not_fit_become_the_largest_number_that_does() {
        assert_eq!(to_i32(u32::MAX), i32::MAX);
        assert_eq!(to_i64(u64::MAX), i64::MAX);
        assert_eq!(to_u32(u64::MAX), u32::MAX);
        assert_eq!(to_u64(u128::MAX), u64::MAX);
    }

    #[test]
    fn floats_are_rounded_and_never_negative() {
        assert_eq!(round_to_u64(2.5e6), 2_500_000);
        assert_eq!(round_to_u64(0.5), 1);
        assert_eq!(round_to_u64(-1.0), 0);
        assert_eq!(round_to_u64(f64::NAN), 0);
        assert_eq!(round_to_u64(f64::INFINITY), u64::MAX);
    }
}
