//! Tasks as text: `name` or `name:key=value,…`.

use std::fmt;
use std::str::FromStr;

use wick_theory::nearest_names;
use wick_theory::spec::{Pairs, SpecError, name_and_pairs, shortened, spellings};

use super::Synthetic;
use crate::error::Error;

/// The tasks at their defaults.
const TASKS: [(&str, Synthetic); 3] = [
    (
        "teacher",
        Synthetic::Teacher { features: 20, width: 20, depth: 2, classes: 5, samples: 2000, test: 1000 },
    ),
    ("linear", Synthetic::Linear { features: 32, outputs: 10, samples: 64, test: 64 }),
    ("mnist1d", Synthetic::Mnist1d { samples: 4000, test: 1000 }),
];

/// The most numbers that the samples of a task have in a layer, and the most that a matrix of weights has.
const MOST: usize = 1 << 30;

/// The most hidden layers of a teacher.
const MOST_LAYERS: usize = 1000;

impl Synthetic {
    /// Lists all names that can be read as a SPEC.
    ///
    /// ```
    /// assert!(wick_train::data::Synthetic::names().any(|name| name == "mnist1d"));
    /// ```
    pub fn names() -> impl Iterator<Item = &'static str> {
        TASKS.iter().map(|(name, _)| *name)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Teacher { .. } => "teacher",
            Self::Linear { .. } => "linear",
            Self::Mnist1d { .. } => "mnist1d",
        }
    }

    fn parameters(&mut self) -> Vec<(&'static str, &mut usize)> {
        match self {
            Self::Teacher { features, width, depth, classes, samples, test } => vec![
                ("features", features),
                ("width", width),
                ("depth", depth),
                ("classes", classes),
                ("samples", samples),
                ("test", test),
            ],
            Self::Linear { features, outputs, samples, test } => {
                vec![("features", features), ("outputs", outputs), ("samples", samples), ("test", test)]
            }
            Self::Mnist1d { samples, test } => vec![("samples", samples), ("test", test)],
        }
    }

    fn read(&mut self, pairs: &mut Pairs) -> Result<(), SpecError> {
        for (key, parameter) in self.parameters() {
            *parameter = pairs.count(key)?.unwrap_or(*parameter);
        }
        if let Self::Teacher { classes: 1, .. } = self {
            return Err(SpecError::new("classes=1 is nothing to tell apart: use 2 or more"));
        }
        if matches!(*self, Self::Teacher { depth, .. } if depth > MOST_LAYERS) {
            return Err(SpecError::new("it has more than 1000 hidden layers: use a smaller depth"));
        }
        let [samples, test] = self.samples();
        let (widest, weights) = self.sizes();
        if samples.saturating_add(test).saturating_mul(widest) > MOST {
            return Err(SpecError::new(
                "its samples have more than 2^30 numbers in a layer: use fewer samples, or smaller layers",
            ));
        }
        if weights > MOST {
            return Err(SpecError::new(
                "a matrix of its weights has more than 2^30 numbers: use smaller layers",
            ));
        }
        Ok(())
    }
}

impl FromStr for Synthetic {
    type Err = Error;

    fn from_str(spec: &str) -> Result<Self, Error> {
        let (name, rest) = name_and_pairs(spec);
        let named = |name: &String| TASKS.into_iter().find(|(known, _)| known == name);
        let Some((_, mut task)) = spellings(name).iter().find_map(named) else {
            let similar = nearest_names(name, Self::names());
            let known = Self::names().collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownTask { name: shortened(name), similar, known });
        };
        let unreadable = |reason: String| Error::Spec { what: "task", spec: shortened(spec), reason };
        let mut pairs = Pairs::parse(rest).map_err(|error| unreadable(error.to_string()))?;
        task.read(&mut pairs).map_err(|error| unreadable(error.to_string()))?;
        match pairs.left_over() {
            Some(key) => Err(unreadable(pairs.not_taken(name, key))),
            None => Ok(task),
        }
    }
}

/// Writes the SPEC, without the parameters that have their defaults.
impl fmt::Display for Synthetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = |task: &Self| -> Vec<(&'static str, usize)> {
            task.clone().parameters().into_iter().map(|(key, value)| (key, *value)).collect()
        };
        let name = self.name();
        let default = TASKS.iter().find(|(known, _)| *known == name).map(|(_, task)| pairs(task));
        let default = default.unwrap_or_default();
        let given = pairs(self).into_iter().filter(|pair| !default.contains(pair));
        let given: Vec<String> = given.map(|(key, value)| format!("{key}={value}")).collect();
        match given.is_empty() {
            true => f.write_str(name),
            false => write!(f, "{name}:{}", given.join(",")),
        }
    }
}
