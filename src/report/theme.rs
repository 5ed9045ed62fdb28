//! The colours of page and charts: one list, from which both the drawing code and the style sheets take them.
//!
//! Charts carry the light colours as plain attributes, so they show everywhere; where style sheets work, rules
//! on those attributes replace them, and a chart follows the page into dark mode and onto paper.

use std::fmt::Write as _;

use plotters::style::RGBColor;

/// One colour in its two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// The name of its variable in style sheets, without the dashes.
    pub name: &'static str,
    /// On white; what the SVG attributes say.
    pub light: RGBColor,
    /// On a dark page.
    pub dark: RGBColor,
}

const fn colour(name: &'static str, light: u32, dark: u32) -> Colour {
    Colour { name, light: rgb(light), dark: rgb(dark) }
}

const fn rgb(hex: u32) -> RGBColor {
    let [_, r, g, b] = hex.to_be_bytes();
    RGBColor(r, g, b)
}

/// What everything is drawn on.
pub const PAPER: Colour = colour("paper", 0xFF_FFFF, 0x15_171C);
/// Text.
pub const INK: Colour = colour("ink", 0x1B_1B1F, 0xE8_E9ED);
/// Text of second rank: axis titles, captions.
pub const MUTED: Colour = colour("muted", 0x5A_606C, 0xA5_ABB6);
/// Grid lines and table rules.
pub const RULE: Colour = colour("rule", 0xE1_E3E8, 0x2C_3038);
/// Axis and reference lines.
pub const AXIS: Colour = colour("axis", 0x9A_A0AC, 0x6A_7180);

/// Colours of data, after Okabe and Ito: told apart with any colour vision, darkened where they were too pale
/// for white paper. Series differ in marker shape as well.
pub const SERIES: [Colour; 6] = [
    colour("s1", 0x00_72B2, 0x4D_B0EA),
    colour("s2", 0xD5_5E00, 0xFF_8F4A),
    colour("s3", 0x00_8F68, 0x35_C79C),
    colour("s4", 0xB6_5A94, 0xE3_9AC8),
    colour("s5", 0xA8_7700, 0xE9_B44C),
    colour("s6", 0x4A_4E8C, 0xA3_A8F0),
];

const PLAIN: [Colour; 5] = [PAPER, INK, MUTED, RULE, AXIS];

/// Style rules for one document that holds charts: the variables, their dark values (on screens only, paper
/// stays white), and the rules that make charts use them.
#[must_use]
pub fn css() -> String {
    let all = || PLAIN.iter().chain(&SERIES);
    let mut css = String::from(":root{color-scheme:light dark;");
    for c in all() {
        let _ = write!(css, "--{}:{};", c.name, hex(c.light));
    }
    css.push_str("}\n@media screen and (prefers-color-scheme:dark){:root{");
    for c in all() {
        let _ = write!(css, "--{}:{};", c.name, hex(c.dark));
    }
    css.push_str("}}\n");
    for c in all() {
        let (name, light) = (c.name, hex(c.light));
        let _ = writeln!(
            css,
            "svg [fill=\"{light}\"]{{fill:var(--{name})}}svg [stroke=\"{light}\"]{{stroke:var(--{name})}}"
        );
    }
    // The halo keeps text legible where it crosses a line.
    css.push_str(
        "svg text{font-family:system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif;\
         font-variant-numeric:tabular-nums;paint-order:stroke;stroke:var(--paper);stroke-width:.24em;\
         stroke-linejoin:round}\n",
    );
    css
}

/// As the SVG writer spells it, which the rules above rely on.
fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance as WCAG 2 defines it.
    fn luminance(RGBColor(r, g, b): RGBColor) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }

    fn contrast(a: RGBColor, b: RGBColor) -> f64 {
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn text_and_marks_stand_out_on_both_papers() {
        for (colours, least) in [(&[INK, MUTED][..], 4.5), (&SERIES[..], 3.0)] {
            for c in colours {
                let (light, dark) = (contrast(c.light, PAPER.light), contrast(c.dark, PAPER.dark));
                assert!(light >= least, "{} on white: {light:.2}", c.name);
                assert!(dark >= least, "{} on dark: {dark:.2}", c.name);
            }
        }
    }

    #[test]
    fn no_two_colours_share_a_rule() {
        let all: Vec<_> = PLAIN.iter().chain(&SERIES).map(|c| hex(c.light)).collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
    }
}
