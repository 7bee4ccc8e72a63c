//! tmp
#![allow(missing_docs, clippy::unwrap_used)]
mod peak;
use std::time::Instant;
use wick_kernels::Level;
use wick_kernels::gemm::{Into, Matrix, gemm};
fn median(mut f: impl FnMut()) -> f64 {
    let mut t: Vec<f64> = (0..9)
        .map(|_| {
            let s = Instant::now();
            f();
            s.elapsed().as_secs_f64()
        })
        .collect();
    t.sort_by(f64::total_cmp);
    t[4]
}
fn main() {
    let peak = (0..3).map(|_| peak::flops()).fold(0.0, f64::max);
    let buf = vec![1f32; 64 << 20];
    let bw = (0..3).map(|_| peak::bandwidth(&buf)).fold(0.0, f64::max);
    println!("peak {peak:.0} GFLOP/s {bw:.1} GB/s");
    let (m, k, n) = (2000usize, 800, 750);
    let x = vec![0.5f32; m * k];
    let w = vec![0.25f32; n * k];
    let mut c = vec![0f32; m * n];
    let mut dw = vec![0f32; n * k];
    let mut dx = vec![0f32; m * k];
    for level in Level::available().skip(1) {
        let fl = 2.0 * (m * n * k) as f64 * 1e-9;
        let nt = median(|| {
            gemm(
                level,
                Matrix::new(&x, m, k).unwrap(),
                Matrix::new(&w, n, k).unwrap().t(),
                &mut c,
                Into::Set,
                |_, _| {},
            )
        });
        let nn = median(|| {
            gemm(
                level,
                Matrix::new(&c, m, n).unwrap(),
                Matrix::new(&w, n, k).unwrap(),
                &mut dx,
                Into::Set,
                |_, _| {},
            )
        });
        let tn = median(|| {
            gemm(
                level,
                Matrix::new(&c, m, n).unwrap().t(),
                Matrix::new(&x, m, k).unwrap(),
                &mut dw,
                Into::Set,
                |_, _| {},
            )
        });
        println!(
            "{level:?} NT {:.2} ms {:.0}; NN {:.2} ms {:.0}; TN {:.2} ms {:.0} GFLOP/s",
            nt * 1e3,
            fl / nt,
            nn * 1e3,
            fl / nn,
            tn * 1e3,
            fl / tn
        );
        for b in [1usize, 32] {
            let mut y = vec![0f32; b * n];
            let t = median(|| {
                gemm(
                    level,
                    Matrix::new(&x[..b * k], b, k).unwrap(),
                    Matrix::new(&w, n, k).unwrap().t(),
                    &mut y,
                    Into::Set,
                    |_, _| {},
                )
            });
            println!("   batch {b}: {:.1} us", t * 1e6);
        }
    }
    let (xd, wd) = (vec![0.5f64; m * k], vec![0.25f64; n * k]);
    let mut cd = vec![0f64; m * n];
    let nt = median(|| {
        gemm(
            Level::best(),
            Matrix::new(&xd, m, k).unwrap(),
            Matrix::new(&wd, n, k).unwrap().t(),
            &mut cd,
            Into::Set,
            |_, _| {},
        )
    });
    println!("f64 NT {:.2} ms {:.0}", nt * 1e3, 2.0 * (m * n * k) as f64 * 1e-9 / nt);
}
