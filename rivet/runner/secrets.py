"""The secrets of one attempt: asked for one by one, told to the masker, and put in where they may be used."""

import base64
import time
from collections.abc import Callable, Mapping

from rivet.client import ApiProblem, ApiUnreachable
from rivet.domain.ids import StageKey
from rivet.domain.mask import Masker
from rivet.domain.order import Order
from rivet.domain.secret import NAME, NAME_IN_WORDS, Opaque, Reference
from rivet.domain.wording import shown
from rivet.modules.contract import CallError
from rivet.runner.desk import Desk
from rivet.runner.folder import JobFolder
from rivet.runner.notes import add_to_note, read_note

RETRY_S = 0.5
ASK_WAIT_S = 10.0

Say = Callable[[str, str], None]
"""Takes a level and a text: a line of Rivet's own in the stage's log."""


class StageSecrets:
    """Values are in this object and in the masker, and nowhere else on this machine.

    `go_on` raises where the stage is to stop.
    """

    def __init__(
        self,
        order: Order,
        stage: StageKey,
        desk: Desk,
        folder: JobFolder,
        masker: Masker,
        say: Say,
        go_on: Callable[[], None],
    ) -> None:
        self._order, self._stage, self._client = order, stage, desk.client
        self._masker, self._say, self._go_on = masker, say, go_on
        self._note = folder.path / "secrets"
        self._values: dict[str, bytes] = {}

    def get(self, name: str) -> Opaque:
        """The secret as scripts see it. Raises CallError where the pipeline may not use it."""
        allowed = self._order.secrets
        if not NAME.fullmatch(name):
            raise CallError(f"secrets.get: name: expected {NAME_IN_WORDS}, given {shown(name)}")
        if allowed is not None and name not in allowed:
            raise CallError(
                f'secrets.get: name: "{name}" is not among the `secrets` that the pipeline asks for: '
                f"add it to the list in its file"
            )
        if name not in self._values:
            self._remember(name)
            try:
                self._values[name] = self._asked(name)
            except ApiProblem as problem:
                raise CallError(f"secrets.get: name: {problem.detail}") from None
            self._masker.add(self._values[name])
        return Opaque((Reference(name),))

    def mask_those_of_earlier_stages(self) -> None:
        """What an earlier stage of the job used may stand in the workspace: it is masked in this one too."""
        for name in self._remembered():
            try:
                self._masker.add(self._asked(name))
            except ApiProblem as problem:
                told = f"{name}, which an earlier stage used, cannot be had to mask it: {problem.detail}"
                self._say("warn", told)

    def joined(self, value: Opaque) -> bytes:
        """The value with the plain text in it, for what is outside of the script. Raises CallError."""
        return b"".join(
            self._value(part.name) if isinstance(part, Reference) else part for part in value.parts
        )

    def in_variables(self, title: str, env: Mapping[str, str | Opaque]) -> dict[str, str]:
        """An environment with the plain texts in it. Raises CallError."""
        variables: dict[str, str] = {}
        for name, value in env.items():
            if isinstance(value, Opaque):
                raw = self.joined(value)
                if b"\0" in raw:
                    raise CallError(
                        f"{title}: env: {name}: the secret holds a NUL byte, which no variable can; "
                        "hand it on in `stdin`"
                    )
                value = raw.decode("utf-8", "surrogateescape")
            variables[name] = value
        return variables

    def _value(self, name: str) -> bytes:
        if name not in self._values:
            raise CallError(f'the secret "{name}" was not got with secrets.get in this stage')
        return self._values[name]

    def _asked(self, name: str) -> bytes:
        """Ask the API, for as long as it is away and the stage may go on. Raises ApiProblem if it refuses."""
        told = False
        while True:
            self._go_on()
            try:
                answer = self._client.call(
                    "POST",
                    f"/runner/jobs/{self._order.job}/secrets/{name}",
                    {"stage": self._stage},
                    headers={"Authorization": f"Bearer {self._order.ticket}"},
                    timeout_s=ASK_WAIT_S,
                )
                return base64.b64decode(answer["base64"])
            except ApiProblem as problem:
                if problem.status < 500 and problem.status != 429:
                    raise
                why = problem.detail
            except ApiUnreachable as error:
                why = str(error)
            if not told:
                self._say("warn", f"the secret {name} is waited for: {why}")
            told = True
            time.sleep(RETRY_S)

    def _remember(self, name: str) -> None:
        """Before its value is here, so that no stage after this one can miss it."""
        if name not in self._remembered():
            add_to_note(self._note, name + "\n", 0o600)

    def _remembered(self) -> list[str]:
        try:
            return [name for name in read_note(self._note).splitlines() if NAME.fullmatch(name)]
        except FileNotFoundError:
            return []
