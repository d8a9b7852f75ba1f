//! `spec/constants.rs`: frame constants, reply codes, class ids.

use super::super::source::{Source, pascal_case, screaming_case};
use super::FROM;
use super::model::{Constant, ConstantKind, Spec};

pub fn source(spec: &Spec) -> String {
    let mut source = Source::generated(
        FROM,
        &[
            "Frame types, reply codes and class ids.",
            "",
            "Spec: AMQP 0-9-1 reference, clause 1.2 \"Class Constants\".",
        ],
    );
    let (plain, mut replies): (Vec<_>, Vec<_>) =
        spec.constants.iter().partition(|constant| constant.kind == ConstantKind::Plain);
    replies.sort_by_key(|constant| constant.value);
    for constant in plain {
        let rust_type = if constant.value <= 255 { "u8" } else { "u32" };
        let rust_type = if constant.name.starts_with("reply") { "u16" } else { rust_type };
        source.doc(format_args!("Constant `{}`.", constant.name));
        source.line(format_args!(
            "pub const {}: {rust_type} = {};",
            screaming_case(&constant.name),
            constant.value
        ));
    }
    for class in &spec.classes {
        source.doc(format_args!("The id of class `{}`.", class.name));
        source.line(format_args!("pub const CLASS_{}: u16 = {};", screaming_case(&class.name), class.id));
    }
    reply_codes(&mut source, &replies);
    source.into_text()
}

fn reply_codes(source: &mut Source, replies: &[&Constant]) {
    source.line("");
    source.doc("Why a channel or connection is closed, or a message returned.");
    source.line("#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]");
    source.line("#[repr(u16)]");
    source.block("pub enum ReplyCode", |source| {
        for constant in replies {
            let scope = if constant.kind == ConstantKind::HardError { "connection" } else { "channel" };
            source.doc(format_args!("{}, `{}`: concerns the {scope}.", constant.value, constant.name));
            source.line(format_args!("{} = {},", pascal_case(&constant.name), constant.value));
        }
    });
    source.line("");
    source.block("impl ReplyCode", |source| {
        source.doc("The number on the wire.");
        source.line("#[must_use]");
        source.line("pub const fn code(self) -> u16 { self as u16 }");
        source.line("");
        source.doc("The name that reply texts begin with: `NOT_FOUND`.");
        source.line("#[must_use]");
        source.block("pub const fn name(self) -> &'static str", |source| {
            source.block("match self", |source| {
                for constant in replies {
                    source.line(format_args!(
                        "Self::{} => \"{}\",",
                        pascal_case(&constant.name),
                        screaming_case(&constant.name)
                    ));
                }
            });
        });
        source.line("");
        source.doc("True if the connection must close (a \"hard error\"), false if the channel is enough.");
        source.line("#[must_use]");
        source.block("pub const fn closes_connection(self) -> bool", |source| {
            source.block("match self", |source| {
                for constant in replies {
                    let hard = constant.kind == ConstantKind::HardError;
                    source.line(format_args!("Self::{} => {hard},", pascal_case(&constant.name)));
                }
            });
        });
        source.line("");
        source.doc("The reply code with this number.");
        source.line("#[must_use]");
        source.block("pub const fn from_code(code: u16) -> Option<Self>", |source| {
            source.block("Some(match code", |source| {
                for constant in replies {
                    source.line(format_args!("{} => Self::{},", constant.value, pascal_case(&constant.name)));
                }
                source.line("_ => return None,");
            });
            source.line(")");
        });
    });
}
