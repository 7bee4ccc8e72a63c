use super::OptimizerSpec;

/// What is written reads back as the same text, and each key is read.
#[test]
fn specs_read_back() {
    for spec in [
        "adamw",
        "adamw:lr=0.003,beta1=0.8,beta2=0.95,eps=0.001,weight_decay=0.5",
        "sgd:lr=0.1,momentum=0.5,nesterov=true,weight_decay=0.25",
        "lion:lr=0.1,beta1=0.5,beta2=0.75,weight_decay=0.125",
        "muon:lr=0.5,momentum=0.5,nesterov=false,bias_correction=true,scaling=match_rms_adamw,iterations=3,\
         eps=0.1,weight_decay=0,adamw_rate=0.5,beta1=0.5,beta2=0.25,adamw_eps=0.1",
        "schedule_free:lr=0.5,beta1=0.5,beta2=0.5,eps=0.5,weight_decay=0.5,rate_power=1",
    ] {
        assert_eq!(spec.parse::<OptimizerSpec>().unwrap().to_string(), spec);
    }
    assert_eq!("Schedule-Free:lr=0.0025".parse::<OptimizerSpec>().unwrap().to_string(), "schedule_free");
    assert_eq!("adamw:lr=1/8".parse::<OptimizerSpec>().unwrap().learning_rate(), 0.125);
}

#[test]
fn what_cannot_be_read_is_named() {
    for (spec, part) in [
        ("adagrad", "unknown optimizer 'adagrad'"),
        ("adamw:rate=1", "adamw takes no rate="),
        ("adamw:lr=nan", "lr=nan is not a finite number"),
        ("sgd:momentum=1", "momentum"),
        ("sgd:nesterov=maybe", "nesterov= is true or false"),
        ("lion:lr=-1", "learning rate"),
        ("muon:iterations=0", "iterations=0 is not a whole number above 0"),
    ] {
        let error = spec.parse::<OptimizerSpec>().unwrap_err().to_string();
        assert!(error.contains(part), "{spec}: {error}");
    }
}
