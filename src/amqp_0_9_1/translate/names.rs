//! Names that the server chooses, and names that mean something to it.
//!
//! Chosen names are a hash of the connection's seed and a counter: the same seed gives the same names, and
//! without the seed the next one cannot be told from those seen.

use xxhash_rust::xxh3::xxh3_128_with_seed;

/// What queue and exchange names of the broker's own begin with.
pub const RESERVED_PREFIX: &str = "amq.";

/// The pseudo-queue of direct reply-to.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// What the addresses of direct reply-to begin with; the opaque part follows.
pub const REPLY_TO_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Exchanges that every virtual host has, and that may be redeclared in spite of their reserved names.
pub const PREDECLARED_EXCHANGES: [&str; 5] =
    ["amq.direct", "amq.topic", "amq.fanout", "amq.match", "amq.headers"];

/// Gives a connection its names.
#[derive(Clone, Debug)]
pub struct Names {
    seed: u64,
    given: u64,
}

impl Names {
    /// Names from `seed`, which differs between connections and is known to nobody else.
    #[must_use]
    pub fn new(seed: u64) -> Names {
        Names { seed, given: 0 }
    }

    /// `prefix` and 22 URL-safe base64 characters.
    pub fn next(&mut self, prefix: &str) -> String {
        self.given += 1;
        let hash = xxh3_128_with_seed(&self.given.to_be_bytes(), self.seed);
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
    fn names_are_22_characters_told_by_seed_and_order() {
        let take = |seed| {
            let mut names = Names::new(seed);
            [names.next("amq.gen-"), names.next("amq.ctag-")]
        };
        let [queue, tag] = take(7);
        assert_eq!((queue.len(), tag.len()), (8 + 22, 9 + 22));
        assert_ne!(queue[8..], tag[9..]);
        assert_eq!(take(7), [queue.clone(), tag]);
        assert_ne!(take(8)[0], queue);
    }

    #[test]
    fn base64_is_that_of_the_bytes() {
        let mut text = String::new();
        push_base64(&mut text, u128::from_be_bytes(*b"any carnal pleas"));
        assert_eq!(text, "YW55IGNhcm5hbCBwbGVhcw");
    }
}
