"""Set a secret: seal its value and store it, with who may use it."""

from dataclasses import dataclass

from rivet.domain.errors import InvalidInput
from rivet.domain.mask_forms import LEAST_PART, LEAST_WHOLE, is_maskable
from rivet.domain.secret import MAX_VALUE_BYTES, NAME, NAME_IN_WORDS, Audience, Secret
from rivet.engine.ports import Store
from rivet.engine.save_pipeline import project_of
from rivet.engine.secret_ports import Vault


@dataclass(frozen=True, slots=True)
class SetSecret:
    """What came of it. `warnings` are for whoever set it."""

    secret: Secret
    created: bool
    warnings: tuple[str, ...]


def set_secret(
    project: str,
    name: str,
    value: bytes,
    audience: Audience | None,
    actor: str,
    *,
    store: Store,
    vault: Vault,
) -> SetSecret:
    """Store `value` under `name`, in the place of an older one. Without `audience` that one's is kept.

    Raises NotFound for an unknown project, InvalidInput for a name, a value or an audience that cannot be.
    """
    _check(name, value)
    with store.begin() as tx:
        home = project_of(project, tx)
        known = tx.secrets.get(home.id, name)
        chosen = audience if audience is not None else known.audience if known is not None else Audience()
        if chosen.is_nobody:
            raise InvalidInput(
                f"{name}: nobody could use it: name the pipelines that may (`pipelines`, on the command line "
                "--pipeline NAME), or allow all (`all_pipelines`, --all-pipelines)"
            )
        sealed = vault.seal(value, home.id, name)
        secret = tx.secrets.put(home.id, name, sealed, chosen, actor)
        unknown = [slug for slug in chosen.pipelines if tx.pipelines.get(home.id, slug) is None]
    return SetSecret(secret, known is None, (*_of_value(value), *_of_pipelines(unknown, project)))


def _check(name: str, value: bytes) -> None:
    if not NAME.fullmatch(name):
        raise InvalidInput(f'name: expected {NAME_IN_WORDS}, given "{name[:120]}"')
    if not 1 <= len(value) <= MAX_VALUE_BYTES:
        raise InvalidInput(
            f"{name}: the value has {len(value)} bytes; expected 1 to {MAX_VALUE_BYTES}"
        )


def _of_value(value: bytes) -> list[str]:
    if not is_maskable(value):
        return [
            f"a value of fewer than {LEAST_WHOLE} bytes cannot be masked in logs: every other word would be; "
            "choose a longer one"
        ]
    if len(value.strip()) < LEAST_PART:
        return [
            f"a value of fewer than {LEAST_PART} bytes is masked as it is, but not its encodings, and "
            "ordinary words may hold it; choose a longer one"
        ]
    return []


def _of_pipelines(unknown: list[str], project: str) -> list[str]:
    return [
        f'project "{project}" has no pipeline "{slug}" yet; the secret is there for when it has'
        for slug in unknown
    ]
