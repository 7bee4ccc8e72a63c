//! The values of the options: ranges, grids and shards.

use std::str::FromStr;

use wick_theory::read_number;

/// A range `LOW,HIGH` with 0 ≤ LOW < HIGH.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range(pub(crate) [f64; 2]);

impl Range {
    pub(crate) const WANTED: &str = "not LOW,HIGH with 0 ≤ LOW < HIGH ≤ 100";

    pub(crate) fn is_one(low: f64, high: f64) -> bool {
        0.0 <= low && low < high && high <= 100.0
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once(',').and_then(|(low, high)| Some([read_number(low)?, read_number(high)?]));
        match ends {
            Some([low, high]) if Self::is_one(low, high) => Ok(Self([low, high])),
            _ => Err(Self::WANTED.into()),
        }
    }
}

/// The sides of the grid: `16x11`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid(pub(crate) [usize; 2]);

impl Grid {
    pub(crate) const WANTED: &str = "not NxN with sides of 2 to 1000";

    pub(crate) fn is_one(sides: [usize; 2]) -> bool {
        sides.iter().all(|side| (2..=1000).contains(side))
    }
}

impl FromStr for Grid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text
            .split_once(['x', 'X', '×', '*'])
            .and_then(|(w, b)| Some([w.trim().parse().ok()?, b.trim().parse().ok()?]));
        match sides {
            Some(sides) if Self::is_one(sides) => Ok(Self(sides)),
            _ => Err(Self::WANTED.into()),
        }
    }
}

/// A part of the grid: `3/8` is the third of eight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((k, n)) if (1..=n).contains(&k) => Ok(Self { index: k - 1, of: n }),
            _ => Err("not K/N with 1 ≤ K ≤ N".into()),
        }
    }
}
