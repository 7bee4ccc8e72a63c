//! Schedules as text: `name` or `name:key=value,…`.

use std::fmt;
use std::str::FromStr;

use wick_theory::nearest_names;
use wick_theory::spec::{Pairs, SpecError, name_and_pairs, shortened, spellings, word};

use super::{Curve, Schedule, Warmup};
use crate::error::Error;

/// Makes a schedule from the pairs of a SPEC; the number is that of the steps where the pairs have none.
type Reader = fn(&mut Pairs, Option<u64>) -> Result<Schedule, SpecError>;

/// The names that are read, with their readers.
const ROWS: [(&str, Reader); 7] = [
    ("constant", |pairs, _| Ok(Schedule::Constant { warmup: warmup(pairs)? })),
    ("linear", |pairs, run| {
        let steps = steps(pairs, run)?;
        Ok(Schedule::Linear { steps, warmup: warmup(pairs)?, floor: floor(pairs)? })
    }),
    ("cosine", |pairs, run| {
        let steps = steps(pairs, run)?;
        Ok(Schedule::Cosine { steps, warmup: warmup(pairs)?, floor: floor(pairs)? })
    }),
    ("wsd", warmup_stable_decay),
    ("warmup_stable_decay", warmup_stable_decay),
    ("one_cycle", |pairs, run| {
        Ok(Schedule::OneCycle {
            steps: steps(pairs, run)?,
            rise: pairs.number("rise")?.unwrap_or(RISE),
            div: pairs.number("div")?.unwrap_or(DIV),
            final_div: pairs.number("final_div")?.unwrap_or(FINAL_DIV),
            curve: pairs.one_of("curve", &Curve::WORDS)?.unwrap_or(Curve::Cosine),
        })
    }),
    ("step", |pairs, _| {
        Ok(Schedule::Step { every: count(pairs, "every")?, factor: number(pairs, "factor")? })
    }),
];

/// PyTorch's defaults of the one-cycle schedule.
const RISE: f64 = 0.3;
const DIV: f64 = 25.0;
const FINAL_DIV: f64 = 1e4;

fn warmup_stable_decay(pairs: &mut Pairs, run: Option<u64>) -> Result<Schedule, SpecError> {
    Ok(Schedule::WarmupStableDecay {
        steps: steps(pairs, run)?,
        warmup: warmup(pairs)?,
        decay: count(pairs, "decay")?,
        curve: pairs.one_of("curve", &Curve::WORDS)?.unwrap_or(Curve::Linear),
        floor: floor(pairs)?,
    })
}

fn steps(pairs: &mut Pairs, run: Option<u64>) -> Result<u64, SpecError> {
    pairs.count("steps")?.or(run).ok_or_else(|| SpecError::new("it takes steps="))
}

fn count(pairs: &mut Pairs, key: &str) -> Result<u64, SpecError> {
    pairs.count(key)?.ok_or_else(|| SpecError::new(format!("it takes {key}=")))
}

fn number(pairs: &mut Pairs, key: &str) -> Result<f64, SpecError> {
    pairs.number(key)?.ok_or_else(|| SpecError::new(format!("it takes {key}=")))
}

fn floor(pairs: &mut Pairs) -> Result<f64, SpecError> {
    Ok(pairs.number("floor")?.unwrap_or(0.0))
}

fn warmup(pairs: &mut Pairs) -> Result<Warmup, SpecError> {
    let steps = pairs.count("warmup")?;
    match (steps, pairs.number("start")?) {
        (Some(steps), Some(start)) => Ok(Warmup { steps, start }),
        (Some(steps), None) => Ok(Warmup::new(steps)),
        (None, Some(_)) => Err(SpecError::new("start= is that of a warm-up: it needs warmup=")),
        (None, None) => Ok(Warmup::NONE),
    }
}

impl Schedule {
    /// Lists all names that can be read as a SPEC.
    ///
    /// ```
    /// assert!(wick_train::Schedule::names().any(|name| name == "cosine"));
    /// ```
    pub fn names() -> impl Iterator<Item = &'static str> {
        ROWS.into_iter().map(|(name, _)| name)
    }

    /// Reads a SPEC whose `steps=`, where it has none, are those of the run.
    ///
    /// # Errors
    /// As for the SPEC's [`FromStr`].
    ///
    /// ```
    /// use wick_train::Schedule;
    ///
    /// let schedule = Schedule::for_run("cosine:warmup=10", 500)?;
    /// assert_eq!(schedule.to_string(), "cosine:steps=500,warmup=10");
    /// assert_eq!(Schedule::for_run("cosine:steps=100", 500)?.steps(), Some(100));
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn for_run(spec: &str, steps: u64) -> Result<Self, Error> {
        Self::read(spec, Some(steps))
    }

    fn read(spec: &str, run: Option<u64>) -> Result<Self, Error> {
        let (name, rest) = name_and_pairs(spec);
        let row = spellings(name).iter().find_map(|name| ROWS.iter().find(|(known, _)| known == name));
        let Some((_, read)) = row else {
            let similar = nearest_names(name, Self::names());
            let known = Self::names().collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownSchedule { name: shortened(name), similar, known });
        };
        let unreadable = |reason: String| Error::Spec { what: "schedule", spec: shortened(spec), reason };
        let mut pairs = Pairs::parse(rest).map_err(|error| unreadable(error.to_string()))?;
        let schedule = read(&mut pairs, run).map_err(|error| unreadable(error.to_string()))?;
        if let Some(key) = pairs.left_over() {
            return Err(unreadable(pairs.not_taken(name, key)));
        }
        schedule.check().map_err(|error| unreadable(error.to_string()))?;
        Ok(schedule)
    }
}

/// Reads a SPEC, `name` or `name:key=value,…`, in the grammar of initializers: names in any case and with `-`
/// for `_`, numbers as formulas (`floor=1/8`).
///
/// | name | parameters |
/// |---|---|
/// | `constant` | `warmup` (none), `start` (1/(warmup + 1)) |
/// | `linear`, `cosine` | `steps`; `warmup`, `start`, `floor` (0) |
/// | `wsd` or `warmup_stable_decay` | `steps`, `decay`; `warmup`, `start`, `curve` (`linear`, or `cosine` or `sqrt`), `floor` (0) |
/// | `one_cycle` | `steps`; `rise` (0.3), `div` (25), `final_div` (1e4), `curve` (`cosine`) |
/// | `step` | `every`, `factor` |
///
/// ```
/// use wick_train::{Curve, Schedule, Warmup};
///
/// let schedule: Schedule = "wsd:steps=1000,warmup=100,decay=200,curve=sqrt".parse()?;
/// let warmup = Warmup::new(100);
/// let by_hand =
///     Schedule::WarmupStableDecay { steps: 1000, warmup, decay: 200, curve: Curve::Sqrt, floor: 0.0 };
/// assert_eq!(schedule, by_hand);
/// let error = "cosin:steps=9".parse::<Schedule>().unwrap_err().to_string();
/// assert!(error.starts_with("unknown schedule 'cosin' (did you mean cosine?)"), "{error}");
/// # Ok::<(), wick_train::Error>(())
/// ```
impl FromStr for Schedule {
    type Err = Error;

    fn from_str(spec: &str) -> Result<Self, Error> {
        Self::read(spec, None)
    }
}

/// Writes a SPEC that reads back as the same schedule; a closure's name instead.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant { warmup } => {
                let pairs = warmup_pairs(*warmup);
                let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
                f.write_str("constant")?;
                if pairs.is_empty() { Ok(()) } else { write!(f, ":{}", pairs.join(",")) }
            }
            Self::Linear { steps, warmup, floor } => {
                write!(f, "linear:steps={steps}")?;
                ramp(f, *warmup, *floor)
            }
            Self::Cosine { steps, warmup, floor } => {
                write!(f, "cosine:steps={steps}")?;
                ramp(f, *warmup, *floor)
            }
            Self::WarmupStableDecay { steps, warmup, decay, curve, floor } => {
                write!(f, "wsd:steps={steps},decay={decay}")?;
                if *curve != Curve::Linear {
                    write!(f, ",curve={}", word(&Curve::WORDS, curve))?;
                }
                ramp(f, *warmup, *floor)
            }
            Self::OneCycle { steps, rise, div, final_div, curve } => {
                write!(f, "one_cycle:steps={steps}")?;
                for (key, value, default) in
                    [("rise", rise, RISE), ("div", div, DIV), ("final_div", final_div, FINAL_DIV)]
                {
                    if *value != default {
                        write!(f, ",{key}={value}")?;
                    }
                }
                if *curve == Curve::Cosine {
                    Ok(())
                } else {
                    write!(f, ",curve={}", word(&Curve::WORDS, curve))
                }
            }
            Self::Step { every, factor } => write!(f, "step:every={every},factor={factor}"),
            Self::Closure(closure) => f.write_str(closure.name()),
        }
    }
}

fn warmup_pairs(warmup: Warmup) -> Vec<String> {
    let mut pairs = Vec::new();
    if warmup.steps > 0 {
        pairs.push(format!("warmup={}", warmup.steps));
    }
    if warmup != Warmup::new(warmup.steps) {
        pairs.push(format!("start={}", warmup.start));
    }
    pairs
}

fn ramp(f: &mut fmt::Formatter<'_>, warmup: Warmup, floor: f64) -> fmt::Result {
    for pair in warmup_pairs(warmup) {
        write!(f, ",{pair}")?;
    }
    if floor == 0.0 { Ok(()) } else { write!(f, ",floor={floor}") }
}
