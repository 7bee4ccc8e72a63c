//! A number by which data are told apart.

use std::hash::Hasher;

use candle_core::{CpuStorage, Storage, Tensor};
use siphasher::sip::SipHasher24;

use crate::data::rows;
use crate::error::Error;

/// SipHash-2-4 (both keys 0) of lists that are told apart by their lengths. All numbers are hashed with the low
/// byte first, so that the result is the same on every machine.
pub(in crate::data) struct Fingerprint(SipHasher24);

impl Fingerprint {
    pub(in crate::data) fn new() -> Self {
        Self(SipHasher24::new())
    }

    pub(in crate::data) fn finish(&self) -> u64 {
        self.0.finish()
    }

    pub(in crate::data) fn add_numbers(&mut self, numbers: impl ExactSizeIterator<Item = u64>) {
        self.add_number(numbers.len() as u64);
        numbers.for_each(|number| self.add_number(number));
    }

    fn add_number(&mut self, number: u64) {
        self.0.write(&number.to_le_bytes());
    }

    pub(in crate::data) fn add_texts(&mut self, texts: &[String]) {
        self.add_number(texts.len() as u64);
        for text in texts {
            self.add_text(text);
        }
    }

    fn add_text(&mut self, text: &str) {
        self.add_number(text.len() as u64);
        self.0.write(text.as_bytes());
    }

    /// Adds the type, the shape and the numbers of a tensor.
    pub(in crate::data) fn add_tensor(&mut self, tensor: &Tensor) -> Result<(), Error> {
        self.add_text(tensor.dtype().as_str());
        self.add_numbers(tensor.dims().iter().map(|size| *size as u64));
        let tensor = rows::held(tensor)?;
        let (storage, layout) = tensor.storage_and_layout();
        let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
            return Err(Error::Type(tensor.dtype()));
        };
        let at = start..end;
        match storage {
            CpuStorage::U8(xs) => self.0.write(&xs[at]),
            CpuStorage::U32(xs) => self.add_bytes(&xs[at], u32::to_le_bytes),
            CpuStorage::I16(xs) => self.add_bytes(&xs[at], i16::to_le_bytes),
            CpuStorage::I32(xs) => self.add_bytes(&xs[at], i32::to_le_bytes),
            CpuStorage::I64(xs) => self.add_bytes(&xs[at], i64::to_le_bytes),
            CpuStorage::BF16(xs) => self.add_bytes(&xs[at], half::bf16::to_le_bytes),
            CpuStorage::F16(xs) => self.add_bytes(&xs[at], half::f16::to_le_bytes),
            // One pattern of bits stands for every missing number.
            CpuStorage::F32(xs) => {
                self.add_bytes(&xs[at], |x| if x.is_nan() { f32::NAN } else { x }.to_le_bytes());
            }
            CpuStorage::F64(xs) => {
                self.add_bytes(&xs[at], |x| if x.is_nan() { f64::NAN } else { x }.to_le_bytes());
            }
            _ => return Err(Error::Type(tensor.dtype())),
        }
        Ok(())
    }

    fn add_bytes<T: Copy, const N: usize>(&mut self, xs: &[T], bytes: impl Fn(T) -> [u8; N]) {
        let mut buffer = Vec::with_capacity(N << 10);
        for chunk in xs.chunks(1 << 10) {
            buffer.clear();
            chunk.iter().for_each(|x| buffer.extend(bytes(*x)));
            self.0.write(&buffer);
        }
    }
}
