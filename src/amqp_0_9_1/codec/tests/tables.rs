//! Field tables: golden bytes, all types there and back, and tables made to hurt.

use proptest::prelude::*;

use super::{hex, proptest_cases};
use crate::codec::table::{BYTES_MAX, DEPTH_MAX};
use crate::codec::{ArrayWriter, DecodeError, Table, TableWriter, Value};
use crate::spec::ReplyCode;

/// A value that owns what it holds, for generating.
#[derive(Clone, Debug)]
enum Owned {
    Leaf(Leaf),
    Array(Vec<Owned>),
    Table(Vec<(String, Owned)>),
}

#[derive(Clone, Debug)]
enum Leaf {
    Fixed(Value<'static>),
    LongString(Vec<u8>),
    Bytes(Vec<u8>),
}

fn leaf() -> impl Strategy<Value = Leaf> {
    prop_oneof![
        any::<bool>().prop_map(|v| Leaf::Fixed(Value::Boolean(v))),
        any::<i8>().prop_map(|v| Leaf::Fixed(Value::Int8(v))),
        any::<u8>().prop_map(|v| Leaf::Fixed(Value::UInt8(v))),
        any::<i16>().prop_map(|v| Leaf::Fixed(Value::Int16(v))),
        any::<u16>().prop_map(|v| Leaf::Fixed(Value::UInt16(v))),
        any::<i32>().prop_map(|v| Leaf::Fixed(Value::Int32(v))),
        any::<u32>().prop_map(|v| Leaf::Fixed(Value::UInt32(v))),
        any::<i64>().prop_map(|v| Leaf::Fixed(Value::Int64(v))),
        any::<f32>().prop_map(|v| Leaf::Fixed(Value::Float32(v))),
        any::<f64>().prop_map(|v| Leaf::Fixed(Value::Float64(v))),
        any::<(u8, i32)>().prop_map(|(scale, mantissa)| Leaf::Fixed(Value::Decimal { scale, mantissa })),
        any::<u64>().prop_map(|v| Leaf::Fixed(Value::Timestamp(v))),
        Just(Leaf::Fixed(Value::Void)),
        any::<Vec<u8>>().prop_map(Leaf::LongString),
        any::<Vec<u8>>().prop_map(Leaf::Bytes),
    ]
}

fn fields() -> impl Strategy<Value = Vec<(String, Owned)>> {
    let value = leaf().prop_map(Owned::Leaf).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Owned::Array),
            prop::collection::vec(("\\PC{0,20}", inner), 0..4).prop_map(Owned::Table),
        ]
    });
    prop::collection::vec(("\\PC{0,20}", value), 0..6)
}

/// The encoded content of tables of all kinds.
pub fn table_content() -> impl Strategy<Value = Vec<u8>> {
    fields().prop_map(|fields| {
        let mut writer = TableWriter::new();
        write_fields(&mut writer, &fields);
        writer.into_bytes()
    })
}

impl Leaf {
    fn value(&self) -> Value<'_> {
        match self {
            Leaf::Fixed(value) => *value,
            Leaf::LongString(bytes) => Value::LongString(bytes),
            Leaf::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

fn write_fields(writer: &mut TableWriter, fields: &[(String, Owned)]) {
    for (name, value) in fields {
        match value {
            Owned::Leaf(leaf) => writer.put(name, leaf.value()),
            Owned::Array(values) => writer.put_array(name, |array| write_values(array, values)),
            Owned::Table(fields) => writer.put_table(name, |table| write_fields(table, fields)),
        };
    }
}

fn write_values(writer: &mut ArrayWriter, values: &[Owned]) {
    for value in values {
        match value {
            Owned::Leaf(leaf) => writer.push(leaf.value()),
            Owned::Array(values) => writer.push_array(|array| write_values(array, values)),
            Owned::Table(fields) => writer.push_table(|table| write_fields(table, fields)),
        };
    }
}

/// NaN is not equal to itself, its text is.
fn assert_same(expect: &Owned, found: Value<'_>) {
    match (expect, found) {
        (Owned::Leaf(leaf), found) => assert_eq!(format!("{:?}", leaf.value()), format!("{found:?}")),
        (Owned::Array(values), Value::Array(array)) => {
            assert_eq!(values.len(), array.iter().count());
            values.iter().zip(array).for_each(|(expect, found)| assert_same(expect, found));
        }
        (Owned::Table(fields), Value::Table(table)) => assert_same_fields(fields, table),
        (expect, found) => panic!("{expect:?} came back as {found:?}"),
    }
}

fn assert_same_fields(expect: &[(String, Owned)], found: Table<'_>) {
    assert_eq!(expect.len(), found.iter().count());
    for ((name, value), (found_name, found_value)) in expect.iter().zip(found) {
        assert_eq!(name, found_name);
        assert_same(value, found_value);
    }
}

proptest! {
    #![proptest_config(proptest_cases(256))]

    #[test]
    fn tables_round_trip(fields in fields()) {
        let mut writer = TableWriter::new();
        write_fields(&mut writer, &fields);
        let table = Table::validate(writer.as_table().as_bytes()).unwrap();
        assert_same_fields(&fields, table);
        let mut copy = TableWriter::new();
        for (name, value) in table {
            copy.put(name, value);
        }
        prop_assert_eq!(copy.as_table(), table);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
        let checked = Table::validate(&bytes);
        let fields = Table::from_validated(&bytes).iter().count();
        prop_assert!(fields <= bytes.len());
        if let Ok(table) = checked {
            let _ = format!("{table:?}");
        }
    }
}

/// A table as pika writes it: integers by their size, text, nested tables and arrays, a decimal.
#[test]
fn a_table_of_pika() {
    let bytes = hex(concat!(
        "0161490000000101627401017353000000047465787401",
        "6e4600000013016c410000000c49000000015300000001785603",
        "6269676c00000100000000000274735400000000 5e0be100",
        "016444020000013a",
    ));
    let table = Table::validate(&bytes).unwrap();
    assert_eq!(table.get("a"), Some(Value::Int32(1)));
    assert_eq!(table.get("b").and_then(|value| value.as_bool()), Some(true));
    assert_eq!(table.get("s").and_then(|value| value.as_str()), Some("text"));
    assert_eq!(table.get("big").and_then(|value| value.as_integer()), Some(1 << 40));
    assert_eq!(table.get("ts"), Some(Value::Timestamp(1_577_836_800)));
    assert_eq!(table.get("d"), Some(Value::Decimal { scale: 2, mantissa: 314 }));
    assert_eq!(table.get("absent"), None);
    let nested = table.get("n").and_then(|value| value.as_table()).unwrap();
    let array = nested.get("l").and_then(|value| value.as_array()).unwrap();
    assert_eq!(array.iter().collect::<Vec<_>>(), [Value::Int32(1), Value::LongString(b"x"), Value::Void]);
}

/// Each type octet, its value, its name in RabbitMQ's texts, and the octet written for it.
#[test]
fn trap_07_field_types_are_those_of_rabbitmq() {
    let check = |encoded: &str, expect: Value<'_>, type_name: &str, written: u8| {
        let mut bytes = vec![1, b'k'];
        bytes.extend(hex(encoded));
        let value = Table::validate(&bytes).unwrap().get("k").unwrap();
        assert_eq!((value, value.type_name()), (expect, type_name));
        let mut writer = TableWriter::new();
        writer.put("k", value);
        bytes[2] = written;
        assert_eq!(writer.into_bytes(), bytes);
    };
    check("74 01", Value::Boolean(true), "bool", b't');
    check("62 ff", Value::Int8(-1), "byte", b'b');
    check("42 ff", Value::UInt8(255), "unsignedbyte", b'B');
    check("73 ffff", Value::Int16(-1), "short", b's');
    check("75 ffff", Value::UInt16(65535), "unsignedshort", b'u');
    check("49 ffffffff", Value::Int32(-1), "signedint", b'I');
    check("69 ffffffff", Value::UInt32(u32::MAX), "unsignedint", b'i');
    check("6c ffffffffffffffff", Value::Int64(-1), "long", b'l');
    check("4c ffffffffffffffff", Value::Int64(-1), "long", b'l');
    check("66 3fc00000", Value::Float32(1.5), "float", b'f');
    check("64 3ff8000000000000", Value::Float64(1.5), "double", b'd');
    check("44 02 0000013a", Value::Decimal { scale: 2, mantissa: 314 }, "decimal", b'D');
    check("53 00000001 78", Value::LongString(b"x"), "longstr", b'S');
    check("78 00000001 78", Value::Bytes(b"x"), "binary", b'x');
    check("54 0000000000000001", Value::Timestamp(1), "timestamp", b'T');
    check("41 00000000", Value::Array(crate::codec::Array::default()), "array", b'A');
    check("46 00000000", Value::Table(Table::EMPTY), "table", b'F');
    check("56", Value::Void, "void", b'V');
}

/// Wraps `content` into `levels` tables (`F`) or arrays (`A`), each with one value.
fn nested(levels: usize, type_octet: u8) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..levels {
        let mut outer = if type_octet == b'F' { vec![0] } else { Vec::new() };
        outer.push(type_octet);
        outer.extend((content.len() as u32).to_be_bytes());
        outer.extend(&content);
        content = outer;
    }
    if type_octet == b'A' { [&[0], content.as_slice()].concat() } else { content }
}

#[test]
fn nesting_is_bounded() {
    let too_deep = DecodeError::TooDeep { maximum: DEPTH_MAX };
    for type_octet in [b'F', b'A'] {
        assert!(Table::validate(&nested(DEPTH_MAX - 1, type_octet)).is_ok());
        for levels in [DEPTH_MAX, DEPTH_MAX + 1, 10_000] {
            assert_eq!(Table::validate(&nested(levels, type_octet)), Err(too_deep), "{levels} levels");
        }
    }
    assert_eq!(too_deep.reply_code(), ReplyCode::SyntaxError);
    assert_eq!(too_deep.to_string(), "field table is nested deeper than 16 levels");
}

#[test]
fn size_is_bounded() {
    // One field: an empty name, then a long string over all the rest.
    let table = |size: usize| {
        let mut bytes = vec![0, b'S'];
        bytes.extend((size as u32 - 6).to_be_bytes());
        bytes.resize(size, b'x');
        bytes
    };
    assert!(Table::validate(&table(BYTES_MAX)).is_ok());
    assert_eq!(
        Table::validate(&table(BYTES_MAX + 1)),
        Err(DecodeError::TableTooLarge { size: BYTES_MAX + 1, maximum: BYTES_MAX })
    );
}

#[test]
fn faults_are_named() {
    let check = |bytes: &[u8], expect: DecodeError, code: ReplyCode| {
        assert_eq!(Table::validate(bytes), Err(expect));
        assert_eq!(expect.reply_code(), code);
    };
    check(&[1, b'k', b'?'], DecodeError::UnknownFieldType(b'?'), ReplyCode::SyntaxError);
    check(&[1, 0xff, b'V'], DecodeError::MalformedUtf8, ReplyCode::FrameError);
    check(&[1, b'k'], DecodeError::Truncated, ReplyCode::FrameError);
    check(&[1, b'k', b'S', 0, 0, 0, 2, b'x'], DecodeError::Truncated, ReplyCode::FrameError);
    check(&[1, b'k', b'F', 0xff, 0xff, 0xff, 0xff], DecodeError::Truncated, ReplyCode::FrameError);
    // The nested table's field reaches over its end, though not over the outer table's.
    check(&[0, b'F', 0, 0, 0, 2, 0, b't', 1], DecodeError::Truncated, ReplyCode::FrameError);
}

#[test]
fn names_that_are_too_long_are_cut_at_a_character() {
    let mut writer = TableWriter::new();
    writer.put(&"é".repeat(200), Value::Void);
    let table = Table::validate(writer.as_table().as_bytes()).unwrap();
    assert_eq!(table.iter().next(), Some(("é".repeat(127).as_str(), Value::Void)));
}
