//! Tables, charts, markdown, html.
