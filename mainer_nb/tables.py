"""What the verbs return, as tables for people.

    tables.canisters(deploy.deployed(net))
    tables.submissions(operate.submissions(net), create.mainers(net)).data     # the same as a DataFrame

Each function takes records and returns a `Table`, which a notebook shows; its `data` is a pandas DataFrame. Ids of
canisters are given in full, so that they can be copied; longer ids and hashes are shortened and given in full where the
pointer rests on them, and in `data`. Cycles are in T (10^12).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from . import artifacts, identity, network, places
from .artifacts import InventoryItem
from .canister import Canister
from .check import ENDPOINTS, Check
from .costs import COPIED, DAYS_PER_MONTH, OF_TEMPLATE, STORAGE, TEMPLATE, Budget, Costs, template_pays_from, usd
from .create import Mainer
from .deploy import Deployed
from .fleet import switch, watch
from .fleet.exchange import ModelExchange
from .fleet.funds import Holding, Refill, Withdrawal
from .fleet.logs import Logs
from .fleet.pause import Maintained, Paused
from .fleet.rehearse import Rehearsal
from .fleet.remove import Removal
from .fleet.repair import Finding, Mended
from .fleet.samples import Burn
from .fleet.upgrade import UpgradePlan, UpgradeReport
from .fleet.watch import Bounds, Reading
from .localnet import server
from .management import CanisterStatusResult
from .models import Model, variant_text
from .network import Network
from .operate import Challenge, Queued, Statistics, Submission
from .overview import Standing
from .progress import amount
from .protocol.candid import ServiceChange
from .table import (
    NOTHING,
    Markup,
    Table,
    beginning,
    breakable,
    digest,
    dollars,
    duration,
    how_many,
    identifier,
    last_part,
    lines,
    marked,
    moment,
    quoted,
    span,
    together,
    trillions,
    wide,
)  # fmt: skip
from .upload import StoredFile, Template, Uploaded

MADE = {"copied": "copying the model", "template": "a template"}
NOT_OFFERED = "not offered: the Game State has the original interface"


def names(mainers: Iterable[Mainer]) -> dict[str, str]:
    """What to call each mAIner, by id."""
    return {mainer.controller_id: mainer.name for mainer in mainers}


def networks(configs: Iterable[network.Config] | None = None) -> Table:
    """The networks that can be chosen (None: all that are known here)."""
    found = network.known() if configs is None else configs
    running = server.status(places.state())
    embedded = running.url if running else "127.0.0.1, once it runs"
    rows = [
        {
            "network": config.name,
            "known from": config.source,
            "address": config.url or embedded,
            "cycles": "cost money" if config.mainnet else "free",
        }
        for config in found
    ]
    return Table(rows)


def identities() -> Table:
    """The identities that can be chosen."""
    return Table(
        {"identity": entry.name, "kept by": entry.tool, "usable": "yes" if entry.path else "not in a plain file"}
        for entry in identity.known()
    )


def connection(net: Network) -> Table:
    """Where we are connected, as whom, with what rights."""
    why = {"why this one": net.why} if net.why else {}
    return facts(
        {"network": net.name, **why, "address": net.url, "caller": identifier(net.caller), "rights": net.rights}
    )


def files(items: Iterable[InventoryItem]) -> Table:
    """What lies in files/."""
    return Table(
        {
            "file": item.name,
            "size": amount(item.size, "B"),
            "sha256": digest(item.sha256),
            "from": item.origin,
            "problem": item.problem or "none",
        }
        for item in items
    )


def canister_status(status: CanisterStatusResult) -> Table:
    """A canister as its controllers see it."""
    years = status.cycles / max(status.cycles_per_day, 1) / 365
    return facts(
        {
            "canister": identifier(status.canister_id),
            "status": status.status,
            "program": digest(status.module_hash or "") or "none yet",
            "memory": amount(status.memory, "B"),
            "balance": trillions(status.cycles),
            "would last, if nobody called it": f"{years:,.0f} years",
            "controllers": lines(map(identifier, status.controllers)) or "none",
        }
    )


def methods(canister: Canister) -> Table:
    """What a canister can be asked for, as its .did says."""
    return Table(
        {
            "method": method.name,
            "kind": "update" if method.mode == "update" else method.mode.replace("_", " "),
            "takes": how_many(len(method.args), "argument") if method.args else "nothing",
        }
        for method in canister.methods.values()
    )


def canisters(deployed: Iterable[Deployed]) -> Table:
    """The protocol's canisters as they are."""
    return Table(
        {
            "canister": canister.role,
            "id": identifier(canister.canister_id),
            "done": canister.action,
            "health": canister.health,
            "balance": trillions(canister.cycles),
            "memory": amount(canister.memory, "B"),
            "module": digest(canister.module_hash),
        }
        for canister in deployed
    )


def models() -> Table:
    """The models that can be chosen."""
    own, unusable = "files/", artifacts.unusable_models()
    return Table(
        {
            "model": name,
            "where": "a Python package; it becomes a file on first use" if name == artifacts.DEFAULT_MODEL else own,
            "problem": unusable.get(name, "none"),
        }
        for name in artifacts.model_names()
    )


def model(described: Model) -> Table:
    """What a model's file says of it."""
    return facts(
        {
            "file": described.file.name,
            "name": described.name,
            "name at the creator": variant_text(described.variant),
            "architecture": described.architecture,
            "size": amount(described.size, "B"),
            "parameters": f"{described.parameters / 1e6:,.0f} million, {described.quantization}",
            "context": f"{described.context:,} tokens",
            "asked as": quoted(f"{described.prompt.prefix}…{described.prompt.suffix}"),
            "form": "its own chat template" if described.chat else "question and answer (it has no chat template)",
        }
    )


def uploads(uploaded: Iterable[Uploaded]) -> Table:
    """What was sent to the creator and verified by it."""
    return Table(
        {
            "file": file.file,
            "as": f"{file.target} {file.model}".strip(),
            "size": amount(file.size, "B"),
            "sent now": "nothing, it was there" if file.skipped else amount(file.sent, "B"),
            "seconds": f"{file.seconds:.1f}",
            "sha256, computed by the creator": digest(file.sha256),
        }
        for file in uploaded
    )


def stored(found: Sequence[StoredFile]) -> Table:
    """What the creator has to make mAIners of."""
    return Table(
        {
            "artefact": file.target,
            "model": file.model,
            "size": amount(file.size, "B"),
            "sha256": digest(file.sha256),
            "finished": moment(datetime.fromtimestamp(file.created_at / 1e9, UTC)),
            **({"template": _template(file.template)} if any(each.template for each in found) else {}),
        }
        for file in found
    )


def _template(template: Template | None) -> str:
    if template is None:
        return ""
    cost = trillions(template.cycles_per_day * DAYS_PER_MONTH)
    return f"{amount(template.size, 'B')}, {cost} a month{'' if template.current else ', of older files'}"


def llms(found: Iterable[Mainer]) -> Table:
    """The LLMs, and how each was made: with how many rounds of messages, and in how many seconds."""
    return Table(
        {
            "LLM": identifier(llm.canister_id),
            "of": mainer.name,
            "model": llm.model or "unknown",
            "made by": "not known" if llm.making is None else MADE[llm.making.how],
            "rounds": "" if llm.making is None else llm.making.rounds,
            "seconds": "" if llm.making is None else f"{llm.making.seconds:.1f}",
        }
        for mainer in found
        for llm in mainer.llms
    )


def mainers(found: Sequence[Mainer]) -> Table:
    """The mAIners, with their LLMs or the ShareService they use."""
    called = names(found)
    return Table(
        {
            "mAIner": mainer.name,
            "mAIner canister": identifier(mainer.controller_id),
            "LLMs": lines(identifier(llm) for llm in mainer.llm_ids) or "none",
            "model": lines(dict.fromkeys(llm.model or "unknown" for llm in mainer.llms)),
            "uses": called.get(mainer.share_service_id or "", mainer.share_service_id or ""),
            **({"left out at its creation": lines(mainer.left_out)} if any(each.left_out for each in found) else {}),
        }
        for mainer in found
    )


def overview(found: Iterable[Standing]) -> Table:
    """All canisters as they are."""
    return Table(
        {
            "canister": standing.name,
            "id": identifier(standing.canister_id),
            "uses": standing.uses,
            "state": standing.problem or "running",
            "balance": "not told" if standing.cycles is None else trillions(standing.cycles),
        }
        for standing in found
    )


def watched(readings: Sequence[Reading], bounds: Bounds | None = None) -> Table:
    """A fleet as it was found, and what of it is out of bounds."""
    return Table(_watched(reading, bounds) for reading in readings)


def logs(found: Logs) -> Table:
    """What canisters logged, oldest first."""
    rows = (
        {"time": moment(line.time), "canister": line.name, "line": line.number, "text": line.text}
        for line in found.lines
    )
    return Table(rows, empty="nothing was logged")


def _watched(reading: Reading, bounds: Bounds | None) -> dict[str, object]:
    running = reading.state == "running"
    burn = _told(reading, "idle_per_day", lambda cycles: f"idle {trillions(cycles, 6)}")
    last = _told(reading, "last_submission", moment)
    return {
        "canister": lines((escape(reading.member.name), identifier(reading.member.canister_id))),
        "out of bounds": wide(map(breakable, watch.marks(reading, bounds))) or "nothing",
        "health": _told(reading, "health", str) if running else reading.state,
        "timers": _told(reading, "timers", lambda run: "run" if run else "stopped"),
        "queue": _told(reading, "queue", lambda number: _waiting(number, reading)),
        "freezes in": _told(reading, "burn", lambda burn: _freezes(burn, reading.days)),
        "balance, and burn a day": together(dict.fromkeys((_told(reading, "cycles", trillions), burn))),
        "memory": _told(reading, "memory", lambda memory: amount(memory, "B")),
        "last submission": together(last.split(" ")) if reading.last_submission else last,
        "LLMs": _told(reading, "llms", str),
        "code": lines(filter(None, (digest(reading.module_hash or "", 6), escape(reading.code)))),
        "owner": beginning(reading.member.owner),
    }


def _told(reading: Reading, figure: str, shown: Callable[[Any], str]) -> str:
    """A figure of a reading as `shown`; why there is none; "" if it makes no sense there."""
    value = getattr(reading, figure)
    return reading.untold.get(figure, "") if value is None else shown(value)


def _freezes(burn: Burn, days: float | None) -> Markup:
    if days is None or math.isinf(days):
        return Markup("never")
    return together((span(days), f"by {'measured' if burn.measured else 'idle'} burn"))


def _waiting(number: int, reading: Reading) -> Markup:
    """The length of a queue, the age of its oldest entry, and what a Judge has."""
    age = [] if reading.queue_age is None else [f"oldest {duration(reading.queue_age)}"]
    judging = [f"{reading.judging} with a Judge"] if reading.judging else []
    return together((str(number), *age, *judging))


def checks(checked: Sequence[Check]) -> Table:
    """What every mAIner's helper endpoints answered."""
    return Table(
        {
            "mAIner": check.mainer.name,
            "mAIner canister": identifier(check.mainer.controller_id),
            **{name: marked(check.answers[name].ok, check.answers[name].text) for name in ENDPOINTS},
        }
        for check in checked
    )


def challenges(found: Iterable[Challenge] | None) -> Table:
    """Challenges of the Game State; None: it does not offer them."""
    rows = (
        {
            "challenge": last_part(challenge.challenge_id),
            "topic": challenge.topic,
            "question": challenge.question,
            "status": challenge.status,
            "costs an answer": trillions(challenge.cycles_required),
            "opened": moment(challenge.created),
        }
        for challenge in found or ()
    )
    return Table(rows, empty=NOT_OFFERED if found is None else NOTHING)


def queues(found: Mapping[str, Sequence[Queued]], mainers: Sequence[Mainer]) -> Table:
    """The queues of mAIners, given by id."""
    called = names(mainers)
    return Table(
        {
            "mAIner": mainer.name,
            "queued": len(found[mainer.controller_id]),
            "questions": lines(breakable(entry.question) for entry in found[mainer.controller_id]),
            "queued by": lines(called.get(entry.queued_by, entry.queued_by) for entry in found[mainer.controller_id]),
        }
        for mainer in mainers
        if mainer.controller_id in found
    )


def submissions(found: Iterable[Submission], mainers: Sequence[Mainer]) -> Table:
    """Submissions in words: who was asked what and answered what, oldest first."""
    called = names(mainers)
    return Table(
        {
            "mAIner": called.get(submission.submitted_by, submission.submitted_by),
            "question": submission.question,
            "answer": submission.answer,
            "status": submission.status,
            "submitted": moment(submission.submitted),
            "submission": last_part(submission.submission_id),
        }
        for submission in sorted(found, key=lambda submission: submission.submitted)
    )


def answers(opened: Iterable[Challenge], found: Iterable[Submission], mainers: Sequence[Mainer]) -> Table:
    """Challenges in the order of their opening, each with who answered what."""
    called = names(mainers)
    by_challenge: defaultdict[str, list[Submission | None]] = defaultdict(list)
    for submission in sorted(found, key=lambda submission: submission.submitted):
        by_challenge[submission.challenge_id].append(submission)
    rows = [
        (challenge.question, submission)
        for challenge in opened
        for submission in by_challenge[challenge.challenge_id] or [None]
    ]
    return Table(
        {
            "question": question,
            "answered by": called.get(answer.submitted_by, answer.submitted_by) if answer else "nobody yet",
            "answer": answer.answer if answer else "",
        }
        for question, answer in rows
    )


def cycles(statistics: Mapping[str, Statistics], mainers: Sequence[Mainer]) -> Table:
    """What mAIners have spent and have left, given by id."""
    called = names(mainers)
    return Table(
        {
            "mAIner": called[address],
            "spent on the protocol": trillions(row.cycles_burnt),
            "balance": trillions(row.cycle_balance),
            "paused for lack of cycles": "yes" if row.low_cycle_balance else "no",
        }
        for address, row in statistics.items()
    )


def costs(measured: Costs, usd_per_xdr: float) -> Table:
    """What each unit costs, here and in US dollars on mainnet."""
    return Table(
        {
            "one": entry.unit,
            "instructions": "" if entry.instructions is None else f"{entry.instructions / 1e6:,.0f} M",
            "cycles spent": trillions(entry.cycles, 6),
            "stays its balance": trillions(entry.kept) if entry.kept else "",
            "both on mainnet": dollars(usd(entry.cycles + entry.kept, usd_per_xdr)),
            "rounds": "" if entry.rounds is None else entry.rounds,
            "what": entry.note,
        }
        for entry in measured.entries
    )


def template(measured: Costs, usd_per_xdr: float, months: int = 12) -> Table:
    """From how many LLMs on a template that is kept so long costs less than copying the model into each."""
    number = template_pays_from(measured, months)
    whole = measured.of(TEMPLATE).cycles + months * measured.of(STORAGE).cycles
    saved = measured.of(COPIED).cycles - measured.of(OF_TEMPLATE).cycles
    return facts(
        {
            "a template, kept for": how_many(months, "month"),
            "costs": dollars(usd(whole, usd_per_xdr)),
            "saves for each LLM": dollars(usd(saved, usd_per_xdr)),
            "pays from": "never" if number is None else f"{how_many(number, 'LLM')} on",
        }
    )


def budget(items: Iterable[Budget], usd_per_xdr: float) -> Table:
    """What whole things cost, here and in US dollars on mainnet."""
    return Table(
        {
            "what": item.what,
            "cycles spent": trillions(item.spent),
            "stays its balance": trillions(item.kept) if item.kept else "",
            "both on mainnet": dollars(usd(item.spent + item.kept, usd_per_xdr)),
        }
        for item in items
    )


def holdings(found: Iterable[Holding]) -> Table:
    """The cycles of a fleet, and how long they last."""
    return Table(
        {
            "canister": holding.member.name,
            "id": identifier(holding.member.canister_id),
            "balance": "not told" if holding.balance is None else trillions(holding.balance),
            "stops below": trillions(holding.floor),
            "burns a day": trillions(holding.per_day, 6),
            "days left": _days(holding),
            "problem": holding.problem or "none",
        }
        for holding in found
    )


def _days(holding: Holding) -> str:
    if holding.balance is None:
        return "not told"
    return "no end" if math.isinf(holding.days) else f"{holding.days:,.0f}"


def refill(plan: Refill) -> Table:
    """Who gets which cycles, or got them."""
    return Table(
        {
            "canister": row.holding.member.name,
            "balance": "not told" if row.holding.balance is None else trillions(row.holding.balance),
            "days left": _days(row.holding),
            "wanted": trillions(row.target),
            "gets": trillions(row.cycles) if row.cycles else "",
            "state": row.holding.problem or row.state,
        }
        for row in plan.rows
    )


def upgrade_plan(planned: UpgradePlan) -> Table:
    """What an upgrade would do with each canister."""
    return Table(
        {
            "canister": row.member.name,
            "what": row.reason or row.action,
            "module now": digest(row.module or ""),
            "module then": digest(row.code.sha256) if row.code else "",
            "clients of the old interface": _clients(row.change) if row.action == "upgrade" else "",
            "way back": row.way_back if row.action == "upgrade" else "",
            "about": trillions(row.cycles) if row.cycles else "",
            "rehearsed": "yes" if row.rehearsed else "no" if row.action == "upgrade" else "",
        }
        for row in planned.rows
    )


def _clients(change: ServiceChange | None) -> str:
    """What a new interface means to them."""
    if change is None:
        return "not told"
    lossy = [f"reads null: {reason}" for reason in change.lossy]
    return "; ".join(filter(None, [switch.breaks(change), *lossy])) or "notice nothing"


def upgraded(report: UpgradeReport) -> Table:
    """What happened to each canister in an upgrade."""
    return Table(
        (
            {
                "canister": row.member.name,
                "outcome": row.outcome,
                "away": "" if row.away is None else f"{row.away:.1f} s",
                "spent": "" if row.cycles is None else trillions(row.cycles),
                "why": row.reason,
                "snapshot": row.snapshot_id,
                "to know": " ".join(f"{note[0].upper()}{note[1:]}." for note in row.notes),
            }
            for row in report.rows
        ),
        empty="nothing was to be upgraded",
    )


def rehearsal(found: Rehearsal) -> Table:
    """What is copied of each canister, or was."""
    saved = {each.member.canister_id: each for each in found.saved.canisters} if found.saved else {}

    def stood(canister_id: str) -> str:
        return f"{saved[canister_id].seconds:.1f} s" if canister_id in saved else ""

    return Table(
        {
            "canister": row.member.name,
            "id": identifier(row.member.canister_id),
            "how": row.how,
            "memory": amount(row.bytes, "B") if row.bytes else "",
            "costs it": trillions(row.cycles),
            "was stopped": stood(row.member.canister_id),
            "state": row.problem or ("copied" if saved else "to do"),
        }
        for row in found.plan.canisters
    )


def models_exchanged(plan: ModelExchange) -> Table:
    """The model of each LLM, and what an exchange would do with it or did."""
    return Table(
        {
            "LLM": row.member.name,
            "id": identifier(row.member.canister_id),
            "model before": row.before or "not known",
            "model wanted": plan.model,
            "state": row.state,
            "away": f"{row.seconds:.1f} s" if row.seconds else "",
            "notes": row.detail,
        }
        for row in plan.changes
    )


def withdrawals(found: Iterable[Withdrawal]) -> Table:
    """Who gives which cycles back, or gave them."""
    return Table(
        {
            "canister": row.holding.member.name,
            "balance": "not told" if row.holding.balance is None else trillions(row.holding.balance),
            "gives back": trillions(row.cycles) if row.cycles else "",
            "to": identifier(row.to) if row.cycles else "",
            "state": row.problem or ("done" if row.done else "to do"),
        }
        for row in found
    )


def paused(rows: Iterable[Paused]) -> Table:
    """Whose timers were stopped or started, in that order."""
    said = {"ran": "ran", "stood": "stood", "untold": "not told"}
    return Table(
        (
            {
                "canister": row.member.name,
                "id": identifier(row.member.canister_id),
                "timers before": said[row.before],
                "done": row.done,
                "left": row.missing or "nothing",
            }
            for row in rows
        ),
        empty="no timers were stopped or started",
    )


def maintained(rows: Iterable[Maintained]) -> Table:
    """Which mAIners are in maintenance."""
    return Table(
        {
            "mAIner": row.member.name,
            "mAIner canister": identifier(row.member.canister_id),
            "maintenance": "on" if row.on else "off",
            "problem": row.problem or "none",
        }
        for row in rows
    )


def removal(plan: Removal) -> Table:
    """What is to be removed, or was, and what comes back."""
    return Table(
        (
            {
                "canister": row.member.name,
                "id": identifier(row.member.canister_id),
                "balance": "not told" if row.balance is None else trillions(row.balance),
                "comes back": trillions(row.returns),
                "to": identifier(row.to),
                "state": row.state,
                "notes": lines(map(escape, row.notes)) or "none",
            }
            for row in plan.rows
        ),
        empty="nothing is to be removed",
    )


def findings(found: Iterable[Finding | Mended]) -> Table:
    """What is wrong in a fleet, or what came of mending it."""
    rows = [entry if isinstance(entry, Mended) else Mended(entry, False) for entry in found]
    return Table(
        (
            {
                "finding": row.finding.fault,
                "where": row.finding.name,
                "id": identifier(row.finding.canister_id),
                "why": row.finding.what,
                "remedy": row.finding.remedy,
                "mended": "yes" if row.done else row.problem or "not yet",
            }
            for row in rows
        ),
        empty="nothing is wrong",
    )


def facts(values: Mapping[str, object]) -> Table:
    """A table of one record: name and value, a line each."""
    return Table(({"name": name, "value": value} for name, value in values.items()), header=False)
