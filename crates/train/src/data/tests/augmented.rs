use candle_core::{DType, Device, Tensor};
use wick_init::{Initializer, Key};

use crate::data::{Augmented, Dataset, InMemory, Prefetch, Subset};
use crate::error::Error;
use crate::order::Order;

fn data() -> InMemory {
    let numbers: Vec<f32> = (0..60).map(|i| i as f32).collect();
    InMemory::new(&Tensor::from_vec(numbers, (20, 3), &Device::Cpu).unwrap()).unwrap()
}

fn noise(sample: Tensor, key: Key) -> Result<Tensor, Error> {
    let noise = Initializer::normal(1.0).tensor(key, sample.shape(), sample.dtype(), sample.device());
    Ok((sample + noise.map_err(candle_core::Error::wrap)?)?)
}

fn rows(data: &impl Dataset, epoch: u64, indices: &[usize]) -> Vec<Vec<f32>> {
    data.epoch_batch(epoch, indices).unwrap().input.to_vec2().unwrap()
}

/// A sample's change depends on seed, sample and epoch, and on nothing else.
#[test]
fn a_change_is_keyed_by_seed_sample_and_epoch() {
    let noisy = Augmented::new(data(), 7, noise);
    let all = rows(&noisy, 3, &(0..20).collect::<Vec<_>>());
    for batch in [1, 3, 20] {
        let order: Vec<usize> =
            Order::new(20, wick_init::KeyedV1::new(1).key("order")).unwrap().epoch(0).collect();
        for indices in order.chunks(batch) {
            for (row, sample) in rows(&noisy, 3, indices).iter().zip(indices) {
                assert_eq!(*row, all[*sample], "sample {sample} in a batch of {batch}");
            }
        }
    }
    let wanted: Vec<(u64, Vec<usize>)> = vec![(3, vec![4, 9]), (4, vec![4])];
    let ahead: Vec<_> = Prefetch::new(Augmented::new(data(), 7, noise), wanted).unwrap().collect();
    assert_eq!(ahead[0].as_ref().unwrap().input.to_vec2::<f32>().unwrap(), [all[4].clone(), all[9].clone()]);
    // The twins: another epoch, another seed, another sample.
    let plain = data().batch(&(0..20).collect::<Vec<_>>()).unwrap().input.to_vec2::<f32>().unwrap();
    assert_ne!(rows(&noisy, 4, &[4])[0], all[4]);
    assert_ne!(rows(&Augmented::new(data(), 8, noise), 3, &[4])[0], all[4]);
    let noise_of =
        |sample: usize| -> Vec<f32> { all[sample].iter().zip(&plain[sample]).map(|(a, b)| a - b).collect() };
    assert_ne!(noise_of(4), noise_of(5));
    assert_eq!(noisy.batch(&[4]).unwrap().input.to_vec2::<f32>().unwrap()[0], plain[4]);
    // A part of augmented data has the numbers of the whole.
    let part = Subset::new(&noisy, vec![9, 4]).unwrap();
    assert_eq!(rows(&part, 3, &[1]), [all[4].clone()]);
}

#[test]
fn a_change_keeps_shape_and_type_or_is_refused() {
    let shorter = Augmented::new(data(), 0, |sample: Tensor, _| Ok(sample.narrow(0, 0, 2)?));
    let error = shorter.epoch_batch(0, &[0]).unwrap_err().to_string();
    assert!(error.contains("[2]") && error.contains("that was augmented"), "{error}");
    let wider = Augmented::new(data(), 0, |sample: Tensor, _| Ok(sample.to_dtype(DType::F64)?));
    assert!(wider.epoch_batch(0, &[0]).is_err());
    let failing = Augmented::new(data(), 0, |_, _| Err(Error::Data("no".into())));
    assert_eq!(failing.epoch_batch(0, &[0]).unwrap_err().to_string(), "no");
    assert!(failing.batch(&[0]).is_ok());
}
