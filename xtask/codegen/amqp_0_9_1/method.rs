//! `spec/method.rs`: the enum of all methods, and its dispatch by class and method id.

use super::super::source::{Source, pascal_case, snake_case};
use super::model::{Class, Method, Spec};
use super::{FROM, class};

pub fn source(spec: &Spec) -> String {
    let mut source = Source::generated(
        FROM,
        &["All methods of all classes.", "", "Spec: AMQP 0-9-1, clause 4.2.4 \"Method Payloads\"."],
    );
    source.line("#![allow(clippy::too_many_lines, reason = \"one line a method\")]");
    source.line("");
    let modules: Vec<_> = spec.classes.iter().map(|class| snake_case(&class.name)).collect();
    source.line(format_args!("use super::{{{}}};", modules.join(", ")));
    source.line("use crate::codec::{DecodeError, EncodeMethod};");
    source.line("");
    source.doc("A method of any class.");
    source.line("#[derive(Clone, Copy, Debug, PartialEq)]");
    source.block("pub enum Method<'a>", |source| {
        for (class, method) in methods(spec) {
            source.doc(format_args!("`{}.{}`", class.name, method.name));
            let generics = if class::borrows(method) { "<'a>" } else { "" };
            source.line(format_args!("{}({}{generics}),", variant(class, method), path(class, method)));
        }
    });
    source.line("");
    source.block("impl<'a> Method<'a>", |source| {
        decoder(source, spec);
        accessors(source, spec);
    });
    source.line("");
    source.block("impl EncodeMethod for Method<'_>", |source| {
        source.block("fn encode(&self, out: &mut Vec<u8>)", |source| {
            source.block("match self", |source| {
                for (class, method) in methods(spec) {
                    source.line(format_args!(
                        "Self::{}(method) => method.encode(out),",
                        variant(class, method)
                    ));
                }
            });
        });
    });
    conversions(&mut source, spec);
    source.into_text()
}

fn methods(spec: &Spec) -> impl Iterator<Item = (&Class, &Method)> {
    spec.classes.iter().flat_map(|class| class.methods.iter().map(move |method| (class, method)))
}

fn variant(class: &Class, method: &Method) -> String {
    pascal_case(&class.name) + &pascal_case(&method.name)
}

fn path(class: &Class, method: &Method) -> String {
    format!("{}::{}", snake_case(&class.name), pascal_case(&method.name))
}

fn decoder(source: &mut Source, spec: &Spec) {
    source.doc("Decodes the payload of a method frame: class id, method id, arguments.");
    source.line("#[inline]");
    source.block("pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError>", |source| {
        source.line("let (id, arguments) = payload.split_first_chunk().ok_or(DecodeError::Truncated)?;");
        source.line("let id = u32::from_be_bytes(*id);");
        source.block("Ok(match id", |source| {
            for (class, method) in methods(spec) {
                let path = path(class, method);
                source.line(format_args!(
                    "{path}::ID => Self::{}({path}::decode(arguments)?),",
                    variant(class, method)
                ));
            }
            source.line(
                "_ => return Err(DecodeError::UnknownMethod { class_id: (id >> 16) as u16, method_id: id as u16 }),",
            );
        });
        source.line(")");
    });
}

fn accessors(source: &mut Source, spec: &Spec) {
    source.line("");
    source.doc("Class id in the upper 16 bits, method id in the lower: the `ID` of the method's struct.");
    source.line("#[must_use]");
    source.block("pub const fn id(&self) -> u32", |source| {
        source.block("match self", |source| {
            for (class, method) in methods(spec) {
                source.line(format_args!(
                    "Self::{}(_) => {}::ID,",
                    variant(class, method),
                    path(class, method)
                ));
            }
        });
    });
    source.line("");
    source.doc("The id of the method's class.");
    source.line("#[must_use]");
    source.line("pub const fn class_id(&self) -> u16 { (self.id() >> 16) as u16 }");
    source.line("");
    source.doc("The method's id within its class.");
    source.line("#[must_use]");
    source.line("pub const fn method_id(&self) -> u16 { self.id() as u16 }");
    source.line("");
    source.doc("Class and method as the specification writes them: `basic.publish`.");
    source.line("#[must_use]");
    source.block("pub const fn name(&self) -> &'static str", |source| {
        source.block("match self", |source| {
            for (class, method) in methods(spec) {
                source.line(format_args!(
                    "Self::{}(_) => {}::NAME,",
                    variant(class, method),
                    path(class, method)
                ));
            }
        });
    });
    source.line("");
    source.doc("True if a content header and body follow the method.");
    source.line("#[must_use]");
    let carriers: Vec<_> = methods(spec)
        .filter(|(_, method)| method.has_content)
        .map(|(class, method)| format!("Self::{}(_)", variant(class, method)))
        .collect();
    source.line(format_args!(
        "pub const fn has_content(&self) -> bool {{ matches!(self, {}) }}",
        carriers.join(" | ")
    ));
}

fn conversions(source: &mut Source, spec: &Spec) {
    for (class, method) in methods(spec) {
        let generics = if class::borrows(method) { "<'a>" } else { "" };
        let lifetime = if class::borrows(method) { "<'a>" } else { "<'_>" };
        let declared = if class::borrows(method) { "<'a>" } else { "" };
        let path = path(class, method);
        source.line("");
        source.block(format_args!("impl{declared} From<{path}{generics}> for Method{lifetime}"), |source| {
            source.block(format_args!("fn from(method: {path}{generics}) -> Self"), |source| {
                source.line(format_args!("Self::{}(method)", variant(class, method)));
            });
        });
    }
}
