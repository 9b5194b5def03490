"""Genesys' own client does what an integration does with users and groups. Prints one line a step.

Arguments: where the service is, without the path that the client adds; the client's id and secret.
"""

import sys

import PureCloudPlatformClientV2 as genesys
from PureCloudPlatformClientV2.rest import ApiException

GROUP = "Agents"
PATCH = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
USER = ["urn:ietf:params:scim:schemas:core:2.0:User"]


def operation(op, path, value=None):
    operation = genesys.ScimV2PatchOperation()
    operation.op, operation.path = op, path
    if value is not None:
        operation.value = value
    return operation


def patch(*operations):
    request = genesys.ScimV2PatchRequest()
    request.schemas, request.operations = PATCH, list(operations)
    return request


def refused(call):
    """The status and scimType of a call that must be refused."""
    try:
        call()
    except ApiException as error:
        return error.status, error.body
    raise AssertionError("the call was not refused")


def new_user(name):
    user = genesys.ScimV2CreateUser()
    user.schemas, user.user_name, user.display_name, user.active = USER, name, name.split("@")[0], True
    return user


def main(url, client_id, client_secret):
    genesys.configuration.host = url
    client = genesys.api_client.ApiClient(url).get_client_credentials_token(client_id, client_secret)
    scim = genesys.SCIMApi(client)
    print("token")

    config = scim.get_scim_v2_serviceproviderconfig()
    assert config.patch.supported and config.etag.supported and not config.bulk.supported, config
    kinds = scim.get_scim_v2_resourcetypes()
    assert {kind.name for kind in kinds.resources} == {"User", "Group"}, kinds
    assert scim.get_scim_v2_schemas().resources, "no schemas"
    print("discovery")

    anna = scim.post_scim_v2_users(new_user("anna@example.com"))
    ben = scim.post_scim_v2_users(new_user("ben@example.com"))
    assert anna.id and anna.meta.version and anna.active, anna
    read = scim.get_scim_v2_user(anna.id)
    assert (read.user_name, read.meta.version) == ("anna@example.com", anna.meta.version), read
    status, body = refused(lambda: scim.post_scim_v2_users(new_user("anna@example.com")))
    assert status == 409, (status, body)
    print("create")

    found = scim.get_scim_v2_users(filter='userName eq "anna@example.com"')
    assert found.total_results == 1 and found.resources[0].id == anna.id, found
    nobody = scim.get_scim_v2_users(filter='userName eq "nobody@example.com"')
    assert nobody.total_results == 0 and not nobody.resources, nobody
    page = scim.get_scim_v2_users(start_index=2, count=1)
    assert (page.start_index, page.items_per_page, page.total_results) == (2, 1, 2), page
    print("search")

    stale = anna.meta.version
    changed = scim.patch_scim_v2_user(
        anna.id, patch(operation("replace", "title", "Lead")), if_match=stale
    )
    assert changed.title == "Lead" and changed.meta.version != stale, changed
    status, body = refused(
        lambda: scim.patch_scim_v2_user(
            anna.id, patch(operation("replace", "title", "Boss")), if_match=stale
        )
    )
    assert status == 400 and '"invalidVers"' in body, (status, body)
    whole = scim.get_scim_v2_user(anna.id)
    whole.title = "Head"
    status, body = refused(lambda: scim.put_scim_v2_user(anna.id, whole, if_match=stale))
    assert status == 400 and '"invalidVers"' in body, (status, body)
    put = scim.put_scim_v2_user(anna.id, whole, if_match=whole.meta.version)
    assert put.title == "Head", put
    print("versions")

    groups = scim.get_scim_v2_groups(f'displayName eq "{GROUP}"')
    assert groups.total_results == 1, groups
    group = scim.get_scim_v2_group(groups.resources[0].id)
    members = [{"value": anna.id, "type": "User"}, {"value": ben.id, "type": "User"}]
    added = scim.patch_scim_v2_group(
        group.id, patch(operation("add", "members", members)), if_match=group.meta.version
    )
    assert {member.value for member in added.members} == {anna.id, ben.id}, added
    removal = patch(operation("remove", f'members[value eq "{anna.id}"]'))
    status, body = refused(
        lambda: scim.patch_scim_v2_group(group.id, removal, if_match=group.meta.version)
    )
    assert status == 400 and '"invalidVers"' in body, (status, body)
    left = scim.patch_scim_v2_group(group.id, removal, if_match=added.meta.version)
    assert [member.value for member in left.members] == [ben.id], left
    print("members")

    off = scim.patch_scim_v2_user(ben.id, patch(operation("replace", "active", False)))
    assert off.active is False, off
    assert scim.get_scim_v2_users().total_results == 1, "a list without a filter shows active users only"
    scim.delete_scim_v2_user(anna.id)
    status, body = refused(lambda: scim.get_scim_v2_user(anna.id))
    assert status == 404, (status, body)
    print("leave")


main(*sys.argv[1:])
