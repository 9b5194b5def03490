"""Slack's own client does what an integration does with users and groups. Prints one line a step.

Arguments: the base URL with a slash at its end, and the token. The client speaks version 1 of Slack's
API, where a PATCH is a part of the resource: here it carries operations, as version 2 wants them.
"""

import sys

from slack_sdk.scim import SCIMClient

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


def patch(*operations):
    return {"schemas": [PATCH], "Operations": list(operations)}


def done(answer, status=200):
    assert answer.status_code == status, (answer.status_code, answer.raw_body)
    return answer


def main(url, token):
    client = SCIMClient(token=token, base_url=url, retry_handlers=[])
    people = []
    for name in ("anna", "ben", "cleo"):
        user = {
            "schemas": [USER],
            "user_name": name,
            "name": {"given_name": name, "family_name": "Example"},
            "emails": [{"value": f"{name}@example.com", "primary": True}],
        }
        made = done(client.create_user(user), 201).user
        assert made.user_name == name and made.name.family_name == "Example", made.to_dict()
        people.append(made.id)
    assert client.create_user(user).status_code == 409
    print("create")

    page = done(client.search_users(start_index=1, count=2))
    assert (page.body["totalResults"], len(page.users)) == (3, 2), page.raw_body
    rest = done(client.search_users(start_index=3, count=2))
    assert [user.id for user in page.users + rest.users] == people, rest.raw_body
    found = done(client.search_users(start_index=1, count=1, filter='userName eq "ben"'))
    assert [user.id for user in found.users] == [people[1]], found.raw_body
    print("search")

    changed = {"op": "replace", "path": "title", "value": "Lead"}
    done(client.patch_user(people[0], patch(changed)))
    user = done(client.read_user(people[0])).user
    assert user.title == "Lead" and user.active, user.to_dict()
    user.title = "Head"
    done(client.update_user({**user.to_dict(), "schemas": [USER]}))
    assert done(client.read_user(people[0])).user.title == "Head"
    print("change")

    group = {"schemas": [GROUP], "display_name": "Agents", "members": [{"value": people[0]}]}
    group = done(client.create_group(group), 201).group
    add = {"op": "add", "path": "members", "value": [{"value": people[1]}, {"value": people[2]}]}
    done(client.patch_group(group.id, patch(add)))
    remove = {"op": "remove", "path": f'members[value eq "{people[0]}"]'}
    done(client.patch_group(group.id, patch(remove)))
    members = {member.value for member in done(client.read_group(group.id)).group.members}
    assert members == {people[1], people[2]}, members
    found = done(client.search_groups(start_index=1, count=10, filter='displayName eq "Agents"'))
    assert [found.id for found in found.groups] == [group.id], found.raw_body
    print("members")

    done(client.delete_user(people[2]), 204)
    assert done(client.read_user(people[2])).user.active is False, "DELETE deactivates"
    done(client.delete_group(group.id), 204)
    assert client.read_group(group.id).status_code == 404
    print("leave")


main(*sys.argv[1:])
