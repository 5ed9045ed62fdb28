//! Names for what is called something else elsewhere: a folder, a server's tag.

use super::check::{MAX_NAME, NAME_MARKS};

/// The name closest to `text` that a scenario file takes.
#[must_use]
pub fn name_from(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || NAME_MARKS.contains(c) { c } else { '-' };
    let name: String = text.chars().map(allowed).skip_while(|c| !c.is_ascii_alphanumeric()).take(MAX_NAME).collect();
    if name.is_empty() { "model".to_owned() } else { name }
}

/// As [`name_from`], with a number behind it where another has the name.
#[must_use]
pub fn free_name(text: &str, taken: impl Fn(&str) -> bool) -> String {
    let name = name_from(text);
    if !taken(&name) {
        return name;
    }
    let numbered = (2_u32..).map(|number| {
        let number = format!("-{number}");
        format!("{}{number}", name.chars().take(MAX_NAME - number.len()).collect::<String>())
    });
    numbered.into_iter().find(|name| !taken(name)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_name_and_none_is_given_twice() {
        assert_eq!(name_from("gemma3:270m"), "gemma3-270m");
        assert_eq!(name_from("..my model/ü"), "my-model--");
        assert_eq!(name_from("///"), "model");
        assert_eq!(name_from(&"x".repeat(100)).len(), MAX_NAME);
        let taken = ["a", "a-2"];
        assert_eq!(free_name("a", |name| taken.contains(&name)), "a-3");
        let long = "x".repeat(MAX_NAME);
        assert_eq!(free_name(&long, |name| name == long).len(), MAX_NAME);
    }
}
