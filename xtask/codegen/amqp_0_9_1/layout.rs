//! `spec/layout.rs`: every method's fields as data, from which tests build arguments for each decoder.

use super::super::source::Source;
use super::FROM;
use super::model::{Spec, WireType};

pub fn source(spec: &Spec) -> String {
    let mut source = Source::generated(FROM, &["The layout of every method's arguments, for tests."]);
    source.doc("A method's name, its class and method id in one number, and its fields.");
    source.doc("");
    source.doc("A field is a letter: `b`it, `o`ctet, `s`hort, `l`ong, `L`onglong, short string `t`, long string `T`, table `F`.");
    source.doc("A dot before it: reserved, zero.");
    source.line("pub const LAYOUTS: &[(&str, u32, &str)] = &[");
    for class in &spec.classes {
        for method in &class.methods {
            let mut letters = String::new();
            for field in &method.fields {
                letters.push_str(if field.reserved { "." } else { "" });
                letters.push(letter(field.wire_type));
            }
            source.line(format_args!(
                "(\"{}.{}\", 0x{:04x}_{:04x}, \"{letters}\"),",
                class.name, method.name, class.id, method.id
            ));
        }
    }
    source.line("];");
    source.into_text()
}

fn letter(wire_type: WireType) -> char {
    match wire_type {
        WireType::Bit => 'b',
        WireType::Octet => 'o',
        WireType::Short => 's',
        WireType::Long => 'l',
        WireType::Longlong | WireType::Timestamp => 'L',
        WireType::Shortstr => 't',
        WireType::Longstr => 'T',
        WireType::Table => 'F',
    }
}
