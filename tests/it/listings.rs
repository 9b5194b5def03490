//! Resyncs of vendors whose lists are partial, or lie.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use scim_relay::sandbox::settings::{Paging, UserRules};
use serde_json::{Value, json};

use crate::support::middleman::{Middleman, Read, Told, Twist};
use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::resyncs::{resync, scoped};
use crate::support::sandbox::{Call, Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(2);
/// Three pages of twenty.
const USERS: usize = 60;

struct Stage {
    sandbox: Sandbox,
    vendor: Middleman,
    relay: Relay,
    _home: Home,
}

impl Stage {
    /// A vendor with everybody, and a group of ten.
    async fn set(setup: impl FnOnce(TargetSetup, &Home) -> TargetSetup, users: UserRules) -> Self {
        let paging = Paging { count_max: 20, ..Paging::default() };
        let sandbox = Sandbox::start(Behaviour { paging, users, ..Behaviour::default() }, &[]).await;
        let vendor = Middleman::start(sandbox.base_url()).await;
        let home = Home::new(&[]);
        let target = setup(TargetSetup::new("acme", vendor.base_url.clone(), TOKEN), &home);
        let home = home.with_target(&target);
        let relay = home.start().await;
        let people: Value = (0..USERS)
            .map(|n| {
                json!({"op": "user.upsert", "id": format!("u-{n}"), "attributes": {
                    "userName": format!("u{n}@example.com"), "active": true, "title": "Clerk"}})
            })
            .collect();
        relay.changes("people", &people).await;
        let members: Vec<_> = (0..10).map(|n| format!("u-{n}")).collect();
        let group = json!([{"op": "group.upsert", "id": "g-0", "attributes": {"displayName": "Group 0"}},
                           {"op": "group.members", "id": "g-0", "set": members}]);
        relay.changes("group", &group).await;
        relay.quiet("acme", LIMIT).await;
        Self { sandbox, vendor, relay, _home: home }
    }

    async fn plain() -> Self {
        Self::set(|target, _| target, UserRules::default()).await
    }

    async fn writes(&self) -> usize {
        self.sandbox.calls().await.iter().filter(|call| call.method != "GET").count()
    }
}

fn told(mut answer: Value, change: impl FnOnce(&mut Value)) -> Told {
    change(&mut answer);
    Told::Json(answer)
}

/// A lie about the users' list: what it is, and what the relay makes of it.
struct Lie {
    name: &'static str,
    twist: Twist,
    gap: &'static str,
}

/// A page of users that begins there.
fn at(read: &Read, start: u64) -> bool {
    read.is_page_of("Users") && read.start == Some(start)
}

const LIES: &[Lie] = &[
    Lie {
        name: "an error on a page",
        twist: |read, answer| if at(read, 21) { Told::Status(400) } else { Told::Json(answer) },
        gap: "a page could not be read",
    },
    Lie {
        name: "a page that is not there",
        twist: |read, answer| if at(read, 21) { Told::Status(404) } else { Told::Json(answer) },
        gap: "a page could not be read",
    },
    Lie {
        name: "a page for people",
        twist: |read, answer| if at(read, 41) { Told::Html } else { Told::Json(answer) },
        gap: "a page could not be read",
    },
    Lie {
        name: "an answer that is no list",
        twist: |read, answer| Told::Json(if at(read, 1) { json!({}) } else { answer }),
        gap: "a page could not be read",
    },
    Lie {
        name: "a page that is empty before the end",
        twist: |read, answer| {
            told(answer, |answer| {
                if at(read, 41) {
                    answer["Resources"] = json!([]);
                }
            })
        },
        gap: "a page came empty before the last resource",
    },
    Lie {
        name: "an empty answer",
        twist: |read, answer| {
            told(answer, |answer| {
                if read.is_page_of("Users") {
                    answer["totalResults"] = json!(0);
                    answer["Resources"] = json!([]);
                }
            })
        },
        gap: "the list is empty, though the vendor had resources",
    },
    Lie {
        name: "a total that shrinks",
        twist: |read, answer| {
            told(answer, |answer| {
                if at(read, 41) {
                    answer["totalResults"] = json!(59);
                }
            })
        },
        gap: "the number of resources changed while pages were read (lists read again: 3)",
    },
    Lie {
        name: "a total that grows",
        twist: |read, answer| {
            told(answer, |answer| {
                if at(read, 21) {
                    answer["totalResults"] = json!(61);
                }
            })
        },
        gap: "the number of resources changed while pages were read (lists read again: 3)",
    },
    Lie {
        name: "a page taken for all",
        twist: |read, answer| {
            told(answer, |answer| {
                if read.is_page_of("Users") {
                    answer["totalResults"] = json!(20);
                }
            })
        },
        gap: "less than half of what the vendor had was listed",
    },
    Lie {
        name: "more than there are",
        twist: |read, answer| {
            told(answer, |answer| {
                if read.is_page_of("Users") {
                    answer["totalResults"] = json!(50);
                }
            })
        },
        gap: "more resources came than the vendor says there are",
    },
    Lie {
        name: "no total",
        twist: |read, answer| {
            told(answer, |answer| {
                if read.is_page_of("Users") {
                    answer.as_object_mut().expect("a list").remove("totalResults");
                }
            })
        },
        gap: "the vendor does not say how many resources there are",
    },
    Lie {
        name: "somebody left out",
        twist: |read, answer| {
            told(answer, |answer| {
                if at(read, 41) {
                    answer["Resources"].as_array_mut().expect("a page").pop();
                } else if at(read, 60) {
                    answer["Resources"] = json!([]);
                }
            })
        },
        gap: "a page came empty before the last resource",
    },
    Lie {
        name: "a page that begins elsewhere",
        twist: |read, answer| {
            told(answer, |answer| {
                if at(read, 21) {
                    answer["startIndex"] = json!(1);
                }
            })
        },
        gap: "a page began elsewhere than was asked",
    },
    Lie {
        name: "somebody twice",
        twist: |read, answer| {
            told(answer, |answer| {
                if at(read, 21) {
                    answer["Resources"][1] = answer["Resources"][0].clone();
                }
            })
        },
        gap: "resources came twice, so that others may have been left out",
    },
    Lie {
        name: "somebody without an id",
        twist: |read, answer| {
            told(answer, |answer| {
                if at(read, 21) {
                    answer["Resources"][3].as_object_mut().expect("a user").remove("id");
                }
            })
        },
        gap: "a resource came without an id",
    },
    Lie {
        name: "a cursor that leads back to itself",
        twist: |read, answer| {
            told(answer, |answer| {
                if read.is_page_of("Users") {
                    answer["nextCursor"] = json!("21");
                }
            })
        },
        gap: "resources came twice, so that others may have been left out",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_from_a_list_that_is_partial_or_lies() {
    let stage = Stage::plain().await;
    // What is seen to differ is told, and left alone as well.
    let group = stage.sandbox.look("state").await["groups"][0]["id"].as_str().unwrap().to_owned();
    let edit = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "displayName", "value": "Edited"}]
    });
    stage.sandbox.console(reqwest::Method::PATCH, &format!("Groups/{group}"), &edit).await;
    let writes = stage.writes().await;
    for Lie { name, twist, gap } in LIES {
        stage.vendor.twist(*twist);
        let (view, lines) = resync(&stage.relay, "apply").await;
        assert_eq!(
            (&view["state"], &view["summary"]["marked"]),
            (&json!("incomplete"), &json!(0)),
            "{name}: {view}"
        );
        assert_eq!(view["incomplete"], json!([format!("users: {gap}")]), "{name}");
        let missing: Vec<_> = lines.iter().filter(|line| line.contains("missing")).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
        assert!(lines.contains(&"group differs g-0 displayName".to_owned()), "{name}: {lines:?}");
    }
    stage.relay.quiet("acme", LIMIT).await;
    assert_eq!(stage.writes().await, writes, "nothing was written");
    stage.vendor.twist(|_, answer| Told::Json(answer));
    let (view, lines) = resync(&stage.relay, "report").await;
    let edited = vec!["group differs g-0 displayName".to_owned()];
    assert_eq!((&view["state"], lines), (&json!("complete"), edited), "{view}");
    assert_eq!(stage.relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changes_while_it_is_read_is_read_again_and_the_first_reading_forgotten() {
    static LISTINGS: AtomicU32 = AtomicU32::new(0);
    let stage = Stage::plain().await;
    stage.vendor.twist(|read, answer| {
        told(answer, |answer| {
            if at(read, 1) {
                LISTINGS.fetch_add(1, Ordering::SeqCst);
            }
            if read.path == "Users" && LISTINGS.load(Ordering::SeqCst) < 3 {
                // Somebody is there at first whom nobody knows, and on the last page somebody has gone.
                if at(read, 1) {
                    answer["Resources"][0]["id"] = json!("gone-meanwhile");
                    answer["Resources"][0]["externalId"] = json!("gone-meanwhile");
                }
                if at(read, 41) {
                    answer["totalResults"] = json!(59);
                }
            }
        })
    });
    let (view, lines) = resync(&stage.relay, "report").await;
    assert_eq!(
        (&view["state"], &view["incomplete"], lines),
        (&json!("complete"), &json!([]), vec![]),
        "{view}"
    );
    let progress = &view["progress"];
    assert_eq!((&progress["read_again"], &progress["read_in_vain"]), (&json!(2), &json!(80)), "{view}");
    assert_eq!(progress["read"], 61, "60 users and a group, each once: {view}");
    assert_eq!(LISTINGS.load(Ordering::SeqCst), 3);
    assert_eq!(stage.relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_missing_in_a_list_that_looks_whole_is_read_before_anything_is_made() {
    let stage = Stage::plain().await;
    let writes = stage.writes().await;
    stage.vendor.twist(|read, answer| {
        told(answer, |answer| {
            if read.is_page_of("Users") {
                answer["totalResults"] = json!(59);
            }
            if at(read, 41) {
                answer["Resources"].as_array_mut().expect("a page").pop();
                answer["itemsPerPage"] = json!(19);
            }
        })
    });
    let (view, lines) = resync(&stage.relay, "apply").await;
    assert_eq!((&view["state"], &view["summary"]["marked"]), (&json!("complete"), &json!(1)), "{view}");
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let user = line.strip_prefix("user missing ").unwrap();
    stage.relay.quiet("acme", LIMIT).await;
    assert_eq!(stage.writes().await, writes, "the user was there");
    let story = stage.relay.story(&format!("user:{user}")).await;
    assert_eq!(stage.sandbox.users().await.len(), USERS, "{story:?}");
    assert_eq!(stage.relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_by_cursor_are_read_to_the_end() {
    let stage = Stage::plain().await;
    // RFC 9865: a page tells where the next one begins, and need not tell how many there are.
    stage.vendor.twist(|read, answer| {
        told(answer, |answer| {
            let Some(start) = read.start else { return };
            let came = answer["Resources"].as_array().map_or(0, Vec::len) as u64;
            let (next, total) = (start + came, answer["totalResults"].as_u64().expect("a number"));
            let page = answer.as_object_mut().expect("a list");
            page.remove("startIndex");
            if read.path == "Users" {
                page.remove("totalResults");
            }
            if next <= total {
                page.insert("nextCursor".to_owned(), json!(next.to_string()));
            }
        })
    });
    let gone = stage.sandbox.user("u-41").await;
    let gone = format!("Users/{}", gone["id"].as_str().unwrap());
    stage.sandbox.console(reqwest::Method::DELETE, &gone, &Value::Null).await;
    let (view, lines) = resync(&stage.relay, "report").await;
    assert_eq!((&view["state"], lines), (&json!("complete"), vec!["user missing u-41".to_owned()]), "{view}");
    assert_eq!(view["progress"]["read"], 60, "59 users and a group");
    assert_eq!(stage.relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_a_list_leaves_out_are_read_group_by_group() {
    let stage = Stage::plain().await;
    stage.vendor.twist(|read, answer| {
        told(answer, |answer| {
            if read.is_page_of("Groups") {
                answer["Resources"][0].as_object_mut().expect("a group").remove("members");
            }
        })
    });
    let (view, lines) = resync(&stage.relay, "report").await;
    assert_eq!((&view["state"], lines), (&json!("complete"), vec![]), "{view}");

    stage.vendor.twist(|read, answer| {
        told(answer, |answer| {
            if read.path == "Groups" {
                answer["Resources"][0].as_object_mut().expect("a group").remove("members");
            } else if read.path.starts_with("Groups/") {
                answer.as_object_mut().expect("a group").remove("members");
            }
        })
    });
    let writes = stage.writes().await;
    let (view, lines) = resync(&stage.relay, "apply").await;
    assert_eq!((&view["state"], lines), (&json!("incomplete"), vec![]), "{view}");
    assert_eq!(view["incomplete"], json!(["groups: groups came without their members"]));
    stage.relay.quiet("acme", LIMIT).await;
    assert_eq!(stage.writes().await, writes, "nobody was added again");
    assert_eq!(stage.relay.terminate().await, Some(0));
}

/// A vendor whose lists leave out who is inactive; its profile, with further lines.
async fn hiding(lines: &str) -> Stage {
    const HIDES: &str = "name = \"hides\"\nsummary = \"Hides who is inactive\"\nevidence = \"documented\"\n\
                         sources = [\"a test\"]\nas_of = \"2026-11-20\"\n[list]\nincludes_inactive = false\n";
    let profile = |target: TargetSetup, home: &Home| {
        let path = home.path().join("hides.toml");
        std::fs::write(&path, format!("{HIDES}{lines}")).unwrap();
        target.with_profile("hides.toml")
    };
    Stage::set(profile, UserRules { hide_inactive: true, ..UserRules::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_who_is_inactive_cannot_be_looked_for_nobody_is_missing() {
    let stage = hiding("[filter]\nattributes = [\"userName\", \"externalId\", \"displayName\"]\n").await;
    stage.relay.changes("off", &json!([{"op": "user.deactivate", "id": "u-7"}])).await;
    stage.relay.quiet("acme", LIMIT).await;
    let (view, lines) = resync(&stage.relay, "apply").await;
    assert_eq!((&view["state"], lines), (&json!("incomplete"), vec![]), "{view}");
    assert_eq!(view["incomplete"], json!(["users: a page could not be read"]), "{view}");
    assert_eq!(stage.relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn inactive_users_whom_the_vendor_hides_are_looked_for() {
    let stage = hiding("").await;
    let off = json!([{"op": "user.deactivate", "id": "u-7"}]);
    stage.relay.changes("off", &off).await;
    stage.relay.quiet("acme", LIMIT).await;
    let (view, lines) = resync(&stage.relay, "report").await;
    assert_eq!((&view["state"], lines), (&json!("complete"), vec![]), "{view}");
    assert_eq!(view["progress"]["read"], 61, "59, one who is hidden, and a group");

    // Who is locked there is not taken for somebody who has gone.
    let locked = stage.sandbox.user("u-8").await;
    let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "active", "value": false}]});
    let path = format!("Users/{}", locked["id"].as_str().unwrap());
    stage.sandbox.console(reqwest::Method::PATCH, &path, &body).await;
    let (view, lines) = resync(&stage.relay, "apply").await;
    assert_eq!(
        (&view["state"], lines),
        (&json!("complete"), vec!["user differs u-8 active".to_owned()]),
        "{view}"
    );
    stage.relay.quiet("acme", LIMIT).await;
    assert_eq!(stage.sandbox.user("u-8").await["active"], true);
    assert_eq!(stage.relay.terminate().await, Some(0));
}

/// Calls since, by kind: pages of lists, lookups, and reads of one resource.
fn reads(calls: &[Call]) -> (usize, usize, usize) {
    let reads = || calls.iter().filter(|call| call.method == "GET");
    let lists = reads().filter(|call| call.path.contains("startIndex=")).count();
    let lookups = reads().filter(|call| call.path.contains("?filter=")).count();
    (lists, lookups, reads().filter(|call| !call.path.contains('?')).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_scope_reads_what_it_names_and_no_list() {
    let stage = Stage::plain().await;
    let patch = async |id: &str, path: &str, value: Value| {
        let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": path, "value": value}]});
        stage.sandbox.console(reqwest::Method::PATCH, id, &body).await;
    };
    let place =
        async |user: &str| format!("Users/{}", stage.sandbox.user(user).await["id"].as_str().unwrap());
    for user in ["u-1", "u-2", "u-30"] {
        patch(&place(user).await, "title", json!("King")).await;
    }
    stage.sandbox.console(reqwest::Method::DELETE, &place("u-40").await, &Value::Null).await;
    stage.sandbox.console(reqwest::Method::DELETE, &place("u-6").await, &Value::Null).await;
    let second = json!({"userName": "other@example.com", "externalId": "u-5", "active": true});
    let second = stage.sandbox.make("Users", &second).await;

    let before = stage.sandbox.calls().await.len();
    let named = json!({"users": ["u-2", "u-1", "u-3", "u-40", "u-5", "u-2", "nobody"]});
    let (view, lines) = scoped(&stage.relay, "report", &named).await;
    let expected =
        ["user differs u-1 title", "user differs u-2 title", "user duplicate u-5", "user missing u-40"];
    assert_eq!((&view["state"], lines), (&json!("complete"), expected.map(str::to_owned).to_vec()), "{view}");
    assert_eq!((&view["progress"]["compared"], &view["progress"]["read"]), (&json!(5), &json!(5)), "{view}");
    let (lists, lookups, ones) = reads(&stage.sandbox.calls().await[before..]);
    assert_eq!((lists, ones), (0, 5), "each by itself");
    assert!((5..=10).contains(&lookups), "{lookups}");
    stage.sandbox.console(reqwest::Method::DELETE, &format!("Users/{second}"), &Value::Null).await;

    let before = stage.sandbox.calls().await.len();
    let (view, lines) = scoped(&stage.relay, "apply", &json!({"groups": ["g-0"]})).await;
    assert_eq!(
        (&view["state"], lines),
        (&json!("complete"), vec!["member missing g-0 u-6".to_owned()]),
        "{view}"
    );
    let (lists, _, ones) = reads(&stage.sandbox.calls().await[before..]);
    assert_eq!(lists, 0, "users are not read for a group");
    assert!(ones >= 1);
    let (_, lines) = scoped(&stage.relay, "apply", &json!({"users": ["u-1"]})).await;
    assert_eq!(lines, ["user differs u-1 title"]);
    stage.relay.quiet("acme", LIMIT).await;
    assert_eq!(stage.sandbox.user("u-1").await["title"], "Clerk");
    assert_eq!(stage.sandbox.user("u-2").await["title"], "King", "it was not named");
    assert_eq!(stage.relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_is_answered_with_others_proves_nobody_absent() {
    let stage = Stage::plain().await;
    let gone = stage.sandbox.user("u-9").await;
    let gone = format!("Users/{}", gone["id"].as_str().unwrap());
    stage.sandbox.console(reqwest::Method::DELETE, &gone, &Value::Null).await;
    stage.vendor.twist(|read, answer| {
        told(answer, |answer| {
            if read.path == "Users" {
                answer["totalResults"] = json!(1);
                answer["Resources"] = json!([{"id": "first", "userName": "first@example.com"}]);
            }
        })
    });
    let (view, lines) = scoped(&stage.relay, "apply", &json!({"users": ["u-9"]})).await;
    assert_eq!((&view["state"], lines), (&json!("incomplete"), vec![]), "{view}");
    let why =
        "users: a lookup was answered with resources that do not match; does the vendor support filters?";
    assert_eq!(view["incomplete"], json!([why]));
    assert_eq!(stage.relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_refused_proves_nobody_absent() {
    let stage = Stage::plain().await;
    let writes = stage.writes().await;
    stage.vendor.twist(|read, answer| {
        if read.path.starts_with("Users/") {
            return Told::Status(403);
        }
        told(answer, |answer| {
            if read.path == "Users" {
                answer["totalResults"] = json!(0);
                answer["Resources"] = json!([]);
            }
        })
    });
    let (view, lines) = scoped(&stage.relay, "apply", &json!({"users": ["u-9"]})).await;
    assert_eq!((&view["state"], lines), (&json!("incomplete"), vec![]), "{view}");
    assert_eq!(view["incomplete"], json!(["users: a page could not be read"]), "{view}");
    assert_eq!(stage.writes().await, writes, "nothing was written");
    assert_eq!(stage.relay.terminate().await, Some(0));
}
