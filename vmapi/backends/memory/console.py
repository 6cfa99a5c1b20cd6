"""The serial console of an instance, with the output of a booting Linux."""

import re
from collections import deque

from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec

MAX_CONSOLE_LINES = 1000
CONSOLE_KEY_PATTERN = re.compile(
    rb"\b(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp\d+|sk-[a-z0-9-]+@openssh\.com) "
)
BOOT_VERBS = frozenset({Verb.START, Verb.RESTART_SOFT, Verb.RESTART_HARD})
SHUTDOWN_LINES = {
    Verb.STOP: "[  OK  ] Reached target Power-Off.",
    Verb.RESTART_SOFT: "[  OK  ] Reached target Reboot.",
}


class SerialConsole:
    """The console output of one instance.

    Of the user data it has the size and the number of SSH keys, nothing else: user data are secret.
    """

    def __init__(self, spec: CreateSpec, image: str) -> None:
        self._name = spec.name
        self._image = image
        self._lines: deque[str] = deque(maxlen=MAX_CONSOLE_LINES)
        data = spec.user_data or b""
        keys = len(CONSOLE_KEY_PATTERN.findall(data)) + (spec.key_name is not None)
        self._first_boot_lines = (
            f"cloud-init: {keys} SSH keys authorized",
            f"cloud-init: {len(data)} bytes of user data applied",
        )

    def get_output(self, lines: int | None) -> str:
        """Return the last lines of the output, or all."""
        output = list(self._lines)
        return "\n".join(output if lines is None else output[max(len(output) - lines, 0) :])

    def print_action(self, verb: Verb) -> None:
        """Print the output of an action that has succeeded."""
        if verb in SHUTDOWN_LINES:
            self._lines.append(SHUTDOWN_LINES[verb])
        if verb is Verb.CREATE:
            self._print_boot(*self._first_boot_lines)
        elif verb in BOOT_VERBS:
            self._print_boot("cloud-init: nothing to do, this is not the first boot")

    def _print_boot(self, *cloud_init: str) -> None:
        printed = (
            "Linux version 6.1.0-vmapi (in memory)",
            f"Booting {self._name} from {self._image}",
            "eth0: link becomes ready",
            *cloud_init,
            "cloud-init: finished",
        )
        self._lines.extend(f"[{second:>5}.000000] {line}" for second, line in enumerate(printed))
        self._lines.extend(("", f"{self._name} login: "))
