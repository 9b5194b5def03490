//! Compares both sides, page by page.
//!
//! While a page is compared and its findings are kept, the next one is read from the store.

use std::collections::BTreeSet;

use crate::directory::{ExternalId, Kind};
use crate::store::{Part, ResyncRow, Step, StoreError};
use crate::sync::drift::{self, Candidate, Class, Compared, Finding, Member, Ours};
use crate::sync::plan::members_at;
use crate::sync::resync::engine::{Place, Resync};
use crate::sync::resync::known::{Known, candidate};
use crate::sync::resync::paging::Gap;
use crate::sync::resync::progress::Scope;

/// Resources compared at a time.
const PAGE: usize = 200;
/// The vendor's resources looked through at a time for those that nobody has.
const LOOKED_THROUGH: usize = 1_000;
/// Members compared at a time.
const MEMBERS_PAGE: usize = 1_000;
/// Memberships of one group that nobody knows and that are told one by one.
const STRANGERS_MAX: usize = 1_000;

/// One page of the directory's resources, each with what may be it at the vendor.
struct Sides {
    pairs: Vec<(Known, Vec<ResyncRow>)>,
    last: String,
}

impl Place<'_> {
    /// The page after an id; `None` after the last.
    async fn sides(self, kind: Kind, after: Option<&str>) -> Result<Option<Sides>, StoreError> {
        let Some((page, last)) = self.expected(kind, after, PAGE).await? else { return Ok(None) };
        let policy = self.run.shared.policy();
        let ours: Vec<_> = page.into_iter().map(|one| Known::of(one, &policy)).collect();
        let probes: Vec<_> = ours.iter().map(Known::probe).collect();
        let met = self.store.resync_like(self.id, Part::of(kind), &probes).await?;
        Ok(Some(Sides { pairs: ours.into_iter().zip(met).collect(), last }))
    }
}

impl Resync<'_> {
    /// Compares the directory's resources of a kind.
    pub(super) async fn compare(&mut self, kind: Kind) -> Result<(), StoreError> {
        let place = self.place;
        let groups_left_out = kind == Kind::Group && !place.run.shared.target.profile().groups.supported;
        if !place.scope.has(kind) || groups_left_out {
            return self.advance().await;
        }
        let mut next = place.sides(kind, self.progress.after.as_deref()).await?;
        while let Some(Sides { pairs, last }) = next {
            let ahead = place.sides(kind, Some(&last));
            (next, ()) = tokio::try_join!(ahead, self.compare_page(kind, pairs, last.clone()))?;
        }
        self.advance().await
    }

    /// Compares one page and keeps what was found, and that it was compared.
    async fn compare_page(
        &mut self,
        kind: Kind,
        pairs: Vec<(Known, Vec<ResyncRow>)>,
        last: String,
    ) -> Result<(), StoreError> {
        let policy = self.place.run.shared.policy();
        let match_attribute = match kind {
            Kind::User => policy.user_match.clone(),
            Kind::Group => policy.group_match.clone(),
        };
        let compared = pairs.len() as u64;
        let (mut found, mut claimed) = (Vec::new(), Vec::new());
        for (known, met) in pairs {
            let candidates: Vec<_> = met.into_iter().filter_map(candidate).collect();
            let ours = Ours {
                kind,
                id: &known.id,
                should_be: &known.should_be,
                linked: known.linked.as_deref(),
                mapped: known.mapped.as_deref(),
                match_attribute: &match_attribute,
            };
            let outcome = drift::resource(ours, &policy, &candidates, self.progress.is_whole(kind));
            let Compared { findings, matched, claimed: taken } = outcome;
            found.extend(findings.into_iter().map(|finding| known.told(finding)));
            if let Some(matched) = matched
                && kind == Kind::Group
                && policy.members_readable
                && let Some(group) = candidates.iter().find(|group| group.vendor_id == matched)
            {
                found.extend(self.compare_members(&known, group, policy.members_read_cap).await?);
            }
            claimed.extend(taken.into_iter().map(|name| (Part::of(kind), name)));
        }
        let rows = self.note(found).await?;
        self.progress.compared += compared;
        self.progress.after = Some(last);
        self.keep(Step { rows, claimed, ..Step::default() }).await.map(drop)
    }

    async fn compare_members(
        &mut self,
        known: &Known,
        group: &Candidate,
        read_cap: usize,
    ) -> Result<Vec<Finding>, StoreError> {
        let shown = members_at(&group.resource);
        let told = shown.is_some() || self.progress.members_shown;
        let mut vendor: BTreeSet<String> = shown.unwrap_or_default().into_iter().collect();
        let shows_all = vendor.len() < read_cap && self.progress.is_whole(Kind::Group);
        let template = known.told(Finding::new(
            Class::Differs,
            Kind::Group,
            Some(known.id.clone()),
            Some(group.vendor_id.clone()),
        ));
        let mut found = Vec::new();
        let mut after: Option<ExternalId> = None;
        loop {
            let target = self.place.run.shared.name();
            let rows =
                self.place.store.expected_members(target, &known.id, after.as_ref(), MEMBERS_PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.user.clone());
            if !told && rows.iter().any(|row| row.present && row.vendor_id.is_some()) {
                self.progress.note_gap(Kind::Group, Gap::MembersLeftOut);
                return Ok(Vec::new());
            }
            found.extend(drift::members(&template, &rows, &mut vendor, shows_all));
        }
        found.extend(vendor.into_iter().take(STRANGERS_MAX).map(|stranger| Finding {
            class: Class::Unmanaged,
            member: Some(Member { id: None, vendor_id: Some(stranger) }),
            ..template.clone()
        }));
        Ok(found)
    }

    /// Notes the vendor's resources of which the directory knows nothing, a page at a time.
    pub(super) async fn unmanaged(&mut self, kind: Kind) -> Result<(), StoreError> {
        if *self.place.scope != Scope::All {
            return self.advance().await;
        }
        let after = self.progress.after.as_deref();
        let part = Part::of(kind);
        let page = self.place.store.resync_unclaimed(self.place.id, part, after, LOOKED_THROUGH).await?;
        let unknown = |name| Finding::new(Class::Unmanaged, kind, None, Some(name));
        let rows = self.note(page.items.into_iter().map(unknown).collect()).await?;
        match page.next {
            Some(next) => self.progress.after = Some(next),
            None => self.progress.advance(),
        }
        self.keep(Step::rows(rows)).await.map(drop)
    }
}
