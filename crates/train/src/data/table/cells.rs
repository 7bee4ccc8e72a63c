//! The cells of a column of text.

use std::collections::HashMap;

/// The texts of a column, each different one held once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::data) struct Cells {
    /// The different texts, in the order in which they came first.
    texts: Vec<String>,
    /// The text of each row, by its place in `texts`.
    rows: Vec<u32>,
    places: HashMap<String, u32>,
}

impl Cells {
    pub(super) fn push(&mut self, text: &str) {
        let place = match self.places.get(text) {
            Some(place) => *place,
            None => {
                let place = self.texts.len() as u32;
                self.texts.push(text.to_owned());
                self.places.insert(text.to_owned(), place);
                place
            }
        };
        self.rows.push(place);
    }

    pub(in crate::data) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The different texts.
    pub(in crate::data) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The place of each row's text among the different ones.
    pub(in crate::data) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Removes the first row, and its text if no other row has it.
    pub(super) fn remove_first(&mut self) {
        // The first row has the first text.
        if !self.rows.is_empty() {
            self.rows.remove(0);
        }
        if !self.rows.contains(&0) && !self.texts.is_empty() {
            self.texts.remove(0);
            self.rows.iter_mut().for_each(|place| *place -= 1);
            self.places = self.texts.iter().cloned().zip(0..).collect();
        }
    }
}
