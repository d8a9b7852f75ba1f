//! Words that no file may have: paths of somebody's machine, and marks of what is left open.

use super::files::Text;
use super::finding::{Finding, Rule};

/// Folders at the root of a machine that are somebody's own; a temporary folder has a call that names it.
const FOLDERS: [&str; 5] = ["Users", "home", "root", "tmp", "work"];
/// Each in two parts, so that this file has none of them.
const OPEN: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Every such word of a file, by line.
pub fn check(text: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.text.lines().enumerate() {
        if let Some(folder) = FOLDERS.into_iter().find(|folder| has_path(line, folder)) {
            let words =
                format!("a path beneath /{folder} is of one machine: make it relative, or ask the system");
            findings.push(Finding::fault(Rule::Path, &text.path, index + 1, words));
        }
        if let Some(word) = OPEN.into_iter().find(|word| has_word(line, word)) {
            let words = format!("'{word}': do it now, or open an issue");
            findings.push(Finding::fault(Rule::Open, &text.path, index + 1, words));
        }
    }
    findings
}

/// Whether the line has `/folder/name` where an absolute path can begin.
fn has_path(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    line.match_indices(&path).any(|(at, _)| {
        let within = |before: char| before.is_alphanumeric() || "./_-~*}>)]".contains(before);
        let named = |after: char| after.is_alphanumeric() || "._-".contains(after);
        !line[..at].ends_with(within) && line[at + path.len()..].starts_with(named)
    })
}

/// Whether the line has the word, not as a part of another.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let part = |letter: char| letter.is_alphanumeric() || letter == '_';
        !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(line: &str) -> Vec<Rule> {
        check(&Text { path: "a".into(), text: line.into() }).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_path_of_a_machine_is_found_wherever_a_path_can_begin() {
        for folder in FOLDERS {
            for line in [format!("/{folder}/x"), format!("open(\"/{folder}/x\")"), format!("A=/{folder}/x:b")]
            {
                assert_eq!(rules(&line), [Rule::Path], "{line}");
            }
        }
    }

    #[test]
    fn a_path_within_the_project_or_of_the_system_passes() {
        for line in
            ["src/work/a.rs", "./tmp/a", "${A}/home/b", "/usr/share/amqp", "a / work / b", "/work", "~/tmp/a"]
        {
            assert_eq!(rules(line), [], "{line}");
        }
    }

    #[test]
    fn marks_of_open_work_are_whole_words() {
        for word in OPEN {
            assert_eq!(rules(&format!("// {word}: later")), [Rule::Open]);
            assert_eq!(rules(&format!("// {word}S, {word}_1 and mktemp a{word}")), []);
        }
    }

    #[test]
    fn the_line_is_said() {
        let text = format!("one\ntwo {}\n", OPEN[0]);
        let findings = check(&Text { path: "a.md".into(), text });
        assert!(findings[0].to_string().starts_with("a.md:2: open: "), "{}", findings[0]);
    }
}
