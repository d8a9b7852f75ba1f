//! The exceptions from the rules: each names a rule, a subject and a reason, and is needed.

use super::finding::{Finding, Rule};

const FILE: &str = "xtask/tidy/exceptions.txt";

/// What may pass.
pub struct Exceptions {
    rows: Vec<Row>,
}

struct Row {
    rule: Rule,
    subject: String,
    line: usize,
    used: bool,
}

impl Exceptions {
    /// Reads the lines of `exceptions.txt`; a line that says no rule, subject and reason is a finding.
    pub fn parse(text: &str) -> (Self, Vec<Finding>) {
        let (mut rows, mut findings) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match row(line, index + 1) {
                Some(row) => rows.push(row),
                None => findings.push(Finding::fault(
                    Rule::Exception,
                    FILE,
                    index + 1,
                    format!("'{line}' is not 'RULE SUBJECT: REASON'"),
                )),
            }
        }
        (Self { rows }, findings)
    }

    /// Whether the finding may pass; its exception counts as used.
    pub fn cover(&mut self, finding: &Finding) -> bool {
        let row = self.rows.iter_mut().find(|row| row.rule == finding.rule && row.subject == finding.subject);
        row.map(|row| row.used = true).is_some()
    }

    /// A finding for each exception that covered nothing.
    pub fn unused(self) -> impl Iterator<Item = Finding> {
        self.rows.into_iter().filter(|row| !row.used).map(|row| {
            let text = format!("nothing needs '{} {}' any more: take it out", row.rule.name(), row.subject);
            Finding::fault(Rule::Exception, FILE, row.line, text)
        })
    }
}

fn row(line: &str, number: usize) -> Option<Row> {
    let (what, reason) = line.split_once(": ")?;
    let (rule, subject) = what.split_once(' ')?;
    let rule = Rule::named(rule)?;
    let said = !subject.trim().is_empty() && !reason.trim().is_empty();
    said.then(|| Row { rule, subject: subject.trim().to_owned(), line: number, used: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: Rule, file: &str) -> Finding {
        Finding::fault(rule, file, 0, "")
    }

    #[test]
    fn an_exception_covers_its_rule_and_subject_only() {
        let (mut exceptions, findings) = Exceptions::parse("# why\n\nlength src/a.rs: one table\n");
        assert_eq!(findings, []);
        assert!(exceptions.cover(&finding(Rule::Length, "src/a.rs")));
        assert!(!exceptions.cover(&finding(Rule::Length, "src/b.rs")));
        assert!(!exceptions.cover(&finding(Rule::Head, "src/a.rs")));
        assert_eq!(exceptions.unused().count(), 0);
    }

    #[test]
    fn an_exception_that_covers_nothing_is_a_fault() {
        let (exceptions, _) = Exceptions::parse("arrow client -> broker: for a while\n");
        let unused: Vec<_> = exceptions.unused().collect();
        assert_eq!(unused.len(), 1);
        assert!(
            unused[0].to_string().starts_with("xtask/tidy/exceptions.txt:1: exception: "),
            "{}",
            unused[0]
        );
    }

    #[test]
    fn an_exception_needs_a_known_rule_and_a_reason() {
        for line in ["length src/a.rs", "length src/a.rs: ", "beauty src/a.rs: because", "length: because"] {
            let (exceptions, findings) = Exceptions::parse(line);
            assert_eq!((findings.len(), exceptions.rows.len()), (1, 0), "{line}");
        }
    }
}
