//! The vector units of the processor, and loops that are compiled for each of them.

use std::fmt;
use std::sync::OnceLock;

/// The vector instructions that the kernels use: at most those that this processor has.
///
/// Results are the same bits at every level that has a fused multiply-add: each element goes through the same
/// operations in the same order, whatever the width of the vectors.
///
/// A level is proof that the processor has its instructions, which [`run`] and the matrix products rely on.
/// So only [`best`](Self::best), [`available`](Self::available) and [`named`](Self::named) return one, and
/// they ask the processor:
///
/// ```compile_fail,E0451
/// let level = wick_kernels::SimdLevel { units: unreachable!() };
/// ```
///
/// (The crate `pulp` has such proofs too, but its levels ask for more than these kernels need, so that its
/// choice of level would differ on some processors.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimdLevel {
    units: Units,
}

/// The vector units that a level stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Units {
    /// What every processor of the architecture has. On x86-64 that has no fused multiply-add, so the kernels
    /// leave the work to candle where they can, and are slow where they cannot.
    Portable,
    /// 256 bits with fused multiply-add.
    Avx2,
    /// 512 bits.
    Avx512,
}

impl Units {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The best units of this processor.
    fn of_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (avx2, avx512) {
                (true, true) => Self::Avx512,
                (true, false) => Self::Avx2,
                _ => Self::Portable,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self::Portable
    }
}

impl SimdLevel {
    /// What every processor of the architecture has.
    pub const PORTABLE: Self = Self { units: Units::Portable };

    /// The best level of this processor, or the one that the environment variable `WICK_SIMD` names
    /// (`portable`, `avx2`, `avx512`), if that is lower.
    pub fn best() -> Self {
        static BEST: OnceLock<SimdLevel> = OnceLock::new();
        *BEST.get_or_init(|| {
            let limit = std::env::var("WICK_SIMD").ok();
            let limit = Units::ALL.into_iter().find(|units| Some(units.name()) == limit.as_deref());
            Self { units: Units::of_processor().min(limit.unwrap_or(Units::Avx512)) }
        })
    }

    /// Every level that this processor has, the lowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let best = Units::of_processor();
        Units::ALL.into_iter().filter(move |units| *units <= best).map(|units| Self { units })
    }

    /// The level of this name (`portable`, `avx2`, `avx512`), if this processor has it.
    ///
    /// ```
    /// use wick_kernels::SimdLevel;
    ///
    /// assert_eq!(SimdLevel::named("portable"), Some(SimdLevel::PORTABLE));
    /// assert_eq!(SimdLevel::named("avx1024"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Self::available().find(|level| level.name() == name)
    }

    /// The name, as `WICK_SIMD` takes it.
    pub fn name(self) -> &'static str {
        self.units.name()
    }

    /// Whether the level's fused multiply-add is one instruction, so that the kernels are worth using.
    pub fn is_fast(self) -> bool {
        self > Self::PORTABLE || cfg!(target_arch = "aarch64")
    }

    /// The vector units, which this processor has.
    pub(crate) fn units(self) -> Units {
        self.units
    }
}

impl fmt::Debug for SimdLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.units.fmt(f)
    }
}

impl fmt::Display for SimdLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A loop that is compiled once for each level.
///
/// `#[target_feature]` is not inherited by a closure that is not inlined, so a loop is a struct with a
/// method.
///
/// ```
/// use wick_kernels::simd::{SimdLevel, Task, run};
///
/// struct Sum<'a>(&'a [f32]);
///
/// impl Task for Sum<'_> {
///     type Output = f32;
///
///     #[inline(always)]
///     fn run(self) -> f32 {
///         self.0.iter().sum()
///     }
/// }
///
/// assert_eq!(run(SimdLevel::best(), Sum(&[1.0, 2.5])), 3.5);
/// ```
pub trait Task {
    /// The result of the loop.
    type Output;

    /// Runs the loop. The method and all that it calls must be `#[inline(always)]`; otherwise they do not get
    /// the level's instructions.
    fn run(self) -> Self::Output;
}

/// Runs a loop with the instructions of a level.
pub fn run<T: Task>(level: SimdLevel, task: T) -> T::Output {
    match level.units {
        Units::Portable => task.run(),
        // SAFETY: a `SimdLevel` is made only of units that `Units::of_processor` found, or of lower ones.
        #[cfg(target_arch = "x86_64")]
        Units::Avx2 => unsafe { run_avx2(task) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Units::Avx512 => unsafe { run_avx512(task) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => task.run(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn run_avx2<T: Task>(task: T) -> T::Output {
    task.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn run_avx512<T: Task>(task: T) -> T::Output {
    task.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What std finds by itself, feature by feature.
    fn has(units: Units) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match units {
            Units::Portable => true,
            Units::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Units::Avx512 => {
                has(Units::Avx2)
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        return units == Units::Portable;
    }

    #[test]
    fn no_constructor_returns_a_level_that_the_processor_lacks() {
        let all = [SimdLevel::best(), SimdLevel::PORTABLE].into_iter().chain(SimdLevel::available());
        let named = Units::ALL.into_iter().filter_map(|units| SimdLevel::named(units.name()));
        assert!(all.chain(named).all(|level| has(level.units)));
        let expected: Vec<Units> = Units::ALL.into_iter().filter(|units| has(*units)).collect();
        assert_eq!(SimdLevel::available().map(|level| level.units).collect::<Vec<_>>(), expected);
        for units in Units::ALL.into_iter().filter(|units| !has(*units)) {
            assert_eq!(SimdLevel::named(units.name()), None);
        }
    }

    #[test]
    fn names_are_those_of_wick_simd() {
        for level in SimdLevel::available() {
            assert_eq!(SimdLevel::named(&level.to_string()), Some(level));
        }
        assert!(SimdLevel::available().is_sorted());
    }
}
