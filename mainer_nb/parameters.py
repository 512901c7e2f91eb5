"""The parameters of the notebooks: what each is, and whether a value can be it.

    parameters.check(network=network, own=own)                    # in a notebook: its first cell after the parameters
    parameters.check(**{"own": "two"})
    # ArgumentError: parameter own is the text 'two', but must be a whole number from 0 to 100 (how many mAIners …)

Each is declared here once. The cells tagged `parameters` repeat type and sentence where papermill finds them
(`papermill --help-notebook NOTEBOOK`), which a test compares with this.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .create import DIFFERING, GONE
from .deploy import MODES
from .errors import ArgumentError
from .fleet.pause import CHANGES
from .fleet.rehearse import LLMS
from .network import CREATOR, GAME_STATE
from .population import Plan, problem_of_plan
from .upload import CONTROLLER

MOST_MAINERS = 100  # of each type, and LLMs of each: more than any one machine has room for
EXAMPLES = (GAME_STATE, CREATOR, CONTROLLER)  # programs that need nothing else
A_DAY = 86_400  # seconds
LONGEST_SHOWN = 60  # characters of a wrong value


@dataclass(frozen=True)
class Parameter:
    """A parameter: its type (`str`, `bool`, `int`, `float` or `list`) and the sentence that says what it is.

    `optional`: may be None. `least`, `most`: of a number. `choices`: of a text. `pair`: what the two texts in each item
    of a list are.
    """

    type: type
    sentence: str
    optional: bool = False
    least: float = 0
    most: float = math.inf
    choices: tuple[str, ...] = ()
    pair: tuple[str, str] = ("", "")

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if self.type is list:
            what = f"a list of pairs: {self.pair[0]} and {self.pair[1]}, each a text that is not empty"
        elif self.choices:
            what = f"one of {', '.join(self.choices)}"
        elif self.type is bool:
            what = "true or false"
        elif self.type is str:
            what = "a line of text that is not empty, in quotes if it looks like something else"
        else:
            what = f"a {'whole ' if self.type is int else ''}number from {self.least:g} to {self.most:g}"
        return what + (" or null" if self.optional else "")

    def takes(self, value: Any) -> bool:
        """Whether the value is what it must be."""
        if value is None:
            return self.optional
        if self.type is list:
            return isinstance(value, list | tuple) and bool(value) and all(_is_pair(pair) for pair in value)
        if self.type is bool:
            return isinstance(value, bool)
        if self.type is str:
            return _is_line(value) and (not self.choices or value in self.choices)
        if isinstance(value, bool) or not isinstance(value, int if self.type is int else int | float):
            return False
        return self.least <= value <= self.most


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(word, str) and word.strip() for word in value)
    )


def _is_line(value: Any) -> bool:
    """Whether it is text of one line that can be shown and sent: no control characters, and nothing but Unicode."""
    if not isinstance(value, str) or not value.strip():
        return False
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)


def _count(sentence: str) -> Parameter:
    return Parameter(int, sentence, most=MOST_MAINERS)


DECLARED = {
    "canister": Parameter(str, "the program for the examples: its name in files/, without .wasm", choices=EXAMPLES),
    "cycles": Parameter(float, "T of cycles that the example canister gets; 1 T is 10^12", least=1, most=1000),
    "network": Parameter(
        str,
        '"local" (embedded), "ic" (mainnet), one of icp-cli or dfx, an address; None: as in 01, or local',
        optional=True,
    ),
    "identity": Parameter(
        str,
        "who calls: an identity of icp-cli or dfx, or a PEM file; None: as in 01, or for development",
        optional=True,
    ),
    "mode": Parameter(
        str,
        '"auto": what is due; "install" (where empty), "upgrade" (keeps state), "reinstall" (loses it)',
        choices=MODES,
    ),
    "model": Parameter(
        str, "a gguf: its name in files/, or a path; None: Gemma 3 270M (Gemma Terms of Use)", optional=True
    ),
    "own": _count("how many mAIners of type Own there should be"),
    "llms_per_own": _count("how many LLMs each Own has"),
    "services": _count("how many ShareServices there should be"),
    "llms_per_service": _count("how many LLMs each ShareService has"),
    "agents": _count("how many ShareAgents there should be; they are spread over the ShareServices"),
    "differing": Parameter(
        str,
        'what has other code or another model than uploaded: "replace" it, "use" it, "refuse"',
        choices=DIFFERING,
    ),
    "gone": Parameter(str, 'what was deleted by hand: "refuse", or "forget" it and make another', choices=GONE),
    "of_template": Parameter(
        bool, "whether LLMs are made of a template; None: where cycles cost nothing", optional=True
    ),
    "questions": Parameter(list, "topics and questions for challenges", pair=("a topic", "a question")),
    "challenges": Parameter(int, "how many challenges to open: the first of the questions", least=1, most=1000),
    "timer_interval": Parameter(
        int, "seconds between two actions of a mAIner that works by itself; its own default is 60", least=1, most=A_DAY
    ),
    "timeout": Parameter(float, "seconds to wait for a submission that nobody triggered", least=1, most=A_DAY),
    "canisters": Parameter(
        str,
        "ids of the canisters to operate, with spaces between; None: those of creator and Game State",
        optional=True,
    ),
    "days": Parameter(float, "days until a canister freezes, at least; what has less is marked", most=36_500),
    "looks": Parameter(int, "how many times to look at the fleet", least=1, most=1000),
    "look_seconds": Parameter(float, "seconds between two looks", most=A_DAY),
    "log_hours": Parameter(float, "hours that the log goes back", least=0.001, most=24 * 365),
    "refill_days": Parameter(
        float, "days that the cycles of each canister are to last, at least", least=0.001, most=36_500
    ),
    "refill_cap": Parameter(float, "T of cycles that all canisters together get, at most", most=1_000_000),
    "keep": Parameter(float, "T of cycles that a mAIner keeps; what is beyond can be withdrawn", most=1_000_000),
    "timers": Parameter(
        str,
        '"pause" stops them in the order that loses nothing, "resume" starts those again; None: as they are',
        optional=True,
        choices=CHANGES,
    ),
    "remove_member": Parameter(str, "an LLM or a mAIner to remove, its name or id; None: none", optional=True),
    "with_agents": Parameter(bool, "whether a ShareService is removed although it has ShareAgents"),
    "rehearse_now": Parameter(bool, "whether the fleet is copied and its upgrade tried there; else it is only planned"),
    "rehearse_llms": Parameter(
        str,
        'what becomes of LLMs on the copy: "copy", "model file" (made again), "leave out"',
        choices=LLMS,
    ),
    "exchange_model": Parameter(
        str, "the model, of those at the creator, that all LLMs are to answer with; None: as they are", optional=True
    ),
    "exchange_now": Parameter(bool, "whether LLMs get that model; else it is shown which would"),
    "upgrade_now": Parameter(bool, "whether canisters are upgraded as planned; else the plan is shown"),
    "refill_now": Parameter(bool, "whether cycles are given as planned; else the plan is shown"),
    "withdraw_now": Parameter(bool, "whether surplus goes to the creator as planned; else the plan is shown"),
    "remove_now": Parameter(bool, "whether it is removed as planned; else the plan is shown"),
    "mend_now": Parameter(bool, "whether what is wrong is mended; else it is shown"),
    "usd_per_xdr": Parameter(
        float, "US dollars for one XDR, the price of 10^12 cycles; see the IMF's exchange rates", least=0.01, most=100
    ),
    "prompt_tokens": Parameter(int, "tokens of a prompt, for the last table", least=1, most=1_000_000),
    "answer_tokens": Parameter(int, "tokens of an answer, for the last table", least=1, most=1_000_000),
}


def check(**values: Any) -> None:
    """Check the values of parameters, each by itself and those that belong together.

    Raises:
        ArgumentError: with a line for each that is wrong: its name and value, what it must be, and its sentence.
    """
    wrong = [
        f"parameter {name} is {_shown(values[name])}, but must be {parameter.expected} ({parameter.sentence})"
        for name, parameter in DECLARED.items()
        if name in values and not parameter.takes(values[name])
    ]
    wrong = wrong or [text for names, problem in TOGETHER if values.keys() >= names and (text := problem(values))]
    if wrong:
        raise ArgumentError("\n".join(wrong))


def _a_population_that_works(values: Mapping[str, Any]) -> str:
    given = {name: values[name] for name in POPULATION & values.keys()}
    problem = problem_of_plan(replace(ANY_PLAN, **given))
    return f"parameter {problem}" if problem else ""


def _one_of_each_to_test(values: Mapping[str, Any]) -> str:
    missing = [name for name in ("own", "services", "agents") if not values[name]]
    if not missing:
        return ""
    return f"parameter {missing[0]} is 0, but 04_test needs one of each type: ask for one, or run without 04_test"


def _as_many_questions(values: Mapping[str, Any]) -> str:
    there = len(values["questions"])
    if values["challenges"] <= there:
        return ""
    return (
        f"parameter challenges is {values['challenges']}, but questions has {there}: "
        f"add questions, or ask for at most {there} challenges"
    )


POPULATION = {"own", "llms_per_own", "services", "llms_per_service", "agents"}
ANY_PLAN = Plan(own=0, llms_per_own=1, services=1, llms_per_service=1, agents=0)  # goes with any one of them
# What holds of several parameters: their names, and a function of their values that says what is wrong with them.
TOGETHER: list[tuple[set[str], Callable[[Mapping[str, Any]], str]]] = [
    (set(), _a_population_that_works),
    ({"own", "services", "agents", "challenges"}, _one_of_each_to_test),
    ({"challenges", "questions"}, _as_many_questions),
]


def _shown(value: Any) -> str:
    """A wrong value, as its giver knows it, and what it is if that cannot be seen."""
    if value is None:
        return "null"
    if isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() < 200):
        return str(value)
    if isinstance(value, int):
        return f"a number of {value.bit_length()} bits"
    kind = {"str": "text", "dict": "map"}.get(type(value).__name__, type(value).__name__)
    text = repr(value) if isinstance(value, str | list | dict) else str(value)
    return f"the {kind} {text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + '…'}"
