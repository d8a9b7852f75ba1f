//! Brings a folder of generated files up to date, or tells which of them are not.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Error, File};

/// Formats `files` and makes them the only files of `folder` (relative to `root`). With `check` nothing is written,
/// and a folder that differs is an error that names the files.
pub fn update(root: &Path, folder: &Path, files: &[File], check: bool) -> Result<(), Error> {
    let directory = root.join(folder);
    let mut stale = Vec::new();
    for file in files {
        let path = directory.join(&file.name);
        let wanted = format(root, &file.source)?;
        if std::fs::read_to_string(&path).is_ok_and(|found| found == wanted) {
            continue;
        }
        stale.push(folder.join(&file.name));
        if !check {
            std::fs::create_dir_all(&directory).map_err(at(&directory))?;
            std::fs::write(&path, wanted).map_err(at(&path))?;
        }
    }
    for path in leftovers(&directory, files)? {
        stale.push(folder.join(path.file_name().unwrap_or_default()));
        if !check {
            std::fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    if check && !stale.is_empty() {
        return Err(Error::NotCurrent(stale));
    }
    for path in stale {
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Files of `directory` that are not generated any more.
fn leftovers(directory: &Path, files: &[File]) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(at(directory))? {
        let path = entry.map_err(at(directory))?.path();
        if !files.iter().any(|file| path.file_name().is_some_and(|name| name == file.name.as_str())) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Runs `source` through the rustfmt and the settings that `cargo fmt` uses.
fn format(root: &Path, source: &str) -> Result<String, Error> {
    let failed = |error: std::io::Error| Error::Rustfmt(error.to_string());
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = rustfmt.stdin.take() {
        stdin.write_all(source.as_bytes()).map_err(failed)?;
    }
    let output = rustfmt.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(Error::Rustfmt(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    String::from_utf8(output.stdout).map_err(|error| Error::Rustfmt(error.to_string()))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_tells_what_is_not_current_and_writes_nothing() {
        let root = std::env::temp_dir().join(format!("xtask-codegen-{}", std::process::id()));
        let folder = Path::new("spec");
        std::fs::create_dir_all(root.join(folder)).unwrap();
        std::fs::write(root.join("rustfmt.toml"), "").unwrap();
        std::fs::write(root.join("spec/old.rs"), "").unwrap();
        let files = [File { name: "new.rs".to_owned(), source: "const  A:u8=1;".to_owned() }];

        let error = update(&root, folder, &files, true).unwrap_err();
        let stale: &[PathBuf] = &["spec/new.rs".into(), "spec/old.rs".into()];
        assert!(matches!(&error, Error::NotCurrent(found) if found == stale), "{error}");
        assert!(!root.join("spec/new.rs").exists());

        update(&root, folder, &files, false).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("spec/new.rs")).unwrap(), "const A: u8 = 1;\n");
        assert!(!root.join("spec/old.rs").exists());
        update(&root, folder, &files, true).unwrap();

        let broken = [File { name: "new.rs".to_owned(), source: "const".to_owned() }];
        assert!(matches!(update(&root, folder, &broken, false), Err(Error::Rustfmt(_))));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
