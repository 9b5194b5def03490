//! Planning for a group that has the directory's members and nobody else.

use super::*;

fn policy() -> Policy {
    Policy { members_authoritative: true, ..Policy::default() }
}

/// A group of which the directory has heard so many memberships; these are its members at the vendor.
fn known(deltas: Vec<MemberDelta>, ours: Option<&[&str]>) -> Memory {
    let mut memory = group(deltas);
    if let Desired::Group { group, .. } = &mut memory.desired {
        group.member_sequence = 3;
    }
    memory.ours = ours.map(|ours| ours.iter().map(|&id| id.to_owned()).collect());
    memory
}

/// A vendor whose group of that name has these members.
fn vendor(members: &[&str]) -> Vendor {
    let mut vendor = Vendor::strict();
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    vendor.insert(&json!({"displayName": "Support", "externalId": "g-1", "members": members}));
    vendor
}

fn held(vendor: &Vendor) -> Vec<&str> {
    let group = vendor.resources.values().next().unwrap();
    let members = group.get("members").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    members.iter().map(|member| member["value"].as_str().unwrap()).collect()
}

#[test]
fn whom_others_added_goes_after_the_directorys_own_changes() {
    let mut vendor = vendor(&["m2", "x1", "x2", "x3"]);
    let mut memory = known(vec![linked(1, true), linked(2, false)], Some(&["m1", "m4"]));
    let policy = Policy { members_per_request: 2, ..policy() };
    let (end, _) = memory.pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!((end, held(&vendor)), (End::Done, vec!["m1"]));
    assert_eq!(words(&vendor), ["lookup", "members", "fetch", "members", "members"]);
}

#[test]
fn nobody_goes_but_by_proof() {
    let everybody = vec!["m1", "x1"];
    let read_cap = Policy { members_read_cap: 2, ..policy() };
    let hidden = Policy { members_readable: false, ..policy() };
    let additive = Policy::default();
    let settled = || known(vec![linked(1, true)], Some(&["m1"]));
    let unheard_of = group(vec![linked(1, true)]);
    let mut by_id = settled();
    if let Desired::Group { group, .. } = &mut by_id.desired {
        *group = Group { member_sequence: 3, ..Group::default() };
    }
    let mut more = settled();
    if let Desired::Group { more, .. } = &mut more.desired {
        *more = true;
    }
    for (what, policy, mut memory) in [
        ("additive", &additive, settled()),
        ("the read is capped", &read_cap, settled()),
        ("the vendor shows no members", &hidden, settled()),
        ("a member's account is looked for", &policy(), known(vec![linked(1, true)], None)),
        ("no membership was ever heard of", &policy(), unheard_of),
        ("only the id is known", &policy(), by_id),
        ("more is to be sent first", &policy(), more),
    ] {
        let mut vendor = vendor(&everybody);
        memory.pass(policy, &mut vendor, calm()).unwrap();
        assert_eq!(held(&vendor), everybody, "{what}");
    }
    let mut vendor = vendor(&everybody);
    settled().pass(&policy(), &mut vendor, calm()).unwrap();
    assert_eq!(held(&vendor), ["m1"], "and with proof");
}

#[test]
fn a_large_group_is_read_whole_and_left_alone_where_it_cannot_be() {
    for (readable, expected) in [(true, vec!["m1"]), (false, vec!["m1", "x1"])] {
        let mut vendor = vendor(&["m1", "x1"]);
        let memory = known(vec![linked(1, true)], Some(&["m1"]));
        let dossier_vendor_id = vendor.resources.keys().next().unwrap().clone();
        let mut pass = begin(&memory, &dossier_vendor_id);
        pass.slim_down();
        let policy = policy();
        let end = loop {
            match pass.next(&policy) {
                Next::Settled => break pass.end().cloned().unwrap(),
                Next::AskHolder { .. } => unreachable!("it is linked"),
                Next::AskStrangers { .. } => pass.strangers_are(Some(vec!["x1".to_owned()])),
                Next::Send(request) => {
                    let too_much = matches!(request, Request::Fetch { .. }) && !pass.is_slim() && !readable;
                    let verdict = if too_much {
                        Verdict::Refused { status: http::StatusCode::OK, scim_type: None, detail: None }
                    } else {
                        vendor.serve(&request, Mishap::None)
                    };
                    assert_eq!(pass.absorb(&policy, &request, verdict), Reaction::Continue);
                }
            }
        };
        assert_eq!((end, held(&vendor)), (End::Done, expected));
    }
}

#[test]
fn groups_inside_the_group_stay() {
    let mut vendor = vendor(&["m1"]);
    let nested = json!({"value": "g2", "type": "Group"});
    let group = vendor.resources.values_mut().next().unwrap();
    group["members"].as_array_mut().unwrap().push(nested);
    known(vec![linked(1, true)], Some(&["m1"])).pass(&policy(), &mut vendor, calm()).unwrap();
    assert_eq!(held(&vendor), ["m1", "g2"]);
}

#[test]
fn a_new_group_holds_no_strangers_and_is_not_read_for_them() {
    let mut vendor = Vendor::strict();
    known(vec![linked(1, true)], Some(&["m1"])).pass(&policy(), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup", "create"]);
}

#[test]
fn who_has_left_by_himself_is_no_reason_to_park() {
    let mut vendor = Vendor { refuses_absent: true, leavers: vec!["x1".to_owned()], ..vendor(&["m1", "x1"]) };
    vendor.enforces_versions = false;
    let mut memory = known(vec![], Some(&["m1"]));
    let (end, _) = memory.pass(&policy(), &mut vendor, calm()).unwrap();
    assert_eq!((end, held(&vendor)), (End::Done, vec!["m1"]));
}

#[test]
fn a_stranger_whom_the_vendor_will_not_let_go_parks_the_group_with_its_word() {
    let mut vendor = Vendor { members_max: 0, ..vendor(&["m1", "x1", "x2", "x3"]) };
    let mut memory = known(vec![], Some(&["m1"]));
    let (end, _) = memory.pass(&policy(), &mut vendor, calm()).unwrap();
    let End::Park { reason } = end else { panic!("{end:?}") };
    assert_eq!(reason, "a member that others added cannot be removed; 413 without a reason");
}

proptest! {
    #[test]
    fn the_directorys_members_alone_are_left_through_any_mishaps(
        mishaps in prop::collection::vec(mishap(), 0..12),
        strangers in 0usize..12,
        per_request in 1usize..5,
        enforces_versions: bool,
    ) {
        let strangers: Vec<String> = (0..strangers).map(|n| format!("x{n}")).collect();
        let there: Vec<&str> = strangers.iter().map(String::as_str).chain(["m2"]).collect();
        let mut vendor = Vendor { enforces_versions, ..vendor(&there) };
        let mut memory = known(vec![linked(1, true), linked(2, false), linked(3, true)], Some(&["m1", "m3"]));
        let policy = Policy { members_per_request: per_request, ..policy() };
        let mut mishaps = mishaps.into_iter();
        let mut calm_end = None;
        for _ in 0..40 {
            let passed = memory.pass(&policy, &mut vendor, || mishaps.next().unwrap_or(Mishap::None));
            if mishaps.len() == 0 && let Some((end, _)) = passed {
                calm_end = Some(end);
            }
        }
        prop_assert_eq!(calm_end, Some(End::Done));
        let mut left = held(&vendor);
        left.sort_unstable();
        prop_assert_eq!(left, ["m1", "m3"]);
    }
}

/// A pass for a group that is linked and told everything.
fn begin(memory: &Memory, vendor_id: &str) -> Pass {
    let mut memory = memory.clone();
    let units = group::units(
        &ResourceKey::group(id("g-1")),
        match &memory.desired {
            Desired::Group { group, .. } => group,
            Desired::User { .. } => unreachable!("it is a group"),
        },
    );
    memory.link = Some(Link::Known(Row {
        vendor_id: vendor_id.to_owned(),
        applied: units,
        synced_members: 3,
        ..Row::default()
    }));
    Pass::begin(memory.dossier(), &policy(), Duration::from_mins(1))
}
