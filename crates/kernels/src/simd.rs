//! Which vector units the processor has, and how code is compiled for each of them.

use std::sync::OnceLock;

/// The vector instructions that the kernels use.
///
/// Results are the same bits at every level that has a fused multiply-add: each element goes through the same operations
/// in the same order, whatever the width of the vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SimdLevel {
    /// What every processor of the architecture has. On x86-64 there is no fused multiply-add in that, so that the
    /// kernels leave the work to candle where they can, and are slow where they cannot.
    Portable,
    /// 256 bits with fused multiply-add.
    Avx2,
    /// 512 bits.
    Avx512,
}

impl SimdLevel {
    /// The best level of this processor, or the one that `WICK_SIMD` names (`portable`, `avx2`, `avx512`), if that is
    /// lower.
    pub fn best() -> Self {
        static BEST: OnceLock<SimdLevel> = OnceLock::new();
        *BEST.get_or_init(|| {
            let limit = match std::env::var("WICK_SIMD").as_deref() {
                Ok("portable") => Self::Portable,
                Ok("avx2") => Self::Avx2,
                _ => Self::Avx512,
            };
            Self::of_processor().min(limit)
        })
    }

    /// Every level that this processor has.
    pub fn available() -> impl Iterator<Item = Self> {
        let best = Self::of_processor();
        [Self::Portable, Self::Avx2, Self::Avx512].into_iter().filter(move |level| *level <= best)
    }

    /// Whether the level's fused multiply-add is one instruction, so that the kernels are worth taking.
    pub fn is_fast(self) -> bool {
        self > Self::Portable || cfg!(target_arch = "aarch64")
    }

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

/// A loop that is compiled once for each level. Methods and no closures: one that the compiler does not inline loses the
/// vector units of the function around it.
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
    /// What it returns.
    type Output;

    /// The loop. It must be `#[inline(always)]`, and so must all that it calls: only so does it get the level's
    /// instructions.
    fn run(self) -> Self::Output;
}

/// Runs a loop with the instructions of a level.
pub fn run<T: Task>(level: SimdLevel, task: T) -> T::Output {
    debug_assert!(level <= SimdLevel::of_processor());
    match level {
        SimdLevel::Portable => task.run(),
        // SAFETY: a `SimdLevel` comes from `best` or `available`, which asked the processor for its features.
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx2 => unsafe { run_avx2(task) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx512 => unsafe { run_avx512(task) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => task.run(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: Task>(task: T) -> T::Output {
    task.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512<T: Task>(task: T) -> T::Output {
    task.run()
}
