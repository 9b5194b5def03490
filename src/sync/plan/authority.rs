//! A group has exactly the directory's members, where the target is told so: whoever else is in it is
//! removed, after all that the directory has to say of it was sent.
//!
//! Absence needs proof here more than anywhere. Nobody is removed but from a read of the group that showed
//! all of its members; nor while the directory knows the group by id only, has heard of no membership in
//! it, or has a member whose account is still looked for. Groups inside the group stay: no source speaks
//! of them. Nor is anybody removed from a derived group: the rules say who is in it, not who else may be.

use serde_json::{Map, Value};

use crate::directory::AttributePath;
use crate::scim::etag::ETag;
use crate::store::Desired;
use crate::sync::plan::{End, Next, Pass, Request, diff};
use crate::sync::policy::Policy;

/// How far a pass is with those who are no members.
#[derive(Clone, Debug, Default)]
pub(super) struct Authority {
    /// The group is to be read with its members, be it large or not.
    reads_whole: bool,
    /// The users in the group, by a read that showed them all.
    seen: Option<Vec<String>>,
    /// Those of them who are to go; `None` until it was asked who they are.
    strangers: Option<Vec<String>>,
    /// How many of these the call names that was planned last.
    named: usize,
    /// The most that a call may name, after the vendor has refused more.
    most: Option<usize>,
    /// One alone was refused, and the group was read again to see whether it has left by itself.
    doubted: bool,
    over: bool,
}

impl Authority {
    pub(super) const fn reads_whole(&self) -> bool {
        self.reads_whole
    }

    /// Whether the last call about members was one of these.
    pub(super) const fn is_under_way(&self) -> bool {
        self.named > 0
    }

    /// What was seen is outdated.
    pub(super) fn forget_what_was_seen(&mut self) {
        let Self { most, doubted, over, .. } = *self;
        *self = Self { most, doubted, over, ..Self::default() };
    }

    /// Takes in a read that showed the whole group.
    pub(super) fn see(&mut self, group: &Map<String, Value>) {
        self.forget_what_was_seen();
        self.seen = user_ids(group);
        // A member without an id is one of whom nothing can be said.
        self.over |= self.seen.is_none();
    }

    /// Names half as many from now on; false where it was one alone.
    pub(super) const fn halve(&mut self) -> bool {
        if self.named < 2 {
            return false;
        }
        self.most = Some(self.named / 2);
        true
    }

    /// The vendor has taken the call.
    pub(super) fn done(&mut self) {
        let named = std::mem::take(&mut self.named);
        self.doubted = false;
        if let Some(strangers) = &mut self.strangers {
            strangers.drain(..named.min(strangers.len()));
        }
    }

    /// Gives up for this pass.
    pub(super) const fn end(&mut self) {
        self.over = true;
        self.reads_whole = false;
    }
}

impl Pass {
    /// The next step towards the directory's members alone; `None` when there is none.
    pub(super) fn next_for_authority(&mut self, policy: &Policy) -> Option<Next> {
        let row = self.row()?;
        let (id, if_match) = (row.vendor_id.clone(), row.etag.clone());
        if !self.has_authority(policy) {
            return None;
        }
        match (&self.authority.strangers, &self.authority.seen) {
            (Some(strangers), _) if strangers.is_empty() => {
                self.authority.end();
                None
            }
            (Some(strangers), _) => {
                let most = self.authority.most.unwrap_or(policy.members_per_request);
                let removes: Vec<String> = strangers.iter().take(most.max(1)).cloned().collect();
                self.authority.named = removes.len();
                Some(remove(id, removes, if_match))
            }
            (None, Some(seen)) if seen.is_empty() || seen.len() >= policy.members_read_cap => {
                self.authority.end();
                None
            }
            (None, Some(seen)) => Some(Next::AskStrangers { vendor_ids: seen.clone() }),
            (None, None) => {
                self.authority.reads_whole = true;
                Some(self.fetch())
            }
        }
    }

    /// Takes in who of those that [`Next::AskStrangers`] named are strangers, if that can be said.
    pub fn strangers_are(&mut self, strangers: Option<Vec<String>>) {
        if strangers.is_none() {
            self.authority.end();
        }
        self.authority.strangers = strangers;
    }

    /// The vendor will not take the call.
    pub(super) fn absorb_refused_strangers(&mut self, reason: &str) {
        let halved = self.authority.halve();
        self.authority.named = 0;
        if halved {
            return;
        }
        if std::mem::replace(&mut self.authority.doubted, true) {
            let reason = format!("a member that others added cannot be removed; {reason}");
            self.end = Some(End::Park { reason });
        } else {
            self.authority.forget_what_was_seen();
            self.must_read = true;
        }
    }

    fn has_authority(&self, policy: &Policy) -> bool {
        let Desired::Group { group, .. } = &self.desired else { return false };
        policy.members_authoritative
            && policy.members_readable
            && !self.key.is_derived()
            && group.is_described()
            && group.member_sequence > 0
            && !self.more_members
            && !self.unreadable
            && !self.authority.over
    }
}

fn remove(id: String, removes: Vec<String>, if_match: Option<ETag>) -> Next {
    Next::Send(Request::Members { id, adds: Vec::new(), removes, if_match })
}

/// The users in a group; `None` where a member has no id.
fn user_ids(group: &Map<String, Value>) -> Option<Vec<String>> {
    let Some(Value::Array(members)) = diff::read(group, &AttributePath::new("members")) else {
        return Some(Vec::new());
    };
    let is_user = |member: &&Value| {
        let kind = member.get("type").and_then(Value::as_str);
        kind.is_none_or(|kind| !kind.eq_ignore_ascii_case("group"))
    };
    let users = members.iter().filter(is_user);
    users.map(|member| Some(member.get("value")?.as_str()?.to_owned())).collect()
}
