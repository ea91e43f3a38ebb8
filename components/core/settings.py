"""Every setting, with its bounds and the paper's value as default. Each default is written here and nowhere else.

A run is configured by one YAML file that is read into `Settings`; a stage receives only the sections of its own model below.
Sources of the values: arXiv 2510.18143 (the paper) where a description says "paper"; else this project's choice.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from pada_agent.components.core.methods.registry import METHODS

Role = Literal["teacher", "judge", "scorer"]
Agent = Literal["teacher", "judge"]  # who writes or checks data
Context = Literal["written", "kept"]


class Section(BaseModel):
    """Base of all settings: a key that is not known is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskSettings(Section):
    """Which task, and where its rows are."""

    name: str = Field(description="squad, arc_challenge, hellaswag, gsm8k, humaneval, text_to_sql or custom")
    train: str = Field(description="path, gs://, s3://, minio:// or hub id#split, also #split[:500]")
    validation: str
    selection: str = Field(default="", description="empty: the first half of the validation rows' groups is set aside")
    test: str
    train_size: int = Field(default=0, ge=0, description="first N rows after the seeded shuffle (nested); 0 is all")
    validation_size: int = Field(default=0, ge=0)
    selection_size: int = Field(default=0, ge=0)
    test_size: int = Field(default=0, ge=0)
    duplicates: Literal["remove", "refuse"] = Field(
        default="remove", description="what to do with a training row that is also held out"
    )
    near_duplicate: float = Field(default=0.95, gt=0.5, le=1.0, description="similarity from which two rows are the same")
    split_seed: int = Field(
        default=0, ge=0, description="order of the rows; not the run's seed, so that seeds share their splits"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the task, e.g. the database of text_to_sql")

    @property
    def scored_by_llm(self) -> bool:
        """Whether an LLM scores the SLM's answers, by a rubric, in a stage of its own."""
        return is_scored_by_llm({"name": self.name, "options": self.options})


def is_scored_by_llm(task: Any) -> bool:
    """`TaskSettings.scored_by_llm` of a section as it is written."""
    options = task.get("options") if isinstance(task, Mapping) and task.get("name") == "custom" else None
    return isinstance(options, Mapping) and options.get("scorer") == "judge"


# Of optimizer steps. With the defaults the quickstart's 121 rows are 38 steps, after which 38.0 % of its test rows are answered
# right; `accumulate: 1` makes them 152, and 59.5 % (one seed).
FEW_STEPS = 100
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")]


class TrainSettings(Section):
    """Fine-tuning, by LoRA or of all weights."""

    method: Literal["lora", "full"] = Field(
        default="lora",
        description="full: all weights, with 16 bytes of memory for each; the model is shipped as a whole. It wants a lower "
        "learning_rate, about 2e-5, and no rank, alpha or dropout",
    )
    rank: int = Field(default=16, ge=1, le=512)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1, description="paper")
    epochs: float = Field(default=5.0, gt=0, le=100, description="paper")
    learning_rate: float = Field(default=2e-4, gt=0, lt=1)
    micro_batch: int = Field(default=4, ge=1)
    accumulate: int = Field(default=4, ge=1, description="micro batches per optimizer step")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of the steps")
    clip: float = Field(default=1.0, gt=0)
    target_modules: Literal["all-linear"] | Annotated[tuple[ModuleName, ...], Field(min_length=1)] = Field(
        default="all-linear", description="linear layers that get an adapter, by name, e.g. [q_proj, v_proj]"
    )
    use_dora: bool = Field(
        default=False,
        description="DoRA, arXiv 2402.09353: directions and magnitudes apart; slower, and vLLM serves no such adapter",
    )
    use_rslora: bool = Field(
        default=False, description="scale adapters by alpha / sqrt(rank) in place of alpha / rank, arXiv 2312.03732"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="compute activations again in the backward pass: less memory, a third more time, same losses"
    )
    checkpoints: int = Field(default=5, ge=0, description="checkpoints per run, for resuming; 0 is none")

    def steps(self, rows: int) -> int:
        """Optimizer steps on so many rows."""
        return -(-round(self.epochs * rows) // (self.micro_batch * self.accumulate))

    @model_validator(mode="after")
    def _adapters_alone(self) -> "TrainSettings":
        for name in ("target_modules", "use_dora", "use_rslora"):
            if self.method == "full" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: is of adapters, and method: full trains none; leave it out")
        return self


class EvaluateSettings(Section):
    """Greedy generation and scoring."""

    engine: Literal["transformers", "vllm"] = Field(
        default="transformers", description="what answers here; vllm: vLLM on a GPU, where it is installed, with other rounding"
    )
    batch: int = Field(default=16, ge=1, description="rows generated at once")
    max_new_tokens: int = Field(default=0, ge=0, description="0: as the task says")
    collapse_share: float = Field(
        default=0.9, gt=0, le=1, description="one option above this share of predictions counts as collapse"
    )
    code_seconds: float = Field(default=3.0, gt=0, description="time limit of one sandboxed program")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class EmbeddingSettings(Section):
    """Sentence embeddings."""

    model: str = Field(default="sentence-transformers/all-mpnet-base-v2", description="paper")


EMBEDDED = "embedded"  # a base_url
# What an endpoint is sent without anybody's extra_body or headers, and where it comes from.
OWN_KEYS = {
    "model": "model",
    "messages": "the prompts",
    "temperature": "each stage's temperature",
    "seed": "what is asked",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "response_format": "what the stage reads",
    "reasoning_effort": "reasoning_effort",
    "stream": "how replies are read, whole",
    "n": "how replies are read, one a request",
}
OWN_HEADERS = {"authorization", "host", "content-type", "content-length", "content-encoding", "transfer-encoding", "connection"}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class LlmSettings(Section):
    """An endpoint that speaks the OpenAI API."""

    model: str
    base_url: str = Field(default="", description="empty: OpenAI's; `embedded`: llama.cpp's server as a child process")
    api_key_env: str = Field(default="OPENAI_API_KEY", description="name of the environment variable; never the key itself")
    api_key_secret: str = Field(default="", description="in Google Secret Manager: projects/P/secrets/S/versions/latest")
    concurrency: int = Field(default=8, ge=1, le=512)
    timeout_seconds: float = Field(default=120, gt=0)
    give_up_seconds: float = Field(default=300, gt=0, description="this long without a success opens the circuit breaker")
    max_tokens: int = Field(default=2048, ge=16, description="of one reply, with what the model thinks before it")
    reasoning_effort: str = Field(
        default="", description="how much the model is to think, in its server's words (low, high ...); empty: not sent"
    )
    extra_body: dict[str, JsonValue] = Field(
        default_factory=dict, description="more keys of each request, e.g. {chat_template_kwargs: {enable_thinking: false}}"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, repr=False, description="more headers of each request; they are kept with the settings: no secrets"
    )
    usd_per_million_input: float = Field(default=0, ge=0)
    usd_per_million_cached_input: float | None = Field(
        default=None, ge=0, description="of input that the endpoint had cached; not given: as other input"
    )
    usd_per_million_output: float = Field(default=0, ge=0)
    mode: Literal["chat", "batch"] = Field(
        default="chat", description="batch: by OpenAI's batch API; each step may then take hours, up to a day"
    )
    batch_discount: float = Field(default=0.5, ge=0, le=1, description="taken off all prices for what is asked in a batch")
    embedded_context: int = Field(default=4096, ge=512, description="context of the embedded server, tokens")

    @property
    def priced(self) -> bool:
        """Whether a price is set."""
        return self.usd_per_million_input + self.usd_per_million_output > 0

    @property
    def body_extras(self) -> dict[str, Any]:
        """What these settings add to a request's body: it changes what is answered."""
        return {**({"reasoning_effort": self.reasoning_effort} if self.reasoning_effort else {}), **self.extra_body}

    @field_validator("extra_body")
    @classmethod
    def _not_ours(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if ours := next((key for key in value if key in OWN_KEYS), ""):
            raise ValueError(f"{ours} is set already, from {OWN_KEYS[ours]}; take it out of extra_body")
        return {key: whole_numbers(part) for key, part in value.items()}

    @field_validator("headers", mode="before")
    @classmethod
    def _sendable(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("must be names and texts, e.g. {X-Title: my run}")
        for name, text in value.items():
            if not isinstance(name, str) or not _HEADER.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if name.lower() in OWN_HEADERS:
                raise ValueError(f"{name} is set already; take it out (a key goes into the variable that api_key_env names)")
            if not isinstance(text, str) or not (text.isascii() and text.isprintable()) or text != text.strip():
                raise ValueError(f"the value of {name} must be one line of ASCII text; put it in quotes")
        return value

    @model_validator(mode="after")
    def _batches_are_there(self) -> "LlmSettings":
        if self.mode == "batch" and self.base_url == EMBEDDED:
            raise ValueError("mode: batch needs an endpoint with the batch API; the embedded server has none, leave mode: chat")
        return self


def whole_numbers(value: Any) -> Any:
    """Kubeflow sends every number as a float, even inside an object: 3.0 is 3 again. Beyond 2**53 a float is not exact and stays.

    A server may refuse 20.0 for a 20, and it would be another key in the ledger.
    """
    if isinstance(value, dict):
        return {key: whole_numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [whole_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


class SlmEndpoint(LlmSettings):
    """A server with the SLM, asked in plain text and greedily. It answers for the untuned model; for adapters, see below."""

    adapter_folder: str = Field(
        default="",
        description="folder that vLLM's server sees at the same absolute path: adapters are put there and loaded by its "
        "/v1/load_lora_adapter; empty: adapters answer here",
    )

    @model_validator(mode="after")
    def _a_server_of_its_own(self) -> "SlmEndpoint":
        if self.base_url in ("", EMBEDDED):
            raise ValueError("base_url: give the URL of the server that has the SLM, e.g. http://127.0.0.1:8000/v1")
        if self.mode == "batch":
            raise ValueError("mode: batch is for teacher and judge; leave it out here")
        if self.max_tokens != LlmSettings.model_fields["max_tokens"].default:
            raise ValueError("max_tokens: answers are as long as evaluate.max_new_tokens says; leave it out here")
        if self.adapter_folder and not self.adapter_folder.startswith("/"):
            raise ValueError(
                f"adapter_folder: {self.adapter_folder} is no absolute path, by which two machines may see one folder"
            )
        return self


class SlmSettings(Section):
    """The small language model."""

    model: str = Field(description="directory, .gguf file, gs://, s3:// or minio:// URI, or hub id")
    max_length: int = Field(default=1024, ge=32, description="prompt and completion, tokens; longer rows are counted and dropped")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    quantization: Literal["none", "nf4"] = Field(
        default="none",
        description="nf4: weights of 4 bits by bitsandbytes, in training (QLoRA, arXiv 2305.14314) and in evaluation; needs CUDA",
    )
    thinking: bool = Field(
        default=False,
        description="whether its chat template lets it think before it answers, in training too; thoughts are never scored. "
        "They need room: evaluate.max_new_tokens",
    )
    endpoint: SlmEndpoint | None = Field(
        default=None, description="a server that has `model` answers for it in evaluation; trained is `model` itself, here"
    )


class AnalyzeSettings(Section):
    """From failures to strategies."""

    sample: int = Field(default=50, ge=1, description="validation errors analysed; paper")
    k_min: int = Field(default=2, ge=2, description="paper")
    k_max: int = Field(default=10, ge=2, description="paper")
    temperature: float = Field(default=0.0, ge=0, le=2, description="paper")
    redrafts: int = Field(default=2, ge=0, description="tries at a text that quotes validation data, before it is dropped")
    seeds: int = Field(default=20, ge=1, description="nearest training rows kept for each strategy")
    shuffle: bool = Field(default=False, description="failures change places between clusters, whose sizes stay: a control")
    detail: Literal["full", "brief"] = Field(
        default="full", description="how much the teacher says of a pattern and its strategy; brief: for a small teacher"
    )
    patterns_from: str = Field(
        default="",
        description="another run, whose patterns and strategies are taken, so that the teacher analyses nothing: its export "
        "place, its run directory or one of its states: path, gs://, s3:// or minio://",
    )

    @model_validator(mode="after")
    def _fitting(self) -> "AnalyzeSettings":
        if self.k_max < self.k_min:
            raise ValueError(f"k_max {self.k_max} is below k_min {self.k_min}")
        if self.shuffle and self.patterns_from:
            raise ValueError("shuffle moves failures between clusters, and with patterns_from there are none; leave one out")
        return self


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"there is no method '{name}'; there are {', '.join(METHODS)}")
    return name


MethodName = Annotated[str, AfterValidator(_known_method)]


class GenerateSettings(Section):
    """Synthetic data."""

    method: MethodName = Field(default="pada", description=f"what a teacher is asked for: {', '.join(METHODS)}")
    share: float = Field(default=0.5, gt=0, le=10, description="synthetic rows for each training row; paper")
    scope: Literal["total", "per_iteration"] = Field(default="total", description="what `share` applies to")
    pattern_share: float = Field(
        default=0.5, ge=0, le=1, description="the rest goes to training errors; at 0 no pattern is looked for, at 1 no error"
    )
    batch: int = Field(default=5, ge=1, le=50, description="rows per call")
    per_row: int = Field(
        default=1, ge=1, le=50, description="rows per call of a method that writes each from one training row; AugGPT's paper: 6"
    )
    regenerations: int = Field(default=3, ge=0, le=10, description="paper")
    refills: int = Field(default=0, ge=0, le=5, description="new batches for an exhausted one, with other seeds; paper: none")
    temperature: float = Field(default=0.7, ge=0, le=2, description="paper")
    seed_choice: Literal["nearest", "random"] = Field(default="nearest", description="paper: random")
    shots: int = Field(default=3, ge=1, le=10, description="training rows shown in a call")
    freedom: Literal["vary", "compose"] = Field(
        default="compose",
        description="vary: each row varies one shown, for small teachers; compose: new situations and kinds",
    )
    context: Context = Field(
        default="written",
        description="the text that a question is about (a passage, a document), for tasks that have one. written: by the "
        "teacher; kept: that of a training row, for which it writes another question and the answer",
    )
    order: Literal["", "question_first", "answer_first"] = Field(
        default="",
        description="answer_first: answers are written and run, then questions to them, two calls; empty: by task. A method "
        "that writes each row from another takes no order",
    )


class ControlSettings(Section):
    """Quality control."""

    threshold: float = Field(default=7.0, ge=1, le=10, description="mean of the judge's scores; paper")
    verdict: Literal["batch", "sample", "checks", "none"] = Field(
        default="sample",
        description="a batch is let in as one, by its mean scores, or each sample by its own; checks: no judge is asked, "
        "for want of one that can tell; none: leaks and repeated rows alone are refused, a control; paper: batch",
    )
    lowest: float = Field(
        default=5.0, ge=1, le=10, description="verdict sample: no score may be lower, so that 9, 2 and 10 do not make a 7"
    )
    temperature: float = Field(default=0.0, ge=0, le=2, description="paper")
    near_duplicate: float = Field(default=0.9, gt=0.5, le=1, description="similarity from which a sample is not new")
    ngram: int = Field(default=13, ge=3, description="words in common with a held-out row that make a leak")
    short_ngram: int = Field(default=8, ge=3, description="the same for texts shorter than `ngram` words")
    allow_judge: str = Field(default="", description="name of a model that may judge although it is also the teacher")
    solve: Literal["off", "once", "vote"] = Field(
        default="once",
        description="each sample is answered without its answer, once or by a vote; other answers reject it. With "
        "task.options.scorer: judge it is off, since two good answers need not be alike",
    )
    votes: int = Field(default=3, ge=2, le=15, description="answers that a vote asks for; more than half must agree")
    solve_shots: int = Field(default=3, ge=0, le=10, description="training rows most like the question that a solver is shown")
    solver: Agent = Field(default="judge", description="who solves samples without their answers")
    judge_checks: int = Field(
        default=4, ge=0, le=50, description="known-good batches, and as many known-bad ones, to measure the judge"
    )

    @field_validator("solve", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare off as false

    @property
    def asked(self) -> tuple[Role, ...]:
        """Whom quality control asks: no judge where checks alone decide, unless it solves."""
        solver: tuple[Role, ...] = (self.solver,) if self.solutions else ()
        judge: tuple[Role, ...] = ("judge",) if self.judges else ()
        return tuple(dict.fromkeys((*judge, *solver)))

    @property
    def solutions(self) -> int:
        """How often each sample is solved."""
        return {"off": 0, "once": 1, "vote": self.votes}[self.solve] if self.verdict != "none" else 0

    @property
    def judges(self) -> bool:
        """Whether a judge's scores decide."""
        return self.verdict in ("batch", "sample")


class ScoreSettings(Section):
    """How an LLM scores the SLM's answers, where task.options.scorer is judge."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    checks: int = Field(
        default=20, ge=0, le=500, description="training rows on which the scorer's own bias is measured, once a run; 0: it is not"
    )


class LoopSettings(Section):
    """When to stop and what to ship."""

    iterations: int = Field(default=3, ge=1, le=20)
    patience: int = Field(default=2, ge=1, description="iterations without a better selection score that end the loop")
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="level of the promotion test")


class Caps(Section):
    """Hard caps; 0 is no cap. A step that reaches one finishes with what it has and says so."""

    usd: float = Field(default=0, ge=0)
    calls: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)


CAPS = tuple(Caps.model_fields)
LlmStage = Literal["score_answers", "analyze_patterns", "generate_data", "control_quality"]


class BudgetSettings(Caps):
    """Caps of the whole run, and of each stage over the whole run."""

    stages: dict[LlmStage, Caps] = Field(default_factory=dict, description="by stage, e.g. {control_quality: {calls: 100}}")


def _room_to_think(slm: SlmSettings, evaluate: EvaluateSettings) -> None:
    if slm.thinking and not evaluate.max_new_tokens:
        raise ValueError(
            "slm.thinking needs evaluate.max_new_tokens, for thoughts and answer together, e.g. 2048: a task's own number is for "
            "the answer alone"
        )


class ScorerSettings(LlmSettings):
    """Who scores the SLM's answers. In a config also the word teacher or judge, which stands for that endpoint."""

    same_as: Literal["", "teacher", "judge"] = Field(
        default="", description="says by name that it is the teacher or the judge; else it must be another model"
    )

    def among(self, others: Iterable[LlmSettings]) -> bool:
        """Whether it is the same model at the same endpoint as one of the others."""
        return (self.model, self.base_url.rstrip("/")) in {(llm.model, llm.base_url.rstrip("/")) for llm in others}

    def check_own(self, others: dict[str, LlmSettings]) -> None:
        """Raises ValueError if it is one of the others and does not say so: a model favours what it wrote or let in."""
        for role, llm in others.items():
            if not self.same_as and self.among([llm]):
                raise ValueError(
                    f"scorer.model: '{self.model}' is the {role} too, and may favour what that wrote or let in; use another "
                    f"model, or say so by name: `scorer: {role}`"
                )


def _open_ended(values: Any) -> Any:
    """Settings as they are written, with what the scorer's word stands for, and blind solving off where an LLM scores answers."""
    if not isinstance(values, dict):
        return values
    if (word := values.get("scorer")) in ("teacher", "judge") and isinstance(named := values.get(word), dict | LlmSettings):
        section = named.model_dump() if isinstance(named, LlmSettings) else named
        values = {**values, "scorer": {**section, "same_as": word}}
    control = values.get("control", {})
    if is_scored_by_llm(values.get("task")) and isinstance(control, dict) and "solve" not in control:
        return {**values, "control": {**control, "solve": "off"}}
    return values


def _check_solving(task: TaskSettings, control: ControlSettings) -> None:
    if task.scored_by_llm and control.solutions:
        raise ValueError(
            f"control.solve: is {control.solve}, but where task.options.scorer is judge two good answers need not be alike; set "
            "it to off"
        )


def _is_scored(task: TaskSettings, scorer: ScorerSettings | None) -> None:
    if task.scored_by_llm and scorer is None:
        raise ValueError(
            "scorer: missing; task.options.scorer is judge: say which model scores answers, with model and base_url as for the "
            "judge, or give the word judge or teacher"
        )
    if scorer is not None and not task.scored_by_llm:
        raise ValueError("scorer: belongs to task.options.scorer: judge of the task custom; leave it out")


class Settings(Section):
    """A whole run."""

    task: TaskSettings
    slm: SlmSettings
    teacher: LlmSettings
    judge: LlmSettings
    scorer: ScorerSettings | None = Field(
        default=None,
        description="who scores the SLM's answers where task.options.scorer is judge; the word teacher or judge: that endpoint",
    )
    score: ScoreSettings = ScoreSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    analyze: AnalyzeSettings = AnalyzeSettings()
    generate: GenerateSettings = GenerateSettings()
    control: ControlSettings = ControlSettings()
    loop: LoopSettings = LoopSettings()
    budget: BudgetSettings = BudgetSettings()
    prompts: str = Field(
        default="",
        description="folder of prompts in place of the package's of the same names: path, gs://, s3:// or minio://; empty: none",
    )
    step_matched: bool = Field(default=True, description="also train vanilla for as many steps as the last adapter had")
    seed: int = Field(default=0, ge=0)
    earlier: str = Field(
        default="",
        description="an earlier run, named as in analyze.patterns_from: the report says what became of its patterns",
    )

    @property
    def llms(self) -> dict[Role, LlmSettings]:
        """All that may be asked, by role; not a scorer that is one of the others."""
        own: dict[Role, LlmSettings] = {"teacher": self.teacher, "judge": self.judge}
        return own | ({"scorer": self.scorer} if self.scorer and not self.scorer.among(own.values()) else {})

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, values: Any) -> Any:
        return _open_ended(values)

    @field_validator("scorer", mode="before")
    @classmethod
    def _a_word_we_know(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("give a model with its base_url, as for the judge, or the word teacher or judge")
        return value

    @model_validator(mode="after")
    def _scorer_fits(self) -> "Settings":
        _is_scored(self.task, self.scorer)
        if self.scorer:
            self.scorer.check_own({"teacher": self.teacher, "judge": self.judge})
        _check_solving(self.task, self.control)
        return self

    @model_validator(mode="after")
    def _student_fits(self) -> "Settings":
        _room_to_think(self.slm, self.evaluate)
        served = "slm.endpoint.adapter_folder" if self.slm.endpoint and self.slm.endpoint.adapter_folder else ""
        on_vllm = "evaluate.engine: vllm" if self.evaluate.engine == "vllm" else served
        check_whole(self.train, self.slm)
        if on_vllm and self.train.use_dora:
            raise ValueError(f"train.use_dora: vLLM serves no such adapter; leave it out, or {on_vllm}")
        if self.evaluate.engine == "vllm" and self.slm.quantization != "none":
            raise ValueError(
                f"slm.quantization: {self.slm.quantization} is rounded otherwise by vLLM; leave it out, or {on_vllm}"
            )
        if self.evaluate.engine == "vllm" and self.slm.device == "cpu":
            raise ValueError("slm.device: cpu, but evaluate.engine: vllm needs a GPU; leave one of them out")
        return self


class PrepareData(Section):
    """Settings of prepare_data."""

    task: TaskSettings
    control: ControlSettings
    loop: LoopSettings = LoopSettings()
    prompts: str = ""


def check_whole(train: TrainSettings, slm: SlmSettings) -> None:
    """Raises ValueError where all weights are to be trained and cannot be."""
    if train.method == "full" and slm.quantization != "none":
        raise ValueError(
            f"slm.quantization: weights of {slm.quantization} cannot be trained; leave it out, or train.method: full"
        )
    if train.method == "full" and slm.endpoint and slm.endpoint.adapter_folder:
        raise ValueError("slm.endpoint.adapter_folder: train.method: full makes no adapters to be loaded; leave one of them out")


class TrainLora(Section):
    """Settings of train_lora."""

    task: TaskSettings
    slm: SlmSettings
    train: TrainSettings
    seed: int = 0

    @model_validator(mode="after")
    def _trainable(self) -> "TrainLora":
        check_whole(self.train, self.slm)
        return self


class EvaluateSlm(Section):
    """Settings of evaluate_slm."""

    task: TaskSettings
    slm: SlmSettings
    evaluate: EvaluateSettings
    seed: int = 0

    @model_validator(mode="after")
    def _fitting(self) -> "EvaluateSlm":
        _room_to_think(self.slm, self.evaluate)
        return self


class ScoreAnswers(Section):
    """Settings of score_answers."""

    task: TaskSettings
    scorer: ScorerSettings | None = None
    score: ScoreSettings = ScoreSettings()
    evaluate: EvaluateSettings
    budget: BudgetSettings
    seed: int = 0


class PlannedFor(Section):
    """What the analysis must know of `generate`. No more: a plan that a person has edited outlives other changes there."""

    method: MethodName = GenerateSettings.model_fields["method"].default
    patterns: bool = Field(default=True, description="whether any row is written against a pattern")

    @staticmethod
    def values(generate: dict[str, Any]) -> dict[str, Any]:
        """Its values in those of the whole section `generate`."""
        return {"method": generate["method"], "patterns": generate["pattern_share"] > 0}

    @model_validator(mode="before")
    @classmethod
    def _narrowed(cls, value: Any) -> Any:
        return cls.values(value) if isinstance(value, dict) and value.keys() >= GenerateSettings.model_fields.keys() else value


class AnalyzePatterns(Section):
    """Settings of analyze_patterns."""

    task: TaskSettings
    teacher: LlmSettings
    embedding: EmbeddingSettings
    analyze: AnalyzeSettings
    generate: PlannedFor = PlannedFor()
    budget: BudgetSettings
    seed: int = 0


class GenerateData(Section):
    """Settings of generate_data."""

    task: TaskSettings
    slm: SlmSettings
    teacher: LlmSettings
    generate: GenerateSettings
    loop: LoopSettings
    budget: BudgetSettings
    seed: int = 0


class ControlQuality(Section):
    """Settings of control_quality."""

    task: TaskSettings
    teacher: LlmSettings
    judge: LlmSettings
    generate: GenerateSettings
    control: ControlSettings
    budget: BudgetSettings
    seed: int = 0

    @model_validator(mode="after")
    def _solvable(self) -> "ControlQuality":
        _check_solving(self.task, self.control)
        return self


class UpdateState(Section):
    """Settings of update_state."""

    task: TaskSettings
    slm: SlmSettings
    teacher: LlmSettings
    judge: LlmSettings
    scorer: ScorerSettings | None = None
    score: ScoreSettings = ScoreSettings()
    evaluate: EvaluateSettings
    analyze: AnalyzeSettings = AnalyzeSettings()
    generate: GenerateSettings
    control: ControlSettings
    loop: LoopSettings
    budget: BudgetSettings
    step_matched: bool = True
    seed: int = 0
    earlier: str = ""
