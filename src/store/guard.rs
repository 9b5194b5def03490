//! What keeps a mass of destructive changes from a vendor: how many go through unasked, and what is
//! asked of a person about the others.
//!
//! The rule is pure and stands here, because both stores count by it in the transaction that lets a
//! change through, and so do those who compare a listing with what was known before. What is counted is
//! resources, not calls: whoever is deactivated, retried and deactivated again within one window
//! counts once, and so a crash between a call and its record costs nothing twice.

mod holds;

use std::time::Duration;

pub use holds::{Decided, Decision, Hold, HoldFilter, HoldItem, HoldState, HoldVerdict, ItemState};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind};
use crate::store::ItemId;

/// How many destructive changes of one target go through without a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Accounts and groups that may end within a window.
    pub max_destructive: u64,
    /// The same, in percent of the accounts that the target has.
    pub max_percent: f64,
    /// What goes through whatever the percentage says, so that a small company can part with somebody.
    pub always_allowed: u64,
    /// Memberships that may end within a window, of users who keep their access.
    pub max_removals: u64,
    /// How far back is counted.
    pub window: Duration,
    /// How long a hold waits for a decision before it counts as expired.
    pub hold_expires: Duration,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            max_destructive: 50,
            max_percent: 10.0,
            always_allowed: 3,
            max_removals: 1_000,
            window: Duration::from_hours(1),
            hold_expires: Duration::from_hours(7 * 24),
        }
    }
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// Users who lose their account or their access, and groups that are deleted.
    Accounts,
    /// Members who leave a group and keep their access.
    Memberships,
}

impl Meter {
    /// How it is named in a column.
    pub(in crate::store) const fn number(self) -> i16 {
        match self {
            Self::Accounts => 0,
            Self::Memberships => 1,
        }
    }
}

/// How many accounts a target must have for one more change to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Whatever their number.
    Nothing,
    /// At least so many.
    Accounts(u64),
    /// No number would do.
    APerson,
}

/// Whether what a listing lacks may be taken for gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingVerdict {
    /// It may.
    Allowed,
    /// A person decides; so many would have been allowed.
    Hold {
        /// The most that goes through unasked.
        allowed: u64,
    },
}

impl Guard {
    /// The most accounts that may end within a window where the target has so many.
    pub fn allowed(&self, accounts: u64) -> u64 {
        let relative = share(accounts, self.max_percent).max(self.always_allowed);
        self.max_destructive.min(relative)
    }

    /// What one more change needs where `done` have gone through in the window.
    pub fn needs(&self, meter: Meter, done: u64) -> Needs {
        let next = done.saturating_add(1);
        match meter {
            Meter::Memberships if next <= self.max_removals => Needs::Nothing,
            Meter::Memberships => Needs::APerson,
            Meter::Accounts if next > self.max_destructive => Needs::APerson,
            Meter::Accounts if next <= self.always_allowed => Needs::Nothing,
            Meter::Accounts if self.max_percent <= 0.0 => Needs::APerson,
            Meter::Accounts => Needs::Accounts(accounts_for(next, self.max_percent)),
        }
    }

    /// Whether a whole listing that lacks `gone` of the `known` may be believed at once: what a source
    /// or a vendor that has lost its data says looks just like everybody leaving.
    pub fn judge_listing(&self, gone: u64, known: u64) -> ListingVerdict {
        let allowed = self.allowed(known);
        if gone <= allowed { ListingVerdict::Allowed } else { ListingVerdict::Hold { allowed } }
    }

    /// From when on changes are counted.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        let window = i64::try_from(self.window.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(now.as_micros().saturating_sub(window))
    }

    /// Why a hold was opened, for people.
    pub fn reason(&self, meter: Meter, done: u64) -> String {
        let window = humantime::format_duration(self.window);
        match meter {
            Meter::Accounts => format!(
                "{done} accounts or groups have ended within {window}, and no more than {} or {} percent of the accounts may without a person",
                self.max_destructive, self.max_percent
            ),
            Meter::Memberships => format!(
                "{done} memberships have ended within {window}, and no more than {} may without a person",
                self.max_removals
            ),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of accounts are far below 2^53, and a percentage is not negative"
)]
fn share(accounts: u64, percent: f64) -> u64 {
    (accounts as f64 * percent / 100.0).floor() as u64
}

/// The least number of accounts of which `next` is no more than the percentage.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of accounts are far below 2^53, and a percentage is above zero here"
)]
fn accounts_for(next: u64, percent: f64) -> u64 {
    let about = (next as f64 * 100.0 / percent).ceil() as u64;
    // Rounding may leave it one off.
    (about.saturating_sub(1)..=about.saturating_add(1))
        .find(|accounts| share(*accounts, percent) >= next)
        .unwrap_or(about)
}

/// A change that takes something away from somebody, about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destruction {
    /// The user, the group, or the member of a group, as parked items are named.
    pub item: ItemId,
    /// `deactivate`, `delete` or `remove`.
    pub operation: &'static str,
    /// The generation of the user or group, or the sequence of the membership, that asks for it.
    pub generation: u64,
}

impl Destruction {
    /// What it is counted with.
    pub const fn meter(&self) -> Meter {
        match self.item {
            ItemId::Resource(_) => Meter::Accounts,
            ItemId::Member { .. } => Meter::Memberships,
        }
    }

    /// The member whose membership it ends.
    pub const fn member(&self) -> Option<&ExternalId> {
        match &self.item {
            ItemId::Resource(_) => None,
            ItemId::Member { user, .. } => Some(user),
        }
    }
}

/// What the guard says to one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may be sent.
    Go,
    /// A person decides first.
    Held {
        /// The hold that it is part of.
        hold: u64,
    },
    /// A person has decided against it.
    Rejected {
        /// The hold that it was part of.
        hold: u64,
    },
}

/// Whether a member loses all access, and whether the vendor knows.
pub(in crate::store) enum Leaving {
    /// The user keeps its access.
    No,
    /// The vendor has been told.
    Told,
    /// It has not; this is the generation of the user that says so.
    Untold(u64),
}

/// How an item is named in columns: kind, id, and the member or nothing.
pub(in crate::store) fn columns(item: &ItemId) -> (i16, &ExternalId, &str) {
    match item {
        ItemId::Resource(key) => match key.kind {
            Kind::User => (0, &key.id, ""),
            Kind::Group => (1, &key.id, ""),
        },
        ItemId::Member { group, user } => (MEMBER, group, user.as_str()),
    }
}

/// `kind` of a member.
pub(in crate::store) const MEMBER: i16 = 2;

#[cfg(test)]
mod tests;
