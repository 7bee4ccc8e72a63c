//! The course of the loss.

use crate::diagnose::fault::{Fault, Level, Verdict};
use crate::text::{short, significant};

/// Fewer steps show no rise and no fall.
pub(super) const MIN_STEPS: usize = 20;

/// Fewer steps may be a warm-up, in which nothing falls.
const MIN_FLAT_STEPS: usize = 100;

/// The start of the loss is the mean of at most 20 losses: a longer run is to be compared with the same start.
pub(super) const MAX_START: usize = 20;

/// A loss that ends this much of its first size above its start has risen.
const MIN_RISE: f64 = 0.1;

/// A spike that loses more than this part of what was learnt, until the end, was not recovered from.
const MIN_LOST: f64 = 0.5;

/// A fall of a smaller part of the first loss is none.
const MIN_FALL: f64 = 0.01;

/// A change of fewer standard errors is noise.
const MIN_ERRORS: f64 = 4.0;

/// Judges the losses of a run, one a step from the first step on: a number that is not finite; a loss that ends above
/// its start; one that was lower and did not come back; one that does not fall in 100 steps. A healthy course, or one
/// too short to tell, has no verdict. No verdict changes when all losses are multiplied by a number.
///
/// With the mean `m₁` of the first tenth of `n` losses (5 at least, 20 at most), `m₂` of the last tenth (5 at least) and
/// the least mean `m₀` of a tenth in between, and the standard error `e` of `m₂ - m₁` (or `m₂ - m₀`) by the median of
/// the differences of losses that follow each other:
///
/// | verdict | from | if |
/// |---|---|---|
/// | rises | 20 steps | `m₂ - m₁ > max(.1 |m₁|, 4 e)` |
/// | does not come back | 20 steps | `m₂ - m₀ > max(.5 (m₁ - m₀), .1 |m₁|, 4 e)` |
/// | does not fall | 100 steps | `m₁ - m₂ < max(.01 |m₁|, e)` |
///
/// Of a loss that had fallen before, the first two name the step of the jump, if it was one. What rises is a cause, and
/// comes before the verdicts on layers.
///
/// The thresholds are Wick's own; `docs/verdicts.md` has how often they are right.
///
/// ```
/// use wick_probe::{Fault, judge_loss};
///
/// let course = |step: i32| 0.1 + 2.0 * 0.95f64.powi(step);
/// let mut losses: Vec<f64> = (0..120).map(course).collect();
/// assert_eq!(judge_loss(&losses), None);
/// losses[60..].fill(2.5);
/// let verdict = judge_loss(&losses).expect("the loss ends above its start");
/// assert_eq!((verdict.fault, verdict.layer.as_str()), (Fault::Loss, "loss"));
/// assert!(verdict.text.starts_with("the loss rises: from"));
/// ```
pub fn judge_loss(losses: &[f64]) -> Option<Verdict> {
    if let Some((step, loss)) = losses.iter().enumerate().find(|(_, loss)| !loss.is_finite()) {
        return Some(not_finite(step, *loss));
    }
    let n = losses.len();
    let (start, width) = Summary::widths(n)?;
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..start]), mean(&losses[n - width..]));
    let (least, best) = least_mean(losses, width);
    let noise = noise(differences(losses));
    let initial = losses[0];
    Summary { n, start, width, initial, first, last, least, best, noise }.judge(|| jump(losses, first))
}

/// The verdict on a loss that is not finite.
pub(super) fn not_finite(step: usize, loss: f64) -> Verdict {
    let text = format!("the loss is {loss} at step {step}");
    let remedy = "find the first NaN or infinity, as with Probe::first_bad";
    Verdict::new(Fault::NonFinite, Level::Broken, "loss", loss, text).with_remedy(remedy)
}

/// What the verdict on a course is made from.
pub(super) struct Summary {
    /// The number of losses.
    pub(super) n: usize,
    /// How many losses the first mean is of.
    pub(super) start: usize,
    /// How many losses the last and the least mean are of.
    pub(super) width: usize,
    /// The very first loss.
    pub(super) initial: f64,
    pub(super) first: f64,
    pub(super) last: f64,
    pub(super) least: f64,
    /// The step behind the losses of the least mean.
    pub(super) best: usize,
    pub(super) noise: f64,
}

impl Summary {
    /// How many losses the means at the start and at the end of `n` are of; `None` if they are too few to tell.
    pub(super) fn widths(n: usize) -> Option<(usize, usize)> {
        let width = (n / 10).max(5);
        (n >= MIN_STEPS).then_some((width.min(MAX_START), width))
    }

    pub(super) fn judge(&self, jump: impl FnOnce() -> Option<usize>) -> Option<Verdict> {
        let Self { n, start, width, initial, first, last, least, best, noise } = *self;
        let verdict = |level, figure: f64, text: String, remedy: &str| {
            Some(Verdict::new(Fault::Loss, level, "loss", figure, text).with_remedy(remedy))
        };
        // The standard error of the difference of two means, of `of` losses and of a tenth of them all.
        let error = |of: usize| noise * (1.0 / of as f64 + 1.0 / width as f64).sqrt();
        let has_risen = last - first > (MIN_RISE * first.abs()).max(MIN_ERRORS * error(start));
        let is_lost = last - least
            > (MIN_LOST * (first - least)).max(MIN_RISE * first.abs()).max(MIN_ERRORS * error(width));
        if has_risen || is_lost {
            let mut text = match has_risen {
                true => format!("the loss rises: from {} to {} in {n} steps", short(first), short(last)),
                false => format!(
                    "the loss does not come back: it was {} at step {best} and is {} after {n} steps",
                    short(least),
                    short(last)
                ),
            };
            let remedy = match jump() {
                Some(step) => {
                    text += &format!(", by a jump at step {step}");
                    format!(
                        "look at the learning rate and the batch of step {step}, and go on from before it"
                    )
                }
                None => "start again with a smaller learning rate, a tenth at a time, until the loss falls"
                    .to_owned(),
            };
            return verdict(Level::Faulty, last / first, text, &remedy);
        }
        // Where the loss goes up at once, its first mean is of what the training has broken.
        let has_exploded = first - initial > 2.0 * noise;
        let (first, of) = if has_exploded { (initial, 1) } else { (first, start) };
        let is_flat = first - last < (MIN_FALL * first.abs()).max(error(of));
        if n >= MIN_FLAT_STEPS && is_flat {
            let [first_text, last_text] = [first, last].map(|loss| significant(loss, 4));
            let text = format!("the loss does not fall: from {first_text} to {last_text} in {n} steps");
            let remedy = "try other learning rates, ten times larger and smaller ones; if none helps, look whether \
                          inputs and targets belong together";
            return verdict(Level::Unusual, last / first, text, remedy);
        }
        None
    }
}

/// The least mean of `width` losses that follow each other, of windows a tenth of a width apart, and the step behind
/// them. Each sum is its own: a running sum would keep the rounding of a loss that was huge.
pub(super) fn least_mean(losses: &[f64], width: usize) -> (f64, usize) {
    let stride = (width / 10).max(1);
    let windows = losses.windows(width).enumerate().step_by(stride);
    let means = windows.map(|(from, window)| (window.iter().sum::<f64>() / width as f64, from + width));
    means.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0))
}

/// A jump is seen by the means of this number of losses before and behind it.
pub(super) const JUMP_WIDTH: usize = 5;

/// The noise before a jump is that of at most this number of losses.
pub(super) const NOISE_STEPS: usize = 200;

/// The first step at which a loss that had fallen jumps up.
fn jump(losses: &[f64], first: f64) -> Option<usize> {
    let rise_at = |step: usize| rise(&losses[..step], &losses[step..step + JUMP_WIDTH]);
    // Before, nothing was learnt that could be lost.
    let steps = || MIN_STEPS..losses.len().saturating_sub(JUMP_WIDTH - 1);
    let from = steps().find(|step| is_jump(&losses[..*step], &losses[*step..*step + JUMP_WIDTH], first))?;
    (from..(from + JUMP_WIDTH).min(steps().end)).max_by(|a, b| rise_at(*a).total_cmp(&rise_at(*b)))
}

/// How much the mean of the losses behind a step is larger than that of as many before it.
pub(super) fn rise(before: &[f64], behind: &[f64]) -> f64 {
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / JUMP_WIDTH as f64;
    mean(behind) - mean(&before[before.len() - JUMP_WIDTH..])
}

/// Whether a loss that had fallen from `first` jumps up by more than [`MIN_LOST`] of its fall, and beyond noise.
pub(super) fn is_jump(before: &[f64], behind: &[f64], first: f64) -> bool {
    /// A jump is this many standard errors large.
    const MIN_JUMP: f64 = 8.0;
    let near = &before[before.len() - JUMP_WIDTH..];
    let fall = first - near.iter().sum::<f64>() / JUMP_WIDTH as f64;
    let rise = rise(before, behind);
    fall > MIN_RISE * first.abs() && rise > MIN_LOST * fall && {
        let before = &before[before.len().saturating_sub(NOISE_STEPS)..];
        rise > MIN_JUMP * noise(differences(before)) * (2.0 / JUMP_WIDTH as f64).sqrt()
    }
}

/// The sizes of the differences of losses that follow each other.
fn differences(losses: &[f64]) -> Vec<f64> {
    losses.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect()
}

/// The standard deviation of a loss around its course, by the median of the differences of neighbours, of which the
/// normal distribution has .6745 `√2` standard deviations.
pub(super) fn noise(mut differences: Vec<f64>) -> f64 {
    if differences.is_empty() {
        return 0.0;
    }
    let middle = differences.len() / 2;
    let (_, median, _) = differences.select_nth_unstable_by(middle, f64::total_cmp);
    *median / (0.6745 * 2f64.sqrt())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Numbers of mean 0 and std 1: sums of twelve uniform numbers of a fixed generator, less 6.
    pub(crate) fn noise_of(seed: u64, n: usize) -> Vec<f64> {
        let mut state = seed;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..n).map(|_| (0..12).map(|_| uniform()).sum::<f64>() - 6.0).collect()
    }

    fn said(losses: &[f64]) -> Option<String> {
        let verdict = judge_loss(losses)?;
        Some(verdict.text.split(':').next().unwrap_or_default().to_owned())
    }

    /// A loss that explodes at once and ends where it began has not fallen, although it is below the mean of its first
    /// steps. The twin falls below its first loss.
    #[test]
    fn a_loss_that_comes_down_to_its_start_has_not_fallen() {
        let course = |end: f64| -> Vec<f64> {
            let explosion = [1.45, 1.87, 2.98, 2.6, 2.2, 1.94, 1.8, 1.7, 1.65, 1.6];
            let rest = noise_of(5, 290).into_iter().map(|noise| end + 0.08 * noise);
            explosion.into_iter().chain(rest).collect()
        };
        assert_eq!(said(&course(1.386)).as_deref(), Some("the loss does not fall"));
        assert_eq!(said(&course(0.6)), None);
    }

    /// Each course by its verdict, and the same course times 2⁻³⁰ and 2³⁰.
    #[test]
    fn courses_have_their_verdicts() {
        let fall = |step: usize| 0.2 + 2.0 * 0.97f64.powi(step as i32);
        let spiked =
            |until: usize| move |step: usize| if (60..until).contains(&step) { 1.6 } else { fall(step) };
        type Course<'a> = (&'a dyn Fn(usize) -> f64, usize, Option<&'a str>);
        let cases: [Course; 9] = [
            (&fall, 160, None),
            (&|step| fall(step) + 3.0 * (step == 100) as u8 as f64, 160, None),
            (&spiked(80), 160, None),
            (&spiked(160), 160, Some("the loss does not come back")),
            (&|step| 2.3 + 0.05 * step as f64, 160, Some("the loss rises")),
            (&|step| 2.3 + 0.05 * step as f64, 19, None),
            (&|step| 2.3 + 0.1 * (step % 2) as f64, 160, Some("the loss does not fall")),
            (&|step| 2.3 + 0.1 * (step % 2) as f64, 99, None),
            (&|step| if step < 4 { 2.3 } else { 0.3 }, 400, None),
        ];
        for (index, (course, n, expected)) in cases.into_iter().enumerate() {
            let losses: Vec<f64> = (0..n).map(course).collect();
            for scale in [1.0, 2f64.powi(-30), 2f64.powi(30)] {
                let scaled: Vec<f64> = losses.iter().map(|loss| loss * scale).collect();
                assert_eq!(said(&scaled).as_deref(), expected, "course {index} × {scale}");
            }
        }
        let jumped: Vec<f64> = (0..160).map(spiked(160)).collect();
        let verdict = judge_loss(&jumped).unwrap();
        assert!(verdict.text.ends_with("by a jump at step 60"), "{verdict}");
        let rising: Vec<f64> = (0..160).map(|step| 2.3 + 0.05 * step as f64).collect();
        assert!(judge_loss(&rising).unwrap().remedy.starts_with("start again"));
        let verdict = judge_loss(&[1.0, f64::NAN]).unwrap();
        assert_eq!((verdict.fault, verdict.text.as_str()), (Fault::NonFinite, "the loss is NaN at step 1"));
        assert_eq!(judge_loss(&[]), None);
    }

    /// A loss that falls from 2.3 to .5 with a time constant of 4 or 30 steps, and stays there or creeps up to .58, has
    /// no verdict after 100 to a million steps (noise of .02, seed n). The twins are a loss that stays at 2.3, and one
    /// that falls and ends at 3.
    #[test]
    fn an_early_fall_is_a_fall_in_a_run_of_any_length() {
        for n in [100, 300, 1000, 10_000, 40_000, 1_000_000] {
            let noise = noise_of(n as u64, n);
            let course = |of: &dyn Fn(f64) -> f64| -> Option<String> {
                let losses: Vec<f64> =
                    noise.iter().enumerate().map(|(step, x)| of(step as f64) + 0.02 * x).collect();
                said(&losses)
            };
            let part = |step: f64| step / n as f64;
            for tau in [4.0, 30.0] {
                let fall = |step: f64| 0.5 + 1.8 * (-step / tau).exp();
                assert_eq!(course(&fall), None, "{n} steps, {tau}");
                assert_eq!(
                    course(&|step| fall(step) + 0.08 * part(step)),
                    None,
                    "{n} steps, {tau}, creeps up"
                );
                let rises = |step: f64| fall(step) + if part(step) < 0.5 { 0.0 } else { 2.5 };
                assert_eq!(course(&rises).as_deref(), Some("the loss rises"), "{n} steps, {tau}");
            }
            let flat = |step: f64| 2.3 + 0.1 * (step % 2.0);
            assert_eq!(course(&flat).as_deref(), Some("the loss does not fall"), "{n} steps");
        }
    }

    /// Of 400 noisy courses (seeds 0 to 399, n = 160, noise of a tenth of the start) that fall to a half none has a
    /// verdict, with α = .01 by the rule of three; of as many that stay where they are, and of those that double,
    /// more than nine of ten have one.
    #[test]
    fn noise_is_no_course() {
        let counts = [-0.5, 0.0, 1.0].map(|change| {
            let course = |seed: u64| -> Vec<f64> {
                let noise = noise_of(seed, 160).into_iter().enumerate();
                noise.map(|(step, x)| 1.0 + change * step as f64 / 159.0 + 0.1 * x).collect()
            };
            (0..400).filter(|seed| judge_loss(&course(*seed)).is_some()).count()
        });
        assert!(counts[0] == 0 && counts[1] > 280 && counts[2] > 395, "{counts:?}");
    }
}
