//! Feeds: files row by row, and where a page of a list says that the next one is.

use scim_relay::directory::Change;
use scim_relay::feed::file::{Format, rows};
use scim_relay::feed::poll::page::{Page, Paging, Place};
use scim_relay::source::fed;
use scim_relay::source::mapped::Pointer;
use url::Url;

use super::texts;
use crate::configured::FILES;
use crate::input::Input;

/// A file's settings by number, a delimiter by number, and the file.
pub fn file(input: &[u8]) {
    let mut input = Input::of(input);
    let settings = *input.pick(&FILES);
    let delimiter = *input.pick(b",;|\t");
    let format = match settings.format {
        Format::Csv { .. } => Format::Csv { delimiter },
        Format::JsonLines => Format::JsonLines,
    };
    let file = input.rest();
    let mut changes = Vec::new();
    let read = rows::read(file, format, |line, row| {
        let change = settings.records.read(&row);
        assert_eq!(change, settings.records.read(&row), "a row reads the same each time");
        let change = change.map_err(|source| rows::RowError::Malformed { line, source })?;
        changes.extend(change);
        Ok(())
    });
    for change in &changes {
        assert_written(change);
    }
    match rows::spool(file, format, &settings.records) {
        Ok(spool) => assert_eq!(spool.length(), changes.len() as u64, "a spool holds every change"),
        Err(_) => assert!(read.is_err(), "what can be read can be spooled"),
    }
}

/// What is taken in is written in the relay's own format, and merged from there.
fn assert_written(change: &Change) {
    let body = fed::body(std::slice::from_ref(change));
    let said = fed::read(&body).unwrap_or_else(|error| panic!("{error}: {change:#?}"));
    assert_eq!(fed::body(&said), body, "what is written is read");
}

pub fn file_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "\0\0id,login,name,mail,active,state,at\n1,ann,\"A, B\",a@b.c,yes,,1786000000\n2,bob,,,no,left,\r\n3,\"x\n\"\"y\",z,,,off,2026-01-01T00:00:00Z\n",
        "\0\u{1}id;login\n1;a,b\n",
        "\0\0\u{feff}id\n1\n",
        "\u{1}\0{\"id\":\"g\",\"state\":\"members\",\"members\":[\"a\",\"b\"]}\n\n{\"id\":1,\"name\":\"G\"}\r\n{\"id\":\"x\",\"state\":\"gone\"}\n{\"id\":\"u\",\"state\":\"user\",\"login\":\"l\",\"mails\":[\"a@b\",{\"value\":\"c@d\"}],\"name\":null,\"roles\":[\"r\"]}\n",
    ])
}

/// A way of paging by number, a line for the header's link, and a page.
pub fn page(input: &[u8]) {
    let mut input = Input::of(input);
    let way = input.byte() % 6;
    let at = input.text_line();
    let link = input.text_line();
    let Ok(at) = Pointer::parse(at) else { return };
    let paging = match way {
        0 => Paging::None,
        1 => Paging::Cursor { at, parameter: "cursor".to_owned() },
        2 => Paging::Link { at: Some(at) },
        3 => Paging::Link { at: None },
        4 => Paging::Number { parameter: "page".to_owned(), first: 1 },
        _ => Paging::Offset { parameter: "offset".to_owned() },
    };
    let Some(body) = input.json() else { return };
    let url: Url = "https://hr.example/api/people?limit=2&page=1".parse().expect("it is a URL");
    let page = Page { body: &body, link: Some(link).filter(|link| !link.is_empty()), records: 2 };
    if let Ok(Some(next)) = Place::first(url.clone(), &paging).next(&paging, page) {
        assert_eq!(next.url.origin(), url.origin(), "a page leads to its own host");
        assert!(next.url.username().is_empty() && next.url.password().is_none(), "{}", next.url);
    }
}

pub fn page_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "\u{1}/next\n\n{\"next\":\"abc\"}",
        "\u{1}/next\n\n{\"next\":7}",
        "\u{2}/next\n\n{\"next\":\"/api/people?page=2\"}",
        "\u{3}\nhttps://hr.example/api/people?page=2\n{}",
        "\u{4}\n\n{}",
        "\u{5}\n\n{}",
    ])
}
