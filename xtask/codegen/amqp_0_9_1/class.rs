//! `spec/<class>.rs`: a struct for every method of a class, with its decoder and encoder.

use super::super::source::{Source, pascal_case, snake_case};
use super::FROM;
use super::model::{Class, Field, Method, WireType};

pub fn source(class: &Class) -> String {
    let title = format!("The methods of class `{}` ({}).", class.name, class.id);
    let clause = format!("Spec: AMQP 0-9-1 reference, class `{}`.", class.name);
    let mut source = Source::generated(FROM, &[&title, "", &clause]);
    let used = |wire_type| {
        class.methods.iter().flat_map(|m| &m.fields).any(|f| !f.reserved && f.wire_type == wire_type)
    };
    let any_fields = class.methods.iter().any(|m| !m.fields.is_empty());
    source.line("use crate::codec::{");
    source.line("DecodeError, EncodeMethod, Reader,");
    for (needed, name) in [
        (used(WireType::Table), "Table"),
        (used(WireType::Longstr) || used(WireType::Table), "put_longstr"),
        (used(WireType::Shortstr), "put_shortstr"),
    ] {
        if needed && any_fields {
            source.line(format_args!("{name},"));
        }
    }
    source.line("};");
    for method in &class.methods {
        source.line("");
        structure(&mut source, class, method);
        constants_and_decoder(&mut source, class, method);
        encoder(&mut source, class, method);
    }
    source.into_text()
}

/// True if the method's struct borrows from what it was decoded from.
pub fn borrows(method: &Method) -> bool {
    visible(method).any(|field| rust_type(field.wire_type).contains("'a"))
}

fn visible(method: &Method) -> impl Iterator<Item = &Field> {
    method.fields.iter().filter(|field| !field.reserved)
}

fn rust_type(wire_type: WireType) -> &'static str {
    match wire_type {
        WireType::Bit => "bool",
        WireType::Octet => "u8",
        WireType::Short => "u16",
        WireType::Long => "u32",
        WireType::Longlong | WireType::Timestamp => "u64",
        WireType::Shortstr => "&'a str",
        WireType::Longstr => "&'a [u8]",
        WireType::Table => "Table<'a>",
    }
}

fn structure(source: &mut Source, class: &Class, method: &Method) {
    let sender = match (method.to_server, method.to_client) {
        (true, true) => "sent by either peer",
        (true, false) => "sent by the client",
        (false, true) => "sent by the server",
        (false, false) => "sent by nobody",
    };
    let content = if method.has_content { ", followed by content" } else { "" };
    source.doc(format_args!(
        "`{}.{}` ({},{}), {sender}{content}.",
        class.name, method.name, class.id, method.id
    ));
    source.line("#[derive(Clone, Copy, Debug, Default, PartialEq)]");
    let name = pascal_case(&method.name);
    if visible(method).next().is_none() {
        source.line(format_args!("pub struct {name};"));
        return;
    }
    let generics = if borrows(method) { "<'a>" } else { "" };
    source.block(format_args!("pub struct {name}{generics}"), |source| {
        for field in visible(method) {
            source.doc(format_args!("Field `{}`, domain `{}`.", field.name, field.domain));
            source.line(format_args!("pub {}: {},", snake_case(&field.name), rust_type(field.wire_type)));
        }
    });
}

fn constants_and_decoder(source: &mut Source, class: &Class, method: &Method) {
    let name = pascal_case(&method.name);
    let (head, input) = if borrows(method) {
        (format!("impl<'a> {name}<'a>"), "&'a [u8]")
    } else {
        (format!("impl {name}"), "&[u8]")
    };
    source.line("");
    source.block(head, |source| {
        source.doc("The class's id.");
        source.line(format_args!("pub const CLASS_ID: u16 = {};", class.id));
        source.doc("The method's id within its class.");
        source.line(format_args!("pub const METHOD_ID: u16 = {};", method.id));
        source.doc("Both ids as the first four bytes of a method frame's payload have them.");
        source.line(format_args!("pub const ID: u32 = 0x{:04x}_{:04x};", class.id, method.id));
        source.doc("Class and method as the specification writes them.");
        source.line(format_args!("pub const NAME: &'static str = \"{}.{}\";", class.name, method.name));
        source.line("");
        source.doc("Decodes the arguments: the payload of a method frame behind its two ids.");
        source.line("#[inline]");
        source.block(
            format_args!("pub fn decode(arguments: {input}) -> Result<Self, DecodeError>"),
            |source| {
                decoder_body(source, method);
            },
        );
    });
}

fn decoder_body(source: &mut Source, method: &Method) {
    let mutable = if method.fields.is_empty() { "" } else { "mut " };
    source.line(format_args!("let {mutable}reader = Reader::new(arguments);"));
    let mut bit = 0;
    for field in &method.fields {
        if field.wire_type == WireType::Bit {
            if bit % 8 == 0 {
                let unused = if bit_run_is_reserved(method, field) { "_" } else { "" };
                source.line(format_args!("let {unused}bits = reader.octet()?;"));
            }
            if !field.reserved {
                source.line(format_args!(
                    "let {} = bits & {:#04x} != 0;",
                    snake_case(&field.name),
                    1 << (bit % 8)
                ));
            }
            bit += 1;
            continue;
        }
        bit = 0;
        let read = reader_method(field.wire_type);
        if field.reserved {
            source.line(format_args!("reader.{read}()?;"));
        } else {
            source.line(format_args!("let {} = reader.{read}()?;", snake_case(&field.name)));
        }
    }
    source.line("reader.finish()?;");
    let names: Vec<_> = visible(method).map(|field| snake_case(&field.name)).collect();
    if names.is_empty() {
        source.line("Ok(Self)");
    } else {
        source.line(format_args!("Ok(Self {{ {} }})", names.join(", ")));
    }
}

/// True if no visible bit stands in the run of bits that begins with `first`.
fn bit_run_is_reserved(method: &Method, first: &Field) -> bool {
    method
        .fields
        .iter()
        .skip_while(|field| !std::ptr::eq(*field, first))
        .take_while(|field| field.wire_type == WireType::Bit)
        .all(|field| field.reserved)
}

pub fn reader_method(wire_type: WireType) -> &'static str {
    match wire_type {
        WireType::Bit | WireType::Octet => "octet",
        WireType::Short => "short",
        WireType::Long => "long",
        WireType::Longlong | WireType::Timestamp => "longlong",
        WireType::Shortstr => "shortstr",
        WireType::Longstr => "longstr",
        WireType::Table => "table",
    }
}

/// The statement that appends `value` (a place expression) to `out`.
pub fn put_statement(wire_type: WireType, value: &str) -> String {
    match wire_type {
        WireType::Bit => format!("out.push(u8::from({value}));"),
        WireType::Octet => format!("out.push({value});"),
        WireType::Short | WireType::Long | WireType::Longlong | WireType::Timestamp => {
            format!("out.extend_from_slice(&{value}.to_be_bytes());")
        }
        WireType::Shortstr => format!("put_shortstr(out, {value});"),
        WireType::Longstr => format!("put_longstr(out, {value});"),
        WireType::Table => format!("put_longstr(out, {value}.as_bytes());"),
    }
}

fn encoder(source: &mut Source, class: &Class, method: &Method) {
    let name = pascal_case(&method.name);
    let generics = if borrows(method) { "<'_>" } else { "" };
    source.line("");
    source.block(format_args!("impl EncodeMethod for {name}{generics}"), |source| {
        source.line("#[inline]");
        source.block("fn encode(&self, out: &mut Vec<u8>)", |source| encoder_body(source, class, method));
    });
}

fn encoder_body(source: &mut Source, class: &Class, method: &Method) {
    let mut writer = Encoder { source, constant: Vec::new(), bits: Vec::new() };
    writer.constant.extend(class.id.to_be_bytes());
    writer.constant.extend(method.id.to_be_bytes());
    for field in &method.fields {
        if field.wire_type == WireType::Bit {
            writer.bit(field);
            continue;
        }
        writer.flush_bits();
        if field.reserved {
            writer.constant.extend(std::iter::repeat_n(0, zero_size(field.wire_type)));
        } else {
            writer.flush_constant();
            let put = put_statement(field.wire_type, &format!("self.{}", snake_case(&field.name)));
            writer.source.line(put);
        }
    }
    writer.flush_bits();
    writer.flush_constant();
}

/// Bytes of a zero or empty value.
fn zero_size(wire_type: WireType) -> usize {
    match wire_type {
        WireType::Bit | WireType::Octet | WireType::Shortstr => 1,
        WireType::Short => 2,
        WireType::Long | WireType::Longstr | WireType::Table => 4,
        WireType::Longlong | WireType::Timestamp => 8,
    }
}

/// Writes an encoder's statements; bytes known beforehand are gathered so that they are copied at once.
struct Encoder<'s> {
    source: &'s mut Source,
    constant: Vec<u8>,
    bits: Vec<String>,
}

impl Encoder<'_> {
    /// Spec: clause 4.2.5.2 "Bits": consecutive bits share an octet, the first in the lowest bit.
    fn bit(&mut self, field: &Field) {
        if self.bits.len() == 8 {
            self.flush_bits();
        }
        let value = format!("self.{}", snake_case(&field.name));
        self.bits.push(if field.reserved { String::new() } else { value });
    }

    fn flush_bits(&mut self) {
        let bits = std::mem::take(&mut self.bits);
        if bits.is_empty() {
            return;
        }
        let terms: Vec<_> = bits
            .iter()
            .enumerate()
            .filter(|(_, value)| !value.is_empty())
            .map(|(place, value)| match place {
                0 => format!("u8::from({value})"),
                _ => format!("u8::from({value}) << {place}"),
            })
            .collect();
        if terms.is_empty() {
            self.constant.push(0);
            return;
        }
        self.flush_constant();
        self.source.line(format_args!("out.push({});", terms.join(" | ")));
    }

    fn flush_constant(&mut self) {
        let bytes = std::mem::take(&mut self.constant);
        if !bytes.is_empty() {
            let bytes: Vec<_> = bytes.iter().map(u8::to_string).collect();
            self.source.line(format_args!("out.extend_from_slice(&[{}]);", bytes.join(", ")));
        }
    }
}
