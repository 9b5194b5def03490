//! `scim-relay why`: one person's story, from what the source said to what the vendor answered.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::relay::{Ask, Connection, Relay};
use super::{fail, printed, runtime};

/// So many people are named at most where a word means several.
const TOLD_MAX: usize = 20;

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The person: the source's id or a vendor's, a user name or a mail address
    person: String,
    /// The directory; of a person looked for in all of them by default
    #[arg(long)]
    directory: Option<String>,
    /// It is a group, by the source's id [default directory: default]
    #[arg(long)]
    group: bool,
    /// Most lines of the story; the newest are shown
    #[arg(long, value_name = "LINES", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    #[command(flatten)]
    connection: Connection,
}

/// How it stands at each target, then what happened, oldest first.
pub fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(ask(arguments)) {
        Ok(answer) => printed(io::stdout().lock().write_all(told(&answer).as_bytes()), ExitCode::SUCCESS),
        Err(message) => fail(&message, 1),
    }
}

async fn ask(arguments: &Arguments) -> Result<Value, String> {
    let Arguments { person, directory, group, limit, connection } = arguments;
    let relay = Relay::new(connection)?;
    let directory = directory.as_deref();
    let (kind, (directory, id)) = if *group {
        ("groups", (directory.unwrap_or("default").to_owned(), person.clone()))
    } else {
        ("users", the_one(person, meant(&relay, person, directory).await?)?)
    };
    let path = ["directories", &directory, kind, &id, "timeline"];
    let limit = limit.to_string();
    let query = [("order", "newest"), ("limit", limit.as_str())];
    relay.json(Ask { query: &query, ..Ask::reading(&path) }).await
}

/// A person as the relay names them: the directory, and the source's id.
type Name = (String, String);

/// Everybody whom the word may mean. An id is one person's; a name or an address may be several people's, and
/// is looked for among all of them.
async fn meant(relay: &Relay, word: &str, directory: Option<&str>) -> Result<BTreeSet<Name>, String> {
    let (mut found, mut cursor) = (BTreeSet::new(), None::<String>);
    loop {
        let mut query = vec![("q", word)];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let answer = relay.json(Ask { query: &query, ..Ask::reading(&["people"]) }).await?;
        for person in answer["items"].as_array().into_iter().flatten() {
            let (at, id) = (text(&person["directory"]), text(&person["id"]));
            if directory.is_none_or(|wanted| wanted == at) {
                found.insert((at.to_owned(), id.to_owned()));
            }
        }
        let by_id = cursor.is_none() && !found.is_empty();
        match answer["next_cursor"].as_str() {
            Some(next) if !by_id && found.len() <= TOLD_MAX => cursor = Some(next.to_owned()),
            _ => return Ok(found),
        }
    }
}

fn the_one(word: &str, mut found: BTreeSet<Name>) -> Result<Name, String> {
    match (found.pop_first(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => Err(format!(
            "no source has named anybody whose id, user name or mail address is {word}, and no vendor's account \
             that the relay knows has this id"
        )),
        (Some(first), false) => {
            let all = std::iter::once(first).chain(found).take(TOLD_MAX);
            let lines: Vec<String> = all.map(|(at, id)| format!("  {id} --directory {at}")).collect();
            Err(format!("{word} may mean several people; say which:\n{}", lines.join("\n")))
        }
    }
}

/// The answer as lines. What came from outside moves no cursor and rings no bell.
fn told(answer: &Value) -> String {
    let mut lines = String::new();
    let mut say = |line: &str| {
        let harmless = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
        lines.extend(harmless);
        lines.push('\n');
    };
    let present = &answer["present"];
    say(if present["wanted"] == true {
        "is to be there, with access"
    } else {
        "is not to be there, or without access"
    });
    for (target, standing) in present["targets"].as_object().into_iter().flatten() {
        say(&format!("at {target}: {}", text(&standing["words"])));
    }
    if answer["next_cursor"].is_string() {
        say("(what is older is left out; --limit shows more)");
    }
    for item in answer["items"].as_array().into_iter().flatten().rev() {
        say(&happening(item));
    }
    lines
}

fn happening(item: &Value) -> String {
    let mut line = format!("{}  ", text(&item["at"]));
    match item["what"].as_str() {
        Some("change") => line.push_str(text(&item["words"])),
        Some("hold") => {
            let (operation, about) = (text(&item["operation"]), text(&item["item"]));
            let (target, state) = (text(&item["target"]), text(&item["state"]));
            push(
                &mut line,
                format_args!("{target}: {operation} of {about}: {state} (hold {})", item["hold"]),
            );
            if let Some(by) = item["decided_by"].as_str() {
                push(&mut line, format_args!(" by {by}"));
            }
        }
        _ => {
            push(&mut line, format_args!("{}: {}", text(&item["target"]), text(&item["operation"])));
            if let Some(call) = item["call"].as_str() {
                push(&mut line, format_args!(" ({call}"));
                if let Some(status) = item["status"].as_u64() {
                    push(&mut line, format_args!(" → {status}"));
                }
                line.push(')');
            }
            push(&mut line, format_args!(": {}", text(&item["outcome"])));
            if let Some(detail) = item["detail"].as_str() {
                push(&mut line, format_args!(": {detail}"));
            }
        }
    }
    line
}

fn push(line: &mut String, what: std::fmt::Arguments<'_>) {
    line.write_fmt(what).expect("a String takes everything");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_means_one_person_or_it_is_asked_who_is_meant() {
        let named = |names: &[(&str, &str)]| {
            names.iter().map(|(at, id)| ((*at).to_owned(), (*id).to_owned())).collect::<BTreeSet<_>>()
        };
        assert_eq!(
            the_one("jane", named(&[("corp", "u-1")])).unwrap(),
            ("corp".to_owned(), "u-1".to_owned())
        );
        assert!(the_one("jane", named(&[])).unwrap_err().contains("no source has named"));
        let several = the_one("jane", named(&[("corp", "u-1"), ("lab", "u-1")])).unwrap_err();
        assert!(several.ends_with("\n  u-1 --directory corp\n  u-1 --directory lab"), "{several}");
    }

    #[test]
    fn a_story_is_told_from_how_it_stands_to_how_it_came_to_that() {
        let answer = json!({
            "present": {"wanted": false, "targets": {"acme": {"words": "held by the guard"}}},
            "items": [
                {"what": "hold", "at": "T3", "hold": 7, "target": "acme", "item": "user:jane",
                 "operation": "deactivate", "state": "rejected", "decided_by": "ops"},
                {"what": "action", "at": "T2", "target": "acme", "operation": "update", "outcome": "applied",
                 "call": "PATCH Users/{id}", "status": 200, "detail": "title"},
                {"what": "change", "at": "T1", "words": "hr said user.upsert: merged\u{1b}[2J"},
            ],
            "next_cursor": "c1",
        });
        let expected = "is not to be there, or without access\n\
            at acme: held by the guard\n\
            (what is older is left out; --limit shows more)\n\
            T1  hr said user.upsert: merged [2J\n\
            T2  acme: update (PATCH Users/{id} → 200): applied: title\n\
            T3  acme: deactivate of user:jane: rejected (hold 7) by ops\n";
        assert_eq!(told(&answer), expected);
    }
}
