//! One resource's story over all targets: what came in about it, and what was done for it.
//!
//! Four streams are told together, each in the order of its own numbers, so that no stream is ever
//! sorted whole: the changes of the resource, the memberships of the user (a change of a group names
//! the group alone), the ledger, and what was held back. A [`Cursor`] says how far each was told.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey, Snapshot, Version};
use crate::store::guard::HoldItem;
use crate::store::{Lane, LedgerRecord, Page, TargetState};

/// Groups of a user, or members of a group, that a [`Present`] names at most.
pub const MEMBERSHIPS_MAX: usize = 200;

/// What came in, or what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A change of an event.
    Change(ChangeStory),
    /// A call to a vendor, or a decision without one.
    Ledger(LedgerRecord),
    /// A destructive change that waited, or waits, for a person's decision.
    Hold(HoldStory),
}

impl Happening {
    /// When it came in, or ended.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Change(change) => change.received_at,
            Self::Ledger(record) => record.at,
            Self::Hold(hold) => hold.item.held_at,
        }
    }
}

/// One change, with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeStory {
    /// The event's number.
    pub sequence: u64,
    /// The change's position in the event.
    pub index: u32,
    /// The source.
    pub source: String,
    /// The sender's id of the event.
    pub event_id: String,
    /// When the event arrived.
    pub received_at: Timestamp,
    /// `user.upsert` and so on.
    pub operation: String,
    /// `merged`, `unchanged` or `superseded`.
    pub outcome: String,
    /// The generation after the merge of the resource that the change names.
    pub generation: u64,
    /// Of a user's memberships: the group, and whether the user belongs to it since.
    pub membership: Option<(ExternalId, bool)>,
    /// How often the sender repeated the event, and when last.
    pub repeats: Option<(u64, Timestamp)>,
}

/// What was held back of a resource, or of a user's memberships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldStory {
    /// The hold that it is a part of.
    pub hold: u64,
    /// The target.
    pub target: String,
    /// What was held back, and how it stands.
    pub item: HoldItem,
}

/// How a story is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    Falling,
    /// Oldest first.
    Rising,
}

impl Order {
    /// How numbers go on after a cursor: the comparison, and the order.
    pub(in crate::store) const fn onward(self) -> (&'static str, &'static str) {
        match self {
            Self::Falling => ("<", "DESC"),
            Self::Rising => (">", "ASC"),
        }
    }

    /// The number before the first: none that a store gives is beyond it.
    pub(in crate::store) const fn start(self) -> u64 {
        match self {
            Self::Falling => i64::MAX.unsigned_abs(),
            Self::Rising => 0,
        }
    }
}

/// How far each stream was told; `None` where nothing of it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Generation, event and position of the last change.
    pub change: Option<(u64, u64, u32)>,
    /// Event and position of the last membership.
    pub membership: Option<(u64, u32)>,
    /// Number of the last entry of the ledger.
    pub ledger: Option<u64>,
    /// Number of the last item of a hold.
    pub hold: Option<u64>,
}

impl Cursor {
    fn note(&mut self, happening: &Happening) {
        match happening {
            Happening::Change(ChangeStory { membership: Some(_), sequence, index, .. }) => {
                self.membership = Some((*sequence, *index));
            }
            Happening::Change(ChangeStory { generation, sequence, index, .. }) => {
                self.change = Some((*generation, *sequence, *index));
            }
            Happening::Ledger(record) => self.ledger = Some(record.sequence),
            Happening::Hold(hold) => self.hold = Some(hold.item.sequence),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((generation, sequence, index)) = self.change {
            write!(f, "c{generation}.{sequence}.{index}")?;
        }
        f.write_str("~")?;
        if let Some((sequence, index)) = self.membership {
            write!(f, "m{sequence}.{index}")?;
        }
        f.write_str("~")?;
        if let Some(sequence) = self.ledger {
            write!(f, "l{sequence}")?;
        }
        f.write_str("~")?;
        if let Some(sequence) = self.hold {
            write!(f, "h{sequence}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split('~').collect();
        let [change, membership, ledger, hold] = parts[..] else { return Err(()) };
        Ok(Self {
            change: numbers(change, 'c')?.as_deref().map(three).transpose()?,
            membership: numbers(membership, 'm')?.as_deref().map(two).transpose()?,
            ledger: numbers(ledger, 'l')?.as_deref().map(one).transpose()?,
            hold: numbers(hold, 'h')?.as_deref().map(one).transpose()?,
        })
    }
}

fn numbers(text: &str, letter: char) -> Result<Option<Vec<u64>>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    // No number of a store is past what its columns hold.
    let number =
        |part: &str| part.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok()).ok_or(());
    text.strip_prefix(letter).ok_or(())?.split('.').map(number).collect::<Result<_, _>>().map(Some)
}

fn three(numbers: &[u64]) -> Result<(u64, u64, u32), ()> {
    let [a, b, c] = *numbers else { return Err(()) };
    Ok((a, b, position(c)?))
}

fn two(numbers: &[u64]) -> Result<(u64, u32), ()> {
    let [a, b] = *numbers else { return Err(()) };
    Ok((a, position(b)?))
}

fn one(numbers: &[u64]) -> Result<u64, ()> {
    let [a] = *numbers else { return Err(()) };
    Ok(a)
}

fn position(number: u64) -> Result<u32, ()> {
    i32::try_from(number).ok().and_then(|position| u32::try_from(position).ok()).ok_or(())
}

/// The first `limit` of four streams that are in `order` each. A stream must hold one more than
/// `limit` where there is more of it.
pub(super) fn told(
    order: Order,
    after: Cursor,
    streams: [Vec<Happening>; 4],
    limit: usize,
) -> Page<Happening> {
    let mut streams = streams.map(|stream| stream.into_iter().peekable());
    let mut cursor = after;
    let mut items = Vec::new();
    loop {
        let heads =
            streams.iter_mut().enumerate().filter_map(|(place, stream)| Some((stream.peek()?.at(), place)));
        // At the same moment, what came in comes before what was done for it.
        let next = match order {
            Order::Rising => heads.min(),
            Order::Falling => heads.max(),
        };
        let Some((_, place)) = next else { return Page { items, next: None } };
        if items.len() >= limit {
            return Page { items, next: Some(cursor.to_string()) };
        }
        if let Some(happening) = streams[place].next() {
            cursor.note(&happening);
            items.push(happening);
        }
    }
}

/// A membership that a batch has written, and the change that decided it.
pub(super) struct WrittenMembership<'a> {
    pub(super) group: &'a ExternalId,
    pub(super) user: &'a ExternalId,
    pub(super) present: bool,
    pub(super) sequence: u64,
    pub(super) index: u32,
}

/// The memberships that a batch has written. `origins` names the event and position of each change of
/// the batch; those of users are left out, since they are told of their user anyway.
pub(super) fn written_memberships<'a>(
    snapshot: &'a Snapshot,
    origins: &BTreeMap<&Version, (u64, u32, Kind)>,
) -> Vec<WrittenMembership<'a>> {
    let written = snapshot.touched().members.iter().filter_map(|(group, user)| {
        let row = snapshot.membership(group, user)?;
        match origins.get(&row.version)? {
            (sequence, index, Kind::Group) => Some(WrittenMembership {
                group,
                user,
                present: row.present,
                sequence: *sequence,
                index: *index,
            }),
            (_, _, Kind::User) => None,
        }
    });
    written.collect()
}

/// How a resource stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its generation in the directory; `None` where the directory knows the id alone.
    pub generation: Option<u64>,
    /// Whether it is there and, if a user, has access.
    pub wanted: bool,
    /// Events of any resource that are accepted and not merged yet: some may be about this one.
    pub unprojected: u64,
    /// A user's groups, or none.
    pub groups: Vec<ExternalId>,
    /// Per target that follows the directory.
    pub targets: BTreeMap<String, Standing>,
}

/// How a resource stands at one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The target's stored state.
    pub state: TargetState,
    /// The vendor's id, where the resource is linked.
    pub vendor_id: Option<String>,
    /// The vendor does not know it, as of then.
    pub absent_since: Option<Timestamp>,
    /// The generation that was applied last.
    pub synced_generation: u64,
    /// When something was last applied.
    pub applied_at: Option<Timestamp>,
    /// What is still to do.
    pub work: Option<WorkStanding>,
    /// Users who are waited for: the manager, or members; as many as are named at most.
    pub waits_for: Vec<ExternalId>,
    /// Of a user, its groups that do not have it yet; of a group, its members that it does not have yet.
    pub open: Vec<OpenMembership>,
}

/// A row of work, as people ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkStanding {
    /// `pending`, `waiting`, `parked` or `held`.
    pub state: &'static str,
    /// Its lane.
    pub lane: Lane,
    /// When it is due.
    pub due: Timestamp,
    /// When the oldest change that is not applied was received.
    pub since: Timestamp,
    /// Failures charged to it.
    pub attempts: u32,
    /// Why it waits, failed or is parked.
    pub reason: Option<String>,
}

/// A membership that is not at the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenMembership {
    /// The group, of a user; the user, of a group.
    pub key: ResourceKey,
    /// `parked` or `waiting`.
    pub state: &'static str,
    /// Why.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(generation: u64, at: i64) -> Happening {
        Happening::Change(ChangeStory {
            sequence: generation,
            index: 0,
            source: "hr".to_owned(),
            event_id: format!("e{generation}"),
            received_at: Timestamp::from_seconds(at),
            operation: "user.upsert".to_owned(),
            outcome: "merged".to_owned(),
            generation,
            membership: None,
            repeats: None,
        })
    }

    fn done(sequence: u64, at: i64) -> Happening {
        Happening::Ledger(LedgerRecord {
            sequence,
            at: Timestamp::from_seconds(at),
            target: "acme".to_owned(),
            key: Some(ResourceKey::user(ExternalId::parse("u-1").unwrap())),
            generation: 1,
            operation: "update".to_owned(),
            call: None,
            status: None,
            result: "applied".to_owned(),
            etag_before: None,
            etag_after: None,
            elapsed_us: None,
            detail: None,
            actor: None,
            events: Vec::new(),
        })
    }

    #[test]
    fn streams_are_told_in_order_of_time_and_what_came_in_before_what_was_done() {
        let rising = [vec![change(1, 10), change(2, 20)], vec![], vec![done(1, 10), done(2, 30)], vec![]];
        let page = told(Order::Rising, Cursor::default(), rising, 10);
        assert_eq!(page.items, [change(1, 10), done(1, 10), change(2, 20), done(2, 30)]);
        assert_eq!(page.next, None);
        let falling = [vec![change(2, 20), change(1, 10)], vec![], vec![done(2, 30), done(1, 10)], vec![]];
        let page = told(Order::Falling, Cursor::default(), falling, 3);
        assert_eq!(page.items, [done(2, 30), change(2, 20), done(1, 10)]);
        assert_eq!(page.next.as_deref(), Some("c2.2.0~~l1~"));
    }

    #[test]
    fn a_cursor_reads_back_and_another_text_is_none() {
        for cursor in [
            Cursor::default(),
            Cursor { change: Some((3, 2, 1)), ledger: Some(9), ..Cursor::default() },
            Cursor { membership: Some((2, 0)), hold: Some(4), ..Cursor::default() },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in [
            "",
            "~",
            "~~",
            "c1~~~",
            "~~l~",
            "~~l-1~",
            "~~l18446744073709551615~",
            "c1.2.9999999999~~~",
            "~m1.2.3~~",
            "~~~h",
            "~~~~",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text}");
        }
    }
}
