"""Makes calls with the two clients of DirectMail, in the environment that has them; not imported by any test.

Standard input: {"port", "key", "secret", "calls": [[client, name, parameters] ...]}; client is "dm" (name: a method of
alibabacloud_dm20151123) or "GET" or "POST" (name: an Action, by CommonRequest of aliyun-python-sdk-core).  Standard
output: for each call its answer, or {"error": text}.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

Given = dict[str, Any]


def dm(given: Given, name: str, parameters: Given) -> Given:
    """By alibabacloud_dm20151123, which signs with ACS3-HMAC-SHA256."""
    config = import_module("alibabacloud_tea_openapi.models").Config(
        access_key_id=given["key"],
        access_key_secret=given["secret"],
        endpoint=f"127.0.0.1:{given['port']}",
        protocol="http",
    )
    client = import_module("alibabacloud_dm20151123.client").Client(config)
    kind = "".join(word.capitalize() for word in name.split("_")) + "Request"
    request = getattr(import_module("alibabacloud_dm20151123.models"), kind)(**parameters)
    answer = getattr(client, name)(request)
    return {"status": answer.status_code, **answer.body.to_map()}


def common(given: Given, method: str, name: str, parameters: Given) -> Given:
    """By CommonRequest, which signs with HMAC-SHA1 version 1.0."""
    client = import_module("aliyunsdkcore.client").AcsClient(
        given["key"], given["secret"], "cn-hangzhou", port=given["port"]
    )
    request = import_module("aliyunsdkcore.request").CommonRequest(
        domain="127.0.0.1", version="2015-11-23", action_name=name
    )
    request.set_protocol_type("http")
    request.set_method(method)
    for key, value in parameters.items():
        (request.add_body_params if method == "POST" else request.add_query_param)(key, value)
    answer: Given = json.loads(client.do_action_with_exception(request))
    return answer


def main() -> None:
    """Make the calls."""
    given = json.load(sys.stdin)
    answers: list[Given] = []
    for client, name, parameters in given["calls"]:
        try:
            made = dm(given, name, parameters) if client == "dm" else common(given, client, name, parameters)
            answers.append(made)
        except Exception as error:  # whatever the client makes of the answer
            answers.append({"error": str(error)})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
