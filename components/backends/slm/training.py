"""Fine-tuning with transformers' Trainer: it brings checkpoints, resume, schedule and, under torchrun, more GPUs.

Added here is what it lacks: logits only where there is loss, no pass for what a batch has in common, and proof that the
end-of-turn token is trained and that the saved adapter changes the model.
"""

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from pada_agent.components.backends.files import room_at
from pada_agent.components.backends.progress import track
from pada_agent.components.backends.slm.adapters import Adapter
from pada_agent.components.backends.slm.checkpoints import Checkpoints, Watch
from pada_agent.components.backends.slm.cpu.packed_rows import PACKED, can_pack, pack
from pada_agent.components.backends.slm.loading import Slm, chosen_type, load_slm
from pada_agent.components.backends.slm.shared_prefix import cache_word, can_share, prefix_cache, repeated
from pada_agent.components.backends.slm.training_rows import NO_LOSS, Collator, Rows, TokenRow, row_order, tokenise
from pada_agent.components.backends.slm.whole import Whole
from pada_agent.components.core.errors import ModelError
from pada_agent.components.core.settings import TrainLora
from pada_agent.components.core.slm_interface import Example, Training, step_shares

# What transformers calls gradient checkpointing: newer releases warn of the second name.
CHECKPOINTING = next(
    name for name in ("activation_checkpointing", "gradient_checkpointing") if name in TrainingArguments.__dataclass_fields__
)


def fit(
    examples: Sequence[Example], settings: TrainLora, adapter: Path, checkpoints: Checkpoints, max_steps: int = 0
) -> Training:
    """Fine-tune and write the adapter, or the model, into the folder `adapter`. `max_steps` 0: as many as the epochs take.

    Goes on from the last whole checkpoint of the same run. On SIGTERM it saves one and raises SystemExit.
    Raises InputError when no row fits slm.max_length, ModelError when the model or its template cannot be trained.
    """
    started = time.monotonic()
    set_seed(settings.seed)
    whole, dtype = settings.train.method == "full", chosen_type(settings.slm)
    # In bfloat16 most steps of all weights are too small to change them.
    slm = load_slm(settings.slm.model_copy(update={"dtype": "float32"} if whole else {}))
    rows, dropped = tokenise(examples, slm, settings.slm.max_length)
    steps = max_steps or settings.train.steps(len(rows))
    order = row_order([len(r.tokens) for r in rows], steps, settings.train.micro_batch, settings.train.accumulate, settings.seed)
    trained = Whole(slm, rows, dtype) if whole else Adapter(slm, rows, settings)
    resume = checkpoints.resume(_identity(rows, settings, steps, slm))
    arguments = _arguments(settings, slm, dtype, steps, checkpoints)
    trainer = CompletionTrainer(slm, trained.model, [rows[i] for i in order], arguments, checkpoints)
    watch = Watch(checkpoints)
    trainer.add_callback(watch)
    with track("training steps", steps) as progress, watch.signals():
        watch.progress = progress
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    watch.stop_if_asked()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if not all(map(math.isfinite, losses)):
        raise ModelError(f"training diverged: the loss is not a number at step {_first_bad(losses)}; lower train.learning_rate")
    if trainer.args.should_save:
        trained.save(adapter)
    return Training(
        base_model=settings.slm.model,
        thinking=settings.slm.thinking,
        source=str(slm.source),
        device=slm.device,
        dtype=dtype,
        quantization=settings.slm.quantization,
        train=settings.train,
        processes=trainer.args.world_size,
        seed=settings.seed,
        steps=steps,
        epochs=round(len(order) / len(rows), 3),
        losses=losses,
        seconds=round(time.monotonic() - started, 1),
        resumed_from=int(resume.name.rsplit("-", 1)[1]) if resume else 0,
        trained_tokens=sum(len(rows[i].tokens) - rows[i].prompt for i in order),
        dropped_too_long=dropped,
        changed_outputs=True,
    )


def _first_bad(losses: Sequence[float]) -> int:
    return next(step for step, loss in enumerate(losses, 1) if not math.isfinite(loss))


class CompletionTrainer(Trainer):
    """Loss on completion tokens, as a mean over the tokens of the whole optimizer step."""

    def __init__(
        self, slm: Slm, model: Any, rows: Sequence[TokenRow], arguments: TrainingArguments, checkpoints: Checkpoints
    ) -> None:
        collate = Collator(slm.chat.tokenizer.pad_token_id)
        super().__init__(model=model, args=arguments, train_dataset=Rows(rows), data_collator=collate)
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = True  # have it count the step's completion tokens, whatever the model's forward
        self._loss_shifts_labels = True
        self._rows = len(rows)
        self._checkpoints = checkpoints
        # One process only: DistributedDataParallel expects one forward pass for each backward.
        sharing = arguments.world_size == 1 and can_share(model)
        self._share = sharing and not getattr(arguments, CHECKPOINTING)  # which keeps no keys and values for a second pass
        self._pack = sharing and slm.device == "cpu" and can_pack(model)
        self._positions: Any = None
        slm.model.get_output_embeddings().register_forward_pre_hook(self._select)

    def _select(self, _module: Any, args: tuple[Any, ...]) -> Any:
        return (args[0][self._positions],) if self._positions is not None else None

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """Sum of the cross entropy at the positions that predict a completion token, over the step's completion tokens."""
        targets = inputs["labels"][:, 1:]
        wanted = targets != NO_LOSS
        prefix, (rows, length) = int(inputs["prefix"]), inputs["labels"].shape
        packed = self._pack and prefix > 0 and prefix + rows * (length - prefix) <= PACKED
        prefix = prefix if packed or self._share else 0
        own = functional.pad(wanted, (0, 1))[:, prefix:]
        if packed:
            call = pack(inputs["input_ids"], prefix)
            self._positions = functional.pad(own.flatten(), (prefix, 0))[None]
        else:
            call = _after_prefix(model, inputs["input_ids"], prefix)
            self._positions = own
        try:
            logits = model(**call, use_cache=False).logits
        finally:
            self._positions = None
        loss = functional.cross_entropy(logits.float(), targets[wanted], reduction="sum")
        loss = loss / (len(logits) if num_items_in_batch is None else num_items_in_batch)
        return loss * self.accelerator.num_processes  # each process's gradient is averaged with the others'

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the Trainer would go through all parameters for each batch."""
        return 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(range(self._rows))  # the rows are in their order already

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with room_at(self._checkpoints.folder):
            super()._save_checkpoint(model, trial)
        if self.args.should_save:
            self._checkpoints.saved(self.state.global_step)


def _after_prefix(model: Any, tokens: Any, prefix: int) -> dict[str, Any]:
    """Inputs of the model for what follows the first `prefix` tokens, whose keys and values are computed once."""
    # No attention mask: padding is on the right, and no token sees what comes after it.
    if not prefix:
        return {"input_ids": tokens}
    cache = repeated(prefix_cache(model, tokens[:1, :prefix]), len(tokens))
    positions = torch.arange(prefix, tokens.shape[1], device=tokens.device)[None].expand(len(tokens), -1)
    return {"input_ids": tokens[:, prefix:], cache_word(model): cache, "position_ids": positions}


def _arguments(settings: TrainLora, slm: Slm, dtype: str, steps: int, checkpoints: Checkpoints) -> TrainingArguments:
    train = settings.train
    micro, accumulate = step_shares(train, int(os.environ.get("WORLD_SIZE", "1")))
    # The reentrant kind wants gradients of the frozen embeddings.
    checkpointing: Any = {CHECKPOINTING: train.gradient_checkpointing, f"{CHECKPOINTING}_kwargs": {"use_reentrant": False}}
    arguments = TrainingArguments(
        output_dir=str(checkpoints.folder),
        max_steps=steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulate,
        learning_rate=train.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(train.warmup * steps),
        weight_decay=0.0,
        max_grad_norm=train.clip,
        **checkpointing,
        optim="adamw_torch",
        bf16=slm.dtype != dtype and slm.device == "cuda",  # all weights are trained in float32, with products in bfloat16
        seed=settings.seed,
        save_strategy="steps" if train.checkpoints else "no",
        save_steps=max(1, -(-steps // (train.checkpoints + 1))),
        save_total_limit=2,  # the one before goes only after the new one is whole
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=[],
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        label_names=["labels"],
        use_cpu=slm.device == "cpu",
        dataloader_pin_memory=slm.device != "cpu",
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # more GPUs are used under torchrun; DataParallel in one process is slower than one GPU
    return arguments


def _identity(rows: Sequence[TokenRow], settings: TrainLora, steps: int, slm: Slm) -> str:
    """What must be the same for a checkpoint to be of this run."""
    parts = [settings.model_dump_json(), str(steps), str(slm.source), slm.dtype, *(f"{r.id}{r.tokens}" for r in rows)]
    return "\n".join(parts)
