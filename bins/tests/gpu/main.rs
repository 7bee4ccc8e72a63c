//! Compares the results of a GPU with those of the CPU. Without a GPU every test is listed as ignored, with
//! the reason in brackets.

#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

mod kernels;
mod layers;
mod nets;
mod numbers;
mod optimizers;
mod programs;
mod statistics;
#[path = "../support/mod.rs"]
mod support;
mod weights;

use std::process::ExitCode;

use candle_core::Device;
use libtest_mimic::{Arguments, Trial};
use wick_bins::device::DeviceChoice;

/// The name of a test, and the test.
type Test = (&'static str, fn(&Device));

/// Opens the GPU, or returns the reason why there is none.
fn gpu() -> Result<Device, String> {
    if !cfg!(feature = "cuda") {
        return Err("built without the feature cuda".into());
    }
    // The programs open the device in the same way.
    let opened = DeviceChoice::Cuda(0).open();
    opened
        .map(|(device, _)| device)
        .map_err(|error| format!("no GPU: {}", error.to_string().lines().next().unwrap_or_default()))
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A device's stream belongs to the thread that opened it.
    arguments.test_threads = Some(1);
    let gpu = gpu();
    let tests = [
        kernels::TESTS,
        layers::TESTS,
        statistics::TESTS,
        optimizers::TESTS,
        weights::TESTS,
        nets::TESTS,
        programs::TESTS,
    ];
    let trial = |(name, test): &Test| match &gpu {
        Ok(device) => {
            let (test, device) = (*test, device.clone());
            Trial::test(*name, move || {
                test(&device);
                Ok(())
            })
        }
        Err(reason) => {
            let reason = reason.clone();
            Trial::test(*name, || Err(reason.into()))
                .with_ignored_flag(true)
                .with_kind(gpu.as_ref().unwrap_err())
        }
    };
    let trials = tests.into_iter().flatten().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
