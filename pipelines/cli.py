"""The command line. Each command reads settings and calls one function."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from pada_agent.components.backends.progress import quiet_libraries
from pada_agent.components.backends.signals import STOPPED, ending_in_order
from pada_agent.components.backends.threads import wait_briefly
from pada_agent.components.core.errors import InputError, PadaError
from pada_agent.components.core.quality.chain import links
from pada_agent.components.core.settings import GenerateSettings
from pada_agent.pipelines.config import read_config

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Config = Annotated[Path, typer.Option("--config", help="YAML file; see pipelines/quickstart/config.yaml")]
RunDir = Annotated[
    str,
    typer.Option("--run-dir", help="where everything goes, perhaps gs://, s3:// or minio://; default: runs/<name of the config>"),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="in place of the config's")]
Host = Annotated[str, typer.Option("--host", help="kubernetes: URL of KFP's API or UI; default $KF_PIPELINES_ENDPOINT")]
TokenEnv = Annotated[
    str,
    typer.Option("--token-env", "--existing-token", help="kubernetes: name of the variable that holds a token, never the token"),
]
CaCert = Annotated[str, typer.Option("--ca-cert", help="kubernetes: file of the authority that signed the host's certificate")]
WorkUri = Annotated[str, typer.Option("--work-uri", help="gs://, s3:// or minio:// folder for ledger and checkpoints")]
ExportUri = Annotated[str, typer.Option("--export-uri", help="gs://, s3:// or minio:// folder for the adapter to ship")]
ATTEMPTS = links(GenerateSettings())


@app.command()
def init(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="rows: a file, a folder, gs://, s3:// or owner/name#split on the hub")
    ],
    output: Annotated[Path | None, typer.Option("--output", help="config to write; default: <name of FILE>.yaml here")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="ask nothing, take what is proposed")] = False,
    validation: Annotated[str, typer.Option("--validation", help="rows of that split; default: some of FILE")] = "",
    selection: Annotated[str, typer.Option("--selection", help="the same")] = "",
    test: Annotated[str, typer.Option("--test", help="the same")] = "",
    prompt: Annotated[str, typer.Option("--prompt", help="column with the prompt, or a template with {column}s")] = "",
    answer: Annotated[str, typer.Option("--answer", help="column with the answer")] = "",
    choices: Annotated[str, typer.Option("--choices", help="column with the list of options")] = "",
    scorer: Annotated[str, typer.Option("--scorer", help="exact, multiple_choice, numeric ...")] = "",
    group: Annotated[str, typer.Option("--group", help="column whose values tie rows together")] = "",
    description: Annotated[str, typer.Option("--description", help="what is asked, for the teacher")] = "",
    slm: Annotated[str, typer.Option("--slm", help="the small model to tune")] = "",
    teacher: Annotated[str, typer.Option("--teacher", help="the teacher's model")] = "",
    teacher_url: Annotated[str, typer.Option("--teacher-url", help="its address; default: a small model on this machine")] = "",
    judge: Annotated[str, typer.Option("--judge", help="the judge's model")] = "",
    judge_url: Annotated[str, typer.Option("--judge-url", help="its address; default: the teacher's")] = "",
) -> None:
    """Look at a file with rows, divide it into splits, and write a config that runs."""
    from pada_agent.pipelines.init.config_text import Models
    from pada_agent.pipelines.init.init import Wanted, write_config

    if not yes and not sys.stdin.isatty():
        raise InputError("there is no terminal to ask at; say --yes to take what is proposed")
    given = {"prompt": prompt, "answer": answer, "choices": choices, "scorer": scorer, "group": group, "description": description}
    name = Path(file.partition("#")[0].rstrip("/")).name.partition(".")[0] or "config"
    wanted = Wanted(
        file,
        output or Path(f"{name}.yaml"),
        {"validation": validation, "selection": selection, "test": test},
        given,
        Models(slm, teacher, teacher_url, judge, judge_url),
    )

    def ask(question: str, proposed: str) -> str:
        return proposed if yes else str(typer.prompt(question, proposed))

    write_config(wanted, ask, typer.echo)


@app.command()
def run(
    config: Config,
    run_dir: RunDir = "",
    until: Annotated[str, typer.Option("--until", help="prepare, train, evaluate, analyze, generate, or a task's name")] = "",
    seed: Seed = None,
) -> None:
    """Run the whole loop here, or resume one that was stopped."""
    from pada_agent.pipelines.local import run as local
    from pada_agent.pipelines.local.log import RunLog
    from pada_agent.pipelines.local.outcome import show, show_stop

    settings = read_config(config, seed)
    folder = run_dir or str(default_run_dir(config, seed))
    with _says_how_to_go_on(["pada", "run", "--config", str(config), "--run-dir", folder]):
        log = RunLog()
        outcome = local.run(settings, folder, until, local.Parts(log=log))
    if "://" in folder:
        log.say(f"All of it is at {folder}")
    if outcome.stopped_at:
        show_stop(outcome.stopped_at, outcome.tasks[outcome.stopped_at].folder, log.console)
    elif outcome.state:
        show(outcome.state, outcome.run_dir, log.console)


@app.command()
def analyze(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="what lm-eval (--log_samples) or Inspect wrote, a file or their output folder; or JSONL with `output`"
        ),
    ],
    config: Annotated[Path, typer.Option("--config", help="YAML file with `task` and `teacher`; a run's will do")],
    out: Annotated[Path | None, typer.Option("--out", help="folder; default: runs/<name of the config>-analysis")] = None,
    seed: Seed = None,
) -> None:
    """Find the patterns behind a model's failures and draft strategies against them; no splits, no training."""
    from rich.console import Console

    from pada_agent.pipelines.alone.analysis import find_patterns
    from pada_agent.pipelines.alone.config import default_folder
    from pada_agent.pipelines.alone.show import show

    folder = out or default_folder(config)
    again = [] if seed is None else ["--seed", str(seed)]
    with _says_how_to_go_on(["pada", "analyze", str(predictions), "--config", str(config), "--out", str(folder), *again]):
        show(find_patterns(predictions, config, folder, seed), Console(highlight=False, soft_wrap=True))


@app.command()
def watch(
    place: Annotated[str, typer.Option("--work-uri", "--run-dir", help="of the run: its --work-uri, or its run directory")],
    run_id: Annotated[str, typer.Option("--run", help="id of the run; default: the one that told something last")] = "",
    once: Annotated[bool, typer.Option("--once", help="say what is known now, and end")] = False,
) -> None:
    """Say how far a run is until it ends, wherever it runs; exit code 0 only for one that ended well."""
    from pada_agent.pipelines.follow import follow

    if not follow(place, run_id, once):
        raise typer.Exit(1)


@app.command()
def estimate(config: Config, seed: Seed = None) -> None:
    """Say what a run, or a study, will ask of the LLMs, and what that costs at most, before anything is spent."""
    from pada_agent.pipelines.cost_table import show_estimate, show_training
    from pada_agent.pipelines.study.estimate import show_study_estimate
    from pada_agent.pipelines.study.study_file import is_study, read_study

    if is_study(config):
        show_study_estimate(read_study(config, () if seed is None else [seed]))
    else:
        settings = read_config(config, seed)
        show_estimate(settings)
        show_training(settings)


@app.command()
def prompts(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder to write them into; nothing is overwritten")],
) -> None:
    """Write the package's prompts into a folder, to be edited and named in the config as `prompts: DIR`."""
    from pada_agent.components.backends.artifacts.prompt_files import write_prompts

    if ":/" in str(folder):
        raise InputError(f"DIR {folder}: prompts are written to a local folder; upload it from there")
    for file in write_prompts(folder):
        typer.echo(str(file))


@app.command()
def report(run_dir: Annotated[str, typer.Option("--run-dir", help="directory of a run that was started")]) -> None:
    """Write report.html and report.json of a run again."""
    from pada_agent.pipelines.local.outcome import last_state, publish
    from pada_agent.pipelines.local.remote_run import open_run

    directory = open_run(run_dir)
    with directory.brought() as folder:
        publish(last_state(folder), folder)
        directory.keep_report()
    typer.echo(f"{folder / 'report.html'}\n{folder / 'report.json'}")


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Option("--config", help="also check what this run needs")] = None,
    target: Annotated[Literal["local", "kubernetes"], typer.Option("--target", help="where the run will be")] = "local",
    namespace: Annotated[str, typer.Option("--namespace", help="kubernetes: where the tasks' pods run")] = "pada-agent",
    kubeconfig: Annotated[str, typer.Option("--kubeconfig", help="kubernetes: file; default as kubectl's")] = "",
    context: Annotated[str, typer.Option("--context", help="kubernetes: context in the kubeconfig")] = "",
    host: Host = "",
    token_env: TokenEnv = "",
    ca_cert: CaCert = "",
    work_uri: WorkUri = "",
    export_uri: ExportUri = "",
    package: Annotated[
        Path | None, typer.Option("--package", help="kubernetes: of `pada compile`; default: the one that is shipped")
    ] = None,
) -> None:
    """Check that this machine, or a cluster, has what a run needs; say the command that mends what is missing."""
    settings = read_config(config) if config else None
    if target == "local":
        from pada_agent.pipelines.doctor import examine
        from pada_agent.pipelines.kubeflow.run_order import check_options

        given = {"kubeconfig": kubeconfig, "context": context, "host": host, "token_env": token_env, "ca_cert": ca_cert}
        check_options(target, {**given, "work_uri": work_uri, "export_uri": export_uri, "package": package})
        well = examine(settings)
    else:
        from pada_agent.pipelines.kubeflow.cluster.doctor import ClusterTarget, examine_cluster

        uris = {"--work-uri": work_uri, "--export-uri": export_uri}
        well = examine_cluster(settings, ClusterTarget(namespace, kubeconfig, context, host, token_env, ca_cert, uris, package))
    if not well:
        raise typer.Exit(1)


@app.command()
def submit(
    target: Annotated[Literal["kubernetes", "vertex"], typer.Option("--target", help="where to run")],
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file; its data must be in a store, on the hub or on a volume")
    ] = None,
    package: Annotated[Path | None, typer.Option("--package", help="of `pada compile`; default: the one that is shipped")] = None,
    work_uri: WorkUri = "",
    export_uri: ExportUri = "",
    values: Annotated[list[str] | None, typer.Option("--set", help="name=value of another parameter; may be repeated")] = None,
    run_name: Annotated[str, typer.Option("--run-name", help="shown in the list of runs")] = "",
    caching: Annotated[bool, typer.Option("--cache/--no-cache", help="reuse results of tasks with the same inputs")] = True,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="stay until the run ends; exit code 0 only for success")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="wait at most this many minutes; 0 is no limit")] = 0,
    reruns: Annotated[int, typer.Option("--rerun", min=0, help="wait, and start a run that failed again, at most so often")] = 0,
    print_parameters: Annotated[
        bool, typer.Option("--print-parameters", help="print the run's parameters as JSON and send nothing; see above")
    ] = False,
    pipeline_root: Annotated[str, typer.Option("--pipeline-root", help="where artifacts go; vertex: gs://bucket/folder")] = "",
    service_account: Annotated[str | None, typer.Option("--service-account", help="default, kubernetes: the package's")] = None,
    host: Host = "",
    token_env: TokenEnv = "",
    ca_cert: CaCert = "",
    namespace: Annotated[str, typer.Option("--namespace", help="kubernetes: multi-user; default pada-agent")] = "",
    experiment: Annotated[str, typer.Option("--experiment", help="kubernetes: default pada-agent")] = "",
    upload_only: Annotated[str, typer.Option("--upload-only", help="kubernetes: upload as this version, run nothing")] = "",
    parameter_bytes: Annotated[
        int, typer.Option("--parameter-bytes", help="kubernetes: the server's MAX_PARAMETER_BYTES")
    ] = 10_000,
    project: Annotated[str, typer.Option("--project", help="vertex: project id; default that of the credentials")] = "",
    location: Annotated[str, typer.Option("--location", help="vertex: region, e.g. us-central1")] = "",
    job_id: Annotated[str, typer.Option("--job-id", help="vertex: id of the run")] = "",
    labels: Annotated[str, typer.Option("--labels", help="vertex: name=value,name=value")] = "",
    api_endpoint: Annotated[str, typer.Option("--api-endpoint", help="vertex: address of a private endpoint")] = "",
) -> None:
    """Start a run on Kubeflow Pipelines or Vertex AI, with the config as its parameters.

    --print-parameters is for runs that something else starts. In the form of KFP's UI each value goes into the field of its
    name, `settings` into its JSON editor; KFP's and Vertex's API take all of it. pipelines/README.md has the commands.
    """
    from pada_agent.pipelines.kubeflow import submit as to
    from pada_agent.pipelines.kubeflow.run_order import check_options
    from pada_agent.pipelines.kubeflow.watch import Patience

    uris = {"work_uri": work_uri, "export_uri": export_uri}
    patience = Patience(60 * timeout) if wait or timeout or reruns else None
    request = to.Request(config, package, uris, values or (), run_name, caching, parameter_bytes, patience, reruns)
    kubernetes = {"host": host, "namespace": namespace, "experiment": experiment, "token_env": token_env, "ca_cert": ca_cert}
    vertex = {"project": project, "location": location, "job_id": job_id, "labels": labels, "api_endpoint": api_endpoint}
    shared = {"pipeline_root": pipeline_root, **({} if service_account is None else {"service_account": service_account})}
    check_options(target, vertex if target == "kubernetes" else {**kubernetes, "upload_only": upload_only})
    if print_parameters:
        if upload_only:
            raise InputError("--print-parameters: sends nothing; leave --upload-only out")
        well = to.print_parameters(request, target)
    elif target == "vertex":
        well = to.submit_to_vertex(request, to.Project(**vertex, **shared))
    else:
        cluster = to.Cluster(**{name: value for name, value in kubernetes.items() if value}, **shared)
        well = (
            to.upload_to_kubernetes(request, cluster, upload_only) if upload_only else to.submit_to_kubernetes(request, cluster)
        )
    if not well:
        raise typer.Exit(1)


@app.command()
def export(
    export_uri: Annotated[
        str, typer.Option("--export-uri", help="where the adapter to ship is: gs://, s3://, minio:// or a path")
    ] = "",
    run_dir: Annotated[str, typer.Option("--run-dir", help="first export there what this run of one machine ships")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="local folder for the model with its card, tokenizer and template, or for --data")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="out: the full model too")] = False,
    gguf: Annotated[str, typer.Option("--gguf", help="out: for llama.cpp too, in these types, e.g. q8_0,q4_k_m")] = "",
    least_equal: Annotated[
        float | None,
        typer.Option("--least-equal", min=0, max=1, help="merge, gguf: share of answers that must be the adapter's own"),
    ] = None,
    data: Annotated[
        Literal["", "chat", "alpaca", "parquet", "preference"],
        typer.Option("--data", help="out: in place of the model, the rows, or right beside wrong answers for DPO"),
    ] = "",
    push: Annotated[str, typer.Option("--push", metavar="OWNER/NAME", help="out: put it on the model hub, with $HF_TOKEN")] = "",
    public: Annotated[bool, typer.Option("--public", help="push: for everybody to see; default: private")] = False,
    kserve: Annotated[
        Path | None, typer.Option("--kserve", help="write an InferenceService that serves it with vLLM into this file")
    ] = None,
    model_registry: Annotated[str, typer.Option("--model-registry", help="URL of a Model Registry to register it in")] = "",
    name: Annotated[str, typer.Option("--name", help="of the service and the model; default: pada-<task>")] = "",
    namespace: Annotated[str, typer.Option("--namespace", help="kserve: default, whatever kubectl is told")] = "",
    service_account: Annotated[str, typer.Option("--service-account", help="kserve: that may read the store")] = "",
    gpus: Annotated[int, typer.Option("--gpus", min=0, help="kserve: of nvidia.com/gpu")] = 1,
    base_model: Annotated[
        str, typer.Option("--base-model", help="kserve: hub id, gs:// or s3://; default: the one that the adapter was trained on")
    ] = "",
    token_env: Annotated[
        str, typer.Option("--token-env", help="model registry: name of the variable that holds a token, never the token")
    ] = "",
    ca_cert: Annotated[
        str, typer.Option("--ca-cert", help="model registry: file of the authority that signed its certificate")
    ] = "",
) -> None:
    """Take on what a run ships: as a folder, on the hub, merged, for llama.cpp, with KServe, in Kubeflow's Model Registry.

    With --data: its rows, each with where it came from.
    """
    from pada_agent.pipelines.export.order import Order, carry_out
    from pada_agent.pipelines.kubeflow.handover.export import Wanted, take_on
    from pada_agent.pipelines.local.hand_over import hand_over

    carry_out(Order(export_uri, run_dir, out, merge, gguf, least_equal, data, push, public, name), typer.echo)
    if run_dir and export_uri:
        hand_over(run_dir, export_uri)
    wanted = Wanted(kserve, model_registry, name, namespace, service_account, gpus, base_model, token_env, ca_cert)
    if export_uri:
        take_on(export_uri, wanted, typer.echo)
    elif kserve or model_registry:
        raise InputError("--kserve and --model-registry: take on what lies at --export-uri; give that too")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="run directories, export places or states")],
    confidence: Annotated[float, typer.Option("--confidence", min=0.5, max=0.999, help="of the intervals")] = 0.95,
) -> None:
    """Compare what runs ship, row by row on the test rows that they share: paired tests, each run against the first."""
    from rich.console import Console

    from pada_agent.pipelines.compare import show_compared

    show_compared(runs, confidence, Console())


@app.command()
def track(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a run directory, an export place or a state")],
    mlflow: Annotated[str, typer.Option("--mlflow", help="tracking URI: http(s)://, sqlite:/// or a folder")],
    experiment: Annotated[str, typer.Option("--experiment", help="of MLflow")] = "pada-agent",
) -> None:
    """Write a run into MLflow: settings, metrics by iteration, report. Doing it again brings the same MLflow run up to date."""
    from pada_agent.pipelines.tracking import track_in_mlflow

    typer.echo(track_in_mlflow(run, mlflow, experiment))


@app.command()
def study(
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of a study or of a run; pipelines/study/README.md")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder for the runs, study.json and the tables")] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="e.g. 0,1,2; in place of the file's")] = "",
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="runs at a time; in place of the file's")] = 0,
    tables: Annotated[
        list[Path] | None,
        typer.Option(
            "--tables", help="a study.json: make its tables again, run nothing; of several, other seeds each, those of all"
        ),
    ] = None,
) -> None:
    """Compare methods over tasks, training sizes and seeds, or go on with it; of a run's config: PaDA over seeds."""
    from pada_agent.pipelines.local.log import RunLog
    from pada_agent.pipelines.study.run import conduct, parse_seeds, tables_of
    from pada_agent.pipelines.study.study_file import read_study

    if ":/" in str(out):
        raise InputError(f"--out {out}: a study is written to a local folder")
    if tables:
        typer.echo(tables_of(tables, out))
        return
    if config is None or out is None:
        raise InputError("a study needs --config and --out, or --tables with the study.json of one")
    chosen = [*(["--seeds", seeds] if seeds else []), *(["--jobs", str(jobs)] if jobs else [])]
    plan = read_study(config, parse_seeds(seeds) if seeds else (), jobs)
    with _says_how_to_go_on(["pada", "study", "--config", str(config), *chosen, "--out", str(out)]):
        conduct(plan, out.resolve(), say=RunLog().say)


@app.command("compile")
def compile_package(
    target: Annotated[str, typer.Option("--target", help="kubernetes or vertex")],
    pipeline: Annotated[Literal["loop", "study"], typer.Option("--pipeline", help="of one run, or of a whole study")] = "loop",
    config: Annotated[Path | None, typer.Option("--config", help="study: its YAML file; pipelines/study/README.md")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="default: improvement_loop.<target>.yaml or study.<target>.yaml here")
    ] = None,
    max_iterations: Annotated[int, typer.Option("--max-iterations", min=1, help="iterations there is room for")] = 3,
    attempts: Annotated[int, typer.Option("--attempts", min=1, help="generate/control pairs: 1 + regenerations")] = ATTEMPTS,
    score_answers: Annotated[
        bool, typer.Option("--score-answers", help="for `scorer: judge`: an LLM scores the answers, in tasks of its own")
    ] = False,
    placement: Annotated[Path | None, typer.Option("--placement", help="YAML file; see pipelines/placements")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="file that `make push` wrote: pins the images")] = None,
    registry: Annotated[str, typer.Option("--registry", help="where the images are, e.g. registry.example/team")] = "",
    tag: Annotated[str, typer.Option("--tag", help="tag of the images; default: this release")] = "",
    components: Annotated[
        Path | None, typer.Option("--components", help="folder for each component.yaml too, with these images")
    ] = None,
) -> None:
    """Write the loop, or a study, as a package for Kubeflow Pipelines or Vertex AI Pipelines."""
    from pada_agent.pipelines.kubeflow.compile import place_for, write_components, write_package
    from pada_agent.pipelines.kubeflow.pipeline import Shape
    from pada_agent.pipelines.kubeflow.placement_file import read_placement
    from pada_agent.pipelines.study.cluster.package import write_package as write_study
    from pada_agent.pipelines.study.study_file import read_study

    said = read_placement(placement, images, registry, tag)
    file = output or Path(f"{'study' if pipeline == 'study' else 'improvement_loop'}.{target}.yaml")
    if pipeline == "study":
        if config is None:
            raise InputError("--config: missing; give the study's YAML file, see pipelines/study/README.md")
        write_study(read_study(config), place_for(target, said), file)
    elif config:
        raise InputError("--config: with --pipeline study; the loop's package takes the config of any run, at `pada submit`")
    else:
        write_package(Shape(max_iterations, attempts, score_answers), place_for(target, said), file)
    typer.echo(str(file))
    if components:
        for written in write_components(components, said):
            typer.echo(str(written))


def default_run_dir(config: Path, seed: int | None) -> Path:
    """`runs/` and the name of the config, or of its folder when the file is called config."""
    name = config.resolve().parent.name if config.stem == "config" else config.stem
    return Path("runs") / (name if seed is None else f"{name}-seed{seed}")


@contextmanager
def _says_how_to_go_on(command: list[str]) -> Iterator[None]:
    """SIGINT and SIGTERM end the run between two instructions; nothing finished is lost."""
    try:
        with ending_in_order():
            yield
    except SystemExit as e:
        if e.code in STOPPED:
            print(f"{STOPPED[int(e.code)]}; what is finished is kept. To resume: {shlex.join(command)}", file=sys.stderr)
        raise


def main() -> None:
    """Entry point. What the user can mend is one line; anything else is a bug and keeps its traceback."""
    quiet_libraries()
    wait_briefly()
    try:
        app()
    except PadaError as e:
        sys.exit(f"pada: {e}")


if __name__ == "__main__":
    main()
