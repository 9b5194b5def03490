//! The keys that a sender publishes: fetched, kept for an hour, and fetched anew when a token names
//! one that is not known.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// How long keys are taken without asking again.
const FRESH: Duration = Duration::from_hours(1);
/// How long keys are taken while the sender cannot be asked.
const USABLE: Duration = Duration::from_hours(24);
/// How long nobody asks again, so that tokens with invented keys cost the sender nothing.
const PAUSE: Duration = Duration::from_secs(30);
/// How long the sender may take.
const FETCH_TIME_MAX: Duration = Duration::from_secs(3);
/// Largest answer.
const SET_BYTES_MAX: usize = 256 * 1024;
/// Most keys of a set that are looked at.
const KEYS_MAX: usize = 32;

/// The keys of one sender.
pub struct Keys {
    url: Url,
    http: OnceLock<reqwest::Client>,
    known: RwLock<Known>,
    /// Held while somebody asks, so that one question serves all who wait.
    asking: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Known {
    keys: Arc<Vec<Key>>,
    since: Option<Instant>,
}

struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    material: DecodingKey,
}

/// The sender's keys cannot be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the sender cannot be fetched now")]
pub struct Unready;

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no answer")]
    Transport(#[source] reqwest::Error),
    #[error("status {0}")]
    Status(u16),
    #[error("the answer is longer than {SET_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer is not a set of keys")]
    Unreadable(#[source] serde_json::Error),
}

impl Keys {
    /// Of the sender who publishes them there. Nothing is fetched yet.
    pub fn new(url: Url) -> Self {
        super::install();
        Self { url, http: OnceLock::new(), known: RwLock::default(), asking: Mutex::new(None) }
    }

    /// Those of a set that is at hand, which are never fetched; `None` where it is no set of keys.
    pub fn of_set(body: &[u8]) -> Option<Self> {
        let keys = Self::new(Url::parse("https://localhost/").ok()?);
        *keys.write() = Known { keys: Arc::new(read_set(body).ok()?), since: None };
        Some(keys)
    }

    /// The keys that could have made a signature.
    pub fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let keys = self.read().0;
        let fits = |key: &&Key| {
            let named = id.is_none_or(|id| key.id.as_deref() == Some(id));
            let agreed = key.algorithm.as_ref().is_none_or(|own| *own == format!("{algorithm:?}"));
            named && agreed && key.material.family() == algorithm.family()
        };
        keys.iter().filter(fits).map(|key| key.material.clone()).collect()
    }

    /// Fetches the keys where the one of this id is not known, or all of them are old.
    pub async fn find(&self, id: Option<&str>) -> Result<(), Unready> {
        let now = Instant::now();
        if self.knows(id, now, FRESH) {
            return Ok(());
        }
        let mut asked = self.asking.lock().await;
        // Somebody else may have asked while this one waited.
        if self.knows(id, Instant::now(), FRESH) {
            return Ok(());
        }
        if asked.is_none_or(|asked| asked.elapsed() >= PAUSE) {
            *asked = Some(Instant::now());
            match self.fetch().await {
                Ok(keys) => *self.write() = Known { keys: Arc::new(keys), since: Some(Instant::now()) },
                Err(error) => {
                    let why: &dyn std::error::Error = &error;
                    tracing::warn!(host = self.url.host_str(), why, "failed to fetch a sender's keys");
                }
            }
        }
        let (keys, since) = self.read();
        let is_usable = since.is_some_and(|since| since.elapsed() < USABLE);
        let is_fresh = since.is_some_and(|since| since.elapsed() < FRESH);
        let is_known = id.is_none() || keys.iter().any(|key| key.id.as_deref() == id);
        // A key that is missing from a fresh set is not the sender's; who verifies says so.
        if is_fresh || (is_usable && is_known) { Ok(()) } else { Err(Unready) }
    }

    fn knows(&self, id: Option<&str>, now: Instant, age_max: Duration) -> bool {
        let (keys, since) = self.read();
        since.is_some_and(|since| now.saturating_duration_since(since) < age_max)
            && id.is_none_or(|id| keys.iter().any(|key| key.id.as_deref() == Some(id)))
    }

    async fn fetch(&self) -> Result<Vec<Key>, FetchError> {
        let request = self.http()?.get(self.url.clone()).header("accept", "application/json");
        let answer = request.send().await.map_err(without_url)?;
        if !answer.status().is_success() {
            return Err(FetchError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(without_url)?);
            if body.len() > SET_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
        }
        read_set(&body).map_err(FetchError::Unreadable)
    }

    fn http(&self) -> Result<&reqwest::Client, FetchError> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        // An error says that the cryptography of TLS has been chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(concat!("scim-relay/", env!("CARGO_PKG_VERSION")))
            .timeout(FETCH_TIME_MAX);
        let http = builder.build().map_err(without_url)?;
        Ok(self.http.get_or_init(|| http))
    }

    fn read(&self) -> (Arc<Vec<Key>>, Option<Instant>) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        (known.keys.clone(), known.since)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_set(body: &[u8]) -> Result<Vec<Key>, serde_json::Error> {
    let set: JwkSet = serde_json::from_slice(body)?;
    Ok(set.keys.iter().take(KEYS_MAX).filter_map(Key::of).collect())
}

impl Key {
    /// A key for signatures; `None` for another use, and for what cannot be read.
    fn of(jwk: &Jwk) -> Option<Self> {
        let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let material = DecodingKey::from_jwk(jwk).ok().filter(|_| signs)?;
        let algorithm = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
        Some(Self { id: jwk.common.key_id.clone(), algorithm, material })
    }
}

fn without_url(error: reqwest::Error) -> FetchError {
    FetchError::Transport(error.without_url())
}
