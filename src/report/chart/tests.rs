//! What holds for every chart.

use super::*;
use crate::report::theme;

fn point(x: f64, median_ms: f64) -> ScalingPoint {
    ScalingPoint { x, median_ms, interval_ms: None }
}

fn one_series(name: &str, points: Vec<ScalingPoint>) -> Scaling {
    Scaling {
        title: name.to_owned(),
        x_name: "parameters (millions)".to_owned(),
        y_name: "latency (ms)".to_owned(),
        series: vec![ScalingSeries { name: name.to_owned(), points, curve: Vec::new() }],
        reach: Vec::new(),
    }
}

fn one_ratio(name: &str, ratio: f64) -> Ratios {
    Ratios {
        title: "Warmup".to_owned(),
        x_name: "warmup ÷ timed".to_owned(),
        references: vec![Reference { ratio: 1.0, label: "no warmup".to_owned() }],
        rows: vec![super::Ratio { name: name.to_owned(), ratio, interval: None, is_mean: false }],
        reach: Vec::new(),
    }
}

fn one_spread(deviations: &[(f64, bool)]) -> Spread {
    Spread {
        title: "Spread".to_owned(),
        rows: vec![SpreadRow {
            name: "cell".to_owned(),
            note: String::new(),
            calls: deviations
                .iter()
                .map(|(deviation_percent, outlier)| SpreadCall {
                    deviation_percent: *deviation_percent,
                    outlier: *outlier,
                })
                .collect(),
        }],
        reach: Vec::new(),
    }
}

/// The text of an element's children, by the crude means that suffice for our own output.
fn texts(svg: &str) -> Vec<&str> {
    svg.split("<text")
        .skip(1)
        .filter_map(|t| t.split_once('>')?.1.split_once("</text>"))
        .map(|(t, _)| t.trim())
        .collect()
}

#[test]
fn no_data_gives_a_reason_and_no_picture() {
    let reasons = [
        scaling(&one_series("a", Vec::new())),
        shares(&Shares { title: String::new(), rows: Vec::new() }),
        ratios(&Ratios { rows: Vec::new(), ..one_ratio("a", 1.0) }),
        spread(&one_spread(&[])),
        drift(&Drift { title: String::new(), series: Vec::new() }),
    ]
    .map(|c| c.map_or_else(|e| e.to_string(), |_| "drawn".to_owned()));
    assert_eq!(
        reasons,
        [
            "no medians to draw",
            "no decode shares to draw",
            "no ratios to draw",
            "no timed calls to draw",
            "no timed calls to draw",
        ]
    );
}

#[test]
fn values_without_a_place_are_refused_by_name() {
    let text = |c: Result<Svg, ChartError>| c.map_or_else(|e| e.to_string(), |_| String::new());
    assert_eq!(
        text(scaling(&one_series("micro", vec![point(25.0, 0.0)]))),
        "`micro` has a median latency in ms of 0, allowed: positive numbers"
    );
    assert_eq!(
        text(ratios(&one_ratio("a\x1b[31m cell", f64::NAN))),
        "`a cell` has a ratio of NaN, allowed: positive numbers"
    );
    assert_eq!(
        text(spread(&one_spread(&[(f64::INFINITY, true)]))),
        "`cell` has a deviation in percent of inf, allowed: finite numbers"
    );
    let share = Shares { title: String::new(), rows: vec![Share { name: "cell".to_owned(), decode_fraction: 1.2 }] };
    assert_eq!(text(shares(&share)), "`cell` has a decode share of 1.2, allowed: 0 to 1");
}

#[test]
fn a_single_point_and_forty_decades_are_charts_too() -> Result<(), ChartError> {
    let single = scaling(&one_series("a", vec![point(25.0, 1.5)]))?.inline();
    assert!(texts(&single).contains(&"25"), "{:?}", texts(&single));
    let wide = scaling(&one_series("a", vec![point(1e-20, 1e-20), point(1e20, 1e20)]))?.inline();
    assert!(texts(&wide).len() < 24, "{:?}", texts(&wide));
    for svg in [&single, &wide] {
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
    spread(&one_spread(&[(0.0, false)]))?;
    let one_call =
        DriftSeries { name: "cell".to_owned(), calls: vec![DriftCall { call_idx: 7, deviation_percent: 0.0 }] };
    let one_call = drift(&Drift { title: "Drift".to_owned(), series: vec![one_call] })?;
    assert!(texts(&one_call.inline()).contains(&"7"));
    Ok(())
}

#[test]
fn names_cannot_break_out_of_the_picture() -> Result<(), ChartError> {
    let name = "</svg><script>x</script>\x1b[31m\0";
    let svg = ratios(&one_ratio(name, 2.0))?.standalone();
    assert!(!svg.contains("<script"));
    assert_eq!(svg.matches("</svg>").count(), 1);
    assert!(svg.chars().all(|c| c == '\n' || !c.is_control()));
    assert!(texts(&svg).contains(&"&lt;/svg&gt;&lt;script&gt;x&lt;/script&gt;"));
    Ok(())
}

#[test]
fn far_outliers_are_named_at_the_edge_not_dropped() -> Result<(), ChartError> {
    let calls = [(-1.0, false), (1.0, false), (912.0, true), (300.0, true)];
    let svg = spread(&one_spread(&calls))?.inline();
    assert!(texts(&svg).contains(&"2 calls, up to +912\u{a0}%"), "{:?}", texts(&svg));
    Ok(())
}

fn one_sequence(calls: &[(f64, bool)]) -> Sequence {
    let call = |(number, &(of_median, compiled))| SequenceCall { number, of_median, compiled };
    let calls = (1..).zip(calls).map(call).collect();
    Sequence { title: "In order".to_owned(), series: vec![SequenceSeries { name: "eng".to_owned(), calls }] }
}

#[test]
fn charts_that_reach_alike_have_one_scale() -> Result<(), ChartError> {
    let (small, large) = (one_series("a", vec![point(5.0, 1.0)]), one_series("a", vec![point(90.0, 40.0)]));
    let reach = [scaling_reach(&small), scaling_reach(&large)].concat();
    let ticks = |data: &Scaling| -> Result<Vec<String>, ChartError> {
        let svg = scaling(&Scaling { reach: reach.clone(), ..data.clone() })?.inline();
        Ok(texts(&svg).into_iter().filter(|text| text.parse::<f64>().is_ok()).map(str::to_owned).collect())
    };
    assert_eq!(ticks(&small)?, ticks(&large)?);
    let quiet = one_spread(&[(-1.0, false), (1.0, false)]);
    let alone = spread(&quiet)?.inline();
    let beside = spread(&Spread { reach: spread_reach(&one_spread(&[(30.0, false)])), ..quiet })?.inline();
    assert!(!texts(&alone).contains(&"+30\u{a0}%") && texts(&beside).contains(&"+30\u{a0}%"), "{:?}", texts(&beside));
    Ok(())
}

#[test]
fn calls_that_compiled_stand_out_and_are_told() -> Result<(), ChartError> {
    const LEGEND: &str = "compiled inside the call";
    // The first series has discs, what compiled the next mark, triangles: one per call and one in the legend.
    let marks = |svg: &str| (svg.matches("<circle").count(), svg.matches("<polygon").count());
    let none = sequence(&one_sequence(&[(10.0, false), (11.0, false), (10.0, false)]))?.inline();
    assert!(!texts(&none).contains(&LEGEND) && none.contains("3 calls, the longest 11"), "{none}");
    assert_eq!(marks(&none), (3 + 1, 0));
    let spikes = sequence(&one_sequence(&[(900.0, true), (11.0, false), (800.0, true)]))?.inline();
    assert!(texts(&spikes).contains(&LEGEND) && spikes.contains("2 of them compiled"), "{spikes}");
    assert_eq!(marks(&spikes), (1 + 1, 2 + 1));
    let refused = |calls| sequence(&one_sequence(calls)).map_or_else(|e| e.to_string(), |_| "drawn".to_owned());
    assert_eq!(refused(&[]), "no calls to draw");
    assert_eq!(refused(&[(0.0, true)]), "`eng` has a time against its cell of 0, allowed: positive numbers");
    Ok(())
}

#[test]
fn every_colour_follows_the_theme() -> Result<(), ChartError> {
    let points = vec![point(1.0, 1.0), point(2.0, 2.0)];
    let mut data = one_series("a", points);
    data.series = vec![data.series[0].clone(); 7];
    let svg = scaling(&data)?.inline();
    let css = theme::css();
    let used = svg.match_indices("=\"#").map(|(i, _)| &svg[i + 2..i + 9]);
    for colour in used {
        assert!(css.contains(&format!("[fill=\"{colour}\"]")), "{colour}");
    }
    Ok(())
}

#[test]
fn a_chart_speaks_to_those_who_cannot_see_it() -> Result<(), ChartError> {
    let svg = ratios(&one_ratio("gpt2-25m", 12.34))?.inline();
    assert!(svg.contains("role=\"img\""));
    assert!(svg.contains("<title>Warmup</title>"));
    assert!(svg.contains("gpt2-25m: 12.3×"));
    assert_eq!(svg, ratios(&one_ratio("gpt2-25m", 12.34))?.inline());
    Ok(())
}

#[test]
fn a_figure_that_is_an_interval_only_has_a_whisker_and_its_grade_but_no_mark() -> Result<(), ChartError> {
    let interval = Interval { low: 1.0, high: 3.0 };
    let point = |value, interval, grade| GradedPoint { x: 25.0, value, interval, grade };
    let chart = |point| {
        let series = vec![GradedSeries { name: "p".to_owned(), points: vec![point] }];
        let (x_name, y_name) = ("parameters (millions)".to_owned(), "energy per token (J)".to_owned());
        graded(&Graded { title: "Energy".to_owned(), x_name, y_name, series }).map(|svg| svg.inline())
    };
    let marked = chart(point(Some(2.0), interval, "B"))?;
    let alone = chart(point(None, interval, "D"))?;
    assert!(texts(&marked).contains(&"B") && texts(&alone).contains(&"D"));
    let marks = |svg: &str| svg.matches("<circle").count();
    assert_eq!((marks(&marked), marks(&alone)), (2, 1), "the legend's alone");
    assert!(
        marked.contains("25.0 → 2.00 [1.0, 3.0], grade B") && alone.contains("25.0 → [1.0, 3.0], grade D"),
        "{alone}"
    );
    // An interval down to nothing has a place on no logarithmic axis; it runs off the edge.
    let wide = chart(point(None, Interval { low: 0.0, high: 3.0 }, "D"))?;
    assert!(!wide.contains("NaN") && !wide.contains("inf"));
    Ok(())
}

#[test]
fn temperature_does_not_begin_at_nothing_and_power_does() -> Result<(), ChartError> {
    let chart = |quantity| {
        let lines = vec![TraceLine { name: "reading".to_owned(), points: vec![(0.0, 60.0), (10.0, 64.0)] }];
        trace(&Trace { title: "Board".to_owned(), quantity, origin: "the begin", phases: Vec::new(), lines })
    };
    let (power, temperature) = (chart(Quantity::Power)?.inline(), chart(Quantity::Temperature)?.inline());
    assert!(texts(&power).contains(&"power (W)") && texts(&temperature).contains(&"temperature (°C)"));
    assert!(texts(&power).contains(&"10") && texts(&temperature).contains(&"62"), "{:?}", texts(&temperature));
    assert!(!texts(&temperature).contains(&"20"));
    Ok(())
}
