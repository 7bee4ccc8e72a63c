//! What is good enough.

use super::outcome::Point;

/// Whether a point of the course has reached what a run is for.
pub(crate) struct Goal<'a>(pub(crate) Box<dyn Fn(&Point) -> bool + 'a>);

impl std::fmt::Debug for Goal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Goal")
    }
}
