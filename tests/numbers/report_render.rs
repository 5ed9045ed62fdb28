//! A whole report with invented numbers: both forms from one description, written to the test's scratch folder,
//! where a person can look at them too.

use std::error::Error;
use std::fs;
use std::path::Path;

use phasebench::report::chart::{
    CurvePoint, Drift, DriftCall, DriftSeries, Interval, Ratio, Ratios, Reference, Scaling, ScalingPoint,
    ScalingSeries, Share, Shares, Spread, SpreadCall, SpreadRow, drift, ratios, scaling, shares, spread,
};
use phasebench::report::document::{Assurance, Block, Document, Finding, Heading, Section, Table, Text};
use phasebench::report::format;
use phasebench::report::html::to_html;
use phasebench::report::markdown::to_markdown;

const HOSTILE: &str = "<script>alert('x')</script>|`*\x1b[31mred\x1b[0m\u{202e}";
const MODELS: [(&str, f64); 5] =
    [("gpt2-5m", 5.1), ("gpt2-25m", 25.2), ("gpt2-45m", 45.2), ("gpt2-75m", 74.8), ("gpt2-124m", 124.4)];
const SCENARIOS: [&str; 4] = ["micro", "short", "medium", "rag"];

#[test]
fn one_description_gives_page_and_markdown() -> Result<(), Box<dyn Error>> {
    let document = sample();
    let (html, markdown) = (to_html(&document), to_markdown(&document));
    assert_eq!(html, to_html(&sample()), "same data, same bytes");
    assert_eq!(markdown, to_markdown(&sample()));

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(folder.join("plots"))?;
    fs::write(folder.join("report.html"), &html)?;
    fs::write(folder.join("report.md"), &markdown)?;
    let mut figures = 0;
    for figure in document.figures() {
        let svg = figure.svg.standalone();
        assert!(svg.contains("prefers-color-scheme:dark"), "{} follows the reader's colours", figure.id);
        assert!(markdown.contains(&format!("]({})", figure.path())));
        assert!(html.contains(&format!("id=\"figure-{}\"", figure.id)));
        fs::write(folder.join(figure.path()), svg)?;
        figures += 1;
    }
    assert_eq!(figures, 6);
    Ok(())
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let html = to_html(&sample());
    let outside = html.replace("http://www.w3.org/2000/svg", "");
    for part in ["http:", "https:", "src=", "<script", "<link", "@import", "url("] {
        assert!(!outside.contains(part), "page holds {part}");
    }
}

#[test]
fn hostile_names_are_text_in_both_forms() {
    let (html, markdown) = (to_html(&sample()), to_markdown(&sample()));
    for (form, text) in [("html", &html), ("markdown", &markdown)] {
        assert!(!text.contains("<script"), "{form}: markup");
        assert!(!text.contains('\u{1b}'), "{form}: terminal escape");
        assert!(!text.contains('\u{202e}'), "{form}: reordering");
    }
    assert!(html.contains("&lt;script&gt;"));
    let row = markdown.lines().find(|l| l.starts_with("| ") && l.contains("script")).unwrap_or_default();
    assert_eq!(row.replace("\\|", "").matches('|').count(), 8, "{row}");
}

#[test]
fn a_missing_chart_says_why() {
    let empty = Shares { title: "Nothing".to_owned(), rows: Vec::new() };
    let document = Document {
        title: "empty".to_owned(),
        facts: Vec::new(),
        verdict: vec![Block::figure("decode_share", "Never shown.".into(), shares(&empty))],
        sections: Vec::new(),
        made_by: "phasebench".to_owned(),
    };
    assert_eq!(document.figures().count(), 0);
    assert!(to_markdown(&document).contains("> No chart `decode_share`: no decode shares to draw."));
    assert!(to_html(&document).contains("no decode shares to draw"));
}

fn sample() -> Document {
    Document {
        title: "quickstart".to_owned(),
        facts: vec![
            ("machine".to_owned(), "2 cores, 8 GiB, Linux 6.1".into()),
            ("engines".to_owned(), "ONNX Runtime 1.23 (CPU)".into()),
            ("calls".to_owned(), "480 timed, 3 degraded (0.6 %)".into()),
            ("run".to_owned(), Text::default().code("20250301T101500Z-quickstart-1a2b3c4d")),
        ],
        verdict: vec![Block::Findings(findings())],
        sections: vec![scaling_section(), warmup_section(), spread_section()],
        made_by: "Made by phasebench 0.1.0 from the run's own rows.".to_owned(),
    }
}

fn findings() -> Vec<Finding> {
    let finding = |question: &str, assurance, answer: Text, grounds: &str| Finding {
        question: question.to_owned(),
        assurance,
        answer,
        grounds: grounds.into(),
    };
    vec![
        finding(
            "Prefill scaling",
            Assurance::Holds,
            Text::plain("Grows as parameters").strong("^0.83 [0.71, 0.95]").and("."),
            "5 models, R² 0.991; both intervals exclude 0. Every call ran on the provider asked for.",
        ),
        finding(
            "Decode scaling",
            Assurance::Caution,
            Text::plain("Grows as parameters").strong("^0.94 [0.52, 1.36]").and("."),
            "5 models, R² 0.962; the interval spans sublinear and superlinear growth.",
        ),
        finding(
            "Warmup",
            Assurance::Withheld,
            "No verdict on cold starts: too few cold calls.".into(),
            "One cold call per cell; an interval needs three.",
        ),
    ]
}

fn scaling_section() -> Section {
    let table = Table {
        caption: Text::plain("Power-law fits on medians, from ").code("analysis/scaling_fits.csv").and("."),
        headings: vec![
            Heading::words("scenario"),
            Heading::words("phase"),
            Heading::numbers("models"),
            Heading::numbers("slope [95 % CI]"),
            Heading::numbers("R²"),
            Heading::numbers("p"),
            Heading::words("actionable"),
        ],
        rows: SCENARIOS
            .iter()
            .chain([&HOSTILE])
            .zip([0.83, 0.88, 0.91, 0.97, 0.2])
            .map(|(name, slope)| {
                vec![
                    (*name).into(),
                    "prefill".into(),
                    format::count(5).into(),
                    format::interval(slope, (slope - 0.12, slope + 0.12)).into(),
                    format::number(if slope > 0.5 { Some(0.991) } else { None }, 3).into(),
                    format::p_value(0.0004).into(),
                    "yes".into(),
                ]
            })
            .collect(),
    };
    let share_rows = MODELS
        .iter()
        .flat_map(|m| SCENARIOS.map(|s| (m.0, s)))
        .enumerate()
        .map(|(i, (model, scenario))| Share {
            name: format!("{model} · {scenario}"),
            decode_fraction: [0.993, 0.97, 0.88, 0.41][i % 4],
        })
        .take(9)
        .collect();
    Section {
        id: "scaling",
        title: "How latency scales".to_owned(),
        blocks: vec![
            Block::Paragraph("Medians of timed calls, warmups excluded. Whiskers and bands are 95 % intervals.".into()),
            Block::figure(
                "scaling_prefill",
                "Prefill latency against model size.".into(),
                scaling(&law("Prefill on ort-cpu", 0.9, 0.85)),
            ),
            Block::figure(
                "scaling_decode",
                "Latency of 64 decode steps against model size.".into(),
                scaling(&law("Decode on ort-cpu, 64 steps", 28.0, 0.94)),
            ),
            Block::Table(table),
            Block::figure(
                "decode_share",
                "Decode's share of a request.".into(),
                shares(&Shares { title: "Decode share of end-to-end time, 64 steps".to_owned(), rows: share_rows }),
            ),
        ],
    }
}

fn law(title: &str, scale: f64, slope: f64) -> Scaling {
    let latency = |x: f64, s: usize| scale * [1.0, 2.2, 6.0, 31.0][s] * x.powf(slope);
    let series = |s: usize| ScalingSeries {
        name: if s == 3 { HOSTILE.to_owned() } else { SCENARIOS[s].to_owned() },
        points: MODELS
            .iter()
            .enumerate()
            .map(|(i, (_, x))| {
                let median_ms = latency(*x, s) * [1.06, 0.94, 1.03, 0.98, 1.02][(i + s) % 5];
                let interval_ms = (i > 0).then_some(Interval { low: median_ms * 0.93, high: median_ms * 1.09 });
                ScalingPoint { x: *x, median_ms, interval_ms }
            })
            .collect(),
        curve: (0..=24)
            .map(|k| {
                let x = 5.1 * (124.4f64 / 5.1).powf(f64::from(k) / 24.0);
                let fit_ms = latency(x, s);
                let width = 1.08 + 0.1 * (f64::from(k) / 12.0 - 1.0).powi(2);
                CurvePoint { x, fit_ms, band_ms: Some(Interval { low: fit_ms / width, high: fit_ms * width }) }
            })
            .collect(),
    };
    Scaling {
        title: title.to_owned(),
        x_name: "parameters (millions)".to_owned(),
        y_name: "latency (ms)".to_owned(),
        series: (0..4).map(series).collect(),
        reach: Vec::new(),
    }
}

fn warmup_section() -> Section {
    let rows = MODELS
        .iter()
        .enumerate()
        .map(|(i, (model, _))| {
            let ratio = [1.02, 1.4, 2.3, 6.5, 17.2][i];
            Ratio {
                name: format!("{model} · medium · prefill · ort-cpu"),
                ratio,
                interval: (i % 2 == 0).then_some(Interval { low: ratio * 0.8, high: ratio * 1.3 }),
                is_mean: false,
            }
        })
        .collect();
    let data = Ratios {
        title: "Warmup ratio".to_owned(),
        x_name: "median(cold + warmup) ÷ median(timed)".to_owned(),
        references: vec![
            Reference { ratio: 1.0, label: "no warmup".to_owned() },
            Reference { ratio: 10.0, label: "warm pool needed".to_owned() },
        ],
        rows,
        reach: Vec::new(),
    };
    Section {
        id: "warmup",
        title: "What the first calls cost".to_owned(),
        blocks: vec![
            Block::Note("Ratios of one cold call each; read them as orders of magnitude.".into()),
            Block::figure("warmup_ratio", "Cold and warmup calls against timed ones.".into(), ratios(&data)),
            Block::List(vec![
                "4 of 5 cells are below 10.".into(),
                Text::plain("The largest is ").code("gpt2-124m").and("."),
            ]),
        ],
    }
}

/// A stand-in for noise: fixed, between −1 and 1.
fn wobble(i: u32) -> f64 {
    f64::from((i * 7919 + 13) % 101) / 50.0 - 1.0
}

fn spread_section() -> Section {
    let cell = |row: u32| SpreadRow {
        name: format!("{} · {} · prefill", MODELS[row as usize % 5].0, SCENARIOS[row as usize % 4]),
        note: "CV 2.1 %".to_owned(),
        calls: (0..30)
            .map(|i| match (row, i) {
                (2, 4) => SpreadCall { deviation_percent: 412.0, outlier: true },
                (2, 9) => SpreadCall { deviation_percent: 95.0, outlier: true },
                (4, 7) => SpreadCall { deviation_percent: 9.5, outlier: true },
                _ => SpreadCall { deviation_percent: wobble(i + row * 31) * 4.0, outlier: false },
            })
            .collect(),
    };
    let wander = |s: u32| DriftSeries {
        name: format!("{} · medium", MODELS[s as usize].0),
        calls: (0..40)
            .map(|i| DriftCall {
                call_idx: u64::from(20 + i * 12 + s),
                deviation_percent: wobble(i + s * 17) * 1.5 + f64::from(i) * 0.1 * f64::from(s) - 2.0 * f64::from(s),
            })
            .collect(),
    };
    Section {
        id: "spread",
        title: "Can it be trusted".to_owned(),
        blocks: vec![
            Block::figure(
                "spread_prefill",
                "Every timed call around its cell's median.".into(),
                spread(&Spread {
                    title: "Spread of prefill calls".to_owned(),
                    rows: (0..13).map(cell).collect(),
                    reach: Vec::new(),
                }),
            ),
            Block::figure(
                "drift_prefill",
                "The three cells that wander most.".into(),
                drift(&Drift {
                    title: "Prefill latency over the run, largest drift".to_owned(),
                    series: (0..3).map(wander).collect(),
                }),
            ),
        ],
    }
}
