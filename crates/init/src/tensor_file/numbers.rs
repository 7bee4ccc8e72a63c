//! The numbers of a tensor from its bytes.

use half::{bf16, f16};
use safetensors::Dtype;

/// Reads the numbers of a tensor from its bytes.
type Decoder = fn(&[u8]) -> Vec<f64>;

/// The function that reads numbers of this type; `None` for types whose elements are not one number of whole
/// bytes.
pub(super) fn decoder(dtype: Dtype) -> Option<Decoder> {
    Some(match dtype {
        Dtype::BOOL => |bytes| each(bytes, |[x]| f64::from(u8::from(x != 0))),
        Dtype::U8 => |bytes| each(bytes, |[x]| f64::from(x)),
        Dtype::I8 => |bytes| each(bytes, |x| f64::from(i8::from_le_bytes(x))),
        Dtype::U16 => |bytes| each(bytes, |x| f64::from(u16::from_le_bytes(x))),
        Dtype::I16 => |bytes| each(bytes, |x| f64::from(i16::from_le_bytes(x))),
        Dtype::U32 => |bytes| each(bytes, |x| f64::from(u32::from_le_bytes(x))),
        Dtype::I32 => |bytes| each(bytes, |x| f64::from(i32::from_le_bytes(x))),
        Dtype::U64 => |bytes| each(bytes, |x| u64::from_le_bytes(x) as f64),
        Dtype::I64 => |bytes| each(bytes, |x| i64::from_le_bytes(x) as f64),
        Dtype::F16 => |bytes| each(bytes, |x| f64::from(f16::from_le_bytes(x))),
        Dtype::BF16 => |bytes| each(bytes, |x| f64::from(bf16::from_le_bytes(x))),
        Dtype::F32 => |bytes| each(bytes, |x| f64::from(f32::from_le_bytes(x))),
        Dtype::F64 => |bytes| each(bytes, f64::from_le_bytes),
        // The upper byte of an f16.
        Dtype::F8_E5M2 => |bytes| each(bytes, |[x]| f64::from(f16::from_le_bytes([0, x]))),
        Dtype::F8_E4M3 => |bytes| each(bytes, |[x]| e4m3(x)),
        _ => return None,
    })
}

fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|&chunk| number(chunk)).collect()
}

/// A number with four bits of exponent and three of mantissa, which has no infinity (Micikevicius et al. 2022,
/// arXiv 2209.05433).
fn e4m3(x: u8) -> f64 {
    let (exponent, mantissa) = (i32::from(x >> 3 & 15), f64::from(x & 7));
    let magnitude = match (exponent, x & 7) {
        (15, 7) => f64::NAN,
        (0, _) => mantissa * 2f64.powi(-9),
        _ => (8.0 + mantissa) * 2f64.powi(exponent - 10),
    };
    if x < 128 { magnitude } else { -magnitude }
}
