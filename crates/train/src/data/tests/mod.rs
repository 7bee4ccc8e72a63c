mod idx;
mod memory;
mod split;
mod standardization;
