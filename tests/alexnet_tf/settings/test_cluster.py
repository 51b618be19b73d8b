"""Who trains together, and which of them this process is: from TF_CONFIG, from the config, from the machine's names."""

import json
import socket

import pytest

from alexnet_tf.program.errors import UserError
from alexnet_tf.settings.cluster import ALONE, Cluster, find_cluster
from alexnet_tf.settings.config import Config, parse_config

TWO = {"worker": ["hostA:2222", "hostB:2222"]}


def config(*overrides: str) -> Config:
    return parse_config("", "some.yaml", list(overrides))


@pytest.fixture
def tf_config(monkeypatch: pytest.MonkeyPatch):
    def give(text: object) -> None:
        monkeypatch.setenv("TF_CONFIG", text if isinstance(text, str) else json.dumps(text))

    return give


def test_alone() -> None:
    assert find_cluster(config())[1] is ALONE
    assert find_cluster(config("distribute.workers=['localhost:2222']"))[1] is ALONE


class TestTfConfig:
    def test_goes_before_the_config(self, tf_config) -> None:
        tf_config({"cluster": TWO, "task": {"type": "worker", "index": 1}})
        found, cluster = find_cluster(config("distribute.workers=['x:1', 'y:1']", "distribute.index=0"))
        assert cluster == Cluster(("hostA:2222", "hostB:2222"), 1)
        assert found.distribute.workers == cluster.workers and found.distribute.index is None

    def test_chief_is_the_first(self, tf_config) -> None:
        jobs = {"chief": ["hostA:1"], "worker": ["hostB:1", "hostC:1"]}
        tf_config({"cluster": jobs, "task": {"type": "chief", "index": 0}})
        assert find_cluster(config("data.batch_size=6"))[1] == Cluster(("hostA:1", "hostB:1", "hostC:1"), 0)
        tf_config({"cluster": jobs, "task": {"type": "worker", "index": 1}})
        assert find_cluster(config("data.batch_size=6"))[1].index == 2

    @pytest.mark.parametrize("given", [{}, {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}])
    def test_of_one_process(self, tf_config, given: dict) -> None:
        tf_config(given)
        found, cluster = find_cluster(config())
        assert cluster is ALONE and found == config()

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ("{", "TF_CONFIG cannot be read"),
            ("[]", "TF_CONFIG cannot be read"),
            ({"cluster": TWO, "task": {"type": "ps", "index": 0}}, "no task of type 'ps'"),
            (
                {"cluster": TWO, "task": {"type": "worker", "index": 2}},
                "index 2 is out of range: 2 workers have indices 0 and 1",
            ),
            ({"cluster": {"worker": ["a", "b:1"]}, "task": {}}, "'a' must read host:port"),
            ({"cluster": {"worker": ["a:1", "b:1", "c:1"]}, "task": {}}, "128 images cannot be shared equally by 3"),
        ],
    )
    def test_faults(self, tf_config, given: object, told: str) -> None:
        tf_config(given)
        with pytest.raises(UserError, match=r"TF_CONFIG") as fault:
            find_cluster(config())
        assert told in str(fault.value)


class TestOwnIndex:
    @pytest.mark.parametrize("own", [socket.gethostname(), "127.0.0.1", "localhost"])
    def test_by_name_or_address(self, own: str) -> None:
        # 198.51.100.0/24 is for documents: no machine has such an address.
        workers = f"distribute.workers=['198.51.100.1:2222', '{own}:2222', '198.51.100.2:2222']"
        assert find_cluster(config(workers, "data.batch_size=6"))[1].index == 1

    def test_as_set(self) -> None:
        both = "distribute.workers=['localhost:1', 'localhost:2']"
        assert find_cluster(config(both, "distribute.index=1"))[1].index == 1

    @pytest.mark.parametrize(
        ("workers", "told"),
        [
            ("['198.51.100.1:1', '198.51.100.2:1']", "none of 198.51.100.1:1, 198.51.100.2:1 is this machine"),
            ("['localhost:1', '127.0.0.1:2']", "2 workers are on this machine"),
        ],
    )
    def test_cannot_be_told(self, workers: str, told: str) -> None:
        with pytest.raises(UserError, match=r"distribute\.index") as fault:
            find_cluster(config(f"distribute.workers={workers}"))
        assert told in str(fault.value)


def test_workers_of_one_host() -> None:
    cluster = Cluster(("a:1", "b:1", "a:2", "b:2"), 2)
    assert cluster.on_this_host == [0, 2]
    assert cluster.name(3) == "worker 3 (b:2)"
