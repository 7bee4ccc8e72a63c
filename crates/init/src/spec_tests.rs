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
        Initializer::ForgetGate { value: 1.0 },
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
        (
            "torch.kaiming_uniform:nonlinearity=tanh,mode=fan_out",
            "kaiming_uniform:gain=torch.tanh,mode=fan_out",
        ),
        ("torch.kaiming_normal", "kaiming_normal:gain=torch.relu"),
        ("torch.kaiming_normal:a=0.2", "torch.kaiming_normal:a=0.2,nonlinearity=leaky_relu"),
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
        ("icnr:factor=2,base=normal,std=-1", "std = -1 is out of range"),
        ("torch.kaiming_normal:nonlinearity=gelu", "PyTorch's table has no gain for gelu"),
        ("torch.kaiming_normal:nonlinearity=relu,a=1", "a= is the slope of nonlinearity=leaky_relu"),
        ("xavier_normal:gain=torch.mish", "PyTorch's table has no gain for"),
        ("jax.variance_scaling", "it takes distribution="),
        ("icnr:factor=2,base=nothing", "unknown initializer 'nothing'"),
        ("truncated_normal:std=1,low=3,high=2", "must be finite and not above high"),
    ] {
        let error = spec.parse::<Initializer>().unwrap_err().to_string();
        assert!(error.contains(part), "{spec}: {error}");
        assert!(!error.contains('\n'), "{spec}: {error}");
    }
}

/// A new scheme has its place in the catalogue, and in the README's table.
#[test]
fn every_name_has_its_page() {
    let (catalogue, readme) = (include_str!("../CATALOGUE.md"), include_str!("../../../README.md"));
    for name in Initializer::names() {
        assert!(catalogue.contains(&format!("<a id=\"{name}\"></a>")), "{name}");
        assert!(readme.contains(&format!("[`{name}`](crates/init/CATALOGUE.md#{name})")), "{name}");
    }
}
