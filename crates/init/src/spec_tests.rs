use super::*;

#[test]
fn what_is_written_reads_back() {
    let schemes = [
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
        Initializer::Identity { gain: 0.5 },
        Initializer::Dirac { groups: 3 },
        Initializer::Orthogonal { gain: 2f64.sqrt() },
        Initializer::DeltaOrthogonal { gain: 1.0 },
        Initializer::Sparse { sparsity: 0.9, std: 0.1, by: SparseBy::Row },
        Initializer::Bilinear,
        Initializer::Icnr { factor: 2, base: Box::new(Initializer::normal(0.02)) },
        Initializer::Icnr { factor: 3, base: Box::new(Initializer::Orthogonal { gain: 2.0 }) },
        Initializer::Zero,
    ];
    for scheme in schemes {
        assert_eq!(scheme.to_string().parse::<Initializer>().unwrap(), scheme, "{scheme}");
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
        ("kaiming_uniform", "variance_scaling:scale=2,family=uniform"),
    ] {
        let read = |spec: &str| spec.parse::<Initializer>().unwrap();
        assert_eq!(read(one), read(other), "{one} and {other}");
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    for (spec, part) in [
        ("xavier", "known: zeros, ones, constant, normal"),
        ("normal", "std= (standard deviation) or variance="),
        ("normal:std=1,variance=1", "and one of them"),
        ("normal:std=1,std=2", "std= is given twice"),
        ("normal:std", "'std' is not of the form key=value"),
        ("normal:std=wide", "std=wide is not a finite number"),
        ("normal:std=inf", "std=inf is not a finite number"),
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
        ("variance_scaling:family=cauchy", "family= is normal, truncated_normal or uniform"),
        ("sparse", "it takes sparsity="),
        ("sparse:sparsity=2", "sparsity = 2 is out of range"),
        ("sparse:sparsity=0.5,by=diagonal", "by= is column or row"),
        ("dirac:groups=0", "groups=0 is not a whole number above 0"),
        ("icnr", "it takes factor="),
        ("icnr:factor=2,base=nothing", "unknown initializer 'nothing'"),
        ("truncated_normal:std=1,low=3,high=2", "must be finite and not above high"),
    ] {
        let error = spec.parse::<Initializer>().unwrap_err().to_string();
        assert!(error.contains(part), "{spec}: {error}");
        assert!(!error.contains('\n'), "{spec}: {error}");
    }
}
