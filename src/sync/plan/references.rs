//! Members who are named by the operation that creates them, in one bulk request: RFC 7644 section 3.7.2.
//!
//! What a reference stands for is known once the request is answered. Until then the member counts as
//! waiting, so that a request that is lost, refused or not sent leaves the group where it was.

use std::collections::{BTreeMap, BTreeSet};

use crate::directory::{ExternalId, Kind};
use crate::store::Desired;
use crate::sync::plan::{End, Pass};

/// Members are named by the operations that create them.
#[derive(Clone, Debug)]
pub(super) struct References {
    /// The end that the pass had without them.
    end: Option<End>,
}

impl Pass {
    /// Users whose accounts are about to be made, and who alone are missing in a group that the vendor
    /// has. None where the pass has anything else to say.
    pub fn awaits(&self) -> BTreeSet<ExternalId> {
        let is_over = match &self.end {
            Some(End::Done | End::Gather) => self.row().is_some(),
            Some(End::Wait { .. } | End::Park { .. }) | None => false,
        };
        if is_over && self.is_there() { self.members.coming_users() } else { BTreeSet::new() }
    }

    /// Whether a member who waits is one of these users.
    pub fn waits_for_any(&self, users: &BTreeSet<ExternalId>) -> bool {
        self.is_there() && !self.waits_for.is_disjoint(users)
    }

    /// Names members by the operations that create them, and plans on. False where there are none.
    pub fn refer(&mut self, references: &BTreeMap<ExternalId, String>) -> bool {
        let refers = self.references.is_none() && self.is_there() && self.members.refer(references);
        if refers {
            self.references = Some(References { end: self.end.take() });
        }
        refers
    }

    /// Whether members are named by the operations that create them.
    pub const fn has_references(&self) -> bool {
        self.references.is_some()
    }

    /// The request with the references is not sent: the pass is where it was before.
    pub fn take_references_back(&mut self) {
        if let Some(References { end }) = self.references.take() {
            self.members.forget_references();
            self.end = end;
        }
    }

    /// Takes in which of the accounts were made, before the answer to the request itself is taken in.
    pub fn references_stand_for(&mut self, made: &BTreeSet<ExternalId>) {
        self.members.keep_references(made);
    }

    /// The request is over: who was named and is not settled waits, the others do not.
    pub(super) fn forget_references(&mut self) {
        if self.references.take().is_some() {
            self.members.forget_references();
            let settled = self.members.settled_users();
            self.waits_for.retain(|user| !settled.contains(user));
        }
    }

    fn is_there(&self) -> bool {
        match &self.desired {
            Desired::Group { group, .. } => self.key.kind == Kind::Group && !group.is_deleted(),
            Desired::User { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::directory::AttributePath;
    use crate::store::{Link, MemberDelta, MemberStanding, Row};
    use crate::sync::plan::tests::{delta, group, id, linked};
    use crate::sync::plan::{Next, Reaction, Request, Units};
    use crate::sync::policy::Policy;
    use crate::target::verdict::Verdict;

    fn policy() -> Policy {
        Policy { member_references: true, ..Policy::default() }
    }

    fn coming(number: u64) -> MemberDelta {
        delta(number, true, MemberStanding::Unknown { coming: true })
    }

    /// A pass of a group that the vendor has, begun a minute late or at once.
    fn pass(deltas: Vec<MemberDelta>, age_s: u64) -> Pass {
        let mut memory = group(deltas);
        let applied = Units::from(
            [("displayName", "Support"), ("externalId", "g-1")]
                .map(|(name, value)| (AttributePath::new(name), json!(value))),
        );
        memory.link = Some(Link::Known(Row { vendor_id: "g".to_owned(), applied, ..Row::default() }));
        Pass::begin(memory.dossier(), &policy(), std::time::Duration::from_secs(age_s))
    }

    fn users(numbers: &[u64]) -> BTreeSet<ExternalId> {
        numbers.iter().map(|number| id(&format!("u-{number}"))).collect()
    }

    fn references(numbers: &[u64]) -> BTreeMap<ExternalId, String> {
        users(numbers).into_iter().map(|user| (user.clone(), format!("bulkId:{user}"))).collect()
    }

    fn adds(pass: &mut Pass) -> Option<Vec<String>> {
        match pass.next(&policy()) {
            Next::Send(Request::Members { adds, .. }) => Some(adds),
            Next::Send(_) | Next::AskHolder { .. } | Next::AskStrangers { .. } | Next::Settled => None,
        }
    }

    fn done() -> Verdict {
        Verdict::Done { status: StatusCode::OK, resource: None, etag: None, id: None }
    }

    fn refused() -> Verdict {
        Verdict::Refused { status: StatusCode::BAD_REQUEST, scim_type: None, detail: None }
    }

    #[test]
    fn who_is_created_in_the_same_request_is_named_and_who_is_not_waits() {
        for (what, deltas, age_s, named, expected) in [
            ("one who comes", vec![coming(1)], 0, vec![1], Some(vec!["bulkId:u-1"])),
            ("long awaited", vec![coming(1)], 60, vec![1], Some(vec!["bulkId:u-1"])),
            (
                "beside one who is known",
                vec![linked(1, true), coming(2)],
                60,
                vec![2],
                Some(vec!["m1", "bulkId:u-2"]),
            ),
            ("another comes later", vec![coming(1), coming(2)], 0, vec![2], Some(vec!["bulkId:u-2"])),
            ("nobody of the group", vec![coming(1)], 60, vec![7], None),
            ("one who leaves goes alone", vec![linked(1, false), coming(2)], 60, vec![2], None),
        ] {
            let mut pass = pass(deltas, age_s);
            pass.next(&policy());
            let refers = pass.refer(&references(&named));
            let sent = refers.then(|| adds(&mut pass)).flatten();
            let expected = expected.map(|ids| ids.into_iter().map(str::to_owned).collect());
            assert_eq!(sent, expected, "{what}");
        }
    }

    #[test]
    fn what_became_of_the_accounts_says_who_is_a_member_and_who_waits() {
        for (what, made, verdict, settled, waits) in [
            ("all were made", vec![1, 2], done(), vec![1, 2], vec![]),
            ("one was not", vec![1], done(), vec![1], vec![2]),
            ("the group's own is refused", vec![1], refused(), vec![], vec![1, 2]),
            ("nobody knows", vec![], Verdict::Unknown, vec![], vec![1, 2]),
        ] {
            let mut pass = pass(vec![coming(1), coming(2)], 0);
            assert_eq!(pass.awaits(), users(&[1, 2]), "{what}");
            assert!(pass.refer(&references(&[1, 2])));
            let Next::Send(request) = pass.next(&policy()) else { panic!("{what}") };
            pass.references_stand_for(&users(&made));
            let reaction = pass.absorb(&policy(), &request, verdict);
            assert_eq!(matches!(reaction, Reaction::Later { .. }), what == "nobody knows", "{what}");
            assert!(!pass.has_references() && matches!(pass.next(&policy()), Next::Settled), "{what}");
            let findings = pass.findings(Timestamp::default());
            assert_eq!(findings.members.settled, users(&settled), "{what}");
            assert_eq!((findings.waits_for, findings.members.parked), (users(&waits), vec![]), "{what}");
        }
    }

    #[test]
    fn a_request_that_is_not_sent_leaves_the_pass_where_it_was() {
        for age_s in [0, 60] {
            let mut pass = pass(vec![coming(1)], age_s);
            pass.next(&policy());
            let end = pass.end().cloned();
            assert!(pass.refer(&references(&[1])) && adds(&mut pass).is_some());
            pass.take_references_back();
            assert_eq!((pass.end().cloned(), pass.awaits()), (end, users(&[1])), "{age_s}");
            assert_eq!(pass.findings(Timestamp::default()).waits_for, users(&[1]));
        }
    }

    #[test]
    fn who_has_no_room_in_the_request_is_named_nowhere_else() {
        let small = Policy { members_per_request: 1, ..policy() };
        let mut pass = pass(vec![coming(1), coming(2)], 60);
        pass.next(&small);
        assert!(pass.refer(&references(&[1, 2])));
        let Next::Send(request) = pass.next(&small) else { panic!() };
        pass.references_stand_for(&users(&[1, 2]));
        pass.absorb(&small, &request, done());
        assert!(matches!(pass.next(&small), Next::Settled));
        assert_eq!(pass.findings(Timestamp::default()).waits_for, users(&[2]));
    }

    #[test]
    fn a_new_group_is_made_with_those_who_are_made_along() {
        let mut pass = Pass::begin(group(vec![coming(1)]).dossier(), &policy(), std::time::Duration::ZERO);
        let Next::Send(lookup) = pass.next(&policy()) else { panic!("it is looked for at once") };
        let nobody = json!({"totalResults": 0, "Resources": []});
        let found = Verdict::Done { status: StatusCode::OK, resource: Some(nobody), etag: None, id: None };
        pass.absorb(&policy(), &lookup, found);
        pass.next(&policy());
        assert!(pass.refer(&references(&[1])));
        let Next::Send(Request::Create { resource }) = pass.next(&policy()) else { panic!() };
        assert_eq!(resource["members"], json!([{"value": "bulkId:u-1"}]));
    }
}
