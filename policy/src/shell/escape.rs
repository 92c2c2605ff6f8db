//! Escapes of `$'…'`.

use std::iter::Peekable;
use std::str::Chars;

/// Decodes the inside of `$'…'`. Bytes that make no UTF-8 become U+FFFD, which is no part of any known command.
pub(super) fn ansi_c(text: &str) -> String {
    let mut bytes: Vec<u8> = Vec::new();
    let push = |bytes: &mut Vec<u8>, c: char| bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
    let byte = |value: u32| u8::try_from(value & 0xff).unwrap_or_default();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' {
            push(&mut bytes, c);
            continue;
        }
        let decoded = match rest.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('e' | 'E') => '\u{1b}',
            Some('f') => '\u{c}',
            Some('v') => '\u{b}',
            Some('c') => {
                rest.next();
                continue;
            }
            Some('x') => {
                bytes.push(byte(number(&mut rest, 16, 2, 0)));
                continue;
            }
            Some(c @ '0'..='7') => {
                bytes.push(byte(number(&mut rest, 8, 2, c.to_digit(8).unwrap_or_default())));
                continue;
            }
            Some('u') => char::from_u32(number(&mut rest, 16, 4, 0)).unwrap_or(char::REPLACEMENT_CHARACTER),
            Some('U') => char::from_u32(number(&mut rest, 16, 8, 0)).unwrap_or(char::REPLACEMENT_CHARACTER),
            Some(c @ ('\\' | '\'' | '"' | '?')) => c,
            Some(c) => {
                push(&mut bytes, '\\');
                c
            }
            None => '\\',
        };
        push(&mut bytes, decoded);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// At most `most` digits.
fn number(rest: &mut Peekable<Chars<'_>>, radix: u32, most: usize, start: u32) -> u32 {
    let mut value = start;
    for _ in 0..most {
        let Some(digit) = rest.peek().and_then(|c| c.to_digit(radix)) else { break };
        value = value.wrapping_mul(radix).wrapping_add(digit);
        rest.next();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::ansi_c;

    #[test]
    fn every_way_of_writing_a_letter_is_decoded() {
        assert_eq!(ansi_c(r"\x72\x6d"), "rm");
        assert_eq!(ansi_c(r"\162\155"), "rm");
        assert_eq!(ansi_c(r"\u0072\U0000006d"), "rm");
        assert_eq!(ansi_c(r"a\'b\\c\n"), "a'b\\c\n");
    }
}
