//! A digest of what a Corefile says, blind to comments and layout.

use std::fmt::Write;

use sha2::{Digest, Sha512};

use super::{Corefile, ServerBlock, Token};

impl Corefile {
    /// SHA-512, in hexadecimal, of all server blocks: imports and environment included, comments and layout not.
    pub fn digest(&self) -> String {
        let mut hash = Sha512::new();
        for block in &self.blocks {
            feed_block(&mut hash, block);
        }
        hex(&hash.finalize())
    }
}

impl ServerBlock {
    /// SHA-512, in hexadecimal, of this block alone.
    pub fn digest(&self) -> String {
        let mut hash = Sha512::new();
        feed_block(&mut hash, self);
        hex(&hash.finalize())
    }
}

fn feed_block(hash: &mut Sha512, block: &ServerBlock) {
    hash.update(b"B");
    for key in &block.keys {
        feed_text(hash, b"K", &key.text);
    }
    // By name: the order of different directives in the file has no meaning.
    let mut directives: Vec<_> = block.directives.iter().collect();
    directives.sort_by(|a, b| a.name.cmp(&b.name));
    for directive in directives {
        feed_text(hash, b"D", &directive.name);
        let mut previous: Option<&Token> = None;
        for token in &directive.tokens {
            // Where a line ends is meaning: arguments stop there.
            let shared = previous.is_some_and(|previous| previous.shares_line_with(token));
            feed_text(hash, if shared { b"T" } else { b"L" }, &token.text);
            previous = Some(token);
        }
    }
}

/// Tag, length, text: no two lists of tokens feed the same octets.
fn feed_text(hash: &mut Sha512, tag: &[u8; 1], text: &str) {
    hash.update(tag);
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

fn hex(octets: &[u8]) -> String {
    let mut text = String::with_capacity(2 * octets.len());
    for octet in octets {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
    }
    text
}
