//! A snapshot says who exists: it is taken as a whole or not at all, and who is absent from it leaves.
//!
//! Three passes over the spool: what it names, against what is known; what is new, as events; who is
//! absent. A crash between them is mended by the next snapshot: nothing is noted before it is durable,
//! and what is done twice is done once.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::feed::guard::{self, Effect, Held, Limits};
use crate::feed::said::{Said, settled};
use crate::feed::spool::{Chunks, Spool};
use crate::feed::take::Taker;
use crate::store::{Aspect, Consent, RecordKey, StoreError};

/// Records that are looked at together.
const CHUNK: usize = 1_000;
/// Changes in one event.
const CHANGES_PER_EVENT: usize = 100;

/// A snapshot to be taken.
pub struct Snapshot<'a> {
    /// What it says.
    pub spool: Spool,
    /// Its number; each attempt has one of its own.
    pub number: u64,
    /// The moment that it speaks of.
    pub at: Timestamp,
    /// Who was not named since this snapshot is absent: this one, or an earlier one where a listing may
    /// miss somebody who moved between its pages.
    pub absent_since: u64,
    /// How much it may take away.
    pub limits: &'a Limits,
    /// What an operator has consented to.
    pub consent: Option<Consent>,
}

/// What a snapshot did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Records that it holds.
    pub records: u64,
    /// Those that say something new.
    pub changed: u64,
    /// Users and groups that it lacks, and that are gone for that.
    pub removed: u64,
    /// Whether it took an operator's consent.
    pub consented: bool,
}

/// Why a snapshot was not taken. But for the store's failures, nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The guard holds it.
    #[error(transparent)]
    Held(#[from] Held),
    /// The source contradicts itself.
    #[error("record {number} names {} a second time", .key.id)]
    Twice {
        /// Position in the snapshot, from 1.
        number: u64,
        /// What it names.
        key: RecordKey,
    },
    /// To be tried again.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// To be tried again.
    #[error("the spool cannot be read")]
    Spool(#[from] std::io::Error),
}

/// Takes a snapshot.
pub async fn take(taker: &Taker, snapshot: Snapshot<'_>) -> Result<Done, SnapshotError> {
    let effect = survey(taker, &snapshot).await?;
    let consented = guard::check(effect, snapshot.limits, snapshot.consent.as_ref(), taker.now())?;
    let changed = say(taker, &snapshot).await?;
    let removed = remove(taker, &snapshot).await?;
    Ok(Done { records: snapshot.spool.length(), changed, removed, consented })
}

/// Looks at all that it names, and finds what taking it would do.
async fn survey(taker: &Taker, snapshot: &Snapshot<'_>) -> Result<Effect, SnapshotError> {
    let mut chunks = snapshot.spool.chunks()?;
    let (mut named, mut leaving, mut position) = (0, 0, 0);
    loop {
        let (rest, said) = next(chunks).await?;
        chunks = rest;
        if said.is_empty() {
            break;
        }
        let keys = unique_keys(&said, position)?;
        taker.renew().await?;
        let feeds = taker.store().feeds();
        let known = feeds.look_up(&taker.source, snapshot.number, &keys).await?;
        for (said, known) in said.iter().zip(&known) {
            position += 1;
            if known.named_before {
                return Err(SnapshotError::Twice { number: position, key: said.key.clone() });
            }
            if said.key.aspect != Aspect::Members {
                named += u64::from(said.is_there());
                let is_news = !known.fingerprint.is_empty() && known.fingerprint != said.fingerprint;
                leaving += u64::from(is_news && said.ends_access());
            }
        }
    }
    let tally = taker.store().feeds().tally(&taker.source, snapshot.absent_since).await?;
    Ok(Effect { named, there: tally.there, removed: tally.absent + leaving })
}

/// Makes events of what is new.
async fn say(taker: &Taker, snapshot: &Snapshot<'_>) -> Result<u64, SnapshotError> {
    let mut chunks = snapshot.spool.chunks()?;
    let mut changed = 0;
    loop {
        let (rest, said) = next(chunks).await?;
        chunks = rest;
        if said.is_empty() {
            return Ok(changed);
        }
        taker.renew().await?;
        let keys: Vec<RecordKey> = said.iter().map(|said| said.key.clone()).collect();
        let known = taker.store().feeds().look_up(&taker.source, 0, &keys).await?;
        let news = said.into_iter().zip(&known).filter(|(said, known)| said.fingerprint != known.fingerprint);
        let news: Vec<Said> = news.map(|(said, _)| said.at(snapshot.at)).collect();
        changed += news.len() as u64;
        append(taker, snapshot, &news).await?;
    }
}

/// Those who are absent leave.
async fn remove(taker: &Taker, snapshot: &Snapshot<'_>) -> Result<u64, SnapshotError> {
    let mut removed = 0;
    loop {
        taker.renew().await?;
        let feeds = taker.store().feeds();
        let absent = feeds.absent(&taker.source, snapshot.absent_since, None, CHUNK).await?;
        if absent.is_empty() {
            return Ok(removed);
        }
        let gone: Vec<Said> = absent.iter().map(|key| Said::gone(key, snapshot.at)).collect();
        append(taker, snapshot, &gone).await?;
        removed += gone.len() as u64;
    }
}

/// Nothing is noted before it is durable.
async fn append(taker: &Taker, snapshot: &Snapshot<'_>, said: &[Said]) -> Result<(), StoreError> {
    let occasion = format!("snapshot:{:012}", snapshot.number);
    let events = said.chunks(CHANGES_PER_EVENT).map(|said| {
        let changes: Vec<_> = said.iter().map(|said| said.change.clone()).collect();
        taker.event(&occasion, &changes)
    });
    taker.append(events.collect()).await?;
    let settled = settled(said);
    taker.store().feeds().settle(&taker.source, snapshot.number, &settled).await
}

/// The next chunk, read where waiting for a disk holds nobody up.
async fn next(mut chunks: Chunks) -> std::io::Result<(Chunks, Vec<Said>)> {
    let read = tokio::task::spawn_blocking(move || {
        let said = chunks.next(CHUNK)?;
        Ok((chunks, said))
    });
    read.await.unwrap_or_else(|failed| Err(std::io::Error::other(failed)))
}

/// The records' keys; a store takes none twice.
fn unique_keys(said: &[Said], before: u64) -> Result<Vec<RecordKey>, SnapshotError> {
    let mut seen = std::collections::BTreeSet::new();
    for (number, said) in (before + 1..).zip(said) {
        if !seen.insert(&said.key) {
            return Err(SnapshotError::Twice { number, key: said.key.clone() });
        }
    }
    Ok(said.iter().map(|said| said.key.clone()).collect())
}
