//! The README and each page of `docs/`, whose code blocks are compiled and run.

macro_rules! documents {
    ($($name:ident: $path:literal,)*) => { $(#[doc = include_str!($path)] mod $name {})* };
}

documents! {
    readme: "../../README.md",
}
