//! The files there are to check: what git knows or would take, less what no hand writes.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use super::Error;

/// A file's content.
pub struct Text {
    /// From the project's root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// The paths of all files that are committed, or neither committed nor ignored, in order.
///
/// # Errors
/// When git cannot say.
pub fn list(root: &Path) -> Result<Vec<String>, Error> {
    let command = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = output(Command::new("git").args(command).current_dir(root))?;
    let mut paths: Vec<String> = output.split('\0').filter(|path| !path.is_empty()).map(Into::into).collect();
    paths.sort();
    paths.dedup();
    paths.retain(|path| root.join(path).exists());
    Ok(paths)
}

/// The contents of those that are text and are written by hand.
///
/// # Errors
/// When one cannot be read.
pub fn read(root: &Path, paths: &[String]) -> Result<Vec<Text>, Error> {
    let mut texts = Vec::new();
    for path in paths.iter().filter(|path| by_hand(path)) {
        match fs::read_to_string(root.join(path)) {
            Ok(text) => texts.push(Text { path: path.clone(), text }),
            // Not UTF-8, so not a text.
            Err(error) if error.kind() == ErrorKind::InvalidData => {}
            Err(source) => return Err(Error::Io { what: path.into(), source }),
        }
    }
    Ok(texts)
}

fn by_hand(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    !matches!(name, "LICENSE" | "Cargo.lock" | "package-lock.json" | "go.sum")
        && !path.starts_with("fuzz/corpus/")
}

/// What a program writes to its standard output.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let output =
        command.output().map_err(|source| Error::Io { what: command.get_program().into(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    Err(Error::Program {
        program: format!("{} {}", command.get_program().to_string_lossy(), arguments.join(" ")),
        words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_file_is_listed_and_read_and_a_lock_file_is_not_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let paths = list(&root).unwrap();
        assert!(paths.iter().any(|path| path == "Cargo.lock"));
        let texts = read(&root, &paths).unwrap();
        assert!(texts.iter().any(|text| text.path == "xtask/tidy/files.rs" && text.text.contains("by_hand")));
        assert!(texts.iter().all(|text| text.path != "Cargo.lock"));
    }

    #[test]
    fn a_program_that_fails_is_named_with_its_words() {
        let error = output(Command::new("git").arg("no-such-command")).unwrap_err().to_string();
        assert!(error.starts_with("`git no-such-command` failed: "), "{error}");
    }
}
