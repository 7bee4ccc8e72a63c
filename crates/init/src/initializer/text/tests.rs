use proptest::prelude::*;

use super::*;
use crate::fans::FanMode;
use crate::structures::convolution::Centre;
use crate::structures::ramp::RampOver;
use crate::structures::shape_gain::ShapeGain;
use crate::structures::sparse::SparseBy;
use crate::structures::stft::{Scaling, Side, Window};

#[test]
fn what_is_written_reads_back() {
    let initializers = [
        Initializer::zeros(),
        Initializer::Constant(-0.125),
        Initializer::normal(1e-300),
        Initializer::Normal { mean: 0.5, std: 0.1 },
        Initializer::Uniform { low: -0.1, high: 1.0 / 3.0 },
        Initializer::xavier_uniform(),
        Initializer::xavier_uniform().with_gain(5.0 / 3.0),
        Initializer::kaiming_normal().with_mode(FanMode::FanOut),
        Initializer::lecun_uniform().with_mode(FanMode::FanGeoAvg),
        jax::he_normal(),
        jax::he_normal().with_gain(1.1),
        torch::linear_default(),
        torch::trunc_normal(0.1, 0.02, -2.0, 2.0),
        Initializer::SirenFirst,
        Initializer::SirenHidden { omega: 12.5 },
        Initializer::Recurrent { gates: 4 },
        Initializer::forget_gate(1.0),
        Initializer::identity(0.5),
        Initializer::dirac(3),
        Initializer::orthogonal(2f64.sqrt()),
        Initializer::delta_orthogonal(1.0, Centre::Lower),
        Initializer::sparse(0.9, 0.1, SparseBy::Row),
        Initializer::bilinear(),
        Initializer::icnr(2, Initializer::normal(0.02)),
        Initializer::icnr(3, Initializer::orthogonal(2.0)),
        Initializer::zer_o(),
        Initializer::log_arange(),
        Initializer::inverse_softplus(0.001, 0.1, 1e-4),
        Initializer::ramp(1.0, -0.5, 0.3, RampOver::Count),
        Initializer::ramp(1.0, -0.5, 1.0, RampOver::Ends).with_zigzag(0.3, 32),
        Initializer::orthogonal(0.5).with_shape_gain(ShapeGain::Tall),
    ];
    for initializer in initializers {
        assert_eq!(initializer.to_string().parse::<Initializer>().unwrap(), initializer, "{initializer}");
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![-1e3..1e3, prop::num::f64::NORMAL, Just(0.0), Just(-0.0), Just(1.0), Just(-1.0)]
}

fn initializer() -> impl Strategy<Value = Initializer> {
    let distribution =
        prop::sample::select(Distribution::WORDS.map(|(_, distribution)| distribution).to_vec());
    let mode = prop::sample::select(FanMode::ALL.to_vec());
    let by = prop::sample::select(SparseBy::WORDS.map(|(_, by)| by).to_vec());
    let centre = prop::sample::select(Centre::WORDS.map(|(_, centre)| centre).to_vec());
    let side = prop::sample::select(Side::WORDS.map(|(_, side)| side).to_vec());
    let window = prop::sample::select(Window::WORDS.map(|(_, window)| window).to_vec());
    let scaling = prop::sample::select(Scaling::WORDS.map(|(_, scaling)| scaling).to_vec());
    let simple = prop_oneof![
        number().prop_map(Initializer::Constant),
        (number(), number()).prop_map(|(mean, std)| Initializer::Normal { mean, std }),
        (number(), number()).prop_map(|(low, high)| Initializer::Uniform { low, high }),
        (number(), number(), number(), number())
            .prop_map(|(mean, std, low, high)| Initializer::TruncatedNormal { mean, std, low, high }),
        (number(), mode, distribution).prop_map(|(scale, mode, distribution)| {
            Initializer::VarianceScaling { scale, mode, distribution }
        }),
        Just(Initializer::SirenFirst),
        number().prop_map(|omega| Initializer::SirenHidden { omega }),
        (0usize..9).prop_map(|gates| Initializer::Recurrent { gates }),
        number().prop_map(Initializer::forget_gate),
        number().prop_map(Initializer::identity),
        (0usize..9).prop_map(Initializer::dirac),
        number().prop_map(Initializer::orthogonal),
        (number(), centre).prop_map(|(gain, centre)| Initializer::delta_orthogonal(gain, centre)),
        (0.0..=1.0, number(), by).prop_map(|(sparsity, std, by)| Initializer::sparse(sparsity, std, by)),
        Just(Initializer::bilinear()),
        Just(Initializer::zer_o()),
        (side, window, scaling, any::<bool>()).prop_map(|(side, window, scaling, periodic)| {
            Initializer::stft(side, window, scaling, periodic)
        }),
    ];
    simple.prop_recursive(2, 4, 1, |base| {
        (0usize..4, base).prop_map(|(factor, base)| Initializer::icnr(factor, base))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Every initializer that can fill some shape reads back as it was, down to the signs of zeros.
    #[test]
    fn whatever_can_be_drawn_reads_back(initializer in initializer()) {
        const SHAPES: [&[usize]; 6] = [&[8], &[8, 8], &[8, 1, 3], &[840, 2, 3], &[5040, 2], &[16, 1, 1, 1]];
        if SHAPES.iter().any(|shape| initializer.std(shape).is_ok()) {
            let text = initializer.to_string();
            let read: Initializer = text.parse().map_err(|error: Error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(read, initializer, "{}", text);
        }
    }
}

/// A number far from 1 has an exponent and not hundreds of digits.
#[test]
fn numbers_are_written_with_their_exponents() {
    for (spec, text) in [
        ("constant:value=1e300", "constant:value=1e300"),
        ("normal:std=1e-200", "normal:std=1e-200"),
        ("orthogonal:gain=1e20", "orthogonal:gain=1e20"),
        ("constant:value=1e14", "constant:value=100000000000000"),
    ] {
        assert_eq!(spec.parse::<Initializer>().unwrap().to_string(), text);
    }
}

#[test]
fn aliases_mean_the_same() {
    for (one, other) in [
        ("glorot_normal", "xavier_normal"),
        ("glorot_uniform:gain=2", "xavier_uniform:gain=2"),
        ("he_normal", "kaiming_normal"),
        ("he_uniform:mode=fan_out", "kaiming_uniform:mode=fan_out"),
        ("lecun_normal", "variance_scaling:scale=1"),
        ("kaiming_uniform", "variance_scaling:scale=2,distribution=uniform"),
        (
            "torch.kaiming_uniform:nonlinearity=tanh,mode=fan_out",
            "kaiming_uniform:gain=torch.tanh,mode=fan_out",
        ),
        ("torch.kaiming_normal", "kaiming_normal:gain=torch.relu"),
        ("torch.kaiming_normal:a=0.2", "torch.kaiming_normal:a=0.2,nonlinearity=leaky_relu"),
        ("torch.kaiming_normal:nonlinearity=leaky_relu", "torch.kaiming_normal"),
        ("torch.kaiming_uniform:nonlinearity=linear", "lecun_uniform"),
        ("torch.kaiming_uniform:nonlinearity=conv_transpose3d", "lecun_uniform"),
        ("xavier_normal:gain=torch.linear", "xavier_normal"),
        ("xavier_normal:gain=torch.conv2d", "xavier_normal"),
        ("xavier_normal:gain=torch.leaky_relu", "xavier_normal:gain=1.4141428569978354"),
        ("jax.truncated_normal:stddev=2,lower=-1,upper=3", "truncated_normal:std=2,low=-2,high=6"),
        ("jax.delta_orthogonal:scale=2", "delta_orthogonal:gain=2,centre=lower"),
        ("keras.variance_scaling:distribution=normal", "keras.variance_scaling"),
        ("keras.variance_scaling:distribution=untruncated_normal", "lecun_normal"),
        ("timm.variance_scaling:distribution=normal", "lecun_normal"),
        ("timm.trunc_normal_tf:mean=1,std=0.5,a=-1,b=3", "truncated_normal:mean=1,std=0.5,low=0.5,high=2.5"),
        ("keras.stft:side=real,window=hann", "keras.stft:scaling=density,periodic=false"),
        ("torch.uniform:b=2", "uniform:low=0,high=2"),
        ("torch.normal", "normal:std=1"),
        ("jax.uniform", "uniform:low=0,high=0.01"),
        ("jax.normal:stddev=2", "normal:std=2"),
        ("jax.variance_scaling:scale=2,distribution=truncated_normal", "jax.he_normal"),
        ("keras.variance_scaling", "jax.lecun_normal"),
        ("keras.random_normal", "normal:std=0.05"),
        ("keras.random_uniform:minval=0", "uniform:low=0,high=0.05"),
        ("keras.truncated_normal:mean=1", "truncated_normal:mean=1,std=0.05"),
        ("timm.variance_scaling:distribution=uniform", "lecun_uniform"),
        ("timm.trunc_normal_tf:std=0.5", "truncated_normal:std=0.5"),
        ("timm.trunc_normal:std=0.02", "torch.trunc_normal:std=0.02"),
        ("timm.lecun_normal", "keras.lecun_normal"),
        // Names in any case, and those of classes.
        ("Xavier_Normal", "xavier_normal"),
        ("KAIMING_UNIFORM:Mode=FAN_OUT", "kaiming_uniform:mode=fan_out"),
        ("xavier-normal:gain=ReLU", "xavier_normal:gain=relu"),
        ("Keras.GlorotUniform", "keras.glorot_uniform"),
        ("HeNormal", "he_normal"),
        ("keras.VarianceScaling:distribution=Uniform", "keras.variance_scaling:distribution=uniform"),
        ("torch.Kaiming_Normal:nonlinearity=LeakyReLU", "torch.kaiming_normal"),
        ("torch.kaiming_normal:nonlinearity=Conv2d", "lecun_normal"),
        ("xavier_normal:gain=Torch.Tanh", "xavier_normal:gain=torch.tanh"),
        ("Orthogonal:gain=torch.ReLU", "orthogonal:gain=torch.relu"),
        ("ICNR:factor=2,base=He_Normal", "icnr:factor=2,base=he_normal"),
        // Blanks, and fans without an underscore.
        ("normal: std=0.5", "normal:std=0.5"),
        ("uniform:low=-1, high = 1", "uniform:low=-1,high=1"),
        (" icnr:factor=2, base=he_normal ", "icnr:factor=2,base=he_normal"),
        ("kaiming_normal:mode=fanout", "kaiming_normal:mode=fan_out"),
        // Formulas.
        ("orthogonal:gain=sqrt(2)", "orthogonal:gain=1.4142135623730951"),
        ("xavier_normal:gain=5/3", "xavier_normal:gain=1.6666666666666667"),
        ("normal:std=1/sqrt(512)", "normal:std=0.044194173824159216"),
        ("uniform:bound=sqrt(6/(784+100))", "uniform:bound=0.08238525545716346"),
        ("constant:value=-(1-0.75)", "constant:value=-0.25"),
    ] {
        let read = |spec: &str| spec.parse::<Initializer>().unwrap();
        assert_eq!(read(one), read(other), "{one} and {other}");
    }
}

#[test]
fn an_error_says_why_a_spec_cannot_be_read() {
    for (spec, part) in [
        (
            "xavier",
            "unknown initializer 'xavier' (did you mean xavier_normal or xavier_uniform or \
             torch.xavier_uniform?)",
        ),
        ("Kaiming-Unifrm", "(did you mean kaiming_uniform?)"),
        ("torch.nn.init.orthogonal_", "(did you mean orthogonal?)"),
        ("torch.nn.init.trunc_normal_", "(did you mean torch.trunc_normal?)"),
        ("nn.init.kaiming_uniform_", "(did you mean torch.kaiming_uniform?)"),
        ("tf.keras.initializers.he_normal", "(did you mean keras.he_normal?)"),
        ("swoosh", "unknown initializer 'swoosh'; known: zeros"),
        ("swoosh", "; structures: identity, "),
        ("swoosh", "; PyTorch's: torch.linear, "),
        ("swoosh", "; JAX's: jax.uniform, "),
        ("swoosh", "; Keras': keras.random_normal, "),
        ("swoosh", "; timm's: timm.trunc_normal, "),
        ("normal:sdt=1,std=1", "normal takes no sdt= (did you mean std?): it takes mean=, std=, variance="),
        ("zeros:gain=1", "zeros takes no gain=: it takes nothing"),
        ("zero", "unknown initializer 'zero' (did you mean zeros or zer_o?)"),
        ("he_norml", "unknown initializer 'he_norml' (did you mean he_normal?)"),
        ("normal:sdt=1", "normal takes no sdt= (did you mean std?): it takes mean=, std=, variance="),
        ("constant:valeu=1", "constant takes no valeu= (did you mean value?): it takes value="),
        ("truncated_normal:low=1", "it takes std="),
        (
            "xavier_normal:gain=1e200",
            "gain = 1e200 is out of range: it must be finite and not negative, as its square",
        ),
        ("kaiming_normal:mode=fan_inn", "mode=fan_inn (did you mean fan_in?): mode= is fan_in, fan_out"),
        ("sparse:sparsity=0.5,by=colum", "by=colum (did you mean column?): by= is column or row"),
        ("normal", "std= (standard deviation) or variance="),
        ("normal:std=1,variance=1", "and one of them"),
        ("normal:std=1,std=2", "std= is given twice"),
        ("normal:std", "'std' is not of the form key=value"),
        ("normal:std=wide", "std=wide is not a finite number"),
        ("normal:std=inf", "std=inf is not a finite number"),
        ("normal:std=1/0", "std=1/0 is not a finite number"),
        ("normal:std=sqrt(-1)", "std=sqrt(-1) is not a finite number"),
        ("normal:std=2/", "std=2/ is not a finite number"),
        ("xavier_normal:gain=1/0", "gain = inf is out of range"),
        ("Zero", "did you mean zeros or zer_o?"),
        ("normal:std=1,STD=2", "STD= is given twice"),
        ("normal:std=-1", "std = -1 is out of range"),
        ("normal:variance=-1", "variance = -1 is out of range"),
        ("uniform:low=0", "it takes bound=, or low= and high="),
        ("uniform:low=1,high=0", "must be finite and not above high"),
        ("uniform:bound=-1", "must be finite and not above high"),
        ("constant", "it takes value="),
        ("zeros:std=1", "zeros takes no std="),
        ("xavier_normal:gain=swoosh", "gain= is a number or an activation"),
        ("xavier_normal:gain=-1", "gain = -1 is out of range"),
        ("kaiming_normal:mode=fan", "mode= is fan_in, fan_out, fan_avg, fan_geo_avg"),
        (
            "variance_scaling:distribution=cauchy",
            "distribution= is normal, truncated_normal, truncated_normal_3 or uniform",
        ),
        ("sparse", "it takes sparsity="),
        ("sparse:sparsity=2", "sparsity = 2 is out of range"),
        ("sparse:sparsity=0.5,by=diagonal", "by= is column or row"),
        ("dirac:groups=0", "groups=0 is not a whole number above 0"),
        ("icnr", "it takes factor="),
        ("icnr:factor=2,base=normal,std=-1", "std = -1 is out of range"),
        ("torch.kaiming_normal:nonlinearity=gelu", "PyTorch's table has no gain for gelu"),
        ("torch.kaiming_normal:nonlinearity=relu,a=1", "a= is the slope of nonlinearity=leaky_relu"),
        ("xavier_normal:gain=torch.mish", "PyTorch's table has no gain for"),
        ("jax.variance_scaling", "it takes distribution="),
        ("keras.stft:window=kaiser", "window= is hann, hamming or none"),
        (
            "timm.variance_scaling:distribution=untruncated_normal",
            "distribution= is normal, truncated_normal or uniform",
        ),
        ("orthogonal:gain=inf", "gain = inf is out of range"),
        ("delta_orthogonal:centre=middle", "centre= is upper or lower"),
        ("icnr:factor=2,base=nothing", "unknown initializer 'nothing'"),
        ("truncated_normal:std=1,low=3,high=2", "must be finite and not above high"),
    ] {
        let error = spec.parse::<Initializer>().unwrap_err().to_string();
        assert!(error.contains(part), "{spec}: {error}");
        assert!(!error.contains('\n'), "{spec}: {error}");
    }
}

/// The constructors of the modules are what their names read as.
#[test]
fn every_library_has_its_constructors() {
    use Distribution::{Normal, TruncatedNormal};
    let fan_in = FanMode::FanIn;
    for (spec, initializer) in [
        ("torch.linear", torch::linear_default()),
        ("torch.uniform", torch::uniform(0.0, 1.0)),
        ("torch.normal", torch::normal(0.0, 1.0)),
        ("torch.trunc_normal", torch::trunc_normal(0.0, 1.0, -2.0, 2.0)),
        ("torch.xavier_uniform:gain=2", torch::xavier_uniform(2.0)),
        ("torch.xavier_normal:gain=2", torch::xavier_normal(2.0)),
        ("torch.kaiming_uniform", torch::kaiming_uniform(0.0, fan_in)),
        ("torch.kaiming_normal", torch::kaiming_normal(0.0, fan_in)),
        ("jax.uniform", jax::uniform(0.01)),
        ("jax.normal", jax::normal(0.01)),
        ("jax.truncated_normal", jax::truncated_normal(0.01, -2.0, 2.0)),
        ("jax.variance_scaling:distribution=normal", jax::variance_scaling(1.0, fan_in, Normal)),
        ("jax.glorot_uniform", jax::glorot_uniform()),
        ("jax.glorot_normal", jax::glorot_normal()),
        ("jax.he_uniform", jax::he_uniform()),
        ("jax.he_normal", jax::he_normal()),
        ("jax.lecun_uniform", jax::lecun_uniform()),
        ("jax.lecun_normal", jax::lecun_normal()),
        ("jax.delta_orthogonal", jax::delta_orthogonal(1.0)),
        ("keras.random_normal", keras::random_normal()),
        ("keras.random_uniform", keras::random_uniform()),
        ("keras.truncated_normal", keras::truncated_normal()),
        ("keras.variance_scaling", keras::variance_scaling(1.0, fan_in, TruncatedNormal)),
        ("keras.glorot_uniform", keras::glorot_uniform()),
        ("keras.glorot_normal", keras::glorot_normal()),
        ("keras.he_uniform", keras::he_uniform()),
        ("keras.he_normal", keras::he_normal()),
        ("keras.lecun_uniform", keras::lecun_uniform()),
        ("keras.lecun_normal", keras::lecun_normal()),
        ("keras.stft", keras::stft(Side::Real, Window::Hann)),
        ("timm.trunc_normal:std=0.02", timm::trunc_normal(0.02)),
        ("timm.trunc_normal_tf", timm::trunc_normal_tf(0.0, 1.0, -2.0, 2.0)),
        ("timm.variance_scaling", timm::variance_scaling(1.0, fan_in, Normal)),
        ("timm.lecun_normal", timm::lecun_normal()),
    ] {
        assert_eq!(spec.parse::<Initializer>().unwrap(), initializer, "{spec}");
    }
}

/// A new initializer has a section in the catalogue.
#[test]
fn every_name_is_in_the_catalogue() {
    let catalogue = include_str!("../../../CATALOGUE.md");
    for name in Initializer::names() {
        assert!(catalogue.contains(&format!("<a id=\"{name}\"></a>")), "{name}");
    }
}
