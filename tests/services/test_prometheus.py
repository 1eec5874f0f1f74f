"""A real Prometheus scrapes the exporter of a real daemon; its own tools check rules and metrics."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mqtt_broker import free_port
from processes import Daemon, Process

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "docs" / "grafana"

#: A night of one camera: first well, then silent, then on the stand-in.
RULES = """
rule_files: [{rules}]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - series: 'gnetsegd_up{{camera="door", instance="pi"}}'
        values: '1x20 0x40'
      - series: 'gnetsegd_fallback{{camera="door", instance="pi"}}'
        values: '0x20 1x60'
      - series: 'gnetsegd_masks_per_second{{camera="door", instance="pi"}}'
        values: '30x10 10x60'
      - series: 'gnetsegd_nominal_masks_per_second{{camera="door", instance="pi"}}'
        values: '30x80'
      - series: 'gnetsegd_watched{{camera="door", instance="pi"}}'
        values: '1x80'
      - series: 'gnetsegd_state{{camera="door", instance="pi", state="running"}}'
        values: '1x80'
    alert_rule_test:
      - eval_time: 4m
        alertname: GnetsegdDown
        exp_alerts: []
      - eval_time: 8m
        alertname: GnetsegdDown
        exp_alerts:
          - exp_labels: {{severity: critical, camera: door, instance: pi}}
            exp_annotations:
              summary: "Camera door: the daemon is silent"
              description: "systemctl status gnetsegd on pi"
      - eval_time: 12m
        alertname: GnetsegdFallback
        exp_alerts:
          - exp_labels: {{severity: warning, camera: door, instance: pi}}
            exp_annotations:
              summary: "Camera door: the stand-in serves in place of the accelerator"
      - eval_time: 10m
        alertname: GnetsegdSlow
        exp_alerts:
          - exp_labels: {{severity: warning, camera: door, instance: pi}}
            exp_annotations:
              summary: "Camera door: 10 masks a second, fewer than the camera's pictures"
"""


def promtool(*words: str, text: str = "") -> str:
    done = subprocess.run(
        ["/usr/bin/promtool", *words], input=text, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_alert_rules_are_rules_and_ring_when_they_should(tmp_path: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", str(GRAFANA / "alerts.yml"))
    file = tmp_path / "rules_test.yml"
    file.write_text(RULES.format(rules=GRAFANA / "alerts.yml"))
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_prometheus_scrapes_it_and_every_query_of_the_dashboard_is_answered(
    start: Callable[..., Process], daemon: Daemon, tmp_path: Path
) -> None:
    port, exporter_port = free_port(), free_port()
    exporter = start(
        sys.executable, "-m", "gnetsegd.ctl.main", "exporter", "--masks", "--port", str(exporter_port),
        "--endpoint", daemon.endpoint, "--zones", str(tmp_path / "zones"),
    )  # fmt: skip
    exporter.wait_for("metrics: ")
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{GRAFANA / 'alerts.yml'}]\n"
        "scrape_configs:\n  - job_name: gnetsegd\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{exporter_port}']}}]\n"
    )
    promtool("check", "config", str(config))
    start(
        "/usr/bin/prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ).wait_for("Server is ready")  # fmt: skip

    def ask(expression: str) -> list[Any]:
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=20) as answer:
            body = json.load(answer)
        assert body["status"] == "success"
        return list(body["data"]["result"])

    def wait_for(expression: str, timeout_s: float = 30.0) -> list[Any]:
        deadline = time.monotonic() + timeout_s
        while not (found := ask(expression)):
            assert time.monotonic() < deadline, f"no answer to {expression}"
            time.sleep(0.2)
        return found

    found = wait_for('rate(gnetsegd_masks_total{camera="cam0"}[10s]) > 5')
    assert found[0]["metric"]["job"] == "gnetsegd"
    assert wait_for('gnetsegd_zone_person_ratio{zone="picture"} > 0.1')
    assert wait_for("histogram_quantile(0.5, rate(gnetsegd_mask_latency_seconds_bucket[10s])) < 1")
    shown = json.loads((GRAFANA / "gnetsegd.json").read_text())
    for panel in shown["panels"]:
        for target in panel["targets"]:
            ask(target["expr"].replace("$camera", ".*"))
    with urllib.request.urlopen(f"http://127.0.0.1:{exporter_port}/metrics", timeout=20) as answer:
        promtool("check", "metrics", text=answer.read().decode())
    daemon.process.kill()
    wait_for("gnetsegd_up == 0", timeout_s=10)
    wait_for('ALERTS{alertname="GnetsegdDown", alertstate="pending"}', timeout_s=10)
    assert not ask("gnetsegd_masks_per_second"), "what a dead daemon said is not true any more"
