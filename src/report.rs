//! Tables, charts, markdown, html.
//!
//! A report is written down once, as a [`document::Document`]; [`markdown`] and [`html`] both print that one.
//! Charts come from plain data ([`chart`]); a chart that cannot be drawn honestly is an error with its reason,
//! and the document shows the reason in its place.

pub mod chart;
pub mod comparison;
pub mod document;
pub mod files;
pub mod format;
pub mod html;
pub mod markdown;
pub mod sections;
pub mod theme;
