//! Which start keeps signals and gradients best, over several seeds.

use anyhow::Result;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use wick_bins::output::{Cell, Column, Table, csv_of, short, table_of};

/// The starts, best first.
#[derive(Debug, Serialize)]
pub(crate) struct Ranking {
    seeds: Vec<u64>,
    starts: Vec<Start>,
}

/// A start and its place.
#[derive(Debug, Serialize)]
struct Start {
    /// From 1; starts that the seeds do not tell apart from the first of their rank have one rank. `None` for
    /// a start whose signals or gradients vanish or overflow with some seed.
    rank: Option<usize>,
    init: String,
    distance: Estimate,
    std_ratio: Estimate,
    gradient_ratio: Estimate,
    /// The number of seeds with a fault.
    faulty: usize,
    outcomes: Vec<Outcome>,
}

/// What a start does to the signals with one seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Outcome {
    /// The std of the last layer's output over that of the first.
    pub(crate) std_ratio: f64,
    /// The rms of the gradient at the first layer over that at the last.
    pub(crate) gradient_ratio: f64,
    pub(crate) is_faulty: bool,
}

impl Outcome {
    /// How far signals and gradients are from being kept, in powers of ten: |log₁₀| of both ratios, added. It
    /// is infinite for signals that vanish or overflow.
    fn distance(&self) -> f64 {
        let distance = self.std_ratio.log10().abs() + self.gradient_ratio.log10().abs();
        if distance.is_nan() { f64::INFINITY } else { distance }
    }
}

/// A mean over the seeds with its 95 % interval by Student's t. The interval is NaN if the mean is infinite, or
/// that of the logarithms of ratios.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Estimate {
    mean: f64,
    low: f64,
    high: f64,
}

impl Estimate {
    /// The estimate from at least two numbers.
    fn of(xs: &[f64]) -> Result<Self> {
        let n = xs.len() as f64;
        let mean = xs.iter().sum::<f64>() / n;
        if !mean.is_finite() {
            return Ok(Self { mean, low: f64::NAN, high: f64::NAN });
        }
        let variance = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let half = StudentsT::new(0.0, 1.0, n - 1.0)?.inverse_cdf(0.975) * (variance / n).sqrt();
        Ok(Self { mean, low: mean - half, high: mean + half })
    }

    /// The geometric mean of ratios, with its interval.
    fn of_ratios(ratios: &[f64]) -> Result<Self> {
        let Self { mean, low, high } = Self::of(&ratios.iter().map(|ratio| ratio.ln()).collect::<Vec<_>>())?;
        Ok(Self { mean: mean.exp(), low: low.exp(), high: high.exp() })
    }

    /// The mean distance, which is not negative.
    fn of_distances(distances: &[f64]) -> Result<Self> {
        let Self { mean, low, high } = Self::of(distances)?;
        Ok(Self { mean, low: if low < 0.0 { 0.0 } else { low }, high })
    }

    fn for_people(&self) -> Cell {
        if !self.mean.is_finite() {
            return "not finite".into();
        }
        if !(self.low.is_finite() && self.high.is_finite()) || self.mean == 0.0 && self.high == 0.0 {
            return short(self.mean).into();
        }
        format!("{} ({}–{})", short(self.mean), short(self.low), short(self.high)).into()
    }
}

impl Ranking {
    /// Ranks starts by their mean [`Outcome::distance`]. The seeds of all starts are the same: a start has the
    /// rank of the one before it unless the 95 % interval of the difference from the first of that rank, seed
    /// by seed, is beyond 0. A start without a finite distance has none, and stands last.
    pub(crate) fn new(seeds: Vec<u64>, starts: Vec<(String, Vec<Outcome>)>) -> Result<Self> {
        let mut ranked = Vec::new();
        for (init, outcomes) in starts {
            let of = |figure: fn(&Outcome) -> f64| outcomes.iter().map(figure).collect::<Vec<f64>>();
            ranked.push(Start {
                rank: None,
                init,
                distance: Estimate::of_distances(&of(Outcome::distance))?,
                std_ratio: Estimate::of_ratios(&of(|outcome| outcome.std_ratio))?,
                gradient_ratio: Estimate::of_ratios(&of(|outcome| outcome.gradient_ratio))?,
                faulty: outcomes.iter().filter(|outcome| outcome.is_faulty).count(),
                outcomes,
            });
        }
        ranked.sort_by(|a, b| a.distance.mean.total_cmp(&b.distance.mean));
        let mut leader = 0;
        for index in 0..ranked.iter().filter(|start| start.distance.mean.is_finite()).count() {
            if !is_tie(&ranked[leader], &ranked[index])? {
                leader = index;
            }
            ranked[index].rank = Some(leader + 1);
        }
        Ok(Self { seeds, starts: ranked })
    }

    /// The table for people.
    pub(crate) fn table(&self) -> Table {
        let n = self.seeds.len();
        let (first, last) =
            (self.seeds.first().copied().unwrap_or(0), self.seeds.last().copied().unwrap_or(0));
        let title = format!("{n} seeds, {first} to {last}: means with 95 % intervals");
        let mut table = table_of(title, &columns(), self.starts.iter());
        table.note = format!(
            "ranking: {}\nby the distance from 1: |log₁₀| of last over first layer's std + |log₁₀| of first over \
             last layer's gradient rms; starts with one rank do not differ from the first of them (95 % t-interval of \
             the differences seed by seed)",
            self.line()
        );
        table
    }

    pub(crate) fn csv(&self) -> Table {
        csv_of(&columns(), self.starts.iter())
    }

    /// The starts in one line: `1. a and b (tie); 3. c; no rank, as the signals vanish or overflow: d`.
    fn line(&self) -> String {
        let groups = self.starts.chunk_by(|a, b| a.rank == b.rank).map(|group| {
            let names: Vec<&str> = group.iter().map(|start| start.init.as_str()).collect();
            let tie = if group.len() > 1 { " (tie)" } else { "" };
            let names = names.join(" and ");
            match group[0].rank {
                Some(rank) => format!("{rank}. {names}{tie}"),
                None => format!("no rank, as signals or gradients vanish or overflow: {names}"),
            }
        });
        groups.collect::<Vec<_>>().join("; ")
    }
}

/// Whether the seeds do not tell two starts of finite distances apart.
fn is_tie(a: &Start, b: &Start) -> Result<bool> {
    let pairs = a.outcomes.iter().zip(&b.outcomes);
    let difference = Estimate::of(&pairs.map(|(a, b)| b.distance() - a.distance()).collect::<Vec<_>>())?;
    Ok(difference.low <= 0.0 && 0.0 <= difference.high)
}

fn columns<'a>() -> [Column<&'a Start>; 15] {
    [
        Column::new("rank", "rank", |start| start.rank.map_or(Cell::Unknown, Cell::from)),
        Column::new("init", "init", |start| start.init.as_str().into()),
        Column::for_people("distance from 1", |start| start.distance.for_people()),
        Column::for_people("std, last/first", |start| start.std_ratio.for_people()),
        Column::for_people("gradient, first/last", |start| start.gradient_ratio.for_people()),
        Column::new("seeds with faults", "faulty", |start| start.faulty.into()),
        Column::for_programs("distance", |start| start.distance.mean.into()),
        Column::for_programs("distance_low", |start| start.distance.low.into()),
        Column::for_programs("distance_high", |start| start.distance.high.into()),
        Column::for_programs("std_ratio", |start| start.std_ratio.mean.into()),
        Column::for_programs("std_ratio_low", |start| start.std_ratio.low.into()),
        Column::for_programs("std_ratio_high", |start| start.std_ratio.high.into()),
        Column::for_programs("gradient_ratio", |start| start.gradient_ratio.mean.into()),
        Column::for_programs("gradient_ratio_low", |start| start.gradient_ratio.low.into()),
        Column::for_programs("gradient_ratio_high", |start| start.gradient_ratio.high.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(std_ratio: f64, gradient_ratio: f64) -> Outcome {
        Outcome { std_ratio, gradient_ratio, is_faulty: false }
    }

    #[test]
    fn an_interval_is_students() {
        // scipy: t.interval(0.95, 4, loc=3, scale=sem([1, 2, 3, 4, 5]))
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(estimate.mean, 3.0);
        assert!((estimate.low - 1.036_756_838_522_438_2).abs() < 1e-9, "{estimate:?}");
        assert!((estimate.high - 4.963_243_161_477_562).abs() < 1e-9, "{estimate:?}");
        let ratios = Estimate::of_ratios(&[0.1, 10.0]).unwrap();
        assert!((ratios.mean - 1.0).abs() < 1e-12 && (ratios.low * ratios.high - 1.0).abs() < 1e-9);
        assert!(Estimate::of(&[1.0, f64::INFINITY]).unwrap().low.is_nan());
    }

    /// A signal that dies out has a ratio of 0 and no interval, and no distance is below 0.
    #[test]
    fn estimates_are_told_as_they_are() {
        let ratios = |ratios: &[f64]| Estimate::of_ratios(ratios).unwrap().for_people();
        assert_eq!(ratios(&[0.0, 0.0, 0.0]), "0".into());
        assert_eq!(ratios(&[1e-30, 0.0, 1e-31]), "0".into());
        assert_eq!(ratios(&[2.0, 2.0, 2.0]), "2.000 (2.000–2.000)".into());
        for unknown in [&[f64::NAN, 1.0][..], &[f64::INFINITY, 1.0], &[0.0, f64::INFINITY]] {
            assert_eq!(ratios(unknown), "not finite".into());
        }
        let distance = Estimate::of_distances(&[0.0, 0.0, 3.0]).unwrap();
        assert_eq!((distance.mean, distance.low), (1.0, 0.0));
    }

    #[test]
    fn distances_are_powers_of_ten_from_1() {
        for (std_ratio, gradient_ratio, distance) in
            [(1.0, 1.0, 0.0), (0.1, 1.0, 1.0), (10.0, 100.0, 3.0), (0.1, 10.0, 2.0)]
        {
            assert!((outcome(std_ratio, gradient_ratio).distance() - distance).abs() < 1e-12);
        }
        for vanished in [outcome(0.0, 1.0), outcome(f64::NAN, 1.0), outcome(1.0, f64::INFINITY)] {
            assert_eq!(vanished.distance(), f64::INFINITY);
        }
    }

    /// The distances of a and b vary by seed and alike: b is farther by .01 each time, and ranks behind. c is
    /// a in another order of seeds, a tie. What vanishes is last, whatever vanishes.
    #[test]
    fn starts_are_ranked_and_ties_are_ties() {
        let of = |distances: [f64; 4]| distances.map(|distance| outcome(10f64.powf(-distance), 1.0)).to_vec();
        let a = [1.0, 2.0, 3.0, 4.0];
        let (b, c) = (a.map(|x| x + 0.01 + 1e-4 * x), [4.0, 3.0, 2.0, 1.001]);
        let infinite = [1.0, f64::INFINITY, 1.0, 1.0];
        let starts = [("dead", [f64::INFINITY; 4]), ("b", b), ("some", infinite), ("c", c), ("a", a)];
        let rank = |names: &[&str]| {
            let chosen = starts.iter().filter(|(name, _)| names.contains(name));
            let starts = chosen.map(|(name, distances)| (name.to_string(), of(*distances))).collect();
            Ranking::new(vec![1, 2, 3, 4], starts).unwrap().line()
        };
        assert_eq!(rank(&["a", "b"]), "1. a; 2. b");
        assert_eq!(rank(&["a", "c"]), "1. a and c (tie)");
        assert_eq!(
            rank(&["a", "b", "dead", "some"]),
            "1. a; 2. b; no rank, as signals or gradients vanish or overflow: dead and some"
        );
        assert_eq!(
            rank(&["dead", "some"]),
            "no rank, as signals or gradients vanish or overflow: dead and some"
        );
        let twice = vec![("x".to_string(), of(a)), ("y".to_string(), of(a))];
        assert_eq!(Ranking::new(vec![1, 2, 3, 4], twice).unwrap().line(), "1. x and y (tie)");
    }
}
