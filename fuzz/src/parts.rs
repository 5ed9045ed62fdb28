//! Several files in one input.

/// The files of an input: a line `--- NAME` begins each; what stands before the first such line is a file whose name the
/// target gives.
pub struct Parts<'a>(Vec<(&'a [u8], &'a [u8])>);

impl<'a> Parts<'a> {
    pub fn of(data: &'a [u8], first: &'a str) -> Self {
        let mut parts = Vec::new();
        let (mut name, mut begin, mut at) = (first.as_bytes(), 0, 0);
        for line in data.split_inclusive(|&byte| byte == b'\n') {
            if let Some(next) = line.strip_prefix(b"--- ") {
                if at > 0 {
                    parts.push((name, &data[begin..at]));
                }
                (name, begin) = (next.trim_ascii_end(), at + line.len());
            }
            at += line.len();
        }
        parts.push((name, &data[begin..]));
        Self(parts)
    }

    /// The first file of this name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(found, _)| *found == name.as_bytes()).map(|(_, content)| *content)
    }

    /// Every file's content in order.
    pub fn contents(&self) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().map(|(_, content)| *content)
    }
}
