//! The pages of the documentation against the crates.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::collections::BTreeSet;

use wick_init::Initializer;

const PAGE: &str = include_str!("../../docs/initializers.md");
const CATALOGUE: &str = include_str!("../../crates/init/CATALOGUE.md");

/// The names that the page of initializers links to, by the anchors of the catalogue.
fn linked() -> BTreeSet<&'static str> {
    let links = PAGE.split("](../crates/init/CATALOGUE.md#").skip(1);
    links.map(|rest| rest.split(')').next().unwrap()).collect()
}

/// The section of the catalogue with the anchor of a name.
fn section(name: &str) -> &'static str {
    let anchor = format!("<a id=\"{name}\"></a>");
    CATALOGUE.split("\n## ").find(|section| section.contains(&anchor)).unwrap()
}

/// The table translates the names of other libraries. So it must have each name that begins with a library's,
/// and each name whose section in the catalogue names a library.
#[test]
fn the_page_of_initializers_has_every_name_with_a_counterpart() {
    let linked = linked();
    for name in Initializer::names() {
        let has_counterpart =
            ["PyTorch", "JAX", "Keras", "timm"].iter().any(|library| section(name).contains(library));
        assert!(linked.contains(name) || !(name.contains('.') || has_counterpart), "{name}");
    }
}

#[test]
fn every_link_of_the_page_is_a_name() {
    let names: BTreeSet<&str> = Initializer::names().collect();
    for name in linked() {
        assert!(names.contains(name), "{name}");
        assert!(PAGE.contains(&format!("[`{name}`](../crates/init/CATALOGUE.md#{name})")), "{name}");
    }
}
