//! AMQP 0-9-1: the public XML and our additions become constants, one file a class, and the enum of all methods.

mod class;
mod constants;
mod layout;
mod method;
mod model;
mod properties;

use std::path::Path;

use self::model::{Class, Spec};
use super::source::{Source, snake_case};
use super::{Error, File};

/// What the generated files name as their source.
const FROM: &str = "amqp-specs 0-9-1-rabbit and additions.xml";

/// The files of `spec/`, from the public XML and the committed additions to it.
pub fn generate(public: &Path, additions: &Path) -> Result<Vec<File>, Error> {
    if !public.exists() {
        return Err(Error::NoSpecs(public.to_owned()));
    }
    let spec = model::read(&[public, additions])?;
    let mut files = vec![
        File { name: "mod.rs".to_owned(), source: root(&spec) },
        File { name: "constants.rs".to_owned(), source: constants::source(&spec) },
        File { name: "method.rs".to_owned(), source: method::source(&spec) },
        File { name: "layout.rs".to_owned(), source: layout::source(&spec) },
    ];
    for class in &spec.classes {
        files.push(File { name: format!("{}.rs", snake_case(&class.name)), source: class::source(class) });
        if has_properties(class) {
            let name = format!("{}_properties.rs", snake_case(&class.name));
            files.push(File { name, source: properties::source(class) });
        }
    }
    Ok(files)
}

fn has_properties(class: &Class) -> bool {
    !class.properties.is_empty()
}

fn root(spec: &Spec) -> String {
    let mut source = Source::generated(
        FROM,
        &["The protocol as its specification gives it: constants, methods, content properties."],
    );
    for class in &spec.classes {
        let name = snake_case(&class.name);
        source.line(format_args!("pub mod {name};"));
        if has_properties(class) {
            source.line(format_args!("pub mod {name}_properties;"));
        }
    }
    source.line("mod constants;");
    source.line("mod method;");
    source.line("#[cfg(test)]");
    source.line("pub(crate) mod layout;");
    source.line("");
    for class in spec.classes.iter().filter(|class| has_properties(class)) {
        source.line(format_args!(
            "pub use {}_properties::{};",
            snake_case(&class.name),
            properties::type_name(class)
        ));
    }
    source.line("pub use constants::*;");
    source.line("pub use method::Method;");
    source.into_text()
}
