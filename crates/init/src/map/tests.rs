use candle_nn::init::{FanInOut, NormalOrUniform};

use super::manifest::Origin;
use super::rules::LearningRate;
use super::*;
use crate::layout::WeightLayout;
use crate::rng::keyed::KeyedV1;

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn order_and_neighbours_change_nothing() {
    let build = |names: &[&str]| {
        let map = InitMap::new(7);
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        for name in names {
            candle_nn::linear(40, 30, vb.pp(name)).unwrap();
        }
        map.named_vars().into_iter().map(|(name, var)| (name, values(&var))).collect::<BTreeMap<_, _>>()
    };
    let both = build(&["a", "b"]);
    assert_eq!(both, build(&["b", "a"]));
    let half = build(&["b"]);
    assert!(half.iter().all(|(name, values)| &both[name] == values));
    assert_ne!(both["a.weight"], both["b.weight"]);
}

#[test]
fn hints_keep_their_meaning() {
    let map = InitMap::new(7);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let std = |t: &Tensor| {
        let v = values(t);
        (v.iter().map(|x| f64::from(x * x)).sum::<f64>() / v.len() as f64).sqrt()
    };
    // candle's default linear layer: Kaiming with ReLU's gain, and a bias of U(±1/√fan_in).
    let layer = candle_nn::linear(400, 1000, vb.pp("linear")).unwrap();
    assert!((std(layer.weight()) / (2.0f64 / 400.0).sqrt() - 1.0).abs() < 0.01);
    let bias = values(layer.bias().unwrap());
    assert!(bias.iter().all(|x| x.abs() <= 0.05) && bias.iter().any(|x| x.abs() > 0.049));
    let norm = candle_nn::layer_norm(16, 1e-5, vb.pp("norm")).unwrap();
    assert_eq!(values(norm.weight()), [1.0; 16]);
    let hint = Init::Kaiming {
        dist: NormalOrUniform::Uniform,
        fan: FanInOut::FanOut,
        non_linearity: candle_nn::init::NonLinearity::Linear,
    };
    let uniform = vb.get_with_hints((100, 300), "uniform", hint).unwrap();
    assert!((std(&uniform) / 0.1 - 1.0).abs() < 0.02);
    let flat = vb.get_with_hints(10_000, "flat", hint).unwrap();
    assert!((std(&flat) / 0.01 - 1.0).abs() < 0.05);
}

#[test]
fn a_weight_without_a_hint_is_an_error_that_names_it() {
    let vb = InitMap::new(7).var_builder(DType::F32, &Device::Cpu);
    let error = vb.pp("fc").get((2, 3), "weight").unwrap_err().to_string();
    assert!(error.contains("no initializer for 'fc.weight' [2, 3]"), "{error}");
    assert_eq!(values(&vb.get(3, "bias").unwrap()), [0.0; 3]);
    // The outputs of an RMS norm that asks for its scale without a hint would be zeros.
    let error = vb.pp("norm").get(3, "weight").unwrap_err().to_string();
    assert!(error.contains("no initializer for 'norm.weight' [3]"), "{error}");
    let map = InitMap::new(7).with_default_init(Initializer::ones());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    assert_eq!(values(&vb.get((2, 3), "weight").unwrap()), [1.0; 6]);
    let scale = vb.get_with_hints((2, 1, 1), "scale", Init::Const(0.5)).unwrap();
    assert_eq!(values(&scale), [0.5; 2], "a constant that a layer asks for takes precedence");
}

#[test]
fn a_name_is_one_variable() {
    let map = InitMap::new(7).with_default_init(Initializer::xavier_normal());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let first = vb.get((2, 3), "weight").unwrap();
    map.vars()[0].set(&first.zeros_like().unwrap()).unwrap();
    assert_eq!(
        values(&vb.get((2, 3), "weight").unwrap()),
        [0.0; 6],
        "a later request gets the trained value"
    );

    let error = vb.get((3, 2), "weight").unwrap_err().to_string();
    assert!(error.contains("'weight' is [2, 3] f32") && error.contains("[3, 2] f32"), "{error}");
    let error = vb.to_dtype(DType::F64).get((2, 3), "weight").unwrap_err().to_string();
    assert!(error.contains("f64"), "{error}");
    let error = vb.get_unchecked("nothing").unwrap_err().to_string();
    assert!(error.contains("no tensor 'nothing'"), "{error}");
}

#[test]
fn the_first_rule_that_matches_holds() {
    let rules = || {
        [
            Rule::draw("head.**", Initializer::zeros()).unwrap(),
            Rule::draw("**.weight [*, *]", Initializer::ones()).unwrap(),
            Rule::draw("head.weight", Initializer::Constant(7.0)).unwrap(),
            Rule::hint("**.bias").unwrap(),
        ]
    };
    let map = InitMap::new(7).with_rules(rules());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let head = candle_nn::linear(3, 2, vb.pp("head")).unwrap();
    let body = candle_nn::linear(3, 3, vb.pp("body")).unwrap();
    assert_eq!(values(head.weight()), [0.0; 6]);
    assert_eq!(values(head.bias().unwrap()), [0.0; 2]);
    assert_eq!(values(body.weight()), [1.0; 9]);
    assert!(values(body.bias().unwrap()).iter().all(|x| *x != 0.0 && x.abs() <= 1.0 / 3f32.sqrt()));
    assert_eq!(map.unmatched_rules(), ["head.weight"]);

    let vb = InitMap::new(7).with_rules(rules()).strict().var_builder(DType::F32, &Device::Cpu);
    candle_nn::linear(3, 2, vb.pp("fc")).unwrap();
    let error = candle_nn::layer_norm(3, 1e-5, vb.pp("norm")).unwrap_err().to_string();
    assert!(error.contains("no rule for 'norm.weight' [3]"), "{error}");
}

#[test]
fn an_error_of_a_rule_names_the_tensor() {
    let rule = Rule::draw("**", Initializer::xavier_normal()).unwrap();
    let vb = InitMap::new(7).with_rules([rule]).var_builder(DType::F32, &Device::Cpu);
    let error = vb.pp("norm").get(3, "weight").unwrap_err().to_string();
    assert!(error.contains("'norm.weight'") && error.contains("[3] has no fans"), "{error}");
    let error = Error::NoSuchTensor("w".to_owned()).of_tensor("b");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(error.to_string(), format!("'b': {source}"));
}

#[test]
fn tensors_of_a_file_are_loaded_and_the_others_drawn() {
    let folder = std::env::temp_dir().join(format!("wick-init-map-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("half.safetensors");
    let weight = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
    let tensors = HashMap::from([("fc.weight".to_owned(), weight)]);
    candle_core::safetensors::save(&tensors, &path).unwrap();

    let map = InitMap::new(7).with_file(&path).unwrap();
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let layer = candle_nn::linear(2, 2, vb.pp("fc")).unwrap();
    assert_eq!(values(layer.weight()), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(map.unused_tensors(), [""; 0]);
    let origins: Vec<Origin> = map.manifest().unwrap().tensors.iter().map(|entry| entry.origin).collect();
    assert_eq!(origins, [Origin::Drawn, Origin::Loaded]);

    let map = InitMap::new(7).with_file(&path).unwrap();
    for (dtype, shape) in [(DType::F32, (2, 3)), (DType::F64, (2, 2))] {
        let error = map.var_builder(dtype, &Device::Cpu).get(shape, "fc.weight").unwrap_err().to_string();
        assert!(error.contains("'fc.weight' is [2, 2] f32 in the file"), "{error}");
    }
    let bytes = std::fs::read(&path).unwrap();
    for (name, bytes) in [("short", &bytes[..bytes.len() - 3]), ("foreign", b"{}".as_slice())] {
        let path = folder.join(format!("{name}.safetensors"));
        std::fs::write(&path, bytes).unwrap();
        let error = InitMap::new(7).with_file(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()) && error.lines().count() == 1, "{error}");
    }
    let error = InitMap::new(7).with_file(folder.join("missing.safetensors")).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>();
    assert_eq!(source.unwrap().kind(), std::io::ErrorKind::NotFound);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_manifest_has_the_expected_std_and_the_actual_one() {
    let rules = presets::mup(128.0).unwrap();
    let map = InitMap::new(7).with_rules(rules);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    candle_nn::linear(256, 300, vb.pp("fc")).unwrap();
    let manifest = map.manifest().unwrap();
    assert_eq!(manifest.stream, "keyed_v1, seed 7");
    let [bias, weight] = &manifest.tensors[..] else { panic!("{manifest:?}") };
    assert_eq!((bias.name.as_str(), bias.init.as_str(), bias.learning_rate), ("fc.bias", "zeros", 1.0));
    assert_eq!((weight.fan_in, weight.fan_out), (Some(256.0), Some(300.0)));
    assert_eq!((weight.init.as_str(), weight.rule.as_str()), ("lecun_normal", "[*, *, ..]"));
    assert_eq!((weight.expected_std, weight.learning_rate), (Some(1.0 / 16.0), 0.5));
    // n = 76,800: the relative error of a std is 1/√(2n) = .26 % at one sigma.
    assert!((weight.std.unwrap() * 16.0 - 1.0).abs() < 0.01, "{:?}", weight.std);
    assert_eq!(weight.key.as_ref().map(String::len), Some(16));
}

/// torch.manual_seed(42); torch.rand(3) and torch.randn(16)[:4], for tensors of any names.
#[test]
fn one_generator_for_all_tensors_depends_on_the_order() {
    let rules = [
        Rule::draw("first", Initializer::Uniform { low: 0.0, high: 1.0 }).unwrap(),
        Rule::draw("second", Initializer::normal(1.0)).unwrap(),
    ];
    let map = InitMap::new(0).with_rules(rules.clone()).with_torch_rng(42);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let bits = |t: Tensor| values(&t).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(vb.get(3, "first").unwrap()), [0x3f61_dc66, 0x3f6a_3db3, 0x3ec4_06b8]);

    let map = InitMap::new(0).with_rules(rules.clone()).with_torch_rng(42);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    assert_eq!(
        bits(vb.get(16, "second").unwrap())[..4],
        [0x3ff6_a529, 0x3fbe_5f53, 0x3f66_9567, 0xc006_c0db]
    );

    let generator = || KeyedV1::new(1).key("g").rng();
    let draw = |names: [&str; 2]| {
        let map = InitMap::new(0).with_rules(rules.clone()).with_rng(generator());
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        names.map(|name| bits(vb.get(5, name).unwrap()))
    };
    let [first, _] = draw(["first", "second"]);
    let [_, later] = draw(["second", "first"]);
    assert_ne!(first, later);
}

/// A folder that is removed when the test ends.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wick-init-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_loaded_tensor_keeps_its_rule() {
    let folder = Folder::new("loaded");
    let path = folder.0.join("w.safetensors");
    let build = |map: &InitMap| {
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        candle_nn::linear(1024, 8, vb.pp("fc")).unwrap();
    };
    let map = InitMap::new(7).with_rules(presets::mup(256.0).unwrap());
    build(&map);
    map.save(&path).unwrap();

    let loaded = InitMap::new(8).with_file(&path).unwrap().with_rules(presets::mup(256.0).unwrap());
    build(&loaded);
    let rates =
        |map: &InitMap| map.learning_rates().unwrap().into_iter().map(|(_, rate)| rate).collect::<Vec<_>>();
    assert_eq!(rates(&loaded), [1.0, 0.25]);
    assert_eq!(rates(&loaded), rates(&map));
    assert_eq!(loaded.unmatched_rules(), map.unmatched_rules());
    let manifest = loaded.manifest().unwrap();
    let weight = &manifest.tensors[1];
    assert_eq!(
        (weight.origin, weight.rule.as_str(), weight.learning_rate),
        (Origin::Loaded, "[*, *, ..]", 0.25)
    );
    assert_eq!((weight.init.as_str(), weight.expected_std, weight.key.as_ref()), ("", None, None));

    // A vector has no fans, which this learning rate needs.
    let falling = LearningRate::InverseFanIn { base: 2.0 };
    let rules = [Rule::draw("**.bias", Initializer::ones()).unwrap().with_learning_rate(falling)];
    let loaded = InitMap::new(8).with_file(&path).unwrap().with_rules(rules);
    build(&loaded);
    let error = loaded.learning_rates().unwrap_err().to_string();
    assert!(error.starts_with("'fc.bias': shape [8] has no fans"), "{error}");

    // The rule's layout applies, too: the fans are those of one of the stacked projections.
    let stacked =
        Rule::draw("**.weight", Initializer::ones()).unwrap().with_layout(WeightLayout::Stacked { parts: 2 });
    let loaded = InitMap::new(8).with_file(&path).unwrap().with_rules([stacked]);
    build(&loaded);
    assert_eq!(loaded.manifest().unwrap().tensors[1].fan_out, Some(4.0));
}

#[test]
fn a_checkpoint_in_shards() {
    let folder = Folder::new("shards");
    let save = |file: &str, layers: &[&str]| {
        let map = InitMap::new(1).with_default_init(Initializer::normal(1.0));
        for layer in layers {
            candle_nn::linear(2, 2, map.var_builder(DType::F32, &Device::Cpu).pp(layer)).unwrap();
        }
        let path = folder.0.join(file);
        map.save(&path).unwrap();
        path
    };
    let (first, second, again) = (save("1", &["a"]), save("2", &["b", "c"]), save("3", &["c"]));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 3, "no temporary file is left");

    let map = InitMap::new(2).with_file(first).unwrap().with_file(second).unwrap();
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    for layer in ["a", "b"] {
        candle_nn::linear(2, 2, vb.pp(layer)).unwrap();
    }
    assert!(map.manifest().unwrap().tensors.iter().all(|tensor| tensor.origin == Origin::Loaded));
    assert_eq!(map.unused_tensors(), ["c.bias", "c.weight"]);
    let error = map.with_file(again).unwrap_err().to_string();
    assert!(error.contains("an earlier file has 'c.bias' too"), "{error}");

    // A folder stands where the file should be.
    let error = InitMap::new(1).save(&folder.0).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot write") && text.lines().count() == 1, "{text}");
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>();
    assert_eq!(source.unwrap().kind(), std::io::ErrorKind::IsADirectory);
}

/// A PyTorch generator restarts in every map; a generator of rand's cannot restart, and is shared.
#[test]
fn maps_of_a_clone_have_their_own_pytorch_generator() {
    let draw = |map: InitMap| values(&map.var_builder(DType::F32, &Device::Cpu).get(5, "w").unwrap());
    let rule = || [Rule::draw("w", Initializer::normal(1.0)).unwrap()];
    let torch = InitMap::new(0).with_torch_rng(42).with_rules(rule());
    let first = draw(torch.clone().with_rules(rule()));
    assert_eq!(draw(torch.clone().with_rules(rule())), first);
    assert_eq!(draw(torch), first);

    let generator = InitMap::new(0).with_rng(KeyedV1::new(1).key("g").rng()).with_rules(rule());
    let first = draw(generator.clone().with_rules(rule()));
    assert_ne!(draw(generator.with_rules(rule())), first);
}

#[test]
fn norms_are_found_by_the_shape_of_their_weight() {
    let map = InitMap::new(7).with_rules(presets::torch_defaults().unwrap()).strict();
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    for name in ["bn1", "LayerNorm", "ln_1"] {
        let norm = candle_nn::layer_norm(4, 1e-5, vb.pp(name)).unwrap();
        assert_eq!((values(norm.weight()), values(norm.bias().unwrap())), (vec![1.0; 4], vec![0.0; 4]));
    }
    let layer = candle_nn::linear(4, 4, vb.pp("fc")).unwrap();
    assert!(values(layer.bias().unwrap()).iter().all(|x| *x != 0.0));
    let error = vb.get(4, "lonely.bias").unwrap_err().to_string();
    assert!(error.starts_with("'lonely.bias': no tensor 'lonely.weight' has been made"), "{error}");
}

#[test]
fn a_layer_beyond_the_depth_is_an_error() {
    for (rules, inside, beyond) in [
        (presets::gpt2(2), "h.1.attn.c_proj.weight", "h.2.attn.c_proj.weight"),
        (presets::llama(2), "layers.1.mlp.down_proj.weight", "model.layers.2.mlp.down_proj.weight"),
        (presets::t_fixup(2), "encoder.layers.1.fc1.weight", "encoder.layers.2.fc1.weight"),
    ] {
        let vb = InitMap::new(7).with_rules(rules.unwrap()).var_builder(DType::F32, &Device::Cpu);
        vb.get((2, 2), inside).unwrap();
        let error = vb.get((2, 2), beyond).unwrap_err().to_string();
        assert!(error.starts_with(&format!("'{beyond}': layer 2 is beyond the 2 layers")), "{error}");
    }
}

#[test]
fn advice_for_a_vector_is_a_rule() {
    let vb = InitMap::new(7).var_builder(DType::F32, &Device::Cpu);
    // A backtrace may follow the first line.
    let error = |shape: &[usize]| {
        let error = vb.get(shape, "weight").unwrap_err().to_string();
        error.lines().next().unwrap().to_owned()
    };
    assert!(error(&[3]).ends_with("name one with a rule"), "{}", error(&[3]));
    assert!(error(&[3, 3]).ends_with("name one with a rule or with InitMap::with_default_init"));
}

/// `?` converts a pattern's error to candle's error.
#[test]
fn errors_become_candles() {
    let build = || -> Result<InitMap> { Ok(InitMap::new(7).with_rules([Rule::hint("a..b")?])) };
    assert!(build().unwrap_err().to_string().starts_with("cannot read the pattern 'a..b'"));
    let ours = || -> std::result::Result<Rule, Error> { Ok(Rule::hint("a..b")?) };
    assert!(matches!(ours(), Err(Error::Pattern(_))));
}

#[test]
fn the_manifest_is_a_table() {
    let map = InitMap::new(7).with_rules([Rule::draw("**", Initializer::orthogonal(1.0)).unwrap()]);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    vb.get((100, 4), "w").unwrap();
    vb.get((0, 4), "empty").unwrap();
    let manifest = map.manifest().unwrap();
    assert_eq!((manifest.tensors[0].std, manifest.tensors[1].expected_std), (None, Some(0.1)));
    let table = manifest.to_string();
    let words = |line: usize| table.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(0)[..4], ["name", "shape", "type", "origin"]);
    assert_eq!(words(1)[..6], ["empty", "0x4", "f32", "drawn", "**", "orthogonal:gain=1"]);
    assert_eq!(words(1)[9], "-");
    assert_eq!(words(2)[8], "1.0000e-1");
    assert!(table.ends_with("stream: keyed_v1, seed 7") && !table.contains("NaN"), "{table}");
}
