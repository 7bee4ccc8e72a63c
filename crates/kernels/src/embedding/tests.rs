use candle_core::{DType, Device, Tensor, Var};

use super::embedding;

fn wave(dims: &[usize], phase: f64) -> Tensor {
    let count = dims.iter().product::<usize>();
    let values: Vec<f64> = (0..count).map(|i| (i as f64 * 0.731 + phase).sin() * 1.7).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn numbers(xs: &Tensor) -> Vec<f64> {
    xs.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Rows and gradients against candle's `index_select`, with repeated ids and ids that are not taken.
#[test]
fn rows_and_gradients_are_those_of_index_select() {
    for (rows, width, count) in [(1, 1, 1), (5, 3, 40), (1000, 128, 300), (3, 7, 0), (70, 1, 5000)] {
        let ids: Vec<u32> = (0..count as u32).map(|i| i * 7919 % rows as u32).collect();
        let ids = Tensor::from_vec(ids, count, &Device::Cpu).unwrap();
        for (dtype, bound) in [(DType::F64, 1e-12), (DType::F32, 2e-4), (DType::BF16, 0.4)] {
            let table = Var::from_tensor(&wave(&[rows, width], 0.1).to_dtype(dtype).unwrap()).unwrap();
            let ours = embedding(&table, &ids).unwrap();
            let theirs = table.index_select(&ids, 0).unwrap();
            assert_eq!(numbers(&ours), numbers(&theirs));
            let weights = wave(ours.dims(), 3.0).to_dtype(dtype).unwrap();
            let gradient = |rows: &Tensor| {
                let store = (rows * &weights).unwrap().sum_all().unwrap().backward().unwrap();
                numbers(store.get(&table).unwrap())
            };
            for (ours, theirs) in gradient(&ours).into_iter().zip(gradient(&theirs)) {
                assert!((ours - theirs).abs() <= bound, "{rows} {width} {count} {dtype:?}: {ours} {theirs}");
            }
        }
    }
}

/// In bf16, 300 ones of one row add up to 300; candle's sum, rounded at every step, stays at 256.
#[test]
fn sums_of_half_types_are_rounded_once() {
    let table = Var::zeros((2, 1), DType::BF16, &Device::Cpu).unwrap();
    let ids = Tensor::ones(300, DType::U32, &Device::Cpu).unwrap();
    let sum = |rows: Tensor| {
        let store = rows.sum_all().unwrap().backward().unwrap();
        numbers(store.get(&table).unwrap())
    };
    assert_eq!(sum(embedding(&table, &ids).unwrap()), [0.0, 300.0]);
    assert_eq!(sum(table.index_select(&ids, 0).unwrap()), [0.0, 256.0], "candle's index_add is right now");
}

#[test]
fn threads_change_no_bit_and_the_order_does() {
    let ids: Vec<u32> = (0..4000).map(|i| i * 7919 % 37).collect();
    let ids = Tensor::from_vec(ids, (40, 100), &Device::Cpu).unwrap();
    let table = Var::from_tensor(&wave(&[37, 64], 0.1).to_dtype(DType::F32).unwrap()).unwrap();
    let weights = wave(&[40, 100, 64], 3.0).to_dtype(DType::F32).unwrap();
    let bits = |threads: usize, ids: &Tensor, weights: &Tensor| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let rows = embedding(&table, ids).unwrap();
            assert_eq!(rows.dims(), [40, 100, 64]);
            let store = (rows * weights).unwrap().sum_all().unwrap().backward().unwrap();
            numbers(store.get(&table).unwrap())
        })
    };
    let expected = bits(1, &ids, &weights);
    assert_eq!(expected, bits(2, &ids, &weights));
    let reversed: Vec<u32> = (0..40).rev().collect();
    let reversed = Tensor::new(reversed, &Device::Cpu).unwrap();
    let turned = |x: &Tensor| x.index_select(&reversed, 0).unwrap();
    assert_ne!(expected, bits(1, &turned(&ids), &turned(&weights)));
}

#[test]
fn ids_that_are_no_rows_are_named() {
    let table = wave(&[5, 2], 0.0);
    let told = |ids: Tensor| embedding(&table, &ids).unwrap_err().to_string();
    assert!(told(Tensor::new(&[0i64, -1], &Device::Cpu).unwrap()).contains("id -1 at place 1"));
    assert!(told(Tensor::new(&[5u32], &Device::Cpu).unwrap()).contains("id 5 at place 0"));
    assert!(told(Tensor::new(&[1f32], &Device::Cpu).unwrap()).contains("whole number"));
    assert!(embedding(&wave(&[5], 0.0), &Tensor::new(&[0u32], &Device::Cpu).unwrap()).is_err());
}
