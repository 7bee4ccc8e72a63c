//! Blocks and micro-batches.

use super::*;

/// The weights after 100 steps, whose last windows have 6 samples for 8 blocks.
fn trained(leaves: usize, micro_batches: usize, dtype: DType) -> Vec<u8> {
    let net = Net::new(dtype);
    let data = points().with_type(dtype, &Device::Cpu).unwrap();
    let config = Config { leaves, micro_batches, length: Length::Steps(100), ..config(1) };
    Trainer::new(&net.map, config).unwrap().fit(&data, |step| net.loss(step)).unwrap();
    net.bits()
}

/// One, two, four and eight micro-batches have the bits of the whole batch, the last partial window too.
#[test]
fn micro_batches_change_no_bit() {
    for dtype in [DType::F32, DType::BF16] {
        let whole = trained(8, 1, dtype);
        for micro_batches in [2, 4, 8] {
            assert!(trained(8, micro_batches, dtype) == whole, "{micro_batches} {dtype:?}");
        }
    }
    // The comparison sees other sums.
    assert!(trained(8, 1, DType::F32) != trained(4, 1, DType::F32));
}

/// The gradient over blocks is that of the whole batch, to rounding: a step of gradient descent shows it.
#[test]
fn blocks_are_weighted_by_their_samples() {
    let step = |leaves| {
        let net = Net::new(DType::F64);
        let data = points().with_type(DType::F64, &Device::Cpu).unwrap();
        let optimizer = "sgd:lr=1,momentum=0".parse().unwrap();
        // 70 samples are no multiple of 4: the blocks have 17 and 18.
        let config = Config { leaves, batch: 70, length: Length::Steps(1), optimizer, ..config(1) };
        let mut trainer = Trainer::new(&net.map, config).unwrap();
        let loss = |step: &Step| -> Result<Tensor> {
            candle_nn::loss::cross_entropy(&net.outputs(step.input())?, step.targets()?)
        };
        let outcome = trainer.fit(&data, loss).unwrap();
        let vars = net.map.named_vars().into_iter();
        let numbers: Vec<f64> =
            vars.flat_map(|(_, var)| var.flatten_all().unwrap().to_vec1::<f64>().unwrap()).collect();
        (numbers, outcome.loss.unwrap())
    };
    let ((whole, loss), (blocks, of_blocks)) = (step(1), step(4));
    assert!((loss - of_blocks).abs() < 1e-14);
    assert!(whole.iter().zip(&blocks).all(|(a, b)| (a - b).abs() < 1e-14));
}

/// Batches that are made ahead are those of their steps: the losses are the same, the last ones too, with
/// micro-batches and with an end before the last step.
#[test]
fn batches_made_ahead_change_no_bit() {
    let course = |ahead: bool, micro_batches: usize, patience: u64| {
        let (net, data) = (Net::new(DType::F32), points());
        let config = Config { leaves: 4, micro_batches, ..config(9) };
        let stopping = EarlyStopping { patience, min_delta: 1.0, ..EarlyStopping::default() };
        let mut trainer = Trainer::new(&net.map, config).unwrap().with_validation(
            &data,
            Metrics::Classification,
            None,
            stopping,
            |batch| net.outputs(&batch.input),
        );
        if ahead {
            trainer = trainer.with_prefetch();
        }
        let outcome = trainer.fit(&data, |step| net.loss(step)).unwrap();
        (outcome.history, outcome.steps, net.bits())
    };
    for (micro_batches, patience, steps) in [(1, u64::MAX, 45), (4, u64::MAX, 45), (2, 2, 15)] {
        let plain = course(false, micro_batches, patience);
        assert_eq!(plain.1, steps);
        assert!(course(true, micro_batches, patience) == plain, "{micro_batches}");
    }
}

/// A closure that computes gradients itself has them weighted by the trainer.
#[test]
fn gradients_of_a_closure_are_weighted_too() {
    let by_loss = trained(4, 1, DType::F32);
    let net = Net::new(DType::F32);
    let config = Config { leaves: 4, length: Length::Steps(100), ..config(1) };
    let mut trainer = Trainer::new(&net.map, config).unwrap();
    let outcome = trainer.fit_gradients(&points(), |step| {
        let loss = net.loss(step)?;
        let gradients = loss.backward()?;
        Ok((loss, gradients))
    });
    outcome.unwrap();
    // The weights of blocks of 16 samples are powers of two, so that the bits are the same; those of the last
    // windows are not.
    let near = |a: &[u8], b: &[u8]| {
        let numbers = |bytes: &[u8]| -> Vec<f32> {
            bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
        };
        numbers(a).iter().zip(numbers(b)).all(|(a, b)| (a - b).abs() < 1e-4)
    };
    assert!(near(&by_loss, &net.bits()));
}
