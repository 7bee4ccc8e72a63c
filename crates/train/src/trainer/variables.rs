//! The variables of a model by name, and their groups.

use std::collections::BTreeMap;

use candle_core::{DType, Var};
use candle_nn::VarMap;
use wick_init::{InitMap, Pattern};
use wick_kernels::Named;

use crate::error::Error;

/// What has variables with names: [`InitMap`], candle's [`VarMap`], and lists.
pub trait NamedVars {
    /// The variables, in the order of their names or of the list.
    fn named_vars(&self) -> Vec<(String, Var)>;
}

impl NamedVars for InitMap {
    fn named_vars(&self) -> Vec<(String, Var)> {
        Self::named_vars(self)
    }
}

impl NamedVars for VarMap {
    fn named_vars(&self) -> Vec<(String, Var)> {
        let vars = self.data().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let sorted: BTreeMap<&String, &Var> = vars.iter().collect();
        sorted.into_iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }
}

impl NamedVars for [(String, Var)] {
    fn named_vars(&self) -> Vec<(String, Var)> {
        self.to_vec()
    }
}

impl NamedVars for Vec<(String, Var)> {
    fn named_vars(&self) -> Vec<(String, Var)> {
        self.clone()
    }
}

/// What is particular to some variables: those whose name and shape the pattern matches. A variable belongs to
/// the first group that matches it; one that none matches has the optimizer's learning rate and weight decay.
///
/// ```
/// use wick_train::Group;
///
/// let groups = [Group::new("embedding.**")?.frozen(), Group::new("**.bias")?.with_decay(0.0)];
/// assert_eq!(groups[1].decay, Some(0.0));
/// # Ok::<(), wick_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Group {
    /// The pattern, as rules of initialization have it.
    pub pattern: Pattern,
    /// What the learning rate is multiplied by. 1.
    pub rate: f64,
    /// The weight decay; `None` for the optimizer's.
    pub decay: Option<f64>,
    /// Whether the variables stay as they are.
    pub frozen: bool,
    /// Whether Muon steps the variables by AdamW although they are matrices.
    pub elementwise: bool,
}

impl Group {
    /// The variables that a pattern matches, with nothing particular yet.
    ///
    /// # Errors
    /// The pattern cannot be read.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let pattern = pattern.parse::<Pattern>().map_err(|error| Error::Settings(error.to_string()))?;
        Ok(Self { pattern, rate: 1.0, decay: None, frozen: false, elementwise: false })
    }

    /// Multiplies the learning rate.
    pub fn with_rate(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    /// Sets the weight decay.
    pub fn with_decay(self, decay: f64) -> Self {
        Self { decay: Some(decay), ..self }
    }

    /// Leaves the variables as they are.
    pub fn frozen(self) -> Self {
        Self { frozen: true, ..self }
    }

    /// Has Muon step the variables by AdamW.
    pub fn elementwise(self) -> Self {
        Self { elementwise: true, ..self }
    }
}

/// The last parts of the names of statistics that a forward pass of training updates.
const BUFFERS: [&str; 3] = ["running_mean", "running_var", "num_batches_tracked"];

/// The variables of a run.
#[derive(Debug, Clone)]
pub(crate) struct Variables {
    /// All variables, buffers too, with what is particular to them.
    pub(crate) all: Vec<Named>,
}

impl Variables {
    pub(crate) fn new(vars: Vec<(String, Var)>, groups: &[Group], rates: &[(Var, f64)]) -> Self {
        let named = |(name, var): (String, Var)| {
            let mut named = Named::new(name, var);
            if let Some((_, rate)) = rates.iter().find(|(var, _)| var.id() == named.var.id()) {
                named.rate = *rate;
            }
            if let Some(group) =
                groups.iter().find(|group| group.pattern.matches(&named.name, named.var.dims()))
            {
                named.rate *= group.rate;
                named.decay = group.decay;
                (named.frozen, named.elementwise) = (group.frozen, group.elementwise);
            }
            named.frozen |= is_buffer(&named.name);
            named
        };
        Self { all: vars.into_iter().map(named).collect() }
    }

    /// Refuses groups and rates that are of no variable.
    pub(crate) fn check(&self, groups: &[Group], rates: &[(Var, f64)]) -> Result<(), Error> {
        let matches = |group: &Group, named: &Named| group.pattern.matches(&named.name, named.var.dims());
        if let Some(group) = groups.iter().find(|group| !self.all.iter().any(|named| matches(group, named))) {
            let text = format!("no variable matches the group `{}`: look at its pattern", group.pattern);
            return Err(Error::Settings(text));
        }
        let is_here = |var: &Var| self.all.iter().any(|named| named.var.id() == var.id());
        match rates.iter().position(|(var, _)| !is_here(var)) {
            Some(place) => {
                let text = format!("rate {place} is of a variable that the trainer does not have");
                Err(Error::Settings(text))
            }
            None => Ok(()),
        }
    }

    /// The variables that an optimizer takes.
    pub(crate) fn trainable(&self) -> Vec<Named> {
        let is_float =
            |named: &&Named| matches!(named.var.dtype(), DType::F32 | DType::F64 | DType::BF16 | DType::F16);
        self.all.iter().filter(is_float).cloned().collect()
    }

    /// The variables that are to be trained, and so need a gradient.
    pub(crate) fn trained(&self) -> impl Iterator<Item = &Named> {
        self.all.iter().filter(|named| !named.frozen)
    }

    /// The statistics that forward passes update.
    pub(crate) fn buffers(&self) -> impl Iterator<Item = &Named> {
        self.all.iter().filter(|named| is_buffer(&named.name))
    }
}

/// Whether a name is that of a statistic that forward passes update.
pub(crate) fn is_buffer(name: &str) -> bool {
    name.rsplit(['.', '/']).next().is_some_and(|last| BUFFERS.contains(&last))
}
