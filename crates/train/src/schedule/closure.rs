//! A schedule by any function of the step.

use std::fmt;
use std::sync::Arc;

/// A function of the step with a name. Two are equal if they are the same function, not if they give the same
/// numbers.
#[derive(Clone)]
pub struct Closure {
    name: String,
    f: Arc<dyn Fn(u64) -> f64 + Send + Sync>,
}

impl Closure {
    pub(super) fn new(name: String, f: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self { name, f: Arc::new(f) }
    }

    /// The name that it was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn at(&self, step: u64) -> f64 {
        (self.f)(step)
    }
}

impl PartialEq for Closure {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.f, &other.f)
    }
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Closure").field(&self.name).finish()
    }
}
