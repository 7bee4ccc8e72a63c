mod idx;
mod labels;
mod memory;
mod samples;
mod split;
mod standardization;
