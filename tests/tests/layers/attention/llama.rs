//! candle-transformers' llama, built anew of layers that train: the same names, shapes and outputs.

use candle_core::{DType, IndexOp, Module, Result, Tensor};
use candle_nn::{Optimizer, VarBuilder};
use candle_transformers::models::llama::{Cache, Config, Llama};
use wick_init::{InitMap, presets};
use wick_kernels::{AdamW, activate};
use wick_layers::attention::{AttnMask, attention};
use wick_layers::loss::cross_entropy;
use wick_layers::rotary_emb::rope;
use wick_layers::{Embedding, Linear, RmsNorm, embedding, linear_no_bias as linear, rms_norm};
use wick_model::Activation;
use wick_probe::reach;
use wick_tests::{CPU, largest, numbers};

const LAYERS: usize = 2;

fn config() -> Config {
    Config {
        hidden_size: 32,
        intermediate_size: 48,
        vocab_size: 40,
        num_hidden_layers: LAYERS,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        use_flash_attn: false,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: 16,
        tie_word_embeddings: false,
    }
}

struct Block {
    norms: [RmsNorm; 2],
    qkvo: [Linear; 4],
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Block {
    fn new(config: &Config, vb: VarBuilder) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let keys = hidden / config.num_attention_heads * config.num_key_value_heads;
        let (attn, mlp) = (vb.pp("self_attn"), vb.pp("mlp"));
        Ok(Self {
            norms: [
                rms_norm(hidden, config.rms_norm_eps, vb.pp("input_layernorm"))?,
                rms_norm(hidden, config.rms_norm_eps, vb.pp("post_attention_layernorm"))?,
            ],
            qkvo: [
                linear(hidden, hidden, attn.pp("q_proj"))?,
                linear(hidden, keys, attn.pp("k_proj"))?,
                linear(hidden, keys, attn.pp("v_proj"))?,
                linear(hidden, hidden, attn.pp("o_proj"))?,
            ],
            gate: linear(hidden, inner, mlp.pp("gate_proj"))?,
            up: linear(hidden, inner, mlp.pp("up_proj"))?,
            down: linear(inner, hidden, mlp.pp("down_proj"))?,
        })
    }

    fn forward(&self, xs: &Tensor, width: usize, (cos, sin): (&Tensor, &Tensor)) -> Result<Tensor> {
        let (batch, positions, hidden) = xs.dims3()?;
        let normed = self.norms[0].forward(xs)?;
        let heads = |linear: &Linear| {
            linear.forward(&normed)?.reshape((batch, positions, (), width))?.transpose(1, 2)
        };
        let [q, k, v] = [heads(&self.qkvo[0])?, heads(&self.qkvo[1])?, heads(&self.qkvo[2])?];
        let (q, k) = (rope(&q, cos, sin)?, rope(&k, cos, sin)?);
        let mixed = attention(&q, &k, &v, &AttnMask::causal(), 1.0 / (width as f64).sqrt())?;
        let mixed = mixed.transpose(1, 2)?.reshape((batch, positions, hidden))?;
        let xs = (xs + self.qkvo[3].forward(&mixed)?)?;
        let normed = self.norms[1].forward(&xs)?;
        let gate = activate(Activation::Silu, &self.gate.forward(&normed)?)?;
        xs + self.down.forward(&(gate * self.up.forward(&normed)?)?)?
    }
}

/// The llama of layers that train.
struct Trainable {
    tokens: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear,
    width: usize,
    angles: (Tensor, Tensor),
}

impl Trainable {
    fn new(config: &Config, vb: VarBuilder) -> Result<Self> {
        let width = config.hidden_size / config.num_attention_heads;
        let model = vb.pp("model");
        let angle = |place: usize| {
            let (position, pair) = (place / (width / 2), place % (width / 2));
            position as f32 / config.rope_theta.powf((2 * pair) as f32 / width as f32)
        };
        let count = config.max_position_embeddings * width / 2;
        let angles = Tensor::from_iter((0..count).map(angle), &CPU)?.reshape(((), width / 2))?;
        Ok(Self {
            tokens: embedding(config.vocab_size, config.hidden_size, model.pp("embed_tokens"))?,
            blocks: (0..config.num_hidden_layers)
                .map(|layer| Block::new(config, model.pp("layers").pp(layer)))
                .collect::<Result<_>>()?,
            norm: rms_norm(config.hidden_size, config.rms_norm_eps, model.pp("norm"))?,
            head: linear(config.hidden_size, config.vocab_size, vb.pp("lm_head"))?,
            width,
            angles: (angles.cos()?, angles.sin()?),
        })
    }

    /// The logits of the last position.
    fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let angles = (&self.angles.0, &self.angles.1);
        let stream = self.blocks.iter().try_fold(self.tokens.forward(tokens)?, |stream, block| {
            block.forward(&stream, self.width, angles)
        })?;
        let last = self.norm.forward(&stream)?.i((.., tokens.dim(1)? - 1, ..))?;
        self.head.forward(&last.contiguous()?)
    }
}

/// Three sequences, and the token behind each.
fn data() -> (Tensor, Tensor) {
    let tokens = (0..3 * 12u32).map(|place| place * 7919 % 40);
    let tokens = Tensor::from_iter(tokens, &CPU).unwrap().reshape((3, 12)).unwrap();
    (tokens, Tensor::new(&[5u32, 17, 31], &CPU).unwrap())
}

#[test]
fn the_trainable_llama_is_the_stock_one_and_trains_whole() {
    let (config, (tokens, next)) = (config(), data());
    let map = || InitMap::new(7).with_rules(presets::llama(LAYERS).unwrap());
    let (stock_map, map) = (map(), map());
    let stock = Llama::load(stock_map.var_builder(DType::F32, &CPU), &config).unwrap();
    let ours = Trainable::new(&config, map.var_builder(DType::F32, &CPU)).unwrap();
    let forward = || {
        let mut cache = Cache::new(false, DType::F32, &config, &CPU)?;
        stock.forward(&tokens, 0, &mut cache)
    };

    // The same variables, so that the files of one fit the other.
    let named = |map: &InitMap| {
        let mut vars: Vec<_> = map.named_vars();
        vars.sort_by(|a, b| a.0.cmp(&b.0));
        vars
    };
    let (stock_vars, vars) = (named(&stock_map), named(&map));
    let names = |vars: &[(String, candle_core::Var)]| {
        vars.iter().map(|(name, var)| (name.clone(), var.dims().to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(names(&vars), names(&stock_vars));

    // The same outputs.
    let (expected, got) = (numbers(&forward().unwrap()), numbers(&ours.forward(&tokens).unwrap()));
    let apart = largest(got.iter().zip(&expected).map(|(a, b)| (a - b).abs()));
    println!(
        "outputs apart by {apart:e}, of {:.3} at most",
        expected.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
    );
    assert!(apart <= 1e-5, "{apart:e}");

    // The loss reaches all variables here, and of the stock model few.
    let loss = |logits: Tensor| cross_entropy(&logits, &next);
    let stock_reach = reach(&stock_vars, || loss(forward()?)).unwrap();
    let our_reach = reach(&vars, || loss(ours.forward(&tokens)?)).unwrap();
    println!("stock: {stock_reach}\nhere: {our_reach}");
    assert!(our_reach.unreached.is_empty(), "{our_reach}");
    assert!(stock_reach.unreached.len() > vars.len() / 2, "candle's llama trains now: {stock_reach}");
    assert!(stock_reach.unreached.contains(&"model.embed_tokens.weight".to_owned()));

    // Its loss falls to nothing, as three sequences allow. All variables move.
    let before: Vec<Vec<f64>> = vars.iter().map(|(_, var)| numbers(var)).collect();
    let params = candle_nn::ParamsAdamW { lr: 0.01, ..Default::default() };
    let mut adamw = AdamW::new(vars.iter().map(|(_, var)| var.clone()).collect(), params).unwrap();
    let losses: Vec<f32> = (0..60)
        .map(|_| {
            let loss = loss(ours.forward(&tokens).unwrap()).unwrap();
            adamw.backward_step(&loss).unwrap();
            loss.to_scalar().unwrap()
        })
        .collect();
    println!("loss {} then {}", losses[0], losses[59]);
    assert!(losses[59] < 0.05 * losses[0], "{losses:?}");
    for ((name, var), before) in vars.iter().zip(before) {
        assert!(numbers(var) != before, "{name} has not moved");
    }
}
