//! Links in Markdown: one that is not an address of the web leads to a file or folder of the project.

use super::files::Text;
use super::finding::{Finding, Rule};

/// Every relative link of a Markdown file that leads nowhere.
pub fn check(text: &Text, paths: &[String]) -> Vec<Finding> {
    if !text.path.ends_with(".md") {
        return Vec::new();
    }
    let (mut findings, mut in_code) = (Vec::new(), false);
    for (index, line) in text.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in targets(&without_code(line)) {
            if !leads_somewhere(&text.path, &target, paths) {
                let words = format!("'{target}' is no file or folder of the project, seen from this file");
                findings.push(Finding::fault(Rule::Link, &text.path, index + 1, words));
            }
        }
    }
    findings
}

/// The line less its code spans: what is between each two backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The targets of `[words](target "title")` and of `[label]: target`.
fn targets(line: &str) -> Vec<String> {
    let mut targets: Vec<&str> =
        line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect();
    if line.starts_with('[') {
        targets.extend(line.split_once("]: ").map(|(_, target)| target));
    }
    let bare = |target: &str| target.trim().trim_matches(['<', '>']).to_owned();
    targets.into_iter().filter_map(|target| target.split_whitespace().next()).map(bare).collect()
}

fn leads_somewhere(from: &str, target: &str, paths: &[String]) -> bool {
    let of_the_web = target.contains("://") || target.starts_with("mailto:");
    let place = target.split('#').next().unwrap_or_default();
    if of_the_web || place.is_empty() {
        return true;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in place.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            name => parts.push(name),
        }
    }
    let place = parts.join("/");
    let within = |path: &String| {
        path.strip_prefix(&place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    place.is_empty() || paths.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<(usize, String)> {
        let paths = ["README.md", "docs/a.md", "docs/decisions/0001-x.md"].map(str::to_owned);
        let findings = check(&Text { path: path.into(), text: text.into() }, &paths);
        findings.into_iter().map(|finding| (finding.line, finding.text)).collect()
    }

    #[test]
    fn links_are_seen_from_their_file() {
        assert_eq!(broken("README.md", "[a](docs/a.md) [b](docs/decisions/) [c](./docs/a.md#head)"), []);
        assert_eq!(broken("docs/a.md", "[r](../README.md) and [b](decisions/0001-x.md \"title\")"), []);
        assert_eq!(broken("docs/a.md", "[b](docs/a.md)").len(), 1);
        assert_eq!(broken("README.md", "[b](docs/b.md)\n\n[c]: ./nothing.md").len(), 2);
        assert_eq!(broken("README.md", "[out](../elsewhere/a.md)").len(), 1);
    }

    #[test]
    fn the_beginning_of_a_name_is_not_the_name() {
        assert_eq!(broken("README.md", "[d](doc) [e](docs/a)").len(), 2);
    }

    #[test]
    fn the_web_heads_of_the_page_and_code_are_not_looked_at() {
        assert_eq!(
            broken("README.md", "[w](https://example.org/a) [h](#head) [m](mailto:a@example.org)"),
            []
        );
        assert_eq!(broken("README.md", "`[a](b)` and\n```\n[a](b)\n```\n"), []);
        assert_eq!(broken("README.md", "```\n```\n`x` [a](b)").len(), 1);
        assert_eq!(broken("src/a.rs", "//! [a](b)"), []);
    }
}
