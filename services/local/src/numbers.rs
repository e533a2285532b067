//! Counts and fractions: the few conversions for which the standard library has only `as`.

/// The nearest whole number; 0 for negative numbers and NaN.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates, which is what is wanted here"
)]
pub fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// A count as a float; exact up to 2^53.
#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_and_nan_count_as_zero() {
        assert_eq!(whole(-1.0), 0);
        assert_eq!(whole(f64::NAN), 0);
        assert_eq!(whole(2.5e6), 2_500_000);
    }
}
