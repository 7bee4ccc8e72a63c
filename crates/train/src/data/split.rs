//! Training, validation and test parts of data.

use std::collections::BTreeMap;

use wick_init::Key;
use wick_theory::shown;

use crate::error::Error;
use crate::order::Order;

/// The most classes that an error names.
const NAMED: usize = 5;

/// The fractions of the samples that are held out.
///
/// ```
/// use wick_train::data::Parts;
///
/// assert!(Parts::new(0.1, 0.2).is_ok()); // 70 % are left to train on
/// assert!(Parts::new(0.5, 0.5).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parts {
    /// Of training, validation and test.
    fractions: [f64; 3],
}

impl Parts {
    const NAMES: [&'static str; 3] = ["training", "validation", "test"];

    /// Makes the fractions of the validation and the test part, each 0 for none; the rest is for training.
    ///
    /// # Errors
    /// A fraction is NaN, negative or 1 and more, or both leave nothing to train on.
    pub fn new(validation: f64, test: f64) -> Result<Self, Error> {
        for (parameter, value) in [("validation", validation), ("test", test)] {
            if !(0.0..1.0).contains(&value) {
                let range = "a fraction from 0 to below 1";
                return Err(Error::Parameter { parameter, value, range });
            }
        }
        let training = 1.0 - validation - test;
        if training < 1e-9 {
            return Err(Error::NothingToTrain { validation, test });
        }
        Ok(Self { fractions: [training, validation, test] })
    }

    /// Shares out `count` samples: each part has its fraction of them, rounded up or down, and at least one.
    /// Those that rounding down leaves over go to the parts with nothing, then to those that are owed most,
    /// `owed` being what earlier calls rounded away. `None` if they are too few.
    fn shares(&self, count: usize, owed: &mut [f64; 3]) -> Option<[usize; 3]> {
        // A product such as 0.7·10 is a whole number but for rounding.
        let exact = self.fractions.map(|fraction| {
            let share = fraction * count as f64;
            if (share - share.round()).abs() < 1e-9 * count as f64 { share.round() } else { share }
        });
        let mut shares = exact.map(|share| share.floor() as usize);
        let mut left = count.checked_sub(shares.iter().sum())?;
        let mut open: Vec<usize> = (0..3).filter(|&part| exact[part].fract() > 0.0).collect();
        open.sort_by(|&a, &b| {
            let rank = |part: usize| (shares[part] == 0, owed[part] + exact[part].fract());
            let ((a_empty, a_owed), (b_empty, b_owed)) = (rank(a), rank(b));
            b_empty.cmp(&a_empty).then(b_owed.total_cmp(&a_owed)).then(a.cmp(&b))
        });
        for part in open {
            if left > 0 {
                shares[part] += 1;
                left -= 1;
            }
        }
        for part in 0..3 {
            owed[part] += exact[part] - shares[part] as f64;
        }
        let is_empty = |part: usize| self.fractions[part] > 0.0 && shares[part] == 0;
        (left == 0 && !(0..3).any(is_empty)).then_some(shares)
    }

    /// The parts that there are, in words.
    fn names(&self) -> String {
        let names: Vec<&str> =
            (0..3).filter(|&part| self.fractions[part] > 0.0).map(|part| Self::NAMES[part]).collect();
        match names.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
            _ => names.concat(),
        }
    }
}

/// The samples of each part, rising numbers from 0. Together they are all samples, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The samples to train on.
    pub training: Vec<usize>,
    /// The samples by which runs are compared; empty for none.
    pub validation: Vec<usize>,
    /// The samples that are looked at last; empty for none.
    pub test: Vec<usize>,
}

impl Split {
    /// Splits `samples` samples at random, each part's fraction to within one sample.
    ///
    /// The samples are shared out in the order of epoch 0 of [`Order`] with this key.
    ///
    /// # Errors
    /// There are too few for a sample in every part.
    ///
    /// ```
    /// use wick_init::KeyedV1;
    /// use wick_train::data::{Parts, Split};
    ///
    /// let split = Split::random(100, Parts::new(0.1, 0.2)?, KeyedV1::new(42).key("split"))?;
    /// assert_eq!((split.training.len(), split.validation.len(), split.test.len()), (70, 10, 20));
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn random(samples: usize, parts: Parts, key: Key) -> Result<Self, Error> {
        let order = Order::new(samples, key)?;
        let Some(shares) = parts.shares(samples, &mut [0.0; 3]) else {
            return Err(Error::TooFew {
                what: format!("{samples} samples are too few"),
                parts: parts.names(),
            });
        };
        let mut split = [Vec::new(), Vec::new(), Vec::new()];
        share_out(order.epoch(0), shares, &mut split);
        Ok(Self::sorted(split))
    }

    /// Splits samples so that each class has its fraction in every part, to within one sample. The parts have
    /// their fractions of all samples as nearly as that allows.
    ///
    /// The samples of class `c`, in their order, are shared out in the order of epoch `c` of an [`Order`] of
    /// as many samples with this key.
    ///
    /// # Errors
    /// Names the classes that have too few samples for one in every part.
    ///
    /// ```
    /// use wick_init::KeyedV1;
    /// use wick_train::data::{Parts, Split};
    ///
    /// let labels: Vec<u32> = (0..100).map(|sample| u32::from(sample % 10 == 0)).collect();
    /// let key = KeyedV1::new(42).key("split");
    /// let split = Split::stratified(&labels, Parts::new(0.0, 0.2)?, key)?;
    /// let of_class_1 = |part: &[usize]| part.iter().filter(|sample| labels[**sample] == 1).count();
    /// assert_eq!((of_class_1(&split.training), of_class_1(&split.test)), (8, 2));
    ///
    /// let error = Split::stratified(&[0, 0, 0, 1], Parts::new(0.0, 0.25)?, key).unwrap_err().to_string();
    /// assert!(error.starts_with("class 1 (1 sample) is too small for training and test"), "{error}");
    /// # Ok::<(), wick_train::Error>(())
    /// ```
    pub fn stratified(labels: &[u32], parts: Parts, key: Key) -> Result<Self, Error> {
        Self::stratified_by_name(labels, &[], parts, key)
    }

    /// As [`stratified`](Self::stratified), with the names of the classes for errors, if there are any.
    pub(super) fn stratified_by_name(
        labels: &[u32],
        names: &[String],
        parts: Parts,
        key: Key,
    ) -> Result<Self, Error> {
        let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (sample, class) in labels.iter().enumerate() {
            classes.entry(*class).or_default().push(sample);
        }
        if classes.is_empty() {
            return Err(Error::Samples(0));
        }
        let mut split = [Vec::new(), Vec::new(), Vec::new()];
        let (mut owed, mut small) = ([0.0; 3], Vec::new());
        for (class, members) in &classes {
            match parts.shares(members.len(), &mut owed) {
                Some(shares) => {
                    let order = Order::new(members.len(), key)?;
                    let members = order.epoch(u64::from(*class)).map(|place| members[place]);
                    share_out(members, shares, &mut split);
                }
                None => small.push((*class, members.len())),
            }
        }
        if small.is_empty() { Ok(Self::sorted(split)) } else { Err(too_small(&small, names, parts)) }
    }

    fn sorted(mut split: [Vec<usize>; 3]) -> Self {
        split.iter_mut().for_each(|part| part.sort_unstable());
        let [training, validation, test] = split;
        Self { training, validation, test }
    }
}

fn share_out(samples: impl IntoIterator<Item = usize>, shares: [usize; 3], split: &mut [Vec<usize>; 3]) {
    let mut samples = samples.into_iter();
    for (part, share) in split.iter_mut().zip(shares) {
        part.extend(samples.by_ref().take(share));
    }
}

fn too_small(classes: &[(u32, usize)], names: &[String], parts: Parts) -> Error {
    let name = |class: u32| {
        names.get(class as usize).map_or_else(|| class.to_string(), |name| format!("'{}'", shown(name)))
    };
    let named = classes.iter().take(NAMED).map(|(class, count)| {
        format!("{} ({count} sample{})", name(*class), if *count == 1 { "" } else { "s" })
    });
    let mut named = named.collect::<Vec<_>>().join(", ");
    if classes.len() > NAMED {
        named.push_str(&format!(" and {} more", classes.len() - NAMED));
    }
    let (classes, are) = if classes.len() == 1 { ("class", "is") } else { ("classes", "are") };
    Error::TooFew { what: format!("{classes} {named} {are} too small"), parts: parts.names() }
}
