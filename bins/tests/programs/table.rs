//! The programs: one row each, which drives every test that holds for all of them.

/// What a program's output depends on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Depends {
    /// The arguments alone.
    Arguments,
    /// The seed too.
    Seed,
    /// The clock too. Such a program has types of its own and refuses `--dtype`.
    Clock,
}

/// A program.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Arguments that keep the run small.
    pub(crate) small: &'static [&'static str],
    pub(crate) depends: Depends,
    /// The rows of the CSV with these arguments.
    pub(crate) rows: usize,
    /// The keys of the JSON, which bins/README.md promises, by the pointer to their object.
    pub(crate) keys: &'static [(&'static str, &'static str)],
}

pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "layer-stats",
        small: &["--samples", "300", "--features", "200", "--widths", "150,100,50"],
        depends: Depends::Seed,
        rows: 9,
        keys: &[
            ("", "experiment ranking runs"),
            (
                "/experiment",
                "activation bias_std data device dtype features left_out left_out_columns samples seed standardized",
            ),
            ("/runs/0", "faults init layers verdict"),
            ("/runs/0/layers/0", "backward fan_in fan_out forward name predicted"),
            ("/runs/0/layers/0/predicted", "backward_high backward_low backward_rms std std_high std_low"),
            ("/runs/0/layers/0/forward", "histogram max mean min saturated std"),
            ("/runs/0/layers/0/forward/histogram", "counts high low"),
            ("/runs/0/layers/0/backward", "mean rms std"),
        ],
    },
    Program {
        name: "forward-backward",
        small: &["--batch", "7", "--hidden", "9"],
        depends: Depends::Seed,
        rows: 7,
        keys: &[
            ("", "checks loss network objective penalty values"),
            ("/network", "activation batch device dtype features hidden init lambda loss outputs seed"),
            ("/values/0", "name shape values"),
            ("/checks/0", "autograd compared finite_difference name shape"),
        ],
    },
    Program {
        name: "activation-gradient",
        small: &["--activation", "mish", "--activation", "hardtanh"],
        depends: Depends::Arguments,
        rows: 320,
        keys: &[("", "curves device dtype"), ("/curves/0", "activation gradient max_difference value x")],
    },
    Program {
        name: "matrix-product",
        small: &["--trials", "3", "--factors", "20"],
        depends: Depends::Seed,
        rows: 63,
        keys: &[
            ("", "device dtype factors first n overflow_at predicted product seed sigma trials"),
            ("/product", "exponent matrix"),
            ("/trials/0", "log10_norm log10_row_norm overflow_at"),
            ("/predicted", "high log10_row_norm low"),
        ],
    },
    Program {
        name: "symmetry",
        small: &["--steps", "5", "--hidden", "4"],
        depends: Depends::Seed,
        rows: 12,
        keys: &[
            ("", "experiment runs"),
            (
                "/experiment",
                "activation device dtype features hidden learning_rate outputs samples seed steps",
            ),
            ("/runs/0", "accuracy init loss spread"),
        ],
    },
    Program {
        name: "phase-diagram",
        small: &["--grid", "3x2", "--width", "40", "--depth", "8", "--samples", "4"],
        depends: Depends::Seed,
        rows: 6,
        keys: &[
            ("", "cells critical experiment"),
            ("/experiment", "activation depth device dtype grid samples seed sigma_b sigma_w width"),
            ("/critical/0", "q sigma_b sigma_w"),
            ("/cells/0", "at measured predicted sigma_b sigma_w"),
            ("/cells/0/measured", "c chi_1 q"),
            ("/cells/0/predicted", "c chi_1 q xi_c xi_grad xi_q"),
        ],
    },
    Program {
        name: "train",
        small: &["--epochs", "2", "--widths", "20", "--init", "xavier_normal", "--init", "normal:std=1"],
        depends: Depends::Seed,
        rows: 4,
        keys: &[
            ("", "experiment runs"),
            (
                "/experiment",
                "activation batch classes data device dtype epochs features leaves optimizer schedule seed task \
                 test_samples threshold training_samples validation_samples widths",
            ),
            ("/runs/0", "best ended history init steps steps_to_threshold test"),
            ("/runs/0/best", "step validation"),
            ("/runs/0/history/0", "loss score step validation_loss"),
            ("/runs/0/test", "accuracy confusion loss samples top5"),
        ],
    },
    Program {
        name: "compare",
        small: &[
            "--nets",
            "8x2",
            "--steps",
            "20",
            "--rates",
            "2",
            "--tuning-seeds",
            "1",
            "--seeds",
            "3",
            "--start",
            "xavier_normal",
            "--start",
            "normal:std=1",
        ],
        depends: Depends::Seed,
        rows: 2,
        keys: &[
            ("", "alpha cases comparisons experiment runs"),
            (
                "/experiment",
                "activation batch bias bias_std data dtype every features fingerprint nested nets norm optimizer outputs \
                 rates runs schedule \
                 seed starts steps stop_at_threshold task test_samples threshold training_samples tuning_runs \
                 validation_samples widths",
            ),
            (
                "/cases/0",
                "at_edge came_true diverged gap learning_rate learning_rates median_steps net prediction reached runs start \
                 steps_interval test_loss test_score training_loss training_score trains",
            ),
            ("/cases/0/prediction", "chi_1 is_too_deep sigma_w trains verdicts xi_c xi_grad"),
            ("/cases/0/gap", "high low mean"),
            ("/comparisons/0", "corrected_p differs figure learning_rates least_p net p starts"),
            ("/runs/0", "course trial"),
            ("/runs/0/trial", "net rate run stage start"),
            ("/runs/0/course", "ended history reached test training"),
            ("/runs/0/course/test", "loss score"),
        ],
    },
    Program {
        name: "coordinate-check",
        small: &["--sizes", "8,16", "--seeds", "2"],
        depends: Depends::Seed,
        rows: 8,
        keys: &[
            ("", "experiment runs"),
            ("/experiment", "device dtype optimizer over seed seeds sizes steps tolerance units"),
            ("/runs/0", "is_independent layers parametrization"),
            ("/runs/0/layers/0", "change layer points start"),
            ("/runs/0/layers/0/points/0", "change seed size start"),
            ("/runs/0/layers/0/change", "exponent half_width"),
        ],
    },
    Program {
        name: "device-bench",
        small: &["--batch", "1,8", "--width", "16,32", "--runs", "1"],
        depends: Depends::Clock,
        rows: 14,
        keys: &[
            ("", "checks crossovers depth left_out measured missing peaks seed"),
            ("/peaks/0", "gflops on"),
            ("/measured/0", "batch fraction_of_peak gflops job ms on speedup transfer_ms width"),
        ],
    },
];

/// The program of this name.
pub(crate) fn program(name: &str) -> &'static Program {
    PROGRAMS.iter().find(|program| program.name == name).unwrap()
}
