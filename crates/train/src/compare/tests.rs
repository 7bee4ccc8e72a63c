use wick_init::KeyedV1;

use super::*;

/// Remissions in weeks of Freireich et al. 1963 (Blood 21), as every textbook on survival has them: 6-MP and placebo.
fn leukemia() -> (Vec<Steps>, Vec<Steps>) {
    let drug = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(Steps::reached).into_iter();
    let drug = drug.chain([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(Steps::censored));
    let placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23];
    (drug.collect(), placebo.map(Steps::reached).to_vec())
}

/// Against the published estimates: S(6) = .857, S(10) = .753, S(23) = .448; medians of 23 and 8 weeks; a log-rank
/// χ² of 16.79.
#[test]
fn as_published() {
    let (drug, placebo) = leukemia();
    let estimate = KaplanMeier::new(&drug);
    for (weeks, fraction) in
        [(5, 1.0), (6, 0.857), (7, 0.807), (10, 0.753), (13, 0.690), (16, 0.627), (22, 0.538), (23, 0.448)]
    {
        assert!((estimate.at(weeks) - fraction).abs() < 5e-4, "{weeks}: {}", estimate.at(weeks));
    }
    assert_eq!((estimate.median(), KaplanMeier::new(&placebo).median()), (Some(23), Some(8)));
    let (difference, variance) = log_rank(&placebo, &drug);
    assert!(
        (difference * difference / variance - 16.79).abs() < 5e-3,
        "{}",
        difference * difference / variance
    );
    assert!((difference - 10.25).abs() < 5e-3, "{difference}");
}

/// Runs that never arrive count: a group in which half of them do not has no median, and is later than one in which
/// all do, although its runs that arrive are sooner.
#[test]
fn runs_that_never_arrive_count() {
    let all: Vec<Steps> = (50..60).map(Steps::reached).collect();
    let half: Vec<Steps> =
        (0..10).map(|k| if k < 4 { Steps::reached(40 + k) } else { Steps::censored(1000) }).collect();
    assert_eq!(KaplanMeier::new(&half).median(), None);
    let interval = KaplanMeier::median_interval(&half, 0.05, 1000, KeyedV1::new(3).key("bootstrap"));
    assert!(interval.low < Some(44) && interval.high.is_none(), "{interval:?}");
    let found = differences(&[half, all], 1);
    assert_eq!(found[0].groups, [1, 0]);
}

/// n = 400 pairs of groups of 6 from one law, seed 9: at the level .05, the exact permutation test finds a difference
/// in at most 5 % of them; 31 or fewer of 400 at α = .01 (binomial). The twin, one group 1.6 times as long, is found
/// in more than half.
#[test]
fn equal_groups_are_seldom_called_different() {
    use rand::RngExt;
    let mut rng = KeyedV1::new(9).key("groups").rng();
    let mut found = |factor: f64| {
        let mut group = |factor: f64| -> Vec<Steps> {
            let run = |x: f64| if x > 220.0 { Steps::censored(220) } else { Steps::reached(x as u64) };
            (0..6).map(|_| run(factor * (100.0 + 60.0 * rng.random::<f64>()))).collect()
        };
        let count = |(a, b): (Vec<Steps>, Vec<Steps>)| differences(&[a, b], 1)[0].p <= 0.05;
        (0..400).filter(|_| count((group(1.0), group(factor)))).count()
    };
    let (equal, different) = (found(1.0), found(1.6));
    assert!(equal <= 31 && different > 200, "{equal} {different}");
}

/// Holm's procedure: the smallest of three is multiplied by 3, the next by 2, and none is below one before it.
#[test]
fn comparisons_are_corrected() {
    let groups = [
        [1, 2, 3, 4].map(Steps::reached).to_vec(),
        [5, 6, 7, 8].map(Steps::reached).to_vec(),
        [5, 6, 7, 9].map(Steps::reached).to_vec(),
    ];
    let found = differences(&groups, 1);
    let p: Vec<f64> = found.iter().map(|difference| difference.p).collect();
    assert!((p[0] - 2.0 / 70.0).abs() < 1e-12 && (p[1] - 2.0 / 70.0).abs() < 1e-12 && p[2] > 0.3, "{p:?}");
    for place in [0, 1] {
        assert!((found[place].corrected_p - 6.0 / 70.0).abs() < 1e-12, "{found:?}");
    }
    assert!(found[2].corrected_p >= p[2]);
    // Groups of 12 have too many ways to be all looked at; the drawn ones find what there is to find.
    let large = |from: u64| (from..from + 12).map(Steps::reached).collect::<Vec<_>>();
    assert!(
        differences(&[large(0), large(100)], 5)[0].p < 1e-3
            && differences(&[large(0), large(1)], 5)[0].p > 0.3
    );
}
