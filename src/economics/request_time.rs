//! How long a request takes, or how much energy, from what was measured at a few lengths.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::figures::{FigureId, Product};

/// Nothing is taken to be known further outside the measured range than by this factor.
pub const BEYOND: f64 = 1.25;

/// Figures along one axis, straight between two of them in logarithms.
#[derive(Debug, Clone, PartialEq)]
struct Curve {
    /// By x, each once; never empty.
    knots: Vec<Knot>,
    /// Power of x where there is one knot only: 1 for what grows in proportion, 0 for what stays.
    alone: f64,
}

#[derive(Debug, Clone, PartialEq)]
struct Knot {
    x: f64,
    /// Figures measured there; they count alike.
    figures: Vec<FigureId>,
}

impl Curve {
    /// `None`: of no point.
    fn new(points: impl IntoIterator<Item = (f64, FigureId)>, alone: f64) -> Option<Self> {
        let mut knots: Vec<Knot> = Vec::new();
        for (x, figure) in points {
            match knots.iter_mut().find(|knot| knot.x.to_bits() == x.to_bits()) {
                Some(knot) => knot.figures.push(figure),
                None => knots.push(Knot { x, figures: vec![figure] }),
            }
        }
        knots.sort_by(|a, b| a.x.total_cmp(&b.x));
        (!knots.is_empty()).then_some(Self { knots, alone })
    }

    fn range(&self) -> Range {
        Range { least: self.knots[0].x, most: self.knots[self.knots.len() - 1].x }
    }

    /// The knots beside `x` with their shares, and what else `x` changes.
    fn at(&self, x: f64) -> Product {
        let [first, .., last] = self.knots.as_slice() else {
            let only = &self.knots[0];
            let mut product = Product { scale: (x / only.x).powf(self.alone), powers: Vec::new() };
            only.share(1.0, &mut product);
            return product;
        };
        let mut product = Product { scale: 1.0, powers: Vec::new() };
        let inside = x.clamp(first.x, last.x);
        // The stretch that x lies on, the first or last one where it lies outside.
        let after = self.knots[1..self.knots.len() - 1].iter().filter(|knot| knot.x <= inside).count() + 1;
        let (below, above) = (&self.knots[after - 1], &self.knots[after]);
        let share = (x / below.x).ln() / (above.x / below.x).ln();
        below.share(1.0 - share, &mut product);
        above.share(share, &mut product);
        product
    }
}

impl Knot {
    #[expect(clippy::cast_precision_loss, reason = "a few figures")]
    fn share(&self, share: f64, of: &mut Product) {
        let each = share / self.figures.len() as f64;
        if each != 0.0 {
            of.powers.extend(self.figures.iter().map(|figure| (*figure, each)));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    least: f64,
    most: f64,
}

impl Range {
    /// What holds both.
    fn and(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    fn reaches(self, x: f64) -> bool {
        // A length that is a whole number of tokens beyond by rounding alone is not beyond.
        (self.least / BEYOND - 1e-9..=self.most * BEYOND + 1e-9).contains(&x)
    }
}

/// A cell's figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Prompt tokens really sent per row, never nominal ones.
    pub prompt: f64,
    /// Decode steps.
    pub steps: f64,
    /// Of prefill per call, of decode per step of a call.
    pub figure: FigureId,
}

/// How an engine's prefill and decode grow with a request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestTime {
    prefill: Curve,
    /// By length, each once; never empty.
    decode: Vec<DecodeLength>,
    /// A factor in every figure, such as the gain of one sensor. `None`: none.
    common: Option<FigureId>,
}

/// A decode length that was measured.
#[derive(Debug, Clone, PartialEq)]
struct DecodeLength {
    steps: f64,
    /// Per step, along the mean context.
    curve: Curve,
    /// Of the prompts that it was measured after.
    prompts: Range,
}

impl DecodeLength {
    /// `None`: of no cell.
    fn new(steps: f64, cells: &[&Measured]) -> Option<Self> {
        let curve = Curve::new(cells.iter().map(|cell| (mean_context(cell.prompt, cell.steps), cell.figure)), 0.0)?;
        let prompts = cells.iter().map(|cell| Range { least: cell.prompt, most: cell.prompt });
        Some(Self { steps, curve, prompts: prompts.reduce(Range::and)? })
    }

    /// Whether steps in such a context were measured at this length. A request of another length sees another mean context
    /// after the same prompt: where the prompt was measured here, the curve's end stands for it.
    fn reaches(&self, prompt: f64, context: f64) -> bool {
        self.prompts.reaches(prompt) || self.curve.range().reaches(context)
    }

    /// Of a step in such a context, no further outside the curve than by [`BEYOND`].
    fn at(&self, context: f64) -> Product {
        let own = self.curve.range();
        self.curve.at(context.clamp(own.least / BEYOND, own.most * BEYOND))
    }
}

/// Whether a request is inside what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// It is.
    Covered,
    /// Its prompt is shorter than any measured.
    PromptTooShort,
    /// Its prompt is longer.
    PromptTooLong,
    /// Its answer is shorter.
    AnswerTooShort,
    /// Its answer is longer.
    AnswerTooLong,
    /// Prompt and answer are inside, but not together.
    ContextOutside,
    /// The model, or the workload, has no context as long.
    BeyondContext,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Covered => "covered",
            Self::PromptTooShort => "prompt shorter than measured",
            Self::PromptTooLong => "prompt longer than measured",
            Self::AnswerTooShort => "answer shorter than measured",
            Self::AnswerTooLong => "answer longer than measured",
            Self::ContextOutside => "prompt and answer together not measured",
            Self::BeyondContext => "beyond the longest context",
        })
    }
}

/// Tokens that a decode step sees on average.
fn mean_context(prompt: f64, steps: f64) -> f64 {
    prompt + f64::midpoint(1.0, steps)
}

impl RequestTime {
    /// From cells that were measured in both phases. `None`: of either there is none.
    #[must_use]
    pub fn new(prefill: &[Measured], decode: &[Measured], common: Option<FigureId>) -> Option<Self> {
        let prefill = Curve::new(prefill.iter().map(|cell| (cell.prompt, cell.figure)), 1.0)?;
        let mut lengths: Vec<f64> = decode.iter().map(|cell| cell.steps).collect();
        lengths.sort_by(f64::total_cmp);
        lengths.dedup();
        let of_length = |steps: f64| {
            let cells: Vec<&Measured> = decode.iter().filter(|cell| cell.steps.to_bits() == steps.to_bits()).collect();
            DecodeLength::new(steps, &cells)
        };
        let decode: Vec<DecodeLength> = lengths.into_iter().filter_map(of_length).collect();
        (!decode.is_empty()).then_some(Self { prefill, decode, common })
    }

    /// Whether a request is inside what was measured, or no more than [`BEYOND`] outside: its prompt, and its answer between
    /// decode lengths that were measured in its context.
    #[must_use]
    pub fn reach(&self, prompt: f64, steps: f64) -> Reach {
        let prompts = self.prefill.range();
        if !prompts.reaches(prompt) {
            return if prompt < prompts.least { Reach::PromptTooShort } else { Reach::PromptTooLong };
        }
        let lengths = |of: &[&DecodeLength]| {
            Some(Range { least: of.first()?.steps, most: of.last()?.steps }).filter(|range| range.reaches(steps))
        };
        let all: Vec<&DecodeLength> = self.decode.iter().collect();
        if lengths(&all).is_none() {
            return if steps < self.decode[0].steps { Reach::AnswerTooShort } else { Reach::AnswerTooLong };
        }
        if lengths(&self.reaching(prompt, steps)).is_some() { Reach::Covered } else { Reach::ContextOutside }
    }

    /// The decode lengths that were measured in a request's context, the shortest first.
    fn reaching(&self, prompt: f64, steps: f64) -> Vec<&DecodeLength> {
        let context = mean_context(prompt, steps);
        self.decode.iter().filter(|length| length.reaches(prompt, context)).collect()
    }

    /// The decode lengths that a request's steps are taken from, with their shares: of those that were measured in its context
    /// the one that it has, else the one below and the one above, else the nearest.
    fn beside(&self, prompt: f64, steps: f64) -> [Option<(&DecodeLength, f64)>; 2] {
        let reaching = self.reaching(prompt, steps);
        let after = reaching.iter().position(|length| length.steps >= steps);
        let (below, above) = match after {
            None => (reaching.last(), None),
            Some(0) => (None, reaching.first()),
            Some(after) => (reaching.get(after - 1), reaching.get(after)),
        };
        match (below, above) {
            (Some(below), Some(above)) if above.steps.to_bits() != steps.to_bits() => {
                let share = (steps / below.steps).ln() / (above.steps / below.steps).ln();
                [Some((below, 1.0 - share)), Some((above, share))]
            }
            (_, Some(only)) | (Some(only), None) => [Some((only, 1.0)), None],
            (None, None) => [None, None],
        }
    }

    /// Of one call's prefill.
    #[must_use]
    pub fn prefill(&self, prompt: f64) -> Product {
        self.with_common(self.prefill.at(prompt))
    }

    /// Of one call's decode steps: per step between the decode lengths measured in its context, at each between the contexts
    /// measured. Of a request that is [covered](Self::reach).
    #[must_use]
    pub fn decode(&self, prompt: f64, steps: f64) -> Product {
        let context = mean_context(prompt, steps);
        let mut product = Product { scale: 1.0, powers: Vec::new() };
        for (length, share) in self.beside(prompt, steps).into_iter().flatten() {
            let own = length.at(context);
            product.scale *= own.scale.powf(share);
            product.powers.extend(own.powers.into_iter().map(|(figure, power)| (figure, power * share)));
        }
        self.with_common(product).times(steps)
    }

    /// Whether prefill was measured at one length only, and is taken to grow in proportion.
    #[must_use]
    pub fn is_proportional(&self) -> bool {
        self.prefill.knots.len() == 1
    }

    fn with_common(&self, mut product: Product) -> Product {
        product.powers.extend(self.common.map(|figure| (figure, 1.0)));
        product
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::economics::figures::{Figure, Figures};

    /// Cells of a prefill that grows as prompt^1.5, and of steps of 2 ms at context 64 and 8 ms at 1024.
    fn engine(prompts: &[f64], lengths: &[f64]) -> (Figures, RequestTime) {
        let mut figures = Figures::default();
        let (mut prefill, mut decode) = (Vec::new(), Vec::new());
        for &prompt in prompts {
            for &steps in lengths {
                let time = figures.add(Figure::exact(prompt.powf(1.5)));
                prefill.push(Measured { prompt, steps, figure: time });
                let per_step = 0.25 * mean_context(prompt, steps).sqrt();
                let step = figures.add(Figure::exact(per_step));
                decode.push(Measured { prompt, steps, figure: step });
            }
        }
        let time = RequestTime::new(&prefill, &decode, None).unwrap();
        (figures, time)
    }

    #[test]
    fn a_power_law_is_found_again_between_and_a_little_beyond() {
        let (figures, time) = engine(&[64.0, 256.0, 1024.0], &[32.0, 128.0]);
        for prompt in [52.0_f64, 64.0, 100.0, 256.0, 700.0, 1024.0, 1280.0] {
            let found = time.prefill(prompt).value(&figures);
            assert!((found / prompt.powf(1.5) - 1.0).abs() < 1e-12, "{prompt}: {found}");
            let context = mean_context(prompt, 128.0);
            let found = time.decode(prompt, 128.0).value(&figures);
            assert!((found / (128.0 * 0.25 * context.sqrt()) - 1.0).abs() < 1e-9, "{prompt}: {found}");
        }
        assert!(!time.is_proportional());
    }

    #[test]
    fn what_is_further_outside_is_not_covered() {
        let (_, time) = engine(&[64.0, 1024.0], &[32.0, 128.0]);
        for (prompt, steps, reach) in [
            (64.0, 32.0, Reach::Covered),
            (1280.0, 160.0, Reach::Covered),
            (1281.0, 32.0, Reach::PromptTooLong),
            (51.0, 32.0, Reach::PromptTooShort),
            (64.0, 161.0, Reach::AnswerTooLong),
            (64.0, 25.0, Reach::AnswerTooShort),
        ] {
            assert_eq!(time.reach(prompt, steps), reach, "{prompt} {steps}");
        }
        let mut figures = Figures::default();
        let of = |prompt, steps, figure| Measured { prompt, steps, figure };
        let figure = figures.add(Figure::exact(1.0));
        let cells = [of(16.0, 512.0, figure), of(256.0, 16.0, figure)];
        let time = RequestTime::new(&cells, &cells, None).unwrap();
        assert_eq!(time.reach(256.0, 512.0), Reach::ContextOutside);
    }

    /// The five shapes of a run that measured its longest answer after its shortest prompt only: a step of such an answer is
    /// known in that context alone, though the other shapes hold longer ones. A shorter answer after that prompt lies between
    /// two that were measured there, whatever was measured of its own length elsewhere.
    #[test]
    fn an_answer_lies_between_those_that_were_measured_in_its_context() {
        let mut figures = Figures::default();
        let shapes = [(16.0, 16.0), (64.0, 32.0), (128.0, 64.0), (256.0, 32.0), (16.0, 128.0)];
        let cells = shapes.map(|(prompt, steps)| Measured {
            prompt,
            steps,
            figure: figures.add(Figure::exact(mean_context(prompt, steps))),
        });
        let time = RequestTime::new(&cells, &cells, None).unwrap();
        for (prompt, steps, reach) in [
            (256.0, 128.0, Reach::ContextOutside),
            (16.0, 128.0, Reach::Covered),
            (256.0, 32.0, Reach::Covered),
            (128.0, 32.0, Reach::Covered),
            (128.0, 64.0, Reach::Covered),
            (16.0, 64.0, Reach::Covered),
            (120.0, 48.0, Reach::Covered),
            (250.0, 48.0, Reach::ContextOutside),
        ] {
            assert_eq!(time.reach(prompt, steps), reach, "{prompt} {steps}");
        }
    }

    /// Every length after every prompt: whatever lies between is known, a short answer after the shortest prompt too, whose
    /// mean context is shorter than any of the long answers'.
    #[test]
    fn a_whole_grid_has_no_gaps() {
        let (_, time) = engine(&[16.0, 64.0, 1024.0], &[8.0, 512.0]);
        for prompt in [13.0, 16.0, 40.0, 64.0, 300.0, 1024.0, 1280.0] {
            for steps in [7.0, 8.0, 20.0, 300.0, 511.0, 512.0, 640.0] {
                assert_eq!(time.reach(prompt, steps), Reach::Covered, "{prompt} {steps}");
            }
        }
    }

    #[test]
    fn one_length_is_taken_in_proportion() {
        let (figures, time) = engine(&[100.0], &[10.0]);
        assert!(time.is_proportional());
        assert!((time.prefill(110.0).value(&figures) - 1100.0).abs() < 1e-9);
        let step = time.decode(110.0, 12.0).value(&figures) / 12.0;
        assert!((step - 0.25 * mean_context(100.0, 10.0).sqrt()).abs() < 1e-12, "a step takes as long");
    }

    #[test]
    fn without_either_phase_there_is_no_request() {
        let cell = Measured { prompt: 8.0, steps: 8.0, figure: Figures::default().add(Figure::exact(1.0)) };
        assert_eq!(RequestTime::new(&[], &[cell], None), None);
        assert_eq!(RequestTime::new(&[cell], &[], None), None);
    }
}
