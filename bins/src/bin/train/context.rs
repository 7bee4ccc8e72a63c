//! What all starts have in common.

use wick_bins::args::Target;
use wick_model::MlpConfig;
use wick_train::Config;
use wick_train::data::Prepared;

use crate::options::Args;

/// The options, the data, the settings and the net.
pub(crate) struct Context<'a> {
    pub(crate) args: &'a Args,
    pub(crate) data: &'a Prepared,
    pub(crate) config: &'a Config,
    pub(crate) net: &'a MlpConfig,
    pub(crate) target: &'a Target,
}
