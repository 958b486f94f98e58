"""MTA-STS towards the next hop (control-api family `mta-sts`)."""

from __future__ import annotations

from relayd.events.event import EventKind, Level

AUTHORIZED = EventKind(
    "mta-sts.authorized",
    Level.INFO,
    "Host of the policy",
    "The domain's policy names the host",
    "domain hostname policy",
)
NOT_AUTHORIZED = EventKind(
    "mta-sts.not-authorized",
    Level.INFO,
    "Host not of the policy",
    "The domain's policy does not name the host",
    "domain hostname policy",
)
POLICY_FETCH = EventKind(
    "mta-sts.policy-fetch",
    Level.INFO,
    "Policy fetched",
    "A domain's policy was fetched",
    "domain id policy details expires elapsed",
)
POLICY_NOT_FOUND = EventKind(
    "mta-sts.policy-not-found", Level.INFO, "No policy", "The domain has no policy", "domain elapsed"
)
POLICY_FETCH_ERROR = EventKind(
    "mta-sts.policy-fetch-error",
    Level.INFO,
    "Policy not fetched",
    "A domain says that it has a policy, and it could not be had",
    "domain reason elapsed",
)
INVALID_POLICY = EventKind(
    "mta-sts.invalid-policy",
    Level.INFO,
    "Policy invalid",
    "A domain's record or policy cannot be read",
    "domain reason elapsed",
)
