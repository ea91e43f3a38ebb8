"""How a stage is started in its container: once, or by `accelerate launch` once for each of several GPUs.

python -m pada_agent.components.train_lora
python -m accelerate.commands.launch --multi_gpu ... --num_processes 4 -m pada_agent.components.train_lora
"""

from collections.abc import Mapping, Sequence
from typing import Any

COUNT = "--num_processes"
# One machine and full precision, each said: accelerate warns of what it must guess. The stage chooses its own type of weights.
_LAUNCH = (
    *("python", "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--main_process_port", "0"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", COUNT),
)


def launched(command: Sequence[str], processes: int) -> list[str]:
    """The command `python -m MODULE`, started `processes` times at once."""
    *_, module = command
    return [*_LAUNCH, str(processes), "-m", module] if processes > 1 else list(command)


def processes_of(container: Mapping[str, Any]) -> int:
    """How many processes a container starts of its stage."""
    command = [str(word) for word in container.get("command", [])]
    return int(command[command.index(COUNT) + 1]) if COUNT in command else 1


def single(command: Sequence[str]) -> list[str]:
    """The command without the launcher: what `launched` was given. Of any other command, itself."""
    count = len(_LAUNCH)
    is_launched = tuple(command[:count]) == _LAUNCH and len(command) == count + 3 and str(command[count]).isdecimal()
    return ["python", *command[count + 1 :]] if is_launched else list(command)
