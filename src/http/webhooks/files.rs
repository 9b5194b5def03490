//! Files that are posted rather than dropped: verified on their way to the disk, then taken from the
//! source's folder like any.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{Accepted, Rejection, admit_media};
use crate::http::Relay;
use crate::http::body::{self, BodyError};
use crate::source::signature::standard_webhooks::{HeaderNames, Parts, StandardWebhooks};
use crate::source::{Inlet, Manners, Refusal, Registered};
use crate::telemetry::metrics::EventLabels;

/// Files that are on their way at once: until the last byte nobody knows who sends them.
static ARRIVING: Semaphore = Semaphore::const_new(2);
/// How long a sender is told to wait while others send files.
const ARRIVING_WAIT: Duration = Duration::from_secs(30);
/// Longest silence of a sender, and longest time for a file.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const TIME_MAX: Duration = Duration::from_hours(1);

/// The file is on the disk, and will be taken.
#[derive(Serialize, ToSchema)]
pub struct AcceptedFile {
    /// The sender's id of the event.
    #[schema(example = "export-2026-11-20")]
    event_id: String,
    /// The file's name in the source's folder; in time it is among those done or refused.
    #[schema(example = "posted-0f3a9c51d2e4b687.csv")]
    file: String,
}

/// Takes a posted file.
pub async fn receive(
    relay: &Relay,
    registered: &Registered,
    folder: &Inlet,
    request: Request<()>,
    body: Body,
) -> Response {
    let headers = request.headers();
    let taken = match begin(relay, registered, folder, headers) {
        Ok((parts, _permit)) => keep(folder, parts, body).await,
        Err(rejection) => {
            body::drain_body(headers, body).await;
            Err(rejection)
        }
    };
    let source = registered.settings.name.clone();
    let outcome = taken.as_ref().map_or_else(Rejection::outcome, |_| "accepted");
    relay.metrics.events.get_or_create(&EventLabels { source, outcome }).inc();
    match taken {
        Ok(file) => (StatusCode::ACCEPTED, Json(Accepted::File(file))).into_response(),
        Err(rejection) => rejection.answer(Manners::USUAL),
    }
}

/// What the headers alone decide.
fn begin(
    relay: &Relay,
    registered: &Registered,
    folder: &Inlet,
    headers: &HeaderMap,
) -> Result<(Parts, tokio::sync::SemaphorePermit<'static>), Rejection> {
    admit_media(folder.media, headers)?;
    relay.limits.take(&registered.settings.name).map_err(|wait| Rejection::Limited { wait })?;
    // The secrets were tried when the configuration was read.
    let verifier = StandardWebhooks::for_parts(HeaderNames::STANDARD, &registered.settings.secrets);
    let parts = verifier.map_err(|_| Refusal::Mismatch)?.begin(headers, relay.clock.now())?;
    let permit = ARRIVING.try_acquire().map_err(|_| Rejection::Limited { wait: ARRIVING_WAIT })?;
    Ok((parts, permit))
}

/// Writes a file under a name that is not looked at, and renames it once it is whole and verified.
async fn keep(folder: &Inlet, parts: Parts, body: Body) -> Result<AcceptedFile, Rejection> {
    let place = folder.folder.clone();
    let temporary = blocking(move || {
        let temporary = tempfile::Builder::new().prefix(Inlet::ARRIVING).tempfile_in(place)?;
        Ok((temporary.reopen()?, temporary))
    });
    let (file, temporary) = temporary.await?;
    let written = timeout(TIME_MAX, write(File::from_std(file), parts, body, folder.bytes_max));
    let proof = written.await.unwrap_or(Err(Rejection::Body(BodyError::TooSlow)))?;
    let event_id = proof.id().unwrap_or_default().to_owned();
    // One name for one event, whatever the sender put into its id.
    let digest = Sha256::digest(event_id.as_bytes());
    let digest = digest.first_chunk().map_or(0, |bytes: &[u8; 8]| u64::from_be_bytes(*bytes));
    let name = format!("posted-{digest:016x}.{}", folder.extension());
    let place = folder.folder.join(&name);
    blocking(move || rename(temporary, &place)).await?;
    Ok(AcceptedFile { event_id, file: name })
}

async fn write(
    mut file: File,
    mut parts: Parts,
    body: Body,
    bytes_max: u64,
) -> Result<crate::source::Proof, Rejection> {
    let mut chunks = body.into_data_stream();
    let mut length = 0;
    loop {
        let chunk = timeout(SILENCE_MAX, chunks.next()).await.map_err(|_| BodyError::TooSlow)?;
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        length += chunk.len() as u64;
        if length > bytes_max {
            return Err(
                BodyError::TooLarge { bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX) }.into()
            );
        }
        parts.update(&chunk);
        file.write_all(&chunk).await?;
    }
    let proof = parts.finish()?;
    file.flush().await?;
    file.sync_all().await?;
    Ok(proof)
}

/// A rename is durable once its folder is.
fn rename(temporary: NamedTempFile, place: &std::path::Path) -> io::Result<()> {
    temporary.persist(place).map_err(|error| error.error)?;
    match place.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or_else(|failed| Err(io::Error::other(failed)))
}
