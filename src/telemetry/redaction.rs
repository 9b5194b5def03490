//! Takes people's data out of what a vendor says.
//!
//! A vendor's error repeats what it was sent: "user jane@example.com already exists". The text is
//! worth keeping in the ledger and the log, the address is not, so every attribute value that the
//! relay knows it sent is replaced by the attribute's name.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Longest result, in characters.
pub const LENGTH_MAX: usize = 500;

/// Shortest value that is replaced, in characters: two letters occur in every sentence.
const VALUE_LENGTH_MIN: usize = 3;

/// Replaces every known attribute value in a text by the attribute's name in angle brackets, drops
/// control characters, and cuts the text at [`LENGTH_MAX`] characters.
///
/// Case does not matter, and a value is found percent-encoded as well. Where values overlap, all of
/// what they cover goes, under the longest one's name. Values under three characters stay.
pub fn redact<'a>(text: &str, known_values: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let text = printable(text);
    let mut spans = find_spans(&text, known_values);
    spans.sort_unstable_by_key(|span| span.start);
    write_out(&text, &join_overlaps(spans))
}

/// A part of the text that a value covers.
struct Span<'a> {
    start: usize,
    end: usize,
    name: &'a str,
    value_length: usize,
}

fn printable(text: &str) -> Vec<char> {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn find_spans<'a>(text: &[char], values: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Span<'a>> {
    let mut spans = Vec::new();
    for (name, value) in values {
        let value = printable(value);
        if value.len() < VALUE_LENGTH_MIN {
            continue;
        }
        let plain: String = value.iter().collect();
        let encoded: Vec<char> = utf8_percent_encode(&plain, UNRESERVED).to_string().chars().collect();
        spans.extend(occurrences(text, &value, name));
        if encoded != value {
            spans.extend(occurrences(text, &encoded, name));
        }
    }
    spans
}

/// What RFC 3986, section 2.3 lets stand unencoded.
const UNRESERVED: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn occurrences<'a>(text: &[char], value: &[char], name: &'a str) -> Vec<Span<'a>> {
    let same = |window: &[char]| window.iter().zip(value).all(|(a, b)| same_letter(*a, *b));
    let starts = text.windows(value.len()).enumerate().filter(|(_, window)| same(window));
    starts
        .map(|(start, _)| Span { start, end: start + value.len(), name, value_length: value.len() })
        .collect()
}

fn same_letter(a: char, b: char) -> bool {
    a == b || a.to_lowercase().eq(b.to_lowercase())
}

/// `spans` are in the order of their starts.
fn join_overlaps(spans: Vec<Span<'_>>) -> Vec<Span<'_>> {
    let mut joined: Vec<Span<'_>> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start < last.end => {
                last.end = last.end.max(span.end);
                if span.value_length > last.value_length {
                    (last.name, last.value_length) = (span.name, span.value_length);
                }
            }
            Some(_) | None => joined.push(span),
        }
    }
    joined
}

fn write_out(text: &[char], spans: &[Span<'_>]) -> String {
    let mut pieces: Vec<Vec<char>> = Vec::new();
    let mut at = 0;
    for span in spans {
        pieces.extend(text[at..span.start].iter().map(|c| vec![*c]));
        pieces.push(format!("<{}>", span.name).chars().collect());
        at = span.end;
    }
    pieces.extend(text[at..].iter().map(|c| vec![*c]));

    // A name is written whole or not at all, so that a cut never leaves half of one.
    let mut length = 0;
    let fits = pieces.into_iter().take_while(|piece| {
        length += piece.len();
        length <= LENGTH_MAX
    });
    fits.flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JANE: [(&str, &str); 5] = [
        ("userName", "jane.doe@example.com"),
        ("name.givenName", "Jane"),
        ("name.familyName", "Doe"),
        ("displayName", "Jane Doe"),
        ("title", "QA"),
    ];

    #[test]
    fn known_values_are_replaced_by_their_names() {
        let cases = [
            ("user jane.doe@example.com exists", "user <userName> exists"),
            ("user JANE.DOE@EXAMPLE.COM exists", "user <userName> exists"),
            ("/Users?filter=jane.doe%40example.com", "/Users?filter=<userName>"),
            ("Jane, Doe and Jane Doe", "<name.givenName>, <name.familyName> and <displayName>"),
            ("the QA team", "the QA team"),
            ("nothing of hers", "nothing of hers"),
            ("a\r\nb\u{1b}[31mred", "ab[31mred"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text, JANE.into_iter()), expected);
        }
    }

    #[test]
    fn overlapping_values_leave_nothing_of_either() {
        let values = [("a", "abcd"), ("b", "cdefgh")];
        assert_eq!(redact("<abcdefgh>", values.into_iter()), "<<b>>");
        let beside = [("a", "abc"), ("b", "def")];
        assert_eq!(redact("abcdef", beside.into_iter()), "<a><b>");
    }

    #[test]
    fn letters_beyond_ascii_are_compared_without_case() {
        assert_eq!(redact("STRÖM fehlt", [("n", "Ström")].into_iter()), "<n> fehlt");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_never_inside_a_name() {
        assert_eq!(redact(&"é".repeat(900), [].into_iter()).chars().count(), LENGTH_MAX);
        let text = format!("{}secret", "x".repeat(LENGTH_MAX - 2));
        assert_eq!(redact(&text, [("n", "secret")].into_iter()), "x".repeat(LENGTH_MAX - 2));
    }

    proptest! {
        #[test]
        fn no_value_survives_in_any_text(
            parts in prop::collection::vec("[a-cA-C@é ]{0,6}", 0..12),
            values in prop::collection::vec("[a-cA-C@é]{3,5}", 1..4),
            places in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut parts = parts;
            for place in &places {
                let at = place.index(parts.len() + 1);
                parts.insert(at, values[at % values.len()].clone());
            }
            // A name of one digit cannot itself hold a value.
            let redacted = redact(&parts.concat(), values.iter().map(|value| ("1", value.as_str())));
            for value in &values {
                prop_assert!(!redacted.to_lowercase().contains(&value.to_lowercase()), "{redacted} holds {value}");
            }
        }

        #[test]
        fn no_text_makes_it_panic_or_run_long(text in any::<String>(), name in any::<String>(), value in any::<String>()) {
            let redacted = redact(&text, [(name.as_str(), value.as_str())].into_iter());
            prop_assert!(redacted.chars().count() <= LENGTH_MAX);
        }
    }
}
