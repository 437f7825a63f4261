"""How a population is trained: the way that was proven for its model."""

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Way:
    """Plain, member by member, or fused: all members as one program, its steps traced."""

    kind: str = "plain"  # plain | fused
    why: str = ""  # it is plain
    draws: tuple[str, ...] = ()  # the process's generators that the model draws from, known before
    zero: bool = False  # whether rate 0 is built at 0, since there the model is another
    device: str = ""  # type of device and version of torch on which it was proven
    torch: str = ""

    @property
    def fused(self) -> bool:
        return self.kind == "fused"

    def plainly(self, why: str, draws: tuple[str, ...] = (), zero: bool = False) -> "Way":
        """Return the plain way, with a reason that may stand in a command line."""
        plain = re.sub(r'["\\\\$]|[^ -~]', "", why)
        return replace(self, kind="plain", why=plain[:300], draws=draws, zero=zero)


class Differs(Exception):
    """A population is seen to train otherwise than plainly: it is trained again, plainly."""

    def __init__(self, why: str, draws: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.why, self.draws = why, draws
