"""Databricks' own client does what an integration does with users and groups. Prints one line a step.

Arguments: where the service is, without the path that the client adds; the account; the token.
"""

import sys

from databricks.sdk import AccountClient
from databricks.sdk.errors import DatabricksError, NotFound, ResourceConflict
from databricks.sdk.service.iam import ComplexValue, Patch, PatchOp, PatchSchema

SCHEMAS = [PatchSchema.URN_IETF_PARAMS_SCIM_API_MESSAGES_2_0_PATCH_OP]
PEOPLE = 25


def refused(call, kind):
    try:
        call()
    except kind:
        return
    raise AssertionError("the call was not refused")


def main(url, account_id, token):
    client = AccountClient(host=url, account_id=account_id, token=token, auth_type="pat")
    users, groups = client.users_v2, client.groups_v2
    made = [
        users.create(user_name=f"user{number}@example.com", display_name=f"User {number}", active=True)
        for number in range(PEOPLE)
    ]
    ids = [user.id for user in made]
    assert len(set(ids)) == PEOPLE, ids
    assert users.get(ids[0]).user_name == "user0@example.com"
    refused(lambda: users.create(user_name="user0@example.com"), (ResourceConflict, DatabricksError))
    print("create")

    assert {user.id for user in users.list(count=10)} == set(ids), "not everybody, page by page"
    assert {user.id for user in users.list()} == set(ids), "not everybody, in large pages"
    found = list(users.list(filter='userName eq "user7@example.com"'))
    assert [user.id for user in found] == [ids[7]], found
    print("search")

    rename = Patch(op=PatchOp.REPLACE, path="displayName", value="Somebody")
    users.patch(ids[1], operations=[rename], schemas=SCHEMAS)
    assert users.get(ids[1]).display_name == "Somebody"
    users.update(ids[1], user_name="user1@example.com", display_name="Else", active=False)
    user = users.get(ids[1])
    assert (user.display_name, user.active) == ("Else", False), user
    print("change")

    group = groups.create(display_name="Agents", members=[ComplexValue(value=ids[0])])
    add = Patch(op=PatchOp.ADD, path="members", value=[{"value": id} for id in ids[1:4]])
    groups.patch(group.id, operations=[add], schemas=SCHEMAS)
    remove = Patch(op=PatchOp.REMOVE, path=f'members[value eq "{ids[0]}"]')
    groups.patch(group.id, operations=[remove], schemas=SCHEMAS)
    assert {member.value for member in groups.get(group.id).members} == set(ids[1:4])
    listed = list(groups.list(filter='displayName eq "Agents"'))
    assert [group.id for group in listed] == [group.id] and not listed[0].members, listed
    print("members")

    users.delete(ids[2])
    refused(lambda: users.get(ids[2]), NotFound)
    groups.delete(group.id)
    refused(lambda: groups.get(group.id), NotFound)
    print("leave")


main(*sys.argv[1:])
