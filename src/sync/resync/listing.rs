//! Reads the vendor's lists, or what a narrow scope names of them.
//!
//! While a page is kept, the next one is asked for: still one call at a time. Where to go on is kept with
//! the rows of a page, so that a restart asks again for what was only read ahead.

use crate::directory::Kind;
use crate::store::{Kept, Part, ResyncRow, Step, StoreError};
use crate::sync::plan::members_at;
use crate::sync::resync::engine::{Place, Resync};
use crate::sync::resync::known::Known;
use crate::sync::resync::paging::{After, Gap, Paging, plausible};
use crate::sync::resync::progress::Scope;
use crate::sync::resync::reading;

/// Resources of a narrow scope looked up between two notes of how far it is.
const LOOKUPS: usize = 10;

/// Which list is read.
#[derive(Clone, Copy)]
struct List {
    kind: Kind,
    /// Of users: those alone whom a list without a filter leaves out.
    inactive_only: bool,
}

/// One page of it as it is kept, and how far the list is with it.
struct Taken {
    rows: Vec<ResyncRow>,
    paging: Paging,
    after: After,
}

impl Place<'_> {
    /// Reads the page at which a list is.
    async fn page(self, list: List, mut paging: Paging) -> Result<Taken, Gap> {
        let shared = &self.run.shared;
        let page = reading::page(shared, list.kind, &paging, list.inactive_only).await?;
        let after = paging.absorb(&page)?;
        let mut rows = Vec::with_capacity(page.resources.len());
        for resource in page.resources {
            rows.push(reading::listed(shared, list.kind, resource).await?);
        }
        Ok(Taken { rows, paging, after })
    }
}

impl Resync<'_> {
    /// Reads a list to its end, or passes over one that need not be read.
    pub(super) async fn list(&mut self, kind: Kind, inactive_only: bool) -> Result<(), StoreError> {
        let profile = self.place.run.shared.target.profile();
        let hidden = !profile.list.includes_inactive;
        let groups_left_out = kind == Kind::Group && !profile.groups.supported;
        let is_narrow = *self.place.scope != Scope::All;
        let skip_inactive = inactive_only && (!hidden || is_narrow);
        if !self.place.scope.has(kind) || groups_left_out || skip_inactive {
            return self.advance().await;
        }
        if is_narrow {
            return self.look_up(kind).await;
        }
        if inactive_only && !profile.can_filter_users_by("active") {
            self.progress.note_gap(kind, Gap::Unread);
            return self.advance().await;
        }
        match self.read(List { kind, inactive_only }).await? {
            Err(Gap::TotalChanged) if self.progress.read_again(kind) => {
                tracing::info!(
                    target_name = self.place.run.shared.name(),
                    resync = self.place.id,
                    kind = kind.as_str(),
                    "a list has changed while it was read; it is read again"
                );
                let forgotten = vec![Part::of(kind)];
                return self.keep(Step { forgotten, ..Step::default() }).await.map(drop);
            }
            Err(gap) => self.progress.note_gap(kind, gap),
            Ok(()) if inactive_only || hidden => {}
            Ok(()) => {
                let target = self.place.run.shared.name();
                let (linked, _) = self.place.store.expected_counts(target, kind).await?;
                if let Err(gap) = plausible(self.progress.paging.received, linked) {
                    self.progress.note_gap(kind, gap);
                }
            }
        }
        self.advance().await
    }

    /// Reads and keeps page after page, up to the last or to one that shows that the list is not whole.
    async fn read(&mut self, list: List) -> Result<Result<(), Gap>, StoreError> {
        let place = self.place;
        let mut next = place.page(list, self.progress.paging.clone()).await;
        loop {
            let Taken { rows, paging, after } = match next {
                Ok(taken) => taken,
                Err(gap) => return Ok(Err(gap)),
            };
            let came = rows.len() as u64;
            self.progress.paging = paging.clone();
            let kept = match after {
                After::End => {
                    let kept = self.note_read(rows).await?;
                    return Ok(if kept.fresh < came { Err(Gap::Repeated) } else { Ok(()) });
                }
                After::More => {
                    let ahead = async { Ok(place.page(list, paging).await) };
                    let (ahead, kept) = tokio::try_join!(ahead, self.note_read(rows))?;
                    next = ahead;
                    kept
                }
            };
            if kept.fresh < came {
                return Ok(Err(Gap::Repeated));
            }
        }
    }

    async fn note_read(&mut self, rows: Vec<ResyncRow>) -> Result<Kept, StoreError> {
        self.progress.read += rows.len() as u64;
        self.progress.members_shown |=
            rows.iter().any(|row| row.body.as_object().is_some_and(|body| members_at(body).is_some()));
        self.keep(Step::rows(rows)).await
    }

    /// Looks up some of the resources that a narrow scope names; no list is read for them.
    async fn look_up(&mut self, kind: Kind) -> Result<(), StoreError> {
        let shared = &self.place.run.shared;
        let after = self.progress.after.as_deref();
        let Some((page, last)) = self.place.expected(kind, after, LOOKUPS).await? else {
            return self.advance().await;
        };
        self.progress.after = Some(last);
        let policy = shared.policy();
        let mut rows = Vec::new();
        for one in page {
            let known = Known::of(one, &policy);
            let matchers = known.matchers(kind, &policy);
            match reading::one(shared, kind, known.named(), &matchers).await {
                Ok(found) => rows.extend(found),
                Err(gap) => {
                    self.progress.note_gap(kind, gap);
                    self.progress.advance();
                    break;
                }
            }
        }
        self.note_read(rows).await.map(drop)
    }
}
