//! Variables that are set back.

use candle_core::{Result, Tensor, Var};

/// Copies of variables, which get their numbers back when this is dropped, also by a panic.
pub(crate) struct Kept {
    vars: Vec<Var>,
    pub(crate) copies: Vec<Tensor>,
    is_restored: bool,
}

impl Kept {
    pub(crate) fn of<'v>(vars: impl Iterator<Item = &'v Var>) -> Result<Self> {
        let vars: Vec<Var> = vars.cloned().collect();
        let copies = vars.iter().map(|var| var.as_tensor().copy()).collect::<Result<_>>()?;
        Ok(Self { vars, copies, is_restored: false })
    }

    /// Sets the variables to what they were.
    pub(crate) fn set(&self) -> Result<()> {
        self.vars.iter().zip(&self.copies).try_for_each(|(var, copy)| var.set(copy))
    }

    /// Sets the variables to what they were, and reports an error of the device.
    pub(crate) fn restore(mut self) -> Result<()> {
        self.is_restored = true;
        self.set()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.is_restored {
            // There is nobody to tell of an error.
            let _ = self.set();
        }
    }
}
