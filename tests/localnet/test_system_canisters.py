"""The system canisters that a launched network has: ledgers of cycles and ICP, minting, registry."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainer_nb.localnet import system_canisters
from mainer_nb.localnet.sandbox import CallRejected, Sandbox, SandboxCanister
from mainer_nb.protocol import principal
from mainer_nb.protocol.principal import ANONYMOUS
from tests.localnet.driver import ALICE, BOB, module

FEE = 100_000_000
TRILLION = 10**12
ICP, ICP_FEE = 10**8, 10_000
CYCLES_PER_E8S = 35_000
MINT, TOP_UP, CREATE = 0x544E494D, 0x50555054, 0x41455243
EMPTY = module('(func (export "canister_update nothing") (call $reply))')


class System:
    """A network with system canisters, each by its name."""

    def __init__(self, ic: Sandbox) -> None:
        self.ic = ic
        self.cycles = ic.canister(system_canisters.CYCLES_LEDGER)
        self.icp = ic.canister(system_canisters.ICP_LEDGER)
        self.minting = ic.canister(system_canisters.CYCLES_MINTING)
        self.registry = ic.canister(system_canisters.REGISTRY)

    def give(self, ledger: SandboxCanister, to: bytes, amount: int) -> None:
        """From the anonymous identity, which has everything."""
        arg = {"to": {"owner": to}, "amount": amount}
        assert "Ok" in ledger.icrc1_transfer(arg, sender=ANONYMOUS)

    def balance(self, ledger: SandboxCanister, owner: bytes) -> int:
        return int(ledger.icrc1_balance_of({"owner": owner}))

    def pay_for(self, purpose: int, beneficiary: bytes, e8s: int, payer: bytes) -> int:
        """Sends ICP to the minting canister; the block."""
        subaccount = bytes([len(beneficiary)]) + beneficiary + bytes(31 - len(beneficiary))
        to = self.icp.account_identifier({"owner": system_canisters.CYCLES_MINTING, "subaccount": subaccount})
        arg = {"memo": purpose, "amount": {"e8s": e8s}, "fee": {"e8s": ICP_FEE}, "to": to}
        block: int = self.icp.transfer(arg, sender=payer)["Ok"]
        return block


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("system") / "network"
    system_canisters.install(folder)
    return folder


@pytest.fixture
def system(installed: Path, tmp_path: Path, module_cache: Path) -> Iterator[System]:
    folder = tmp_path / "network"
    shutil.copytree(installed, folder)
    with Sandbox(folder, module_cache, user=ALICE) as ic:
        yield System(ic)


def test_installing_again_keeps_what_the_ledgers_hold(system: System) -> None:
    system.give(system.cycles, ALICE, 5 * TRILLION)
    system.ic.close()
    system_canisters.install(system.ic.folder)
    system.ic.network = Sandbox(system.ic.folder, system.ic.cache).network
    assert system.balance(system.cycles, ALICE) == 5 * TRILLION


def test_another_version_is_upgraded_and_keeps_what_it_holds(system: System) -> None:
    system.give(system.cycles, ALICE, 5 * TRILLION)
    wasm = next(canister for canister in system_canisters.wanted(b"") if canister.name == "cycles_ledger").module()
    other = wasm + b"\0\x06\x05other"  # a custom section, "other", that is empty
    init = {"holder": ALICE, "cycles": 0, "subnet": ALICE}
    system.cycles.upgrade(other, init, sender=system_canisters.ROOT)
    system.ic.close()
    system_canisters.install(system.ic.folder)
    system.ic.network = Sandbox(system.ic.folder, system.ic.cache).network
    assert system.balance(system.cycles, ALICE) == 5 * TRILLION
    state = system.ic.network.subnet.canisters[system_canisters.CYCLES_LEDGER].state
    assert state.module != hashlib.sha256(other).digest()


def test_other_canisters_get_ids_beyond_those_of_system_canisters(system: System) -> None:
    made = system.ic.create_canister()
    assert principal.canister_index(made.id) >= system_canisters.FIRST_ORDINARY


def test_a_transfer_costs_the_sender_the_fee(system: System) -> None:
    system.give(system.cycles, ALICE, 5 * TRILLION)
    supply = system.cycles.icrc1_total_supply()
    sent = system.cycles.icrc1_transfer({"to": {"owner": BOB}, "amount": 2 * TRILLION}, sender=ALICE)
    assert "Ok" in sent
    assert system.balance(system.cycles, ALICE) == 3 * TRILLION - FEE
    assert system.balance(system.cycles, BOB) == 2 * TRILLION
    assert system.cycles.icrc1_total_supply() == supply - FEE


def test_subaccounts_are_accounts_of_their_own(system: System) -> None:
    own = {"owner": ALICE, "subaccount": bytes(31) + b"\1"}
    system.cycles.icrc1_transfer({"to": own, "amount": TRILLION}, sender=ANONYMOUS)
    assert system.balance(system.cycles, ALICE) == 0
    assert system.cycles.icrc1_balance_of(own) == TRILLION
    assert system.cycles.icrc1_balance_of({"owner": own["owner"], "subaccount": bytes(32)}) == 0
    with pytest.raises(CallRejected, match="a subaccount has 32 bytes"):
        system.cycles.icrc1_balance_of({"owner": ALICE, "subaccount": b"short"})


def test_transfers_are_refused(system: System) -> None:
    system.give(system.icp, ALICE, ICP)
    now = system.ic.time()
    day = 86_400 * 10**9

    def refused(**changed: Any) -> Any:
        return system.icp.icrc1_transfer({"to": {"owner": BOB}, "amount": 1, **changed}, sender=ALICE)["Err"]

    assert refused(amount=ICP) == {"InsufficientFunds": {"balance": ICP}}
    assert refused(fee=1) == {"BadFee": {"expected_fee": ICP_FEE}}
    assert refused(created_at_time=now - 2 * day) == {"TooOld": None}
    assert "CreatedInFuture" in refused(created_at_time=now + day)
    assert system.balance(system.icp, ALICE) == ICP


def test_a_dated_transfer_is_done_once(system: System) -> None:
    system.give(system.icp, ALICE, ICP)
    arg = {"to": {"owner": BOB}, "amount": 5, "created_at_time": system.ic.time()}
    block = system.icp.icrc1_transfer(arg, sender=ALICE)["Ok"]
    assert system.icp.icrc1_transfer(arg, sender=ALICE)["Err"] == {"Duplicate": {"duplicate_of": block}}
    assert "Ok" in system.icp.icrc1_transfer({**arg, "memo": b"another"}, sender=ALICE)
    assert system.balance(system.icp, BOB) == 10


def test_a_spender_takes_what_it_was_allowed(system: System) -> None:
    system.give(system.cycles, ALICE, 5 * TRILLION)
    allow = {"spender": {"owner": BOB}, "amount": 2 * TRILLION}
    assert "Ok" in system.cycles.icrc2_approve(allow, sender=ALICE)
    take = {"from": {"owner": ALICE}, "to": {"owner": BOB}, "amount": TRILLION}
    assert "Ok" in system.cycles.icrc2_transfer_from(take, sender=BOB)
    left = TRILLION - FEE
    assert system.cycles.icrc2_transfer_from(take, sender=BOB)["Err"] == {"InsufficientAllowance": {"allowance": left}}
    pair = {"account": {"owner": ALICE}, "spender": {"owner": BOB}}
    assert system.cycles.icrc2_allowance(pair) == {"allowance": left, "expires_at": None}
    assert system.balance(system.cycles, ALICE) == 4 * TRILLION - 2 * FEE
    assert system.balance(system.cycles, BOB) == TRILLION


def test_an_allowance_ends(system: System) -> None:
    system.give(system.cycles, ALICE, 5 * TRILLION)
    end = system.ic.time() + 60 * 10**9
    allow = {"spender": {"owner": BOB}, "amount": TRILLION, "expires_at": end}
    assert "Ok" in system.cycles.icrc2_approve(allow, sender=ALICE)
    wrong = {**allow, "expected_allowance": 7}
    assert system.cycles.icrc2_approve(wrong, sender=ALICE)["Err"] == {
        "AllowanceChanged": {"current_allowance": TRILLION}
    }
    system.ic.advance_time(61)
    pair = {"account": {"owner": ALICE}, "spender": {"owner": BOB}}
    assert system.cycles.icrc2_allowance(pair)["allowance"] == 0
    assert "Expired" in system.cycles.icrc2_approve(allow, sender=ALICE)["Err"]


def test_a_canister_is_created_from_cycles(system: System) -> None:
    system.give(system.cycles, ALICE, 5 * TRILLION)
    settings = {"controllers": [ALICE, BOB], "freezing_threshold": 1234, "log_visibility": {"public": None}}
    creation = {"settings": settings, "subnet_selection": {"Subnet": {"subnet": system.ic.network.subnet_id}}}
    arg = {"amount": 2 * TRILLION, "creation_args": creation, "created_at_time": system.ic.time()}
    created = system.cycles.create_canister(arg, sender=ALICE)["Ok"]
    made = system.ic.canister(created["canister_id"])
    assert made.cycles == 2 * TRILLION - 500_000_000_000  # the network's fee for a creation
    assert made.controllers == [ALICE, BOB]
    assert made.status()["settings"]["freezing_threshold"] == 1234
    assert made.status()["settings"]["log_visibility"] == {"public": None}
    assert system.balance(system.cycles, ALICE) == 3 * TRILLION - FEE
    again = {"duplicate_of": created["block_id"], "canister_id": made.id}
    assert system.cycles.create_canister(arg, sender=ALICE)["Err"] == {"Duplicate": again}


def test_a_creation_without_settings_makes_the_caller_its_controller(system: System) -> None:
    system.give(system.cycles, ALICE, 5 * TRILLION)
    created = system.cycles.create_canister({"amount": 2 * TRILLION}, sender=ALICE)["Ok"]
    assert system.ic.canister(created["canister_id"]).controllers == [ALICE]


def test_a_creation_that_fails_gives_the_cycles_back(system: System) -> None:
    system.give(system.cycles, ALICE, 5 * TRILLION)
    failed = system.cycles.create_canister({"amount": 1000}, sender=ALICE)["Err"]["FailedToCreate"]
    assert "Creating a canister requires a fee" in failed["error"]
    assert system.balance(system.cycles, ALICE) == 5 * TRILLION - FEE
    poor = system.cycles.create_canister({"amount": 9 * TRILLION}, sender=ALICE)["Err"]
    assert poor == {"InsufficientFunds": {"balance": 5 * TRILLION - FEE}}
    elsewhere = {"settings": None, "subnet_selection": {"Subnet": {"subnet": BOB}}}
    wrong = system.cycles.create_canister({"amount": TRILLION, "creation_args": elsewhere}, sender=ALICE)["Err"]
    assert principal.to_text(BOB) in wrong["GenericError"]["message"]


def test_withdrawn_cycles_arrive_or_come_back(system: System) -> None:
    system.give(system.cycles, ALICE, 5 * TRILLION)
    made = system.ic.create_canister(EMPTY)
    before = made.cycles
    assert "Ok" in system.cycles.withdraw({"amount": TRILLION, "to": made.id}, sender=ALICE)
    assert made.cycles == before + TRILLION
    missing = principal.canister_id(2**40)
    failed = system.cycles.withdraw({"amount": TRILLION, "to": missing}, sender=ALICE)["Err"]["FailedToWithdraw"]
    assert failed["rejection_code"] == {"DestinationInvalid": None}
    assert system.balance(system.cycles, ALICE) == 4 * TRILLION - 2 * FEE
    refused = system.cycles.withdraw({"amount": TRILLION, "to": BOB}, sender=ALICE)["Err"]
    assert refused == {"InvalidReceiver": {"receiver": BOB}}


def test_cycles_are_minted_from_a_payment_once(system: System) -> None:
    system.give(system.icp, ALICE, 100 * ICP)
    supply = system.icp.icrc1_total_supply()
    block = system.pay_for(MINT, ALICE, 10 * ICP, ALICE)
    minted = system.minting.notify_mint_cycles({"block_index": block}, sender=ALICE)["Ok"]
    assert minted["minted"] == 10 * ICP * CYCLES_PER_E8S
    assert system.balance(system.cycles, ALICE) == minted["balance"] == minted["minted"] - FEE
    assert system.minting.notify_mint_cycles({"block_index": block}, sender=ALICE)["Ok"] == minted
    assert system.balance(system.cycles, ALICE) == minted["balance"]
    assert system.icp.icrc1_total_supply() == supply - 10 * ICP - ICP_FEE
    other = system.minting.notify_top_up({"block_index": block, "canister_id": system.registry.id})["Err"]
    assert other == {"InvalidTransaction": "the payment was used for something else"}


def test_a_payment_is_for_its_beneficiary_and_purpose(system: System) -> None:
    system.give(system.icp, ALICE, 100 * ICP)
    block = system.pay_for(MINT, ALICE, ICP, ALICE)
    refused = system.minting.notify_mint_cycles({"block_index": block}, sender=BOB)["Err"]
    assert "is not a payment" in refused["InvalidTransaction"]
    wrong = system.minting.notify_top_up({"block_index": block, "canister_id": ALICE})["Err"]
    assert "is not a payment" in wrong["InvalidTransaction"]
    missing = system.minting.notify_mint_cycles({"block_index": 10**6}, sender=ALICE)["Err"]
    assert "is not a payment" in missing["InvalidTransaction"]
    assert "Ok" in system.minting.notify_mint_cycles({"block_index": block}, sender=ALICE)


def test_a_canister_is_topped_up_from_icp(system: System) -> None:
    system.give(system.icp, ALICE, 100 * ICP)
    made = system.ic.create_canister(EMPTY)
    before = made.cycles
    block = system.pay_for(TOP_UP, made.id, 2 * ICP, ALICE)
    assert system.minting.notify_top_up({"block_index": block, "canister_id": made.id}) == {
        "Ok": 2 * ICP * CYCLES_PER_E8S
    }
    assert made.cycles == before + 2 * ICP * CYCLES_PER_E8S


def test_a_canister_is_created_from_icp(system: System) -> None:
    system.give(system.icp, ALICE, 100 * ICP)
    block = system.pay_for(CREATE, ALICE, 2 * ICP, ALICE)
    made = system.minting.notify_create_canister({"block_index": block, "controller": ALICE})["Ok"]
    assert system.ic.canister(made).controllers == [ALICE]


def test_a_payment_that_could_not_be_used_can_be_used_later(system: System) -> None:
    system.give(system.icp, ALICE, 100 * ICP)
    wanted = principal.canister_id(2**40)
    block = system.pay_for(TOP_UP, wanted, ICP, ALICE)
    arg = {"block_index": block, "canister_id": wanted}
    assert "not found" in system.minting.notify_top_up(arg)["Err"]["Other"]["error_message"]
    system.ic.management("provisional_create_canister_with_cycles", {"specified_id": wanted, "amount": TRILLION})
    assert system.minting.notify_top_up(arg)["Ok"] == ICP * CYCLES_PER_E8S


def test_the_blocks_of_the_icp_ledger_can_be_read(system: System) -> None:
    system.give(system.icp, ALICE, 100 * ICP)
    bob = system.icp.account_identifier({"owner": BOB})
    arg = {"memo": 77, "amount": {"e8s": 5}, "fee": {"e8s": ICP_FEE}, "to": bob}
    block = system.icp.transfer(arg, sender=ALICE)["Ok"]
    found = system.icp.query_blocks({"start": block, "length": 10})
    assert found["chain_length"] == block + 1
    (transaction,) = [block["transaction"] for block in found["blocks"]]
    assert transaction["memo"] == 77
    assert transaction["operation"]["Transfer"]["to"] == bob
    assert system.icp.account_balance({"account": bob}) == {"e8s": 5}


def test_every_canister_is_on_the_only_subnet(system: System) -> None:
    subnet = system.ic.network.subnet_id
    assert system.registry.get_subnet_for_canister({"principal": ALICE}) == {"Ok": {"subnet_id": subnet}}
    assert system.minting.get_default_subnets() == [subnet]
