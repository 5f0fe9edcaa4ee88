"""The files against a running server: flags, probes, the health check, and every metric that something looks at.

The program as the first argument, the folder `deploy` as the second.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import promql_parser
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

LEMMY, DEPLOY = sys.argv[1], pathlib.Path(sys.argv[2])
MANIFESTS = DEPLOY / "kubernetes"
problems = []


def holds(what, condition, found):
    if condition:
        print(f"ok     {what}")
    else:
        problems.append(f"{what}: found {found!r}")


def manifest(path):
    return yaml.safe_load((MANIFESTS / path).read_text())


class Server:
    """Lemmy Nano with the flags of the deployment."""

    def __init__(self):
        (container,) = manifest("base/deployment.yaml")["spec"]["template"]["spec"]["containers"]
        flags = [flag for flag in container["args"] if flag.startswith("--") and not flag.startswith("--ctx-size")]
        # As the image sets it, but for the port.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LEMMY_")}
        environment |= {"LEMMY_HOST": "127.0.0.1", "LEMMY_PORT": "0"}
        command = [LEMMY, "serve", "--ctx-size=4096", *flags]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.startswith("ready on "):
                self.url = line.split()[-1]
                return
        raise SystemExit(f"the server did not start with the flags of the deployment: {command}")

    def get(self, path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def health_check(server):
    """The HEALTHCHECK of the image, as it stands there."""
    (line,) = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("HEALTHCHECK")]
    command = json.loads(line[line.index("["):])
    environment = {**os.environ, "LEMMY_PORT": server.url.rsplit(":", 1)[1]}
    holds("HEALTHCHECK of a healthy server", subprocess.run(command, env=environment).returncode == 0, command)
    nobody = subprocess.run(command, env={**environment, "LEMMY_PORT": "1"}, stderr=subprocess.DEVNULL)
    holds("HEALTHCHECK of none", nobody.returncode != 0, command)


def expressions():
    """All PromQL in the files, with where it stands."""
    dashboard = json.loads((MANIFESTS / "monitoring/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"].replace("$__rate_interval", "1m").replace("$job", "lemmy")
    for group in manifest("monitoring/rules.yaml")["spec"]["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    for trigger in manifest("autoscale-keda/scaledobject.yaml")["spec"]["triggers"]:
        yield f"trigger {trigger['name']}", trigger["metadata"]["query"]
    for metric in manifest("autoscale-hpa/hpa.yaml")["spec"]["metrics"]:
        yield "autoscaler", metric["pods"]["metric"]["name"]


def selectors(expression):
    """The series that an expression names, with their labels."""
    for name, labels in re.findall(r"((?:lemmy|gen_ai|vllm)[a-z0-9_:]*)(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"([a-z_]+)\s*(?:=~|!=|!~|=)", labels)) - {"job"}


def metrics(server):
    server.get("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0})
    server.get("/v1/chat/completions", {"messages": []})
    status, text = server.get("/metrics")
    holds("/metrics", status == 200, status)
    series = {}
    for family in text_string_to_metric_families(text):
        if not family.documentation or family.type == "unknown":
            problems.append(f"{family.name} has no help or no type")
        for sample in family.samples:
            series.setdefault(sample.name, set()).update(sample.labels)
    # What the endpoint picker of the inference extension asks for.
    for name in ("vllm:num_requests_waiting", "vllm:num_requests_running", "vllm:kv_cache_usage_perc"):
        holds(name, name in series, sorted(series))
    for place, expression in expressions():
        try:
            promql_parser.parse(expression)
        except ValueError as error:
            problems.append(f"{place}: {expression}: {error}")
            continue
        found = list(selectors(expression))
        missing = [name for name, labels in found if name not in series or not labels <= series[name]]
        holds(f"{place} names what is there", found and not missing, missing or expression)


def main():
    text = (MANIFESTS / "monitoring/dashboard.json").read_text()
    dashboard = Dashboard.from_json(json.loads(text))
    holds("the dashboard is one", dashboard.title == "Lemmy" and len(dashboard.panels) > 8, dashboard.title)
    server = Server()
    try:
        for path in ("/livez", "/readyz"):
            status, _ = server.get(path, Host="10.0.0.7:8080")
            holds(f"{path}, as a node asks", status == 200, status)
        status, _ = server.get("/v1/models", Host="lemmy.example.com")
        holds("the gateway's name is served", status == 200, status)
        health_check(server)
        metrics(server)
        began = time.monotonic()
        server.process.terminate()
        code = server.process.wait(60)
        holds("SIGTERM is a stop in order", code == 0, (code, time.monotonic() - began))
    finally:
        server.process.kill()
    for problem in problems:
        print(f"FAILED {problem}")
    sys.exit(1 if problems else 0)


main()
