//! Taking events.

use std::sync::{Arc, Mutex, PoisonError};

use crate::directory::Change;
use crate::store::conformance::script::{Script, now, titled};
use crate::store::conformance::{Home, must};
use crate::store::{Appended, EventReader, NewEvent};

fn event(script: &Script, number: u32) -> NewEvent {
    script.event(number, vec![now(titled(&format!("u{number}"), "A"))])
}

pub async fn an_event_is_new_once_and_a_duplicate_ever_after(home: &dyn Home) {
    let store = home.open().await;
    let first = event(&Script::default(), 1);
    assert_eq!(must(store.append(first.clone()).await), Appended::New);
    for _ in 0..3 {
        assert_eq!(must(store.append(first.clone()).await), Appended::Duplicate);
    }
    let elsewhere = NewEvent { source: "okta".to_owned(), ..first.clone() };
    assert_eq!(must(store.append(elsewhere).await), Appended::New);
    let later = NewEvent { event_id: "evt-2".to_owned(), ..first };
    assert_eq!(must(store.append(later).await), Appended::New);
    assert_eq!(must(store.status().await).unprojected, 3);
}

pub async fn of_many_at_once_with_one_id_exactly_one_is_new(home: &dyn Home) {
    let store = home.open().await;
    let script = Script::default();
    for number in 0..10 {
        let event = event(&script, number);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (store, event) = (Arc::clone(&store), event.clone());
            tasks.spawn(async move { must(store.append(event).await) });
        }
        let answers = tasks.join_all().await;
        assert_eq!(answers.iter().filter(|answer| **answer == Appended::New).count(), 1);
    }
    assert_eq!(must(store.status().await).unprojected, 10);
}

pub async fn what_was_answered_outlives_the_process(home: &dyn Home) {
    let script = Script::default();
    let store = home.open().await;
    for number in 0..20 {
        must(store.append(event(&script, number)).await);
    }
    drop(store);

    let store = home.open().await;
    assert_eq!(must(store.status().await).unprojected, 20);
    assert_eq!(must(store.append(event(&script, 7)).await), Appended::Duplicate);
    assert_eq!(must(store.append(event(&script, 20)).await), Appended::New);
    assert_eq!(must(store.status().await).unprojected, 21);
}

/// Keeps what it is asked to read.
#[derive(Default)]
struct Witness(Mutex<Vec<(String, Vec<u8>)>>);

impl EventReader for Witness {
    fn read(&self, source: &str, body: &[u8]) -> Result<Vec<Change>, String> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((source.to_owned(), body.to_vec()));
        Ok(Vec::new())
    }
}

pub async fn a_body_is_kept_byte_for_byte(home: &dyn Home) {
    let store = home.open().await;
    let bodies =
        [b"{ \"b\":1, \"a\": 1.0 }\r\n".to_vec(), vec![0, 255, 10, 13], Vec::new(), vec![b' '; 1 << 20]];
    let script = Script::default();
    for (number, body) in (0..).zip(&bodies) {
        must(store.append(NewEvent { body: body.clone(), ..event(&script, number) }).await);
    }
    let witness = Witness::default();
    while must(store.project(&witness, 3).await).more {}
    let seen = witness.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(seen.iter().all(|(source, _)| source == "hr"));
    assert!(seen.into_iter().map(|(_, body)| body).eq(bodies));
}
