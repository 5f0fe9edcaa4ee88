"""Manifests as they would be applied, on stdin: schemas, and that one file agrees with another."""

import json
import pathlib
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
PACKAGED = ("gateway.networking.k8s.io/", "keda.sh/", "monitoring.coreos.com/")


def closed(required, **properties):
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


PORT = closed(["number"], number={"type": "integer", "minimum": 1, "maximum": 65535})
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
# The inference extension publishes no package of schemas; these are its fields as far as they are used here.
EXTENSION = {
    "InferencePool": closed(
        ["selector", "targetPorts", "endpointPickerRef"],
        selector=closed(["matchLabels"], matchLabels={"type": "object", "additionalProperties": {"type": "string"}}),
        targetPorts={"type": "array", "items": PORT, "minItems": 1, "maxItems": 8},
        endpointPickerRef=closed(
            ["name", "port"], name=NAME, port=PORT, failureMode={"enum": ["FailOpen", "FailClose"]}
        ),
    ),
    "InferenceObjective": closed(["poolRef"], priority={"type": "integer"}, poolRef=closed(["name"], name=NAME)),
}

problems = []


def equal(what, found, expected):
    if found != expected:
        problems.append(f"{what}: expected {expected!r}, found {found!r}")


def schemas(manifests):
    """Each manifest against the schema of its kind."""
    packaged = [m for m in manifests if m["apiVersion"].startswith(PACKAGED)]
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        try:
            if manifest["kind"] in EXTENSION:
                jsonschema.validate(manifest["spec"], EXTENSION[manifest["kind"]])
            elif manifest in packaged:
                continue
            else:
                kubernetes_validate.validate(manifest, "1.34", strict=True)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            problems.append(f"{name}: {error.message}")
        else:
            print(f"ok     {name}")
    if packaged:
        lines = "\n".join(map(json.dumps, packaged))
        if subprocess.run(["node", HERE / "models.mjs"], input=lines, text=True, cwd=HERE).returncode:
            problems.append("a manifest does not fit the schema of its package")


def agreement(manifests):
    """What one manifest says of another."""
    by_kind = {}
    for manifest in manifests:
        by_kind.setdefault(manifest["kind"], []).append(manifest)
    (deployment,) = by_kind.get("Deployment", [None])
    if deployment is None:
        return
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    flags = dict(flag.split("=", 1) for flag in container["args"] if flag.startswith("--"))
    sleep = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    if grace <= int(flags["--shutdown-grace"]) + sleep:
        problems.append(f"terminationGracePeriodSeconds: {grace} is too short for --shutdown-grace and preStop")
    for probe, path in {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}.items():
        equal(probe, container[probe]["httpGet"], {"path": path, "port": "http"})
    equal("runAsNonRoot", pod["spec"]["securityContext"]["runAsNonRoot"], True)
    equal("readOnlyRootFilesystem", container["securityContext"]["readOnlyRootFilesystem"], True)

    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in by_kind["Service"]]
    selectors += [m["spec"]["podSelector"]["matchLabels"] for m in by_kind["NetworkPolicy"]]
    selectors += [m["spec"]["selector"]["matchLabels"] for m in by_kind["PodDisruptionBudget"]]
    selectors += [m["spec"]["selector"]["matchLabels"] for m in by_kind.get("InferencePool", [])]
    for selector in selectors:
        if not selector.items() <= labels.items():
            problems.append(f"a selector {selector} does not select the pods' labels {labels}")
    claims = {m["metadata"]["name"] for m in by_kind["PersistentVolumeClaim"]}
    (volume,) = pod["spec"]["volumes"]
    equal("the volume's claim is there", volume["persistentVolumeClaim"]["claimName"] in claims, True)
    for pool in by_kind.get("InferencePool", []):
        equal("the pool's port", pool["spec"]["targetPorts"], [{"number": ports["http"]}])
    pools = {m["metadata"]["name"] for m in by_kind.get("InferencePool", [])}
    for objective in by_kind.get("InferenceObjective", []):
        equal("the objective's pool is there", objective["spec"]["poolRef"]["name"] in pools, True)
    for scaler in by_kind.get("HorizontalPodAutoscaler", []) + by_kind.get("ScaledObject", []):
        equal("what is scaled", scaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"])
    equal("replicas belong to the scalers", "replicas" in deployment["spec"], False)


def main():
    manifests = [manifest for manifest in yaml.safe_load_all(sys.stdin) if manifest]
    schemas(manifests)
    if not problems:
        agreement(manifests)
    for problem in problems:
        print(f"FAILED {problem}")
    sys.exit(1 if problems else 0)


main()
