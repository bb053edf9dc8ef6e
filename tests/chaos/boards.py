"""What a board would show, case by case: its read model, and the same folded anew from its log."""

import asyncio
import os
import sys

import psycopg


async def read_model(database_url: str) -> dict[str, str]:
    """Every case's document, by ServiceRequest id."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute("SELECT service_request, document FROM referral_case")
        return dict(await cursor.fetchall())


async def rebuilt_read_model(database_url: str) -> dict[str, str]:
    """Every case's document after `kanwa projection rebuild`."""
    environment = {**os.environ, "KANWA_DATABASE_URL": database_url}
    rebuild = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kanwa", "projection", "rebuild"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await rebuild.communicate()
    if rebuild.returncode != 0:
        raise AssertionError(f"kanwa projection rebuild failed: {said.decode()}")
    return await read_model(database_url)
