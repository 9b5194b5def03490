//! A group's members: deltas in chunks, halved where the vendor refuses, until the one that it will
//! not take stands alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::directory::{AttributePath, ExternalId};
use crate::store::{MemberDelta, MemberStanding, ParkedMember};
use crate::sync::plan::diff;

/// How long a group may wait for its users to be linked, so that one call takes many members.
pub const GATHER_MAX: Duration = Duration::from_secs(10);

/// The membership rows of one pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    rows: Vec<(MemberDelta, Progress)>,
    /// Chunks to send, the next one last; indexes into `rows`.
    chunks: Vec<Vec<usize>>,
    learned_max: Option<usize>,
    /// Rows whose user another operation of the same request creates, with what was known of it before.
    referred: BTreeMap<usize, MemberStanding>,
    /// Why the vendor refused the one member of whom it is asked whether it is in.
    asked: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// To be sent.
    Open,
    /// The vendor is as desired.
    Settled,
    /// The vendor does not know the user yet.
    Waiting,
    /// The vendor refused it.
    Parked(String),
    /// A person decides whether it is sent.
    Held,
}

impl Members {
    pub(super) fn from_deltas(deltas: &[MemberDelta]) -> Self {
        let rows = deltas.iter().map(|delta| {
            let progress = match (&delta.standing, delta.present) {
                (MemberStanding::Linked(_), _) => Progress::Open,
                // Whom the vendor does not have needs no removal.
                (MemberStanding::Absent, false) => Progress::Settled,
                (MemberStanding::Absent, true) | (MemberStanding::Unknown { .. }, _) => Progress::Waiting,
            };
            (delta.clone(), progress)
        });
        Self { rows: rows.collect(), ..Self::default() }
    }

    /// Whether waiting a moment saves more calls than it delays members: more are about to be linked
    /// than could be sent now, and less than a chunk could.
    pub(super) fn should_gather(&self, chunk: usize, age: Duration) -> bool {
        let open = self.rows.iter().filter(|(_, progress)| *progress == Progress::Open).count();
        let coming = self
            .rows
            .iter()
            .filter(|(delta, _)| delta.present && delta.standing == MemberStanding::Unknown { coming: true })
            .count();
        coming > open && open < chunk && age < GATHER_MAX
    }

    /// Users who are about to be linked, and to be members then.
    pub(super) fn coming_users(&self) -> BTreeSet<ExternalId> {
        let coming = |delta: &MemberDelta| delta.standing == MemberStanding::Unknown { coming: true };
        let rows = self
            .rows
            .iter()
            .filter(|(delta, progress)| delta.present && *progress == Progress::Waiting && coming(delta));
        rows.map(|(delta, _)| delta.user.clone()).collect()
    }

    /// Names members who wait by the operations that create them. Answers whether there are any; none
    /// where somebody is to go, or where the vendor refused a chunk, since either goes by itself.
    pub(super) fn refer(&mut self, references: &BTreeMap<ExternalId, String>) -> bool {
        let goes =
            |(delta, progress): &(MemberDelta, Progress)| !delta.present && *progress == Progress::Open;
        if self.chunks.len() > 1 || self.rows.iter().any(goes) {
            return false;
        }
        for (row, (delta, progress)) in self.rows.iter_mut().enumerate() {
            if delta.present
                && *progress == Progress::Waiting
                && let Some(reference) = references.get(&delta.user)
            {
                let named = MemberStanding::Linked(reference.clone());
                self.referred.insert(row, std::mem::replace(&mut delta.standing, named));
                *progress = Progress::Open;
            }
        }
        if !self.referred.is_empty() {
            // A chunk of those who were open before has room for more.
            self.chunks.clear();
        }
        !self.referred.is_empty()
    }

    /// Members who were named by an operation that has not made them an account wait as before.
    pub(super) fn keep_references(&mut self, made: &BTreeSet<ExternalId>) {
        let failed: Vec<usize> =
            self.referred.keys().copied().filter(|row| !made.contains(&self.rows[*row].0.user)).collect();
        for row in &failed {
            self.wait_as_before(*row);
        }
        for chunk in &mut self.chunks {
            chunk.retain(|row| !failed.contains(row));
        }
    }

    /// The request is over, or was not sent: who is not settled waits as before.
    pub(super) fn forget_references(&mut self) {
        while let Some((row, _)) = self.referred.first_key_value() {
            self.wait_as_before(*row);
        }
    }

    fn wait_as_before(&mut self, row: usize) {
        if let Some(standing) = self.referred.remove(&row) {
            let (delta, progress) = &mut self.rows[row];
            delta.standing = standing;
            if *progress == Progress::Open {
                *progress = Progress::Waiting;
            }
        }
    }

    pub(super) fn has_open(&self) -> bool {
        self.rows.iter().any(|(_, progress)| *progress == Progress::Open)
    }

    pub(super) fn waiting_users(&self) -> BTreeSet<ExternalId> {
        self.users(|progress| *progress == Progress::Waiting)
    }

    pub(super) fn settled_users(&self) -> BTreeSet<ExternalId> {
        self.users(|progress| *progress == Progress::Settled)
    }

    pub(super) fn parked(&self) -> Vec<ParkedMember> {
        let parked = self.rows.iter().filter_map(|(delta, progress)| match progress {
            Progress::Parked(reason) => {
                Some(ParkedMember { user: delta.user.clone(), reason: reason.clone() })
            }
            Progress::Open | Progress::Settled | Progress::Waiting | Progress::Held => None,
        });
        parked.collect()
    }

    /// Those whom the vendor refused, with the ids by which it was asked.
    pub(super) fn refused(&self) -> Vec<(ExternalId, String)> {
        let refused = self.rows.iter().filter(|(_, progress)| matches!(progress, Progress::Parked(_)));
        let named = refused.filter_map(|(delta, _)| match &delta.standing {
            MemberStanding::Linked(vendor_id) => Some((delta.user.clone(), vendor_id.clone())),
            MemberStanding::Absent | MemberStanding::Unknown { .. } => None,
        });
        named.collect()
    }

    /// The vendor has refused an account that the user does not have any more: whoever is to come in waits
    /// for another one, and nobody is left to remove. Answers whether the user waits.
    pub(super) fn account_is_gone(&mut self, user: &ExternalId) -> bool {
        let mut waits = false;
        for (delta, progress) in self.rows.iter_mut().filter(|(delta, _)| delta.user == *user) {
            *progress = if delta.present { Progress::Waiting } else { Progress::Settled };
            waits |= delta.present;
        }
        waits
    }

    /// Members whose removal waits for a decision.
    pub(super) fn held_users(&self) -> BTreeSet<ExternalId> {
        self.users(|progress| *progress == Progress::Held)
    }

    /// Removals that are still to be sent, with the sequence of each.
    pub(super) fn open_removals(&self) -> Vec<(ExternalId, u64)> {
        let open = self.rows.iter().filter(|(delta, progress)| !delta.present && *progress == Progress::Open);
        open.map(|(delta, _)| (delta.user.clone(), delta.sequence)).collect()
    }

    /// Takes removals out of what is to be sent: those that a person decides about, and those that are
    /// not to be sent at all.
    pub(super) fn leave_out(&mut self, held: &BTreeSet<ExternalId>, dropped: &BTreeSet<ExternalId>) {
        for (delta, progress) in &mut self.rows {
            if *progress == Progress::Open && !delta.present {
                if held.contains(&delta.user) {
                    *progress = Progress::Held;
                } else if dropped.contains(&delta.user) {
                    *progress = Progress::Settled;
                }
            }
        }
    }

    pub(super) const fn learned_max(&self) -> Option<usize> {
        self.learned_max
    }

    /// The sequence up to which nothing is left to send.
    pub(super) fn watermark(&self) -> Option<u64> {
        let fresh = self.rows.iter().filter(|(delta, _)| !delta.waited);
        let done = fresh.take_while(|(_, progress)| *progress != Progress::Open);
        done.map(|(delta, _)| delta.sequence).max()
    }

    /// The next chunk as (adds, removes) of vendor ids; `None` when nothing is left to send. What
    /// `remote` shows to be in place already is settled without a call; of a group that shows
    /// `read_cap` members or more it does not tell who is no member.
    pub(super) fn next_chunk(
        &mut self,
        size: usize,
        remote: Option<&Map<String, Value>>,
        read_cap: usize,
    ) -> Option<(Vec<String>, Vec<String>)> {
        if let Some(present) = remote.and_then(member_ids) {
            self.settle_in_place(&present, present.len() < read_cap);
        }
        for chunk in &mut self.chunks {
            chunk.retain(|row| self.rows[*row].1 == Progress::Open);
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        if self.chunks.is_empty() {
            let size = self.learned_max.map_or(size, |learned| learned.min(size)).max(1);
            let open = self.rows.iter().enumerate().filter(|(_, (_, progress))| *progress == Progress::Open);
            let chunk: Vec<usize> = open.map(|(row, _)| row).take(size).collect();
            if chunk.is_empty() {
                return None;
            }
            self.chunks.push(chunk);
        }
        let (adds, removes): (Vec<_>, Vec<_>) =
            self.chunks.last()?.iter().map(|row| &self.rows[*row].0).partition(|delta| delta.present);
        Some((vendor_ids(&adds), vendor_ids(&removes)))
    }

    /// The vendor has taken the chunk.
    pub(super) fn chunk_done(&mut self) {
        self.mark_chunk(&Progress::Settled);
    }

    /// The vendor will not take the chunk.
    pub(super) fn park_chunk(&mut self, reason: &str) {
        self.mark_chunk(&Progress::Parked(reason.to_owned()));
    }

    /// Has the vendor asked whether the one member that it will not take is in already, or out; false
    /// where there is not one alone.
    pub(super) fn ask(&mut self, reason: &str) -> bool {
        let is_alone = self.chunks.last().is_some_and(|chunk| chunk.len() == 1);
        self.asked = is_alone.then(|| reason.to_owned());
        is_alone
    }

    /// The vendor's id of the member of whom it is asked.
    pub(super) fn asked(&self) -> Option<String> {
        self.asked.as_ref()?;
        let row = self.chunks.last()?.first()?;
        match &self.rows[*row].0.standing {
            MemberStanding::Linked(id) => Some(id.clone()),
            MemberStanding::Absent | MemberStanding::Unknown { .. } => None,
        }
    }

    /// Takes in whether that one is in; `None` where the vendor does not tell.
    pub(super) fn answered(&mut self, is_member: Option<bool>) {
        let Some(reason) = self.asked.take() else { return };
        let row = self.chunks.last().and_then(|chunk| chunk.first());
        let wanted = row.map(|row| self.rows[*row].0.present);
        if wanted.is_some() && is_member == wanted { self.chunk_done() } else { self.park_chunk(&reason) }
    }

    /// Halves the chunk; false when it holds one member only.
    pub(super) fn split(&mut self) -> bool {
        let Some(chunk) = self.chunks.last_mut().filter(|chunk| chunk.len() > 1) else { return false };
        let rest = chunk.split_off(chunk.len() / 2);
        let at = self.chunks.len() - 1;
        self.chunks.insert(at, rest);
        true
    }

    /// Halves the chunk and remembers that the vendor wants smaller ones.
    pub(super) fn split_too_large(&mut self) -> bool {
        let split = self.split();
        if split {
            self.learned_max = self.chunks.last().map(Vec::len);
        }
        split
    }

    /// A group that is new at the vendor has nobody to remove.
    pub(super) fn settle_removals(&mut self) {
        for (delta, progress) in &mut self.rows {
            if !delta.present && *progress != Progress::Settled {
                *progress = Progress::Settled;
            }
        }
    }

    /// The group is gone at the vendor, and its members with it.
    pub(super) fn settle_all(&mut self) {
        for (_, progress) in &mut self.rows {
            *progress = Progress::Settled;
        }
    }

    fn settle_in_place(&mut self, present: &BTreeSet<&str>, shows_all: bool) {
        for (delta, progress) in &mut self.rows {
            if let (Progress::Open, MemberStanding::Linked(id)) = (&progress, &delta.standing)
                && present.contains(id.as_str()) == delta.present
                && (delta.present || shows_all)
            {
                *progress = Progress::Settled;
            }
        }
    }

    fn mark_chunk(&mut self, progress: &Progress) {
        for row in self.chunks.pop().unwrap_or_default() {
            self.rows[row].1 = progress.clone();
        }
    }

    fn users(&self, keep: impl Fn(&Progress) -> bool) -> BTreeSet<ExternalId> {
        self.rows.iter().filter(|(_, progress)| keep(progress)).map(|(delta, _)| delta.user.clone()).collect()
    }
}

/// The vendor ids of a group's members; `None` when the resource does not tell them, which is not
/// the same as nobody.
fn member_ids(resource: &Map<String, Value>) -> Option<BTreeSet<&str>> {
    let members = diff::read(resource, &AttributePath::new("members"))?.as_array()?;
    members.iter().map(|member| member.get("value").and_then(Value::as_str)).collect()
}

fn vendor_ids(deltas: &[&MemberDelta]) -> Vec<String> {
    let ids = deltas.iter().filter_map(|delta| match &delta.standing {
        MemberStanding::Linked(id) => Some(id.clone()),
        MemberStanding::Absent | MemberStanding::Unknown { .. } => None,
    });
    ids.collect()
}
