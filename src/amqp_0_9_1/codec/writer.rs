//! Encoders of single fields, appended to an output buffer.
//!
//! Spec: AMQP 0-9-1, clause 4.2.5 "AMQP Data Fields".

/// The longest short string, in bytes: its length is one octet.
pub const SHORTSTR_MAX: usize = 255;

/// A method that can be written as the payload of a method frame.
pub trait EncodeMethod {
    /// Appends class id, method id and arguments.
    fn encode(&self, out: &mut Vec<u8>);
}

/// Appends a short string. What does not fit 255 bytes is cut at a character's boundary: names that peers gave
/// always fit, texts of ours are cut rather than refused.
#[inline]
pub fn put_shortstr(out: &mut Vec<u8>, text: &str) {
    let fitting = if text.len() <= SHORTSTR_MAX { text } else { cut(text) };
    put_shortstr_bytes(out, fitting.as_bytes());
}

#[cold]
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHORTSTR_MAX)]
}

/// Appends a short string of any bytes, the first 255 of them at most.
#[inline]
pub(crate) fn put_shortstr_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = bytes.len().min(SHORTSTR_MAX);
    out.push(length as u8);
    out.extend_from_slice(&bytes[..length]);
}

/// Appends a long string: 32 bits of length, then the bytes. Bytes over 4 GiB do not occur: callers hold
/// frame-sized values.
#[inline]
pub fn put_longstr(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(u32::try_from(bytes.len()).is_ok());
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Leaves room for a 32-bit length at the end of `out`, and gives its place for [`patch_length`].
#[inline]
pub(crate) fn reserve_length(out: &mut Vec<u8>) -> usize {
    let place = out.len();
    out.extend_from_slice(&[0; 4]);
    place
}

/// Writes the number of bytes that follow `place` into it.
#[inline]
pub(crate) fn patch_length(out: &mut [u8], place: usize) {
    let length = (out.len() - place - 4) as u32;
    out[place..place + 4].copy_from_slice(&length.to_be_bytes());
}
