//! Names that the server chooses, and names that mean something to it.
//!
//! Chosen names are a keyed hash of the connection's number and a counter: the same key gives the same names. Whoever
//! has seen names, of his own connection or of others, cannot tell the next one: a direct-reply address is all that
//! one needs to send replies to another's client.

use fairlead_kernel::ids::ConnectionId;
use siphasher::sip128::SipHasher24;
use std::fmt;

/// What queue and exchange names of the broker's own begin with.
pub const RESERVED_PREFIX: &str = "amq.";

/// The pseudo-queue of direct reply-to.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// What the addresses of direct reply-to begin with; the opaque part follows.
pub const REPLY_TO_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Exchanges that every virtual host has, and that may be redeclared in spite of their reserved names.
pub const PREDECLARED_EXCHANGES: [&str; 5] =
    ["amq.direct", "amq.topic", "amq.fanout", "amq.match", "amq.headers"];

/// The secret of a broker that the names of all its connections are made with; from the system's randomness, anew
/// with each start.
#[derive(Clone, Copy)]
pub struct NameKey(pub [u8; 16]);

impl fmt::Debug for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameKey(secret)")
    }
}

/// Gives a connection its names.
#[derive(Clone, Debug)]
pub struct Names {
    key: NameKey,
    connection: ConnectionId,
    given: u64,
}

impl Names {
    /// Names of a connection. No two of its broker have one number.
    #[must_use]
    pub fn new(key: NameKey, connection: ConnectionId) -> Names {
        Names { key, connection, given: 0 }
    }

    /// `prefix` and 22 URL-safe base64 characters.
    pub fn next(&mut self, prefix: &str) -> String {
        self.given += 1;
        let number = u128::from(self.connection.0) << 64 | u128::from(self.given);
        let hash = SipHasher24::new_with_key(&self.key.0).hash(&number.to_be_bytes());
        let hash = u128::from(hash.h1) << 64 | u128::from(hash.h2);
        let mut name = String::with_capacity(prefix.len() + 22);
        name.push_str(prefix);
        push_base64(&mut name, hash);
        name
    }
}

/// Appends 128 bits as 22 characters: 21 of six bits, the last of two.
fn push_base64(text: &mut String, bits: u128) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for place in 0..22u32 {
        let six = if place < 21 { bits >> (122 - 6 * place) } else { bits << 4 };
        text.push(char::from(ALPHABET[(six & 63) as usize]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_22_characters_told_by_key_connection_and_order() {
        let take = |key, connection| {
            let mut names = Names::new(NameKey([key; 16]), ConnectionId(connection));
            [names.next("amq.gen-"), names.next("amq.ctag-")]
        };
        let [queue, tag] = take(7, 1);
        assert_eq!((queue.len(), tag.len()), (8 + 22, 9 + 22));
        assert_ne!(queue[8..], tag[9..]);
        assert_eq!(take(7, 1), [queue.clone(), tag]);
        assert_ne!(take(8, 1)[0], queue);
        assert_ne!(take(7, 2)[0], queue);
        assert_eq!(format!("{:?}", NameKey([7; 16])), "NameKey(secret)");
    }

    /// The function is SipHash-2-4 with 128 bits of output: vector 16 of its reference code (key 00 to 0f, message
    /// 00 to 0f).
    #[test]
    fn names_are_siphash() {
        let key = std::array::from_fn(|at| at as u8);
        let number = |from: u8| u64::from_be_bytes(std::array::from_fn(|at| from + at as u8));
        let mut names =
            Names { key: NameKey(key), connection: ConnectionId(number(0)), given: number(8) - 1 };
        let mut expected = String::new();
        let hash: [u8; 16] = 0x6ee2_a4ca_67b0_54bb_fd33_15bf_8523_0577_u128.to_be_bytes();
        let [low, high] = [&hash[..8], &hash[8..]].map(|half| u64::from_le_bytes(half.try_into().unwrap()));
        push_base64(&mut expected, u128::from(low) << 64 | u128::from(high));
        assert_eq!(names.next(""), expected);
    }

    #[test]
    fn base64_is_that_of_the_bytes() {
        let mut text = String::new();
        push_base64(&mut text, u128::from_be_bytes(*b"any carnal pleas"));
        assert_eq!(text, "YW55IGNhcm5hbCBwbGVhcw");
    }
}
