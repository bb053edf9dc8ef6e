"""RabbitMQ's accounts with the least that each may do, made through its management interface.

`python -m kanwa.broker_accounts` is a one-shot job of the compose deployment. What is there stays; passwords
and permissions are set to what is said here, so a changed password in .env holds after the next start.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import httpx

from kanwa_shared.messaging.topology import Topology

SERVICES: Final = ("intake", "scheduling", "outcomes", "mdt")
REQUEST_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """A broker account: regular expressions of the names it may configure, write to and read from.

    `routing_keys` restricts what it may publish on the two topic exchanges.
    """

    user: str
    password: str
    configure: str
    write: str
    read: str
    routing_keys: str


def service_account(service: str, password: str, topology: Topology) -> Account:
    """Give the account of a service: it declares nothing and publishes under its own name only."""
    configure, write, read = topology.permissions(service)
    return Account(f"kanwa_{service}", password, configure, write, read, rf"^{service}\.")


def subscriber_account(user: str, password: str, exchanges: tuple[str, ...]) -> Account:
    """Give the account of a program outside: it binds queues below its own name to `exchanges`."""
    own = rf"{user}\..*"
    names = "|".join(exchange.replace(".", r"\.") for exchange in exchanges)
    return Account(user, password, rf"^{own}$", rf"^{own}$", rf"^({names}|{own})$", "^$")


def accounts(environment: Mapping[str, str], topology: Topology) -> list[Account]:
    """Read the passwords (`KANWA_<SERVICE>_AMQP_PASSWORD`); an account outside without one isn't made.

    Raises KeyError with the variable of a service that has no password.
    """
    made = [
        service_account(service, environment[f"KANWA_{service.upper()}_AMQP_PASSWORD"], topology)
        for service in SERVICES
    ]
    for name, exchanges in (
        ("subscriber", (topology.events, topology.notifications)),
        ("dashboard", (topology.notifications,)),
    ):
        if password := environment.get(f"KANWA_{name.upper()}_AMQP_PASSWORD"):
            made.append(subscriber_account(f"kanwa_{name}", password, exchanges))
    return made


def create(client: httpx.Client, virtual_host: str, account: Account, topology: Topology) -> None:
    """Make or change one account. Raises httpx.HTTPError."""
    user, host = quote(account.user, safe=""), quote(virtual_host, safe="")
    _put(client, f"/api/users/{user}", {"password": account.password, "tags": ""})
    permissions = {"configure": account.configure, "write": account.write, "read": account.read}
    _put(client, f"/api/permissions/{host}/{user}", permissions)
    for exchange in (topology.events, topology.notifications):
        topic = {"exchange": exchange, "write": account.routing_keys, "read": ".*"}
        _put(client, f"/api/topic-permissions/{host}/{user}", topic)


def _put(client: httpx.Client, path: str, content: Mapping[str, Any]) -> None:
    client.put(path, json=content).raise_for_status()


def main() -> int:
    """Make every account; the administrator and the address come from KANWA_RABBITMQ_MANAGEMENT_URL."""
    topology = Topology(())
    address = urlsplit(os.environ["KANWA_RABBITMQ_MANAGEMENT_URL"])
    credentials = (unquote(address.username or ""), unquote(address.password or ""))
    base = f"{address.scheme}://{address.hostname}:{address.port or 15672}"
    try:
        with httpx.Client(base_url=base, auth=credentials, timeout=REQUEST_TIMEOUT_SECONDS) as client:
            for account in accounts(os.environ, topology):
                create(client, os.environ.get("KANWA_RABBITMQ_VIRTUAL_HOST", "/"), account, topology)
                print(f"account {account.user} is as it should be")  # noqa: T201 - a job's own report
    except (httpx.HTTPError, KeyError) as failed:
        print(f"kanwa: the broker's accounts could not be made: {failed!r}", file=sys.stderr)  # noqa: T201  # a job's own report
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
