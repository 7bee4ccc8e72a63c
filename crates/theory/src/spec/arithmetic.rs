//! Numbers of a SPEC as people write them: `0.5`, `2/3`, `sqrt(2)`, `1/sqrt(512)`, `2^-0.5`, `pi`.

/// Formulas that nest deeper are refused.
const MAX_DEPTH: usize = 32;

/// Reads a number, or a formula of numbers, `pi`, `+ - * / ^`, `sqrt` and parentheses. `^` binds from the
/// right and stronger than a sign before it, as in mathematics: `-2^2` is -4. `None` if the text is neither;
/// the number can be infinite or NaN.
///
/// ```
/// use wick_theory::spec::number;
///
/// assert_eq!(number("3/4"), Some(0.75));
/// assert_eq!(number("2^-2"), Some(0.25));
/// assert_eq!(number("wide"), None);
/// ```
pub fn number(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let mut formula = Formula { rest: text.trim_start(), depth: 0 };
    let number = formula.sum()?;
    formula.rest.is_empty().then_some(number)
}

/// What is left to read of a formula, without blanks at its start.
struct Formula<'a> {
    rest: &'a str,
    depth: usize,
}

impl Formula<'_> {
    /// Reads this text if it comes next.
    fn eat(&mut self, text: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(text) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn sum(&mut self) -> Option<f64> {
        let mut sum = self.product()?;
        loop {
            if self.eat("+") {
                sum += self.product()?;
            } else if self.eat("-") {
                sum -= self.product()?;
            } else {
                return Some(sum);
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut product = self.signed()?;
        loop {
            if self.eat("*") {
                product *= self.signed()?;
            } else if self.eat("/") {
                product /= self.signed()?;
            } else {
                return Some(product);
            }
        }
    }

    fn signed(&mut self) -> Option<f64> {
        self.nested(|formula| {
            if formula.eat("-") {
                return formula.signed().map(|x| -x);
            }
            let base = formula.operand()?;
            if formula.eat("^") || formula.eat("**") {
                Some(base.powf(formula.signed()?))
            } else {
                Some(base)
            }
        })
    }

    fn operand(&mut self) -> Option<f64> {
        if self.eat("(") {
            let inner = self.sum()?;
            return self.eat(")").then_some(inner);
        }
        if self.eat("√") || self.rest.starts_with("sqrt(") && self.eat("sqrt") {
            return self.nested(Self::operand).map(f64::sqrt);
        }
        if self.eat("pi") || self.eat("π") {
            return Some(std::f64::consts::PI);
        }
        let (number, rest) = self.rest.split_at(number_length(self.rest));
        self.rest = rest.trim_start();
        number.parse().ok()
    }

    /// Reads a part of the formula that can hold others of its kind.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Option<f64>) -> Option<f64> {
        self.depth += 1;
        let number = if self.depth > MAX_DEPTH { None } else { read(self) };
        self.depth -= 1;
        number
    }
}

/// The bytes of the decimal number that a text begins with: digits, a point, an exponent.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end += 1;
        end += digits(end);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_have_their_values() {
        let root = 2f64.sqrt();
        for (text, value) in [
            ("0.5", 0.5),
            ("-1e-3", -1e-3),
            ("2/3", 2.0 / 3.0),
            ("sqrt(2)", root),
            ("√2", root),
            ("1/sqrt(2)", 1.0 / root),
            ("1 / sqrt( 2 )", 1.0 / root),
            ("sqrt(2/512)", (2.0 / 512.0f64).sqrt()),
            ("sqrt(2/(1+0.2^2))", (2.0 / 1.04f64).sqrt()),
            ("2**.5", root),
            ("2^-0.5", 1.0 / root),
            ("2^3^2", 512.0),
            ("-2^2", -4.0),
            ("8/2/2", 2.0),
            ("7-2-1", 4.0),
            ("1+2*3", 7.0),
            ("(1+2)*3", 9.0),
            ("5/3", 5.0 / 3.0),
            ("2*pi", std::f64::consts::TAU),
            ("1e2/1E+1", 10.0),
        ] {
            let got = number(text).unwrap();
            assert!((got - value).abs() <= 1e-15 * value.abs(), "{text}: {got}");
        }
    }

    #[test]
    fn what_is_no_formula_is_refused() {
        for text in [
            "", " ", "relu", "2/", "/2", "sqrt", "sqrt()", "sqrt 2", "sqrt2", "(2", "2)", "2 3", "2e",
            "1..2", "--", "2^", "é", ".",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number(&format!("{}1{}", "(".repeat(20), ")".repeat(20))), Some(1.0));
        // A formula of any length takes no more stack than one of 32 levels.
        for text in ["(", "-", "sqrt(", "2^", "√"] {
            assert_eq!(number(&format!("{}2", text.repeat(1_000_000))), None, "{text}");
        }
        assert_eq!(number(&format!("0{}", "+1".repeat(100_000))), Some(1e5));
        assert!(number("1/0").is_some_and(f64::is_infinite));
    }
}
