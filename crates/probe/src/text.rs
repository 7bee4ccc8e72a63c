//! Numbers in sentences and tables: rounded for people, but never so far that the statement is lost.
//!
//! - Two numbers whose difference is the statement print differently ([`distinct`]): a measured number and the
//!   end of its band, both ends of an interval.
//! - A factor that is not 1 does not print as 1 ([`factor`]).
//! - A fraction is 0 % or 100 % only if it is exactly that ([`percent`]).

/// The most digits that tell two `f64` apart.
const MOST_DIGITS: usize = 17;

/// Writes a number with this number of significant digits, in scientific notation if it is far from 1.
///
/// ```
/// use wick_probe::text::significant;
///
/// assert_eq!(significant(0.26359, 4), "0.2636");
/// assert_eq!(significant(0.0999999, 3), "0.100");
/// assert_eq!(significant(4.937e-7, 3), "4.94e-7");
/// assert_eq!(significant(0.0, 3), "0");
/// ```
pub fn significant(x: f64, digits: usize) -> String {
    let further = digits.max(1) - 1;
    let scientific = format!("{x:.further$e}");
    // The exponent after rounding: 0.99999 is 1.000.
    match scientific.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()) {
        _ if x == 0.0 => "0".into(),
        Some(exponent) if (-3..5).contains(&exponent) => {
            let decimals = (further as i32 - exponent).max(0) as usize;
            format!("{x:.decimals$}")
        }
        _ => scientific,
    }
}

/// Numbers with the fewest digits, from `digits` on, with which `write` prints different numbers differently.
///
/// ```
/// use wick_probe::text::{distinct, significant};
///
/// assert_eq!(distinct([0.5, 0.7], 3, significant), ["0.500", "0.700"]);
/// assert_eq!(distinct([0.50001, 0.50004], 3, significant), ["0.50001", "0.50004"]);
/// assert_eq!(distinct([0.5, 0.5], 3, significant), ["0.500", "0.500"]);
/// ```
pub fn distinct<const N: usize>(
    numbers: [f64; N],
    digits: usize,
    write: impl Fn(f64, usize) -> String,
) -> [String; N] {
    let mut digits = digits;
    loop {
        let texts = numbers.map(|x| write(x, digits));
        let are_alike = |a: usize, b: usize| numbers[a] != numbers[b] && texts[a] == texts[b];
        if digits >= MOST_DIGITS || !(0..N).any(|a| (0..a).any(|b| are_alike(a, b))) {
            return texts;
        }
        digits += 1;
    }
}

/// Writes a factor with this number of significant digits, and at least two digits of its difference from 1.
///
/// ```
/// use wick_probe::text::factor;
///
/// assert_eq!(factor(0.2196, 2), "×0.22");
/// assert_eq!(factor(0.98804, 2), "×0.988");
/// assert_eq!(factor(1.00012, 2), "×1.00012");
/// assert_eq!(factor(1.0, 4), "×1.000");
/// ```
pub fn factor(x: f64, digits: usize) -> String {
    let difference = (x - 1.0).abs();
    if difference > 0.0 && difference < 0.5 {
        let from_digits = digits.saturating_sub(if x < 1.0 { 0 } else { 1 });
        let decimals = from_digits.max((1.0 - difference.log10().floor()) as usize).min(MOST_DIGITS);
        format!("×{x:.decimals$}")
    } else {
        format!("×{}", significant(x, digits))
    }
}

/// Writes a fraction of 1 as a percentage with this number of decimals, and with more where it would be 0 or
/// 100 by rounding alone.
///
/// ```
/// use wick_probe::text::percent;
///
/// assert_eq!([0.123, 0.0, 1.0].map(|x| percent(x, 1)), ["12.3 %", "0.0 %", "100.0 %"]);
/// assert_eq!([0.0002, 0.9997].map(|x| percent(x, 0)), ["0.02 %", "99.97 %"]);
/// assert_eq!(percent(1e-9, 1), "1e-7 %");
/// ```
pub fn percent(fraction: f64, decimals: usize) -> String {
    let percentage = 100.0 * fraction;
    let text = format!("{percentage:.decimals$}");
    let shown = text.parse::<f64>().unwrap_or(f64::NAN);
    if shown == 0.0 && fraction != 0.0 {
        format!("{} %", significant(percentage, 1))
    } else if shown == 100.0 && fraction != 1.0 {
        let decimals = (-(percentage - 100.0).abs().log10().floor()).clamp(0.0, 16.0) as usize;
        format!("{percentage:.decimals$} %")
    } else {
        format!("{text} %")
    }
}

/// A number with three digits.
pub(crate) fn short(x: f64) -> String {
    significant(x, 3)
}

/// A factor such as `×0.22`, without trailing zeros.
pub(crate) fn times(x: f64) -> String {
    times_with(x, 2)
}

/// Writes a factor with this number of digits below 1, one more above, and no trailing zeros.
pub(crate) fn times_with(x: f64, digits: usize) -> String {
    let text = factor(x, if x.abs() < 1.0 { digits } else { digits + 1 });
    if text.contains('e') { text } else { without_trailing_zeros(&text) }
}

/// Returns a number without the zeros at the end of its decimals: `2` for `2.00`, `2e-10` for `2.00e-10`.
pub(crate) fn without_trailing_zeros(number: &str) -> String {
    let (digits, exponent) = number.split_at(number.find('e').unwrap_or(number.len()));
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits}{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over all sizes: a number that is not 1 is no factor of 1, and one that is not 0 or 1 is neither 0 %
    /// nor 100 %.
    #[test]
    fn rounding_makes_no_claims() {
        for power in -12..0 {
            for digit in 1..10 {
                let small = f64::from(digit) * 10f64.powi(power);
                for x in [1.0 - small, 1.0 + small] {
                    for text in [factor(x, 2), factor(x, 4), times(x)] {
                        let shown: f64 = text.trim_start_matches('×').parse().unwrap();
                        assert!(((shown - 1.0) / (x - 1.0) - 1.0).abs() < 0.06, "{x}: {text}");
                    }
                }
                for (fraction, distance) in [(small, 0.0), (1.0 - small, 100.0)] {
                    let text = percent(fraction, 0);
                    let shown: f64 = text.trim_end_matches(" %").parse().unwrap();
                    let off = (shown - distance).abs() / (100.0 * fraction - distance).abs();
                    assert!((0.49..1.67).contains(&off), "{fraction}: {text}");
                }
            }
        }
    }

    #[test]
    fn factors_are_short() {
        let said = [0.2196, 0.27, 0.988, 1.18, 2.5, 12.34, 1.02, 0.0149, 0.5, 1.0, 3.2e4, 1e-9].map(times);
        let expected = [
            "×0.22", "×0.27", "×0.988", "×1.18", "×2.5", "×12.3", "×1.02", "×0.015", "×0.5", "×1", "×32000",
            "×1.0e-9",
        ];
        assert_eq!(said, expected);
        assert_eq!([f64::NAN, f64::INFINITY].map(times), ["×NaN", "×inf"]);
    }

    #[test]
    fn zeros_are_cut_from_decimals_alone() {
        for (number, cut) in [("2.00e-10", "2e-10"), ("2.50e20", "2.5e20"), ("200", "200"), ("1.60", "1.6")] {
            assert_eq!(without_trailing_zeros(number), cut);
        }
    }

    #[test]
    fn numbers_that_differ_print_differently() {
        for gap in [1e-1, 1e-4, 1e-9, 1e-15] {
            let [a, b, c] = distinct([0.3, 0.3 + gap, 0.3], 3, significant);
            assert!(a != b && a == c, "{gap}: {a} {b} {c}");
        }
        assert_eq!(distinct([f64::NAN, f64::NAN], 3, significant), ["NaN", "NaN"]);
        assert_eq!(distinct([0.9, 0.988, 0.9884], 2, times_with), ["×0.9", "×0.988", "×0.9884"]);
    }
}
