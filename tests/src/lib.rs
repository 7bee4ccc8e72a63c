//! Tests that join the crates with each other and with candle's own models; they stand in `tests/`.
