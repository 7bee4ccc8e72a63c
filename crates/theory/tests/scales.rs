//! Integrals at every scale: the work is bounded, and the values are those of closed forms, for `q` from
//! 1e-30 to 1e30.

use std::cell::Cell;
use std::f64::consts::{FRAC_2_PI, PI};
use std::hint::black_box;

use wick_theory::gaussian::Tails;
use wick_theory::{Activation, BatchGeometry, LayerLaw, MeanField, Nonlinearity, finite_width, predict};

/// An activation that counts its evaluations.
struct Counted {
    phi: Activation,
    calls: Cell<usize>,
}

impl Counted {
    fn new(phi: Activation) -> Self {
        Self { phi, calls: Cell::new(0) }
    }

    /// The number of evaluations in `work`.
    fn count(&self, work: impl FnOnce()) -> usize {
        self.calls.set(0);
        work();
        self.calls.get()
    }
}

impl Nonlinearity for Counted {
    fn value(&self, x: f64) -> f64 {
        self.calls.set(self.calls.get() + 1);
        self.phi.value(x)
    }

    fn derivative(&self, x: f64) -> f64 {
        self.calls.set(self.calls.get() + 1);
        self.phi.derivative(x)
    }

    fn kinks(&self) -> &[f64] {
        self.phi.kinks()
    }

    fn tails(&self) -> Tails {
        self.phi.tails()
    }
}

fn field<N>(phi: N) -> MeanField<N> {
    MeanField { phi, weight_variance: 1.0, bias_variance: 0.0 }
}

fn scales() -> impl Iterator<Item = f64> {
    (-30..=30).map(|exponent| 10f64.powi(exponent))
}

/// Asserts a relative error of at most 1e-11.
fn assert_near(got: f64, expected: f64, what: &str) {
    assert!((got / expected - 1.0).abs() < 1e-11, "{what}: {got:e} is not {expected:e}");
}

#[test]
fn the_work_is_bounded_at_every_scale() {
    const MOST: usize = 5000;
    for phi in Activation::ALL {
        let counted = Counted::new(phi);
        let field = field(&counted);
        for q in scales() {
            for (what, calls) in [
                ("length_map", counted.count(|| _ = black_box(field.length_map(q)))),
                ("chi_1", counted.count(|| _ = black_box(field.chi_1(q)))),
                ("chi_parallel", counted.count(|| _ = black_box(field.chi_parallel(q))) / 2),
            ] {
                assert!(calls <= MOST, "{phi} at {q:e}: {calls} evaluations of {what}");
            }
        }
        for q in [1e-30, 1.0, 1e30] {
            let calls = counted.count(|| assert!(field.correlation_map(q, 1e-6 * q, 0.5).is_finite()));
            assert!(calls <= MOST * MOST, "{phi} at {q:e}: {calls} evaluations of the correlation map");
        }
    }
}

/// Twenty layers that multiply the variance by 1e4 each, as a wide layer with `σ = 1` does, cost twenty times one.
#[test]
fn the_work_of_a_network_grows_like_its_depth() {
    for phi in Activation::ALL {
        let counted = Counted::new(phi);
        let net = |depth: usize| {
            let layer = |_| LayerLaw {
                fan_in: 10_000,
                fan_out: 10_000,
                weight_variance: 1.0,
                bias_variance: 0.0,
                orthogonal: false,
                phi: &counted,
            };
            (0..depth).map(layer).collect::<Vec<_>>()
        };
        let batch = BatchGeometry::normal(50, 100, 1.0);
        let wide = counted.count(|| _ = black_box(predict(&net(20), 1.0, 1.0)));
        // The variance is 1e80 in the end, and the panels grow like its logarithm.
        assert!(wide <= 20 * 3 * 10_000, "{phi}: {wide} evaluations of predict");
        let bands = counted.count(|| _ = black_box(finite_width(&net(20), &batch, &batch)));
        assert!(bands <= 20 * 600_000, "{phi}: {bands} evaluations of finite_width");
    }
}

#[test]
fn values_are_closed_forms_at_every_scale() {
    let leaky = Activation::LeakyRelu { slope: 0.2 };
    for q in scales() {
        let at = |phi: Activation| (field(phi).length_map(q), field(phi).chi_1(q), phi.to_string());
        let (length, chi, name) = at(Activation::Identity);
        assert_near(length, q, &name);
        assert_near(chi, 1.0, &name);
        let (length, chi, name) = at(Activation::Relu);
        assert_near(length, q / 2.0, &name);
        assert_near(chi, 0.5, &name);
        assert_near(field(Activation::Relu).chi_parallel(q), 0.5, &name);
        let (length, chi, name) = at(leaky);
        assert_near(length, 1.04 * q / 2.0, &name);
        assert_near(chi, 0.52, &name);
        let (length, chi, name) = at(Activation::Erf);
        assert_near(length, FRAC_2_PI * (2.0 * q / (1.0 + 4.0 * q).sqrt()).atan(), &name);
        assert_near(chi, 4.0 / PI / (1.0 + 4.0 * q.max(1e-10)).sqrt(), &name);
        let (length, chi, name) = at(Activation::Sin);
        assert_near(length, -0.5 * (-2.0 * q).exp_m1(), &name);
        assert_near(chi, 0.5 * (1.0 + (-2.0 * q.max(1e-10)).exp()), &name);
        // The arcsine of q/(1+q) is the arctangent of q/√(1+2q), which keeps its digits at a large q. E gelu²
        // in closed form (the kernel of Tsuchida et al. at equal inputs).
        let tail = (q / (1.0 + 2.0 * q).sqrt()).atan() + 2.0 * q / ((1.0 + q) * (1.0 + 2.0 * q).sqrt());
        let (length, _, name) = at(Activation::Gelu);
        assert_near(length, q / 4.0 + q / (2.0 * PI) * tail, &name);
    }
}

/// Far out, an activation is `right·x` or `left·x` plus what is bounded; a saturated one is a constant, and
/// its `E φ'²` is `∫ φ'²/√(2πq)`.
#[test]
fn wide_pre_activations_see_the_tails_alone() {
    let q = 1e30;
    for phi in Activation::ALL {
        let (length, chi) = (field(phi).length_map(q), field(phi).chi_1(q));
        match phi.range() {
            Some(_) if phi == Activation::Sin => {}
            Some((low, high)) => assert_near(length, (low * low + high * high) / 2.0, phi.name()),
            None => {
                let (left, right) = (phi.derivative(-1e15), phi.derivative(1e15));
                assert_near(length, (left * left + right * right) / 2.0 * q, phi.name());
                assert_near(chi, (left * left + right * right) / 2.0, phi.name());
            }
        }
    }
    for (phi, integral) in [
        (Activation::Tanh, 4.0 / 3.0),
        (Activation::Sigmoid, 1.0 / 6.0),
        (Activation::Hardtanh, 2.0),
        (Activation::Softsign, 2.0 / 3.0),
    ] {
        assert_near(field(phi).chi_1(q), integral / (2.0 * PI * q).sqrt(), phi.name());
    }
}

/// The arc-cosine kernel of a ReLU, for two pre-activations of any and of different sizes.
#[test]
fn correlations_at_every_scale() {
    for (q1, q2) in [(1e-30, 1e-30), (1e30, 1e30), (1e30, 1e-30), (1e-6, 1e6), (1e6, 1e-6)] {
        for c in [-0.9f64, 0.0, 0.5, 0.9] {
            let expected = ((1.0 - c * c).sqrt() + c * (PI - c.acos())) / PI;
            let got = field(Activation::Relu).correlation_map(q1, q2, c);
            assert!((got - expected).abs() < 1e-9, "{q1:e} {q2:e} {c}: {got} is not {expected}");
        }
    }
}

/// A network whose signal overflows has infinite predictions, and no NaN or zero in their place.
#[test]
fn overflow_is_infinite() {
    let layer = LayerLaw {
        fan_in: 10_000,
        fan_out: 10_000,
        weight_variance: 1.0,
        bias_variance: 0.0,
        orthogonal: false,
        phi: Activation::Relu,
    };
    let batch = BatchGeometry::normal(50, 100, 1.0);
    let [wide, bands] = [
        predict(&[layer; 200], 1.0, 1.0)
            .iter()
            .map(|layer| (layer.std, layer.gradient_rms))
            .collect::<Vec<_>>(),
        finite_width(&[layer; 200], &batch, &batch)
            .iter()
            .map(|layer| (layer.std.middle, layer.gradient_rms.middle))
            .collect(),
    ];
    for predictions in [wide, bands] {
        assert!(predictions.iter().all(|(std, gradient)| *std > 0.0 && *gradient > 0.0), "{predictions:?}");
        assert_eq!((predictions[199].0, predictions[0].1), (f64::INFINITY, f64::INFINITY));
        assert!(predictions[20].0.is_finite() && predictions[180].1.is_finite());
    }
}
