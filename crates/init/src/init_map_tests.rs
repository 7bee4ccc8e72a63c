use super::*;

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
    // An RMS norm that asks for its scale without a hint would put out zeros.
    let error = vb.pp("norm").get(3, "weight").unwrap_err().to_string();
    assert!(error.contains("no initializer for 'norm.weight' [3]"), "{error}");
    let map = InitMap::new(7).with_weights(Initializer::ones());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    assert_eq!(values(&vb.get((2, 3), "weight").unwrap()), [1.0; 6]);
    let scale = vb.get_with_hints((2, 1, 1), "scale", Init::Const(0.5)).unwrap();
    assert_eq!(values(&scale), [0.5; 2], "what a layer asks for by value it gets");
}

#[test]
fn a_name_is_one_variable() {
    let map = InitMap::new(7).with_weights(Initializer::xavier_normal());
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let first = vb.get((2, 3), "weight").unwrap();
    map.vars()[0].set(&first.zeros_like().unwrap()).unwrap();
    assert_eq!(values(&vb.get((2, 3), "weight").unwrap()), [0.0; 6], "training is seen by who asks again");

    let error = vb.get((3, 2), "weight").unwrap_err().to_string();
    assert!(error.contains("'weight' was made [2, 3] f32") && error.contains("[3, 2] f32"), "{error}");
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
    assert_eq!(map.unmet_rules(), ["head.weight"]);

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
}

#[test]
fn what_a_file_has_is_loaded_and_the_rest_is_drawn() {
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
    let origins: Vec<Origin> = map.manifest().unwrap().tensors.iter().map(|entry| entry.origin).collect();
    assert_eq!(origins, [Origin::Drawn, Origin::Loaded]);

    let map = InitMap::new(7).with_file(&path).unwrap();
    for (dtype, shape) in [(DType::F32, (2, 3)), (DType::F64, (2, 2))] {
        let error = map.var_builder(dtype, &Device::Cpu).get(shape, "fc.weight").unwrap_err().to_string();
        assert!(error.contains("'fc.weight' was made [2, 2] f32 in the file"), "{error}");
    }
    let bytes = std::fs::read(&path).unwrap();
    for (name, bytes) in [("short", &bytes[..bytes.len() - 3]), ("foreign", b"{}".as_slice())] {
        let path = folder.join(format!("{name}.safetensors"));
        std::fs::write(&path, bytes).unwrap();
        let error = InitMap::new(7).with_file(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()) && error.lines().count() == 1, "{error}");
    }
    assert!(InitMap::new(7).with_file(folder.join("missing.safetensors")).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_manifest_says_what_was_meant_and_what_came() {
    let rules = crate::presets::mup(128.0).unwrap();
    let map = InitMap::new(7).with_rules(rules);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    candle_nn::linear(256, 300, vb.pp("fc")).unwrap();
    let manifest = map.manifest().unwrap();
    assert_eq!(manifest.stream, "keyed_v1, seed 7");
    let [bias, weight] = &manifest.tensors[..] else { panic!("{manifest:?}") };
    assert_eq!((bias.name.as_str(), bias.init.as_str(), bias.learning_rate), ("fc.bias", "zeros", 1.0));
    assert_eq!((weight.fan_in, weight.fan_out), (Some(256.0), Some(300.0)));
    assert_eq!((weight.init.as_str(), weight.rule.as_str()), ("lecun_normal", "[*, *, ..]"));
    assert_eq!((weight.std_meant, weight.learning_rate), (Some(1.0 / 16.0), 0.5));
    // n = 76,800: the relative error of a std is 1/√(2n) = .26 % at one sigma.
    assert!((weight.std * 16.0 - 1.0).abs() < 0.01, "{}", weight.std);
    assert_eq!(weight.key.as_ref().map(String::len), Some(16));
}

/// torch.manual_seed(42); torch.rand(3) and torch.randn(16)[:4], whatever the tensors are called.
#[test]
fn one_generator_for_all_goes_by_the_order() {
    let rules = [
        Rule::draw("first", Initializer::Uniform { low: 0.0, high: 1.0 }).unwrap(),
        Rule::draw("second", Initializer::normal(1.0)).unwrap(),
    ];
    let map = InitMap::new(0).with_rules(rules.clone()).with_torch(42);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    let bits = |t: Tensor| values(&t).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(vb.get(3, "first").unwrap()), [0x3f61_dc66, 0x3f6a_3db3, 0x3ec4_06b8]);

    let map = InitMap::new(0).with_rules(rules.clone()).with_torch(42);
    let vb = map.var_builder(DType::F32, &Device::Cpu);
    assert_eq!(
        bits(vb.get(16, "second").unwrap())[..4],
        [0x3ff6_a529, 0x3fbe_5f53, 0x3f66_9567, 0xc006_c0db]
    );

    let generator = || KeyedV1::new(1).key("g").rng();
    let draw = |names: [&str; 2]| {
        let map = InitMap::new(0).with_rules(rules.clone()).with_generator(generator());
        let vb = map.var_builder(DType::F32, &Device::Cpu);
        names.map(|name| bits(vb.get(5, name).unwrap()))
    };
    let [first, _] = draw(["first", "second"]);
    let [_, later] = draw(["second", "first"]);
    assert_ne!(first, later);
}
