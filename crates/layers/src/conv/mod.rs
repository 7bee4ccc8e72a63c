//! Convolutions: candle-nn's layers over ops whose gradients are right and fast.

mod plain;
mod transposed;

pub use candle_nn::{Conv1dConfig, Conv2dConfig, ConvTranspose1dConfig, ConvTranspose2dConfig};
pub use plain::{Conv1d, Conv2d, conv1d, conv1d_no_bias, conv2d, conv2d_no_bias};
pub use transposed::{
    ConvTranspose1d, ConvTranspose2d, conv_transpose1d, conv_transpose1d_no_bias, conv_transpose2d,
    conv_transpose2d_no_bias,
};

use candle_core::{Result, bail};

/// The input channels of a group.
fn of_group(channels: usize, groups: usize) -> Result<usize> {
    match channels.checked_div(groups) {
        Some(of_group) if channels.is_multiple_of(groups) => Ok(of_group),
        _ => bail!("{channels} channels cannot be split into {groups} groups"),
    }
}
