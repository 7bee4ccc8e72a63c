//! wick-train's schedules against the values of PyTorch's schedulers (`assets/reference/schedules.py`).

use std::collections::BTreeMap;

use wick_train::Schedule;

#[test]
fn schedules_are_those_of_pytorch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/reference/schedules.json");
    let text = std::fs::read_to_string(path).unwrap();
    let mut values: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    values.remove("torch");
    assert!(values.len() >= 10);
    for (spec, values) in values {
        let schedule: Schedule = spec.parse().unwrap();
        for (step, expected) in values.as_array().unwrap().iter().enumerate() {
            let (expected, got) = (expected.as_f64().unwrap(), schedule.at(step as u64));
            assert!((got - expected).abs() < 1e-12, "{spec} at {step}: {got}, PyTorch's is {expected}");
        }
        // A twin: a step later.
        let moved = |step: usize| schedule.at(step as u64 + 1);
        let differs =
            |(step, value): (usize, &serde_json::Value)| (moved(step) - value.as_f64().unwrap()).abs() > 1e-3;
        assert!(values.as_array().unwrap().iter().enumerate().any(differs), "{spec}");
    }
}
