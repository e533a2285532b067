//! Numbers as people read them.

use veilpost_local::numbers::whole;
use veilpost_local::output::grouped;

use crate::figures::Figure;

/// The figure with its unit.
pub(crate) fn with_unit(figure: &Figure) -> String {
    match figure.unit.as_str() {
        "ratio" => number(figure),
        unit => format!("{} {unit}", number(figure)),
    }
}

/// As many digits as mean something.
pub(crate) fn number(figure: &Figure) -> String {
    let value = figure.value;
    match figure.unit.as_str() {
        "ratio" if value < 10.0 => format!("{value:.2}"),
        "µs" | "ms" | "MiB" | "MB/s" if value.abs() < 100.0 => format!("{value:.1}"),
        _ => grouped(whole(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_the_unit() {
        let shown =
            |value: f64, unit: &str| with_unit(&Figure { value, unit: unit.to_owned(), samples: Vec::new() });
        assert_eq!(shown(0.666, "ratio"), "0.67");
        assert_eq!(shown(161.4, "ratio"), "161");
        assert_eq!(shown(12_345.6, "msg/s"), "12,346 msg/s");
        assert_eq!(shown(9.96, "ms"), "10.0 ms");
        assert_eq!(shown(-0.3, "ms"), "-0.3 ms");
        assert_eq!(shown(250.2, "ms"), "250 ms");
    }
}
