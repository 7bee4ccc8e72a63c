//! Why a table cannot be read, before its file is named.

use std::path::PathBuf;

use crate::error::Error;

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::data) enum Reason {
    /// What is wrong, and where.
    #[error("{0}")]
    Text(String),
    /// A number is missing.
    #[error("{0}")]
    Missing(String),
    /// The numbers take more memory than is free.
    #[error("{}", Error::memory(*.needed, *.free, .remedy))]
    Memory { needed: f64, free: f64, remedy: &'static str },
}

impl Reason {
    /// The error of a file, or of another source of this name.
    pub(in crate::data) fn of(self, name: &str) -> Error {
        let path = PathBuf::from(name);
        match self {
            Self::Text(reason) => Error::File { path, reason },
            Self::Missing(reason) => Error::Missing { path, reason },
            Self::Memory { needed, free, remedy } => Error::Memory { path, needed, free, remedy },
        }
    }

    /// Refuses to take more bytes than are free.
    pub(super) fn check_memory(needed: f64, free: Option<u64>, remedy: &'static str) -> Result<(), Self> {
        match free.map(|free| free as f64) {
            Some(free) if needed > free => Err(Self::Memory { needed, free, remedy }),
            _ => Ok(()),
        }
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<std::io::Error> for Reason {
    fn from(error: std::io::Error) -> Self {
        Self::Text(error.to_string().lines().collect::<Vec<_>>().join(" "))
    }
}

impl From<candle_core::Error> for Reason {
    fn from(error: candle_core::Error) -> Self {
        // candle appends backtraces to its errors.
        Self::Text(error.to_string().lines().next().unwrap_or_default().to_owned())
    }
}
