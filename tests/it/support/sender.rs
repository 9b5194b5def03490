//! An identity provider with several addresses to post to: what one does not take is posted again, to
//! the next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scim_relay::demo::company::Event;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::relay::{SECRET, now_seconds, signed_headers};
use super::replicas::Replicas;
use super::{eventually, http_client};

/// How long an answer is waited for before the event is posted elsewhere.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long until an event is posted again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the relays may take to answer as the test expects.
const LIMIT: Duration = Duration::from_mins(1);
/// Most events under way at once.
const AT_ONCE: usize = 32;

/// What was answered, over all events.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How often by status; `none` where the connection was refused or lost.
    pub answers: BTreeMap<String, usize>,
    /// The longest wait for an answer.
    pub slowest: Duration,
    /// Ids that were answered 202.
    pub accepted: Vec<String>,
    /// Posts that were not answered within the sender's patience.
    pub hung: usize,
}

/// One sender.
pub struct Sender {
    replicas: Arc<Replicas>,
    client: reqwest::Client,
    turn: AtomicUsize,
    tally: Mutex<Tally>,
}

impl Sender {
    pub fn to(replicas: &Arc<Replicas>) -> Arc<Self> {
        Arc::new(Self {
            replicas: Arc::clone(replicas),
            client: http_client(),
            turn: AtomicUsize::new(0),
            tally: Mutex::default(),
        })
    }

    /// What was answered so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().expect("not poisoned").clone()
    }

    /// Begins to post events at this rate, each until it is taken.
    pub fn begin(self: &Arc<Self>, events: &[Event], per_second: u32) -> JoinHandle<()> {
        let (sender, events) = (Arc::clone(self), events.to_vec());
        tokio::spawn(async move { sender.deliver_at(&events, per_second).await })
    }

    /// Posts events at this rate, each until it is taken.
    pub async fn deliver_at(&self, events: &[Event], per_second: u32) {
        use futures_util::StreamExt as _;
        let begun = Instant::now();
        let deliver = async |(number, event): (u32, &Event)| {
            tokio::time::sleep_until(begun + Duration::from_secs(1) * number / per_second).await;
            self.deliver(event).await;
        };
        futures_util::stream::iter((0..).zip(events)).for_each_concurrent(AT_ONCE, deliver).await;
    }

    /// Posts an event until it is taken.
    pub async fn deliver(&self, event: &Event) {
        let body = event.body();
        loop {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let url = self.replicas.url(turn % self.replicas.count());
            if let Some(url) = url
                && self.post(&url, &event.id, &body).await
            {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until so many more events were accepted than by now.
    pub async fn accepts(&self, more: usize) {
        let before = self.tally().accepted.len();
        let enough = async || (self.tally().accepted.len() >= before + more).then_some(());
        eventually("events are accepted", LIMIT, enough).await;
    }

    /// Waits until so many more posts were answered by this status than by now.
    pub async fn is_told(&self, status: &str, more: usize) {
        let count = || self.tally().answers.get(status).copied().unwrap_or(0);
        let before = count();
        let what = format!("{more} more answers of {status}");
        eventually(&what, LIMIT, async || (count() >= before + more).then_some(())).await;
    }

    /// Posts once; whether it was taken. Whatever a sender could not make sense of fails the test.
    async fn post(&self, url: &str, id: &str, body: &str) -> bool {
        let status = self.post_once(url, id, body).await;
        match status {
            Some(202 | 200) => true,
            Some(503) | None => false,
            Some(other) => panic!("{other} in answer to {id}"),
        }
    }

    /// Posts to one replica, and tells the status; `None` where nothing was answered.
    pub async fn post_once(&self, url: &str, id: &str, body: &str) -> Option<u16> {
        let mut request = self.client.post(format!("{url}/webhooks/hr")).timeout(PATIENCE);
        for (name, value) in signed_headers(SECRET, id, now_seconds(), body.as_bytes()) {
            request = request.header(name, value);
        }
        let begun = Instant::now();
        let answer = request.header("content-type", "application/json").body(body.to_owned()).send().await;
        let mut tally = self.tally.lock().expect("not poisoned");
        tally.slowest = tally.slowest.max(begun.elapsed());
        let status = match &answer {
            Ok(answer) => Some(answer.status().as_u16()),
            Err(error) => {
                tally.hung += usize::from(error.is_timeout());
                None
            }
        };
        let name = status.map_or("none".to_owned(), |status| status.to_string());
        *tally.answers.entry(name).or_default() += 1;
        if status == Some(202) {
            tally.accepted.push(id.to_owned());
        }
        if let Ok(answer) = answer
            && status == Some(503)
        {
            assert!(
                answer.headers().contains_key("retry-after"),
                "a 503 that does not say when to come again"
            );
        }
        status
    }
}
