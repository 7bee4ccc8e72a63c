//! Valid inputs, which are edited, and the lengths in them, which edits make wrong.

use wick_init::presets;

pub(crate) fn csv() -> Vec<Vec<u8>> {
    ["a,b\n1, 2\n3,4\n", "1,2\n3,4", "0,1,2\n5,6,7\r\n", "\"a\nb\",c\n1e3,-2.5\n", "1\n2\n\n3\n"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

pub(crate) fn npy() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for (descr, size, order) in [
        ("<f8", 8, "False"),
        ("<f4", 4, "True"),
        (">i8", 8, "False"),
        ("|b1", 1, "False"),
        ("<u2", 2, "True"),
    ] {
        for version in [1, 2] {
            let mut bytes = b"\x93NUMPY".to_vec();
            bytes.extend([version, 0]);
            bytes.extend([0; 2].iter().chain(if version == 1 { &[][..] } else { &[0; 2] }));
            let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': (2, 3), }}\n");
            bytes.extend(header.bytes());
            let numbers = bytes.len();
            bytes.resize(numbers + 6 * size, 0);
            set_npy_length(&mut bytes, numbers);
            files.push(bytes);
        }
    }
    files
}

/// Makes the length in the header that of the header's text, up to the end of its line.
pub(crate) fn repair_npy(bytes: &mut [u8]) {
    if let Some(line) = bytes.iter().skip(12).position(|byte| *byte == b'\n') {
        set_npy_length(bytes, line + 13);
    }
}

fn set_npy_length(bytes: &mut [u8], end: usize) {
    match bytes.get(6) {
        Some(1) => bytes[8..10].copy_from_slice(&((end - 10) as u16).to_le_bytes()),
        Some(_) if end >= 12 => bytes[8..12].copy_from_slice(&((end - 12) as u32).to_le_bytes()),
        _ => {}
    }
}

pub(crate) fn safetensors() -> Vec<Vec<u8>> {
    let headers = [
        (r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#, 24),
        (
            r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F64","shape":[1,2],"data_offsets":[0,16]},"b":{"dtype":"BOOL","shape":[3],"data_offsets":[16,19]}}"#,
            19,
        ),
        (
            r#"{"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},"w.#":{"dtype":"I64","shape":[],"data_offsets":[8,16]},"z":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[16,16]}}"#,
            16,
        ),
        ("{}", 0),
    ];
    headers.map(|(header, data)| file(header.as_bytes(), data)).to_vec()
}

fn file(header: &[u8], data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header, &vec![0; data][..]].concat()
}

/// Makes the length before the header that of the header, up to the last brace.
pub(crate) fn repair_safetensors(bytes: &mut [u8]) {
    if let Some(end) = bytes.iter().rposition(|byte| *byte == b'}').filter(|end| *end >= 8) {
        let length = (end - 7) as u64;
        bytes[..8].copy_from_slice(&length.to_le_bytes());
    }
}

pub(crate) fn rules() -> Vec<Vec<u8>> {
    let mut files = vec![
        "strict = true\n[[rule]]\npattern = \"**.weight [*, *]\"\ninit = \"kaiming_normal:gain=tanh,mode=fan_out\"\n\
         groups = 2\nlearning_rate = 0.5\nlayers = 12\n[[rule]]\npattern = 'a.*'\ninit = \"torch.bias\"\n"
            .into(),
        "[[rule]]\npattern = \"x\"\ninit = \"icnr:factor=2\"\ntransposed = true\nstride = 3\ngroups = 2\n\
         learning_rate = \"256/fan_in\"\n"
            .into(),
        "rule = [{pattern = \"[3, ..]\", init = \"zeros\", parts = 3}, {pattern = '**', init = 'ones', embedding = true}]"
            .into(),
    ];
    for name in ["mup", "keras"] {
        files.push(crate::rules::printed(&presets::by_name(name, 2, 64.0).unwrap().unwrap()).unwrap());
    }
    files.into_iter().map(String::into_bytes).collect()
}

pub(crate) fn parts() -> Vec<Vec<u8>> {
    let experiment = r#""experiment":{"activation":"tanh","sigma_w":[1.0,2.0],"sigma_b":[0.0,1.0],"grid":[2,2],"width":8,"depth":4,"samples":2,"dtype":"f32","device":"cpu","seed":42}"#;
    let cell = |w: u8, b: u8| {
        let (sigma_w, sigma_b) = (f64::from(w) + 1.0, f64::from(b));
        format!(
            r#"{{"at":[{w},{b}],"sigma_w":{sigma_w:?},"sigma_b":{sigma_b:?},"measured":{{"q":0.5,"c":null,"chi_1":1e-3}},"predicted":null}}"#
        )
    };
    let whole = [cell(0, 0), cell(1, 0), cell(0, 1), cell(1, 1)].join(",");
    [
        format!("{{{experiment},\"critical\":[],\"cells\":[{whole}]}}"),
        format!("{{{experiment},\"cells\":[]}}"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

pub(crate) const SPECS: [&str; 22] = [
    "zeros",
    "constant:value=0.25",
    "normal:std=0.02",
    "normal:variance=4,mean=-1",
    "uniform:bound=0.1",
    "uniform:low=-1,high=2",
    "truncated_normal:std=0.02,low=-1,high=1",
    "xavier_uniform:gain=tanh,mode=fan_in",
    "kaiming_normal:gain=torch.leaky_relu,mode=fan_out",
    "variance_scaling:scale=2,mode=fan_avg,distribution=uniform",
    "siren_hidden:omega=30",
    "recurrent:gates=4",
    "orthogonal:gain=1.5",
    "sparse:sparsity=0.1,std=0.01",
    "icnr:factor=2,base=normal,std=0.02",
    "forget_gate:value=1",
    "bilinear",
    "dirac:groups=2",
    "torch.kaiming_uniform:a=1,mode=fan_out",
    "jax.variance_scaling:scale=2,distribution=normal",
    "keras.random_uniform:minval=-1,maxval=1",
    "timm.trunc_normal_tf:std=0.02,a=-3,b=3",
];

pub(crate) const PATTERNS: [&str; 6] =
    ["**", "encoder.**.weight [*, *]", "a.*.b*c", "[*, 3, ..]", "[]", "**.layer_*.w*t [2, *, *, ..]"];
