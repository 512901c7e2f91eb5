"""Rounds of certification: who shares a signature, and that nobody waits for those who take long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import cbor2

from mainer_nb.localnet.certification import Certification, Paths
from mainer_nb.protocol import certificate, hash_tree
from tests.localnet.driver import Driver


class Issuer:
    """Issues texts in place of certificates, and remembers the rounds."""

    def __init__(self) -> None:
        self.rounds: list[list[Paths]] = []

    def __call__(self, wanted: Sequence[Paths]) -> list[bytes]:
        self.rounds.append(list(wanted))
        return [paths[0][0] for paths in wanted]


def asked_for(label: bytes) -> Paths:
    return [[label]]


def test_those_who_ask_together_share_a_round_and_each_gets_its_own() -> None:
    issuer = Issuer()

    async def ask() -> list[bytes]:
        certification = Certification(issuer)
        return await asyncio.gather(*(certification.certificate(asked_for(label)) for label in (b"a", b"b", b"c")))

    assert asyncio.run(ask()) == [b"a", b"b", b"c"]
    assert issuer.rounds == [[asked_for(b"a"), asked_for(b"b"), asked_for(b"c")]]


def test_a_round_waits_for_a_request_that_has_just_begun() -> None:
    issuer = Issuer()

    async def ask() -> None:
        certification = Certification(issuer)
        with certification.soon(b"request"):
            first = asyncio.ensure_future(certification.certificate(asked_for(b"first")))
            for _ in range(3):  # until the round has begun to wait
                await asyncio.sleep(0)
            assert issuer.rounds == []
        await asyncio.gather(first, certification.certificate(asked_for(b"second")))

    asyncio.run(ask())
    assert issuer.rounds == [[asked_for(b"first"), asked_for(b"second")]]


def test_a_round_does_not_wait_for_a_request_that_takes_long() -> None:
    issuer = Issuer()

    async def ask() -> bytes:
        certification = Certification(issuer)
        with certification.soon(b"endless"):
            return await asyncio.wait_for(certification.certificate(asked_for(b"quick")), 30)

    assert asyncio.run(ask()) == b"quick"


def test_everybody_in_a_round_is_told_that_it_failed() -> None:
    def fail(wanted: Sequence[Paths]) -> list[bytes]:
        raise RuntimeError("no signature")

    async def ask() -> list[object]:
        certification = Certification(fail)
        both = (certification.certificate(asked_for(label)) for label in (b"a", b"b"))
        return list(await asyncio.gather(*both, return_exceptions=True))

    assert [str(error) for error in asyncio.run(ask())] == ["no signature"] * 2


def test_certificates_of_a_round_have_one_signature_and_show_only_what_was_asked_for(ic: Driver) -> None:
    canisters = [ic.create() for _ in range(2)]
    wanted = [[[b"canister", canister, b"controllers"]] for canister in canisters]
    encoded = ic.network.certificates(wanted)
    assert len({cbor2.loads(answer)["signature"] for answer in encoded}) == 1
    for answer, paths, others in zip(encoded, wanted, reversed(wanted), strict=True):
        tree = certificate.verify(answer, ic.network.root_key)
        assert isinstance(hash_tree.lookup_value(paths[0], tree), bytes)
        assert hash_tree.lookup_value(others[0], tree) is hash_tree.UNKNOWN
