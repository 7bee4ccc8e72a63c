//! The losses of a run in a bounded space.

use crate::diagnose::fault::Verdict;
use crate::diagnose::loss::{
    JUMP_WIDTH, MAX_START, MIN_STEPS, NOISE_STEPS, Summary, is_jump, judge_loss, least_mean, noise,
    not_finite, rise,
};

/// The most numbers that are kept of a course, of each kind.
const MOST: usize = 4096;

/// The losses of a run of any length, as far as [`judge_loss`] needs them. Up to [`MOST`] losses are kept as they are, and
/// the verdict is that of all losses. From there on the course is kept as means of losses that follow each other, twice as
/// many each time the space is full. A jump, and a loss that is not finite, are found when they come.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    count: usize,
    /// The losses, or the means of `size` losses.
    means: Vec<f64>,
    size: usize,
    /// The sum and the number of the losses behind the last mean.
    rest: (f64, usize),
    /// The size of a difference of two losses that follow each other for each mean.
    differences: Vec<f64>,
    /// The first loss, and the mean of the first ones.
    initial: f64,
    first: f64,
    /// The last losses, as many as a jump is seen by, or up to twice as many.
    last: Vec<f64>,
    jump: Option<Jump>,
    /// The first loss that is not finite, and its step.
    not_finite: Option<(usize, f64)>,
}

/// A jump: where it begins, and where it is largest so far.
#[derive(Debug, Clone, Copy)]
struct Jump {
    from: usize,
    step: usize,
    rise: f64,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            count: 0,
            means: Vec::new(),
            size: 1,
            rest: (0.0, 0),
            differences: Vec::new(),
            initial: f64::NAN,
            first: f64::NAN,
            last: Vec::new(),
            jump: None,
            not_finite: None,
        }
    }
}

impl Course {
    /// Adds the loss of a step.
    pub(crate) fn push(&mut self, loss: f64) {
        let step = self.count;
        self.count += 1;
        if self.not_finite.is_some() {
            return;
        }
        if !loss.is_finite() {
            self.not_finite = Some((step, loss));
            return;
        }
        if step == 0 {
            self.initial = loss;
        }
        let before = self.last.last().copied();
        self.last.push(loss);
        const KEPT: usize = NOISE_STEPS + JUMP_WIDTH;
        if self.last.len() == 2 * KEPT {
            self.last.drain(..KEPT);
        }
        if self.count == MAX_START {
            self.first = self.last.iter().sum::<f64>() / MAX_START as f64;
        }
        self.look_for_a_jump();
        if self.rest.1 == place(self.means.len(), self.size) {
            self.differences.push(before.map_or(0.0, |before| (loss - before).abs()));
        }
        self.rest = (self.rest.0 + loss, self.rest.1 + 1);
        if self.rest.1 == self.size {
            self.means.push(self.rest.0 / self.size as f64);
            self.rest = (0.0, 0);
        }
        if self.means.len() == MOST {
            let pairs = self.means.chunks_exact(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
            let chosen = self.differences.chunks_exact(2).enumerate();
            let chosen = chosen.map(|(index, pair)| pair[place(index, 2)]).collect();
            (self.means, self.differences, self.size) = (pairs, chosen, 2 * self.size);
        }
    }

    /// Looks at the last step behind which there are enough losses.
    fn look_for_a_jump(&mut self) {
        let Some(step) = self.count.checked_sub(JUMP_WIDTH).filter(|step| *step >= MIN_STEPS) else { return };
        let (before, behind) = self.last.split_at(self.last.len() - JUMP_WIDTH);
        match &mut self.jump {
            None if is_jump(before, behind, self.first) => {
                self.jump = Some(Jump { from: step, step, rise: rise(before, behind) });
            }
            Some(jump) if step < jump.from + JUMP_WIDTH && rise(before, behind) >= jump.rise => {
                (jump.step, jump.rise) = (step, rise(before, behind));
            }
            _ => {}
        }
    }

    /// The verdict of [`judge_loss`] on the losses so far.
    pub(crate) fn judge(&self) -> Option<Verdict> {
        if let Some((step, loss)) = self.not_finite {
            return Some(not_finite(step, loss));
        }
        if self.size == 1 {
            return judge_loss(&self.means);
        }
        let (start, width) = Summary::widths(self.count)?;
        let means = (width / self.size).max(1);
        let (least, best) = least_mean(&self.means, means);
        let sum = self.means[self.means.len() - means..].iter().sum::<f64>() * self.size as f64 + self.rest.0;
        let last = sum / (means * self.size + self.rest.1) as f64;
        let noise = noise(self.differences.clone());
        let (n, first, best) = (self.count, self.first, best * self.size);
        let (initial, width) = (self.initial, means * self.size);
        let summary = Summary { n, start, width, initial, first, last, least, best, noise };
        summary.judge(|| self.jump.map(|jump| jump.step))
    }
}

/// A place among the losses of a mean that follows no period: by a hash of the mean's number (Knuth's).
fn place(index: usize, size: usize) -> usize {
    ((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % size
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::loss::tests::noise_of;

    fn course(losses: &[f64]) -> Course {
        let mut course = Course::default();
        losses.iter().for_each(|loss| course.push(*loss));
        course
    }

    /// Up to 4095 losses the verdict is that of all losses, to the letter: seven courses, at every length that is a
    /// multiple of 7.
    #[test]
    fn short_courses_are_kept_whole() {
        let noise = noise_of(1, 4095);
        let courses: [&dyn Fn(usize) -> f64; 7] = [
            &|step| 0.2 + 2.0 * 0.97f64.powi(step as i32),
            &|step| 2.3 + 0.05 * step as f64,
            &|step| 2.3 + 0.1 * (step % 2) as f64,
            &|step| 0.2 + 2.0 * 0.97f64.powi(step as i32) + if step < 900 { 0.0 } else { 1.5 },
            &|step| 0.2 + 2.0 * 0.97f64.powi(step as i32) + if step == 900 { 1.5 } else { 0.0 },
            &|step| if step == 3000 { f64::NAN } else { 1.0 / (1.0 + step as f64) },
            &|_| 2.3,
        ];
        for (index, of) in courses.into_iter().enumerate() {
            let losses: Vec<f64> = (0..4095).map(|step| of(step) + 0.02 * noise[step]).collect();
            let mut course = Course::default();
            for n in 1..=losses.len() {
                course.push(losses[n - 1]);
                if n % 7 == 0 {
                    let text = |verdict: Option<Verdict>| format!("{verdict:?}"); // NaN is not equal to itself
                    let expected = text(judge_loss(&losses[..n]));
                    assert_eq!(text(course.judge()), expected, "course {index}, {n} losses");
                }
            }
        }
    }

    /// Of 5000 to a million losses no more than 4096 numbers of a kind are kept, and the verdict is that of all losses:
    /// its kind, the step of a jump, and the figure to a hundredth. The twin, the last 4096 losses, has another verdict on
    /// a loss that fell before them.
    #[test]
    fn long_courses_have_the_verdict_of_all_losses() {
        for n in [5000, 12_345, 40_000, 262_144, 1_000_000] {
            let noise = noise_of(n as u64, n);
            let fall = |step: f64| 0.5 + 1.8 * (-step / 30.0).exp();
            let part = |step: f64| step / n as f64;
            type Case<'a> = (&'a dyn Fn(f64) -> f64, Option<&'a str>);
            let courses: [Case; 6] = [
                (&fall, None),
                (&|step| fall(step) + 0.08 * part(step), None),
                (&|step| fall(step) + if part(step) < 0.5 { 0.0 } else { 2.5 }, Some("the loss rises")),
                (
                    &|step| fall(step) + if part(step) < 0.6 { 0.0 } else { 1.5 },
                    Some("the loss does not come back"),
                ),
                (&|step| 2.3 + 3.0 * part(step), Some("the loss rises")),
                (&|step| 2.3 + 0.1 * (step % 2.0), Some("the loss does not fall")),
            ];
            for (index, (of, said)) in courses.into_iter().enumerate() {
                let losses: Vec<f64> =
                    noise.iter().enumerate().map(|(step, x)| of(step as f64) + 0.02 * x).collect();
                let kept = course(&losses);
                assert!(kept.means.len() < MOST && kept.differences.len() <= MOST && kept.last.len() < 1000);
                assert!(
                    kept.means.capacity() + kept.differences.capacity() + kept.last.capacity() < 4 * MOST
                );
                let (found, expected) = (kept.judge(), judge_loss(&losses));
                let kind = |verdict: &Option<Verdict>| {
                    verdict
                        .as_ref()
                        .map(|verdict| verdict.text.split(':').next().unwrap_or_default().to_owned())
                };
                assert_eq!(
                    (kind(&found).as_deref(), kind(&expected).as_deref()),
                    (said, said),
                    "{index}, {n} losses"
                );
                if let (Some(found), Some(expected)) = (&found, &expected) {
                    assert_eq!(found.remedy, expected.remedy, "{index}, {n} losses");
                    assert!((found.figure / expected.figure - 1.0).abs() < 0.01, "{found:?} {expected:?}");
                }
                if index == 0 {
                    let twin = judge_loss(&losses[n - MOST..]);
                    assert_eq!(
                        kind(&twin).as_deref(),
                        Some("the loss does not fall"),
                        "the twin, {n} losses"
                    );
                }
            }
        }
    }

    /// A loss that is not finite is told with its step, and so is a jump, however long ago they were.
    #[test]
    fn what_was_long_ago_is_told() {
        let of = |step: usize| match step {
            5000.. => 1.9,
            _ => 0.2 + 2.0 * 0.97f64.powi(step as i32),
        };
        let mut kept = course(&(0..300_000).map(of).collect::<Vec<_>>());
        assert!(kept.judge().is_some_and(|verdict| verdict.text.ends_with("by a jump at step 5000")));
        kept.push(f64::INFINITY);
        kept.push(1.0);
        assert!(kept.judge().is_some_and(|verdict| verdict.text == "the loss is inf at step 300000"));
    }
}
