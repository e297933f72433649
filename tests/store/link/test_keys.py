"""Who may listen and who may call: TLS, tokens, and each refusal as one line that names the remedy."""

import asyncio
import hmac
import socket
import ssl

import grpc
import pytest

from robostack import link
from robostack.cli import main as robostack
from robostack.core import clock
from robostack.core.errors import RobostackError
from robostack.store.link import connection, keys
from robostack.store.link import message as m
from robostack.store.link.keys import Address, Keys
from tests.store.link.rig import (
    Actor,
    Program,
    eventually,
    free_port,
    is_same,
    join,
    joining,
    make_run,
    serving,
)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    keys.make(folder, ["localhost", "127.0.0.1"])
    return folder


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "cell")


def both(folder):
    return keys.load(folder, "learner"), keys.load(folder, "cell")


def refusal(run, runs, at_learner, at_cell, host="127.0.0.1") -> tuple[str, list[str]]:
    """What an actor is told, and what the learner says of it, on one line each."""

    async def main():
        async with serving(runs, at_learner) as (address, said):
            with pytest.raises(RobostackError) as caught:
                await join(run, Address(host, address.port), at_cell)
            return str(caught.value), said

    told, said = asyncio.run(main())
    assert "\n" not in told
    return told, said


def test_keygen_makes_what_both_ends_need_and_nobody_else_may_read_the_secrets(made):
    files = {str(path.relative_to(made)): path for path in made.rglob("*.*")}
    assert set(files) == {"learner/server.pem", "learner/server.key", "cell/ca.pem"}
    for path in (files["learner/server.key"], made / "learner/token", made / "cell/token"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert (made / "learner/token").read_text() == (made / "cell/token").read_text()


def test_keygen_overwrites_nothing(made):
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    with pytest.raises(RobostackError, match="keys are not overwritten"):
        keys.make(made, ["elsewhere"])
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("hosts", "days", "said"),
    [([], 1, "no host"), (["bücher.example"], 1, "is no host name"), (["a"], 0, "days is 0")],
)
def test_bad_requests_for_keys_are_one_line(tmp_path, hosts, days, said):
    with pytest.raises(RobostackError, match=said):
        keys.make(tmp_path / "keys", hosts, days)
    assert not (tmp_path / "keys").exists()


def test_with_keys_the_link_works_over_tls(made, run, tmp_path):
    ours, theirs = both(made)
    Actor(run.episodes, side=64).episode(0)

    async def main():
        async with serving(tmp_path / "runs", ours) as (address, _):
            async with joining(run, address, theirs):
                await eventually(lambda: is_same(run.episodes, tmp_path / "runs/run/episodes"))
            context = ssl.create_default_context(cafile=str(made / "cell/ca.pem"))
            return await asyncio.to_thread(version, context, address)

    def version(context, address):
        with (
            socket.create_connection((address.host, address.port)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            return secured.version()

    assert asyncio.run(main()) == "TLSv1.3"


@pytest.mark.parametrize("given", ["a" * 64, "", "ä" * 20])
def test_a_wrong_token_is_refused_in_one_line_at_both_ends(made, run, tmp_path, given):
    ours, theirs = both(made)
    if not given.isascii():
        assert not ours.admits(given)  # gRPC would not even send it
        return
    told, said = refusal(run, tmp_path / "runs", ours, Keys(given, ca=theirs.ca))
    assert ("the token is not ours" if given else "a token is needed") in told
    assert "--keys DIR" in told
    assert len(said) == 1 and "token" in said[0]
    assert not (tmp_path / "runs" / "run").exists()


def test_a_token_counts_on_loopback_without_tls_too(run, tmp_path):
    told, _ = refusal(run, tmp_path / "runs", Keys("t" * 64), Keys())
    assert "a token is needed" in told


def test_tokens_are_compared_in_constant_time(monkeypatch):
    seen = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: seen.append((a, b)) or a == b)
    assert not Keys("x" * 32).admits("y" * 32)
    assert Keys("x" * 32).admits("x" * 32)
    assert seen == [(b"x" * 32, b"y" * 32), (b"x" * 32, b"x" * 32)]


def test_a_token_is_asked_of_those_who_fetch_parameters(made, run, tmp_path):
    ours, theirs = both(made)

    async def main():
        async with (
            serving(tmp_path / "runs", ours) as (address, _),
            connection.channel(address, theirs) as channel,
        ):
            request = m.encode(m.Fetch("run", 0, 0, 10))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(connection.FETCH)(request, timeout=5)
            return caught.value.code()

    assert asyncio.run(main()) is grpc.StatusCode.UNAUTHENTICATED


def test_an_expired_certificate_is_one_line_that_names_the_remedy(run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(clock, "wall_time", lambda: "2020-01-01T00:00:00.000+00:00")
        keys.make(tmp_path / "old", ["127.0.0.1"], days=30)
        ours, theirs = both(tmp_path / "old")
    told, _ = refusal(run, tmp_path / "runs", ours, theirs)
    assert "certificate has expired" in told and "robostack link keygen" in told
    with pytest.raises(RobostackError, match="expired on 2020-01-31.*robostack link keygen"):
        keys.load(tmp_path / "old", "learner")


def test_a_certificate_of_another_ca_is_one_line_that_names_the_remedy(made, run, tmp_path):
    keys.make(tmp_path / "other", ["127.0.0.1"])
    ours, _ = both(made)
    _, theirs = both(tmp_path / "other")
    told, _ = refusal(run, tmp_path / "runs", ours, theirs)
    assert "not from our CA" in told and "copy the folder cell/" in told


def test_a_certificate_for_another_host_is_one_line_that_names_the_remedy(run, tmp_path):
    keys.make(tmp_path / "other", ["elsewhere.local"])
    told, _ = refusal(run, tmp_path / "runs", *both(tmp_path / "other"))
    assert 'not for "127.0.0.1"' in told and "--host 127.0.0.1" in told


def test_tls_on_one_side_only_is_one_line_that_names_the_remedy(made, run, tmp_path):
    ours, theirs = both(made)
    told, _ = refusal(run, tmp_path / "runs", ours, Keys(theirs.token))
    assert "it asks for TLS; give --keys DIR" in told
    told, _ = refusal(run, tmp_path / "runs", Keys(theirs.token), theirs)
    assert "it speaks no TLS; start it with --keys" in told


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "learner.local"])
def test_nobody_listens_or_calls_beyond_loopback_without_tls_and_token(made, run, tmp_path, host):
    ours, theirs = both(made)
    for known in (Keys(), Keys("t" * 64), Keys(certificate=ours.certificate, key=ours.key)):
        with pytest.raises(RobostackError, match="needs TLS and a token.*--keys DIR"):
            keys.require_may_listen(Address(host, 7447), known)
    for known in (Keys(), Keys("t" * 64), Keys(ca=theirs.ca)):
        with pytest.raises(RobostackError, match="needs TLS and a token.*--keys DIR"):
            keys.require_may_call(Address(host, 7447), known)
    keys.require_may_listen(Address(host, 7447), ours)
    keys.require_may_call(Address(host, 7447), theirs)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("learner.local", ("learner.local", 7447)),
        ("10.0.0.2:80", ("10.0.0.2", 80)),
        ("[::1]:7448", ("::1", 7448)),
        ("[::1]", ("::1", 7447)),
    ],
)
def test_addresses_parse(text, address):
    found = Address.parse(text)
    assert (found.host, found.port) == address
    assert Address.parse(str(found)) == found


@pytest.mark.parametrize("text", ["", ":80", "host:port", "host:99999", "host:-1"])
def test_what_is_no_address_is_one_line(text):
    with pytest.raises(RobostackError, match="is no address"):
        Address.parse(text)


def test_a_port_in_use_is_one_line(tmp_path):
    async def main():
        async with serving(tmp_path / "a") as (address, _):
            with pytest.raises(RobostackError, match="the port is in use"):
                async with serving(tmp_path / "b", listen=address):
                    pass

    asyncio.run(main())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "{}/runs", "--listen", "0.0.0.0:0"], "needs TLS and a token"),
        (["serve", "{}/runs", "--keys", "{}/nothing"], "keygen DIR --host NAME"),
        (["join", "{}/cell/run", "--learner", "192.0.2.1"], "needs TLS and a token"),
        (["join", "{}/nothing", "--learner", "localhost"], "is not a run folder"),
        (["join", "{}/cell/run", "--learner", "localhost", "--name", "../x"], "is no name"),
        (["join", "{}/cell/run", "--learner", "localhost", "--name", "cut"], "is no name"),
    ],
)
def test_refused_commands_exit_with_status_2_and_one_line(run, tmp_path, capsys, words, said):
    assert robostack(["link", *(word.format(tmp_path) for word in words)]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_the_three_commands_work_together_and_end_within_3_seconds(run, tmp_path, capsys):
    assert link.main(["keygen", str(tmp_path / "keys"), "--host", "localhost"]) == 0
    port = free_port()
    runs, folder = tmp_path / "runs", tmp_path / "keys"
    Actor(run.episodes).episode(0)
    with Program("serve", runs, "--listen", f"localhost:{port}", "--keys", folder) as serve:
        serve.wait_for("listening at")
        with Program(
            "join", run.path, "--learner", f"localhost:{port}", "--keys", folder / "cell"
        ) as join:
            join.wait_for("connected to the learner")
            asyncio.run(eventually(lambda: is_same(run.episodes, runs / "run" / "episodes")))
            for program in (join, serve):
                began = clock.now()
                assert program.end() == 0, program.said
                assert clock.now() - began < 3.0
    assert not any("Traceback" in line for line in serve.said + join.said)
