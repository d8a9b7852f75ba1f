//! Bytes to frames, methods and tables, and back.
//!
//! ```text
//! bytes -> protocol_header::recognise          the first eight bytes of a connection
//! bytes -> frame::decode -> Payload::Method    -> spec::Method::decode
//!                           Payload::Header    -> properties::scan | spec::BasicProperties::decode
//!                           Payload::Body      -> the body's bytes as they stand
//! spec::* -> frame::encode_method / encode_header / encode_body -> output buffer
//! ```
//!
//! Everything that is decoded borrows from the input; nothing on these paths allocates.

mod error;
pub mod frame;
pub mod properties;
pub mod protocol_header;
mod reader;
pub mod table;
mod table_writer;
mod value;
mod writer;

pub use error::{DecodeError, FrameError, PayloadSnippet};
pub use frame::{Frame, Payload};
pub use reader::Reader;
pub use table::{Array, ArrayIter, Table, TableIter};
pub use table_writer::{ArrayWriter, TableWriter};
pub use value::Value;
pub(crate) use writer::put_shortstr_bytes;
pub use writer::{EncodeMethod, put_longstr, put_shortstr};

#[cfg(test)]
mod tests;
