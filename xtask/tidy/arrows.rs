//! Arrows between crates: cargo says which crate uses which, the table in docs/architecture.md which may.
//!
//! A row of the table is `| folder | crate | what | may use |`. The last cell is `nothing`, `everything` (every
//! crate beneath src/), or a list of rooms, the last parts of folders; `adapters` are the rooms `amqp_*`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::Error;
use super::files;
use super::finding::{Finding, Rule};

/// The page that has the table.
pub const PAGE: &str = "docs/architecture.md";

/// A crate of ours.
#[derive(Debug)]
pub struct Crate {
    /// From the project's root.
    pub folder: String,
    /// As cargo knows it.
    pub name: String,
    /// The folders of the crates of ours that it uses, those for its build and tests too.
    pub uses: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    path: Option<PathBuf>,
}

struct Row {
    line: usize,
    folder: String,
    name: String,
    may_use: String,
}

/// The crates of the workspace and of fuzz/, which is one of its own.
///
/// # Errors
/// When cargo cannot say.
pub fn crates(root: &Path) -> Result<Vec<Crate>, Error> {
    let mut crates = Vec::new();
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let mut command = Command::new("cargo");
        command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path", manifest]);
        let metadata: Metadata = serde_json::from_str(&files::output(command.current_dir(root))?)?;
        crates.extend(metadata.packages.into_iter().map(|package| package.into_crate(root)));
    }
    Ok(crates)
}

impl Package {
    fn into_crate(self, root: &Path) -> Crate {
        let folder = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        Crate {
            folder: self.manifest_path.parent().map(folder).unwrap_or_default(),
            name: self.name,
            uses: self.dependencies.iter().filter_map(|used| used.path.as_deref()).map(folder).collect(),
        }
    }
}

/// Every crate that uses what it may not, and every difference between the crates and the table's rows.
pub fn check(page: &str, crates: &[Crate]) -> Vec<Finding> {
    let rows = rows(page);
    let mut findings = Vec::new();
    for row in rows.iter().filter(|row| crates.iter().all(|one| one.folder != row.folder)) {
        findings.push(page_fault(row.line, format!("there is no crate in {}: take the row out", row.folder)));
    }
    for one in crates {
        match rows.iter().find(|row| row.folder == one.folder) {
            None => {
                let words = format!("the table has no row `{}` that says what it may use", one.folder);
                findings.push(page_fault(0, words));
            }
            Some(row) => findings.extend(check_crate(one, row, &rows)),
        }
    }
    findings
}

fn check_crate(one: &Crate, row: &Row, rows: &[Row]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if one.name != row.name {
        let words = format!("the crate in {} is called {}, not {}", row.folder, one.name, row.name);
        findings.push(page_fault(row.line, words));
    }
    let allowed = match allowed(row, rows) {
        Ok(allowed) => allowed,
        Err(word) => {
            let expected = "'nothing', 'everything', 'adapters' or the last part of a folder";
            findings.push(page_fault(row.line, format!("'{word}' is no room; expected {expected}")));
            return findings;
        }
    };
    for used in one.uses.iter().filter(|used| !allowed.contains(used.as_str())) {
        let file = format!("{}/Cargo.toml", one.folder);
        let words =
            format!("{} may not use {}; {PAGE} allows it {}", room(&one.folder), room(used), row.may_use);
        let subject = format!("{} -> {}", room(&one.folder), room(used));
        findings.push(Finding { subject, ..Finding::fault(Rule::Arrow, &file, 0, words) });
    }
    findings
}

/// The folders that the row's crate may use, or the word that says none.
fn allowed<'a>(row: &'a Row, rows: &'a [Row]) -> Result<BTreeSet<&'a str>, &'a str> {
    let mut allowed = BTreeSet::new();
    for word in row.may_use.split(',').map(str::trim).filter(|word| *word != "nothing") {
        let of_word = |other: &&Row| match word {
            "everything" => other.folder.starts_with("src/"),
            "adapters" => room(&other.folder).starts_with("amqp_"),
            name => room(&other.folder) == name,
        };
        let before = allowed.len();
        allowed.extend(rows.iter().filter(of_word).map(|other| other.folder.as_str()));
        if allowed.len() == before {
            return Err(word);
        }
    }
    Ok(allowed)
}

fn rows(page: &str) -> Vec<Row> {
    let row = |(index, line): (usize, &str)| {
        let cells: Vec<&str> =
            line.strip_prefix("| `")?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [folder, name, _, may_use] = cells[..] else { return None };
        let folder = folder.trim_end_matches('`').to_owned();
        Some(Row { line: index + 1, folder, name: name.to_owned(), may_use: may_use.to_owned() })
    };
    page.lines().enumerate().filter_map(row).collect()
}

fn room(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap_or(folder)
}

fn page_fault(line: usize, words: String) -> Finding {
    Finding::fault(Rule::Arrow, PAGE, line, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| folder | crate | what | may use |\n|---|---|---|---|\n\
        | `src/kernel` | f-kernel | queues | nothing |\n\
        | `src/amqp_0_9_1` | f-amqp | bytes | kernel |\n\
        | `src/client` | f-client | a client | adapters |\n\
        | `src/broker` | f-broker | the binary | everything |\n";

    fn crates(arrows: &[(&str, &[&str])]) -> Vec<Crate> {
        let crate_of = |&(name, uses): &(&str, &[&str])| {
            let folder = |room: &str| format!("src/{}", if room == "amqp" { "amqp_0_9_1" } else { room });
            let uses = uses.iter().map(|used| folder(used)).collect();
            Crate { folder: folder(name), name: format!("f-{name}"), uses }
        };
        arrows.iter().map(crate_of).collect()
    }

    fn said(table: &str, arrows: &[(&str, &[&str])]) -> Vec<String> {
        check(table, &crates(arrows)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_of_the_table_pass() {
        let arrows: [(&str, &[&str]); 4] = [
            ("kernel", &[]),
            ("amqp", &["kernel"]),
            ("client", &["amqp"]),
            ("broker", &["kernel", "amqp", "client"]),
        ];
        assert_eq!(said(TABLE, &arrows), [""; 0]);
    }

    #[test]
    fn an_arrow_that_the_table_lacks_is_named_with_what_is_allowed() {
        let arrows: [(&str, &[&str]); 4] =
            [("kernel", &["amqp"]), ("amqp", &[]), ("client", &["kernel"]), ("broker", &[])];
        let expected = [
            "src/kernel/Cargo.toml: arrow: kernel may not use amqp_0_9_1; docs/architecture.md allows it nothing",
            "src/client/Cargo.toml: arrow: client may not use kernel; docs/architecture.md allows it adapters",
        ];
        assert_eq!(said(TABLE, &arrows), expected);
        assert_eq!(check(TABLE, &crates(&arrows))[1].subject, "client -> kernel");
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_faults() {
        let arrows: [(&str, &[&str]); 4] =
            [("kernel", &[]), ("amqp", &[]), ("client", &[]), ("journal", &[])];
        let expected = [
            "docs/architecture.md:6: arrow: there is no crate in src/broker: take the row out",
            "docs/architecture.md: arrow: the table has no row `src/journal` that says what it may use",
        ];
        assert_eq!(said(TABLE, &arrows), expected);
    }

    #[test]
    fn a_word_that_is_no_room_and_a_wrong_name_are_faults() {
        let table = "| `src/kernel` | kernel | queues | nothing at all |\n";
        let expected = [
            "docs/architecture.md:1: arrow: the crate in src/kernel is called f-kernel, not kernel",
            "docs/architecture.md:1: arrow: 'nothing at all' is no room; expected 'nothing', 'everything', \
             'adapters' or the last part of a folder",
        ];
        assert_eq!(said(table, &[("kernel", &[])]), expected);
    }

    #[test]
    fn cargo_names_the_crates_of_this_workspace_and_of_fuzz() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
        let crates = super::crates(&root).unwrap();
        let adapter = crates.iter().find(|one| one.folder == "src/amqp_0_9_1").unwrap();
        assert!(adapter.uses.contains("src/kernel"), "{adapter:?}");
        assert!(crates.iter().any(|one| one.folder == "fuzz" && one.uses.contains("src/amqp_0_9_1")));
    }
}
