//! One event to the relay: signed, posted, and posted again when the relay asks for patience.

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::clock::{Clock, SystemClock};
use crate::source::signature::standard_webhooks::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};
use crate::target::transport::install_crypto;

/// Posts of one event before it counts as refused.
const ATTEMPTS_MAX: u32 = 20;
/// Longest wait that the relay may ask for between two posts.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// The wait where the relay names none.
const WAIT_DEFAULT: Duration = Duration::from_secs(1);
/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most that is read of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Signs and posts events of one source.
pub struct Sender {
    client: reqwest::Client,
    endpoint: Url,
    secret: SecretString,
}

/// What the relay said of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is durable.
    Accepted {
        /// How many changes were understood; absent when the relay did not say.
        changes: Option<u64>,
    },
    /// It had been seen before.
    Duplicate,
    /// It was not taken.
    Refused {
        /// The answer's status.
        status: StatusCode,
        /// The problem's detail, else its title.
        reason: String,
    },
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { changes: Some(changes) } => write!(f, "accepted, changes: {changes}"),
            Self::Accepted { changes: None } => write!(f, "accepted"),
            Self::Duplicate => write!(f, "duplicate"),
            Self::Refused { status, reason } => write!(f, "refused with {status}: {reason}"),
        }
    }
}

/// Why an event got no answer.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The client cannot be made.
    #[error("set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The relay's address cannot hold a path.
    #[error("make a webhook address from {0}")]
    Address(Url),
    /// Nobody answered.
    #[error("reach the relay at {endpoint}")]
    Unreachable {
        /// Where it was looked for.
        endpoint: Url,
        /// The transport's error.
        #[source]
        source: reqwest::Error,
    },
}

impl Sender {
    /// Sends to `{base}/webhooks/{source}`; `direct` goes past any proxy.
    pub fn new(base: &Url, source: &str, secret: SecretString, direct: bool) -> Result<Self, DeliveryError> {
        let mut endpoint = base.clone();
        endpoint
            .path_segments_mut()
            .map_err(|()| DeliveryError::Address(base.clone()))?
            .pop_if_empty()
            .extend(["webhooks", source]);

        install_crypto();
        let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        let client = if direct { client.no_proxy() } else { client };
        Ok(Self { client: client.build().map_err(DeliveryError::Client)?, endpoint, secret })
    }

    /// Posts one body until it is answered with anything but a request for patience.
    pub async fn deliver(&self, id: &str, body: String) -> Result<Answer, DeliveryError> {
        let mut attempt = 1;
        loop {
            let response = self.post(id, &body).await?;
            match wait(&response) {
                Some(wait) if attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    tokio::time::sleep(wait).await;
                }
                Some(_) | None => return Ok(understand(response).await),
            }
        }
    }

    /// Signed at each attempt, since a signature grows old while it waits.
    async fn post(&self, id: &str, body: &str) -> Result<Response, DeliveryError> {
        let now = SystemClock.now();
        let request = self
            .client
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ID_HEADER, id)
            .header(TIMESTAMP_HEADER, now.as_seconds())
            .header(SIGNATURE_HEADER, sign(&self.secret, id, now, body.as_bytes()));
        let sent = request.body(body.to_owned()).send().await;
        sent.map_err(|source| DeliveryError::Unreachable {
            endpoint: self.endpoint.clone(),
            source: source.without_url(),
        })
    }
}

/// How long the relay asks to wait, where it asks.
fn wait(response: &Response) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let named = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Some(named.map_or(WAIT_DEFAULT, Duration::from_secs).min(WAIT_MAX))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AnswerBody {
    changes: Option<u64>,
    title: Option<String>,
    detail: Option<String>,
}

async fn understand(response: Response) -> Answer {
    let status = response.status();
    let body: AnswerBody = serde_json::from_slice(&read(response).await).unwrap_or_default();
    match status {
        StatusCode::ACCEPTED => Answer::Accepted { changes: body.changes },
        StatusCode::OK => Answer::Duplicate,
        status => {
            let reason = body.detail.or(body.title).unwrap_or_else(|| "without a reason".to_owned());
            Answer::Refused { status, reason }
        }
    }
}

/// The answer's body up to a limit. A body that breaks off is as good as none: the status counts.
async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Vec::new();
        }
        body.extend_from_slice(&chunk);
    }
    body
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::{Request, State};
    use axum::http::HeaderMap;
    use axum::routing::post;

    use super::*;

    /// A relay that answers as it is told, and keeps the headers it saw.
    #[derive(Clone, Default)]
    struct Relay {
        answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
        seen: Arc<Mutex<Vec<HeaderMap>>>,
    }

    async fn answer(
        State(relay): State<Relay>,
        request: Request,
    ) -> (StatusCode, [(&'static str, &'static str); 1], &'static str) {
        relay.seen.lock().unwrap().push(request.headers().clone());
        let (status, body) = relay.answers.lock().unwrap().pop_front().unwrap();
        (StatusCode::from_u16(status).unwrap(), [("retry-after", "0")], body)
    }

    async fn delivered(answers: &[(u16, &'static str)]) -> (Answer, Vec<HeaderMap>) {
        let relay =
            Relay { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Relay::default() };
        let router = Router::new().route("/under/webhooks/hr", post(answer)).with_state(relay.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}/under/", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async { axum::serve(listener, router).await });

        let sender = Sender::new(&base, "hr", SecretString::from("secret"), true).unwrap();
        let answer = sender.deliver("evt_1", "{}".to_owned()).await.unwrap();
        let seen = relay.seen.lock().unwrap().clone();
        (answer, seen)
    }

    #[tokio::test]
    async fn what_the_relay_says_is_understood() {
        let refused = |status, reason: &str| Answer::Refused {
            status: StatusCode::from_u16(status).unwrap(),
            reason: reason.to_owned(),
        };
        let cases = [
            ((202, "{\"event_id\":\"evt_1\",\"changes\":3}"), Answer::Accepted { changes: Some(3) }),
            ((202, "nonsense"), Answer::Accepted { changes: None }),
            ((200, "{\"event_id\":\"evt_1\",\"duplicate\":true}"), Answer::Duplicate),
            (
                (400, "{\"title\":\"t\",\"detail\":\"/changes/2/id: empty\"}"),
                refused(400, "/changes/2/id: empty"),
            ),
            ((401, "{\"title\":\"unauthorized\"}"), refused(401, "unauthorized")),
            ((404, ""), refused(404, "without a reason")),
        ];
        for (said, expected) in cases {
            assert_eq!(delivered(&[said]).await.0, expected, "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_request_for_patience_is_followed_by_the_same_event() {
        let (answer, seen) = delivered(&[(429, ""), (503, ""), (202, "{\"changes\":1}")]).await;
        assert_eq!(answer, Answer::Accepted { changes: Some(1) });
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|headers| headers["webhook-id"] == "evt_1"));
    }

    #[tokio::test]
    async fn patience_ends() {
        let (answer, seen) = delivered(&[(503, "{\"detail\":\"busy\"}"); ATTEMPTS_MAX as usize]).await;
        assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
        assert_eq!(seen.len(), ATTEMPTS_MAX as usize);
    }
}
