//! `spec/<class>_properties.rs`: the content properties of a class, with their flags, decoder and encoder.

use super::super::source::{Source, pascal_case, screaming_case, snake_case};
use super::FROM;
use super::class::put_statement;
use super::model::{Class, Field, WireType};

pub fn type_name(class: &Class) -> String {
    pascal_case(&class.name) + "Properties"
}

pub fn source(class: &Class) -> String {
    let title = format!("The content properties of class `{}` ({}).", class.name, class.id);
    let mut source = Source::generated(
        FROM,
        &[
            &title,
            "",
            "Short strings are bytes here: publishers send binary identifiers, which are passed on as they are.",
            "",
            "Spec: AMQP 0-9-1, clause 4.2.6.1 \"The Content Header\".",
        ],
    );
    source.line("use crate::codec::{DecodeError, Reader, Table, put_longstr, put_shortstr_bytes};");
    source.line("");
    for (flag, field) in flags(class) {
        source.doc(format_args!("The flag of property `{}`.", field.name));
        source.line(format_args!("pub const {}: u16 = {flag:#06x};", screaming_case(&field.name)));
    }
    let all = flags(class).fold(0, |all, (flag, _)| all | flag);
    source.doc("The flags of all properties.");
    source.line(format_args!("pub const ALL: u16 = {all:#06x};"));
    structure(&mut source, class);
    source.line("");
    source.block(format_args!("impl<'a> {}<'a>", type_name(class)), |source| {
        decoder(source, class);
        encoder(source, class);
    });
    source.into_text()
}

/// Each property with its flag. Spec: "the property flags from the highest bit down".
fn flags(class: &Class) -> impl Iterator<Item = (u16, &Field)> {
    class.properties.iter().enumerate().map(|(index, field)| (0x8000 >> index, field))
}

fn rust_type(wire_type: WireType) -> &'static str {
    match wire_type {
        WireType::Bit => "bool",
        WireType::Octet => "u8",
        WireType::Short => "u16",
        WireType::Long => "u32",
        WireType::Longlong | WireType::Timestamp => "u64",
        WireType::Shortstr | WireType::Longstr => "&'a [u8]",
        WireType::Table => "Table<'a>",
    }
}

fn structure(source: &mut Source, class: &Class) {
    source.line("");
    source.doc(format_args!("The properties of a message of class `{}`.", class.name));
    source.line("#[derive(Clone, Copy, Debug, Default, PartialEq)]");
    source.block(format_args!("pub struct {}<'a>", type_name(class)), |source| {
        for field in &class.properties {
            source.doc(format_args!("Property `{}`, domain `{}`.", field.name, field.domain));
            source.line(format_args!(
                "pub {}: Option<{}>,",
                snake_case(&field.name),
                rust_type(field.wire_type)
            ));
        }
    });
}

fn decoder(source: &mut Source, class: &Class) {
    source.doc("Decodes property flags and list.");
    source.block("pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError>", |source| {
        source.line("let mut reader = Reader::new(bytes);");
        source.line("let flags = reader.short()?;");
        source.block("if flags & !ALL != 0", |source| {
            source.line("return Err(DecodeError::UnknownPropertyFlags(flags));");
        });
        source.line("let mut properties = Self::default();");
        for field in &class.properties {
            let read = match field.wire_type {
                WireType::Shortstr => "shortstr_bytes",
                other => super::class::reader_method(other),
            };
            source.block(format_args!("if flags & {} != 0", screaming_case(&field.name)), |source| {
                source.line(format_args!("properties.{} = Some(reader.{read}()?);", snake_case(&field.name)));
            });
        }
        source.line("reader.finish()?;");
        source.line("Ok(properties)");
    });
}

fn encoder(source: &mut Source, class: &Class) {
    source.line("");
    source.doc("Appends property flags and list.");
    source.block("pub fn encode(&self, out: &mut Vec<u8>)", |source| {
        let terms: Vec<_> = class
            .properties
            .iter()
            .map(|field| {
                let (member, flag) = (snake_case(&field.name), screaming_case(&field.name));
                format!("(u16::from(self.{member}.is_some()) * {flag})")
            })
            .collect();
        source.line(format_args!("let flags = {};", terms.join(" | ")));
        source.line("out.extend_from_slice(&flags.to_be_bytes());");
        for field in &class.properties {
            let put = match field.wire_type {
                WireType::Shortstr => "put_shortstr_bytes(out, value);".to_owned(),
                other => put_statement(other, "value"),
            };
            source.block(format_args!("if let Some(value) = self.{}", snake_case(&field.name)), |source| {
                source.line(put);
            });
        }
    });
}
