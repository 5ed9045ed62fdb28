//! Commands in a page's text: lines of shell blocks, and code inside sentences and tables.

/// A command as a page prints it.
#[derive(Debug, Clone)]
pub struct Printed {
    /// Line from 1.
    pub line: usize,
    /// What is typed, without a comment.
    pub command: String,
    /// Whether it is a line of its own, meant to be typed as it stands: elsewhere arguments may be left out or stand for any.
    pub is_whole: bool,
}

/// Every command of a page, in order.
pub fn printed_commands(text: &str) -> Vec<Printed> {
    let mut found = Vec::new();
    // The language of the block that a line is in.
    let mut block: Option<&str> = None;
    let mut in_commands = false;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(language) = line.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language) };
            continue;
        }
        if let Some(title) = line.strip_prefix("## ") {
            in_commands = title == "Commands";
        }
        let commands = match block {
            Some("sh") => typed(line).into_iter().map(|command| (command, true)).collect(),
            Some(_) => Vec::new(),
            None => spans(line, in_commands).into_iter().map(|command| (command, false)).collect::<Vec<_>>(),
        };
        found.extend(commands.into_iter().map(|(command, is_whole)| Printed { line: number, command, is_whole }));
    }
    found
}

/// A line of a shell block without its comment. `None`: it is nothing else.
fn typed(line: &str) -> Option<String> {
    let line = if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default() };
    Some(line.trim().to_owned()).filter(|command| !command.is_empty())
}

/// Code spans that are commands; in the table of commands they stand without the program's name, in the first column.
fn spans(line: &str, in_commands: bool) -> Vec<String> {
    let is_row = in_commands && line.starts_with("| `");
    let cell = if is_row { line.split(" | ").next().unwrap_or_default() } else { line };
    let code: Vec<String> = cell.split('`').skip(1).step_by(2).map(|span| span.replace("\\|", "|")).collect();
    // `models synth`, `export`, …: what follows belongs to the same group.
    let group = code.first().and_then(|first| first.split_once(' ')).filter(|(_, second)| second.starts_with(is_small));
    let named = code.iter().map(|span| match group {
        _ if !is_row => span.clone(),
        Some((group, _)) if !span.contains(' ') => format!("phasebench {group} {span}"),
        _ => format!("phasebench {span}"),
    });
    named.filter(|span| span.starts_with("phasebench ")).collect()
}

fn is_small(c: char) -> bool {
    c.is_ascii_lowercase()
}

/// A command without its optional parts, and with them; of alternatives the first.
pub fn forms(command: &str) -> Vec<String> {
    let (mut bare, mut full, mut depth) = (String::new(), String::new(), 0);
    for c in command.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            c => {
                full.push(c);
                if depth == 0 {
                    bare.push(c);
                }
            }
        }
    }
    let mut forms: Vec<String> = [bare, full].iter().map(|form| first_alternative(form)).collect();
    forms.dedup();
    forms
}

/// Of `A|B` the first, word by word; what stands after another option goes with that.
fn first_alternative(form: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut of_another = false;
    for word in form.split_whitespace() {
        let (first, rest) = word.split_once('|').unwrap_or((word, ""));
        if !of_another || first.starts_with("--") {
            kept.push(first);
        }
        of_another = rest.contains("--") || (of_another && !rest.is_empty());
    }
    kept.join(" ")
}
