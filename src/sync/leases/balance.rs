//! Who is to dispatch what: from who lives and who holds which target to what one replica changes.
//!
//! Every replica that lives gets an equal share. Where the targets do not divide, those who hold most
//! already keep one more, names deciding among equals, so that all replicas reckon the same shares
//! from the same roster and an even spread stays as it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::store::Roster;

/// How many targets may be free before nobody hands back any more: whoever is to take them has to
/// show that it does.
const FREE_MAX: usize = 8;

/// What one replica is to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Free targets to take, by name.
    pub take: Vec<String>,
    /// Targets of its own to hand back, by name.
    pub hand_back: Vec<String>,
}

/// What is peculiar to one replica.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// Its name; it lives, whether or not the roster says so.
    pub name: &'a str,
    /// Targets that it is about to hand back: they count for nobody.
    pub ending: &'a BTreeSet<String>,
    /// Targets that have been free for long although it was somebody's share to take them: whoever
    /// was meant cannot, so that anybody may.
    pub overdue: &'a BTreeSet<String>,
}

/// What a replica is to change, so that in the end every target has a holder and no replica holds
/// two more than another.
pub fn balance(own: Own<'_>, roster: &Roster) -> Moves {
    let shares = shares(own, roster);
    let free: Vec<&String> =
        roster.targets.iter().filter(|(_, tenure)| tenure.is_none()).map(|(name, _)| name).collect();
    // Everybody who is short takes a part of its own, so that two do not reach for the same.
    let mut before = 0;
    for (name, share) in shares {
        if name == own.name {
            return Moves {
                take: take(own, &free, before, share.quota.saturating_sub(share.held)),
                hand_back: hand_back(own, roster, free.len(), share.held.saturating_sub(share.quota)),
            };
        }
        before += share.quota.saturating_sub(share.held);
    }
    Moves::default()
}

/// What a replica holds, and what it is to hold.
struct Share {
    held: usize,
    quota: usize,
}

/// Every living replica's share, in the order in which they take.
fn shares<'a>(own: Own<'a>, roster: &'a Roster) -> Vec<(&'a str, Share)> {
    let mut held: BTreeMap<&str, usize> = roster.replicas.iter().map(|name| (name.as_str(), 0)).collect();
    held.insert(own.name, 0);
    for tenure in roster.targets.values().flatten() {
        let ends = tenure.holder == own.name && own.ending.contains(&tenure.target);
        if !ends && let Some(count) = held.get_mut(tenure.holder.as_str()) {
            *count += 1;
        }
    }
    let (each, rest) = (roster.targets.len() / held.len(), roster.targets.len() % held.len());
    let mut ranked: Vec<_> = held.into_iter().collect();
    ranked.sort_by_key(|(name, held)| (Reverse(*held), *name));
    let ranked = ranked.into_iter().enumerate();
    ranked
        .map(|(rank, (name, held))| (name, Share { held, quota: each + usize::from(rank < rest) }))
        .collect()
}

fn take(own: Own<'_>, free: &[&String], before: usize, short: usize) -> Vec<String> {
    let part = before..before + short;
    let mine = free.iter().enumerate();
    mine.filter(|(place, name)| part.contains(place) || own.overdue.contains(**name))
        .map(|(_, name)| (*name).clone())
        .collect()
}

fn hand_back(own: Own<'_>, roster: &Roster, free: usize, surplus: usize) -> Vec<String> {
    let held = roster.targets.values().flatten();
    let mine = held.filter(|tenure| tenure.holder == own.name && !own.ending.contains(&tenure.target));
    let number = surplus.min(FREE_MAX.saturating_sub(free));
    // The last by name, as good as any, and the same ones when asked again.
    let mut names: Vec<String> = mine.rev().take(number).map(|tenure| tenure.target.clone()).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests;
